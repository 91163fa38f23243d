"""What is at stake: exposure per instrument, how far accounts are from a stop-out, and how good the prices are."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from config.back_office import figures
from config.back_office.figures import Reading
from core import db
from core.ids import uuid7_at
from core.money import CURRENCIES
from trading import margin, selection, selectors, sessions
from trading.engine import MARGIN_CALL_LEVEL, STOP_OUT_LEVEL
from trading.margin import Side
from trading.market import Market
from trading.models import MarginEvent
from wallets.models import Environment

#: What positions in different instruments are compared in.
COMMON = "USD"

#: Where one group of accounts ends and the next begins, by margin level in percent.
BOUNDS = (STOP_OUT_LEVEL, MARGIN_CALL_LEVEL, Decimal(200), Decimal(500), Decimal(1000))
LEVELS = (
    f"below {BOUNDS[0]} %",
    *(f"{low} to {high} %" for low, high in itertools.pairwise(BOUNDS)),
    f"{BOUNDS[-1]} % or more",
)
#: Accounts without a level: a profit cannot be converted, or what is open locks nothing.
UNPRICED, UNLOCKED = "no rate", "nothing locked"

STOP_OUTS_SHOWN = 10
#: Events are found by their ids, which are made when they are written; clocks differ by less.
CLOCKS_DIFFER = timedelta(hours=1)

_HOLDINGS = """
SELECT a.environment, a.currency, p.symbol, p.side, sum(p.volume), count(*)
  FROM trading_position p
  JOIN accounts_tradingaccount a ON a.id = p.account_id
 WHERE p.status = 'OPEN'
 GROUP BY 1, 2, 3, 4
"""
# One pass over what is open, whatever the number of accounts. A position's profit is its move, times what a move of 1
# is worth for a lot in the account's currency: reckoned once for everybody, by the same arithmetic that books.
_WORTH = """
WITH worth AS (
    SELECT * FROM unnest(%(symbols)s::text[], %(sides)s::text[], %(currencies)s::text[], %(prices)s::numeric[],
                         %(gains)s::numeric[], %(losses)s::numeric[], %(digits)s::int[])
               AS w(symbol, side, currency, price, gain, loss, digits)
), floating AS (
    SELECT p.account_id, count(*) - count(w.symbol) AS unpriced,
           sum(round(m.move * p.volume * CASE WHEN m.move >= 0 THEN w.gain ELSE w.loss END, w.digits)) AS amount
      FROM trading_position p
      JOIN accounts_tradingaccount a ON a.id = p.account_id
      LEFT JOIN worth w ON (w.symbol, w.side, w.currency) = (p.symbol, p.side, a.currency)
     CROSS JOIN LATERAL (SELECT CASE p.side WHEN 'BUY' THEN w.price - p.price_open
                                            ELSE p.price_open - w.price END AS move) m
     WHERE p.status = 'OPEN'
     GROUP BY p.account_id
), levels AS (
    SELECT a.environment,
           CASE WHEN f.unpriced > 0 THEN %(unpriced)s::text
                WHEN v.held = 0 THEN %(unlocked)s::text
                ELSE (%(names)s::text[])[1 + width_bucket((v.balance + v.credit + f.amount) * 100 / v.held,
                                                          %(bounds)s::numeric[])]
           END AS level
      FROM floating f
      JOIN accounts_tradingaccount a ON a.id = f.account_id
      JOIN wallets_wallet v ON v.id = a.wallet_id
)
SELECT environment, level, count(*) FROM levels GROUP BY 1, 2
"""


class Holding(NamedTuple):
    """What accounts of one environment and currency hold of an instrument on one side."""

    environment: str
    currency: str
    symbol: str
    side: Side
    volume: Decimal
    positions: int


@figures.now("exposure")
def exposure(_start: datetime, end: datetime) -> Iterator[Reading]:
    """Lots, and what they are worth; what cannot be converted has lots alone."""
    market = selectors.market(end)
    sums: dict[tuple[str, str, Side], Decimal] = defaultdict(Decimal)
    counts: dict[str, int] = defaultdict(int)
    for holding in _holdings():
        sums[holding.environment, holding.symbol, holding.side] += holding.volume
        counts[holding.environment] += holding.positions
    for (environment, symbol, side), volume in sums.items():
        where: dict[str, Any] = {"environment": environment, "label": symbol}
        yield Reading(f"exposure.lots.{side.value}", volume, "lots", **where)
        value = _value(market, symbol, side, volume)
        if value is not None:
            yield Reading(f"exposure.value.{side.value}", value, COMMON, currency=COMMON, **where)
    for environment, count in counts.items():
        yield Reading("exposure.positions", count, "positions", environment=environment)


def _value(market: Market, symbol: str, side: Side, volume: Decimal) -> Decimal | None:
    try:
        return margin.exposure(
            market.instruments[symbol].contract(),
            side=side,
            volume=volume,
            price=market.ticks[symbol].price.to_close(side),
            account_currency=COMMON,
            rates=market.rates(fresh_only=False),
            currency_digits=CURRENCIES[COMMON].digits,
        )
    except margin.RateUnavailable:
        return None


@figures.now("margin_levels")
def margin_levels(_start: datetime, end: datetime) -> Iterator[Reading]:
    """How many accounts with open positions stand at which margin level, at the last known prices."""
    market = selectors.market(end)
    worth = list(_worth(market, {(one.symbol, one.side, one.currency) for one in _holdings()}))
    columns = zip(*worth, strict=True) if worth else ((),) * 7
    parts = ("symbols", "sides", "currencies", "prices", "gains", "losses", "digits")
    params: dict[str, Any] = {part: list(column) for part, column in zip(parts, columns, strict=True)}
    params |= {"names": list(LEVELS), "bounds": list(BOUNDS), "unpriced": UNPRICED, "unlocked": UNLOCKED}
    for environment, level, count in db.fetch_all(_WORTH, params):
        yield Reading("margin.accounts", count, "accounts", environment=environment, label=level)


def _worth(market: Market, held: Iterable[tuple[str, Side, str]]) -> Iterator[tuple[Any, ...]]:
    """What a move of 1 in a position's favour, or against it, is worth for a lot; what cannot be told is not there."""
    rates = market.rates(fresh_only=False)
    for symbol, side, currency in held:
        contract = market.instruments[symbol].contract()
        price = market.ticks[symbol].price.to_close(side)
        try:
            gain, loss = (
                margin.closing_conversion(
                    contract.quote,
                    currency,
                    gain=is_gain,
                    rates=rates,
                    base=contract.base,
                    quote=contract.quote,
                    close_price=price,
                ).of(contract.contract_size)
                for is_gain in (True, False)
            )
        except margin.RateUnavailable:
            continue
        yield symbol, side.value, currency, price, gain, loss, CURRENCIES[currency].digits


def _holdings() -> list[Holding]:
    return [
        Holding(environment, currency, symbol, Side(side), volume, positions)
        for environment, currency, symbol, side, volume, positions in db.fetch_all(_HOLDINGS, {})
    ]


@figures.day("margin_events")
def margin_events(start: datetime, end: datetime) -> Iterator[Reading]:
    """How many accounts were called, freed of a call, or stopped out."""
    rows = MarginEvent.objects.filter(
        id__gte=uuid7_at(start - CLOCKS_DIFFER, 0), created_at__gte=start, created_at__lt=end
    ).values_list("account__environment", "kind")
    counts: dict[tuple[str, str], int] = defaultdict(int)
    for environment, kind in rows:
        counts[environment, kind] += 1
    for (environment, kind), count in sorted(counts.items()):
        yield Reading("margin.events", count, "events", environment=environment, label=kind)


@figures.now("stop_outs")
def stop_outs(_start: datetime, _end: datetime) -> Iterator[Reading]:
    """The latest stop-outs, and what each account was worth before; of two of one account the later."""
    stopped = MarginEvent.objects.filter(kind=MarginEvent.Kind.STOP_OUT).select_related("account")
    for environment in Environment.values:
        latest = stopped.filter(account__environment=environment).order_by("-id")[:STOP_OUTS_SHOWN]
        for event in {event.account_id: event for event in reversed(latest)}.values():
            account = event.account
            yield Reading(
                "stop_out.equity",
                event.equity,
                account.currency,
                environment=environment,
                currency=account.currency,
                label=account.number,
                moment=event.created_at,
            )


@figures.now("prices")
def prices(_start: datetime, end: datetime) -> Iterator[Reading]:
    """How old the last price of each open market is, and how far the risk engine is behind."""
    market = selectors.market(end)
    for symbol, schedule in sorted(market.schedules.items()):
        tick = market.ticks.get(symbol)
        if tick is None or not sessions.is_open(schedule, end):
            continue
        seconds = max(0, int((end - tick.received_at).total_seconds()))
        state = "stale" if seconds > market.instruments[symbol].quote_age_seconds_max else "fresh"
        yield Reading(f"price.{state}", seconds, "seconds", label=symbol, moment=tick.received_at)
    for name, count in selection.lag().items():
        yield Reading(f"risk.{name}", count, "batches" if name == "batches_behind" else "accounts")
