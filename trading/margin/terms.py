"""What is traded and at what price: the words the formulas are written in."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from trading.margin.figures import ONE, exact, require_positive


class Side(enum.Enum):
    """Which way a position leans: BUY gains when the price rises, SELL when it falls."""

    BUY = "BUY"
    SELL = "SELL"

    @property
    def sign(self) -> Decimal:
        return ONE if self is Side.BUY else Decimal(-1)

    @property
    def opposite(self) -> Side:
        return Side.SELL if self is Side.BUY else Side.BUY


class Mode(enum.Enum):
    """How margin is reckoned: FOREX from the size alone, CFD from its value, CFD_LEVERAGE from its value ÷ leverage."""

    FOREX = "FOREX"
    CFD = "CFD"
    CFD_LEVERAGE = "CFD_LEVERAGE"


@dataclass(frozen=True, slots=True)
class Price:
    """A two-sided quote: the dealer buys at the bid and sells at the ask, so clients do the reverse."""

    bid: Decimal
    ask: Decimal

    def __post_init__(self) -> None:
        require_positive(bid=self.bid, ask=self.ask)
        assert self.bid <= self.ask, "a crossed quote is refused before it gets here"

    @property
    @exact
    def mid(self) -> Decimal:
        return (self.bid + self.ask) / 2

    def to_open(self, side: Side) -> Decimal:
        """The price a new position opens at: longs buy at the ask, shorts sell at the bid."""
        return self.ask if side is Side.BUY else self.bid

    def to_close(self, side: Side) -> Decimal:
        """The price a position of this side closes at: longs sell at the bid, shorts buy back at the ask."""
        return self.bid if side is Side.BUY else self.ask


#: Fresh prices by symbol ("EURUSD" is dollars per euro). The caller leaves stale ones out: what is not here is unknown.
Rates = Mapping[str, Price]


@dataclass(frozen=True, slots=True)
class Contract:
    """The terms of one instrument that its arithmetic needs; `contract_size` is units of `base` per lot."""

    symbol: str
    base: str
    quote: str
    margin_currency: str
    contract_size: Decimal
    mode: Mode
    margin_rate: Decimal
    leverage_max: int | None
    tick_size: Decimal
    digits: int

    def __post_init__(self) -> None:
        require_positive(contract_size=self.contract_size, margin_rate=self.margin_rate, tick_size=self.tick_size)
        # A forex margin is an amount of base currency (no price enters it); a CFD margin is size × price and so an
        # amount of quote currency. Converting it from any other currency would be wrong by the whole exchange rate.
        expected = self.base if self.mode is Mode.FOREX else self.quote
        assert self.margin_currency == expected, f"{self.mode.value} margin of {self.symbol} is in {expected}"

    @property
    @exact
    def point(self) -> Decimal:
        """One unit of the price's last digit. Not a pip: at five digits a pip is ten points."""
        return ONE.scaleb(-self.digits)
