"""What trading costs besides losing: nights are charged by swap, trades by commission."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from decimal import Decimal

from trading.margin.currencies import Booked, conversion, from_quote
from trading.margin.figures import exact, require_positive
from trading.margin.terms import Contract, Rates, Side


class SwapMode(enum.Enum):
    """How an overnight rate is written: in points of price, or in percent a year of the value (360 or 365 days)."""

    POINTS = "POINTS"
    ANNUAL_360 = "ANNUAL_360"
    ANNUAL_365 = "ANNUAL_365"


@dataclass(frozen=True, slots=True)
class SwapRate:
    """One side's overnight rate as its instrument states it, negative where holding costs."""

    value: Decimal
    mode: SwapMode

    def __post_init__(self) -> None:
        assert self.value.is_finite(), "a swap rate is a number"


@dataclass(frozen=True, kw_only=True)
class Swap(Booked):
    """What holding a position overnight costs (negative) or earns (positive), with every input it came from."""

    contract: Contract
    rate: SwapRate
    volume: Decimal
    price: Decimal
    nights: int

    @property
    @exact
    def dividend(self) -> Decimal:
        per_unit = self.contract.point if self.rate.mode is SwapMode.POINTS else self.price
        return self.volume * self.contract.contract_size * per_unit * self.rate.value * self.nights

    @property
    def divisor(self) -> int:
        return {SwapMode.POINTS: 1, SwapMode.ANNUAL_360: 100 * 360, SwapMode.ANNUAL_365: 100 * 365}[self.rate.mode]

    @property
    def in_quote(self) -> Decimal:
        """Lots × contract size × point × points × nights, or lots × contract size × price × percent ÷ 100 ÷ year."""
        return self.before_conversion


def swap(
    contract: Contract,
    *,
    rate: SwapRate,
    volume: Decimal,
    price: Decimal,
    nights: int,
    account_currency: str,
    rates: Rates,
    currency_digits: int,
) -> Swap:
    """
    What holding `volume` lots over `nights` nights costs or earns, in the account's currency.

    An annual rate applies to the position's value at the current `price`; a rate in points does not ask for it.

    :raises RateUnavailable: if the quote currency can't be converted into the account's
    """
    require_positive(volume=volume, price=price)
    assert nights >= 0, "nights pass, they do not come back"
    return Swap(
        contract=contract,
        rate=rate,
        volume=volume,
        price=price,
        nights=nights,
        conversion=from_quote(contract, account_currency, gain=rate.value >= 0, rates=rates, price=price),
        account_currency=account_currency,
        currency_digits=currency_digits,
    )


def annual_mode(currency: str) -> SwapMode:
    """The money market's year for an annual rate in `currency`: 365 days for sterling, 360 for the others."""
    return SwapMode.ANNUAL_365 if currency == "GBP" else SwapMode.ANNUAL_360


def swap_nights(*, weekday: int, triple_weekday: int | None) -> int:
    """
    How many nights one roll-over on `weekday` (Monday is 0) charges.

    With a triple weekday the weekend is charged on that day, so Saturday and Sunday charge nothing; without one
    (markets that never close) every day charges its own night. Either way a week charges seven.
    """
    assert 0 <= weekday <= 6, "weekdays run from Monday, 0, to Sunday, 6"
    assert triple_weekday is None or 0 <= triple_weekday <= 4, "the weekend is charged on a working day"
    if triple_weekday is None:
        return 1
    if weekday > 4:
        return 0
    return 3 if weekday == triple_weekday else 1


@dataclass(frozen=True, kw_only=True)
class Charge(Booked):
    """What one side of a trade costs, a positive amount the client pays, with every input it came from."""

    volume: Decimal
    rate: Decimal
    currency: str

    @property
    @exact
    def dividend(self) -> Decimal:
        return self.volume * self.rate

    @property
    def in_currency(self) -> Decimal:
        """Lots × rate."""
        return self.before_conversion


def commission(
    *, volume: Decimal, rate: Decimal, rate_currency: str, account_currency: str, rates: Rates, currency_digits: int
) -> Charge:
    """
    What one side (the opening or the closing) of `volume` lots costs at `rate` per lot, in the account's currency.

    :raises RateUnavailable: if the rate's currency can't be converted into the account's
    """
    require_positive(volume=volume)
    assert rate.is_finite(), "a commission rate is a number"
    assert rate >= 0, "commissions are paid, not received"
    return Charge(
        volume=volume,
        rate=rate,
        currency=rate_currency,
        conversion=conversion(rate_currency, account_currency, side=Side.BUY, rates=rates),
        account_currency=account_currency,
        currency_digits=currency_digits,
    )


@exact
def rate_per_lot(contract: Contract, *, price: Decimal, rate_per_million: Decimal) -> Decimal:
    """
    The commission per lot, in quote currency, of a rate per million of value traded.

    Fifty dollars per million dollars is a plain ratio, so it holds for the value in any currency.
    """
    require_positive(price=price)
    return contract.contract_size * price * rate_per_million / 1_000_000
