"""Where an order may wait and a position may be stopped: on the right side of the price, and far enough from it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from typing import Any

from core.errors import DomainError, Malformed
from core.money import PrecisionExceeded
from trading.engine.figures import price_text, trimmed
from trading.errors import DeviationExceeded, ExpiryInvalid, OrderPriceInvalid, StopLossInvalid, TakeProfitInvalid
from trading.margin import Side
from trading.market import Tick
from trading.models import Instrument, Order


@dataclass(frozen=True, slots=True)
class Tolerance:
    """The price a client saw, and by how many points the fill may be worse; a better fill is always welcome."""

    price: Decimal
    points_max: int


@dataclass(frozen=True, slots=True)
class Instruction:
    """
    What an order asks for; by default to be filled at the market.

    `price` is what a limit or stop order waits for, and only it has one; a `tolerance` is a market order's.
    """

    side: Side
    volume: Decimal
    type: Order.Type = Order.Type.MARKET
    price: Decimal | None = None
    stop_loss: Decimal | None = None
    take_profit: Decimal | None = None
    time_in_force: Order.TimeInForce = Order.TimeInForce.IOC
    expires_at: datetime | None = None
    tolerance: Tolerance | None = None

    def __post_init__(self) -> None:
        assert self.volume > 0, "serializers refuse volumes that are not positive"
        assert self.waits == (self.price is not None), "what waits, waits for a price"
        assert not (self.waits and self.tolerance), "what waits is filled at the market's price when its own has come"

    @property
    def waits(self) -> bool:
        return self.type != Order.Type.MARKET

    @classmethod
    def of(cls, order: Order) -> Instruction:
        """What a working order asks for."""
        return cls(
            side=Side(order.side),
            volume=order.volume,
            type=Order.Type(order.type),
            price=order.price,
            stop_loss=order.stop_loss,
            take_profit=order.take_profit,
            time_in_force=Order.TimeInForce(order.time_in_force),
            expires_at=order.expires_at,
        )

    def supposed(self, tick: Tick, instrument: Instrument) -> Tick:
        """The tick it is reckoned at: the market's, or for an order that waits one of the same spread at its price."""
        if self.price is None:
            return tick
        if self.side is Side.SELL:
            return replace(tick, bid=self.price, ask=self.price + (tick.ask - tick.bid))
        bid = max(self.price - (tick.ask - tick.bid), instrument.tick_size)
        return replace(tick, bid=bid, ask=self.price)


def require_on_grid(instrument: Instrument, instruction: Instruction) -> None:
    """
    Refuse prices that the instrument cannot have, each by its field's name; of an expected price only the decimals.

    :raises Malformed: with the nearest price that is on the grid
    """
    tolerance = instruction.tolerance
    prices = {
        "price": instruction.price,
        "stop_loss": instruction.stop_loss,
        "take_profit": instruction.take_profit,
    }
    errors = [_grid_error(instrument, name, price) for name, price in prices.items() if price is not None]
    if tolerance is not None and tolerance.price % _point(instrument):
        errors.append(_too_precise(instrument, "price"))
    if found := [error for error in errors if error is not None]:
        raise Malformed(errors=found)


def _grid_error(instrument: Instrument, name: str, price: Decimal) -> dict[str, Any] | None:
    step = instrument.tick_size
    if price % _point(instrument):
        return _too_precise(instrument, name)
    if price % step:
        nearest = max(step, (price / step).to_integral_value(rounding=ROUND_HALF_EVEN) * step)
        message = (
            f"{instrument.symbol} moves in steps of {trimmed(step)}; the nearest is {price_text(nearest, instrument)}."
        )
        return {"field": name, "code": "OFF_THE_GRID", "message": message}
    return None


def _too_precise(instrument: Instrument, name: str) -> dict[str, Any]:
    message = f"{instrument.symbol} has {instrument.digits} decimals."
    return {"field": name, "code": PrecisionExceeded.code, "message": message}


def _point(instrument: Instrument) -> Decimal:
    return Decimal(1).scaleb(-instrument.digits)


# --- Sides and distances --------------------------------------------------------------------------------------------


def price_refusals(instruction: Instruction, *, instrument: Instrument, tick: Tick) -> Iterator[DomainError]:
    """
    Why an order may not wait where it asks to, or its position not be stopped where it says.

    A market order's stops are measured from the price at which its position would be closed at once, a waiting order's
    from its own price.
    """
    side, reference = instruction.side, tick.price.to_close(instruction.side)
    if instruction.price is not None:
        reference = instruction.price
        below = (instruction.type == Order.Type.LIMIT) == (side is Side.BUY)
        wrong = _misplaced(
            instruction.price, below=below, reference=tick.price.to_open(side), instrument=instrument, name="price"
        )
        if wrong is not None:
            wrong |= {"bid": price_text(tick.bid, instrument), "ask": price_text(tick.ask, instrument)}
            yield OrderPriceInvalid(type=instruction.type.value, side=side.value, **wrong)
    yield from stop_refusals(
        side=side,
        stop_loss=instruction.stop_loss,
        take_profit=instruction.take_profit,
        reference=reference,
        instrument=instrument,
    )


def stop_refusals(
    *,
    side: Side,
    stop_loss: Decimal | None,
    take_profit: Decimal | None,
    reference: Decimal,
    instrument: Instrument,
) -> Iterator[StopLossInvalid | TakeProfitInvalid]:
    """Why a position of this side may not be stopped there, measured from `reference`; None is no stop."""
    is_long = side is Side.BUY
    wrong = _misplaced(stop_loss, below=is_long, reference=reference, instrument=instrument, name="stop_loss")
    if wrong is not None:
        yield StopLossInvalid(side=side.value, **wrong)
    wrong = _misplaced(take_profit, below=not is_long, reference=reference, instrument=instrument, name="take_profit")
    if wrong is not None:
        yield TakeProfitInvalid(side=side.value, **wrong)


def expiry_refusal(expires_at: datetime | None, now: datetime) -> ExpiryInvalid | None:
    """Why an order may not expire then; None if it may, or never does."""
    return ExpiryInvalid(expires_at=expires_at, now=now) if expires_at is not None and expires_at <= now else None


def _misplaced(
    price: Decimal | None, *, below: bool, reference: Decimal, instrument: Instrument, name: str
) -> dict[str, Any] | None:
    """The facts of a refusal if `price` is on the wrong side of `reference` or nearer than the stop distance."""
    if price is None:
        return None
    bound = _bound(reference, instrument, below=below)
    if price <= bound if below else price >= bound:
        return None
    nearest = price_text(bound, instrument) if bound > 0 else None
    return {
        "symbol": instrument.symbol,
        name: price_text(price, instrument),
        "where": "below" if below else "above",
        "reference": price_text(reference, instrument),
        "stop_distance": instrument.stop_distance,
        "max" if below else "min": nearest,
        "nearest": nearest,
    }


def _bound(reference: Decimal, instrument: Instrument, *, below: bool) -> Decimal:
    """The price on the grid nearest to `reference` that is not equal to it and keeps the stop distance."""
    step: Decimal = instrument.tick_size
    distance = instrument.stop_distance * _point(instrument)
    if below:
        bound = ((reference - distance) / step).to_integral_value(rounding=ROUND_FLOOR) * step
        return bound if bound < reference else bound - step
    bound = ((reference + distance) / step).to_integral_value(rounding=ROUND_CEILING) * step
    return bound if bound > reference else bound + step


# --- What a fill may deviate ----------------------------------------------------------------------------------------


def deviation_refusal(
    price: Decimal, *, side: Side, tolerance: Tolerance, instrument: Instrument
) -> DeviationExceeded | None:
    """
    Why a fill at `price` is further from the expected one than the client accepts; None if it is not.

    Only what is worse counts: slippage in the client's favour always fills, and fills at the better price.
    """
    points_worse = int((price - tolerance.price) * side.sign / _point(instrument))
    if points_worse <= tolerance.points_max:
        return None
    return DeviationExceeded(
        symbol=instrument.symbol,
        price=price_text(price, instrument),
        expected=price_text(tolerance.price, instrument),
        deviation=points_worse,
        max_deviation=tolerance.points_max,
    )
