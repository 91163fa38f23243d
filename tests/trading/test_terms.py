"""What a process keeps of the terms is what the database has, after every change and every change that did not come."""

from __future__ import annotations

from collections.abc import Callable
from datetime import time, timedelta

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from core.ids import uuid7
from tests import database
from tests.trading import prices
from trading import selectors
from trading.market import Market
from trading.models import Holiday, Instrument, LeverageCap, PriceClock, TradingSession


def market() -> Market:
    return selectors.market(timezone.now())


def asked() -> int:
    with CaptureQueriesContext(connection) as queries:
        market()
    return len(queries)


@pytest.fixture
def known(db: None) -> Market:
    prices.open_market()
    return market()


def test_terms_are_read_once(known: Market) -> None:
    assert asked() == 1
    again = market()
    assert again.instruments is known.instruments
    assert again.ticks == known.ticks


def test_prices_are_read_every_time(known: Market) -> None:
    prices.push(EURUSD=("1.21000", "1.21010"))
    now = market()
    assert str(now.ticks["EURUSD"].bid) == "1.2100000000"
    assert now.batch == known.batch + 1
    assert now.instruments is known.instruments


def halt() -> None:
    Instrument.objects.filter(symbol="EURUSD").update(trade_mode="DISABLED")


def add_session() -> None:
    hours = {"weekday": 0, "opens": time(1), "closes": time(2)}
    TradingSession.objects.filter(instrument_id="EURUSD").delete()
    TradingSession.objects.create(instrument_id="EURUSD", **hours)


def add_holiday() -> None:
    calendar = Instrument.objects.get(symbol="EURUSD").calendar
    Holiday.objects.create(id=uuid7(), calendar=calendar, day=(timezone.now() + timedelta(days=3)).date(), name="A day")


def lower_cap() -> None:
    assert LeverageCap.objects.filter(jurisdiction="ESMA").update(leverage_max=3) > 0


def remove_caps() -> None:
    with database.as_owner():
        LeverageCap.objects.all().delete()


CHANGES: dict[str, Callable[[], None]] = {
    "an instrument": halt,
    "a session": add_session,
    "a holiday": add_holiday,
    "a cap": lower_cap,
    "no caps": remove_caps,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_counts_at_once(known: Market, change: Callable[[], None]) -> None:
    Instrument.objects.filter(symbol="EURUSD").update(calendar="TEST")
    before = market()
    change()
    after = market()
    assert after.instruments is not before.instruments
    told = [
        (
            {symbol: (row.trade_mode, row.calendar) for symbol, row in seen.instruments.items()},
            seen.schedules,
            seen.leverage_caps,
        )
        for seen in (before, after)
    ]
    assert told[0] != told[1]


def test_a_change_that_is_rolled_back_leaves_nothing_behind(known: Market) -> None:
    with transaction.atomic():
        halt()
        assert market().instruments["EURUSD"].trade_mode == "DISABLED"
        transaction.set_rollback(True)
    assert market().instruments["EURUSD"].trade_mode == "FULL"
    Instrument.objects.filter(symbol="EURUSD").update(trade_mode="CLOSE_ONLY")
    assert market().instruments["EURUSD"].trade_mode == "CLOSE_ONLY"


def test_no_two_changes_have_one_version(known: Market) -> None:
    seen = set()
    for _ in range(3):
        halt()
        seen.add(PriceClock.objects.get().terms_version)
    assert len(seen) == 3


def test_another_day_has_other_holidays(known: Market) -> None:
    Instrument.objects.filter(symbol="EURUSD").update(calendar="TEST")
    now = timezone.now()
    Holiday.objects.create(id=uuid7(), calendar="TEST", day=now.date(), name="Today")
    assert len(selectors.market(now).schedules["EURUSD"].closures) == 1
    assert len(selectors.market(now + timedelta(days=9)).schedules["EURUSD"].closures) == 0
    assert len(selectors.market(now).schedules["EURUSD"].closures) == 1
