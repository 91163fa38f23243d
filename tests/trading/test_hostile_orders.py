"""Whatever is wrong with an order's body is answered with the field's name, and nothing is written."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from core.models import IdempotencyKey
from tests.cast import make_client
from tests.trading.calls import change, close, key, place, preview, stops
from tests.trading.prices import Push
from trading.models import Deal, Instrument, Order, Position

NUMBERS: list[Any] = [
    "NaN",
    "sNaN",
    "Infinity",
    "-Infinity",
    "1e400",
    "-0",
    "0",
    "0.0000",
    "-1",
    "+5",
    "1E+2",
    "1_000",
    " 5 ",
    "5\n",
    "１２.５",
    "١٢٣",
    "",
    True,
    [],
    {},
    None,
    1,
    0.1,
    "1" * 21,
    "0.123456789",
    "0.00001",
    ".5",
    "5.",
    "0x10",
    "1,5",
]


@pytest.mark.parametrize("volume", NUMBERS, ids=repr)
def test_refuses_a_volume_that_is_not_one(market: Push, volume: Any) -> None:
    who = make_client(margin=Decimal("10000.00"))
    response = place(who, volume=volume)
    assert response.status_code == 400, response.content
    assert [error["field"] for error in response.json()["errors"]] == ["volume"]
    assert not Order.objects.exists()
    assert not IdempotencyKey.objects.exists()


@pytest.mark.parametrize("volume", [volume for volume in NUMBERS if volume is not None], ids=repr)
def test_refuses_a_closing_volume_that_is_not_one(market: Push, volume: Any) -> None:
    who = make_client(margin=Decimal("10000.00"))
    position = place(who).json()["position"]["id"]
    response = close(who, position, volume=volume)
    assert response.status_code == 400, response.content
    assert [error["field"] for error in response.json()["errors"]] == ["volume"]
    assert not Deal.objects.filter(entry="OUT").exists()


@pytest.mark.parametrize(
    "change, field",
    [
        ({"side": "HOLD"}, "side"),
        ({"side": "buy"}, "side"),
        ({"side": ["BUY"]}, "side"),
        ({"type": "ICEBERG"}, "type"),
        ({"symbol": "EUR\x00USD"}, "symbol"),
        ({"symbol": "\ud800"}, "symbol"),
        ({"symbol": "E" * 17}, "symbol"),
        ({"symbol": 7}, "symbol"),
        ({"symbol": None}, "symbol"),
        ({"account": ""}, "account"),
        ({"account": {"number": 1}}, "account"),
        ({"client_order_id": "x" * 65}, "client_order_id"),
        ({"client_order_id": "\u202eabc"}, "client_order_id"),
        ({"leverage": 10_001}, "leverage"),
        ({"price_open": "1.0"}, "price_open"),
        ({"owner": "me"}, "owner"),
    ],
)
def test_refuses_a_field_that_is_wrong_or_unknown(market: Push, change: dict[str, Any], field: str) -> None:
    who = make_client(margin=Decimal("10000.00"))
    body = {"account": who.account.number, "symbol": "EURUSD", "side": "BUY", "type": "MARKET", "volume": "0.10"}
    text = json.dumps({**body, **change})  # escapes what UTF-8 cannot carry
    headers = {"Idempotency-Key": key()}
    response = who.api.post("/api/v1/orders", text, content_type="application/json", headers=headers)
    assert response.status_code == 400, response.content
    errors = response.json()["errors"]
    assert response.json()["code"] == "MALFORMED_JSON" or field in [error["field"] for error in errors]
    assert not Order.objects.exists()
    assert not IdempotencyKey.objects.exists()


PRICES: list[Any] = [*(value for value in NUMBERS if value not in ("0.123456789", "0.00001")), "0.12345678901"]
TIMES: list[Any] = [
    "",
    "tomorrow",
    "2026-13-01T00:00:00Z",
    "2026-02-31T00:00:00Z",
    "2030-01-01",
    "2030-01-01T00:00:00",
    "2030-01-01 00:00:00Z",
    "２030-01-01T00:00:00Z",
    "0001-01-01T00:00:00+14:00",
    1893456000,
    True,
    [],
    {},
]
CHOICES: list[Any] = ["", "gtc", "FOK", "DAY", None, True, 1, [], {}, "GTC\x00", "ＧＴＣ"]
WAITING = {"type": "LIMIT", "price": "1.19000"}


@pytest.mark.parametrize(
    "change, field",
    [({"price": value}, "price") for value in PRICES]
    + [({name: value}, name) for name in ("stop_loss", "take_profit") for value in PRICES if value is not None]
    + [({"time_in_force": "GTD", "expires_at": value}, "expires_at") for value in [*TIMES, None]]
    + [({"time_in_force": value}, "time_in_force") for value in CHOICES]
    + [
        ({"time_in_force": "IOC"}, "time_in_force"),
        ({"time_in_force": "GTD"}, "expires_at"),
        ({"expires_at": "2999-01-01T00:00:00Z"}, "expires_at"),
        ({"time_in_force": "GTC", "expires_at": "2999-01-01T00:00:00Z"}, "expires_at"),
        ({"max_deviation": 5}, "max_deviation"),
        ({"type": "MARKET", "price": "1.19000"}, "max_deviation"),
        ({"type": "MARKET", "price": "1.19000", "max_deviation": 1, "time_in_force": "GTC"}, "time_in_force"),
        ({"type": "STOP_LIMIT"}, "type"),
        ({"trailing_stop": "5"}, "trailing_stop"),
        ({"margin_reserved": "0"}, "margin_reserved"),
        ({"watched_after": 0}, "watched_after"),
        ({"status": "FILLED"}, "status"),
    ],
    ids=repr,
)
def test_refuses_a_waiting_order_that_is_wrong(market: Push, change: dict[str, Any], field: str) -> None:
    who = make_client(margin=Decimal("10000.00"))
    responses = [place(who, **WAITING | change), preview(who, **WAITING | change)]
    for response in responses:
        assert response.status_code == 400, response.content
        assert [error["field"] for error in response.json()["errors"]] == [field]
    assert not Order.objects.exists()
    assert not IdempotencyKey.objects.exists()


@pytest.mark.parametrize("currency", ["USD", "EUR", "JPY"])
@pytest.mark.parametrize("symbol", ["EURUSD", "USDJPY", "GBPJPY", "BTCUSD"])
def test_answers_the_smallest_and_the_largest_price_with_reason(market: Push, currency: str, symbol: str) -> None:
    who = make_client(margin=Decimal("1000000"), currency=currency)
    smallest = str(Instrument.objects.get(pk=symbol).tick_size.normalize())
    for price in (format(Decimal(smallest), "f"), "9999999999"):
        for side in ("BUY", "SELL"):
            for type_ in ("LIMIT", "STOP"):
                terms = {"symbol": symbol, "side": side, "type": type_, "price": price, "volume": "1.00"}
                shown = preview(who, **terms, stop_loss=price, take_profit="9999999999")
                assert shown.status_code == 200, shown.content
                assert shown.json()["would_reject"]
                assert place(who, **terms).status_code in {201, 422}


@pytest.mark.parametrize("type_", ["LIMIT", "STOP"])
def test_a_waiting_order_needs_its_price(market: Push, type_: str) -> None:
    who = make_client(margin=Decimal("10000.00"))
    response = place(who, type=type_)
    (error,) = response.json()["errors"]
    assert (response.status_code, error["field"], error["code"]) == (400, "price", "REQUIRED")


def test_null_is_no_stop_and_no_expiry(market: Push) -> None:
    who = make_client(margin=Decimal("10000.00"))
    body = place(who, **WAITING, stop_loss=None, take_profit=None, expires_at=None).json()
    assert (body["status"], body["stop_loss"], body["take_profit"], body["expires_at"]) == ("WORKING", None, None, None)


@pytest.mark.parametrize(
    "terms, field",
    [({"price": value}, "price") for value in PRICES]
    + [({name: value}, name) for name in ("stop_loss", "take_profit") for value in PRICES if value is not None]
    + [({"time_in_force": "GTD", "expires_at": value}, "expires_at") for value in TIMES]
    + [({"time_in_force": value}, "time_in_force") for value in [*CHOICES, "IOC"]]
    + [
        ({name: "0.10"}, name)
        for name in ("volume", "side", "type", "symbol", "account", "status", "max_deviation", "client_order_id")
    ],
    ids=repr,
)
def test_refuses_a_change_that_is_wrong(market: Push, terms: dict[str, Any], field: str) -> None:
    who = make_client(margin=Decimal("10000.00"))
    order = place(who, **WAITING).json()["id"]
    before = list(Order.objects.values())
    response = change(who, order, **terms)
    assert response.status_code == 400, response.content
    assert [error["field"] for error in response.json()["errors"]] == [field]
    assert list(Order.objects.values()) == before


@pytest.mark.parametrize(
    "terms, field",
    [({name: value}, name) for name in ("stop_loss", "take_profit") for value in PRICES if value is not None]
    + [({name: "0.10"}, name) for name in ("volume", "price", "price_open", "side", "status", "margin_locked")],
    ids=repr,
)
def test_refuses_stops_that_are_wrong(market: Push, terms: dict[str, Any], field: str) -> None:
    who = make_client(margin=Decimal("10000.00"))
    position = place(who).json()["position"]["id"]
    response = stops(who, position, **terms)
    assert response.status_code == 400, response.content
    assert [error["field"] for error in response.json()["errors"]] == [field]
    assert (Position.objects.get().stop_loss, Position.objects.get().take_profit) == (None, None)


@pytest.mark.parametrize("body", [[], "text", 5, None, [{"price": "1.0"}]], ids=repr)
def test_a_change_is_an_object(market: Push, body: Any) -> None:
    who = make_client(margin=Decimal("10000.00"))
    order = place(who, **WAITING).json()["id"]
    text = json.dumps(body)
    assert who.api.patch(f"/api/v1/orders/{order}", text, content_type="application/json").status_code == 400


@pytest.mark.parametrize(
    "header", [None, "", "short", "x" * 129, "spaces are not allowed here", '"unbalanced-quotes-0']
)
def test_refuses_without_a_proper_key(market: Push, header: str | None) -> None:
    who = make_client(margin=Decimal("10000.00"))
    body = {"account": who.account.number, "symbol": "EURUSD", "side": "BUY", "type": "MARKET", "volume": "0.10"}
    headers = {} if header is None else {"Idempotency-Key": header}
    response = who.api.post("/api/v1/orders", body, headers=headers)
    assert response.status_code == 400
    assert response.json()["code"] == ("IDEMPOTENCY_KEY_INVALID" if header else "IDEMPOTENCY_KEY_REQUIRED")
    assert not Order.objects.exists()


@pytest.mark.parametrize("position", ["nonsense", "0", "ABCDEF", "00000000-0000-0000-0000-00000000000g"])
def test_a_position_id_that_is_none_is_not_found(market: Push, position: str) -> None:
    who = make_client(margin=Decimal("10000.00"))
    assert close(who, position).status_code == 404
