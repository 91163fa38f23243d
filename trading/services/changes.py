"""What waits may be changed or taken back until its price comes, and a position's stops until it is closed."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any, TypedDict
from uuid import UUID

import structlog
from django.db import transaction
from django.utils import timezone

from core.audit import Actor
from core.db import retry_on_conflict
from core.errors import DomainError, Malformed
from trading import engine, execution, selectors
from trading.engine import Instruction
from trading.errors import OrderNotFound, OrderNotWorking, PositionClosed
from trading.margin import Side
from trading.market import WorkingOrder
from trading.models import Order, Position
from trading.watch import Kind, LockedAccount, touch
from wallets import ledger

logger = structlog.get_logger(__name__)

GTD = Order.TimeInForce.GTD


class StopChanges(TypedDict, total=False):
    """New stops by name, None to have none; what is not named stays as it is."""

    stop_loss: Decimal | None
    take_profit: Decimal | None


class OrderChanges(StopChanges, total=False):
    """What of a working order is to be different."""

    price: Decimal
    time_in_force: Order.TimeInForce
    expires_at: datetime | None


@retry_on_conflict
@transaction.atomic(durable=True)
def modify_order(*, owner: UUID, order_id: UUID, changes: OrderChanges, actor: Actor) -> Order:
    """
    Give a working order other prices or another expiry; asking again for what it is already changes nothing.

    Another price is judged like a new order, with the margin that this one reserved given back first: it may be barred
    by a freeze, a closed market or too little free margin. Stops and expiry are the client's to change at any time.
    Where any price is changed, only prices from now on trigger the order.

    :raises OrderNotFound: if it does not exist or belongs to somebody else
    :raises OrderNotWorking: if it is filled, cancelled, expired or rejected
    :raises Malformed: if a price is not on the grid, or expiry and time in force do not go together
    :raises DomainError: the first reason why an order like that would be refused, as when placing it
    """
    order, locked = _lock_order(owner, order_id)
    if order.status != Order.Status.WORKING:
        raise OrderNotWorking(order=order.id, status=order.status)
    before = Instruction.of(order)
    after = _changed(before, changes)
    if after == before:
        return order
    engine.require_on_grid(locked.market.instruments[order.instrument_id], after)
    reserved = _judge(order, locked, before, after)

    now = timezone.now()
    order.price, order.stop_loss, order.take_profit = after.price, after.stop_loss, after.take_profit
    order.time_in_force, order.expires_at = after.time_in_force, after.expires_at
    order.margin_reserved, order.updated_at = reserved, now
    if _prices(after) != _prices(before):
        order.watched_after = locked.market.batch
    order.save(
        update_fields=[
            "price",
            "stop_loss",
            "take_profit",
            "time_in_force",
            "expires_at",
            "margin_reserved",
            "watched_after",
            "updated_at",
        ]
    )
    locked.book = locked.book.with_order(WorkingOrder.of(order))
    locked.note(Kind.ORDER, order.id)
    touch(locked, now=now)
    event = partial(logger.info, "trading.order.modified", order_id=str(order.id), actor_id=str(actor.id))
    transaction.on_commit(event, robust=True)
    return order


@retry_on_conflict
@transaction.atomic(durable=True)
def cancel_order(*, owner: UUID, order_id: UUID, actor: Actor) -> Order:
    """
    Take a working order back; nothing stands in the way of it, and an order that is cancelled already stays so.

    :raises OrderNotFound: if it does not exist or belongs to somebody else
    :raises OrderNotWorking: if it is filled, expired or rejected
    """
    order, locked = _lock_order(owner, order_id)
    if order.status == Order.Status.CANCELLED:
        return order
    if order.status != Order.Status.WORKING:
        raise OrderNotWorking(order=order.id, status=order.status)
    now = timezone.now()
    execution.cancel_order(locked, order, reason=Order.CancelReason.CLIENT, actor=actor, now=now)
    touch(locked, now=now)
    return order


@retry_on_conflict
@transaction.atomic(durable=True)
def modify_position(*, owner: UUID, position_id: UUID, changes: StopChanges, actor: Actor) -> Position:
    """
    Set, move or remove the stop loss and take profit of an open position; only prices from now on trigger them.

    Neither a freeze nor a kill switch nor the margin stands in the way. A new stop needs a price to be measured from,
    and an open market; removing one needs neither.

    :raises PositionNotFound: if it does not exist or belongs to somebody else
    :raises PositionClosed: if nothing of it is open
    :raises Malformed: if a price is not on the grid
    :raises StopLossInvalid, TakeProfitInvalid: if it is on the wrong side of the price or too near, with the nearest
    :raises MarketClosed, QuoteUnavailable, QuoteStale: if there is no price to measure a new stop from
    """
    position, locked = execution.lock_position(owner, position_id)
    if position.status == Position.Status.CLOSED:
        raise PositionClosed(number=position.number)
    stop_loss = changes.get("stop_loss", position.stop_loss)
    take_profit = changes.get("take_profit", position.take_profit)
    if (stop_loss, take_profit) == (position.stop_loss, position.take_profit):
        return position
    _require_stops(
        position,
        locked,
        stop_loss=_new(stop_loss, position.stop_loss),
        take_profit=_new(take_profit, position.take_profit),
    )

    now = timezone.now()
    position.stop_loss, position.take_profit = stop_loss, take_profit
    position.watched_after, position.updated_at = locked.market.batch, now
    position.save(update_fields=["stop_loss", "take_profit", "watched_after", "updated_at"])
    locked.note(Kind.POSITION, position.id)
    touch(locked, now=now)
    event = partial(logger.info, "trading.position.modified", position_id=str(position.id), actor_id=str(actor.id))
    transaction.on_commit(event, robust=True)
    return position


# --- Locks: the wallet first, then the row, which is read again under it ---------------------------------------------


def _lock_order(owner: UUID, order_id: UUID) -> tuple[Order, LockedAccount]:
    account = selectors.order(owner, order_id).account
    market = selectors.market(timezone.now())
    (wallet,) = ledger.lock_wallets_by_id(account.wallet_id)
    order = Order.objects.select_for_update(no_key=True).order_by("id").filter(pk=order_id).first()
    if order is None:
        raise OrderNotFound
    order.account = account
    return order, LockedAccount(account, wallet, selectors.book(account.id), market)


# --- Judging ---------------------------------------------------------------------------------------------------------


def _changed(before: Instruction, changes: OrderChanges) -> Instruction:
    """What the order asks for with these changes; without a new expiry, GTC ends the one it had."""
    lasts = changes.get("time_in_force", before.time_in_force)
    expires_at = changes.get("expires_at", before.expires_at if lasts == GTD else None)
    if (lasts == GTD) != (expires_at is not None):
        message = "A GTD order has the time at which it expires, and no other has."
        raise Malformed(errors=[{"field": "expires_at", "code": "NOT_APPLICABLE", "message": message}])
    asked: dict[str, Any] = {**changes, "time_in_force": lasts, "expires_at": expires_at}
    return replace(before, **asked)


def _judge(order: Order, locked: LockedAccount, before: Instruction, after: Instruction) -> Decimal:
    """What the order reserves from now on; the first refusal is raised."""
    market, wallet = locked.market, locked.wallet
    instrument = market.instruments[order.instrument_id]
    assert after.price is not None
    if after.price != before.price:
        opening = engine.evaluate_order(
            after,
            account=locked.account,
            wallet=wallet,
            kill_switches=wallet.kill_switches,
            instrument=instrument,
            book=locked.book.without_order(order.id),
            market=market,
        )
        if opening.refusals:
            raise opening.refusals[0]
        assert opening.margin
        return opening.margin.amount
    refusals: list[DomainError] = list(
        engine.stop_refusals(
            side=after.side,
            stop_loss=_new(after.stop_loss, before.stop_loss),
            take_profit=_new(after.take_profit, before.take_profit),
            reference=after.price,
            instrument=instrument,
        )
    )
    if after.expires_at != before.expires_at and (late := engine.expiry_refusal(after.expires_at, market.now)):
        refusals.append(late)
    if refusals:
        raise refusals[0]
    reserved: Decimal = order.margin_reserved
    return reserved


def _require_stops(
    position: Position, locked: LockedAccount, *, stop_loss: Decimal | None, take_profit: Decimal | None
) -> None:
    if stop_loss is None and take_profit is None:
        return
    market, side = locked.market, Side(position.side)
    instrument = market.instruments[position.instrument_id]
    stops = Instruction(side, position.volume, stop_loss=stop_loss, take_profit=take_profit)
    engine.require_on_grid(instrument, stops)
    market.require_open(instrument.symbol)
    reference = market.fresh(instrument.symbol).price.to_close(side)
    refusal = next(
        engine.stop_refusals(
            side=side, stop_loss=stop_loss, take_profit=take_profit, reference=reference, instrument=instrument
        ),
        None,
    )
    if refusal is not None:
        raise refusal


def _new(price: Decimal | None, known: Decimal | None) -> Decimal | None:
    """A stop that was not there before; one that is left where it is need not be far from the price any more."""
    return None if price == known else price


def _prices(asked: Instruction) -> tuple[Decimal | None, ...]:
    return asked.price, asked.stop_loss, asked.take_profit
