"""Prices come from the server's own feeds, and one that cannot be true is refused with its whole batch."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.management import call_command
from django.utils import timezone

from tests.cast import alice, market_data_client
from tests.trading.prices import Push
from trading import replay
from trading.models import Instrument, Quote, QuoteAlert
from trading.services import quotes
from trading.services.quotes import NewQuote


def post(batch: list[dict[str, Any]]) -> Any:
    return market_data_client().post("/api/v1/quotes", {"quotes": batch})


def good(**change: Any) -> dict[str, Any]:
    return {"symbol": "EURUSD", "bid": "1.27890", "ask": "1.27900", **change}


def test_many_symbols_are_taken_in_one_call(market: Push) -> None:
    response = post([good(), good(symbol="USDJPY", bid="108.483", ask="108.490")])
    assert (response.status_code, response.json()) == (200, {"accepted": 2, "received": 2, "batch": 2, "refused": []})
    stored = Quote.objects.get(pk="EURUSD")
    assert (stored.bid, stored.ask, stored.source, stored.sequence) == (
        Decimal("1.2789"),
        Decimal("1.279"),
        "push",
        2,
    )
    shown = {row["symbol"]: row for row in alice().api.get("/api/v1/quotes").json()["results"]}
    assert (shown["EURUSD"]["bid"], shown["EURUSD"]["is_fresh"]) == ("1.27890", True)


@pytest.mark.parametrize(
    "change, field",
    [
        ({"bid": "1.28000", "ask": "1.27900"}, "quotes.1.bid"),
        ({"bid": "0"}, "quotes.1.bid"),
        ({"bid": "-1.2"}, "quotes.1.bid"),
        ({"ask": "NaN"}, "quotes.1.ask"),
        ({"ask": "Infinity"}, "quotes.1.ask"),
        ({"ask": "1.279001"}, "quotes.1.ask"),
        ({"ask": 1.279}, "quotes.1.ask"),
        ({"symbol": "EURXXX"}, "quotes.1.symbol"),
        ({"symbol": "USDJPY", "bid": "109.200", "ask": "109.210"}, "quotes.1.symbol"),
        ({"source": "me"}, "quotes.1.source"),
        ({"time": "yesterday"}, "quotes.1.time"),
    ],
)
def test_an_impossible_quote_is_refused_with_its_batch(market: Push, change: dict[str, Any], field: str) -> None:
    before = list(Quote.objects.order_by("pk").values())
    batch = [good(symbol="USDJPY", bid="108.000", ask="108.010"), good(**change)]
    response = post(batch)
    assert response.status_code == 400, response.json()
    assert field in [error["field"] for error in response.json()["errors"]]
    assert list(Quote.objects.order_by("pk").values()) == before


@pytest.mark.parametrize("batch", [[], [good()] * 501, "EURUSD"])
def test_a_batch_has_a_size(market: Push, batch: Any) -> None:
    assert post(batch).status_code == 400


def test_a_client_cannot_quote(market: Push) -> None:
    response = alice().api.post("/api/v1/quotes", {"quotes": [good()]})
    assert (response.status_code, response.json()["code"]) == (403, "SCOPE_MISSING")
    assert Quote.objects.get(pk="EURUSD").bid == Decimal("1.2")


def test_a_quote_that_was_overtaken_changes_nothing(market: Push) -> None:
    now = timezone.now()
    late = NewQuote("EURUSD", Decimal("1.1"), Decimal("1.2"), now - timedelta(seconds=5))
    fresh = NewQuote("EURUSD", Decimal("1.3"), Decimal("1.4"), now)
    assert quotes.record_quotes(quotes=[fresh], source="push", now=now).accepted == 1
    recorded = quotes.record_quotes(quotes=[late], source="push", now=now)
    assert (recorded.accepted, recorded.batch, [one.kind for one in recorded.refused]) == (0, None, ["OVERTAKEN"])
    assert not QuoteAlert.objects.exists()
    assert Quote.objects.get(pk="EURUSD").bid == Decimal("1.3")


def test_instruments_are_shown_with_their_terms_and_price(market: Push) -> None:
    shown = alice().api.get("/api/v1/instruments/EURUSD").json()
    assert (shown["contract_size"], shown["volume_step"]) == ("100000", "0.01")
    assert shown["quote"]["ask"] == "1.20010"
    assert market_data_client().get("/api/v1/instruments/EURUSD").json()["code"] == "SCOPE_MISSING"


def test_all_instruments_are_listed(market: Push) -> None:
    rows = alice().api.get("/api/v1/instruments").json()["results"]
    assert [row["symbol"] for row in rows] == sorted(Instrument.objects.values_list("symbol", flat=True))
    assert len(rows) == 9


# --- The replay -----------------------------------------------------------------------------------------------------


def test_a_replayed_day_starts_at_its_open_ends_at_its_close_and_touches_both_extremes() -> None:
    for by_symbol in replay.load_bars().values():
        for bar in by_symbol.values():
            walked = [replay.mid_at(bar, step) for step in range(replay.STEPS_PER_BAR)]
            assert (walked[0], walked[-1]) == (bar.open, bar.close)
            assert (min(walked), max(walked)) == (bar.low, bar.high)


def test_a_replay_goes_on_where_it_stopped() -> None:
    bars = replay.load_bars()
    everything = [batch[0].moment for batch in replay.ticks(bars)]
    assert everything == sorted(set(everything))
    middle = everything[1234]
    rest = [batch[0].moment for batch in replay.ticks(bars, after=middle)]
    assert rest == everything[1235:]


@pytest.mark.parametrize("mid, bid, ask", [("1.20118", "1.20113", "1.20123"), ("1.2011849", "1.20113", "1.20123")])
def test_a_spread_stands_around_the_mid(mid: str, bid: str, ask: str) -> None:
    assert replay.spread_around(Decimal(mid), points=10, digits=5) == (Decimal(bid), Decimal(ask))


def test_the_feed_marks_what_it_replays_and_continues_in_the_next_run(market: Push) -> None:
    call_command("feed_quotes", ticks=3, restart=True)
    first = Quote.objects.get(pk="EURUSD")
    assert (first.source, first.quoted_at.isoformat()) == ("replay", "2021-05-05T02:00:00+00:00")
    call_command("feed_quotes")
    second = Quote.objects.get(pk="EURUSD")
    assert second.quoted_at.isoformat() == "2021-05-05T03:00:00+00:00"
    assert second.sequence == first.sequence + 1
    shown = alice().api.get("/api/v1/instruments/EURUSD").json()["quote"]
    assert (shown["source"], shown["is_fresh"]) == ("replay", True)


def test_readiness_tells_how_old_the_prices_are(committed_market: Push) -> None:
    Quote.objects.filter(pk="EURUSD").update(received_at=timezone.now() - timedelta(minutes=10))
    quotes_now = alice().api.get("/health/ready").json()["quotes"]
    assert quotes_now["quoted"] == 6
    assert quotes_now["newest_seconds"] < 60
    assert quotes_now["oldest_seconds"] >= 600
