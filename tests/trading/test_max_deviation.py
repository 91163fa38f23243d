"""A client who says what price was seen is not filled at a much worse one, and always at a better one."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from core.models import IdempotencyKey
from tests.cast import CastMember, make_client
from tests.trading.calls import key, place
from tests.trading.prices import Push, forget
from trading.models import Deal, Order, Position


def trader() -> CastMember:
    return make_client(margin=Decimal("10000.00"))


def preview(who: CastMember, **terms: Any) -> Any:
    body = {"account": who.account.number, "symbol": "EURUSD", "side": "BUY", "volume": "0.10", **terms}
    return who.api.post("/api/v1/orders/preview", body)


# The market quotes 1.20000/1.20010: a buy fills at the ask, a sell at the bid.
@pytest.mark.parametrize(
    "side, price, max_deviation",
    [
        ("BUY", "1.20010", 0),
        ("BUY", "1.20005", 5),
        ("BUY", "1.30000", 0),
        ("BUY", "1.2001", 0),
        ("SELL", "1.20000", 0),
        ("SELL", "1.20005", 5),
        ("SELL", "1.10000", 0),
        ("SELL", "9.00000", 2**31 - 1),
    ],
)
def test_fills_at_the_market_within_the_deviation_or_better(
    market: Push, side: str, price: str, max_deviation: int
) -> None:
    who = trader()
    assert preview(who, side=side, price=price, max_deviation=max_deviation).json()["would_reject"] == []
    body = place(who, side=side, price=price, max_deviation=max_deviation).json()
    assert (body["status"], body["price_filled"]) == ("FILLED", "1.20010" if side == "BUY" else "1.20000")
    order = who.api.get(f"/api/v1/orders/{body['id']}").json()
    assert (Decimal(order["price_expected"]), order["max_deviation"]) == (Decimal(price), max_deviation)


@pytest.mark.parametrize(
    "side, price, max_deviation, deviation",
    [("BUY", "1.20009", 0, 1), ("BUY", "1.20000", 9, 10), ("SELL", "1.20010", 9, 10), ("SELL", "1.50000", 0, 30_000)],
)
def test_rejects_a_fill_that_is_worse_and_says_by_how_much(
    market: Push, side: str, price: str, max_deviation: int, deviation: int
) -> None:
    who, same = trader(), key()
    terms: dict[str, Any] = {"side": side, "price": price, "max_deviation": max_deviation}
    response = place(who, key=same, **terms)
    body = response.json()
    assert (response.status_code, body["code"]) == (422, "DEVIATION_EXCEEDED")
    context = {
        "symbol": "EURUSD",
        "price": "1.20010" if side == "BUY" else "1.20000",
        "expected": price,
        "deviation": deviation,
        "max_deviation": max_deviation,
    }
    order = Order.objects.get()
    assert (order.status, order.reject_code, order.reject_context) == ("REJECTED", "DEVIATION_EXCEEDED", context)
    assert (order.price_expected, order.deviation_max, order.price_filled) == (Decimal(price), max_deviation, None)
    assert body["context"] == {**context, "order": str(order.id)}
    who.margin.refresh_from_db()
    assert (who.margin.balance, who.margin.held) == (Decimal("10000.00"), 0)
    assert not Position.objects.exists()
    assert not Deal.objects.exists()
    refusals = preview(who, **terms).json()["would_reject"]
    assert [(one["code"], one["context"]) for one in refusals] == [("DEVIATION_EXCEEDED", context)]

    market(EURUSD=("1.20000", "1.20000") if side == "BUY" else ("1.50000", "1.50000"))
    assert place(who, key=same, **terms).content == response.content


def test_no_price_is_no_deviation(market: Push) -> None:
    who = trader()
    forget()
    assert place(who, price="1.20000", max_deviation=0).json()["code"] == "QUOTE_UNAVAILABLE"


PRICES: list[Any] = [
    "0",
    "-1",
    "NaN",
    "Infinity",
    "1e5",
    " 1.2",
    "1.2\n",
    "１.２",
    "",
    None,
    1.2,
    1,
    True,
    [],
    {},
    "1" * 11,
]
DEVIATIONS: list[Any] = [-1, 2**31, 10**30, 1.5, "5", "", None, True, [], {}, "NaN"]


@pytest.mark.parametrize(
    "terms, field",
    [({"price": price, "max_deviation": 5}, "price") for price in PRICES]
    + [({"price": "1.20010", "max_deviation": deviation}, "max_deviation") for deviation in DEVIATIONS]
    + [
        ({"price": "1.20010"}, "max_deviation"),
        ({"max_deviation": 5}, "price"),
        ({"price": "1.200101", "max_deviation": 5}, "price"),
    ],
    ids=repr,
)
def test_refuses_terms_that_are_wrong_or_alone(market: Push, terms: dict[str, Any], field: str) -> None:
    who = trader()
    for response in (place(who, **terms), preview(who, **terms)):
        assert response.status_code == 400, response.content
        assert [error["field"] for error in response.json()["errors"]] == [field]
    assert not Order.objects.exists()
    assert not IdempotencyKey.objects.exists()
