"""Engines may be late, several, interrupted or hit by a bad row: what they do is what one would have done in time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from io import StringIO
from random import Random
from threading import Thread
from time import sleep
from typing import Any

import psycopg
import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.db import connection, connections
from django.utils import timezone

from core import health, metrics
from core.models import JobRun
from tests.database import Clone
from tests.trading import prices
from tests.trading.nights import books_are_clean
from tests.trading.prices import Push, deliver
from tests.trading.risk import (
    deals,
    engine,
    events,
    is_open,
    no_commission,
    opened,
    run_risk,
    status,
    trader,
    waiting,
)
from trading.models import (
    Deal,
    MarginEvent,
    Order,
    Position,
    PriceBatch,
    PriceClock,
    QuoteAlert,
    RiskCursor,
    RiskTask,
)
from trading.services import quotes, risk
from trading.services.quotes import NewQuote
from trading.services.risk import Memory, Progress

# The market of these tests quotes EURUSD at 1.20000/1.20010.


@pytest.fixture
def market(committed_market: Push) -> Iterator[Push]:
    """Really committed, for threads, and so that the whole ledger can be verified at the end of every test."""
    no_commission()
    run_risk()
    yield committed_market
    assert not RiskTask.objects.exists()
    assert RiskCursor.objects.get().batch == PriceClock.objects.get().number
    books_are_clean()


def at(bid: str, spread: str = "0.00010") -> tuple[str, str]:
    return bid, str(Decimal(bid) + Decimal(spread))


# --- A world to compare -----------------------------------------------------------------------------------------------

SYMBOLS = {"EURUSD": "1.20000", "GBPUSD": "1.39000"}
TRADERS = 8
BATCHES = 24


def populate(seed: int) -> None:
    """Traders with too much open, with stops, targets, and orders that wait around the price."""
    no_commission()
    random = Random(seed)
    for serial in range(TRADERS):
        who = trader("2500.00", email=f"trader-{serial}@example.com")
        for symbol, middle in SYMBOLS.items():
            side = random.choice(["BUY", "SELL"])
            away = Decimal(random.randrange(400, 3000)) * Decimal("0.00001")
            low, high = str(Decimal(middle) - away), str(Decimal(middle) + away)
            guards = {"stop_loss": low, "take_profit": high}
            if side == "SELL":
                guards = {"stop_loss": high, "take_profit": low}
            opened(who, symbol=symbol, side=side, volume=f"0.{random.randrange(10, 25)}", **guards)
            opened(who, symbol=symbol, side=random.choice(["BUY", "SELL"]), volume="0.05")
            for price, types in ((low, ("LIMIT", "STOP")), (high, ("STOP", "LIMIT"))):
                side = random.choice(["BUY", "SELL"])
                waiting(who, price, symbol=symbol, side=side, type=types[side == "SELL"], reserved="100.00")


def script(seed: int) -> list[dict[str, tuple[str, str]]]:
    """Prices that wander, and leap now and then."""
    random, now = Random(seed), {symbol: Decimal(middle) for symbol, middle in SYMBOLS.items()}
    batches = []
    for _ in range(BATCHES):
        batch = {}
        for symbol in random.sample(sorted(SYMBOLS), random.randint(1, len(SYMBOLS))):
            leap = 12 if random.random() < 0.25 else 1
            now[symbol] += Decimal(random.randrange(-600, 601) * leap) * Decimal("0.00001")
            batch[symbol] = at(str(now[symbol]), "0.00012")
        batches.append(batch)
    return batches


def outcome() -> tuple[list[Any], list[Any], list[Any]]:
    """Every deal, order and event by what it says, whatever its id; and in which order an account had them."""
    who = "account__owner__email"
    told = Deal.objects.exclude(cause="CLIENT").order_by(who, "id")
    figures = ("instrument_id", "side", "entry", "cause", "batch", "volume", "price", "price_open", "profit")
    orders = Order.objects.exclude(type="MARKET").order_by(who, "id")
    margin = MarginEvent.objects.order_by(who, "id")
    return (
        list(told.values_list(who, *figures, "margin", "compensation")),
        list(orders.values_list(who, "instrument_id", "status", "reject_code", "price_filled", "cancel_reason")),
        list(margin.values_list(who, "kind", "batch", "equity", "held")),
    )


def engines_at_work(count: int) -> tuple[list[Thread], list[Any]]:
    commands = [engine() for _ in range(count)]

    def work(command: Any) -> None:
        try:
            while not command.stopping.is_set():
                command.run()
                sleep(0.002)
        finally:
            connections.close_all()

    threads = [Thread(target=work, args=(command,)) for command in commands]
    for thread in threads:
        thread.start()
    return threads, commands


def play(batches: list[Any], engines: int, *, late: bool) -> tuple[list[Any], list[Any], list[Any]]:
    """The outcome when so many engines run while the prices come, or when all of them have come."""
    for batch in batches if late else []:
        prices.push(**batch)
    threads, commands = engines_at_work(engines)
    try:
        for batch in [] if late else batches:
            prices.push(**batch)
        while RiskCursor.objects.get().batch < PriceClock.objects.get().number:
            sleep(0.01)
    finally:
        for command in commands:
            command.stopping.set()
        for thread in threads:
            thread.join(30)
    run_risk()
    return outcome()


@pytest.mark.parametrize("seed", [1, 2])
def test_two_engines_and_late_ones_do_what_one_does(market: Push, committed_db: Clone, seed: int) -> None:
    outcomes = []
    for engines, late in ((1, False), (2, False), (1, True), (3, True)):
        connection.close()
        committed_db.restore()
        prices.open_market()
        populate(seed)
        outcomes.append(play(script(seed), engines, late=late))
        books_are_clean()
        assert Deal.objects.exclude(batch=None).count() == len(outcomes[-1][0])
    alone, *others = outcomes
    assert {row[4] for row in alone[0]} >= {"ORDER", "STOP_LOSS", "TAKE_PROFIT", "STOP_OUT"}, "something of everything"
    for other in others:
        assert other == alone


def test_a_batch_waits_for_the_last_account_of_the_one_before(market: Push) -> None:
    whos = [trader(), trader()]
    positions = [opened(who, stop_loss=stop) for who, stop in zip(whos, ("1.19500", "1.19000"), strict=True)]
    orders = [waiting(who, "1.19200") for who in whos]
    for bid in ("1.19400", "1.18900"):
        market(EURUSD=at(bid))
    first, progress = PriceClock.objects.get().number - 1, []
    memory = Memory()
    for _ in range(4):
        progress.append((risk.advance(now=timezone.now()).name, RiskCursor.objects.get().batch - first))
        risk.work_off(memory=memory)
    assert progress == [("PUT_DOWN", 0), ("PUT_DOWN", 1), ("WAITING", 1), ("UP_TO_DATE", 1)]
    assert [Deal.objects.get(position=one, entry="OUT").batch for one in positions] == [first, first + 1]
    assert [status(order) for order in orders] == ["FILLED"] * 2


def test_an_engine_leaves_the_cursor_and_the_account_to_who_is_at_it(market: Push, committed_db: Clone) -> None:
    opened(trader(), stop_loss="1.19500")
    market(EURUSD=at("1.19400"))
    with psycopg.connect(committed_db.url) as other:
        other.execute("SELECT FROM trading_riskcursor FOR NO KEY UPDATE")
        assert risk.advance(now=timezone.now()) is Progress.WAITING
        other.rollback()
        assert risk.advance(now=timezone.now()) is Progress.PUT_DOWN
        other.execute("SELECT FROM trading_risktask FOR UPDATE")
        assert risk.work_off(memory=Memory()) is None
        assert risk.advance(now=timezone.now()) is Progress.WAITING
    assert run_risk() == {"stop_losses": 1}


# --- Late, and in between ---------------------------------------------------------------------------------------------


def test_catching_up_does_what_was_due_at_each_batch(market: Push) -> None:
    who = trader()
    stopped = opened(who, stop_loss="1.19500")
    order = waiting(who, "1.19000")
    for bid in ("1.19600", "1.19400", "1.18980", "1.20500", "1.21000"):
        market(EURUSD=at(bid))
    first = PriceClock.objects.get().number - 4
    assert run_risk() == {"stop_losses": 1, "filled": 1}
    assert Deal.objects.get(position=stopped, entry="OUT").batch == first + 1
    assert [row[4] for row in deals()] == [Decimal("1.19400"), Decimal("1.18990")]
    assert Deal.objects.get(order=order).batch == first + 2


def test_an_order_that_was_under_way_when_its_price_came_is_found_with_the_next(market: Push) -> None:
    """Its client read the prices before the batch and committed after the batch had been put down."""
    who, command = trader(), engine()
    seen = PriceClock.objects.get().number
    market(EURUSD=at("1.19000"))
    command.run()
    order = waiting(who, "1.19500", watched_after=seen)
    assert command.run()["filled"] == 0
    market(GBPUSD=("1.39001", "1.39013"))
    assert command.run()["filled"] == 1
    assert Deal.objects.get(order=order).price == Decimal("1.19010")


def test_a_sweep_finds_what_no_price_comes_for(market: Push) -> None:
    who, command = trader(), engine()
    seen = PriceClock.objects.get().number
    market(EURUSD=at("1.19000"))
    command.run()
    order = waiting(who, "1.19500", watched_after=seen)
    command.run(sweep_every=30)
    assert status(order) == "WORKING"
    command.sweep_due_at = 0
    command.run()
    assert status(order) == "FILLED"


def test_batches_that_were_purged_are_stepped_over(market: Push) -> None:
    position = opened(trader(), stop_loss="1.19500")
    for bid in ("1.19600", "1.19400", "1.19300"):
        market(EURUSD=at(bid))
    last = PriceClock.objects.get().number
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM trading_quotetick WHERE batch < %s", [last])
        cursor.execute("DELETE FROM trading_pricebatch WHERE number < %s", [last])
    assert run_risk() == {"stop_losses": 1}
    assert Deal.objects.get(position=position, entry="OUT").batch == last


def test_nothing_is_done_before_the_first_price(committed_db: Clone) -> None:
    assert run_risk() == {}
    assert not RiskTask.objects.exists()


# --- Bad prices -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bid, ask",
    [
        ("0", "1.20010"),
        ("-1.20000", "1.20010"),
        ("NaN", "NaN"),
        ("1.20020", "1.20010"),
        ("120.00000", "120.00010"),
        ("0.01200", "0.01201"),
        ("0.50000", "0.50010"),
    ],
)
def test_a_bad_price_triggers_nothing_and_raises_an_alert(market: Push, bid: str, ask: str) -> None:
    who = trader("5000.00")
    position = opened(who, volume="1.00", stop_loss="1.00000", take_profit="2.00000")
    short = opened(who, side="SELL", volume="0.10", stop_loss="2.00000", take_profit="1.00000")
    orders = [waiting(who, "1.10000"), waiting(who, "1.30000", side="SELL"), waiting(who, "1.30000", type="STOP")]
    deliver(EURUSD=(bid, ask))
    assert run_risk() == {}
    assert QuoteAlert.objects.count() == (2 if bid == "NaN" else 1)
    assert (is_open(position), is_open(short), deals(), events(who)) == (True, True, [], [])
    assert [status(order) for order in orders] == ["WORKING"] * 3


def test_a_stale_price_triggers_nothing_and_raises_an_alert(market: Push) -> None:
    who, now = trader("5000.00"), timezone.now()
    opened(who, volume="1.00", stop_loss="1.19000")
    stale = NewQuote("EURUSD", Decimal("1.10000"), Decimal("1.10010"), now - timedelta(seconds=61))
    assert quotes.record_quotes(quotes=[stale], source="test", now=now).batch is None
    assert run_risk() == {}
    assert (QuoteAlert.objects.get().kind, deals(), events(who)) == ("STALE", [], [])


# --- An account that fails --------------------------------------------------------------------------------------------

TOO_MUCH = Decimal("-999999999999.99999999")


def poison(position: Any) -> None:
    """No loss can be added to this, so it cannot be closed with one."""
    Position.objects.filter(pk=position).update(profit=TOO_MUCH)


def cure() -> None:
    Position.objects.filter(profit=TOO_MUCH).update(profit=0)


def test_an_account_that_fails_holds_up_nobody_and_misses_nothing(market: Push) -> None:
    sick, well = trader(), trader()
    poisoned, closed = (opened(who, stop_loss="1.19500") for who in (sick, well))
    missed = waiting(sick, "1.19000")
    poison(poisoned)
    market(EURUSD=at("1.19400"))
    with pytest.raises(CommandError):
        call_command("run_risk", as_json=True, stdout=StringIO())
    task = RiskTask.objects.get()
    assert (task.account_id, task.attempts, task.failed_at is not None) == (sick.account.pk, 1, True)
    assert "numeric field overflow" in task.error or "violates check constraint" in task.error
    assert (is_open(poisoned), is_open(closed)) == (True, False)
    assert JobRun.objects.filter(status="FAILED").get().counts["failed"] == 1
    before = Deal.objects.get(position=closed, entry="OUT").batch
    market(EURUSD=at("1.18980"))
    market(EURUSD=at("1.25000"))
    assert run_risk() == {}, "it is left alone for a while"
    assert health._checks["risk"]() == {"batches_behind": 0, "unfinished": 0, "set_aside": 1}
    assert metrics.RISK_TASKS_SET_ASIDE._value.get() == 1
    cure()
    with time_machine.travel(timezone.now() + timedelta(seconds=2)):
        assert run_risk() == {"stop_losses": 1, "filled": 1}
    assert Deal.objects.get(position=poisoned, entry="OUT").price == Decimal("1.19400")
    assert Deal.objects.get(position=poisoned, entry="OUT").batch == before
    assert Deal.objects.get(order=missed).price == Decimal("1.18990")


def test_an_account_that_goes_on_failing_is_tried_less_and_less(market: Push) -> None:
    poisoned = opened(trader(), stop_loss="1.19500")
    poison(poisoned)
    market(EURUSD=at("1.19400"))
    start, command, attempts = timezone.now(), engine(), []
    for seconds in range(40):
        with time_machine.travel(start + timedelta(seconds=seconds), tick=False):
            command.run()
            attempts.append(RiskTask.objects.get().attempts)
    assert attempts[0] == 1
    assert attempts[-1] in {5, 6}  # after 1, 3, 7, 15 and 31 seconds more
    RiskTask.objects.update(attempts=10_000)
    cure()
    with time_machine.travel(start + timedelta(seconds=120)):
        assert command.run()["stop_losses"] == 1


# --- The command ------------------------------------------------------------------------------------------------------


def test_counts_what_it_did(market: Push) -> None:
    opened(trader(), stop_loss="1.19500")
    opened(trader(), side="SELL")
    market(EURUSD=at("1.19400"))
    market(EURUSD=at("1.19410"))
    out = StringIO()
    call_command("run_risk", stdout=out)
    said = dict(line.split(": ") for line in out.getvalue().splitlines())
    assert said | {"accounts": "n"} == {
        "batches": "2",
        "accounts": "n",
        "filled": "0",
        "rejected": "0",
        "expired": "0",
        "stop losses": "1",
        "take profits": "0",
        "margin calls": "0",
        "stop outs": "0",
        "cancelled": "0",
        "failed": "0",
    }


def test_watches_until_it_is_told_to_stop(market: Push) -> None:
    positions = [opened(trader(), stop_loss=stop) for stop in ("1.19500", "1.19000")]
    command = engine()

    def watch() -> None:
        try:
            call_command(command, "--watch", "--interval", "0.01", as_json=True, stdout=StringIO())
        finally:
            connections.close_all()

    thread = Thread(target=watch)
    thread.start()
    try:
        for bid, position in zip(("1.19400", "1.18900"), positions, strict=True):
            market(EURUSD=at(bid))
            soon = timezone.now() + timedelta(seconds=20)
            while is_open(position) and timezone.now() < soon:
                sleep(0.01)
            assert not is_open(position)
    finally:
        command.stopping.set()
        thread.join(30)
    assert JobRun.objects.filter(name="run_risk").latest("started_at").counts["stop_losses"] == 2
    assert PriceBatch.objects.count() == RiskCursor.objects.get().batch


def test_the_lag_is_told(market: Push) -> None:
    market(EURUSD=at("1.19400"))
    market(EURUSD=at("1.19500"))
    assert health._checks["risk"]() == {"batches_behind": 2, "unfinished": 0, "set_aside": 0}
    assert metrics.RISK_BATCHES_BEHIND._value.get() == 2
    run_risk()
