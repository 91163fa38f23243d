"""A limit or stop order waits for its price, and leaves no room for what could not be filled beside it."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import override_settings
from django.utils import timezone

from core.models import KillSwitch
from tests.cast import CastMember, bob, make_client
from tests.trading.calls import account, cancel, key, place, preview, release
from tests.trading.prices import Push, forget, shut
from trading.models import AccountChange, Deal, Instrument, Order, Position, PriceClock, Quote
from wallets.models import LedgerTransaction, Wallet


def trader(**options: Any) -> CastMember:
    return make_client(margin=Decimal("10000.00"), **options)


def limit(who: CastMember, **terms: Any) -> Any:
    return place(who, **{"type": "LIMIT", "price": "1.19000", **terms})


def assert_refused(response: Any, who: CastMember, code: str) -> dict[str, Any]:
    """The refusal has this code; the order is kept with it; no money moved and nothing is spoken for."""
    body: dict[str, Any] = response.json()
    assert (response.status_code, body["code"]) == (422, code)
    who.margin.refresh_from_db()
    assert (who.margin.balance, who.margin.held) == (Decimal("10000.00"), 0)
    order = Order.objects.get()
    assert (order.status, order.reject_code, order.margin_reserved) == ("REJECTED", code, 0)
    assert not Position.objects.exists()
    assert not Deal.objects.exists()
    assert not LedgerTransaction.objects.filter(type="OPEN").exists()
    assert account(who)["reserved"] == "0.00"
    return body


# --- Placing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "side, type_, price, reserved",
    [
        # 0.5 · 100,000 ÷ 30 = 1,666.67 EUR, at what a euro costs when the order is filled.
        ("BUY", "LIMIT", "1.19000", "1983.33"),
        ("BUY", "STOP", "1.21000", "2016.67"),
        ("SELL", "LIMIT", "1.21000", "2016.67"),
        ("SELL", "STOP", "1.19000", "1983.33"),
    ],
)
def test_waits_and_holds_nothing(market: Push, side: str, type_: str, price: str, reserved: str) -> None:
    who = trader()
    response = place(who, side=side, type=type_, price=price, volume="0.50")
    body = response.json()
    assert response.status_code == 201, body
    assert (body["status"], body["price"], body["price_filled"]) == ("WORKING", price, None)
    assert (body["time_in_force"], body["expires_at"], body["margin_reserved"]) == ("GTC", None, reserved)
    assert (body["position"], body["deal"], body["transaction"]) == (None, None, None)
    assert (body["margin"], body["commission"]) == (None, None)
    assert (body["balance"], body["held"], body["free_margin"]) == ("10000.00", "0.00", "10000.00")
    order = Order.objects.get()
    assert (order.status, order.margin_reserved) == ("WORKING", Decimal(reserved))
    assert order.watched_after == PriceClock.objects.get().number
    assert not Position.objects.exists()
    assert not Deal.objects.exists()
    summary = account(who)
    assert (summary["held"], summary["reserved"], summary["working_orders"]) == ("0.00", reserved, 1)
    assert summary["free_margin"] == "10000.00"


def test_is_shown_with_everything_it_asked_for(market: Push) -> None:
    who = trader()
    expires_at = (timezone.now() + timedelta(days=3)).isoformat(timespec="seconds").replace("+00:00", "Z")
    terms = {"stop_loss": "1.18000", "take_profit": "1.20000", "time_in_force": "GTD", "expires_at": expires_at}
    receipt = limit(who, client_order_id="mine", **terms).json()
    shown = who.api.get(f"/api/v1/orders/{receipt['id']}").json()
    for name in ("price", "stop_loss", "take_profit", "time_in_force", "expires_at", "margin_reserved"):
        assert shown[name] == receipt[name], name
    assert datetime.fromisoformat(shown["expires_at"]) == datetime.fromisoformat(expires_at)
    assert (shown["stop_loss"], shown["take_profit"]) == ("1.18000", "1.20000")
    assert (shown["status"], shown["client_order_id"], shown["cancel_reason"]) == ("WORKING", "mine", None)
    assert shown["updated_at"] == shown["created_at"]


def test_a_market_order_gives_its_position_its_stops(market: Push) -> None:
    who = trader()
    body = place(who, stop_loss="1.19000", take_profit="1.21000").json()
    assert (body["status"], body["time_in_force"], body["price"]) == ("FILLED", "IOC", None)
    position = Position.objects.get()
    assert (position.stop_loss, position.take_profit) == (Decimal("1.19"), Decimal("1.21"))
    assert position.watched_after == PriceClock.objects.get().number
    shown = who.api.get(f"/api/v1/positions/{position.id}").json()
    assert (shown["stop_loss"], shown["take_profit"]) == ("1.19000", "1.21000")


def test_repeats_its_answer_for_the_same_key(market: Push) -> None:
    who, same = trader(), key()
    first, second = limit(who, key=same), limit(who, key=same)
    assert first.content == second.content
    assert (first["Idempotent-Replayed"], second["Idempotent-Replayed"]) == ("false", "true")
    assert Order.objects.count() == 1


def test_takes_a_client_order_id_once_even_after_it_is_cancelled(market: Push) -> None:
    who = trader()
    first = limit(who, client_order_id="mine").json()["id"]
    cancel(who, first)
    again = limit(who, client_order_id="mine")
    assert (again.status_code, again.json()["code"]) == (409, "CLIENT_ORDER_ID_TAKEN")
    assert again.json()["context"]["order"] == first


def test_every_step_of_an_order_is_a_numbered_change(market: Push) -> None:
    who = trader()
    order = limit(who).json()["id"]
    cancel(who, order)
    changes = AccountChange.objects.filter(account=who.account).order_by("sequence")
    assert [(one.sequence, one.kind, str(one.subject)) for one in changes] == [(1, "ORDER", order), (2, "ORDER", order)]


# --- What it reserves -----------------------------------------------------------------------------------------------


def test_takes_room_from_the_next_order(market: Push) -> None:
    who = trader()
    assert limit(who, volume="2.00").json()["margin_reserved"] == "7933.33"
    refused = place(who, volume="1.00").json()
    # 4,000.33 margin, 3.50 commission and 10.00 spread; 10,000.00 less 7,933.33 is free.
    assert refused["code"] == "MARGIN_INSUFFICIENT"
    assert (refused["context"]["required"], refused["context"]["available"]) == ("4013.83", "2066.67")
    assert place(who, volume=refused["context"]["max_volume"]).status_code == 201


def test_takes_room_from_another_that_would_wait(market: Push) -> None:
    who = trader()
    limit(who, volume="2.00")
    refused = limit(who, volume="1.00", type="STOP", price="1.21000").json()
    assert refused["code"] == "MARGIN_INSUFFICIENT"
    assert limit(who, volume=refused["context"]["max_volume"], type="STOP", price="1.21000").status_code == 201


def test_is_given_back_when_it_is_cancelled(market: Push) -> None:
    who = trader()
    order = limit(who, volume="2.00").json()["id"]
    assert place(who, volume="1.00").status_code == 422
    cancel(who, order)
    assert account(who)["reserved"] == "0.00"
    assert place(who, volume="1.00").status_code == 201


def test_is_not_released_to_another_wallet(market: Push) -> None:
    who = trader()
    order = limit(who, volume="2.00").json()["id"]
    refused = release(who, amount="2066.68", target=who.cash.number)
    assert (refused.status_code, refused.json()["code"]) == (422, "FREE_MARGIN_INSUFFICIENT")
    assert refused.json()["context"]["available"] == "2066.67"
    assert release(who, amount="2066.67", target=who.cash.number).status_code == 201
    cancel(who, order)
    assert release(who, amount="7933.33", target=who.cash.number).status_code == 201


def test_opposite_a_position_it_reserves_what_exceeds_the_larger_leg(market: Push) -> None:
    who = trader()
    place(who, side="BUY", volume="0.50")  # holds 2,000.17
    place(who, side="SELL", type="LIMIT", price="1.21000", volume="0.40")  # would lock 1,613.33
    assert account(who)["reserved"] == "0.00"
    place(who, side="SELL", type="LIMIT", price="1.21000", volume="0.20")  # would lock 806.67
    assert account(who)["reserved"] == "419.83"  # 1,613.33 + 806.67 − 2,000.17
    assert account(who)["held"] == "2000.17"


def test_a_large_order_opposite_a_position_is_judged_by_what_it_adds(market: Push) -> None:
    who = trader()
    place(who, side="BUY", volume="2.00")  # holds 8,000.67
    assert place(who, side="SELL", type="LIMIT", price="1.21000", volume="2.00").status_code == 201
    refused = place(who, side="SELL", type="LIMIT", price="1.21000", volume="0.60").json()
    assert refused["code"] == "MARGIN_INSUFFICIENT"


# --- Refusals -------------------------------------------------------------------------------------------------------


@override_settings(WORKING_ORDERS_MAX=2)
def test_no_more_wait_than_allowed(market: Push) -> None:
    who = trader()
    first = limit(who, volume="0.01").json()["id"]
    limit(who, volume="0.01")
    refused = limit(who, volume="0.01")
    assert (refused.status_code, refused.json()["code"]) == (422, "WORKING_ORDERS_LIMIT_REACHED")
    assert {name: refused.json()["context"][name] for name in ("count", "max")} == {"count": 2, "max": 2}
    assert place(who, volume="0.01").status_code == 201, "what does not wait is not counted"
    cancel(who, first)
    assert limit(who, volume="0.01").status_code == 201


@override_settings(POSITIONS_MAX=1)
def test_waits_beside_as_many_positions_as_are_allowed(market: Push) -> None:
    who = trader()
    place(who, volume="0.01")
    assert limit(who, volume="0.01").status_code == 201


@pytest.mark.parametrize("seconds, status", [(-1, 422), (0, 422), (60, 201)])
def test_expires_in_the_future(market: Push, seconds: int, status: int) -> None:
    who = trader()
    expires_at = (timezone.now() + timedelta(seconds=seconds)).isoformat()
    response = limit(who, time_in_force="GTD", expires_at=expires_at)
    assert response.status_code == status
    if status == 422:
        context = assert_refused(response, who, "EXPIRY_INVALID")["context"]
        assert datetime.fromisoformat(context["expires_at"]) == datetime.fromisoformat(expires_at)
        assert datetime.fromisoformat(context["now"]) >= datetime.fromisoformat(expires_at)


def test_more_than_the_free_margin_carries(market: Push) -> None:
    who = trader()
    context = assert_refused(limit(who, volume="5.00"), who, "MARGIN_INSUFFICIENT")["context"]
    assert Decimal(context["shortfall"]) == Decimal(context["required"]) - Decimal(context["available"])


def test_a_volume_off_the_grid(market: Push) -> None:
    who = trader()
    assert assert_refused(limit(who, volume="0.015"), who, "VOLUME_INVALID")["context"]["nearest"] == "0.01"


def test_more_lots_than_an_account_may_hold(market: Push) -> None:
    Instrument.objects.filter(pk="EURUSD").update(volume_limit=Decimal("0.50"))
    who = trader()
    limit(who, volume="0.30")
    refused = limit(who, volume="0.30", type="STOP", price="1.21000").json()
    assert (refused["code"], refused["context"]["available"]) == ("VOLUME_LIMIT_REACHED", "0.2")


def test_a_price_beyond_all_sense_is_answered_with_numbers(market: Push) -> None:
    who = trader()
    assert_refused(place(who, type="STOP", price="9999999999"), who, "MARGIN_INSUFFICIENT")


@pytest.mark.parametrize(
    "prepare, code",
    [
        (lambda who: Wallet.objects.filter(pk=who.margin.pk).update(trading_enabled=False), "TRADING_FROZEN"),
        (lambda who: Wallet.objects.filter(pk=who.margin.pk).update(status="FROZEN"), "WALLET_NOT_ACTIVE"),
        (lambda who: Wallet.objects.filter(pk=who.margin.pk).update(verified=False), "VERIFICATION_REQUIRED"),
        (lambda who: type(who.account).objects.update(is_self_trading=False), "SELF_TRADING_DISABLED"),
        (lambda who: KillSwitch.objects.create(scope="TRADING", engaged=True), "TRADING_HALTED"),
        (lambda who: Instrument.objects.update(trade_mode="CLOSE_ONLY"), "INSTRUMENT_NOT_TRADABLE"),
        (lambda who: Quote.objects.update(received_at=timezone.now() - timedelta(hours=1)), "QUOTE_STALE"),
        (lambda who: forget(), "QUOTE_UNAVAILABLE"),
    ],
)
def test_what_bars_an_opening_bars_waiting_for_one(market: Push, prepare: Any, code: str) -> None:
    who = trader()
    prepare(who)
    assert_refused(limit(who), who, code)


def test_a_strangers_account_does_not_exist(market: Push) -> None:
    who = trader()
    response = place(bob(), account=who.account.number, type="LIMIT", price="1.19000")
    assert (response.status_code, response.json()["code"]) == (404, "TRADING_ACCOUNT_NOT_FOUND")
    assert not Order.objects.exists()


# --- Previews -------------------------------------------------------------------------------------------------------


def test_a_preview_says_what_it_would_reserve(market: Push) -> None:
    who = trader()
    shown = preview(who, type="LIMIT", price="1.19000", volume="0.50").json()
    assert shown["would_reject"] == []
    assert (shown["price"], shown["required_margin"], shown["reserved_margin"]) == ("1.19000", "1983.33", "1983.33")
    assert (shown["commission"], shown["spread_cost"]) == ("1.75", "5.00")
    assert preview(who, volume="0.50").json()["reserved_margin"] is None
    assert not Order.objects.exists()


def test_a_preview_says_what_a_stop_out_would_close_first(market: Push) -> None:
    who = trader()
    number = place(who, volume="1.00").json()["position"]["number"]
    first = preview(who, volume="0.50").json()["closes_first"]
    assert (first["position"], first["symbol"], first["side"], first["volume"]) == (number, "EURUSD", "BUY", "1")
    assert Decimal(first["floating"]) < 0
    own = preview(who, volume="1.20").json()["closes_first"]
    assert (own["position"], own["volume"]) == (None, "1.2")
    place(who, side="SELL", volume="0.50")
    place(who, side="SELL", volume="0.40")
    assert preview(who, side="SELL", volume="0.10").json()["closes_first"] is None, "a perfect hedge is not stopped out"


# --- Lists ----------------------------------------------------------------------------------------------------------


def ids(who: CastMember, path: str) -> list[str]:
    response = who.api.get(f"/api/v1/{path}")
    assert response.status_code == 200, response.content
    return [row["id"] for row in response.json()["results"]]


def test_orders_are_found_by_what_they_are(market: Push) -> None:
    who = trader()
    waiting = limit(who, client_order_id="mine").json()["id"]
    stop = place(who, side="SELL", type="STOP", price="1.19000").json()["id"]
    filled = place(who, symbol="GBPUSD").json()["id"]
    assert ids(who, "orders") == [filled, stop, waiting]
    assert ids(who, "orders?status=WORKING") == [stop, waiting]
    assert ids(who, "orders?type=STOP") == [stop]
    assert ids(who, "orders?side=BUY") == [filled, waiting]
    assert ids(who, "orders?symbol=GBPUSD") == [filled]
    assert ids(who, "orders?client_order_id=mine") == [waiting]
    assert ids(who, f"orders?account={who.account.number}&status=FILLED") == [filled]
    assert ids(bob(), "orders") == []


def test_rows_are_found_by_when_they_were_made(market: Push) -> None:
    who = trader()
    rows = [place(who, volume="0.01").json() for _ in range(3)]
    middle = rows[1]
    position = middle["position"]["id"]
    at = {row["id"]: row["created_at"] for row in who.api.get("/api/v1/orders").json()["results"]}
    orders = [row["id"] for row in rows]
    assert ids(who, f"orders?from={at[orders[1]]}") == orders[:0:-1]
    assert ids(who, f"orders?to={at[orders[1]]}") == orders[:1]
    assert ids(who, f"orders?from={at[orders[1]]}&to={at[orders[2]]}") == [orders[1]]
    executed = who.api.get(f"/api/v1/deals?order={middle['id']}").json()["results"]
    assert [row["position"] for row in executed] == [position]
    assert (executed[0]["cause"], executed[0]["batch"]) == ("CLIENT", None)
    moment = executed[0]["executed_at"]
    assert ids(who, f"deals?from={moment}&cause=CLIENT") == [rows[2]["deal"], rows[1]["deal"]]
    assert ids(who, f"deals?to={moment}") == [rows[0]["deal"]]
    assert ids(who, "deals?cause=STOP_OUT") == []
    opened = who.api.get(f"/api/v1/positions/{position}").json()["opened_at"]
    assert ids(who, f"positions?opened_from={opened}&side=BUY") == [rows[2]["position"]["id"], position]
    assert ids(who, f"positions?opened_to={opened}") == [rows[0]["position"]["id"]]
    assert ids(who, f"positions?closed_from={opened}") == []


@pytest.mark.parametrize("query", ["orders?from=yesterday", "orders?type=ICEBERG", "deals?cause=LUCK", "deals?to=x"])
def test_a_filter_that_makes_no_sense_is_refused(market: Push, query: str) -> None:
    assert trader().api.get(f"/api/v1/{query}").status_code == 400


# --- Hours ----------------------------------------------------------------------------------------------------------


def test_a_closed_market_bars_waiting_but_not_cancelling(market: Push) -> None:
    who = trader()
    order = limit(who).json()["id"]
    shut()
    refused = limit(who)
    assert (refused.status_code, refused.json()["code"]) == (422, "MARKET_CLOSED")
    assert cancel(who, order).json()["status"] == "CANCELLED"
