"""Prices come only from the server's own feeds, many at a time, and one that is not believed is never traded on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import structlog
from django.db import transaction

from core import db, metrics
from core.db import retry_on_conflict
from core.errors import DomainError, plain
from core.ids import uuid7_at
from trading.market import NewQuote
from trading.models import PRICE_MAX, PriceBatch, QuoteAlert, QuoteTick

__all__ = ["NewQuote", "QuoteRefused", "Recorded", "RefusedQuote", "purge_quotes", "record_quotes"]

logger = structlog.get_logger(__name__)

Kind = QuoteAlert.Kind

#: What a quote is called that a later one of its source has overtaken. Networks do that: it is no news and no alarm.
OVERTAKEN = "OVERTAKEN"

#: Kinds that a correct feed cannot send, whatever the market does.
IMPOSSIBLE = frozenset(Kind) - {Kind.STALE, Kind.AHEAD, Kind.JUMP}

#: How long a first surprising price waits for a second one that confirms it.
CONFIRMATION_SECONDS_MAX = 60

#: How far the market's clock may be ahead of ours: one from tomorrow would make everything until then look overtaken.
AHEAD_SECONDS_MAX = 5

#: A misplaced decimal point repeats itself, so no second quote confirms a price this many times the last one, or this
#: small a part of it, unless that is a day old: then the instrument may have been split.
FACTOR_MAX = 10
LAST_PRICE_AGE_MAX = timedelta(days=1)

_SYMBOL_LENGTH_MAX = QuoteAlert._meta.get_field("symbol").max_length


class QuoteRefused(DomainError):
    code = "QUOTE_REFUSED"
    message = "Some quotes cannot be true; `errors` names each. None of the batch was kept."
    status = 400


@dataclass(frozen=True, slots=True)
class RefusedQuote:
    """One quote that was not kept: `kind` is an alert's, or OVERTAKEN, which is none."""

    index: int
    quote: NewQuote
    kind: str
    part: str
    message: str
    figures: dict[str, str] = field(default_factory=dict)
    after_sequence: int | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of a batch; `batch` is its number, None when nothing in it was news."""

    batch: int | None
    accepted: int
    refused: tuple[RefusedQuote, ...]

    def require_possible(self) -> None:
        """:raises QuoteRefused: naming every quote that cannot be true"""
        impossible = [one for one in self.refused if one.kind in IMPOSSIBLE]
        if impossible:
            raise QuoteRefused(
                errors=[
                    {"field": f"quotes.{one.index}.{one.part}", "code": str(one.kind), "message": one.message}
                    for one in impossible
                ]
            )


@dataclass(frozen=True, slots=True)
class _Known:
    """An instrument's last price, and the first surprising one since, if there was any."""

    digits: int
    jump_max: Decimal
    age_seconds_max: int
    bid: Decimal | None
    ask: Decimal | None
    source: str | None
    quoted_at: datetime | None
    received_at: datetime | None
    sequence: int | None
    suspect: str | None
    suspect_quoted_at: datetime | None
    suspect_raised_at: datetime | None


# The clock is taken first and by itself, so that the next statement sees what the last batch has committed.
_LOCK_SQL = "SELECT number FROM trading_priceclock WHERE id = 1 ORDER BY id FOR NO KEY UPDATE"

_KNOWN_SQL = """
SELECT i.symbol, i.digits, i.tick_jump_max, i.quote_age_seconds_max,
       q.bid, q.ask, q.source, q.quoted_at, q.received_at, q.sequence, a.figures::text, a.quoted_at, a.raised_at
  FROM trading_instrument i
  LEFT JOIN trading_quote q ON q.symbol = i.symbol
  LEFT JOIN LATERAL (SELECT s.figures, s.quoted_at, s.raised_at
                       FROM trading_quotealert s
                      WHERE s.kind = 'JUMP' AND s.symbol = q.symbol AND s.source = %(source)s
                        AND s.after_sequence = q.sequence
                      ORDER BY s.id DESC LIMIT 1) a ON true
 WHERE i.symbol = ANY(%(symbols)s::text[])
"""

# One statement, hence one fate: the latest prices, their history, the batch and its number, and the alerts. `latest`
# feeds the history, so the two cannot differ. An empty part writes nothing, and no number is used up.
_RECORD_SQL = """
WITH latest AS (
    INSERT INTO trading_quote AS known (symbol, bid, ask, source, quoted_at, received_at, sequence)
    SELECT s.symbol, s.bid, s.ask, %(source)s::text, s.quoted_at, %(now)s::timestamptz, 1
      FROM unnest(%(symbols)s::text[], %(bids)s::numeric[], %(asks)s::numeric[], %(moments)s::timestamptz[])
           AS s (symbol, bid, ask, quoted_at)
    ON CONFLICT (symbol) DO UPDATE
       SET bid = excluded.bid, ask = excluded.ask, source = excluded.source, quoted_at = excluded.quoted_at,
           received_at = excluded.received_at, sequence = known.sequence + 1
    RETURNING symbol, bid, ask, source, quoted_at, received_at, sequence
), clock AS (
    UPDATE trading_priceclock SET number = %(number)s WHERE id = 1 AND cardinality(%(symbols)s::text[]) > 0
), batch AS (
    INSERT INTO trading_pricebatch (number, source, received_at, size)
    SELECT %(number)s, %(source)s, %(now)s, cardinality(%(symbols)s::text[])
     WHERE cardinality(%(symbols)s::text[]) > 0
), ticks AS (
    INSERT INTO trading_quotetick (id, symbol, batch, bid, ask, source, quoted_at, received_at, sequence)
    SELECT s.id, latest.symbol, %(number)s, latest.bid, latest.ask, latest.source, latest.quoted_at,
           latest.received_at, latest.sequence
      FROM latest JOIN unnest(%(symbols)s::text[], %(ids)s::uuid[]) AS s (symbol, id) ON s.symbol = latest.symbol
)
INSERT INTO trading_quotealert (symbol, source, kind, figures, quoted_at, after_sequence, raised_at)
SELECT s.symbol, %(source)s, s.kind, s.figures::jsonb, s.quoted_at, s.after_sequence, %(now)s
  FROM unnest(%(alert_symbols)s::text[], %(alert_kinds)s::text[], %(alert_figures)s::text[],
              %(alert_moments)s::timestamptz[], %(alert_sequences)s::bigint[])
       AS s (symbol, kind, figures, quoted_at, after_sequence)
RETURNING id
"""


@retry_on_conflict
@transaction.atomic(durable=True)
def record_quotes(
    *, quotes: Sequence[NewQuote], source: str, now: datetime, rewinds: bool = False, whole: bool = False
) -> Recorded:
    """
    Keep what is believed of a batch: as the latest prices, as history, and as one numbered batch for the risk engine.

    Whatever is not believed leaves an alert and nothing else; only `Recorded` tells. `rewinds` says that the source
    keeps a time of its own and may go back in it, as a replay does when it starts over: its prices are then neither
    stale nor overtaken. With `whole`, one quote that cannot be true keeps out the whole batch.

    A price further from the last one than its instrument's `tick_jump_max` is believed when the source's next quote of
    it, within a minute, is near it and of a later time; one that is ten times the last price, or a tenth, is not.
    """
    if not quotes:
        return Recorded(batch=None, accepted=0, refused=())
    ((last_number,),) = db.fetch_all(_LOCK_SQL, {})
    known = _known([quote.symbol for quote in quotes], source)

    refused = _judged(quotes, known, source=source, now=now, rewinds=rewinds)
    left_out = {one.index for one in refused}
    if whole and any(one.kind in IMPOSSIBLE for one in refused):
        # The others were never considered: what is surprising among them must not wait to be confirmed.
        refused = [one for one in refused if one.kind in IMPOSSIBLE]
        left_out = set(range(len(quotes)))
    accepted = sorted(
        (quote for index, quote in enumerate(quotes) if index not in left_out), key=lambda quote: quote.symbol
    )
    alerts = [one for one in refused if one.kind != OVERTAKEN]
    number = last_number + 1
    if accepted or alerts:
        db.fetch_all(
            _RECORD_SQL,
            {"number": number, "source": source, "now": now, **_rows(accepted, now, number), **_alert_rows(alerts)},
        )
    for alert in alerts:
        transaction.on_commit(partial(_announce, alert, source), robust=True)
    return Recorded(batch=number if accepted else None, accepted=len(accepted), refused=tuple(refused))


@retry_on_conflict
@transaction.atomic(durable=True)
def purge_quotes(*, before: datetime, limit: int) -> dict[str, int]:
    """
    Delete up to `limit` prices older than a moment, oldest first, then batches without prices, then alerts.

    The latest price of an instrument stays, however old it is. Rows that another purger holds are left to it, and
    recording never waits: it only adds.
    """
    ticks = QuoteTick.objects.filter(id__lt=uuid7_at(before, 0))
    chosen = ticks.select_for_update(skip_locked=True, no_key=False).order_by("id").values_list("id", flat=True)
    old = list(chosen[:limit])
    gone = {"ticks": QuoteTick.objects.filter(id__in=old).delete()[0], "batches": 0, "alerts": 0}
    if len(old) == limit:
        return gone
    batches = PriceBatch.objects.filter(received_at__lt=before, ticks__isnull=True)
    locked = batches.select_for_update(skip_locked=True, no_key=False, of=("self",)).order_by("number")
    numbers = list(locked.values_list("number", flat=True)[:limit])
    gone["batches"] = PriceBatch.objects.filter(number__in=numbers).delete()[0]
    alerts = QuoteAlert.objects.filter(raised_at__lt=before)
    oldest = alerts.select_for_update(skip_locked=True, no_key=False).order_by("raised_at", "id")
    ids = list(oldest.values_list("id", flat=True)[:limit])
    gone["alerts"] = QuoteAlert.objects.filter(id__in=ids).delete()[0]
    return gone


# --- What is believed -----------------------------------------------------------------------------------------------


def _judged(
    quotes: Sequence[NewQuote], known: dict[str, _Known], *, source: str, now: datetime, rewinds: bool
) -> list[RefusedQuote]:
    refused: list[RefusedQuote] = []
    seen: set[str] = set()
    for index, quote in enumerate(quotes):
        last = known.get(quote.symbol)
        flaws = _impossible(quote, last, is_repeated=quote.symbol in seen)
        seen.add(quote.symbol)
        if not flaws and last is not None and (doubt := _doubtful(quote, last, source, now, rewinds)):
            flaws = [doubt]
        figures = {"bid": str(quote.bid), "ask": str(quote.ask)}
        if last is not None and last.bid is not None:
            figures |= {"last_bid": plain(last.bid), "last_ask": plain(last.ask)}
        sequence = None if last is None else last.sequence
        refused += [RefusedQuote(index, quote, kind, name, text, figures, sequence) for kind, name, text in flaws]
    return refused


def _impossible(quote: NewQuote, known: _Known | None, *, is_repeated: bool) -> list[tuple[str, str, str]]:
    """Why no market could have said this: kind, field and message of each flaw."""
    if known is None:
        return [(Kind.INSTRUMENT_NOT_FOUND, "symbol", f"There is no instrument {quote.symbol}.")]
    flaws: list[tuple[str, str, str]] = []
    if is_repeated:
        flaws.append((Kind.DUPLICATE, "symbol", f"{quote.symbol} is in this batch twice."))
    for name, price in (("bid", quote.bid), ("ask", quote.ask)):
        if not price.is_finite():
            flaws.append((Kind.NOT_A_NUMBER, name, "A price is a number."))
        elif price <= 0:
            flaws.append((Kind.NOT_POSITIVE, name, "A price is above zero."))
        elif price > PRICE_MAX:
            flaws.append((Kind.TOO_LARGE, name, f"A price is at most {PRICE_MAX}."))
        elif price % Decimal(1).scaleb(-known.digits):
            flaws.append((Kind.PRECISION_EXCEEDED, name, f"{quote.symbol} has {known.digits} decimals."))
    if not flaws and quote.bid > quote.ask:
        flaws.append((Kind.CROSSED, "bid", f"The bid {quote.bid} is above the ask {quote.ask}."))
    return flaws


def _doubtful(quote: NewQuote, last: _Known, source: str, now: datetime, rewinds: bool) -> tuple[str, str, str] | None:
    """Why a price that could be true is not believed: kind, field and message."""
    if not rewinds:
        age_seconds = (now - quote.quoted_at).total_seconds()
        if age_seconds > last.age_seconds_max:
            return Kind.STALE, "time", f"It is {int(age_seconds)} s old; at most {last.age_seconds_max} s are believed."
        if age_seconds < -AHEAD_SECONDS_MAX:
            return (
                Kind.AHEAD,
                "time",
                f"It is {int(-age_seconds)} s from now; at most {AHEAD_SECONDS_MAX} s are believed.",
            )
    if last.bid is None or last.ask is None or last.quoted_at is None or last.received_at is None:
        return None
    if rewinds:
        if not timedelta(0) <= quote.quoted_at - last.quoted_at <= LAST_PRICE_AGE_MAX:
            return None  # elsewhere in its time: nothing to compare with
    elif last.source == source and quote.quoted_at < last.quoted_at:
        return OVERTAKEN, "time", f"A quote of {plain(last.quoted_at)} came first."
    if not _is_far(quote, last.bid, last.ask, last.jump_max):
        return None
    message = f"{quote.bid}/{quote.ask} is too far from {plain(last.bid)}/{plain(last.ask)}."
    if _is_beyond_factor(quote, last.bid, last.ask) and now - last.received_at <= LAST_PRICE_AGE_MAX:
        return Kind.JUMP, "bid", message
    return (
        None
        if _is_confirmation(quote, last, now)
        else (Kind.JUMP, "bid", f"{message} A second quote would confirm it.")
    )


def _is_far(quote: NewQuote, bid: Decimal, ask: Decimal, fraction: Decimal) -> bool:
    # Each side by itself: a bid that falls alone would stop out every long.
    return abs(quote.bid - bid) > bid * fraction or abs(quote.ask - ask) > ask * fraction


def _is_beyond_factor(quote: NewQuote, bid: Decimal, ask: Decimal) -> bool:
    sides = ((quote.bid, bid), (quote.ask, ask))
    return any(new >= old * FACTOR_MAX or new * FACTOR_MAX <= old for new, old in sides)


def _is_confirmation(quote: NewQuote, last: _Known, now: datetime) -> bool:
    """Whether the last surprise, with no good price since, was near this; a resent request is no second opinion."""
    if last.suspect is None or last.suspect_raised_at is None or last.suspect_quoted_at is None:
        return False
    if now - last.suspect_raised_at > timedelta(seconds=CONFIRMATION_SECONDS_MAX):
        return False
    figures = json.loads(last.suspect)
    bid, ask = Decimal(figures["bid"]), Decimal(figures["ask"])
    return quote.quoted_at > last.suspect_quoted_at and not _is_far(quote, bid, ask, last.jump_max)


# --- Rows -----------------------------------------------------------------------------------------------------------


def _known(symbols: list[str], source: str) -> dict[str, _Known]:
    rows = db.fetch_all(_KNOWN_SQL, {"symbols": symbols, "source": source})
    return {row[0]: _Known(*row[1:]) for row in rows}


def _rows(accepted: list[NewQuote], now: datetime, number: int) -> dict[str, Any]:
    return {
        "symbols": [quote.symbol for quote in accepted],
        "bids": [quote.bid for quote in accepted],
        "asks": [quote.ask for quote in accepted],
        "moments": [quote.quoted_at for quote in accepted],
        "ids": [uuid7_at(now, number << 16 | index) for index, _ in enumerate(accepted)],
    }


def _alert_rows(alerts: list[RefusedQuote]) -> dict[str, Any]:
    return {
        "alert_symbols": [alert.quote.symbol[:_SYMBOL_LENGTH_MAX] for alert in alerts],
        "alert_kinds": [str(alert.kind) for alert in alerts],
        "alert_figures": [json.dumps(alert.figures) for alert in alerts],
        "alert_moments": [alert.quote.quoted_at for alert in alerts],
        "alert_sequences": [alert.after_sequence for alert in alerts],
    }


def _announce(alert: RefusedQuote, source: str) -> None:
    metrics.QUOTES_REFUSED.labels(source, str(alert.kind)).inc()
    logger.warning(
        "trading.quote.refused", symbol=alert.quote.symbol[:_SYMBOL_LENGTH_MAX], source=source, kind=alert.kind
    )
