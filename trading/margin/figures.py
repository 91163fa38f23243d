"""Every figure is exact until it is booked, and it is rounded once."""

from __future__ import annotations

import functools
from collections.abc import Callable
from decimal import (
    ROUND_HALF_EVEN,
    Context,
    Decimal,
    DivisionByZero,
    FloatOperation,
    InvalidOperation,
    Overflow,
    getcontext,
    setcontext,
)
from typing import Final, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

ZERO: Final = Decimal(0)
ONE: Final = Decimal(1)

#: A float anywhere in the arithmetic raises instead of spreading its error.
TRAPS: Final = [InvalidOperation, DivisionByZero, Overflow, FloatOperation]


class Exact(Context):
    """Ours, and told by its type: nobody else makes one, and a copy that somebody changes is not of this type."""

    @classmethod
    def new(cls) -> Exact:
        # Volumes have at most 18 digits and prices 20, so 50 hold every amount we book with room to spare.
        return cls(prec=50, rounding=ROUND_HALF_EVEN, traps=TRAPS)


def exact(function: Callable[P, R]) -> Callable[P, R]:
    """Run `function` in our own decimal context: whatever precision or rounding the caller has set does not count."""

    @functools.wraps(function)
    def in_exact_context(*args: P.args, **kwargs: P.kwargs) -> R:
        outer = getcontext()
        if type(outer) is Exact:  # the caller is such a function too
            return function(*args, **kwargs)
        setcontext(Exact.new())
        try:
            return function(*args, **kwargs)
        finally:
            setcontext(outer)

    return in_exact_context


@exact
def booked(amount: Decimal, decimals: int) -> Decimal:
    """`amount` rounded half-even to so many decimals: the rounding of everything that is booked."""
    return amount.quantize(ONE.scaleb(-decimals), rounding=ROUND_HALF_EVEN) + ZERO


def plain(number: Decimal, decimals: int | None = None) -> str:
    """`number` as people write it: no exponent, no trailing zeros, rounded half-even if it has more than `decimals`."""
    text = format(number if decimals is None else booked(number, decimals), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def require_positive(**named: Decimal) -> None:
    for name, number in named.items():
        assert number.is_finite(), f"{name} is a number"
        assert number > 0, f"{name} is positive"
