"""Which prices would bring an account to margin call or stop-out, reckoned once so that not every price asks again."""

from __future__ import annotations

from decimal import Decimal

from core.money import CURRENCIES
from trading import margin
from trading.engine.opening import STOP_OUT_LEVEL
from trading.engine.state import account_state
from trading.errors import ConversionRateUnavailable
from trading.margin import Band, Holding
from trading.market import Book, Market
from wallets.ledger import LockedWallet

#: Below this margin level, in percent, the client is told to act.
MARGIN_CALL_LEVEL = Decimal(100)


def is_called(wallet: LockedWallet, book: Book, market: Market) -> bool:
    """Whether the margin level is below the margin call's at the last known prices."""
    try:
        level = account_state(wallet, book.positions, market).margin_level
    except ConversionRateUnavailable:
        return book.called_at is not None  # nothing new is known
    return level is not None and level < MARGIN_CALL_LEVEL


@margin.exact
def bands_of(wallet: LockedWallet, book: Book, market: Market, *, is_called: bool) -> tuple[Band, ...]:
    """
    The band of every symbol that the account's equity depends on.

    Inside all of them the margin level stays at or above the margin call's; for an account that is in one, above the
    stop-out's and below the margin call's. Where a profit cannot be converted every price is worth another look.
    """
    holdings = [
        Holding(market.instruments[one.symbol].contract(), one.side, one.volume, one.price_open)
        for one in book.positions
    ]
    try:
        return margin.price_bands(
            holdings,
            funds=wallet.balance + wallet.credit,
            held=wallet.held,
            floor=STOP_OUT_LEVEL if is_called else MARGIN_CALL_LEVEL,
            ceiling=MARGIN_CALL_LEVEL if is_called else None,
            prices={symbol: tick.price for symbol, tick in market.ticks.items()},
            pairs=market.pairs,
            account_currency=wallet.currency,
            currency_digits=CURRENCIES[wallet.currency].digits,
        )
    except margin.RateUnavailable:
        return tuple(Band.never(symbol) for symbol in sorted({one.symbol for one in book.positions}))
