"""A night has the prices it began with, however late it is charged, as long as they are kept."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from tests.cast import CastMember, make_client
from tests.trading.nights import (
    MONDAY,
    TUESDAY,
    WEDNESDAY,
    charge,
    hold,
    noon,
    positions_are_clean,
    swap_terms,
    utc,
)
from tests.trading.prices import Push
from tests.trading.test_quote_history import record
from trading import selectors
from trading.models import Instrument, Position, Quote, QuoteTick, Swap


def trader(currency: str = "USD") -> CastMember:
    return make_client(margin=Decimal("60000.00"), currency=currency)


def lived_through(market: Push) -> None:
    """Two evenings of prices that are kept, one before there were any, and prices of today."""
    swap_terms("BTCUSD", swap_mode="ANNUAL", swap_long=Decimal("-36"))  # a thousandth of the price a night
    record(utc(f"{MONDAY}T21:30:00"), BTCUSD="40000", EURUSD="1.25")
    record(utc(f"{MONDAY}T22:00:01"), BTCUSD="41000", EURUSD="1.26")  # a second too late for Monday
    record(utc(f"{TUESDAY}T20:00:00"), EURUSD="1.10")
    record(utc(f"{TUESDAY}T22:00:00"), BTCUSD="44000")  # at the very moment
    market(BTCUSD=("50000.00", "50000.00"), EURUSD=("1.25000", "1.25000"))


def nights_of(who: CastMember) -> list[tuple[str, str, Decimal, Decimal]]:
    rows = Swap.objects.filter(account=who.account).order_by("night")
    return [(row.night.isoformat(), row.price_basis, row.price, row.amount) for row in rows]


def test_a_night_charged_late_has_the_prices_it_began_with(market: Push) -> None:
    lived_through(market)
    who = trader("EUR")
    hold(who, since=noon("2026-01-11"), symbol="BTCUSD", volume="1")
    charge("2026-01-14T12:00:00Z")
    assert nights_of(who) == [
        ("2026-01-11", "LAST_KNOWN", Decimal(50_000), Decimal("-40.00")),  # nothing is kept of that evening
        (MONDAY, "AT_ROLLOVER", Decimal(40_000), Decimal("-32.00")),  # ÷ 1.25
        (TUESDAY, "AT_ROLLOVER", Decimal(44_000), Decimal("-40.00")),  # ÷ 1.10
    ]
    tuesday = Swap.objects.get(night=TUESDAY)
    assert tuesday.inputs["quote"]["received_at"] == f"{TUESDAY}T22:00:00+00:00"
    assert tuesday.inputs["conversion_path"] == ["1 / EURUSD bid 1.1"]
    rows = who.api.get(f"/api/v1/positions/{tuesday.position_id}/swaps").json()["results"]
    assert [row["agrees"] for row in rows] == [True] * 3
    positions_are_clean()


def test_how_late_a_night_is_charged_does_not_change_it(market: Push) -> None:
    lived_through(market)
    prompt, late = trader("EUR"), trader("EUR")
    for who in (prompt, late):
        hold(who, since=noon(MONDAY), symbol="BTCUSD", volume="1")
    Position.objects.filter(account=late.account).update(rollover_due_at=timezone.now() + timedelta(days=1))
    charge("2026-01-12T22:00:00Z")
    charge("2026-01-13T22:00:00Z")
    market(BTCUSD=("60000.00", "60000.00"), EURUSD=("1.40000", "1.40000"))
    Position.objects.filter(account=late.account).update(rollover_due_at=None)
    charge("2026-01-13T22:00:00Z")
    assert nights_of(late) == nights_of(prompt)
    assert [basis for _, basis, _, _ in nights_of(late)] == ["AT_ROLLOVER"] * 2


def test_prices_of_two_moments_are_never_mixed(market: Push) -> None:
    lived_through(market)
    QuoteTick.objects.filter(instrument="EURUSD", received_at__lt=noon(WEDNESDAY)).delete()
    dollars, euros = trader(), trader("EUR")
    for who in (dollars, euros):
        hold(who, since=noon(MONDAY), symbol="BTCUSD", volume="1")
    charge(TUESDAY)
    assert nights_of(dollars) == [(MONDAY, "AT_ROLLOVER", Decimal(40_000), Decimal("-40.00"))]
    assert nights_of(euros) == [(MONDAY, "LAST_KNOWN", Decimal(50_000), Decimal("-40.00"))]


def test_a_price_that_has_not_changed_since_is_known_without_its_history(market: Push) -> None:
    swap_terms("BTCUSD", swap_mode="ANNUAL", swap_long=Decimal("-36"))
    who = trader()
    hold(who, since=noon(MONDAY), symbol="BTCUSD", volume="1")
    QuoteTick.objects.all().delete()
    Quote.objects.update(received_at=noon(MONDAY))
    charge(TUESDAY)
    assert [basis for _, basis, _, _ in nights_of(who)] == ["AT_ROLLOVER"]


@pytest.mark.parametrize("options", [{}, {"dry_run": True}])
def test_a_sweep_reads_the_prices_of_an_evening_once(market: Push, options: dict[str, bool]) -> None:
    lived_through(market)
    for currency in ("USD", "EUR", "USD"):
        hold(trader(currency), since=noon(MONDAY), symbol="BTCUSD", volume="1")
    with CaptureQueriesContext(connection) as queries:
        assert charge(WEDNESDAY, **options)["swaps"] == 6
    assert len([query for query in queries if "trading_quotetick" in (query["sql"] or "")]) == 2


def test_the_prices_of_a_moment_are_those_of_each_instrument(market: Push) -> None:
    lived_through(market)
    for moment in (noon(MONDAY), utc(f"{MONDAY}T22:00:00"), utc(f"{TUESDAY}T22:00:00"), timezone.now()):
        symbols = Instrument.objects.values_list("symbol", flat=True)
        one_by_one = {symbol: selectors.price_at(symbol, moment) for symbol in symbols}
        assert selectors.ticks_at(moment) == {symbol: tick for symbol, tick in one_by_one.items() if tick}
