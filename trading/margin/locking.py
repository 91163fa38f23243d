"""Margin is locked at the opening, shared by hedges, given back in proportion, and never re-marked."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from trading.margin.currencies import Booked, conversion
from trading.margin.figures import ONE, ZERO, booked, exact, require_positive
from trading.margin.terms import Contract, Mode, Rates, Side


def effective_leverage(*limits: int | None) -> int:
    """The strictest of the limits (account, instrument, jurisdiction); None sets no limit, and one must be set."""
    known = [limit for limit in limits if limit is not None]
    assert known, "an account always has a leverage"
    assert all(limit >= 1 for limit in known), "leverage is at least 1"
    return min(known)


@dataclass(frozen=True, kw_only=True)
class Margin(Booked):
    """The margin one position locks, with every input it came from."""

    contract: Contract
    side: Side
    volume: Decimal
    price: Decimal
    leverage: int

    @property
    @exact
    def dividend(self) -> Decimal:
        return math.prod(factors_of(self.contract, self.volume, self.price), start=self.contract.margin_rate)

    @property
    def divisor(self) -> int:
        return _divisor(self.contract, self.leverage)

    @property
    def in_margin_currency(self) -> Decimal:
        """Base margin × margin rate, unrounded."""
        return self.before_conversion


def required_margin(
    contract: Contract,
    *,
    side: Side,
    volume: Decimal,
    price: Decimal,
    leverage: int,
    account_currency: str,
    rates: Rates,
    currency_digits: int,
) -> Margin:
    """
    The margin for `volume` lots opened at `price`: the base margin × margin rate, in the account's currency.

    `leverage` is what account and jurisdiction allow; the instrument's own cap is applied here, so nobody can forget
    it. Buys convert at the ask and sells at the bid, as MetaTrader 5 does for retail forex.

    :raises RateUnavailable: if the margin currency can't be converted into the account's
    """
    require_positive(volume=volume, price=price)
    return Margin(
        contract=contract,
        side=side,
        volume=volume,
        price=price,
        leverage=effective_leverage(leverage, contract.leverage_max),
        conversion=conversion(contract.margin_currency, account_currency, side=side, rates=rates),
        account_currency=account_currency,
        currency_digits=currency_digits,
    )


@exact
def base_margin(contract: Contract, *, volume: Decimal, price: Decimal, leverage: int) -> Decimal:
    """
    The margin in margin currency before the margin rate, unrounded.

    FOREX: lots × contract size ÷ leverage, with no price in it. CFD: lots × contract size × price. CFD_LEVERAGE: the
    latter ÷ leverage.
    """
    require_positive(volume=volume, price=price)
    divisor = _divisor(contract, effective_leverage(leverage, contract.leverage_max))
    return math.prod(factors_of(contract, volume, price), start=ONE) / divisor


@exact
def exposure(
    contract: Contract,
    *,
    side: Side,
    volume: Decimal,
    price: Decimal,
    account_currency: str,
    rates: Rates,
    currency_digits: int,
) -> Decimal:
    """
    What `volume` lots are worth in the account's currency: the size or value that a margin is a share of.

    :raises RateUnavailable: if the margin currency can't be converted into the account's
    """
    require_positive(volume=volume, price=price)
    converted = conversion(contract.margin_currency, account_currency, side=side, rates=rates)
    return booked(converted.of(math.prod(factors_of(contract, volume, price), start=ONE)), currency_digits)


def factors_of(contract: Contract, volume: Decimal, price: Decimal) -> tuple[Decimal, ...]:
    """What is multiplied to give the size (FOREX) or the value (CFD) that the margin is a share of."""
    size = (volume, contract.contract_size)
    return size if contract.mode is Mode.FOREX else (*size, price)


def _divisor(contract: Contract, leverage: int) -> int:
    return 1 if contract.mode is Mode.CFD else leverage


@exact
def held(legs: Iterable[tuple[str, Side, Decimal]]) -> Decimal:
    """
    The margin that open positions (symbol, side, locked) hold together: per symbol only the larger leg.

    A hedge carries no price risk beyond its larger side, so the smaller side is held for free.
    """
    totals: dict[tuple[str, Side], Decimal] = {}
    for symbol, side, locked in legs:
        assert locked >= 0, "locked margin is never owed"
        totals[symbol, side] = totals.get((symbol, side), ZERO) + locked
    symbols = {symbol for symbol, _ in totals}
    return sum((max(totals.get((symbol, side), ZERO) for side in Side) for symbol in symbols), start=ZERO)


@exact
def released(
    *,
    locked_initial: Decimal,
    locked_remaining: Decimal,
    volume_initial: Decimal,
    volume_remaining: Decimal,
    volume_closed: Decimal,
    currency_digits: int,
) -> Decimal:
    """
    The locked margin that closing `volume_closed` of `volume_remaining` lots sets free.

    A part releases its share of what was locked at the opening, rounded half-even and never more than is left; the
    last part releases exactly what is left, so that the parts always add up to the whole.
    """
    require_positive(volume_closed=volume_closed)
    assert volume_closed <= volume_remaining <= volume_initial, "no more is closed than is open"
    assert 0 <= locked_remaining <= locked_initial, "no more is locked than was at the opening"
    if volume_closed == volume_remaining:
        return locked_remaining
    return min(booked(locked_initial * volume_closed / volume_initial, currency_digits), locked_remaining)


@exact
def max_volume(
    *,
    free_margin: Decimal,
    required: Callable[[Decimal], Decimal],
    volume_min: Decimal,
    volume_max: Decimal,
    volume_step: Decimal,
) -> Decimal:
    """
    The largest volume on the step grid that the free margin carries now, or 0 if not even the smallest fits.

    `required(volume)` is what the opening check itself would ask for: booked margin, and commission and spread loss
    where they count. It never falls as volume grows. Asking the check, instead of dividing free margin by a margin per
    lot, keeps the answer right to the last cent and for hedges, whose margin is not in proportion to their volume; it
    costs one question per doubling of the grid.
    """
    require_positive(volume_min=volume_min, volume_max=volume_max, volume_step=volume_step)
    assert free_margin.is_finite(), "free margin is a number"
    fits = int((volume_min / volume_step).to_integral_value(rounding=ROUND_CEILING))
    most = int((volume_max / volume_step).to_integral_value(rounding=ROUND_FLOOR))
    if fits > most or required(fits * volume_step) > free_margin:
        return ZERO
    while fits < most:
        middle = (fits + most + 1) // 2
        if required(middle * volume_step) <= free_margin:
            fits = middle
        else:
            most = middle - 1
    return fits * volume_step
