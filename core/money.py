"""Money is a decimal at its currency's minor unit, and a number that does not fit is refused, never rounded quietly."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal

from core.errors import DomainError

#: The one accepted spelling of an amount: ASCII digits, no sign, no exponent, at most 12 digits before the point and 8
#: after it. `NaN`, `1e3`, `+5`, ` 5`, `1_000`, `-0` and other scripts' digits do not match.
AMOUNT = re.compile(r"\A(0|[1-9][0-9]{0,11})(\.[0-9]{1,8})?\Z", re.ASCII)

#: The largest amount any column holds (NUMERIC(20,8)). Every money CHECK has this bound as well, since NaN passes a
#: lower bound but fails an upper one.
AMOUNT_MAX = Decimal("999999999999.99999999")

#: Enough digits for any product of our column types; results never depend on the caller's ambient context.
CONTEXT = Context(prec=60, rounding=ROUND_HALF_EVEN)


@dataclass(frozen=True, slots=True)
class Currency:
    """One currency we keep books in; `digits` is its minor unit (ISO 4217; eight for bitcoin and ether)."""

    code: str
    digits: int
    name: str

    @property
    def unit(self) -> Decimal:
        """The smallest amount that can be booked: 0.01 for USD, 1 for JPY."""
        return Decimal(1).scaleb(-self.digits)


CURRENCIES: dict[str, Currency] = {
    currency.code: currency
    for currency in (
        Currency("USD", 2, "US dollar"),
        Currency("EUR", 2, "Euro"),
        Currency("GBP", 2, "Pound sterling"),
        Currency("CHF", 2, "Swiss franc"),
        Currency("CAD", 2, "Canadian dollar"),
        Currency("AUD", 2, "Australian dollar"),
        Currency("JPY", 0, "Yen"),
        Currency("KWD", 3, "Kuwaiti dinar"),
        Currency("BTC", 8, "Bitcoin"),
        Currency("ETH", 8, "Ether"),
    )
}


class PrecisionExceeded(DomainError):
    code = "PRECISION_EXCEEDED"
    message = "{amount} has more decimals than {currency} allows; at most {digits} are accepted."
    status = 400


def book(amount: Decimal, currency: str) -> Decimal:
    """Round half-even to the currency's minor unit: the rounding of everything that is booked."""
    return amount.quantize(CURRENCIES[currency].unit, rounding=ROUND_HALF_EVEN, context=CONTEXT)


def require_precision(amount: Decimal, currency: str, *, field: str = "amount") -> None:
    """
    Refuse an amount with more decimals than its currency has; trailing zeros count, as typed.

    :raises PrecisionExceeded: naming the digits allowed
    """
    exponent = amount.as_tuple().exponent
    assert isinstance(exponent, int), "amounts are finite before they get here"
    digits = CURRENCIES[currency].digits
    if -exponent > digits:
        named = {"field": field, "code": PrecisionExceeded.code, "message": f"At most {digits} decimals in {currency}."}
        raise PrecisionExceeded(errors=[named], amount=amount, currency=currency, digits=digits)


def show(amount: Decimal, currency: str) -> str:
    """The amount as it stands in JSON: a string with exactly the currency's decimals."""
    return format(book(amount, currency), "f")
