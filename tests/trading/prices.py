"""The real instruments, and prices that the test decides."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from django.utils import timezone

from trading.services import instruments, quotes
from trading.services.quotes import NewQuote

Push = Callable[..., None]

#: Enough for every conversion the tests need, close to what the real bars say.
PRICES = {
    "EURUSD": ("1.20000", "1.20010"),
    "GBPUSD": ("1.39000", "1.39012"),
    "USDJPY": ("109.200", "109.210"),
    "USDCHF": ("0.91000", "0.91014"),
    "GBPJPY": ("151.800", "151.824"),
    "BTCUSD": ("50000.00", "50020.00"),
}


def push(**prices: tuple[str, str]) -> None:
    """Quote symbols at (bid, ask), now."""
    now = timezone.now()
    batch = [NewQuote(symbol, Decimal(bid), Decimal(ask), now) for symbol, (bid, ask) in prices.items()]
    quotes.record_quotes(quotes=batch, source="test", now=now)


def open_market() -> Push:
    """Load the instruments, quote them, and return the function that moves prices."""
    instruments.load_instruments()
    push(**PRICES)
    return push
