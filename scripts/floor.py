"""
A trading floor: clients who trade at random over the API while real bars are replayed and the risk engine works.

Everything random comes from one seed. Imported when Django is set up, on a database that may be thrown away.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import ROUND_FLOOR, Decimal
from io import StringIO
from random import Random
from typing import Any
from uuid import UUID

from django.core.management import call_command
from django.test import Client
from django.utils import timezone
from tqdm import tqdm

from accounts import credentials
from accounts.models import TradingAccount
from accounts.services import sessions, sign_up
from core.audit import Actor, ActorKind
from core.idempotency import Claim
from core.ids import uuid7
from trading.feeds import ReplayFeed
from trading.market import NewQuote
from trading.models import Instrument, Quote
from trading.services import instruments, quotes

ZERO = Decimal(0)
#: A bulk of them is at home where no regulator caps leverage, or hardly anybody would ever be stopped out.
COUNTRIES = ("ZA", "ZA", "ZA", "DE")
CURRENCIES = ("USD", "USD", "EUR", "GBP", "JPY")
LEVERAGES = (30, 100, 500, 500)
#: Refusals are business. Whatever else is not a yes would be our fault: these clients send nothing malformed.
ANSWERS = frozenset({200, 201, 409, 422})
#: Prices are shown again while many clients close, so that the last ones do not find them stale.
REQUOTE_EVERY = timedelta(seconds=20)

Sent = tuple[int, dict[str, Any]]


class FloorError(Exception):
    """The desk answered what no client should ever get, or an account is not what its changes told."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How many clients act how often on which days of the bars; None is from the first, or to the last."""

    accounts: int = 100
    actions: int = 15  # of all clients together, per price batch
    seed: int = 1
    start: datetime | None = None
    end: datetime | None = None


@dataclass(slots=True)
class Trader:
    """One client, who knows nothing but what the account's changes have told."""

    number: str
    token: str = field(repr=False)
    leverage: int
    since: int = 0
    rows: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    state: dict[str, Any] = field(default_factory=dict)

    def learn(self, changes: dict[str, Any]) -> None:
        for name in ("orders", "positions", "deals", "swaps", "margin_events"):
            self.rows.setdefault(name, {}).update({row["id"]: row for row in changes[name]})
        self.since, self.state = changes["sequence"], changes["state"]

    def those(self, name: str, status: str) -> list[dict[str, Any]]:
        return [row for row in self.rows[name].values() if row["status"] == status]


@dataclass(slots=True)
class Floor:
    """The desk, its clients and the tape; `counts` is what happened, by name."""

    plan: Plan
    chance: Random
    traders: list[Trader]
    terms: dict[str, dict[str, Any]]
    counts: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    risk: Counter[str] = field(default_factory=Counter)
    client: Client = field(default_factory=Client)
    prices: dict[str, tuple[Decimal, Decimal]] = field(default_factory=dict)

    # --- The days ---------------------------------------------------------------------------------------------------

    @classmethod
    def open(cls, plan: Plan) -> Floor:
        """Instruments, and every client signed up with a demo account and a token."""
        instruments.load_instruments()
        chance = Random(f"floor {plan.seed}")  # noqa: S311 - a simulation, no secret
        password = credentials.hash_password(str(uuid7()), email="floor@example.com")
        traders = [_newcomer(index, chance, password) for index in range(plan.accounts)]
        floor = cls(plan, chance, traders, terms={})
        _, body = floor.send(traders[0], "GET", "/instruments")
        floor.terms = {row["symbol"]: row for row in body["results"]}
        return floor

    def run(self, *, shows_progress: bool) -> None:
        """Every batch of the tape: recorded, worked off, and answered by some clients; then everybody goes flat."""
        feed = ReplayFeed(
            instruments=Instrument.objects.in_bulk(),
            start=self.plan.start,
            end=self.plan.end,
            loop=False,
            gaps=self.plan.seed,
        )
        tape = list(feed.batches())
        for batch in tqdm(tape, unit=" batches", disable=not shows_progress, leave=False):
            self.record(batch)
            self.run_risk_round()
            for trader in self.chance.choices(self.traders, k=self.plan.actions):
                self.act(trader)
        self.go_flat(shows_progress=shows_progress)

    def record(self, batch: list[NewQuote]) -> None:
        if not batch:
            return  # every symbol has a gap
        recorded = quotes.record_quotes(quotes=batch, source="replay", now=timezone.now(), rewinds=True)
        self.counts["batches"] += 1
        self.counts["prices"] += recorded.accepted
        self.counts["prices refused"] += len(recorded.refused)
        _, body = self.send(self.traders[0], "GET", "/quotes")
        self.prices = {row["symbol"]: (Decimal(row["bid"]), Decimal(row["ask"])) for row in body["results"]}

    def run_risk_round(self) -> None:
        """What `run_risk --watch` does all the time, once; an account that fails there fails here."""
        output = StringIO()
        call_command("run_risk", as_json=True, stdout=output)
        self.risk.update({name: count for name, count in json.loads(output.getvalue()).items() if name != "job"})

    def go_flat(self, *, shows_progress: bool) -> None:
        """Everybody takes back what waits and closes what is open, at the last prices of the tape."""
        quoted_at = timezone.now() - REQUOTE_EVERY
        for trader in tqdm(self.traders, unit=" accounts", disable=not shows_progress, leave=False):
            if timezone.now() - quoted_at >= REQUOTE_EVERY:
                self.record([NewQuote(q.instrument_id, q.bid, q.ask, q.quoted_at) for q in Quote.objects.all()])
                self.run_risk_round()
                quoted_at = timezone.now()
            self.follow(trader)
            for order in trader.those("orders", "WORKING"):
                self.send(trader, "DELETE", f"/orders/{order['id']}")
            for position in trader.those("positions", "OPEN"):
                self.send(trader, "POST", f"/positions/{position['id']}/close", {"volume": "ALL"})
        self.run_risk_round()
        for trader in self.traders:
            self.follow(trader)

    # --- Clients ----------------------------------------------------------------------------------------------------

    def send(self, trader: Trader, method: str, path: str, body: dict[str, Any] | None = None) -> Sent:
        """
        One request of a client's app.

        :raises FloorError: if the answer is neither a yes nor a business refusal
        """
        response = self.client.generic(
            method,
            f"/api/v1{path}",
            "" if body is None else json.dumps(body),
            content_type="application/json",
            headers={"Authorization": f"Bearer {trader.token}", "Idempotency-Key": str(uuid7())},
        )
        answer: dict[str, Any] = json.loads(response.content)
        if response.status_code not in ANSWERS:
            raise FloorError(f"{method} {path} {body} was answered by {response.status_code}: {answer}")
        if response.status_code >= 400:
            self.refused[answer["code"]] += 1
        return response.status_code, answer

    def follow(self, trader: Trader) -> None:
        """:raises FloorError: if the changes do not add up to the account they come with"""
        for changes in self._pages(trader):
            trader.learn(changes)
        known = {row["id"] for row in trader.those("positions", "OPEN")}
        shown = {row["id"] for row in trader.state["positions"]}
        waiting = len(trader.those("orders", "WORKING"))
        if known != shown or waiting != trader.state["working_orders"]:
            raise FloorError(f"account {trader.number} is not what its changes told: {known} {shown} {waiting}")

    def _pages(self, trader: Trader) -> Iterator[dict[str, Any]]:
        has_more = True
        while has_more:
            _, changes = self.send(trader, "GET", f"/trading-accounts/{trader.number}/changes?since={trader.since}")
            has_more = changes["has_more"]
            yield changes

    def act(self, trader: Trader) -> None:
        """Look, and do one thing."""
        self.follow(trader)
        positions, orders = trader.those("positions", "OPEN"), trader.those("orders", "WORKING")
        acts: list[tuple[int, Callable[[], object]]] = [
            (12, lambda: self.place(trader, "MARKET")),
            (4, lambda: self.place(trader, "LIMIT")),
            (4, lambda: self.place(trader, "STOP")),
        ]
        if positions:
            position = self.chance.choice(positions)
            acts += [(5, lambda: self.close(trader, position)), (3, lambda: self.protect(trader, position))]
        if orders:
            order = self.chance.choice(orders)
            acts += [(1, lambda: self.cancel(trader, order)), (2, lambda: self.move(trader, order))]
        (chosen,) = self.chance.choices([act for _, act in acts], [weight for weight, _ in acts])
        chosen()
        self.counts["actions"] += 1

    def place(self, trader: Trader, kind: str) -> None:
        """Mostly more than is wise, and sometimes all that can be had."""
        symbol, side = self.chance.choice(sorted(self.prices)), self.chance.choice(["BUY", "SELL"])
        body: dict[str, Any] = {"account": trader.number, "symbol": symbol, "side": side, "type": kind}
        body["volume"] = self.volume(trader, symbol)
        price = self.prices[symbol][side == "BUY"]
        if kind != "MARKET":
            is_below = (kind == "LIMIT") == (side == "BUY")
            price = self.away(symbol, price, -1 if is_below else 1)
            body["price"] = str(price)
            if self.chance.random() < 0.3:
                expires = timezone.now() + timedelta(seconds=self.chance.randint(2, 30))
                body |= {"time_in_force": "GTD", "expires_at": expires.isoformat()}
        if self.chance.random() < 0.3:
            body |= self.stops(symbol, side, price)
        status, answer = self.send(trader, "POST", "/orders", body)
        most = answer.get("context", {}).get("max_volume", "0") if status == 422 else "0"
        if Decimal(most) > 0 and self.chance.random() < 0.5:
            self.send(trader, "POST", "/orders", body | {"volume": most})

    def volume(self, trader: Trader, symbol: str) -> str:
        """Lots for a share of the free margin, at times for more than all of it, as a client reckons in dollars."""
        terms = self.terms[symbol]
        leverage = min(trader.leverage, terms["leverage_max"] or trader.leverage)
        share = Decimal(self.chance.randint(5, 125)) / 100
        money = max(ZERO, Decimal(trader.state["free_margin"] or 0)) * self.dollars(trader.state["currency"])
        lots = money * share * leverage / Decimal(terms["contract_size"]) / self.dollars(terms["base"])
        step = Decimal(terms["volume_step"])
        lots = (lots / step).to_integral_value(rounding=ROUND_FLOOR) * step
        return str(min(max(lots, Decimal(terms["volume_min"])), Decimal(terms["volume_max"])))

    def dollars(self, currency: str) -> Decimal:
        if currency == "USD":
            return Decimal(1)
        if (direct := self.prices.get(f"{currency}USD")) is not None:
            return direct[0]
        inverse = self.prices.get(f"USD{currency}")
        return Decimal(1) if inverse is None else 1 / inverse[0]

    def away(self, symbol: str, price: Decimal, direction: int) -> Decimal:
        """A price up to a few per cent away, on the instrument's digits."""
        part = Decimal(self.chance.randint(5, 300)) / 10_000
        digits: int = self.terms[symbol]["digits"]
        return round(price * (1 + direction * part), digits)

    def stops(self, symbol: str, side: str, price: Decimal) -> dict[str, str]:
        direction = 1 if side == "BUY" else -1
        stop, target = self.away(symbol, price, -direction), self.away(symbol, price, direction)
        return {"stop_loss": str(stop), "take_profit": str(target)}

    def close(self, trader: Trader, position: dict[str, Any]) -> None:
        step = Decimal(self.terms[position["symbol"]]["volume_step"])
        half = (Decimal(position["volume"]) / 2 / step).to_integral_value(rounding=ROUND_FLOOR) * step
        is_part = half >= Decimal(self.terms[position["symbol"]]["volume_min"]) and self.chance.random() < 0.4
        volume = str(half) if is_part else "ALL"
        self.send(trader, "POST", f"/positions/{position['id']}/close", {"volume": volume})

    def protect(self, trader: Trader, position: dict[str, Any]) -> None:
        price = self.prices[position["symbol"]][position["side"] == "SELL"]
        body = self.stops(position["symbol"], position["side"], price)
        self.send(trader, "PATCH", f"/positions/{position['id']}", body)

    def move(self, trader: Trader, order: dict[str, Any]) -> None:
        is_below = (order["type"] == "LIMIT") == (order["side"] == "BUY")
        price = self.prices[order["symbol"]][order["side"] == "BUY"]
        moved = self.away(order["symbol"], price, -1 if is_below else 1)
        body: dict[str, Any] = {"price": str(moved), "stop_loss": None, "take_profit": None}
        self.send(trader, "PATCH", f"/orders/{order['id']}", body)

    def cancel(self, trader: Trader, order: dict[str, Any]) -> None:
        self.send(trader, "DELETE", f"/orders/{order['id']}")


def _newcomer(index: int, chance: Random, password: credentials.PasswordHash) -> Trader:
    """A client by the services that real people go through."""
    email = f"trader-{index}@floor.example"
    person = sign_up.NewPerson(email, f"Trader {index}", f"+1202{3_000_000 + index}", chance.choice(COUNTRIES))
    terms = sign_up.AccountTerms(chance.choice(CURRENCIES), chance.choice(LEVERAGES))
    owner = sign_up.newcomer_id(email)
    claim = Claim.make(
        operation=sign_up.SIGN_UP_DEMO, owner=owner, key=f"floor-sign-up-{index:06}", request={}, request_id="floor"
    )
    actor = Actor(owner, ActorKind.CLIENT, "floor")
    sign_up.sign_up_demo(person=person, password=password, account=terms, claim=claim, actor=actor)
    account = TradingAccount.objects.get(owner__email=email)
    return Trader(account.number, _token(account.owner_id), terms.leverage)


def _token(owner: UUID) -> str:
    issued = sessions.create_token(
        owner=owner,
        held=sessions.CLIENT_SCOPES,
        scopes=sessions.CLIENT_SCOPES,
        name="floor",
        lifetime=timedelta(days=1),
        actor=Actor(owner, ActorKind.CLIENT, "floor"),
    )
    return issued.secret.text
