"""An order is filled at our price under the client's wallet lock, or kept with the reason why not."""

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
from core.audit import Actor
from core.db import retry_on_conflict
from core.errors import DomainError
from core.idempotency import Answer, Claim, Operation, exactly_once
from core.ids import uuid7
from core.models import KillSwitch
from core.money import show
from trading import engine, execution, selectors
from trading.engine import Opening, Tolerance
from trading.errors import ClientOrderIdTaken, InstrumentNotFound
from trading.execution import Mandate
from trading.margin import Side
from trading.models import Instrument, Order, Position
from trading.watch import Kind, LockedAccount, touch
from wallets import ledger
from wallets.ledger import Posting

logger = structlog.get_logger(__name__)

OPEN = Operation("OPEN", effect_table="trading_order")


@dataclass(frozen=True, slots=True)
class _Ticket:
    """An order on its way: everything fixed before the first write."""

    locked: LockedAccount
    instrument: Instrument
    opening: Opening
    tolerance: Tolerance | None
    client_order_id: str | None
    order_id: UUID


@retry_on_conflict
@transaction.atomic(durable=True)
@exactly_once(OPEN)
def place_order(
    *,
    account: str,
    symbol: str,
    side: Side,
    volume: Decimal,
    client_order_id: str | None,
    tolerance: Tolerance | None = None,
    claim: Claim,
    actor: Actor,
) -> Answer:
    """
    Fill a market order at the current price, or store it as rejected, exactly once per claim.

    `account` is a trading account's number, `volume` in lots. A rejection is a business answer: the order is kept with
    its code and numbers, nothing else changes, and the answer names the order in its context.
    With a `tolerance`, a fill at a worse price than it allows is refused.

    :raises TradingAccountNotFound, InstrumentNotFound: if there is no such thing for this client
    :raises ClientOrderIdTaken: if the account has an order of that name, with its id
    :raises Malformed: if the expected price has more digits than the instrument
    """
    assert volume > 0, "serializers refuse volumes that are not positive"
    trading_account = selectors.trading_account(claim.owner, account)
    now = timezone.now()
    market = selectors.market(now)
    instrument = market.instruments.get(symbol)
    if instrument is None:
        raise InstrumentNotFound(symbol=symbol)

    (wallet,) = ledger.lock_wallets_by_id(trading_account.wallet_id)

    _require_new(trading_account, client_order_id)
    locked = LockedAccount(trading_account, wallet, selectors.book(trading_account.id), market)
    opening = engine.evaluate_opening(
        account=trading_account,
        wallet=wallet,
        kill_switches=wallet.kill_switches,
        instrument=instrument,
        side=side,
        volume=volume,
        book=locked.book,
        market=market,
    )
    engine.hold_to(opening, tolerance, instrument)
    ticket = _Ticket(locked, instrument, opening, tolerance, client_order_id, uuid7())
    if opening.refusals:
        return _reject(ticket, opening.refusals[0], claim)
    return _fill(ticket, claim, actor)


def preview_order(
    *, owner: UUID, account: str, symbol: str, side: Side, volume: Decimal, tolerance: Tolerance | None = None
) -> dict[str, Any]:
    """
    What `place_order` would do now, by the same reckoning, without a lock and without doing it.

    :raises TradingAccountNotFound, InstrumentNotFound: if there is no such thing for this client
    :raises Malformed: if the expected price has more digits than the instrument
    """
    trading_account = selectors.trading_account(owner, account)
    market = selectors.market(timezone.now())
    instrument = market.instruments.get(symbol)
    if instrument is None:
        raise InstrumentNotFound(symbol=symbol)
    wallet, book = trading_account.wallet, selectors.book(trading_account.id)
    opening = engine.evaluate_opening(
        account=trading_account,
        wallet=wallet,
        kill_switches=frozenset(KillSwitch.objects.filter(engaged=True).values_list("scope", flat=True)),
        instrument=instrument,
        side=side,
        volume=volume,
        book=book,
        market=market,
    )
    engine.hold_to(opening, tolerance, instrument)
    stop_out = engine.stop_out_price(opening, instrument=instrument, wallet=wallet, book=book, market=market)
    return engine.opening_document(opening, instrument, wallet.currency, stop_out) | {
        "account": trading_account.number,
        "symbol": symbol,
        "side": side.value,
        "volume": engine.trimmed(volume),
    }


def _require_new(account: TradingAccount, client_order_id: str | None) -> None:
    if client_order_id is None:
        return
    taken = Order.objects.filter(owner_id=account.owner_id, account=account, client_order_id=client_order_id)
    if (order := taken.values_list("id", flat=True).first()) is not None:
        raise ClientOrderIdTaken(client_order_id=client_order_id, order=order)


def _reject(ticket: _Ticket, refusal: DomainError, claim: Claim) -> Answer:
    order, now = _store_order(ticket, claim, status=Order.Status.REJECTED, refusal=refusal), timezone.now()
    ticket.locked.note(Kind.ORDER, order.id)
    touch(ticket.locked, now=now)
    transaction.on_commit(
        partial(logger.info, "trading.order.rejected", order_id=str(order.id), code=refusal.code), robust=True
    )
    return Answer.refusal(refusal, claim, order=order.id)


def _store_order(ticket: _Ticket, claim: Claim, *, status: Order.Status, refusal: DomainError | None = None) -> Order:
    now = timezone.now()
    return Order.objects.create(
        id=ticket.order_id,
        owner_id=claim.owner,
        account=ticket.locked.account,
        instrument=ticket.instrument,
        side=ticket.opening.side.value,
        type=Order.Type.MARKET,
        volume=ticket.opening.volume,
        client_order_id=ticket.client_order_id,
        status=status,
        reject_code=refusal.code if refusal else "",
        reject_context=refusal.context if refusal else None,
        price_expected=ticket.tolerance.price if ticket.tolerance else None,
        deviation_max=ticket.tolerance.points_max if ticket.tolerance else None,
        price_filled=None if refusal else ticket.opening.price,
        idempotency_digest=claim.digest,
        created_at=now,
        updated_at=now,
    )


def _fill(ticket: _Ticket, claim: Claim, actor: Actor) -> Answer:
    """Write order, position and deal, hold the margin and charge the commission; every figure is known by now."""
    mandate = Mandate(actor=actor, now=timezone.now(), claim=claim)
    order = _store_order(ticket, claim, status=Order.Status.FILLED)
    receipt = partial(_receipt, ticket=ticket, now=mandate.now)
    opened = execution.open_position(ticket.locked, order, ticket.opening, mandate=mandate, receipt=receipt)
    touch(ticket.locked, now=mandate.now)
    assert opened.answer is not None
    return opened.answer


def _receipt(posting: Posting | None, position: Position, deal_id: UUID, *, ticket: _Ticket, now: datetime) -> Answer:
    opening, wallet = ticket.opening, ticket.locked.wallet
    assert opening.margin
    assert opening.commission
    assert opening.price is not None
    assert opening.state_after is not None
    currency = wallet.currency
    return Answer.of(
        {
            "id": ticket.order_id,
            "account": ticket.locked.account.number,
            "symbol": ticket.instrument.symbol,
            "side": opening.side.value,
            "type": Order.Type.MARKET,
            "volume": engine.trimmed(opening.volume),
            "client_order_id": ticket.client_order_id,
            "status": Order.Status.FILLED,
            "price": engine.price_text(opening.price, ticket.instrument),
            "position": {"id": position.id, "number": position.number},
            "deal": deal_id,
            "transaction": None if posting is None else posting.id,
            "margin": show(opening.margin.amount, currency),
            "commission": show(opening.commission.amount, currency),
            "balance": show(opening.state_after.balance, currency),
            "held": show(opening.state_after.held, currency),
            "free_margin": show(opening.state_after.free_margin, currency),
            "currency": currency,
            "created_at": now,
        },
        effect_id=ticket.order_id,
    )
