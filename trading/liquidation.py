"""
What the desk does for an account's margin level: it tells the client, and below the last threshold it closes.

A stop-out deletes the working orders first, the one that would lock most before the others, and then closes the largest
loss, and looks again after every step. Deleting orders frees no margin, since they hold none, but what is on its way to
being rescued opens nothing. A position whose market is closed, or that has no fresh price, is left and noted; the next
price it may be traded at finds the account again. What the client reads is written down from the figures that were
acted on: the quotes, the positions, the state before, every step, and the state after.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

import structlog
from django.db import transaction

from core.errors import plain
from core.ids import uuid7
from core.money import show
from trading import engine, margin
from trading.engine import MARGIN_CALL_LEVEL, STOP_OUT_LEVEL, Closing
from trading.errors import ConversionRateUnavailable
from trading.execution import Cause, Closed
from trading.margin import AccountState
from trading.market import OpenPosition
from trading.models import MarginEvent, Order, Position
from trading.triggers import PASSING, Visit
from trading.watch import Kind

logger = structlog.get_logger(__name__)

Told = MarginEvent.Kind


def keep_margin(visit: Visit) -> datetime | None:
    """
    Stop the account out, call its margin or lift the call, as its level at this batch demands; since when if called.

    An account that was valued at a later batch has its answer from there: what was opened or paid in since is not to be
    judged by older prices. Each kind of event comes once per batch at most.
    """
    if visit.valued_at > visit.batch:
        return None
    try:
        state = _state(visit)
    except ConversionRateUnavailable:
        return None  # nothing is known, so nothing is done; the next price of the missing pair asks again
    was_called = visit.locked.book.called_at is not None
    if _is_below(state, MARGIN_CALL_LEVEL) == was_called and not _is_below(state, STOP_OUT_LEVEL):
        return None
    told = set(
        MarginEvent.objects.filter(account=visit.locked.account, batch=visit.batch).values_list("kind", flat=True)
    )
    if _is_below(state, STOP_OUT_LEVEL) and Told.STOP_OUT not in told:
        _stop_out(visit)
        state = _state(visit)
    is_called = _is_below(state, MARGIN_CALL_LEVEL)
    if is_called and not was_called and Told.MARGIN_CALL not in told:
        _tell(visit, Told.MARGIN_CALL, state, _Report(visit).document())
        visit.tally["margin_calls"] += 1
        return visit.now
    if was_called and not is_called and Told.MARGIN_CALL_LIFTED not in told:
        _tell(visit, Told.MARGIN_CALL_LIFTED, state, _Report(visit).document())
    return None


def _state(visit: Visit) -> AccountState:
    locked = visit.locked
    return engine.account_state(locked.wallet, locked.book.positions, locked.market)


def _is_below(state: AccountState, level: Any) -> bool:
    return state.margin_level is not None and state.margin_level < level


def _stop_out(visit: Visit) -> None:
    """Do what can be done, and tell it if that is anything. The order of closing is fixed: the batch's prices stay."""
    locked, report, rows = visit.locked, _Report(visit), {row.id: row for row in visit.positions}
    by_loss = engine.largest_loss_first(locked.book.positions, market=locked.market, currency=locked.wallet.currency)
    before = report.state()
    for order in sorted(visit.orders, key=lambda order: (-order.margin_reserved, order.id)):
        visit.cancel(order)
        visit.tally["cancelled"] += 1
        report.order_cancelled(order)
    for position in (rows[one.id] for one, _ in by_loss):
        if not _is_below(report.state(), STOP_OUT_LEVEL):
            break
        try:
            closing = visit.reckon_close(position)
        except PASSING as refusal:
            report.position_skipped(position, refusal)
            continue
        report.position_closed(position, closing, visit.close(position, closing, Cause.STOP_OUT))
    if report.has_effect:
        _tell(visit, Told.STOP_OUT, before, report.document())
        visit.tally["stop_outs"] += 1


def _tell(visit: Visit, kind: MarginEvent.Kind, state: AccountState, report: dict[str, Any]) -> None:
    event = MarginEvent.objects.create(
        id=uuid7(),
        owner_id=visit.locked.wallet.owner,
        account=visit.locked.account,
        kind=kind,
        batch=visit.batch,
        equity=state.equity,
        held=state.held,
        report=report,
        created_at=visit.now,
    )
    visit.locked.note(Kind.MARGIN_EVENT, event.id)
    log = partial(
        logger.info,
        "trading.account.margin_told",
        account_id=str(visit.locked.account.id),
        kind=kind.value,
        event_id=str(event.id),
        batch=visit.batch,
    )
    transaction.on_commit(log, robust=True)


# --- What the client reads ------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Report:
    """A report under way: made with the state before, told every step, and asked for its document at the end."""

    visit: Visit
    before: dict[str, Any] = field(init=False)
    positions: list[dict[str, Any]] = field(init=False)
    steps: list[dict[str, Any]] = field(default_factory=list)
    has_effect: bool = False
    _floating: dict[UUID, Decimal] = field(default_factory=dict)
    _symbols: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        rates = self.visit.locked.market.rates(fresh_only=False)
        self.positions = [self._position(one, rates) for one in self.visit.locked.book.positions]
        self.before = self._state()

    def state(self) -> AccountState:
        """What the account is worth now, with what is still open of the positions that it began with."""
        wallet, book = self.visit.locked.wallet, self.visit.locked.book
        floating = sum((self._floating[one.id] for one in book.positions), start=Decimal(0))
        return AccountState(balance=wallet.balance, credit=wallet.credit, floating=floating, held=wallet.held)

    def order_cancelled(self, order: Order) -> None:
        self._did(
            "ORDER_CANCELLED",
            order=order.id,
            symbol=order.instrument_id,
            side=order.side,
            type=order.type,
            volume=engine.trimmed(order.volume),
            price=self._price(order.price, order.instrument_id),
            margin_reserved=self._money(order.margin_reserved),
        )

    def position_closed(self, position: Position, closing: Closing, closed: Closed) -> None:
        self._used(position.instrument_id, *closing.profit.conversion.path, *closing.commission.conversion.path)
        self._did(
            "POSITION_CLOSED",
            position=position.id,
            number=position.number,
            symbol=position.instrument_id,
            side=position.side,
            volume=engine.trimmed(closing.volume),
            price=closing.price_text,
            price_open=closing.price_open_text,
            profit=self._money(closing.profit.amount),
            commission=self._money(closing.commission.amount),
            compensation=self._money(closed.compensation),
            margin_released=self._money(closing.released),
            deal=closed.deal_id,
        )

    def position_skipped(self, position: Position, refusal: Any) -> None:
        self.steps.append(
            {
                "what": "POSITION_SKIPPED",
                "position": position.id,
                "number": position.number,
                "symbol": position.instrument_id,
                "side": position.side,
                "volume": engine.trimmed(position.volume),
                "code": refusal.code,
                "detail": refusal.detail,
                "context": refusal.context,
            }
        )

    def document(self) -> dict[str, Any]:
        """Everything in it is text, whole numbers and null, so that it reads the same for ever."""
        market = self.visit.locked.market
        quotes = [
            {
                "symbol": symbol,
                "bid": self._price(tick.bid, symbol),
                "ask": self._price(tick.ask, symbol),
                "sequence": tick.sequence,
                "batch": tick.batch or None,
                "received_at": tick.received_at,
            }
            for symbol in sorted(self._symbols)
            if (tick := market.ticks.get(symbol)) is not None
        ]
        document: dict[str, Any] = plain(
            {
                "account": self.visit.locked.account.number,
                "currency": self.visit.locked.wallet.currency,
                "batch": market.batch,
                "priced_at": market.now,
                "margin_call_level": MARGIN_CALL_LEVEL,
                "stop_out_level": STOP_OUT_LEVEL,
                "quotes": quotes,
                "positions": self.positions,
                "before": self.before,
                "steps": self.steps,
                "after": self._state(),
            }
        )
        return document

    def _did(self, what: str, **facts: Any) -> None:
        state = self._state()
        after = {"balance_after": state["balance"], "margin_level_after": state["margin_level"]}
        self.steps.append({"what": what, **facts, **after})
        self.has_effect = True

    def _state(self) -> dict[str, Any]:
        state = self.state()
        level = margin.shown_level(state.margin_level)
        names = ("balance", "credit", "floating", "equity", "held", "free_margin")
        return {name: self._money(getattr(state, name)) for name in names} | {"margin_level": level}

    def _position(self, one: OpenPosition, rates: margin.Rates) -> dict[str, Any]:
        market, currency = self.visit.locked.market, self.visit.locked.wallet.currency
        floating = engine.floating_of(one, market=market, currency=currency, rates=rates)
        self._floating[one.id] = floating.amount
        self._used(one.symbol, *floating.conversion.path)
        return {
            "position": one.id,
            "number": one.number,
            "symbol": one.symbol,
            "side": one.side.value,
            "volume": engine.trimmed(one.volume),
            "price_open": self._price(one.price_open, one.symbol),
            "margin_locked": self._money(one.margin_locked),
            "floating": self._money(floating.amount),
            "conversion_path": floating.conversion.path,
        }

    def _used(self, symbol: str, *path: str) -> None:
        """A quote was used for its own sake, or as a step of a conversion path, which names the pair and its price."""
        pairs = self.visit.locked.market.pairs
        self._symbols.add(symbol)
        self._symbols.update(pairs[pair] for pair in _pairs_of(path) if pair in pairs)

    def _money(self, amount: Any) -> str:
        return show(amount, self.visit.locked.wallet.currency)

    def _price(self, price: Any, symbol: str) -> str:
        return engine.price_text(price, self.visit.locked.market.instruments[symbol])


def _pairs_of(path: Iterable[str]) -> Iterable[str]:
    return (step.removeprefix(margin.INVERSE).split(" ")[0] for step in path)
