"""An order waits, and a position is stopped, on the right side of the price and beyond the stop distance."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from core.models import IdempotencyKey
from tests.cast import CastMember, make_client
from tests.trading.calls import change, place, preview, stops
from tests.trading.prices import Push
from trading.models import Deal, Instrument, Order, Position
from wallets.models import LedgerTransaction


def trader() -> CastMember:
    return make_client(margin=Decimal("10000.00"))


def keep_apart(points: int) -> None:
    Instrument.objects.filter(pk="EURUSD").update(stop_distance=points)


def assert_untouched(who: CastMember, *, held: str = "0") -> None:
    who.margin.refresh_from_db()
    assert (who.margin.balance, who.margin.held) == (Decimal("10000.00"), Decimal(held))
    assert not Position.objects.exists()
    assert not Deal.objects.exists()
    assert not LedgerTransaction.objects.filter(type="OPEN").exists()


# The market quotes 1.20000/1.20010. Per side and type: the stop distance, the last price that will do, and the first
# that will not.
WAITING = [
    ("BUY", "LIMIT", 0, "1.20009", "1.20010", "max"),
    ("BUY", "LIMIT", 50, "1.19960", "1.19961", "max"),
    ("SELL", "LIMIT", 0, "1.20001", "1.20000", "min"),
    ("SELL", "LIMIT", 50, "1.20050", "1.20049", "min"),
    ("BUY", "STOP", 0, "1.20011", "1.20010", "min"),
    ("BUY", "STOP", 50, "1.20060", "1.20059", "min"),
    ("SELL", "STOP", 0, "1.19999", "1.20000", "max"),
    ("SELL", "STOP", 50, "1.19950", "1.19951", "max"),
]


@pytest.mark.parametrize("side, type_, distance, last, first, bound", WAITING)
def test_waits_where_it_may_and_not_one_point_nearer(
    market: Push, side: str, type_: str, distance: int, last: str, first: str, bound: str
) -> None:
    keep_apart(distance)
    who = trader()
    terms: dict[str, Any] = {"side": side, "type": type_, "price": first}
    response = place(who, **terms)
    context = {
        "symbol": "EURUSD",
        "type": type_,
        "side": side,
        "price": first,
        "where": "below" if bound == "max" else "above",
        "reference": "1.20010" if side == "BUY" else "1.20000",
        "bid": "1.20000",
        "ask": "1.20010",
        "stop_distance": distance,
        bound: last,
        "nearest": last,
    }
    order = Order.objects.get()
    assert (response.status_code, response.json()["code"]) == (422, "ORDER_PRICE_INVALID")
    assert response.json()["context"] == {**context, "order": str(order.id)}
    assert (order.status, order.reject_code, order.reject_context) == ("REJECTED", "ORDER_PRICE_INVALID", context)
    assert (order.price, order.margin_reserved) == (Decimal(first), 0)
    refusals = preview(who, **terms).json()["would_reject"]
    assert [(one["code"], one["context"]) for one in refusals] == [("ORDER_PRICE_INVALID", context)]
    assert_untouched(who)

    assert preview(who, **terms | {"price": last}).json()["would_reject"] == []
    body = place(who, **terms | {"price": last}).json()
    assert (body["status"], body["price"]) == ("WORKING", last)
    assert_untouched(who)


# A market order's stops are measured from where its position would be closed at once, a waiting order's from its price.
STOPS = [
    ("BUY", "MARKET", None, "stop_loss", 0, "1.19999", "1.20000", "max"),
    ("BUY", "MARKET", None, "stop_loss", 50, "1.19950", "1.19951", "max"),
    ("BUY", "MARKET", None, "take_profit", 0, "1.20001", "1.20000", "min"),
    ("BUY", "MARKET", None, "take_profit", 50, "1.20050", "1.20049", "min"),
    ("SELL", "MARKET", None, "stop_loss", 0, "1.20011", "1.20010", "min"),
    ("SELL", "MARKET", None, "stop_loss", 50, "1.20060", "1.20059", "min"),
    ("SELL", "MARKET", None, "take_profit", 0, "1.20009", "1.20010", "max"),
    ("SELL", "MARKET", None, "take_profit", 50, "1.19960", "1.19961", "max"),
    ("BUY", "LIMIT", "1.19000", "stop_loss", 0, "1.18999", "1.19000", "max"),
    ("BUY", "LIMIT", "1.19000", "stop_loss", 50, "1.18950", "1.18951", "max"),
    ("BUY", "LIMIT", "1.19000", "take_profit", 0, "1.19001", "1.19000", "min"),
    ("BUY", "LIMIT", "1.19000", "take_profit", 50, "1.19050", "1.19049", "min"),
    ("SELL", "LIMIT", "1.21000", "stop_loss", 0, "1.21001", "1.21000", "min"),
    ("SELL", "LIMIT", "1.21000", "stop_loss", 50, "1.21050", "1.21049", "min"),
    ("SELL", "LIMIT", "1.21000", "take_profit", 50, "1.20950", "1.20951", "max"),
    ("BUY", "STOP", "1.21000", "stop_loss", 0, "1.20999", "1.21000", "max"),
    ("BUY", "STOP", "1.21000", "take_profit", 50, "1.21050", "1.21049", "min"),
    ("SELL", "STOP", "1.19000", "stop_loss", 50, "1.19050", "1.19049", "min"),
    ("SELL", "STOP", "1.19000", "take_profit", 0, "1.18999", "1.19000", "max"),
]


@pytest.mark.parametrize("side, type_, price, stop, distance, last, first, bound", STOPS)
def test_is_stopped_beyond_the_distance_and_not_one_point_nearer(
    market: Push, side: str, type_: str, price: str | None, stop: str, distance: int, last: str, first: str, bound: str
) -> None:
    keep_apart(distance)
    who = trader()
    code = {"stop_loss": "STOP_LOSS_INVALID", "take_profit": "TAKE_PROFIT_INVALID"}[stop]
    terms: dict[str, Any] = {"side": side, "type": type_, stop: first} | ({"price": price} if price else {})
    context = {
        "symbol": "EURUSD",
        "side": side,
        stop: first,
        "where": "below" if bound == "max" else "above",
        "reference": price or ("1.20000" if side == "BUY" else "1.20010"),
        "stop_distance": distance,
        bound: last,
        "nearest": last,
    }
    refusals = preview(who, **terms).json()["would_reject"]
    assert [(one["code"], one["context"]) for one in refusals] == [(code, context)]
    response = place(who, **terms)
    order = Order.objects.get()
    assert (response.status_code, response.json()["code"]) == (422, code)
    assert response.json()["context"] == {**context, "order": str(order.id)}
    assert (order.status, order.reject_code, getattr(order, stop)) == ("REJECTED", code, Decimal(first))
    assert_untouched(who)

    body = place(who, **terms | {stop: last}).json()
    assert (body["status"], body[stop]) == ("WORKING" if price else "FILLED", last)
    if price is None:
        assert getattr(Position.objects.get(), stop) == Decimal(last)


@pytest.mark.parametrize(
    "side, stop, last, first",
    [
        ("BUY", "stop_loss", "1.19950", "1.19951"),
        ("BUY", "take_profit", "1.20050", "1.20049"),
        ("SELL", "stop_loss", "1.20060", "1.20059"),
        ("SELL", "take_profit", "1.19960", "1.19961"),
    ],
)
def test_an_open_position_is_measured_from_where_it_would_be_closed(
    market: Push, side: str, stop: str, last: str, first: str
) -> None:
    keep_apart(50)
    who = trader()
    position = place(who, side=side).json()["position"]["id"]
    response = stops(who, position, **{stop: first})
    assert (response.status_code, response.json()["code"]) == (
        422,
        "STOP_LOSS_INVALID" if stop == "stop_loss" else "TAKE_PROFIT_INVALID",
    )
    assert response.json()["context"]["nearest"] == last
    assert getattr(Position.objects.get(), stop) is None
    assert stops(who, position, **{stop: last}).json()[stop] == last


def test_the_nearest_price_is_on_the_grid(market: Push) -> None:
    """A quote between two ticks leaves the next whole one."""
    Instrument.objects.filter(pk="EURUSD").update(tick_size=Decimal("0.00025"), stop_distance=30)
    who = trader()
    for side, type_, price, nearest in (
        ("BUY", "LIMIT", "1.20000", "1.19975"),
        ("SELL", "LIMIT", "1.20025", "1.20050"),
        ("BUY", "STOP", "1.20025", "1.20050"),
        ("SELL", "STOP", "1.19975", "1.19950"),
    ):
        response = place(who, side=side, type=type_, price=price)
        assert (response.json()["code"], response.json()["context"]["nearest"]) == ("ORDER_PRICE_INVALID", nearest)
        assert place(who, side=side, type=type_, price=nearest).json()["status"] == "WORKING"


def test_where_no_price_is_left_none_is_named(market: Push) -> None:
    keep_apart(200_000)
    response = place(trader(), type="LIMIT", price="1.00000")
    assert (response.json()["code"], response.json()["context"]["max"]) == ("ORDER_PRICE_INVALID", None)


@pytest.mark.parametrize("field", ["price", "stop_loss", "take_profit"])
@pytest.mark.parametrize(
    "value, code, said",
    [
        ("1.180001", "PRECISION_EXCEEDED", "5 decimals"),
        ("1.0000000001", "PRECISION_EXCEEDED", "5 decimals"),
        ("1.18010", "OFF_THE_GRID", "1.18000"),
        ("1.18020", "OFF_THE_GRID", "1.18025"),
        ("0.00001", "OFF_THE_GRID", "0.00025"),
    ],
)
def test_a_price_off_the_grid_is_malformed_and_the_nearest_is_named(
    market: Push, field: str, value: str, code: str, said: str
) -> None:
    Instrument.objects.filter(pk="EURUSD").update(tick_size=Decimal("0.00025"))
    who = trader()
    terms = {"type": "LIMIT", "price": "1.19000", field: value}
    for response in (place(who, **terms), preview(who, **terms)):
        assert response.status_code == 400, response.content
        (error,) = response.json()["errors"]
        assert (error["field"], error["code"]) == (field, code)
        assert said in error["message"]
    assert not Order.objects.exists()
    assert not IdempotencyKey.objects.exists()
    order = place(who, type="LIMIT", price="1.19000").json()["id"]
    assert change(who, order, **{field: value}).json()["errors"][0]["code"] == code
    position = place(who).json()["position"]["id"]
    if field != "price":
        assert stops(who, position, **{field: value}).json()["errors"][0]["code"] == code
