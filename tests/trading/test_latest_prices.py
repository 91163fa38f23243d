"""What a process keeps of the prices is what the database has, whatever changed them and whatever came to nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from threading import Thread

import pytest
from django.db import connection, connections, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from tests.cast import make_client
from tests.trading.calls import place
from tests.trading.prices import PRICES, Push, forget, open_market
from trading import prices
from trading.models import PriceClock, Quote


def bid(symbol: str = "EURUSD") -> str:
    return str(prices.latest().ticks[symbol].bid.normalize())


def test_prices_are_read_once(market: Push) -> None:
    known = prices.latest()
    with CaptureQueriesContext(connection) as queries:
        again = prices.latest()
    assert len(queries) == 1  # the clock's row
    assert again == known
    assert again.ticks is known.ticks


def test_with_a_stamp_at_hand_nothing_is_asked(market: Push) -> None:
    known = prices.latest()
    with CaptureQueriesContext(connection) as queries:
        assert prices.latest(known.stamp).ticks is known.ticks
    assert len(queries) == 0


def test_a_stamp_that_is_over_gets_the_prices_of_now(market: Push) -> None:
    old = prices.latest()
    market(EURUSD=("1.20500", "1.20510"))
    new = prices.latest()
    assert prices.latest(old.stamp) == new
    assert new.stamp.batch == old.stamp.batch + 1
    assert new.stamp.terms == old.stamp.terms


def correct() -> None:
    Quote.objects.filter(pk="EURUSD").update(bid=Decimal("1.19990"))


def age() -> None:
    Quote.objects.update(received_at=timezone.now() - timedelta(hours=1))


def withdraw() -> None:
    forget()


@pytest.mark.parametrize("change", [correct, age, withdraw])
def test_whoever_changes_a_price_is_seen(market: Push, change: Callable[[], None]) -> None:
    known = prices.latest()
    change()
    new = prices.latest()
    assert new.ticks != known.ticks
    assert new.stamp.batch == known.stamp.batch  # no batch, and yet another version
    assert new.stamp.prices != known.stamp.prices


def test_a_change_that_was_rolled_back_leaves_nothing(market: Push) -> None:
    known, seen = bid(), set()
    for _ in range(2):
        with transaction.atomic():
            correct()
            assert bid() == "1.1999"
            seen.add(PriceClock.objects.get().prices_version)
            transaction.set_rollback(True)
        assert bid() == known
    assert len(seen) == 2


def test_an_uncommitted_price_is_nobody_elses(committed_db: object) -> None:
    open_market()
    known, elsewhere = bid(), []

    def look() -> None:
        elsewhere.append(bid())
        connections.close_all()

    with transaction.atomic():
        correct()
        assert bid() == "1.1999"
        thread = Thread(target=look)
        thread.start()
        thread.join()
    assert elsewhere == [known]
    assert bid() == "1.1999"


def test_an_order_is_filled_at_a_price_that_has_just_come(market: Push) -> None:
    who = make_client(margin=Decimal("10000.00"))
    assert place(who).json()["price_filled"] == PRICES["EURUSD"][1]
    for ask in ("1.20110", "1.20120"):
        market(EURUSD=("1.20100", ask))
        assert place(who).json()["price_filled"] == ask
