"""An order is filled at our price under the client's wallet lock, waits for its own, or is kept with why not."""

from __future__ import annotations

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
from core.db import retry_on_conflict
from core.errors import DomainError
from core.idempotency import Answer, Claim, Operation, exactly_once
from core.ids import uuid7
from core.models import KillSwitch
from core.money import show
from trading import engine, execution, selectors
from trading.engine import Instruction, Opening
from trading.errors import ClientOrderIdTaken, InstrumentNotFound
from trading.execution import Mandate
from trading.margin import AccountState
from trading.market import Market, WorkingOrder
from trading.models import Instrument, Order, Position
from trading.watch import Kind, LockedAccount, touch
from wallets.ledger import Posting

logger = structlog.get_logger(__name__)

OPEN = Operation("OPEN", effect_table="trading_order")


@dataclass(frozen=True, slots=True)
class _Ticket:
    """An order on its way: everything fixed before the first write."""

    locked: LockedAccount
    instrument: Instrument
    instruction: Instruction
    opening: Opening
    client_order_id: str | None
    order_id: UUID


@retry_on_conflict
@transaction.atomic(durable=True)
@exactly_once(OPEN)
def place_order(
    *, account: str, symbol: str, instruction: Instruction, client_order_id: str | None, claim: Claim, actor: Actor
) -> Answer:
    """
    Fill a market order at the current price, let a limit or stop order wait for its own, or store it as rejected.

    Exactly once per claim. `account` is a trading account's number. A rejection is a business answer: the order is kept
    with its code and numbers, nothing else changes, and the answer names the order in its context. An order that waits
    holds no money and costs nothing, but what it would lock has to be free, and stays spoken for.

    :raises TradingAccountNotFound, InstrumentNotFound: if there is no such thing for this client
    :raises ClientOrderIdTaken: if the account has an order of that name, with its id
    :raises Malformed: if a price is not on the instrument's grid, with the nearest that is
    """
    trading_account, wallet, market = execution.lock_account(claim.owner, account)

    instrument = _instrument(market, symbol)
    engine.require_on_grid(instrument, instruction)
    _require_new(trading_account, client_order_id)
    book, number = selectors.book_to_open_in(trading_account.id)
    locked = LockedAccount(trading_account, wallet, book, market, number=number)
    opening = engine.evaluate_order(
        instruction,
        account=trading_account,
        wallet=wallet,
        kill_switches=wallet.kill_switches,
        instrument=instrument,
        book=locked.book,
        market=market,
    )
    ticket = _Ticket(locked, instrument, instruction, opening, client_order_id, uuid7())
    if opening.refusals:
        return _reject(ticket, opening.refusals[0], claim)
    return _wait(ticket, claim) if instruction.waits else _fill(ticket, claim, actor)


def preview_order(*, owner: UUID, account: str, symbol: str, instruction: Instruction) -> dict[str, Any]:
    """
    What `place_order` would do now, by the same reckoning, without a lock and without doing it.

    :raises TradingAccountNotFound, InstrumentNotFound: if there is no such thing for this client
    :raises Malformed: if a price is not on the instrument's grid, with the nearest that is
    """
    trading_account = selectors.trading_account(owner, account)
    market = selectors.market(timezone.now())
    instrument = _instrument(market, symbol)
    engine.require_on_grid(instrument, instruction)
    wallet, book = trading_account.wallet, selectors.book(trading_account.id)
    opening = engine.evaluate_order(
        instruction,
        account=trading_account,
        wallet=wallet,
        kill_switches=frozenset(KillSwitch.objects.filter(engaged=True).values_list("scope", flat=True)),
        instrument=instrument,
        book=book,
        market=market,
    )
    stop_out = engine.stop_out_price(opening, instrument=instrument, wallet=wallet, book=book, market=market)
    first = engine.closes_first(opening, stop_out, instrument=instrument, wallet=wallet, book=book, market=market)
    reserved = opening.margin.amount if instruction.waits and opening.margin else None
    return engine.opening_document(opening, instrument, wallet.currency, stop_out) | {
        "account": trading_account.number,
        "symbol": symbol,
        "side": instruction.side.value,
        "type": instruction.type.value,
        "volume": engine.trimmed(instruction.volume),
        "reserved_margin": None if reserved is None else show(reserved, wallet.currency),
        "closes_first": first,
    }


def _instrument(market: Market, symbol: str) -> Instrument:
    instrument = market.instruments.get(symbol)
    if instrument is None:
        raise InstrumentNotFound(symbol=symbol)
    return instrument


def _require_new(account: TradingAccount, client_order_id: str | None) -> None:
    if client_order_id is None:
        return
    taken = Order.objects.filter(owner_id=account.owner_id, account=account, client_order_id=client_order_id)
    if (order := taken.values_list("id", flat=True).first()) is not None:
        raise ClientOrderIdTaken(client_order_id=client_order_id, order=order)


def _reject(ticket: _Ticket, refusal: DomainError, claim: Claim) -> Answer:
    order, now = _order(ticket, claim, status=Order.Status.REJECTED, refusal=refusal), timezone.now()
    rows.write(rows.insertion(order))
    ticket.locked.note(Kind.ORDER, order.id)
    touch(ticket.locked, now=now)
    transaction.on_commit(
        partial(logger.info, "trading.order.rejected", order_id=str(order.id), code=refusal.code), robust=True
    )
    return Answer.refusal(refusal, claim, order=order.id)


def _order(ticket: _Ticket, claim: Claim, *, status: Order.Status, refusal: DomainError | None = None) -> Order:
    now, asked, opening = timezone.now(), ticket.instruction, ticket.opening
    order = rows.new(
        Order,
        id=ticket.order_id,
        owner_id=claim.owner,
        account=ticket.locked.account,
        instrument=ticket.instrument,
        side=asked.side.value,
        type=asked.type,
        volume=asked.volume,
        price=asked.price,
        stop_loss=asked.stop_loss,
        take_profit=asked.take_profit,
        time_in_force=asked.time_in_force,
        expires_at=asked.expires_at,
        client_order_id=ticket.client_order_id,
        status=Order.Status.NEW,
        reject_code=refusal.code if refusal else "",
        reject_context=refusal.context if refusal else None,
        price_expected=asked.tolerance.price if asked.tolerance else None,
        deviation_max=asked.tolerance.points_max if asked.tolerance else None,
        watched_after=ticket.locked.market.batch,
        idempotency_digest=claim.digest,
        created_at=now,
        updated_at=now,
    )
    order.move_to(status)
    if status == Order.Status.FILLED:
        order.price_filled = opening.price
    elif status == Order.Status.WORKING:
        assert opening.margin
        order.margin_reserved = opening.margin.amount
    return order


def _wait(ticket: _Ticket, claim: Claim) -> Answer:
    """Store the order as working: what it would lock is spoken for from now on, and later prices trigger it."""
    locked, state = ticket.locked, ticket.opening.state_before
    assert state
    order = _order(ticket, claim, status=Order.Status.WORKING)
    rows.write(rows.insertion(order))
    locked.book = locked.book.with_order(WorkingOrder.of(order))
    locked.note(Kind.ORDER, order.id)
    touch(locked, now=order.created_at)
    transaction.on_commit(partial(logger.info, "trading.order.placed", order_id=str(order.id)), robust=True)
    return _receipt(
        ticket,
        state,
        status=order.status,
        margin_reserved=show(order.margin_reserved, locked.wallet.currency),
        created_at=order.created_at,
    )


def _fill(ticket: _Ticket, claim: Claim, actor: Actor) -> Answer:
    """Write order, position and deal, hold the margin and charge the commission; every figure is known by now."""
    mandate = Mandate(actor=actor, now=timezone.now(), claim=claim)
    order = _order(ticket, claim, status=Order.Status.FILLED)
    stores = [rows.insertion(order, "order")]
    receipt = partial(_filled_receipt, ticket=ticket, now=mandate.now)
    opened = execution.open_position(
        ticket.locked, order, ticket.opening, mandate=mandate, receipt=receipt, stores=stores
    )
    assert opened.answer is not None
    return opened.answer


def _filled_receipt(
    posting: Posting | None, position: Position, deal_id: UUID, *, ticket: _Ticket, now: datetime
) -> Answer:
    opening, currency = ticket.opening, ticket.locked.wallet.currency
    assert opening.margin
    assert opening.commission
    assert opening.price is not None
    assert opening.state_after is not None
    return _receipt(
        ticket,
        opening.state_after,
        status=Order.Status.FILLED,
        price_filled=engine.price_text(opening.price, ticket.instrument),
        position={"id": position.id, "number": position.number},
        deal=deal_id,
        transaction=None if posting is None else posting.id,
        margin=show(opening.margin.amount, currency),
        commission=show(opening.commission.amount, currency),
        created_at=now,
    )


def _receipt(ticket: _Ticket, state: AccountState, **outcome: Any) -> Answer:
    """What was asked for, what became of it, and what the account is worth then."""
    asked, currency = ticket.instruction, ticket.locked.wallet.currency

    def price(value: Decimal | None) -> str | None:
        return None if value is None else engine.price_text(value, ticket.instrument)

    document = {
        "id": ticket.order_id,
        "account": ticket.locked.account.number,
        "symbol": ticket.instrument.symbol,
        "side": asked.side.value,
        "type": asked.type,
        "volume": engine.trimmed(asked.volume),
        "price": price(asked.price),
        "stop_loss": price(asked.stop_loss),
        "take_profit": price(asked.take_profit),
        "time_in_force": asked.time_in_force,
        "expires_at": asked.expires_at,
        "client_order_id": ticket.client_order_id,
        "status": None,
        "price_filled": None,
        "position": None,
        "deal": None,
        "transaction": None,
        "margin": None,
        "margin_reserved": None,
        "commission": None,
        "balance": show(state.balance, currency),
        "held": show(state.held, currency),
        "free_margin": show(state.free_margin, currency),
        "currency": currency,
        "created_at": None,
    }
    return Answer.of(document | outcome, effect_id=ticket.order_id)
