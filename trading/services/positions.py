"""A close takes its price and its margin from the server, pays what it earned, and never leaves a client in debt."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from functools import partial
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from core.audit import Actor
from core.db import retry_on_conflict
from core.idempotency import Answer, Claim, Operation, exactly_once
from core.money import show
from trading import engine, execution
from trading.engine import Closing
from trading.errors import PositionClosed, VolumeInvalid
from trading.execution import Mandate
from trading.market import Market
from trading.models import Position
from trading.watch import LockedAccount
from wallets.ledger import Posting

CLOSE = Operation("CLOSE", effect_table="trading_deal")


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
    position, locked = execution.lock_position(claim.owner, position_id)
    market = locked.market

    if position.status == Position.Status.CLOSED:
        raise PositionClosed(number=position.number)
    part = _volume_to_close(position, volume, market)
    closing = engine.evaluate_closing(position, volume=part, currency=locked.wallet.currency, market=market)
    mandate = Mandate(actor=actor, now=timezone.now(), claim=claim)
    receipt = partial(_receipt, closing=closing, locked=locked, now=mandate.now)
    closed = execution.close_position(locked, position, closing, mandate=mandate, receipt=receipt)
    assert closed.answer is not None
    return closed.answer


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


def _receipt(
    posting: Posting | None,
    position: Position,
    deal_id: UUID,
    compensation: Decimal,
    *,
    closing: Closing,
    locked: LockedAccount,
    now: datetime,
) -> Answer:
    wallet, currency = locked.wallet, locked.wallet.currency
    return Answer.of(
        {
            "deal": deal_id,
            "transaction": None if posting is None else posting.id,
            "position": {
                "id": position.id,
                "number": position.number,
                "status": position.status,
                "volume": engine.trimmed(position.volume),
            },
            "symbol": position.instrument_id,
            "side": position.side,
            "volume": engine.trimmed(closing.volume),
            "price": closing.price_text,
            "price_open": closing.price_open_text,
            "profit": show(closing.profit.amount, currency),
            "commission": show(closing.commission.amount, currency),
            "compensation": show(compensation, currency),
            "margin_released": show(closing.released, currency),
            "balance": show(posting.balances[wallet.id] if posting else wallet.balance, currency),
            "held": show(locked.book.held, currency),
            "currency": currency,
            "created_at": now,
        },
        effect_id=deal_id,
    )
