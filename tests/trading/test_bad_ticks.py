"""A price that cannot be true, or is hard to believe, leaves an alert, and nothing is traded on it."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from core import metrics
from core.errors import plain
from tests.cast import make_client, market_data_client
from tests.trading.calls import account, close, place
from tests.trading.prices import Push
from trading.models import Deal, Instrument, PriceBatch, PriceClock, Quote, QuoteAlert, QuoteTick
from trading.services import quotes
from trading.services.quotes import NewQuote, Recorded

#: The market of these tests quotes EURUSD at 1.20000/1.20010 and allows 20 %.
JUMP = ("1.45000", "1.45010")
JUMP_MAX = Decimal("0.2")


@pytest.fixture
def market(market: Push) -> Push:
    Instrument.objects.update(tick_jump_max=JUMP_MAX)
    return market


def record(
    bid: str, ask: str, *, symbol: str = "EURUSD", at: datetime | None = None, of: datetime | None = None, **more: Any
) -> Recorded:
    now = at or timezone.now()
    quote = NewQuote(symbol, Decimal(bid), Decimal(ask), of or now)
    return quotes.record_quotes(quotes=[quote], **{"source": "test", "now": now, **more})


def latest(symbol: str = "EURUSD") -> tuple[Decimal, Decimal]:
    quote = Quote.objects.get(pk=symbol)
    return quote.bid, quote.ask


def written() -> list[int]:
    return [QuoteTick.objects.count(), PriceBatch.objects.count(), PriceClock.objects.get().number]


@pytest.mark.parametrize(
    "bid, ask, kinds",
    [
        ("0", "1.20010", ["NOT_POSITIVE"]),
        ("-1.20000", "1.20010", ["NOT_POSITIVE"]),
        ("NaN", "1.20010", ["NOT_A_NUMBER"]),
        ("sNaN", "-NaN", ["NOT_A_NUMBER", "NOT_A_NUMBER"]),
        ("1.20000", "Infinity", ["NOT_A_NUMBER"]),
        ("1.20011", "1.20010", ["CROSSED"]),
        ("1.200001", "1.20010", ["PRECISION_EXCEEDED"]),
        ("1e30", "1e31", ["TOO_LARGE", "TOO_LARGE"]),
        ("120.00000", "120.01000", ["JUMP"]),
        ("0.01200", "0.01201", ["JUMP"]),
        ("0.90000", "1.20010", ["JUMP"]),
        ("1.20000", "120.01000", ["JUMP"]),
    ],
)
def test_a_bad_tick_is_not_kept_and_raises_an_alert(market: Push, bid: str, ask: str, kinds: list[str]) -> None:
    before = (latest(), written())
    recorded = record(bid, ask)
    assert (recorded.accepted, recorded.batch) == (0, None)
    assert (latest(), written()) == before
    alerts = QuoteAlert.objects.order_by("id")
    assert [alert.kind for alert in alerts] == kinds
    assert (alerts[0].symbol, alerts[0].source, alerts[0].figures["bid"]) == ("EURUSD", "test", str(Decimal(bid)))
    assert alerts[0].figures["last_bid"] == "1.2000000000"


def test_what_is_good_in_a_batch_is_kept_beside_what_is_bad(market: Push) -> None:
    now = timezone.now()
    batch = [
        NewQuote("GBPUSD", Decimal("1.40000"), Decimal("1.40012"), now),
        NewQuote("EURUSD", Decimal("NaN"), Decimal("1.20010"), now),
        NewQuote("EURXXX" * 20, Decimal(1), Decimal(1), now),
        NewQuote("GBPUSD", Decimal("1.50000"), Decimal("1.50012"), now),
    ]
    recorded = quotes.record_quotes(quotes=batch, source="test", now=now)
    assert (recorded.accepted, [(one.index, one.kind) for one in recorded.refused]) == (
        1,
        [(1, "NOT_A_NUMBER"), (2, "INSTRUMENT_NOT_FOUND"), (3, "DUPLICATE")],
    )
    assert latest("GBPUSD") == (Decimal("1.4"), Decimal("1.40012"))
    assert recorded.batch is not None
    assert PriceBatch.objects.get(number=recorded.batch).size == 1
    assert len(QuoteAlert.objects.get(kind="INSTRUMENT_NOT_FOUND").symbol) == 64


def test_a_stale_price_is_not_believed(market: Push) -> None:
    now = timezone.now()
    assert [one.kind for one in record("1.20000", "1.20010", at=now, of=now - timedelta(seconds=61)).refused] == [
        "STALE"
    ]
    assert QuoteAlert.objects.get().kind == "STALE"
    assert record("1.20000", "1.20010", source="other", at=now, of=now - timedelta(seconds=60)).accepted == 1


def test_a_price_from_the_future_cannot_shut_out_those_of_now(market: Push) -> None:
    now = timezone.now()
    assert [one.kind for one in record("1.21000", "1.21010", at=now, of=now + timedelta(hours=1)).refused] == ["AHEAD"]
    assert record("1.21000", "1.21010", at=now, of=now).accepted == 1


def test_a_jump_is_believed_once_the_next_quote_confirms_it(market: Push) -> None:
    first = record(*JUMP)
    assert (first.accepted, latest()) == (0, (Decimal("1.2"), Decimal("1.2001")))
    assert record("1.46000", "1.46010").accepted == 1
    assert latest() == (Decimal("1.46"), Decimal("1.4601"))
    assert QuoteAlert.objects.count() == 1


def test_a_good_price_in_between_takes_the_suspicion_up_again(market: Push) -> None:
    record(*JUMP)
    assert record("1.20000", "1.20010").accepted == 1
    assert record(*JUMP).accepted == 0
    assert latest() == (Decimal("1.2"), Decimal("1.2001"))


def test_a_jump_elsewhere_confirms_nothing(market: Push) -> None:
    record(*JUMP)
    assert record("0.80000", "0.80010").accepted == 0
    assert record(*JUMP).accepted == 0
    assert record(*JUMP).accepted == 1


def test_another_source_confirms_nothing(market: Push) -> None:
    record(*JUMP)
    assert record(*JUMP, source="other").accepted == 0


def test_a_confirmation_may_not_be_late(market: Push) -> None:
    now = timezone.now()
    record(*JUMP, at=now)
    assert record(*JUMP, at=now + timedelta(seconds=61)).accepted == 0
    assert record(*JUMP, at=now + timedelta(seconds=121)).accepted == 1


def test_a_request_sent_again_is_no_second_opinion(market: Push) -> None:
    now = timezone.now()
    record(*JUMP, at=now, of=now)
    assert record(*JUMP, at=now + timedelta(seconds=1), of=now).accepted == 0


def test_no_number_of_quotes_moves_the_decimal_point(market: Push) -> None:
    for _ in range(5):
        assert record("120.00000", "120.01000").accepted == 0
        assert record("0.12000", "0.12001").accepted == 0
    assert latest() == (Decimal("1.2"), Decimal("1.2001"))
    Quote.objects.update(received_at=timezone.now() - timedelta(days=1, seconds=1))
    assert record("120.00000", "120.01000").accepted == 0
    assert record("120.00000", "120.01000").accepted == 1


def test_the_first_price_of_all_has_nothing_to_be_far_from(market: Push) -> None:
    assert not Quote.objects.filter(pk="GBPCAD").exists()
    assert record("9999.00000", "9999.00010", symbol="GBPCAD").accepted == 1


def test_nothing_is_traded_on_a_bad_tick(market: Push) -> None:
    who = make_client(margin=Decimal("10000.00"))
    position = place(who, volume="0.50").json()["position"]["id"]
    before = account(who)
    for bid, ask in (("120.00000", "120.01000"), ("0.01200", "0.01201"), ("0.85000", "1.20010")):
        body = {"quotes": [{"symbol": "EURUSD", "bid": bid, "ask": ask}]}
        response = market_data_client().post("/api/v1/quotes", body)
        assert (response.status_code, response.json()["accepted"]) == (200, 0)
        assert account(who) == before
        assert place(who, side="SELL", volume="0.01").json()["price_filled"] == "1.20000"
        before = account(who)
    assert close(who, position).json()["price"] == "1.20000"
    assert set(Deal.objects.values_list("price", flat=True)) == {Decimal("1.2001"), Decimal("1.2")}


# --- Over REST ------------------------------------------------------------------------------------------------------


def post(*batch: dict[str, Any]) -> Any:
    return market_data_client().post("/api/v1/quotes", {"quotes": list(batch)})


def row(symbol: str, bid: str, ask: str, **more: Any) -> dict[str, Any]:
    return {"symbol": symbol, "bid": bid, "ask": ask, **more}


def test_a_push_is_told_what_was_not_believed(market: Push) -> None:
    old = plain(timezone.now() - timedelta(minutes=5))
    body = post(
        row("EURUSD", *JUMP), row("GBPUSD", "1.40000", "1.40012"), row("USDJPY", "109.000", "109.010", time=old)
    ).json()
    assert (body["accepted"], body["received"], body["batch"]) == (1, 3, 2)
    assert [(one["index"], one["symbol"], one["code"]) for one in body["refused"]] == [
        (0, "EURUSD", "JUMP"),
        (2, "USDJPY", "STALE"),
    ]
    assert sorted(QuoteAlert.objects.values_list("kind", "source")) == [("JUMP", "push"), ("STALE", "push")]


@pytest.mark.parametrize(
    "bid, ask, kind",
    [("0", "1.20010", "NOT_POSITIVE"), ("-1.2", "1.20010", "NOT_POSITIVE"), ("NaN", "1.20010", "NOT_A_NUMBER")],
)
def test_an_impossible_push_alerts_and_keeps_nothing_of_its_batch(market: Push, bid: str, ask: str, kind: str) -> None:
    before = written()
    response = post(row("GBPUSD", *JUMP), row("EURUSD", bid, ask))
    assert (response.status_code, response.json()["code"]) == (400, "QUOTE_REFUSED")
    assert [(error["field"], error["code"]) for error in response.json()["errors"]] == [("quotes.1.bid", kind)]
    assert written() == before
    # The other quote was never considered, so a later one finds nothing to confirm.
    assert list(QuoteAlert.objects.values_list("symbol", "kind")) == [("EURUSD", kind)]


def test_operators_count_what_was_not_believed(market: Push, django_capture_on_commit_callbacks: Any) -> None:
    def counted() -> float:
        return float(metrics.QUOTES_REFUSED.labels("test", "JUMP")._value.get())

    before = counted()
    with django_capture_on_commit_callbacks(execute=True):
        record("120.00000", "120.01000")
    assert counted() == before + 1


def test_a_batch_costs_three_statements(market: Push) -> None:
    now = timezone.now()
    batch = [
        NewQuote("EURUSD", Decimal("1.20001"), Decimal("1.20011"), now),
        NewQuote("GBPUSD", Decimal("1.39001"), Decimal("1.39013"), now),
        NewQuote("USDJPY", Decimal("1.000"), Decimal("1.001"), now),
    ]
    with CaptureQueriesContext(connection) as queries:
        quotes.record_quotes(quotes=batch, source="test", now=now)
    statements = [query["sql"].split()[0] for query in queries if "SAVEPOINT" not in query["sql"]]
    assert statements == ["SELECT", "SELECT", "WITH"]
