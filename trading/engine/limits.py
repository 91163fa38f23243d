"""How much one account may have open: on the instrument's grid, in one direction, and all together."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import ROUND_FLOOR, Decimal

from django.conf import settings

from core.errors import DomainError
from core.money import CURRENCIES, show
from trading import margin
from trading.engine.figures import trimmed
from trading.engine.state import exposure_of
from trading.errors import (
    ExposureLimitReached,
    PositionsLimitReached,
    VolumeInvalid,
    VolumeLimitReached,
    WorkingOrdersLimitReached,
)
from trading.margin import Side
from trading.market import Book, Market, OpenPosition, WorkingOrder
from trading.models import Instrument

ZERO = Decimal(0)


def volume_refusal(instrument: Instrument, volume: Decimal) -> VolumeInvalid | None:
    """Why this volume is off the instrument's grid, with the nearest that is on it; None if it is fine."""
    low, high, step = instrument.volume_min, instrument.volume_max, instrument.volume_step
    if low <= volume <= high and volume % step == 0:
        return None
    nearest = min(max((volume / step).to_integral_value(rounding=ROUND_FLOOR) * step, low), high)
    return VolumeInvalid(
        volume=volume.normalize(),
        symbol=instrument.symbol,
        min=trimmed(low),
        max=trimmed(high),
        step=trimmed(step),
        nearest=trimmed(nearest),
    )


def least_volume(instrument: Instrument, locks: Callable[[Decimal], bool]) -> Decimal:
    """
    The smallest volume on the grid whose margin does not round to nothing; beyond the largest if there is none.

    `locks(volume)` says whether so many lots lock anything; more never lock less.
    """
    low: Decimal = instrument.volume_min
    high: Decimal = instrument.volume_max
    step: Decimal = instrument.volume_step
    if locks(low):
        return low
    nothing = int((low / step).to_integral_value(rounding=ROUND_FLOOR))
    something = int((high / step).to_integral_value(rounding=ROUND_FLOOR)) + 1
    while something - nothing > 1:
        middle = (nothing + something) // 2
        nothing, something = (nothing, middle) if locks(middle * step) else (middle, something)
    return something * step


def count_refusal(book: Book, *, waits: bool) -> PositionsLimitReached | WorkingOrdersLimitReached | None:
    """
    Why one more would be too many; None if it would not.

    Positions are counted when one is opened: an order that waits only has to find room among those that wait, and is
    asked again when its price has come.
    """
    if waits and len(book.orders) >= settings.WORKING_ORDERS_MAX:
        return WorkingOrdersLimitReached(count=len(book.orders), max=settings.WORKING_ORDERS_MAX)
    if not waits and len(book.positions) >= settings.POSITIONS_MAX:
        return PositionsLimitReached(count=len(book.positions), max=settings.POSITIONS_MAX)
    return None


def volume_limit_refusal(
    instrument: Instrument, side: Side, volume: Decimal, holdings: Iterable[OpenPosition | WorkingOrder]
) -> VolumeLimitReached | None:
    """Why these lots would be too many in one direction on one account; None if they are not."""
    if instrument.volume_limit is None:
        return None
    same = (one.volume for one in holdings if (one.symbol, one.side) == (instrument.symbol, side))
    current = sum(same, start=ZERO)
    if current + volume <= instrument.volume_limit:
        return None
    return VolumeLimitReached(
        symbol=instrument.symbol,
        side=side.value,
        max=trimmed(instrument.volume_limit),
        current=trimmed(current),
        available=trimmed(max(ZERO, instrument.volume_limit - current)),
    )


def limit(
    *,
    refusals: list[DomainError],
    instrument: Instrument,
    side: Side,
    volume: Decimal,
    price: Decimal,
    currency: str,
    book: Book,
    market: Market,
) -> Callable[[Decimal], bool]:
    """
    Refuse what the account's limits do not leave room for, and return the test itself, by volume.

    :raises margin.RateUnavailable: if something cannot be converted into the account's currency
    """
    rates, contract, digits = market.rates(fresh_only=True), instrument.contract(), CURRENCIES[currency].digits
    holdings: tuple[OpenPosition | WorkingOrder, ...] = (*book.positions, *book.orders)
    current = exposure_of(holdings, market=market, currency=currency)
    available = max(ZERO, settings.EXPOSURE_MAX - current)

    def added(volume: Decimal) -> Decimal:
        return margin.exposure(
            contract,
            side=side,
            volume=volume,
            price=price,
            account_currency=currency,
            rates=rates,
            currency_digits=digits,
        )

    if (too_many := volume_limit_refusal(instrument, side, volume, holdings)) is not None:
        refusals.append(too_many)
    if (required := added(volume)) > available:
        refusals.append(
            ExposureLimitReached(
                max=show(settings.EXPOSURE_MAX, currency),
                current=show(current, currency),
                available=show(available, currency),
                required=show(required, currency),
                currency=currency,
            )
        )
    return lambda wanted: (
        volume_limit_refusal(instrument, side, wanted, holdings) is None and added(wanted) <= available
    )
