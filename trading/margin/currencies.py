"""An amount changes currency at a price somebody quoted, never at one we made up."""

from __future__ import annotations

import abc
import functools
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from trading.margin.figures import ONE, booked, exact, plain, require_positive
from trading.margin.terms import Contract, Price, Rates, Side

#: The currency two others meet in when no pair quotes them against each other.
VEHICLE_CURRENCY: Final = "USD"

#: How a step of a conversion path begins that divides by its price.
INVERSE: Final = "1 / "


class RateUnavailable(Exception):
    """No fresh price leads from `source` to `target`; to guess one, or to take 1, would invent money."""

    def __init__(self, source: str, target: str) -> None:
        super().__init__(f"no fresh price leads from {source} to {target}")
        self.source = source
        self.target = target


@dataclass(frozen=True, slots=True)
class Conversion:
    """
    How amounts of one currency become another: × `multiplier` ÷ `divisor`, by the prices that `path` names.

    Steps of a path read "EURUSD ask 1.279" (multiply) or "1 / USDJPY bid 108.483" (divide); no step means the same
    currency. A path is all that has to be stored: `Conversion.along(path)` gives back exactly this conversion.
    """

    multiplier: Decimal
    divisor: Decimal
    path: tuple[str, ...]

    @classmethod
    @exact
    def along(cls, path: Iterable[str]) -> Conversion:
        """The conversion that a stored path describes."""
        multiplier = divisor = ONE
        steps = tuple(path)
        for step in steps:
            inverse, price = read_step(step)
            require_positive(price=price)
            multiplier, divisor = (multiplier, divisor * price) if inverse else (multiplier * price, divisor)
        return cls(multiplier, divisor, steps)

    @property
    @exact
    def rate(self) -> Decimal:
        """Target currency per unit of source currency, to 50 digits. To convert an amount use `of`."""
        return self.multiplier / self.divisor

    @property
    def formula(self) -> str:
        """What to append to an amount on a calculator: " × 1.279" or " ÷ 108.483"."""
        return "".join(f" {'÷' if inverse else '×'} {plain(price)}" for inverse, price in map(read_step, self.path))

    @exact
    def of(self, amount: Decimal, *, over: Decimal | int = ONE) -> Decimal:
        """`amount` ÷ `over` in the target currency, unrounded; `over` lets the caller's division join the only one."""
        return amount * self.multiplier / (self.divisor * over)


def conversion(source: str, target: str, *, side: Side, rates: Rates) -> Conversion:
    """
    Price one unit of `source` in `target`: BUY takes what buying it costs (ask), SELL what selling it brings (bid).

    The pair quoted that way round comes first; then its inverse, where buying `source` means selling the pair, so that
    the other side of the quote counts; then both legs through the US dollar.

    :raises RateUnavailable: if no fresh price leads there
    """
    single = _leg(source, target, side=side, rates=rates)
    if single is not None:
        return single
    first = _leg(source, VEHICLE_CURRENCY, side=side, rates=rates)
    second = _leg(VEHICLE_CURRENCY, target, side=side, rates=rates)
    if first is None or second is None:
        raise RateUnavailable(source, target)
    return Conversion.along(first.path + second.path)


def closing_conversion(
    source: str, target: str, *, gain: bool, rates: Rates, base: str, quote: str, close_price: Decimal
) -> Conversion:
    """
    Convert what came about in `source` on the pair `base`/`quote`, closed at `close_price`.

    Where the account is kept in the base currency, the closing price is itself the rate, so no other quote is asked.
    Everywhere else the outcome decides: a gain is sold for the account's currency at the bid, a loss or cost has to be
    bought at the ask. That is how MetaTrader 5 values ticks (SYMBOL_TRADE_TICK_VALUE_PROFIT and …_LOSS) and how OANDA's
    v20 API names its factors (gainQuoteHome, lossQuoteHome).

    :raises RateUnavailable: if no fresh price leads there
    """
    require_positive(close_price=close_price)
    if (source, target) == (quote, base):
        return Conversion.along((f"{INVERSE}{base}{quote} close {plain(close_price)}",))
    return conversion(source, target, side=Side.SELL if gain else Side.BUY, rates=rates)


def from_quote(contract: Contract, target: str, *, gain: bool, rates: Rates, price: Decimal) -> Conversion:
    base, quote = contract.base, contract.quote
    return closing_conversion(quote, target, gain=gain, rates=rates, base=base, quote=quote, close_price=price)


def _leg(source: str, target: str, *, side: Side, rates: Rates) -> Conversion | None:
    """The conversion by one pair, whichever way round it is quoted, or None."""
    if source == target:
        return Conversion.along(())
    if (direct := rates.get(source + target)) is not None:
        return Conversion.along((f"{source}{target} {_quoted(direct, side)}",))
    if (inverse := rates.get(target + source)) is not None:
        return Conversion.along((f"{INVERSE}{target}{source} {_quoted(inverse, side.opposite)}",))
    return None


def _quoted(price: Price, side: Side) -> str:
    return f"{'ask' if side is Side.BUY else 'bid'} {plain(price.to_open(side))}"


def read_step(step: str) -> tuple[bool, Decimal]:
    """Whether a step of a path divides, and by or with which price."""
    return step.startswith(INVERSE), Decimal(step.rsplit(" ", 1)[1])


@dataclass(frozen=True, kw_only=True)
class Booked(abc.ABC):
    """An amount on its way from the currency it came about in to the account's: `dividend` ÷ `divisor`, converted."""

    conversion: Conversion
    account_currency: str
    currency_digits: int

    @property
    @abc.abstractmethod
    def dividend(self) -> Decimal: ...

    @property
    def divisor(self) -> int:
        return 1

    @property
    @exact
    def before_conversion(self) -> Decimal:
        return self.dividend / self.divisor

    @property
    def unrounded(self) -> Decimal:
        """The amount in the account's currency, to 50 digits."""
        return self.conversion.of(self.dividend, over=self.divisor)

    @functools.cached_property
    def amount(self) -> Decimal:
        """The amount that is booked: rounded half-even at the account currency's minor unit."""
        return booked(self.unrounded, self.currency_digits)
