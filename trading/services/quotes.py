"""Prices come only from the server's own feeds, many at a time, and a price that cannot be true is not kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db import transaction

from core import db
from core.db import retry_on_conflict
from core.errors import DomainError
from trading.models import Instrument


class QuoteRefused(DomainError):
    code = "QUOTE_REFUSED"
    message = "Some quotes cannot be true; `errors` names each. None of the batch was kept."
    status = 400


@dataclass(frozen=True, slots=True)
class NewQuote:
    """A price as its source sent it; `quoted_at` is the market's clock."""

    symbol: str
    bid: Decimal
    ask: Decimal
    quoted_at: datetime


# Rows are written in symbol order, so two feeds never wait for each other in a circle. A source's own quotes arrive in
# the order of its clock; one that was overtaken on the way is not news and changes nothing.
_RECORD_SQL = """
INSERT INTO trading_quote AS known (symbol, bid, ask, source, quoted_at, received_at, sequence)
SELECT s.symbol, s.bid, s.ask, %(source)s::text, s.quoted_at, %(now)s::timestamptz, 1
  FROM unnest(%(symbols)s::text[], %(bids)s::numeric[], %(asks)s::numeric[], %(moments)s::timestamptz[])
       AS s (symbol, bid, ask, quoted_at)
 ORDER BY s.symbol
ON CONFLICT (symbol) DO UPDATE
   SET bid = excluded.bid, ask = excluded.ask, source = excluded.source, quoted_at = excluded.quoted_at,
       received_at = excluded.received_at, sequence = known.sequence + 1
 WHERE %(rewinds)s::boolean OR known.source <> excluded.source OR known.quoted_at <= excluded.quoted_at
RETURNING symbol
"""


@retry_on_conflict
@transaction.atomic(durable=True)
def record_quotes(*, quotes: Sequence[NewQuote], source: str, now: datetime, rewinds: bool = False) -> int:
    """
    Keep the newest price of each symbol in the batch, all or none, and return how many were news.

    `rewinds` says that the source may go back in its own time, as a replay does when it starts over.

    :raises QuoteRefused: naming every quote whose symbol is unknown, whose bid is above its ask, whose price is not
        positive or has more digits than its instrument, or that is there twice
    """
    instruments = Instrument.objects.in_bulk([quote.symbol for quote in quotes])
    if errors := _flaws(quotes, instruments):
        raise QuoteRefused(errors=errors)
    ordered = sorted(quotes, key=lambda quote: quote.symbol)
    rows = db.fetch_all(
        _RECORD_SQL,
        {
            "symbols": [quote.symbol for quote in ordered],
            "bids": [quote.bid for quote in ordered],
            "asks": [quote.ask for quote in ordered],
            "moments": [quote.quoted_at for quote in ordered],
            "source": source,
            "now": now,
            "rewinds": rewinds,
        },
    )
    return len(rows)


def _flaws(quotes: Sequence[NewQuote], instruments: dict[str, Instrument]) -> list[dict[str, str]]:
    errors, seen = [], set()
    for index, quote in enumerate(quotes):

        def flaw(field: str, code: str, message: str, index: int = index) -> None:
            errors.append({"field": f"quotes.{index}.{field}", "code": code, "message": message})

        instrument = instruments.get(quote.symbol)
        if instrument is None:
            flaw("symbol", "INSTRUMENT_NOT_FOUND", f"There is no instrument {quote.symbol}.")
            continue
        if quote.symbol in seen:
            flaw("symbol", "DUPLICATE", f"{quote.symbol} is in this batch twice.")
        seen.add(quote.symbol)
        for field, price in (("bid", quote.bid), ("ask", quote.ask)):
            if price <= 0:
                flaw(field, "NOT_POSITIVE", "A price is above zero.")
            elif price % Decimal(1).scaleb(-instrument.digits):
                flaw(field, "PRECISION_EXCEEDED", f"{quote.symbol} has {instrument.digits} decimals.")
        if quote.bid > quote.ask:
            flaw("bid", "CROSSED", f"The bid {quote.bid} is above the ask {quote.ask}.")
    return errors
