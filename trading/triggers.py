"""What a price batch does to the orders and positions of one account that waited for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any

import structlog
from django.db import transaction

from accounts.models import TradingAccount
from core.audit import Actor
from core.errors import DomainError
from core.idempotency import system_digest
from trading import engine, execution
from trading.engine import Closing
from trading.errors import ConversionRateUnavailable, MarketClosed, QuoteStale, QuoteUnavailable
from trading.execution import Cause, Closed, Mandate
from trading.margin import Side
from trading.market import Book, Market, OpenPosition, Tick, WorkingOrder
from trading.models import AccountWatch, Order, Position
from trading.watch import LockedAccount
from wallets.ledger import LockedWallet

logger = structlog.get_logger(__name__)

ACTOR = Actor.system("run_risk")

#: What passes by itself: an order stays WORKING and a position open, and a later batch catches up. All other refusals
#: end an order for good, as they would have ended it when it was placed: what was asked for cannot be had at the price
#: it was asked for. That goes for an account that has meanwhile been given into management too: the order is its
#: client's, who may no longer open positions.
PASSING = (MarketClosed, QuoteStale, QuoteUnavailable, ConversionRateUnavailable)

#: What happened, by the names the command counts it under.
Tally = Counter[str]


@dataclass(slots=True)
class Visit:
    """
    One account at one price batch, under its wallet's lock: its rows, locked too, and what was done so far.

    `locked.market` is as of that batch. `positions` and `orders` are what is open and what works, in id order.
    """

    locked: LockedAccount
    positions: list[Position]
    orders: list[Order]
    valued_at: int  # the batch at which the account was last valued
    now: datetime
    tally: Tally = field(default_factory=Counter)

    @classmethod
    def begin(cls, account: TradingAccount, wallet: LockedWallet, market: Market, *, now: datetime) -> Visit:
        """Read and lock everything that prices can do something to; the caller has locked the wallet."""
        watch = AccountWatch.objects.filter(pk=account.pk).first()
        open_ = Position.objects.filter(account=account, status=Position.Status.OPEN)
        working = Order.objects.filter(account=account, status=Order.Status.WORKING)
        orders = list(working.select_for_update(no_key=True).order_by("id"))
        positions = list(open_.select_for_update(no_key=True).order_by("id"))
        book = Book(
            positions=tuple(OpenPosition.of(row) for row in positions),
            orders=tuple(WorkingOrder.of(row) for row in orders),
            called_at=None if watch is None else watch.called_at,
        )
        locked = LockedAccount(account, wallet, book, market)
        return cls(locked, positions, orders, 0 if watch is None else watch.batch, now)

    @property
    def batch(self) -> int:
        return self.locked.market.batch

    def news(self, symbol: str, *, after: int) -> Tick | None:
        """The symbol's price, if it came with a batch later than `after`."""
        tick = self.locked.market.ticks.get(symbol)
        return tick if tick is not None and tick.batch > after else None

    def mandate(self, cause: Cause, *identity: str) -> Mandate:
        """The engine's own, with a permanent digest of what is done."""
        return Mandate(actor=ACTOR, now=self.now, cause=cause, batch=self.batch, digest=system_digest(*identity))

    def end_order(self, order: Order, status: Order.Status, **facts: Any) -> None:
        """An order waits no more; `facts` are its columns that say why."""
        execution.end_order(self.locked, order, status, now=self.now, **facts)
        self.orders.remove(order)

    def cancel(self, order: Order) -> None:
        """Take back an order of an account that is being stopped out."""
        execution.cancel_order(self.locked, order, reason=Order.CancelReason.STOP_OUT, actor=ACTOR, now=self.now)
        self.orders.remove(order)

    def reckon_close(self, position: Position) -> Closing:
        """
        What closing all of a position means at this batch's price.

        :raises MarketClosed, QuoteUnavailable, QuoteStale, ConversionRateUnavailable: if it cannot be closed now
        """
        currency, market = self.locked.wallet.currency, self.locked.market
        return engine.evaluate_closing(position, volume=position.volume, currency=currency, market=market)

    def close(self, position: Position, closing: Closing, cause: Cause) -> Closed:
        mandate = self.mandate(cause, "close", str(position.id), str(self.batch))
        closed = execution.close_position(self.locked, position, closing, mandate=mandate)
        self.positions.remove(position)
        return closed


def expire_orders(visit: Visit, *, expired_by: datetime) -> None:
    """End the orders whose time had come before the price did."""
    for order in [*visit.orders]:
        if order.expires_at is not None and order.expires_at <= expired_by:
            visit.end_order(order, Order.Status.EXPIRED)
            visit.tally["expired"] += 1
            event = partial(logger.info, "trading.order.expired", order_id=str(order.id))
            transaction.on_commit(event, robust=True)


def close_stopped(visit: Visit) -> None:
    """
    Close the positions whose stop or target was reached, at the price that reached it, however far beyond it is.

    If one price reaches both, it is the stop. Nothing but the absence of a price keeps a position from being closed.
    """
    for position in [*visit.positions]:
        tick = visit.news(position.instrument_id, after=position.watched_after)
        cause = None if tick is None else reached(position, tick)
        if cause is None:
            continue
        try:
            closing = visit.reckon_close(position)
        except PASSING:
            continue
        visit.close(position, closing, cause)
        visit.tally["stop_losses" if cause == Cause.STOP_LOSS else "take_profits"] += 1


def reached(position: Position, tick: Tick) -> Cause | None:
    """Whether a price is as bad as the position's stop or worse, or as good as its target or better."""
    side = Side(position.side)
    price = tick.price.to_close(side)
    if position.stop_loss is not None and (price - position.stop_loss) * side.sign <= 0:
        return Cause.STOP_LOSS
    if position.take_profit is not None and (price - position.take_profit) * side.sign >= 0:
        return Cause.TAKE_PROFIT
    return None


def fill_triggered(visit: Visit) -> None:
    """
    Fill the orders whose price has come, at the price that came, oldest first, or refuse them as if placed now.

    A limit fills at its price or better, a stop at its price or worse. What is opened here is watched from the next
    batch on, also where a gap has carried it beyond its own stop or target.
    """
    for order in [*visit.orders]:
        tick = visit.news(order.instrument_id, after=order.watched_after)
        if tick is not None and is_triggered(order, tick):
            _fill_or_reject(visit, order)


def is_triggered(order: Order, tick: Tick) -> bool:
    """Whether a price is what a limit order waits for, or better, or what a stop order waits for, or worse."""
    assert order.price is not None, "only orders with a price wait"
    side = Side(order.side)
    worse: Decimal = (tick.price.to_open(side) - order.price) * side.sign
    return worse <= 0 if order.type == Order.Type.LIMIT else worse >= 0


def _fill_or_reject(visit: Visit, order: Order) -> None:
    locked = visit.locked
    opening = engine.evaluate_opening(
        account=locked.account,
        wallet=locked.wallet,
        kill_switches=locked.wallet.kill_switches,
        instrument=locked.market.instruments[order.instrument_id],
        side=Side(order.side),
        volume=order.volume,
        book=locked.book.without_order(order.id),
        market=locked.market,
    )
    if _passes(opening.refusals):
        return
    if opening.refusals:
        _reject(visit, order, opening.refusals[0])
        return
    visit.end_order(order, Order.Status.FILLED, price_filled=opening.price)
    opened = execution.open_position(locked, order, opening, mandate=visit.mandate(Cause.ORDER, "order", str(order.id)))
    visit.positions.append(opened.position)
    visit.tally["filled"] += 1


def _passes(refusals: Iterable[DomainError]) -> bool:
    return any(isinstance(refusal, PASSING) for refusal in refusals)


def _reject(visit: Visit, order: Order, refusal: DomainError) -> None:
    visit.end_order(order, Order.Status.REJECTED, reject_code=refusal.code, reject_context=refusal.context)
    visit.tally["rejected"] += 1
    event = partial(logger.info, "trading.order.rejected", order_id=str(order.id), code=refusal.code)
    transaction.on_commit(event, robust=True)
