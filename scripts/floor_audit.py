"""What must hold when a trading floor has closed: every figure told is the one that was booked, and nothing is lost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from io import StringIO
from typing import Any

from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models import Count, Sum

from core.money import CURRENCIES
from scripts.floor import Floor
from trading import margin
from trading.explain import explain
from trading.margin import Price, Side
from trading.models import Deal, Instrument, MarginEvent, Order, Position, QuoteTick, Swap
from wallets.models import Wallet

ZERO = Decimal(0)
STOP_OUT = MarginEvent.Kind.STOP_OUT
VERIFICATIONS = ("verify_ledger", "verify_positions")

# Two ways to the same figure: what deals and nights say, and what the wallets of clients and of the house moved by.
_MIRROR_SQL = """
SELECT w.currency,
       coalesce(sum(e.amount) FILTER (WHERE w.kind = 'MARGIN'), 0),
       coalesce(sum(e.amount) FILTER (WHERE w.kind <> 'MARGIN'), 0)
  FROM wallets_entry e JOIN wallets_wallet w ON w.id = e.wallet_id
 WHERE e.reason IN ('TRADE_PNL', 'COMMISSION', 'SWAP', 'NEGATIVE_BALANCE_PROTECTION')
 GROUP BY w.currency ORDER BY w.currency
"""


@dataclass(frozen=True, slots=True)
class Mirror:
    """What the clients of one currency made together, by their wallets and by their deals, and what the house did."""

    currency: str
    clients: Decimal
    house: Decimal
    booked: Decimal

    @property
    def is_true(self) -> bool:
        return self.clients == -self.house == self.booked


@dataclass(frozen=True, slots=True)
class Audit:
    """What was found; `problems` is empty if all is well."""

    mirrors: list[Mirror]
    orders: dict[str, int]
    deals: dict[str, int]
    events: dict[str, int]
    compensated: int
    problems: list[str]


def audit(floor: Floor) -> Audit:
    """Look at everything, once everybody is flat."""
    mirrors = list(_mirrors())
    problems = [f"clients and house differ in {one.currency}: {one}" for one in mirrors if not one.is_true]
    problems += _left_over()
    problems += [problem for event in MarginEvent.objects.filter(kind=STOP_OUT) for problem in stop_out_problems(event)]
    deals = Deal.objects.select_related("instrument", "account")
    problems += [f"deal {deal.id} is not explained by what it kept" for deal in deals if not explain(deal)["agrees"]]
    problems += _not_told(floor)
    problems += list(_unverified())
    return Audit(
        mirrors=mirrors,
        orders=_counted(Order, "status"),
        deals=_counted(Deal, "cause"),
        events=_counted(MarginEvent, "kind"),
        compensated=Deal.objects.filter(compensation__gt=0).count(),
        problems=problems,
    )


def _counted(model: Any, column: str) -> dict[str, int]:
    rows = model.objects.order_by(column).values_list(column).annotate(Count("pk"))
    return dict(rows)


def _mirrors() -> Iterator[Mirror]:
    booked: dict[str, Decimal] = {}
    deals = Deal.objects.order_by("account__currency").values_list("account__currency")
    for currency, *sums in deals.annotate(Sum("profit"), Sum("commission"), Sum("compensation")):
        booked[currency] = sums[0] - sums[1] + sums[2]
    nights = Swap.objects.order_by("account__currency").values_list("account__currency")
    for currency, *sums in nights.annotate(Sum("amount"), Sum("compensation")):
        booked[currency] = booked.get(currency, ZERO) + sums[0] + sums[1]
    with connection.cursor() as cursor:
        cursor.execute(_MIRROR_SQL)
        for currency, clients, house in cursor.fetchall():
            yield Mirror(currency, clients, house, booked.get(currency, ZERO))


def _left_over() -> list[str]:
    wallets = Wallet.objects.filter(kind="MARGIN")
    return [
        *(f"wallet {wallet.number} owes {wallet.balance}" for wallet in wallets.filter(balance__lt=0)),
        *(f"wallet {wallet.number} holds {wallet.held}" for wallet in wallets.exclude(held=0)),
        *(f"position {row.number} is open" for row in Position.objects.filter(status=Position.Status.OPEN)),
        *(f"order {row.id} waits" for row in Order.objects.filter(status=Order.Status.WORKING)),
    ]


def _not_told(floor: Floor) -> list[str]:
    """Who follows an account's changes has every row of it."""
    problems = []
    models: dict[str, Any] = {"orders": Order, "positions": Position, "deals": Deal, "margin_events": MarginEvent}
    for name, model in models.items():
        there = {str(id_) for id_ in model.objects.values_list("pk", flat=True)}
        told = {id_ for trader in floor.traders for id_ in trader.rows[name]}
        if there != told:
            problems.append(f"{len(there ^ told)} {name} were told and are not there, or the other way round")
    return problems


def _unverified() -> Iterator[str]:
    for command in VERIFICATIONS:
        try:
            call_command(command, as_json=True, stdout=StringIO(), stderr=StringIO())
        except CommandError as failure:
            yield f"{command}: {failure}"


# --- Stop-outs ------------------------------------------------------------------------------------------------------


class _Replayed:
    """A stop-out done again from nothing but its report: the quotes it names and the positions it lists."""

    def __init__(self, report: dict[str, Any]) -> None:
        self.report = report
        self.currency = report["currency"]
        self.digits = CURRENCIES[self.currency].digits
        self.instruments = Instrument.objects.in_bulk()
        self.quotes = {row["symbol"]: Price(Decimal(row["bid"]), Decimal(row["ask"])) for row in report["quotes"]}
        self.rates = {
            self.instruments[symbol].base + self.instruments[symbol].quote: price
            for symbol, price in self.quotes.items()
        }
        self.balance = Decimal(report["before"]["balance"])
        self.credit = Decimal(report["before"]["credit"])
        self.open = {row["position"]: row for row in report["positions"]}
        self.floating = {id_: self.floating_of(row) for id_, row in self.open.items()}

    def floating_of(self, row: dict[str, Any]) -> Decimal:
        return margin.floating(
            self.instruments[row["symbol"]].contract(),
            side=Side(row["side"]),
            volume=Decimal(row["volume"]),
            price_open=Decimal(row["price_open"]),
            price=self.quotes[row["symbol"]],
            account_currency=self.currency,
            rates=self.rates,
            currency_digits=self.digits,
        ).amount

    @property
    def equity(self) -> Decimal:
        return self.balance + self.credit + sum((self.floating[id_] for id_ in self.open), start=ZERO)

    @property
    def held(self) -> Decimal:
        return margin.held(
            (row["symbol"], Side(row["side"]), Decimal(row["margin_locked"])) for row in self.open.values()
        )

    @property
    def is_below(self) -> bool:
        return bool(self.open) and self.equity * 100 < self.held * Decimal(self.report["stop_out_level"])

    def agrees_with(self, state: dict[str, Any]) -> bool:
        told = (Decimal(state["balance"]), Decimal(state["equity"]), Decimal(state["held"]))
        return told == (self.balance, self.equity, self.held)


def stop_out_problems(event: MarginEvent) -> Iterator[str]:
    """What a stop-out's report says that its quotes, its positions or the books do not."""
    report = event.report
    name = f"stop-out {event.id} of account {report['account']}"
    yield from (f"{name}: {problem}" for problem in _quote_problems(event))
    again = _Replayed(report)
    told = {row["position"]: Decimal(row["floating"]) for row in report["positions"]}
    if told != again.floating:
        yield f"{name}: positions are not worth what the quotes say: {told}, {again.floating}"
    if not again.agrees_with(report["before"]) or (event.equity, event.held) != (again.equity, again.held):
        yield f"{name}: the state before does not add up"
    if not again.is_below:
        yield f"{name}: the margin level was not below {report['stop_out_level']}"
    for step in report["steps"]:
        yield from (f"{name}: {problem}" for problem in _step_problems(event, again, step))
    if not again.agrees_with(report["after"]):
        yield f"{name}: the state after does not add up"
    left = {step["position"] for step in report["steps"] if step["what"] == "POSITION_SKIPPED"}
    if again.is_below and set(again.open) != left:
        yield f"{name}: it ended below the level, with positions that could have been closed"


def _quote_problems(event: MarginEvent) -> Iterator[str]:
    """Each quote it names is the latest that was known with its batch, as it was recorded."""
    for row in event.report["quotes"]:
        known = QuoteTick.objects.filter(instrument=row["symbol"], batch__lte=event.batch).order_by("-batch").first()
        if known is None or (str(known.sequence), known.bid, known.ask) != (
            str(row["sequence"]),
            Decimal(row["bid"]),
            Decimal(row["ask"]),
        ):
            yield f"{row['symbol']} was not {row['bid']}/{row['ask']} at batch {event.batch}"


def _step_problems(event: MarginEvent, again: _Replayed, step: dict[str, Any]) -> Iterator[str]:
    if step["what"] != "POSITION_CLOSED":
        return
    if not again.is_below:
        yield f"position {step['number']} was closed although the level was no longer below"
    skipped = {one["position"] for one in event.report["steps"] if one["what"] == "POSITION_SKIPPED"}
    worst = min((again.floating[id_], id_) for id_ in again.open if id_ not in skipped)[1]
    if step["position"] != worst:
        yield f"position {step['number']} was closed although another had the larger loss"
    row = again.open.pop(step["position"])
    price = again.quotes[row["symbol"]].to_close(Side(row["side"]))
    profit, commission, compensation = (Decimal(step[one]) for one in ("profit", "commission", "compensation"))
    if Decimal(step["price"]) != price or profit != again.floating[step["position"]]:
        yield f"position {step['number']} was not closed at its quote"
    again.balance += profit - commission + compensation
    if again.balance != Decimal(step["balance_after"]):
        yield f"the balance after position {step['number']} does not add up"
    deal = Deal.objects.filter(pk=step["deal"], position=step["position"], batch=event.batch).first()
    facts = (Deal.Cause.STOP_OUT, price, profit, commission, compensation)
    if deal is None or (deal.cause, deal.price, deal.profit, deal.commission, deal.compensation) != facts:
        yield f"position {step['number']} has no such deal"
