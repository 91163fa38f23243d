"""Every feed is a source of batches: a file that is walked again, or a request."""

from __future__ import annotations

import io
import json
import threading
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import islice
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from core.models import JobRun
from tests.trading.prices import Push
from trading import replay
from trading.feeds import GAP_SPREAD_FACTOR_MAX, GAP_STEPS_MAX, Feed, Gap, PushedFeed, ReplayFeed
from trading.management.commands.feed_quotes import Command
from trading.market import NewQuote
from trading.models import Instrument, PriceBatch, Quote, QuoteAlert, QuoteTick
from trading.services import instruments, quotes

BARS = replay.load_bars()
FIRST, LAST = min(BARS), max(BARS)


@pytest.fixture
def listed(db: None) -> dict[str, Instrument]:
    instruments.load_instruments()
    return Instrument.objects.in_bulk()


def feed(**options: Any) -> dict[str, Any]:
    output = io.StringIO()
    arguments = [argument for name, value in options.items() for argument in (f"--{name.replace('_', '-')}", value)]
    call_command("feed_quotes", "--json", *(text for text in arguments if text is not True), stdout=output)
    counts: dict[str, Any] = json.loads(output.getvalue())
    return counts


def played(**options: Any) -> list[list[NewQuote]]:
    return list(ReplayFeed(loop=False, **options).batches())


def test_both_adapters_are_feeds(listed: dict[str, Instrument]) -> None:
    now = timezone.now()
    pushed: Feed = PushedFeed.of([{"symbol": "EURUSD", "bid": Decimal(1), "ask": Decimal(2)}], now=now)
    walked: Feed = ReplayFeed(instruments=listed)
    assert list(pushed.batches()) == [[NewQuote("EURUSD", Decimal(1), Decimal(2), now)]]
    assert len(next(walked.batches())) == len(BARS[FIRST])
    assert (pushed.rewinds, walked.rewinds) == (False, True)


def test_a_replay_without_a_loop_plays_every_step_once(listed: dict[str, Instrument]) -> None:
    batches = played(instruments=listed)
    assert len(batches) == len(BARS) * replay.STEPS_PER_BAR
    assert batches[-1][0].quoted_at == LAST + replay.STEP * (replay.STEPS_PER_BAR - 1)


def test_a_replay_with_a_loop_starts_over(listed: dict[str, Instrument]) -> None:
    last = LAST + replay.STEP * (replay.STEPS_PER_BAR - 2)
    batches = list(islice(ReplayFeed(instruments=listed, after=last).batches(), 3))
    assert [batch[0].quoted_at for batch in batches] == [last + replay.STEP, FIRST, FIRST + replay.STEP]


def test_a_replay_behind_the_last_bar_without_a_loop_is_over(listed: dict[str, Instrument]) -> None:
    assert played(instruments=listed, after=LAST + timedelta(days=1)) == []


def test_a_replay_of_nothing_ends_even_in_a_loop(listed: dict[str, Instrument]) -> None:
    assert list(ReplayFeed(instruments=listed, start=LAST + timedelta(days=9)).batches()) == []
    assert list(ReplayFeed(instruments={}).batches()) == []


def test_a_replay_keeps_to_its_days_and_symbols(listed: dict[str, Instrument]) -> None:
    start, end = datetime(2021, 6, 1, tzinfo=UTC), datetime(2021, 6, 3, tzinfo=UTC)
    batches = played(instruments={"EURUSD": listed["EURUSD"]}, start=start, end=end)
    assert {quote.symbol for batch in batches for quote in batch} == {"EURUSD"}
    moments = [quote.quoted_at for batch in batches for quote in batch]
    assert (moments[0], moments[-1], len(moments)) == (start, end - replay.STEP, 2 * replay.STEPS_PER_BAR)


def test_a_replay_resumes_only_within_its_days(listed: dict[str, Instrument]) -> None:
    start = datetime(2021, 6, 1, tzinfo=UTC)
    inside = start + 5 * replay.STEP
    for after, first in ((inside, inside + replay.STEP), (FIRST, start), (LAST + timedelta(days=1), start)):
        batch = next(ReplayFeed(instruments=listed, after=after, start=start, end=start + timedelta(days=9)).batches())
        assert batch[0].quoted_at == first


# --- Gaps -----------------------------------------------------------------------------------------------------------


def test_gaps_are_the_same_for_a_seed_however_the_replay_is_cut(listed: dict[str, Instrument]) -> None:
    end = FIRST + timedelta(days=60)
    whole = played(instruments=listed, end=end, gaps=7)
    assert played(instruments=listed, end=end, gaps=7) == whole
    assert played(instruments=listed, end=end, gaps=8) != whole
    moment = FIRST + timedelta(days=30, hours=5)
    rest = [batch for batch in played(instruments=listed, end=end, after=moment, gaps=7) if batch]
    assert rest == [batch for batch in whole if batch and batch[0].quoted_at > moment]
    alone = played(instruments={"EURUSD": listed["EURUSD"]}, end=end, gaps=7)
    quotes_of = [quote for batch in whole for quote in batch if quote.symbol == "EURUSD"]
    assert [quote for batch in alone for quote in batch] == quotes_of


def test_gaps_leave_out_ticks_and_widen_the_spread_behind_them(listed: dict[str, Instrument]) -> None:
    smooth = {(one.symbol, one.quoted_at): one for batch in played(instruments=listed) for one in batch}
    rough = {(one.symbol, one.quoted_at): one for batch in played(instruments=listed, gaps=1) for one in batch}
    assert set(rough) < set(smooth)
    factors = {(one.ask - one.bid) / (smooth[at].ask - smooth[at].bid) for at, one in rough.items()}
    assert factors <= set(range(1, GAP_SPREAD_FACTOR_MAX + 1))
    assert max(factors) == GAP_SPREAD_FACTOR_MAX
    assert 0.02 < 1 - len(rough) / len(smooth) < 0.08


def test_a_gap_narrows_step_by_step_and_spares_the_ends_of_the_day() -> None:
    gap = Gap(start=3, end=5, factor=6)
    assert [gap.widening_at(step) for step in range(9)] == [1, 1, 1, None, None, 6, 3, 1, 1]
    found = [Gap.of(seed, "EURUSD", FIRST) for seed in range(500)]
    gaps = [one for one in found if one is not None]
    assert 100 < len(gaps) < 200
    assert all(1 <= one.start < one.end <= replay.STEPS_PER_BAR - 1 for one in gaps)
    assert {one.end - one.start for one in gaps} == set(range(1, GAP_STEPS_MAX + 1))


# --- The command ----------------------------------------------------------------------------------------------------


def test_the_whole_replay_with_gaps_and_two_loops_raises_no_alarm(listed: dict[str, Instrument]) -> None:
    walk = ReplayFeed(instruments=listed, gaps=3, start=datetime(2021, 12, 1, tzinfo=UTC))
    days = sum(day >= datetime(2021, 12, 1, tzinfo=UTC) for day in BARS)
    for batch in islice(walk.batches(), days * replay.STEPS_PER_BAR + 30):
        recorded = quotes.record_quotes(quotes=batch, source="replay", now=timezone.now(), rewinds=True)
        assert recorded.accepted == len(batch)
    assert not QuoteAlert.objects.exists()


def test_the_command_ends_behind_the_last_bar_when_it_may_not_loop(listed: dict[str, Instrument]) -> None:
    options = {"start": LAST.date().isoformat(), "no_loop": True, "symbols": "BTCUSD", "ticks": "100"}
    assert feed(**options) == {"job": "feed_quotes", "batches": 24, "quotes": 24, "refused": 0}
    assert feed(**options)["batches"] == 0
    assert feed(start=LAST.date().isoformat(), symbols="BTCUSD", ticks="100")["batches"] == 100


def test_the_command_gives_the_same_prices_for_the_same_seed(listed: dict[str, Instrument]) -> None:
    def prices() -> list[tuple[Any, ...]]:
        rows = QuoteTick.objects.order_by("id").values_list("instrument_id", "bid", "ask", "quoted_at")
        found = list(rows)
        QuoteTick.objects.all().delete()
        return found

    feed(gaps="5", restart=True, ticks="200")
    first = prices()
    feed(gaps="5", restart=True, ticks="200")
    assert prices() == first
    feed(gaps="5", restart=True, ticks="120")
    feed(gaps="5", ticks="80")  # goes on where the last run stopped
    assert prices() == first


def test_the_command_keeps_to_its_symbols(listed: dict[str, Instrument]) -> None:
    assert feed(symbols="EURUSD, BTCUSD", ticks="2")["quotes"] == 4
    assert set(Quote.objects.values_list("pk", flat=True)) == {"EURUSD", "BTCUSD"}


def test_the_command_knows_no_such_symbol(listed: dict[str, Instrument]) -> None:
    with pytest.raises(CommandError, match="There is no instrument EURXXX"):
        feed(symbols="EURUSD,EURXXX")
    assert JobRun.objects.get().status == "FAILED"
    assert not Quote.objects.exists()


@pytest.mark.parametrize(
    "option, value", [("speed", "0"), ("speed", "-1"), ("speed", "nan"), ("start", "soon"), ("gaps", "x")]
)
def test_the_command_refuses_options_that_mean_nothing(db: None, option: str, value: str) -> None:
    with pytest.raises(CommandError):
        feed(**{option: value})
    assert not JobRun.objects.exists()


def test_speed_makes_the_rounds_come_faster(committed_market: Push) -> None:
    before = PriceBatch.objects.count()
    command = Command(stdout=io.StringIO())
    thread = threading.Thread(target=watch, args=(command, "--speed", "20"))
    thread.start()
    time.sleep(2)
    command.stopping.set()
    thread.join(10)
    # Forty rounds would be due in two seconds; at the usual speed there would be two or three.
    assert PriceBatch.objects.count() - before >= 10


def watch(command: Command, *arguments: str) -> None:
    from django.db import connection

    try:
        call_command(command, "--watch", *arguments)
    finally:
        connection.close()


def test_a_watch_that_may_not_loop_ends_by_itself(committed_market: Push) -> None:
    command = Command(stdout=io.StringIO())
    start = LAST.date().isoformat()
    thread = threading.Thread(target=watch, args=(command, "--no-loop", "--start", start, "--speed", "500"))
    thread.start()
    thread.join(30)
    assert not thread.is_alive()
    assert JobRun.objects.get().counts["batches"] == replay.STEPS_PER_BAR
