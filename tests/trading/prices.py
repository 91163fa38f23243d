"""The real instruments, and prices that the test decides."""

from __future__ import annotations

from collections.abc import Callable
from datetime import time, timedelta
from decimal import Decimal

from django.utils import timezone

from tests import database
from trading import selectors
from trading.models import Instrument, Quote, TradingSession
from trading.services import instruments, quotes
from trading.services.quotes import NewQuote, Recorded

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
    """Quote symbols at (bid, ask), now; a test that moves a price far means it, so what is surprising is confirmed."""
    recorded = deliver(**prices)
    surprising = {one.quote.symbol for one in recorded.refused if one.kind == "JUMP"}
    if surprising:
        # However far: two days later any price may be true.
        Quote.objects.filter(pk__in=surprising).update(received_at=timezone.now() - timedelta(days=2))
        recorded = deliver(**{symbol: prices[symbol] for symbol in surprising})
    assert not recorded.refused, recorded.refused


def deliver(**prices: tuple[str, str]) -> Recorded:
    """Quote symbols at (bid, ask), now, as a feed does that may not be believed."""
    now = timezone.now()
    batch = [NewQuote(symbol, Decimal(bid), Decimal(ask), now) for symbol, (bid, ask) in prices.items()]
    return quotes.record_quotes(quotes=batch, source="test", now=now)


def open_market() -> Push:
    """Load the instruments, quote them, and return the function that moves prices."""
    instruments.load_instruments()
    push(**PRICES)
    selectors.market(timezone.now())  # a desk that has been up for a while knows its terms
    return push


def forget(symbol: str = "EURUSD") -> None:
    """As if there had never been a price; the desk itself takes none back."""
    with database.as_owner():
        Quote.objects.filter(pk=symbol).delete()


def shut(symbol: str = "EURUSD") -> None:
    """Close the market of an instrument until in three days."""
    opens = timezone.now() + timedelta(days=3)
    Instrument.objects.filter(pk=symbol).update(time_zone="UTC", calendar="")
    TradingSession.objects.filter(instrument_id=symbol).delete()
    TradingSession.objects.create(instrument_id=symbol, weekday=opens.weekday(), opens=time(12), closes=time(13))
