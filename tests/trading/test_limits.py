"""An account opens no more than the desk wants to carry, in one instrument and in all of them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.db import IntegrityError, connection
from django.test import override_settings

from tests.cast import CastMember, make_client
from tests.trading.calls import close, place
from tests.trading.prices import Push
from trading import margin
from trading.margin import Price, Side
from trading.models import Instrument, Order, Position


def trader() -> CastMember:
    return make_client(margin=Decimal("100000.00"), leverage=500)


def preview(who: CastMember, *, symbol: str = "EURUSD", side: str = "BUY", volume: str) -> Any:
    body = {"account": who.account.number, "symbol": symbol, "side": side, "volume": volume}
    return who.api.post("/api/v1/orders/preview", body).json()


def limit(lots: str | None, symbol: str = "EURUSD") -> None:
    Instrument.objects.filter(pk=symbol).update(volume_limit=None if lots is None else Decimal(lots))


def assert_refused(who: CastMember, code: str, context: dict[str, str], **order: Any) -> None:
    """Execution and preview refuse alike; nothing but the rejected order is written."""
    who.margin.refresh_from_db()
    before = (who.margin.balance, who.margin.held, Position.objects.count())
    refusals = preview(who, **order)["would_reject"]
    assert [(one["code"], one["context"]) for one in refusals] == [(code, context)]
    response = place(who, **order)
    stored = Order.objects.order_by("-id")[0]
    assert (response.status_code, response.json()["code"]) == (422, code)
    assert response.json()["context"] == {**context, "order": str(stored.id)}
    assert (stored.status, stored.reject_code, stored.reject_context) == ("REJECTED", code, context)
    who.margin.refresh_from_db()
    assert (who.margin.balance, who.margin.held, Position.objects.count()) == before


# --- Lots in one instrument and direction ---------------------------------------------------------------------------


def test_holds_as_many_lots_as_allowed_and_not_one_step_more(market: Push) -> None:
    limit("1.50")
    who = trader()
    assert place(who, volume="1.00").status_code == 201
    context = {"symbol": "EURUSD", "side": "BUY", "max": "1.5", "current": "1", "available": "0.5"}
    assert_refused(who, "VOLUME_LIMIT_REACHED", context, volume="0.51")
    assert place(who, volume="0.50").status_code == 201
    context |= {"current": "1.5", "available": "0"}
    assert_refused(who, "VOLUME_LIMIT_REACHED", context, volume="0.01")


def test_counts_each_direction_instrument_and_account_by_itself(market: Push) -> None:
    limit("1.00")
    who, other = trader(), trader()
    assert place(who, volume="1.00").status_code == 201
    assert place(who, side="SELL", volume="1.00").status_code == 201
    assert place(who, symbol="GBPUSD", volume="1.00").status_code == 201
    assert place(other, volume="1.00").status_code == 201
    assert place(who, side="SELL", volume="0.01").json()["code"] == "VOLUME_LIMIT_REACHED"


def test_what_is_closed_counts_no_more(market: Push) -> None:
    limit("1.00")
    who = trader()
    position = place(who, volume="1.00").json()["position"]["id"]
    assert close(who, position, volume="0.40").status_code == 201
    context = {"symbol": "EURUSD", "side": "BUY", "max": "1", "current": "0.6", "available": "0.4"}
    assert_refused(who, "VOLUME_LIMIT_REACHED", context, volume="0.41")
    assert place(who, volume="0.40").status_code == 201


def test_a_limit_that_was_lowered_closes_nothing_and_leaves_nothing(market: Push) -> None:
    who = trader()
    assert place(who, volume="2.00").status_code == 201
    limit("1.00")
    context = {"symbol": "EURUSD", "side": "BUY", "max": "1", "current": "2", "available": "0"}
    assert_refused(who, "VOLUME_LIMIT_REACHED", context, volume="0.01")
    assert Position.objects.get().status == "OPEN"


def test_a_limit_is_shown_with_the_instruments_terms(market: Push) -> None:
    limit("1.50")
    who = trader()
    assert who.api.get("/api/v1/instruments/EURUSD").json()["volume_limit"] == "1.5"
    assert who.api.get("/api/v1/instruments/GBPUSD").json()["volume_limit"] is None


@pytest.mark.parametrize("lots", ["0", "-1", "NaN"])
def test_a_limit_is_a_number_above_zero(market: Push, lots: str) -> None:
    with pytest.raises(IntegrityError, match="instrument_volume_limit_positive"), connection.cursor() as cursor:
        cursor.execute("UPDATE trading_instrument SET volume_limit = %s WHERE symbol = 'EURUSD'", [lots])


def test_so_few_lots_that_they_would_lock_nothing_are_not_opened(market: Push) -> None:
    """A position that holds nothing could never be stopped out."""
    Instrument.objects.filter(pk="EURUSD").update(volume_min=Decimal("0.0001"), volume_step=Decimal("0.0001"))
    Instrument.objects.filter(pk="EURUSD").update(contract_size=Decimal(60))
    who = trader()
    # 0.0020 · 60 ÷ 30 = 0.004 EUR, at 1.20010 less than half a cent; 0.0021 are 0.00504 USD.
    context = {"volume": "0.002", "symbol": "EURUSD", "min": "0.0021", "currency": "USD"}
    assert_refused(who, "VOLUME_TOO_SMALL", context, volume="0.0020")
    waiting = {"type": "LIMIT", "price": "1.19000"}
    assert place(who, volume="0.0020", **waiting).json()["code"] == "VOLUME_TOO_SMALL"
    assert place(who, volume="0.0021").json()["held"] == "0.01"


def test_no_volume_fits_where_all_would_lock_nothing(market: Push) -> None:
    Instrument.objects.filter(pk="EURUSD").update(contract_size=Decimal("0.0001"), volume_max=Decimal("0.05"))
    shown = preview(trader(), volume="0.05")
    assert shown["max_volume"] == "0"
    (refusal,) = shown["would_reject"]
    assert (refusal["code"], refusal["context"]["min"]) == ("VOLUME_TOO_SMALL", "0.06")


def test_the_largest_volume_is_not_hidden_by_the_smallest(market: Push) -> None:
    Instrument.objects.filter(pk="EURUSD").update(volume_min=Decimal("0.0001"), volume_step=Decimal("0.0001"))
    Instrument.objects.filter(pk="EURUSD").update(contract_size=Decimal(60))
    fits = preview(trader(), volume="0.0001")["max_volume"]
    assert Decimal(fits) >= 1
    assert place(trader(), volume=fits).status_code == 201


# --- Everything an account holds ------------------------------------------------------------------------------------


@override_settings(EXPOSURE_MAX=Decimal("250000"))
def test_carries_as_much_as_allowed_and_not_one_step_more(market: Push) -> None:
    who = trader()
    # 1 lot = 100,000 EUR, bought at 1.20010.
    assert place(who, volume="1.00").status_code == 201
    context = {
        "max": "250000.00",
        "current": "120010.00",
        "available": "129990.00",
        "required": "130810.90",
        "currency": "USD",
    }
    assert_refused(who, "EXPOSURE_LIMIT_REACHED", context, volume="1.09")
    assert place(who, volume="1.08").status_code == 201


@override_settings(EXPOSURE_MAX=Decimal("250000"))
def test_adds_up_what_is_held_in_all_instruments_and_both_directions(market: Push) -> None:
    who = trader()
    place(who, side="SELL", volume="1.00")  # 120,000.00 at the bid
    place(who, symbol="BTCUSD", volume="2.00")  # worth 100,000.00 if sold at 50,000
    context = {
        "max": "250000.00",
        "current": "220000.00",
        "available": "30000.00",
        "required": "31202.60",
        "currency": "USD",
    }
    assert_refused(who, "EXPOSURE_LIMIT_REACHED", context, volume="0.26")
    market(BTCUSD=("45000.00", "45020.00"))
    assert place(who, volume="0.26").status_code == 201


@override_settings(EXPOSURE_MAX=Decimal("100000"))
@pytest.mark.parametrize("lots", [None, "0.40"])
def test_the_largest_volume_of_a_preview_keeps_to_the_limits(market: Push, lots: str | None) -> None:
    limit(lots)
    fits = preview(trader(), volume="0.01")["max_volume"]
    assert fits == ("0.83" if lots is None else "0.4")
    assert place(trader(), volume=fits).status_code == 201
    code = "EXPOSURE_LIMIT_REACHED" if lots is None else "VOLUME_LIMIT_REACHED"
    assert place(trader(), volume=str(Decimal(fits) + Decimal("0.01"))).json()["code"] == code


@override_settings(EXPOSURE_MAX=Decimal("1000"))
def test_an_account_without_room_may_open_nothing(market: Push) -> None:
    assert preview(trader(), volume="0.01")["max_volume"] == "0"


def test_a_preview_names_both_limits_at_once(market: Push) -> None:
    limit("0.10")
    with override_settings(EXPOSURE_MAX=Decimal("1000")):
        codes = [one["code"] for one in preview(trader(), volume="0.50")["would_reject"]]
    assert codes == ["VOLUME_LIMIT_REACHED", "EXPOSURE_LIMIT_REACHED"]


@pytest.mark.parametrize(
    "mode, currency, worth",
    [
        ("FOREX", "EUR", "50000.00"),
        ("FOREX", "USD", "60005.00"),
        ("CFD", "USD", "62500.00"),
        ("CFD", "EUR", "52083.33"),
    ],
)
def test_exposure_is_what_a_margin_is_a_share_of(mode: str, currency: str, worth: str) -> None:
    contract = margin.Contract(
        symbol="EURUSD",
        base="EUR",
        quote="USD",
        margin_currency="EUR" if mode == "FOREX" else "USD",
        contract_size=Decimal(100_000),
        mode=margin.Mode(mode),
        margin_rate=Decimal(3),
        leverage_max=30,
        tick_size=Decimal("0.00001"),
        digits=5,
    )
    found = margin.exposure(
        contract,
        side=Side.BUY,
        volume=Decimal("0.5"),
        price=Decimal("1.25"),
        account_currency=currency,
        rates={"EURUSD": Price(Decimal("1.20000"), Decimal("1.20010"))},
        currency_digits=2,
    )
    assert found == Decimal(worth)
