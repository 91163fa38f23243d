"""A close takes its price and its margin from the server, pays what it earned, and never leaves a client in debt."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import partial
from uuid import UUID

import structlog
from django.db import transaction
from django.utils import timezone

from core.audit import Actor
from core.db import retry_on_conflict
from core.idempotency import Answer, Claim, Operation, exactly_once
from core.ids import uuid7
from core.money import show
from trading import engine, margin, selectors
from trading.engine import Closing
from trading.errors import PositionClosed, PositionNotFound, VolumeInvalid
from trading.market import Market, OpenPosition
from trading.models import Deal, Position
from wallets import ledger
from wallets.ledger import Leg, LockedWallet, Posting, Reason, Type
from wallets.models import Kind

logger = structlog.get_logger(__name__)

CLOSE = Operation("CLOSE", effect_table="trading_deal")


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What a close does to the account, beyond the closing deal itself."""

    deal_id: UUID
    held_after: Decimal
    compensation: Decimal


@retry_on_conflict
@transaction.atomic(durable=True)
@exactly_once(CLOSE)
def close_position(*, position_id: UUID, volume: Decimal | None, claim: Claim, actor: Actor) -> Answer:
    """
    Close `volume` lots of a position, or all that is left of it (None), at the current price, exactly once per claim.

    Longs close at the bid, shorts at the ask. Profit, commission and, when nothing stays open and the account would
    owe, the house's compensation are one posting; margin is released in the same statement. Closing the whole
    remainder is exempt from the volume grid, and closing is never blocked by margin.

    :raises PositionNotFound: if it does not exist or belongs to somebody else
    :raises PositionClosed: if nothing of it is open
    :raises VolumeInvalid: if more is asked for than is open, or a part is off the grid
    :raises MarketClosed: outside the instrument's hours, with the moment it opens at
    :raises QuoteUnavailable, QuoteStale, ConversionRateUnavailable: if there is no price to close or convert at
    """
    assert volume is None or volume > 0, "serializers refuse volumes that are not positive"
    wallet_id = selectors.position(claim.owner, position_id).account.wallet_id
    market = selectors.market(timezone.now())

    (wallet,) = ledger.lock_wallets_by_id(wallet_id)
    position = Position.objects.select_for_update(no_key=True).order_by("id").filter(pk=position_id).first()
    if position is None:
        raise PositionNotFound

    if position.status == Position.Status.CLOSED:
        raise PositionClosed(number=position.number)
    part = _volume_to_close(position, volume, market)
    closing = engine.evaluate_closing(position, volume=part, currency=wallet.currency, market=market)
    others = [one for one in selectors.open_positions(position.account_id) if one.id != position.id]
    return _settle(position, closing, others, wallet, claim, actor)


def _volume_to_close(position: Position, volume: Decimal | None, market: Market) -> Decimal:
    remainder: Decimal = position.volume
    if volume is None or volume == remainder:
        return remainder
    instrument = market.instruments[position.instrument_id]
    if volume > remainder:
        raise VolumeInvalid(
            volume=engine.trimmed(volume),
            symbol=instrument.symbol,
            min=engine.trimmed(min(instrument.volume_min, remainder)),
            max=engine.trimmed(remainder),
            step=engine.trimmed(instrument.volume_step),
            nearest=engine.trimmed(remainder),
        )
    if (invalid := engine.volume_refusal(instrument, volume)) is not None:
        raise invalid
    return volume


def _settle(
    position: Position,
    closing: Closing,
    others: list[OpenPosition],
    wallet: LockedWallet,
    claim: Claim,
    actor: Actor,
) -> Answer:
    """Write the closing deal, release its margin and post its money; every figure is known by now."""
    now = timezone.now()
    rest = closing.rest_of(position)
    held_after = engine.held_by([*others, *rest])
    profit, commission = closing.profit.amount, closing.commission.amount
    compensation = Decimal(0)
    if not others and not rest:
        compensation = margin.negative_balance_compensation(wallet.balance + profit - commission)
    outcome = _Outcome(uuid7(), held_after, compensation)
    _store_position(position, closing, now)
    receipt = partial(
        _receipt, position=position, closing=closing, outcome=outcome, wallet=wallet, is_last=not rest, now=now
    )
    legs = _legs(wallet, profit=profit, commission=commission, compensation=compensation)
    if legs:
        posted = ledger.post(
            legs,
            type=Type.CLOSE,
            owner=claim.owner,
            actor=actor,
            now=now,
            claim=claim,
            answer=receipt,
            held={wallet.id: held_after},
            reference=f"position {position.number}",
        )
        transaction_id, answer = posted.id, posted.answer
        assert answer is not None
    else:
        ledger.set_held(wallet, held_after)
        transaction_id, answer = None, receipt(None)
    Deal.objects.create(
        id=outcome.deal_id,
        owner_id=claim.owner,
        account_id=position.account_id,
        position=position,
        instrument_id=position.instrument_id,
        entry=Deal.Entry.OUT,
        side=position.side,
        volume=closing.volume,
        price=closing.price,
        price_open=position.price_open,
        margin=closing.released,
        profit=profit,
        commission=commission,
        compensation=compensation,
        inputs=closing.inputs,
        transaction_id=transaction_id,
        idempotency_digest=claim.digest,
        executed_at=now,
    )
    transaction.on_commit(
        partial(logger.info, "trading.position.closed", position_id=str(position.id), deal_id=str(outcome.deal_id)),
        robust=True,
    )
    return answer


def _store_position(position: Position, closing: Closing, now: datetime) -> None:
    position.volume -= closing.volume
    position.margin_locked -= closing.released
    position.profit += closing.profit.amount
    position.commission += closing.commission.amount
    position.updated_at = now
    if not position.volume:
        position.status, position.closed_at = Position.Status.CLOSED, now
    position.save(
        update_fields=["volume", "margin_locked", "profit", "commission", "status", "closed_at", "updated_at"]
    )


def _legs(wallet: LockedWallet, *, profit: Decimal, commission: Decimal, compensation: Decimal) -> list[Leg]:
    """Both sides of everything the close moves; what is zero is left out."""
    movements = (
        (Kind.HOUSE_TRADING_PNL, profit, Reason.TRADE_PNL),
        (Kind.HOUSE_COMMISSION, -commission, Reason.COMMISSION),
        (Kind.HOUSE_NEGATIVE_BALANCE, compensation, Reason.NEGATIVE_BALANCE_PROTECTION),
    )
    legs = []
    for kind, amount, reason in movements:
        if amount:
            house = ledger.house(kind, wallet.currency, wallet.environment)
            legs += [Leg(wallet, amount, reason), Leg(house, -amount, reason)]
    return legs


def _receipt(
    posting: Posting | None,
    *,
    position: Position,
    closing: Closing,
    outcome: _Outcome,
    wallet: LockedWallet,
    is_last: bool,
    now: datetime,
) -> Answer:
    currency = wallet.currency
    return Answer.of(
        {
            "deal": outcome.deal_id,
            "transaction": None if posting is None else posting.id,
            "position": {
                "id": position.id,
                "number": position.number,
                "status": Position.Status.CLOSED if is_last else Position.Status.OPEN,
                "volume": engine.trimmed(position.volume),
            },
            "symbol": position.instrument_id,
            "side": position.side,
            "volume": engine.trimmed(closing.volume),
            "price": closing.price_text,
            "price_open": closing.price_open_text,
            "profit": show(closing.profit.amount, currency),
            "commission": show(closing.commission.amount, currency),
            "compensation": show(outcome.compensation, currency),
            "margin_released": show(closing.released, currency),
            "balance": show(posting.balances[wallet.id] if posting else wallet.balance, currency),
            "held": show(outcome.held_after, currency),
            "currency": currency,
            "created_at": now,
        },
        effect_id=outcome.deal_id,
    )
