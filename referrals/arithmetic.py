"""A referral is paid out of what the broker earned on one deal: never more than its share, and always rounded down."""

from __future__ import annotations

import enum
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_DOWN, Context, Decimal, localcontext
from typing import Final, ParamSpec, TypeVar

from trading.margin import Conversion

P = ParamSpec("P")
R = TypeVar("R")

LEVELS_MAX: Final = 3
ZERO: Final = Decimal(0)

#: What a revenue is kept at: the smallest step of every money column.
STEP: Final = Decimal("0.00000001")

#: Whatever does not come out even is cut off, in every step, so that no result is ever above the exact one.
DOWN: Final = Context(prec=60, rounding=ROUND_DOWN)


def downwards(function: Callable[P, R]) -> Callable[P, R]:
    """Run `function` in a context that rounds down; nothing here is negative, so down is never more."""

    @functools.wraps(function)
    def in_context(*args: P.args, **kwargs: P.kwargs) -> R:
        with localcontext(DOWN):
            return function(*args, **kwargs)

    return in_context


class Kind(enum.Enum):
    """How a plan reckons: an amount per lot, a percentage of the commission, an amount for a first deposit."""

    PER_LOT = "PER_LOT"
    PERCENT_OF_COMMISSION = "PERCENT_OF_COMMISSION"
    FIRST_DEPOSIT = "FIRST_DEPOSIT"


@dataclass(frozen=True, slots=True)
class Execution:
    """One side of a trade, opening or closing, as its deal keeps it: lots, commission in account currency, quote."""

    volume: Decimal
    commission: Decimal
    bid: Decimal
    ask: Decimal


@dataclass(frozen=True, slots=True)
class Revenue:
    """
    What the broker earned on a closing deal, in the account's currency.

    Every part is read off what the two deals keep, none is an estimate:

    * `commission`: what the close was charged, and the opening's commission for as much of it as was closed;
    * `spread`: half the quoted spread on the way in and half on the way out, times what was closed. The desk is its
      clients' counterparty, and buys from and sells to them that far off the middle whichever way the market goes.
      Brokers book it so themselves: Plus500, for one, reports spreads and overnight charges as "customer income",
      apart from what clients win or lose. Without it a symbol that is traded without commission would earn nothing;
    * `compensation`: what the house paid so that the client owes nothing. That much was charged and never collected.

    Overnight charges are not in it: they are for holding, not for a deal. Neither is what the client won or lost: a
    referrer has no share in losses.
    """

    commission: Decimal
    spread: Decimal
    compensation: Decimal

    @property
    @downwards
    def total(self) -> Decimal:
        return max(ZERO, self.commission + self.spread - self.compensation)


@downwards
def revenue(
    opening: Execution, closing: Execution, *, contract_size: Decimal, conversion: Conversion, compensation: Decimal
) -> Revenue:
    """
    What closing `closing.volume` of the `opening.volume` lots earned; `conversion` leads from the quote currency.

    Partial closes share the opening's commission out in proportion, so together they never count it more than once.

    :raises ValueError: if the figures are none that a pair of deals can have
    """
    if not ZERO < closing.volume <= opening.volume:
        raise ValueError("what is closed was opened")
    if min(opening.commission, closing.commission, compensation) < 0:
        raise ValueError("commissions are paid, not received")
    half_spreads = (opening.ask - opening.bid + closing.ask - closing.bid) / 2
    if half_spreads < 0:
        raise ValueError("quotes are not crossed")
    commission = closing.commission + opening.commission * closing.volume / opening.volume
    spread = half_spreads * contract_size * closing.volume * conversion.multiplier / conversion.divisor
    return Revenue(_cut(commission, STEP), _cut(spread, STEP), compensation)


def kept_conversion(source: str, target: str, *, kept: Mapping[str, Sequence[str]]) -> Conversion | None:
    """
    How an amount of `source` becomes one of `target` by a path that the deal itself was booked with, or None.

    `kept` has the deal's own paths into `target` by the currency each starts from. A rate the deal does not know is not
    looked up: it would be a later one, and another run would find another.
    """
    if source == target:
        return Conversion.along(())
    path = kept.get(source)
    return None if path is None else Conversion.along(path)


@downwards
def wanted_per_lot(
    rates: Sequence[Decimal], *, lots: Decimal, weight: Decimal, conversion: Conversion
) -> list[Decimal]:
    """What a plan per lot asks for each level: rate × lots × the instrument's weight, unrounded."""
    return [rate * lots * weight * conversion.multiplier / conversion.divisor for rate in rates]


@downwards
def wanted_of_commission(rates: Sequence[Decimal], *, commission: Decimal) -> list[Decimal]:
    """What a plan of percentages asks for each level: that much of the commission on the deal, unrounded."""
    return [rate * commission / 100 for rate in rates]


@downwards
def pool(total: Decimal, *, cap_percent: Decimal, unit: Decimal) -> Decimal:
    """The most that all levels together may get of a revenue."""
    assert total >= 0
    assert ZERO < cap_percent <= 100
    return _cut(total * cap_percent / 100, unit)


@downwards
def shares(wanted: Sequence[Decimal], *, pool: Decimal, unit: Decimal) -> list[Decimal]:
    """
    What each level gets: what is wanted for it, and if that is too much together, the pool in the same proportions.

    Every level gives way by the same fraction: cutting the last level first would let a generous first level take
    everything from those above it. Each share is rounded down to `unit`, so together they stay within the pool.
    """
    assert all(amount >= 0 for amount in wanted)
    total = sum(wanted, start=ZERO)
    if total <= pool:
        return [_cut(amount, unit) for amount in wanted]
    return [_cut(amount * pool / total, unit) for amount in wanted]


def _cut(amount: Decimal, unit: Decimal) -> Decimal:
    return amount.quantize(unit, rounding=ROUND_DOWN)
