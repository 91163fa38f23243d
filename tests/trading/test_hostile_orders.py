"""Whatever is wrong with an order's body is answered with the field's name, and nothing is written."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from core.models import IdempotencyKey
from tests.cast import make_client
from tests.trading.calls import close, key, place
from tests.trading.prices import Push
from trading.models import Deal, Order

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
