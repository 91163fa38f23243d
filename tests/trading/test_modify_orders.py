"""What waits can be changed or taken back until it is filled, and a position's stops until it is closed."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone

from core.models import KillSwitch
from tests import cast
from tests.cast import CastMember, bob, make_client
from tests.trading.calls import account, cancel, change, close, place, stops
from tests.trading.prices import Push, shut
from trading.models import AccountChange, AccountWatch, Instrument, Order, Position, PriceClock, Quote
from wallets.models import LedgerTransaction, Wallet


def trader(**options: Any) -> CastMember:
    return make_client(margin=Decimal("10000.00"), **options)


def limit(who: CastMember, **terms: Any) -> str:
    response = place(who, **{"type": "LIMIT", "price": "1.19000", "volume": "0.50", **terms})
    assert response.json()["status"] == "WORKING", response.json()
    order: str = response.json()["id"]
    return order


def snapshot(who: CastMember) -> Any:
    """Everything that a refusal has to leave as it was."""
    return (
        list(Order.objects.order_by("id").values()),
        list(Position.objects.order_by("id").values()),
        list(AccountWatch.objects.values()),
        AccountChange.objects.count(),
        list(Wallet.objects.filter(owner=who.user).order_by("id").values()),
        LedgerTransaction.objects.count(),
    )


def assert_refused(response: Any, code: str, *, status: int = 422) -> dict[str, Any]:
    body: dict[str, Any] = response.json()
    assert (response.status_code, body["code"]) == (status, code), body
    context: dict[str, Any] = body["context"]
    return context


def age(who: CastMember) -> None:
    Quote.objects.update(received_at=timezone.now() - timedelta(hours=1))


def freeze(who: CastMember) -> None:
    Wallet.objects.filter(pk=who.margin.pk).update(trading_enabled=False, status="FROZEN", verified=False)
    KillSwitch.objects.create(scope="TRADING", engaged=True)
    KillSwitch.objects.create(scope="TRADING:EURUSD", engaged=True)
    Instrument.objects.update(trade_mode="DISABLED")


# --- Changing an order ----------------------------------------------------------------------------------------------


def test_waits_for_another_price_and_reserves_for_that(market: Push) -> None:
    who = trader()
    order = limit(who)
    market(EURUSD=("1.20100", "1.20110"))
    response = change(who, order, price="1.18000")
    shown = response.json()
    assert response.status_code == 200, shown
    assert (shown["status"], shown["price"], shown["margin_reserved"]) == ("WORKING", "1.18000", "1966.67")
    assert shown["updated_at"] > shown["created_at"]
    assert account(who)["reserved"] == "1966.67"
    row = Order.objects.get()
    assert (row.price, row.margin_reserved) == (Decimal("1.18"), Decimal("1966.67"))
    assert row.watched_after == PriceClock.objects.get().number
    assert AccountWatch.objects.get().sequence == 2
    assert who.api.get(f"/api/v1/orders/{order}").json() == shown


def test_sets_moves_and_removes_its_stops(market: Push) -> None:
    who = trader()
    order = limit(who)
    known = Order.objects.get().watched_after
    market(EURUSD=("1.20100", "1.20110"))
    shown = change(who, order, stop_loss="1.18000", take_profit="1.20000").json()
    assert (shown["stop_loss"], shown["take_profit"], shown["price"]) == ("1.18000", "1.20000", "1.19000")
    assert Order.objects.get().watched_after > known, "only prices from now on count"
    shown = change(who, order, stop_loss="1.18500").json()
    assert (shown["stop_loss"], shown["take_profit"]) == ("1.18500", "1.20000")
    shown = change(who, order, stop_loss=None, take_profit=None).json()
    assert (shown["stop_loss"], shown["take_profit"]) == (None, None)


def test_stops_move_with_the_price_or_are_refused(market: Push) -> None:
    who = trader()
    order = limit(who, stop_loss="1.18000", take_profit="1.19500")
    before = snapshot(who)
    assert assert_refused(change(who, order, price="1.17500"), "STOP_LOSS_INVALID")["max"] == "1.17499"
    assert assert_refused(change(who, order, price="1.19600"), "TAKE_PROFIT_INVALID")["min"] == "1.19601"
    assert snapshot(who) == before
    assert change(who, order, price="1.17500", stop_loss="1.17000").json()["stop_loss"] == "1.17000"


def test_expires_later_never_or_at_last(market: Push) -> None:
    who = trader()
    order = limit(who)
    known = Order.objects.get().watched_after
    market(EURUSD=("1.20100", "1.20110"))
    later = (timezone.now() + timedelta(days=1)).isoformat()
    shown = change(who, order, time_in_force="GTD", expires_at=later).json()
    assert shown["time_in_force"] == "GTD"
    assert datetime.fromisoformat(shown["expires_at"]) == datetime.fromisoformat(later)
    later = (timezone.now() + timedelta(days=2)).isoformat()
    shown = change(who, order, expires_at=later).json()
    assert datetime.fromisoformat(shown["expires_at"]) == datetime.fromisoformat(later)
    shown = change(who, order, time_in_force="GTC").json()
    assert (shown["time_in_force"], shown["expires_at"]) == ("GTC", None)
    assert Order.objects.get().watched_after == known, "its prices are what they were"


def test_does_not_expire_in_the_past(market: Push) -> None:
    who = trader()
    order = limit(who)
    before = snapshot(who)
    past = (timezone.now() - timedelta(seconds=1)).isoformat()
    assert_refused(change(who, order, time_in_force="GTD", expires_at=past), "EXPIRY_INVALID")
    assert_refused(change(who, order, time_in_force="GTD", expires_at=past, price="1.18000"), "EXPIRY_INVALID")
    assert snapshot(who) == before


@pytest.mark.parametrize(
    "lasts, terms",
    [
        ("GTC", {"time_in_force": "GTD"}),
        ("GTC", {"expires_at": "2999-01-01T00:00:00Z"}),
        ("GTC", {"time_in_force": "GTC", "expires_at": "2999-01-01T00:00:00Z"}),
        ("GTC", {"time_in_force": "GTD", "expires_at": None}),
        ("GTD", {"expires_at": None}),
        ("GTD", {"time_in_force": "GTC", "expires_at": "2999-01-01T00:00:00Z"}),
    ],
)
def test_a_time_goes_with_gtd_alone(market: Push, lasts: str, terms: dict[str, Any]) -> None:
    who = trader()
    order = limit(who, **({"time_in_force": "GTD", "expires_at": "2998-01-01T00:00:00Z"} if lasts == "GTD" else {}))
    before = snapshot(who)
    response = change(who, order, **terms)
    assert response.status_code == 400
    assert [error["field"] for error in response.json()["errors"]] == ["expires_at"]
    assert snapshot(who) == before


def test_the_same_again_changes_nothing(market: Push) -> None:
    who = trader()
    order = limit(who, stop_loss="1.18000")
    change(who, order, price="1.18500")
    before = snapshot(who)
    for terms in ({"price": "1.18500"}, {"price": "1.1850"}, {"stop_loss": "1.18000", "take_profit": None}, {}):
        response = change(who, order, **terms)
        assert (response.status_code, response.json()["price"]) == (200, "1.18500")
    assert snapshot(who) == before


def test_another_price_is_refused_like_a_new_order(market: Push) -> None:
    who = trader()
    order = limit(who)
    before = snapshot(who)
    context = assert_refused(change(who, order, price="1.20010"), "ORDER_PRICE_INVALID")
    assert (context["max"], context["bid"], context["ask"]) == ("1.20009", "1.20000", "1.20010")
    assert snapshot(who) == before
    assert Order.objects.count() == 1, "a change that is refused is no order"


def test_gives_back_its_own_reserve_before_it_asks_for_more(market: Push) -> None:
    who = trader()
    order = limit(who, volume="2.00")  # 7,933.33 of 10,000.00
    assert change(who, order, price="1.19900").json()["margin_reserved"] == "7993.33"
    place(who, symbol="GBPUSD", volume="0.43")
    before = snapshot(who)
    context = assert_refused(change(who, order, price="1.19950"), "MARGIN_INSUFFICIENT")
    assert Decimal(context["shortfall"]) > 0
    assert snapshot(who) == before


@pytest.mark.parametrize("bar", [freeze, age, lambda who: shut()], ids=["frozen", "stale", "closed"])
def test_a_bar_to_opening_bars_another_price_and_nothing_else(market: Push, bar: Any) -> None:
    who = trader()
    order, other = limit(who, stop_loss="1.18000"), limit(who)
    bar(who)
    before = snapshot(who)
    assert change(who, order, price="1.18500").status_code == 422
    assert snapshot(who) == before
    assert change(who, order, stop_loss="1.18500", take_profit="1.30000").status_code == 200
    assert change(who, order, stop_loss=None).json()["stop_loss"] is None
    later = (timezone.now() + timedelta(days=1)).isoformat()
    assert change(who, order, time_in_force="GTD", expires_at=later).status_code == 200
    for one in (order, other):
        assert cancel(who, one).json()["status"] == "CANCELLED"
    assert account(who)["reserved"] == "0.00"


def test_an_account_without_free_margin_may_still_cancel(market: Push) -> None:
    who = trader()
    order = limit(who, volume="0.20")
    place(who, volume="2.00")
    market(EURUSD=("1.16000", "1.16010"))
    assert Decimal(account(who)["free_margin"]) < 0
    assert cancel(who, order).status_code == 200


# --- Cancelling -----------------------------------------------------------------------------------------------------


def test_is_cancelled_once_and_says_so_ever_after(market: Push) -> None:
    who = trader()
    order = limit(who)
    first = cancel(who, order)
    shown = first.json()
    assert first.status_code == 200
    assert (shown["status"], shown["cancel_reason"], shown["margin_reserved"]) == ("CANCELLED", "CLIENT", None)
    before = snapshot(who)
    again = cancel(who, order)
    assert (again.status_code, again.json()) == (200, shown)
    assert snapshot(who) == before
    assert who.api.get("/api/v1/orders?status=CANCELLED").json()["results"] == [shown]
    who.margin.refresh_from_db()
    assert (who.margin.balance, who.margin.held) == (Decimal("10000.00"), 0)


@pytest.mark.parametrize("status", ["FILLED", "REJECTED", "EXPIRED", "CANCELLED"])
def test_what_waits_no_more_is_neither_changed_nor_cancelled(market: Push, status: str) -> None:
    who = trader()
    if status == "FILLED":
        order = place(who).json()["id"]
    elif status == "REJECTED":
        order = place(who, type="LIMIT", price="1.30000").json()["context"]["order"]
    else:
        order = limit(who)
        Order.objects.filter(pk=order).update(status=status, cancel_reason="CLIENT" if status == "CANCELLED" else "")
    before = snapshot(who)
    context = assert_refused(change(who, order, stop_loss="1.10000"), "ORDER_NOT_WORKING", status=409)
    assert context == {"order": order, "status": status}
    if status != "CANCELLED":
        assert_refused(cancel(who, order), "ORDER_NOT_WORKING", status=409)
    assert snapshot(who) == before


def test_a_strangers_order_does_not_exist(market: Push) -> None:
    who, stranger = trader(), bob()
    order = limit(who)
    before = snapshot(who)
    for one in (order, str(uuid4())):
        assert_refused(change(stranger, one, price="1.18000"), "ORDER_NOT_FOUND", status=404)
        assert_refused(cancel(stranger, one), "ORDER_NOT_FOUND", status=404)
        assert_refused(stranger.api.get(f"/api/v1/orders/{one}"), "ORDER_NOT_FOUND", status=404)
    assert snapshot(who) == before


def test_a_token_that_may_only_read_changes_nothing(market: Push) -> None:
    who = trader()
    order = limit(who)
    position = place(who).json()["position"]["id"]
    reader = cast.api_client(cast.issue_token(who.user, scopes=("read",)))
    before = snapshot(who)
    assert reader.patch(f"/api/v1/orders/{order}", {"price": "1.18000"}).status_code == 403
    assert reader.delete(f"/api/v1/orders/{order}").status_code == 403
    assert reader.patch(f"/api/v1/positions/{position}", {"stop_loss": "1.10000"}).status_code == 403
    assert snapshot(who) == before


@pytest.mark.parametrize("order", ["nonsense", "0", "preview", "00000000-0000-0000-0000-00000000000g"])
def test_an_id_that_is_none_is_not_found(market: Push, order: str) -> None:
    who = trader()
    assert change(who, order, price="1.18000").status_code in {404, 405}
    assert cancel(who, order).status_code in {404, 405}
    assert stops(who, order, stop_loss="1.18000").status_code == 404


WAYS = {("NEW", "REJECTED"), ("NEW", "FILLED"), ("NEW", "WORKING")} | {
    ("WORKING", status) for status in ("FILLED", "CANCELLED", "EXPIRED", "REJECTED")
}


@pytest.mark.parametrize("source", Order.Status.values)
@pytest.mark.parametrize("target", Order.Status.values)
def test_an_order_goes_no_way_but_these(source: str, target: str) -> None:
    order = Order(status=source)
    if (source, target) in WAYS:
        order.move_to(Order.Status(target))
        assert order.status == target
    else:
        with pytest.raises(AssertionError, match="never goes"):
            order.move_to(Order.Status(target))
        assert order.status == source


# --- A position's stops ---------------------------------------------------------------------------------------------


def test_a_position_is_given_stops_and_loses_them(market: Push) -> None:
    who = trader()
    position = place(who).json()["position"]["id"]
    market(EURUSD=("1.20100", "1.20110"))
    response = stops(who, position, stop_loss="1.19000", take_profit="1.22000")
    shown = response.json()
    assert response.status_code == 200
    assert (shown["stop_loss"], shown["take_profit"]) == ("1.19000", "1.22000")
    row = Position.objects.get()
    assert (row.stop_loss, row.watched_after) == (Decimal("1.19"), PriceClock.objects.get().number)
    assert AccountChange.objects.order_by("-sequence")[0].subject == row.id
    shown = stops(who, position, stop_loss=None).json()
    assert (shown["stop_loss"], shown["take_profit"]) == (None, "1.22000")
    assert who.api.get(f"/api/v1/positions/{position}").json()["take_profit"] == "1.22000"


def test_a_stop_may_trail_into_profit(market: Push) -> None:
    who = trader()
    position = place(who, stop_loss="1.19000").json()["position"]["id"]
    market(EURUSD=("1.22000", "1.22010"))
    assert stops(who, position, stop_loss="1.21000").json()["stop_loss"] == "1.21000"


def test_a_stop_that_stays_is_not_judged_again(market: Push) -> None:
    who = trader()
    position = place(who, stop_loss="1.19000").json()["position"]["id"]
    market(EURUSD=("1.18900", "1.18910"))
    assert stops(who, position, stop_loss="1.19000", take_profit="1.20000").status_code == 200


def test_the_same_stops_again_change_nothing(market: Push) -> None:
    who = trader()
    position = place(who, stop_loss="1.19000").json()["position"]["id"]
    before = snapshot(who)
    assert stops(who, position, stop_loss="1.1900").status_code == 200
    assert stops(who, position).status_code == 200
    assert snapshot(who) == before


def test_a_frozen_account_may_still_guard_its_position(market: Push) -> None:
    who = trader()
    position = place(who).json()["position"]["id"]
    freeze(who)
    assert stops(who, position, stop_loss="1.19000").status_code == 200
    assert stops(who, position, stop_loss=None).status_code == 200


@pytest.mark.parametrize("bar, code", [(age, "QUOTE_STALE"), (lambda who: shut(), "MARKET_CLOSED")])
def test_a_new_stop_needs_a_price_and_removing_one_does_not(market: Push, bar: Any, code: str) -> None:
    who = trader()
    position = place(who, stop_loss="1.19000", take_profit="1.22000").json()["position"]["id"]
    bar(who)
    before = snapshot(who)
    assert_refused(stops(who, position, stop_loss="1.18000"), code)
    assert snapshot(who) == before
    assert stops(who, position, stop_loss=None).json()["stop_loss"] is None


def test_a_closed_position_has_no_stops_to_change(market: Push) -> None:
    who = trader()
    opened = place(who).json()["position"]
    close(who, opened["id"])
    before = snapshot(who)
    assert assert_refused(stops(who, opened["id"], stop_loss="1.19000"), "POSITION_CLOSED") == {
        "number": opened["number"]
    }
    assert snapshot(who) == before


def test_a_strangers_position_does_not_exist(market: Push) -> None:
    who, stranger = trader(), bob()
    position = place(who).json()["position"]["id"]
    for one in (position, str(uuid4())):
        assert_refused(stops(stranger, one, stop_loss="1.19000"), "POSITION_NOT_FOUND", status=404)
    assert Position.objects.get().stop_loss is None
