"""What opening and closing a position takes: the same rows and postings whether a client or a price asks for it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

import structlog
from django.db import transaction
from django.utils import timezone

from accounts.models import TradingAccount
from core import rows
from core.audit import Actor
from core.idempotency import Answer, Claim
from core.ids import uuid7
from core.money import show
from core.rows import Write
from trading import engine, margin, prices, selectors, sessions
from trading.engine import Closing, Opening
from trading.errors import PositionNotFound, TradingAccountNotFound
from trading.market import Market, OpenPosition
from trading.models import Deal, Order, Position
from trading.watch import Kind, LockedAccount, touching
from wallets import ledger
from wallets.ledger import Leg, LockedWallet, Posting, Reason, Type
from wallets.models import Kind as WalletKind

logger = structlog.get_logger(__name__)

Cause = Deal.Cause

#: A deal names what was posted with it; nothing, where no money moved.
IN_ITS_TRANSACTION = {"transaction_id": "%(id)s::uuid"}


@dataclass(frozen=True, slots=True)
class Mandate:
    """
    On whose behalf and why something is executed.

    A client's claim, or the permanent `digest` of something that the desk does once by its nature; `batch` is the price
    batch that caused it, None where the client did.
    """

    actor: Actor
    now: datetime
    cause: Deal.Cause = Cause.CLIENT
    batch: int | None = None
    claim: Claim | None = None
    digest: bytes | None = None

    @property
    def permanent_digest(self) -> bytes:
        """What keeps the effect from happening twice, whatever becomes of the answer."""
        digest = self.digest if self.claim is None else self.claim.digest
        assert digest is not None
        return digest


@dataclass(frozen=True, slots=True)
class Opened:
    """A position as it was just opened."""

    position: Position
    answer: Answer | None


@dataclass(frozen=True, slots=True)
class Closed:
    """What was just closed of a position."""

    deal_id: UUID
    compensation: Decimal
    answer: Answer | None


#: Builds the client's receipt; the posting is None where no money moved.
OpenedReceipt = Callable[[Posting | None, Position, UUID], Answer]
ClosedReceipt = Callable[[Posting | None, Position, UUID, Decimal], Answer]


# A client's account is found and its wallet locked by one statement, which also says whether prices or terms have
# changed: these are kept, and hardly ever have to be read under the lock.
_ACCOUNT = "accounts_tradingaccount t ON t.wallet_id = w.id"
_BY_NUMBER = "t.number = %(number)s::varchar AND t.owner_id = %(owner)s::uuid"
_OF_POSITION = """
t.id = (SELECT p.account_id FROM trading_position p WHERE p.id = %(position)s::uuid AND p.owner_id = %(owner)s::uuid)
"""


def lock_account(owner: UUID, number: str) -> tuple[TradingAccount, LockedWallet, Market]:
    """
    A client's account with its wallet, which is locked, and the market.

    :raises TradingAccountNotFound: if it does not exist or belongs to somebody else
    """
    found = _lock_account(_BY_NUMBER, number=number, owner=owner)
    if found is None:
        raise TradingAccountNotFound(number=number)
    return found


def lock_position(owner: UUID, position_id: UUID) -> tuple[Position, LockedAccount]:
    """
    A client's position and its account: the wallet is locked first, then the row, which is read under it.

    :raises PositionNotFound: if it does not exist or belongs to somebody else
    """
    found = _lock_account(_OF_POSITION, position=position_id, owner=owner)
    if found is None:
        raise PositionNotFound
    account, wallet, market = found
    position, book = selectors.locked_position_and_book(position_id, account.id)
    position.account = account
    return position, LockedAccount(account, wallet, book, market)


def _lock_account(where: str, **params: Any) -> tuple[TradingAccount, LockedWallet, Market] | None:
    now = timezone.now()
    found = ledger.lock_wallet_with(_ACCOUNT, where, also=_account_and_stamp(), **params)
    if found is None:
        return None
    wallet, columns = found
    account, stamp = rows.loaded(TradingAccount, columns)
    return account, wallet, selectors.market(now, prices.Stamp(*stamp))


@functools.cache
def _account_and_stamp() -> str:
    return f"{rows.names(TradingAccount)}, {prices.STAMP}"


def open_position(
    locked: LockedAccount,
    order: Order,
    opening: Opening,
    *,
    mandate: Mandate,
    receipt: OpenedReceipt | None = None,
    stores: Sequence[Write] = (),
) -> Opened:
    """
    Write position and deal of an order that is filled, hold the margin and charge the commission, in one statement.

    For a client the same statement puts down what prices can do to the account from now on.

    The order is stored as filled, or `stores` does it in the same breath.

    Every figure is known by now: `opening` was evaluated on the `locked` account and found without a refusal. The
    position takes the order's stop and target, and prices later than the market's trigger them.
    """
    assert opening.margin
    assert opening.commission
    assert opening.price is not None
    assert opening.held_after is not None
    assert not opening.refusals, "what is refused is not executed"
    wallet, commission, now = locked.wallet, opening.commission.amount, mandate.now
    position = _position(order, opening, locked, now)
    deal = _opening_deal(position, opening, locked, mandate)
    house = ledger.house(WalletKind.HOUSE_COMMISSION, wallet.currency, wallet.environment)
    legs = [Leg(wallet, -commission, Reason.COMMISSION), Leg(house, commission, Reason.COMMISSION)]
    locked.book = locked.book.without_order(order.id).with_position(OpenPosition.of(position))
    locked.note(Kind.ORDER, order.id)
    locked.note(Kind.POSITION, position.id)
    locked.note(Kind.DEAL, deal.id)
    _, answer = ledger.settle(
        legs,
        wallet=wallet,
        held=opening.held_after,
        type=Type.OPEN,
        actor=mandate.actor,
        now=now,
        claim=mandate.claim,
        answer=None if receipt is None else lambda posting: receipt(posting, position, deal.id),
        digest=mandate.digest,
        reference=f"order {order.id}",
        records=[
            *stores,
            rows.insertion(position, "position"),
            rows.insertion(deal, "deal", **IN_ITS_TRANSACTION),
            *_touching(locked, legs, opening.held_after, mandate),
        ],
    )
    event = partial(
        logger.info,
        "trading.order.filled",
        order_id=str(order.id),
        position_id=str(position.id),
        deal_id=str(deal.id),
        cause=mandate.cause.value,
    )
    transaction.on_commit(event, robust=True)
    return Opened(position, answer)


def _touching(locked: LockedAccount, legs: Sequence[Leg], held: Decimal, mandate: Mandate) -> list[Write]:
    """A client asks for one thing, and its account is touched with it; whoever acts for prices does so at the end."""
    if mandate.claim is None:
        return []
    return [touching(locked, ledger.foreseen(locked.wallet, legs, held=held), now=mandate.now)]


def end_order(locked: LockedAccount, order: Order, status: Order.Status, *, now: datetime, **facts: Any) -> None:
    """
    Let a locked working order wait no more: what it reserved is free again, and no price triggers it.

    `facts` are the columns that say why.
    """
    order.move_to(status)
    for name, value in facts.items():
        setattr(order, name, value)
    order.updated_at = now
    order.save(update_fields=["status", *facts, "updated_at"])
    locked.book = locked.book.without_order(order.id)
    locked.note(Kind.ORDER, order.id)


def cancel_order(
    locked: LockedAccount, order: Order, *, reason: Order.CancelReason, actor: Actor, now: datetime
) -> None:
    """Take back a locked working order."""
    end_order(locked, order, Order.Status.CANCELLED, now=now, cancel_reason=reason)
    event = partial(
        logger.info, "trading.order.cancelled", order_id=str(order.id), actor_id=str(actor.id), reason=reason.value
    )
    transaction.on_commit(event, robust=True)


def _position(order: Order, opening: Opening, locked: LockedAccount, now: datetime) -> Position:
    assert opening.margin
    assert opening.commission
    instrument = locked.market.instruments[order.instrument_id]
    return rows.new(
        Position,
        number=locked.take_number() or selectors.next_position_number(),
        owner_id=locked.wallet.owner,
        account=locked.account,
        instrument=instrument,
        order=order,
        side=opening.side.value,
        volume_initial=opening.volume,
        volume=opening.volume,
        price_open=opening.price,
        stop_loss=order.stop_loss,
        take_profit=order.take_profit,
        watched_after=locked.market.batch,
        leverage=opening.margin.leverage,
        margin_initial=opening.margin.amount,
        margin_locked=opening.margin.amount,
        commission=opening.commission.amount,
        rollover_due_at=sessions.next_rollover(instrument.time_zone, instrument.rollover_at, after=now),
        opened_at=now,
        updated_at=now,
    )


def _opening_deal(position: Position, opening: Opening, locked: LockedAccount, mandate: Mandate) -> Deal:
    assert opening.margin
    assert opening.commission
    instrument = locked.market.instruments[position.instrument_id]
    return rows.new(
        Deal,
        id=uuid7(),
        owner_id=position.owner_id,
        account=locked.account,
        position=position,
        order_id=position.order_id,
        instrument=instrument,
        entry=Deal.Entry.IN,
        cause=mandate.cause,
        batch=mandate.batch,
        side=position.side,
        volume=opening.volume,
        price=opening.price,
        price_open=opening.price,
        margin=opening.margin.amount,
        commission=opening.commission.amount,
        inputs=engine.opening_inputs(opening, instrument, locked.wallet.currency),
        idempotency_digest=mandate.permanent_digest,
        executed_at=mandate.now,
    )


def close_position(
    locked: LockedAccount,
    position: Position,
    closing: Closing,
    *,
    mandate: Mandate,
    receipt: ClosedReceipt | None = None,
) -> Closed:
    """
    Write the closing deal of a locked position, release its margin and post its money; every figure is known by now.

    For a client the same statement puts down what prices can do to the account from now on.

    Profit, commission and, if nothing stays open and the account would owe, compensation and credit are one posting.
    """
    wallet, now = locked.wallet, mandate.now
    rest = closing.rest_of(position)
    book = locked.book
    locked.book = book.without_position(position.id) if rest is None else book.with_position(rest)
    profit, commission = closing.profit.amount, closing.commission.amount
    compensation = Decimal(0)
    if not locked.book.positions:
        compensation = margin.negative_balance_compensation(wallet.balance + profit - commission)
    deal = _closing_deal(locked, position, closing, compensation, mandate)
    is_stop_out = mandate.cause == Cause.STOP_OUT
    legs = _closing_legs(wallet, profit=profit, commission=commission, compensation=compensation)
    held = locked.book.held
    locked.note(Kind.POSITION, position.id)
    locked.note(Kind.DEAL, deal.id)
    _, answer = ledger.settle(
        legs,
        wallet=wallet,
        held=held,
        type=Type.STOP_OUT if is_stop_out else Type.CLOSE,
        actor=mandate.actor,
        now=now,
        claim=mandate.claim,
        answer=None if receipt is None else lambda posting: receipt(posting, position, deal.id, compensation),
        digest=mandate.digest,
        reference=f"position {position.number}",
        records=[
            _reduced(position, closing, now),
            rows.insertion(deal, "deal", **IN_ITS_TRANSACTION),
            *_touching(locked, legs, held, mandate),
        ],
    )
    event = partial(
        logger.info,
        "trading.position.closed",
        position_id=str(position.id),
        deal_id=str(deal.id),
        cause=mandate.cause.value,
    )
    transaction.on_commit(event, robust=True)
    return Closed(deal.id, compensation, answer)


def _closing_deal(
    locked: LockedAccount, position: Position, closing: Closing, compensation: Decimal, mandate: Mandate
) -> Deal:
    wallet = locked.wallet
    kept = {"balance_before": show(wallet.balance, wallet.currency), "stays_open": bool(locked.book.positions)}
    return rows.new(
        Deal,
        id=uuid7(),
        owner_id=wallet.owner,
        account_id=position.account_id,
        position=position,
        instrument_id=position.instrument_id,
        entry=Deal.Entry.OUT,
        cause=mandate.cause,
        batch=mandate.batch,
        side=position.side,
        volume=closing.volume,
        price=closing.price,
        price_open=position.price_open,
        margin=closing.released,
        profit=closing.profit.amount,
        commission=closing.commission.amount,
        compensation=compensation,
        inputs=closing.inputs | kept,
        idempotency_digest=mandate.permanent_digest,
        executed_at=mandate.now,
    )


def _reduced(position: Position, closing: Closing, now: datetime) -> Write:
    """The position less what is closed of it."""
    position.volume -= closing.volume
    position.margin_locked -= closing.released
    position.profit += closing.profit.amount
    position.commission += closing.commission.amount
    position.updated_at = now
    if not position.volume:
        position.status, position.closed_at = Position.Status.CLOSED, now
    names = ("volume", "margin_locked", "profit", "commission", "status", "closed_at", "updated_at")
    return rows.change(position, *names, prefix="position")


def _closing_legs(wallet: LockedWallet, *, profit: Decimal, commission: Decimal, compensation: Decimal) -> list[Leg]:
    """Both sides of everything a close moves."""
    movements = (
        (WalletKind.HOUSE_TRADING_PNL, profit, Reason.TRADE_PNL),
        (WalletKind.HOUSE_COMMISSION, -commission, Reason.COMMISSION),
    )
    legs = []
    for kind, amount, reason in movements:
        house = ledger.house(kind, wallet.currency, wallet.environment)
        legs += [Leg(wallet, amount, reason), Leg(house, -amount, reason)]
    return legs + compensation_legs(wallet, compensation)


def compensation_legs(wallet: LockedWallet, compensation: Decimal) -> list[Leg]:
    """
    Both sides of what the house makes good so that a client owes nothing, whatever it was that they would owe.

    Where it has paid a loss, whatever bonus is left was part of what was at risk, and ends.
    """
    if not compensation:
        return []
    house = ledger.house(WalletKind.HOUSE_NEGATIVE_BALANCE, wallet.currency, wallet.environment)
    protection = Reason.NEGATIVE_BALANCE_PROTECTION
    legs = [Leg(wallet, compensation, protection), Leg(house, -compensation, protection)]
    return legs + ledger.credit_legs(wallet, -wallet.credit)
