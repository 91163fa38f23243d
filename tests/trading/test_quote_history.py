"""What was once the latest price is kept, in the order in which it became known, until it is purged."""

from __future__ import annotations

import io
import json
import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.utils import timezone

from core.ids import uuid7_at
from core.models import JobRun
from tests.cast import api_client, make_client, market_data_client
from tests.trading.prices import Push
from trading import selectors
from trading.models import PriceBatch, PriceClock, Quote, QuoteAlert, QuoteTick
from trading.services import quotes
from trading.services.quotes import NewQuote

if TYPE_CHECKING:
    from tests.database import Clone

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
SYMBOLS = ("BTCUSD", "EURUSD", "GBPUSD", "USDJPY")
MIDS = {"BTCUSD": Decimal(50_000), "EURUSD": Decimal("1.2"), "GBPUSD": Decimal("1.39"), "USDJPY": Decimal("109.2")}


def record(moment: datetime, source: str = "clock", **prices: str) -> quotes.Recorded:
    batch = [NewQuote(symbol, Decimal(price), Decimal(price), moment) for symbol, price in prices.items()]
    return quotes.record_quotes(quotes=batch, source=source, now=moment)


def ticking(count: int) -> None:
    """EURUSD once a second from NOON on, each time a point higher."""
    for second in range(count):
        record(NOON + timedelta(seconds=second), EURUSD=f"1.2{second:04}")


def history(query: str = "", symbol: str = "EURUSD") -> dict[str, Any]:
    document: dict[str, Any] = reader().get(f"/api/v1/quotes/{symbol}/history{query}").json()
    return document


def reader() -> Any:
    return make_client().api


# --- Kept -----------------------------------------------------------------------------------------------------------


def test_every_accepted_price_is_kept_as_it_was(market: Push) -> None:
    market(EURUSD=("1.21000", "1.21010"))
    market(EURUSD=("1.22000", "1.22010"), GBPUSD=("1.40000", "1.40012"))
    last, kept = Quote.objects.get(pk="EURUSD"), QuoteTick.objects.filter(instrument="EURUSD").order_by("-id")
    assert [tick.sequence for tick in kept] == [3, 2, 1]
    columns = ("bid", "ask", "source", "quoted_at", "received_at", "sequence")
    assert [getattr(kept[0], name) for name in columns] == [getattr(last, name) for name in columns]
    assert list(PriceBatch.objects.order_by("number").values_list("number", "size", "source")) == [
        (1, 6, "test"),
        (2, 1, "test"),
        (3, 2, "test"),
    ]


def test_a_batch_without_news_uses_up_no_number(market: Push) -> None:
    assert record(timezone.now(), EURUSD="120").batch is None
    assert quotes.record_quotes(quotes=[], source="test", now=timezone.now()).batch is None
    assert record(timezone.now(), EURUSD="1.2").batch == 2
    assert [batch.number for batch in selectors.price_batches(after=1)] == [2]


def test_ids_sort_by_moment_then_batch() -> None:
    ids = [uuid7_at(NOON + timedelta(microseconds=step // 3), step % 3 << 16) for step in range(6000)]
    assert ids == sorted(set(ids))
    assert {(one.version, one.variant) for one in ids} == {(7, "specified in RFC 4122")}
    assert uuid7_at(datetime(1, 1, 1, tzinfo=UTC), 0) < uuid7_at(NOON, 2**62 - 1) < uuid7_at(NOON.replace(year=9999), 0)


# --- Asked for ------------------------------------------------------------------------------------------------------


def test_the_price_at_a_moment_is_the_last_before_or_at_it(market: Push) -> None:
    QuoteTick.objects.all().delete()
    ticking(3)
    at = selectors.price_at
    assert at("EURUSD", NOON - timedelta(microseconds=1)) is None
    assert at("GBPUSD", NOON + timedelta(days=1)) is None
    for second, bid in ((0, "1.2"), (0.999999, "1.2"), (1, "1.20001"), (2, "1.20002"), (86_400, "1.20002")):
        found = at("EURUSD", NOON + timedelta(seconds=second))
        assert found is not None
        assert found.bid == Decimal(bid)
        assert found.received_at <= NOON + timedelta(seconds=second)


def test_the_price_at_a_moment_of_two_batches_is_the_later_ones(market: Push) -> None:
    record(NOON, EURUSD="1.20001")
    record(NOON, EURUSD="1.20002")
    found = selectors.price_at("EURUSD", NOON)
    assert found is not None
    assert found.bid == Decimal("1.20002")


def test_history_is_read_newest_first_and_page_by_page(market: Push) -> None:
    QuoteTick.objects.all().delete()
    ticking(7)
    first = history("?limit=3")
    assert [row["bid"] for row in first["results"]] == ["1.20006", "1.20005", "1.20004"]
    assert set(first["results"][0]) == {
        "id", "symbol", "bid", "ask", "source", "time", "received_at", "sequence", "batch"
    }  # fmt: skip
    rows, page = [*first["results"]], first
    while page["next"]:
        page = reader().get(page["next"]).json()
        rows += page["results"]
    assert [row["bid"] for row in rows] == [f"1.2{second:04}" for second in reversed(range(7))]


def test_history_includes_from_and_not_to(market: Push) -> None:
    ticking(7)
    rows = history("?from=2026-03-02T12:00:02Z&to=2026-03-02T12:00:05Z")["results"]
    assert [row["bid"] for row in rows] == ["1.20004", "1.20003", "1.20002"]
    assert history("?from=2027-03-02T12:00:02Z")["results"] == []


@pytest.mark.parametrize(
    "query, field", [("?from=soon", "from"), ("?to=2026-13-01T00:00:00Z", "to"), ("?limit=0", "limit")]
)
def test_history_names_what_it_does_not_understand(market: Push, query: str, field: str) -> None:
    response = reader().get(f"/api/v1/quotes/EURUSD/history{query}")
    assert response.status_code == 400
    assert [error["field"] for error in response.json()["errors"]] == [field]


def test_history_is_for_readers_and_of_what_there_is(market: Push) -> None:
    assert history(symbol="EURXXX")["code"] == "INSTRUMENT_NOT_FOUND"
    path = "/api/v1/quotes/EURUSD/history"
    assert market_data_client().get(path).json()["code"] == "SCOPE_MISSING"
    assert api_client().get(path).status_code == 401
    assert reader().post(path, {}).status_code == 405


def test_staff_see_prices_batches_and_alerts(market: Push) -> None:
    from tests.accounts.test_back_office import office

    record(timezone.now(), EURUSD="120")
    desk = office("auditor")
    for path, shown in (("quotealert", "JUMP"), ("quotetick", "EURUSD"), ("pricebatch", "test")):
        page = desk.get(f"/admin/trading/{path}/")
        assert page.status_code == 200
        assert shown in page.content.decode()
        assert desk.get(f"/admin/trading/{path}/add/").status_code == 403
    assert "JUMP" in desk.get("/admin/trading/quotealert/?q=EURUSD").content.decode()


# --- In order -------------------------------------------------------------------------------------------------------


def in_threads(*jobs: Callable[[], Any]) -> list[Any]:
    def run(job: Callable[[], Any]) -> Any:
        try:
            return job()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(jobs)) as threads:
        return [future.result(60) for future in [threads.submit(run, job) for job in jobs]]


def feeding(source: str, batches: int, seed: int) -> list[tuple[int, str, Decimal]]:
    """Record batches of some symbols in any order, and say what was accepted: number, symbol, bid."""
    chance, accepted = random.Random(seed), []
    for _ in range(batches):
        now = timezone.now()
        chosen = chance.sample(SYMBOLS, chance.randint(1, 4))
        batch = []
        for symbol in chosen:
            price = (MIDS[symbol] * Decimal(chance.randint(990, 1010)) / 1000).quantize(Decimal("0.01"))
            batch.append(NewQuote(symbol, price, price, now))
        recorded = quotes.record_quotes(quotes=batch, source=source, now=now)
        refused = {one.index for one in recorded.refused}
        assert recorded.batch is not None
        accepted += [(recorded.batch, one.symbol, one.bid) for index, one in enumerate(batch) if index not in refused]
    return accepted


def test_feeds_at_once_neither_deadlock_nor_lose_a_sequence(committed_market: Push) -> None:
    before = dict(Quote.objects.values_list("pk", "sequence"))
    told = in_threads(*(lambda seed=seed: feeding(f"feed{seed}", 40, seed) for seed in range(4)))
    accepted = sorted(row for rows in told for row in rows)
    numbers = list(PriceBatch.objects.order_by("number").values_list("number", flat=True))
    assert numbers == list(range(1, 162))
    assert PriceClock.objects.get().number == 161
    kept = QuoteTick.objects.filter(batch__gt=1).order_by("batch", "instrument")
    assert list(kept.values_list("batch", "instrument_id", "bid")) == accepted
    for symbol in SYMBOLS:
        ticks = list(
            QuoteTick.objects.filter(instrument=symbol).order_by("batch").values_list("sequence", "bid", "ask")
        )
        assert [sequence for sequence, _, _ in ticks] == list(range(1, len(ticks) + 1))
        last = Quote.objects.get(pk=symbol)
        assert ticks[-1] == (last.sequence, last.bid, last.ask)
        assert last.sequence > before[symbol]


def test_who_sees_a_batch_sees_all_before_it_whole(committed_market: Push) -> None:
    done = threading.Event()

    def reading() -> int:
        seen, looks = 0, 0
        while not done.is_set() or looks == 0:
            with transaction.atomic():
                found = list(selectors.price_batches(after=seen).values_list("number", "size"))
                sizes = {number: 0 for number, _ in found}
                for number in QuoteTick.objects.filter(batch__in=list(sizes)).values_list("batch", flat=True):
                    sizes[number] += 1
            assert [number for number, _ in found] == list(range(seen + 1, seen + 1 + len(found)))
            assert list(sizes.items()) == found
            seen, looks = seen + len(found), looks + 1
        return looks

    def writing() -> None:
        try:
            in_threads(*(lambda seed=seed: feeding(f"feed{seed}", 40, seed) for seed in range(2)))
        finally:
            done.set()

    looks, _ = in_threads(reading, writing)
    assert looks > 10


def test_a_batch_that_is_rolled_back_gives_its_number_back(committed_market: Push) -> None:
    record_within: Any = quotes.record_quotes.__wrapped__.__wrapped__  # type: ignore[attr-defined]  # undecorated
    now = timezone.now()
    with transaction.atomic():
        batch = [NewQuote("EURUSD", Decimal("1.21"), Decimal("1.22"), now)]
        assert record_within(quotes=batch, source="test", now=now).batch == 2
        transaction.set_rollback(True)
    assert record(timezone.now(), EURUSD="1.2").batch == 2


# --- Purged ---------------------------------------------------------------------------------------------------------


def purge(*arguments: str) -> dict[str, Any]:
    output = io.StringIO()
    call_command("purge_quotes", "--json", *arguments, stdout=output)
    counts: dict[str, Any] = json.loads(output.getvalue())
    return counts


def aged(*, days: int, count: int) -> None:
    """Batches of one price and one alert each, so many days old."""
    moment = timezone.now() - timedelta(days=days, minutes=5)
    for second in range(count):
        record(moment + timedelta(seconds=second), EURUSD="1.2")
        record(moment + timedelta(seconds=second), EURUSD="120")


def test_only_what_is_old_goes_and_the_latest_price_stays(market: Push) -> None:
    aged(days=40, count=7)
    aged(days=20, count=3)
    assert purge() == {"job": "purge_quotes", "old": 7, "ticks": 7, "batches": 7, "alerts": 7}
    assert purge("--older-than", "10", "--batch", "2") == {
        "job": "purge_quotes", "old": 3, "ticks": 3, "batches": 3, "alerts": 3
    }  # fmt: skip
    assert (QuoteTick.objects.count(), PriceBatch.objects.count(), QuoteAlert.objects.count()) == (6, 1, 0)
    assert Quote.objects.count() == 6
    assert record(timezone.now(), GBPUSD="1.39").batch == 12
    assert JobRun.objects.filter(name="purge_quotes", status="SUCCEEDED").count() == 2


def test_a_dry_run_counts_and_deletes_nothing(market: Push) -> None:
    aged(days=40, count=4)
    before = QuoteTick.objects.count()
    assert purge("--dry-run") == {"job": "purge_quotes", "old": 4, "ticks": 0, "batches": 0, "alerts": 0}
    assert QuoteTick.objects.count() == before
    assert not JobRun.objects.exists()


@pytest.mark.parametrize("days", ["0", "-1", "x", "1.5", "99999999"])
def test_a_purge_never_takes_today(market: Push, days: str) -> None:
    with pytest.raises(CommandError):
        purge("--older-than", days)
    assert QuoteTick.objects.count() == 6


def test_purgers_side_by_side_delete_each_price_once_while_feeds_record(committed_market: Push) -> None:
    moment = timezone.now() - timedelta(days=40)
    for second in range(60):
        record(moment + timedelta(seconds=second), EURUSD="1.2", GBPUSD="1.39")
    before = timezone.now() - timedelta(days=30)

    def purging() -> int:
        gone = 0
        while any((counts := quotes.purge_quotes(before=before, limit=7)).values()):
            gone += counts["ticks"]
        return gone

    *gone, told = in_threads(purging, purging, purging, lambda: feeding("feed", 30, 1))
    assert sum(gone) == 120
    assert purge() == {"job": "purge_quotes", "old": 0, "ticks": 0, "batches": 0, "alerts": 0}
    assert PriceBatch.objects.count() == 31
    assert QuoteTick.objects.count() == 6 + len(told)


def test_what_another_purger_holds_is_left_to_it(committed_db: Clone, committed_market: Push) -> None:
    aged(days=40, count=5)
    before = timezone.now() - timedelta(days=30)
    with transaction.atomic():
        rows = QuoteTick.objects.select_for_update(no_key=False).order_by("id")
        assert len(rows.filter(received_at__lt=before)[:2]) == 2
        (gone,) = in_threads(lambda: quotes.purge_quotes(before=before, limit=100))
        assert (gone["ticks"], gone["batches"]) == (3, 3)
    assert quotes.purge_quotes(before=before, limit=100)["ticks"] == 2
