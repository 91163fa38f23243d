"""Profit is made in the quote currency and kept in the account's."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from trading.margin.currencies import Booked, from_quote
from trading.margin.figures import exact, require_positive
from trading.margin.terms import Contract, Price, Rates, Side


@dataclass(frozen=True, kw_only=True)
class Profit(Booked):
    """The profit (negative: the loss) of one position or a part of it, with every input it came from."""

    contract: Contract
    side: Side
    volume: Decimal
    price_open: Decimal
    price_close: Decimal

    @property
    def move(self) -> Decimal:
        """How far the price went in the position's favour: close − open for longs, open − close for shorts."""
        return _move(self.side, self.price_open, self.price_close)

    @property
    @exact
    def dividend(self) -> Decimal:
        return self.move * self.contract.contract_size * self.volume

    @property
    def in_quote(self) -> Decimal:
        """Move × contract size × lots, in quote currency."""
        return self.before_conversion


def profit(
    contract: Contract,
    *,
    side: Side,
    volume: Decimal,
    price_open: Decimal,
    price_close: Decimal,
    account_currency: str,
    rates: Rates,
    currency_digits: int,
) -> Profit:
    """
    What `volume` lots opened and closed at these prices earn, in the account's currency.

    :raises RateUnavailable: if the quote currency can't be converted into the account's
    """
    require_positive(volume=volume, price_open=price_open, price_close=price_close)
    gain = _move(side, price_open, price_close) >= 0
    return Profit(
        contract=contract,
        side=side,
        volume=volume,
        price_open=price_open,
        price_close=price_close,
        conversion=from_quote(contract, account_currency, gain=gain, rates=rates, price=price_close),
        account_currency=account_currency,
        currency_digits=currency_digits,
    )


def floating(
    contract: Contract,
    *,
    side: Side,
    volume: Decimal,
    price_open: Decimal,
    price: Price,
    account_currency: str,
    rates: Rates,
    currency_digits: int,
) -> Profit:
    """
    The profit a close at the current `price` would book: longs at the bid, shorts at the ask.

    :raises RateUnavailable: if the quote currency can't be converted into the account's
    """
    return profit(
        contract,
        side=side,
        volume=volume,
        price_open=price_open,
        price_close=price.to_close(side),
        account_currency=account_currency,
        rates=rates,
        currency_digits=currency_digits,
    )


@exact
def _move(side: Side, price_open: Decimal, price_close: Decimal) -> Decimal:
    return side.sign * (price_close - price_open)
