"""What an account is worth at a price: equity, and what is open valued at the last known quotes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from accounts.models import TradingAccount
from core.money import CURRENCIES
from trading import margin
from trading.errors import ConversionRateUnavailable
from trading.margin import AccountState, Charge, Rates
from trading.market import Book, Market, OpenPosition, WorkingOrder
from trading.models import Instrument
from wallets.ledger import LockedWallet
from wallets.models import Wallet

ZERO = Decimal(0)


def floating_of(position: OpenPosition, *, market: Market, currency: str, rates: Rates) -> margin.Profit:
    """
    A position's profit if it were closed at the last known price.

    :raises ConversionRateUnavailable: if its currency cannot be converted at all
    """
    tick = market.ticks[position.symbol]  # a position was opened at a price, so there is one
    try:
        return margin.floating(
            market.instruments[position.symbol].contract(),
            side=position.side,
            volume=position.volume,
            price_open=position.price_open,
            price=tick.price,
            account_currency=currency,
            rates=rates,
            currency_digits=CURRENCIES[currency].digits,
        )
    except margin.RateUnavailable as missing:
        raise ConversionRateUnavailable(source=missing.source, target=missing.target) from missing


def commission_of(instrument: Instrument, volume: Decimal, *, currency: str, rates: Rates) -> Charge:
    """
    What one side of so many lots costs in the account's currency.

    :raises margin.RateUnavailable: if the commission's currency cannot be converted
    """
    return margin.commission(
        volume=volume,
        rate=instrument.commission_per_lot,
        rate_currency=instrument.commission_currency,
        account_currency=currency,
        rates=rates,
        currency_digits=CURRENCIES[currency].digits,
    )


def account_state(wallet: LockedWallet | Wallet, positions: Iterable[OpenPosition], market: Market) -> AccountState:
    """
    What an account is worth now, at the last known prices.

    :raises ConversionRateUnavailable: if a position's profit cannot be converted
    """
    rates = market.rates(fresh_only=False)
    floating = sum(
        (floating_of(one, market=market, currency=wallet.currency, rates=rates).amount for one in positions),
        start=ZERO,
    )
    return AccountState(
        balance=wallet.balance,
        credit=wallet.credit,
        floating=floating,
        held=wallet.held,
    )


def largest_loss_first(
    positions: Iterable[OpenPosition], *, market: Market, currency: str
) -> list[tuple[OpenPosition, Decimal]]:
    """
    Open positions with their floating profit in the order in which a stop-out closes them; of two alike the older one.

    :raises ConversionRateUnavailable: if a position's profit cannot be converted
    """
    rates = market.rates(fresh_only=False)
    valued = [(one, floating_of(one, market=market, currency=currency, rates=rates).amount) for one in positions]
    return sorted(valued, key=lambda pair: (pair[1], pair[0].id))


@dataclass(frozen=True, slots=True)
class AccountSummary:
    """An account and what it is worth at one moment; `state` is None where a profit cannot be converted."""

    account: TradingAccount
    book: Book
    state: AccountState | None


def summarise(account: TradingAccount, book: Book, market: Market) -> AccountSummary:
    """An account with its wallet, as its owner sees it."""
    try:
        state = account_state(account.wallet, book.positions, market)
    except ConversionRateUnavailable:
        state = None
    return AccountSummary(account, book, state)


def exposure_of(holdings: Iterable[OpenPosition | WorkingOrder], *, market: Market, currency: str) -> Decimal:
    """
    What open positions and working orders are worth together at the last known prices, hedges counted twice.

    :raises margin.RateUnavailable: if one cannot be converted
    """
    rates = market.rates(fresh_only=False)
    return sum(
        (
            margin.exposure(
                market.instruments[one.symbol].contract(),
                side=one.side,
                volume=one.volume,
                price=market.ticks[one.symbol].price.to_close(one.side),
                account_currency=currency,
                rates=rates,
                currency_digits=CURRENCIES[currency].digits,
            )
            for one in holdings
        ),
        start=ZERO,
    )
