"""Outside its hours an instrument is neither opened nor closed, and says when it will be."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, time
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
import time_machine
from django.core.management import call_command
from django.test import override_settings

from tests.cast import CastMember, alice, make_client
from tests.trading import prices
from tests.trading.calls import account, close, key, place
from trading.models import Deal, Holiday, Instrument, Order, Position, TradingSession
from trading.services import instruments
from trading.services.instruments import Hours

FRIDAY = "2026-01-09T21:59:30+00:00"  # half a minute before New York's week ends
SATURDAY = "2026-01-10T12:00:00+00:00"
SUNDAY = "2026-01-11T22:00:00+00:00"  # as it opens again
OPENS_AT = "2026-01-11T22:00:00.000000Z"


@contextmanager
def clock_at(moment: str) -> Iterator[None]:
    """The desk's clock, standing still at that moment, with fresh prices."""
    with time_machine.travel(datetime.fromisoformat(moment), tick=False):
        prices.push(**prices.PRICES)
        yield


@pytest.fixture
def real_hours(db: None) -> None:
    with time_machine.travel(datetime.fromisoformat(FRIDAY), tick=False):
        prices.open_market()
        instruments.load_instruments(hours=Hours.MARKET)


def trader() -> CastMember:
    return make_client(margin=Decimal("10000.00"))


def figures(who: CastMember) -> tuple[Decimal, Decimal]:
    who.margin.refresh_from_db()
    return who.margin.balance, who.margin.held


@pytest.mark.usefixtures("real_hours")
def test_refuses_to_open_while_closed_and_says_when_it_opens() -> None:
    with clock_at(SATURDAY):
        who = trader()
        response = place(who)
        body = response.json()
    assert (response.status_code, body["code"]) == (422, "MARKET_CLOSED")
    assert (body["context"]["symbol"], body["context"]["opens_at"]) == ("EURUSD", OPENS_AT)
    assert figures(who) == (Decimal("10000.00"), 0)
    assert Order.objects.values_list("status", "reject_code").get() == ("REJECTED", "MARKET_CLOSED")
    assert not Position.objects.exists()
    assert not Deal.objects.exists()


@pytest.mark.usefixtures("real_hours")
def test_a_refusal_stays_one_when_the_market_has_opened() -> None:
    same = key()
    with clock_at(SATURDAY):
        who = trader()
        first = place(who, key=same)
    with clock_at(SATURDAY.replace("T12:00", "T12:30")):
        assert place(who, key=same).content == first.content


@pytest.mark.usefixtures("real_hours")
@pytest.mark.parametrize("moment, status", [(FRIDAY, 201), (SATURDAY, 422), (SUNDAY, 201)])
def test_opens_from_the_first_minute_to_the_last(moment: str, status: int) -> None:
    with clock_at(moment):
        assert place(trader()).status_code == status


@pytest.mark.usefixtures("real_hours")
def test_a_preview_names_the_closed_market() -> None:
    with clock_at(SATURDAY):
        who = trader()
        body = {"account": who.account.number, "symbol": "EURUSD", "side": "BUY", "volume": "0.10"}
        shown = who.api.post("/api/v1/orders/preview", body).json()
    (refusal,) = shown["would_reject"]
    assert (refusal["code"], refusal["context"]["opens_at"]) == ("MARKET_CLOSED", OPENS_AT)
    assert shown["required_margin"] == "400.03"  # what it would take is told all the same


@pytest.mark.usefixtures("real_hours")
def test_refuses_to_close_while_closed_and_leaves_the_position_alone() -> None:
    with clock_at(FRIDAY):
        who = trader()
        position = place(who).json()["position"]["id"]
        before = figures(who)
    with clock_at("2026-01-09T22:00:00+00:00"):
        response = close(who, position)
        assert (response.status_code, response.json()["code"]) == (422, "MARKET_CLOSED")
        assert response.json()["context"]["opens_at"] == OPENS_AT
    assert figures(who) == before
    assert Position.objects.get().status == "OPEN"
    assert not Deal.objects.filter(entry="OUT").exists()


@pytest.mark.usefixtures("real_hours")
def test_closes_again_once_the_market_has_opened() -> None:
    with clock_at("2026-01-11T21:59:59+00:00"):
        who = trader()
        assert place(who).json()["code"] == "MARKET_CLOSED"
    with clock_at(SUNDAY):
        position = place(who).json()["position"]["id"]
        assert close(who, position).status_code == 201
        assert account(who)["held"] == "0.00"


@pytest.mark.usefixtures("real_hours")
def test_crypto_trades_on_a_saturday() -> None:
    with clock_at(SATURDAY):
        assert place(trader(), symbol="BTCUSD", volume="0.01").status_code == 201


@pytest.mark.usefixtures("real_hours")
def test_a_holiday_counts_for_its_calendar_alone() -> None:
    with clock_at("2026-12-25T12:00:00+00:00"):
        who = trader()
        body = place(who).json()
        assert (body["code"], body["context"]["opens_at"]) == ("MARKET_CLOSED", "2026-12-27T22:00:00.000000Z")
        assert place(who, symbol="BTCUSD", volume="0.01").status_code == 201


@pytest.mark.usefixtures("real_hours")
def test_instruments_show_their_hours() -> None:
    with clock_at(SATURDAY):
        who = alice()
        shown = {row["symbol"]: row for row in who.api.get("/api/v1/instruments").json()["results"]}
        one = who.api.get("/api/v1/instruments/EURUSD").json()
    euro, bitcoin = shown["EURUSD"], shown["BTCUSD"]
    assert one == euro
    assert (euro["time_zone"], euro["is_open"], euro["next_open"]) == ("America/New_York", False, OPENS_AT)
    assert euro["next_close"] is None
    assert euro["sessions"][-1] == {"weekday": "SUNDAY", "opens": "17:00", "closes": "17:00"}
    assert [row["weekday"] for row in euro["sessions"]] == ["MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "SUNDAY"]
    assert (bitcoin["sessions"], bitcoin["is_open"], bitcoin["next_open"], bitcoin["next_close"]) == (
        [],
        True,
        None,
        None,
    )
    assert (euro["swap_mode"], euro["swap_long"], euro["swap_triple_weekday"]) == ("POINTS", "-7.5", "WEDNESDAY")
    assert (euro["rollover_at"], bitcoin["swap_triple_weekday"]) == ("17:00", None)
    with clock_at(SUNDAY):
        who = make_client()
        shown = who.api.get("/api/v1/instruments/EURUSD").json()
    assert (shown["is_open"], shown["next_open"]) == (True, None)
    assert shown["next_close"] == "2026-01-16T22:00:00.000000Z"


# --- Loading --------------------------------------------------------------------------------------------------------


def load(**options: Any) -> None:
    call_command("load_instruments", stdout=StringIO(), **options)


@pytest.mark.django_db
def test_what_is_replayed_is_always_open() -> None:
    load()
    assert not TradingSession.objects.exists()
    with clock_at(SATURDAY):
        assert place(trader()).status_code == 201


@pytest.mark.django_db
def test_real_hours_are_loaded_on_demand_and_taken_back() -> None:
    load(sessions="market")
    assert TradingSession.objects.count() == 7 * 5
    sunday = TradingSession.objects.get(instrument="EURUSD", weekday=6)
    assert (sunday.opens, sunday.closes) == (time(17), time(17))
    assert Holiday.objects.filter(calendar="FOREX").exists()
    load(sessions="market")
    assert TradingSession.objects.count() == 7 * 5
    load()
    assert not TradingSession.objects.exists()
    assert set(Instrument.objects.values_list("calendar", flat=True)) == {""}


@pytest.mark.django_db
@override_settings(INSTRUMENT_SESSIONS="market")
def test_a_setting_decides_for_every_start() -> None:
    load()
    assert TradingSession.objects.exists()
