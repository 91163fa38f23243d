"""Whatever is asked for, a preview and the order that follows it come to the same figures, or the same refusal."""

from __future__ import annotations

import random
from collections import Counter
from decimal import Decimal
from typing import Any

import pytest

from tests.cast import CastMember, make_client
from tests.trading.calls import account, cancel, change, close, place, preview
from tests.trading.prices import PRICES, Push
from trading.models import Instrument, Order

CASES = 300
SYMBOLS = tuple(PRICES)
VOLUMES = ("0.01", "0.10", "0.37", "0.50", "1.00", "2.50", "10.00", "0.015", "600.00")


def walk(rng: random.Random, at: dict[str, tuple[Decimal, Decimal]], market: Push) -> None:
    """Every price moves by up to a percent, and its spread with it."""
    for symbol, (bid, ask) in at.items():
        tick = Instrument.objects.get(pk=symbol).tick_size
        moved = (bid * Decimal(rng.randint(9900, 10100)) / 10000 / tick).to_integral_value() * tick
        at[symbol] = (moved, moved + max(tick, (ask - bid).quantize(tick)) * rng.randint(1, 3) / 2 // tick * tick)
    market(**{symbol: (str(bid), str(ask)) for symbol, (bid, ask) in at.items()})


def terms_at_random(rng: random.Random, at: dict[str, tuple[Decimal, Decimal]]) -> dict[str, Any]:
    """An order that makes sense more often than not."""
    symbol, side = rng.choice(SYMBOLS), rng.choice(["BUY", "SELL"])
    type_ = rng.choice(["MARKET", "LIMIT", "STOP"])
    tick = Instrument.objects.get(pk=symbol).tick_size
    bid, ask = at[symbol]

    def near(reference: Decimal, *, below: bool) -> str:
        far = int(reference / tick * rng.choice([1, 5, 20]) / 1000) if rng.random() < 0.8 else -1
        return str(reference + tick * far * (-1 if below else 1))

    reference = bid if side == "BUY" else ask
    terms: dict[str, Any] = {"symbol": symbol, "side": side, "type": type_, "volume": rng.choice(VOLUMES)}
    if type_ != "MARKET":
        terms["price"] = near(ask if side == "BUY" else bid, below=(type_ == "LIMIT") == (side == "BUY"))
        reference = Decimal(terms["price"])
        if rng.random() < 0.3:
            expires_at = rng.choice(["2020-01-01T00:00:00Z", "2999-01-01T00:00:00Z"])
            terms |= {"time_in_force": "GTD", "expires_at": expires_at}
    elif rng.random() < 0.3:
        terms |= {"price": near(ask, below=rng.random() < 0.5), "max_deviation": rng.choice([0, 50, 5000])}
    if rng.random() < 0.3:
        terms["stop_loss"] = near(reference, below=side == "BUY")
    if rng.random() < 0.3:
        terms["take_profit"] = near(reference, below=side == "SELL")
    return terms


def assert_alike(who: CastMember, terms: dict[str, Any]) -> str:
    """Preview, place, compare; what became of the order."""
    before = account(who)
    shown = preview(who, **terms)
    assert shown.status_code == 200, (terms, shown.content)
    assert account(who) == before, "a preview changes nothing"
    expected, response = shown.json(), place(who, **terms)
    done, after = response.json(), account(who)
    if expected["would_reject"]:
        first = expected["would_reject"][0]
        assert (response.status_code, done["code"]) == (422, first["code"]), (terms, done)
        told = {name: value for name, value in done["context"].items() if name != "order"}
        if first["code"] == "EXPIRY_INVALID":  # each says what time it was
            del told["now"], first["context"]["now"]
        assert told == first["context"], terms
        assert done["detail"] == first["detail"] or first["code"] == "EXPIRY_INVALID"
        assert after == before | {"sequence": before["sequence"] + 1}, "a refusal is told, and changes nothing else"
        return str(done["code"])
    assert response.status_code == 201, (terms, done)
    if done["status"] == "WORKING":
        order = Order.objects.get(pk=done["id"])
        assert done["price"] == expected["price"]
        assert done["margin_reserved"] == expected["reserved_margin"] == expected["required_margin"]
        assert order.margin_reserved == Decimal(expected["reserved_margin"])
        unchanged = ("balance", "floating", "equity", "held", "free_margin", "margin_level")
        assert {name: after[name] for name in unchanged} == {name: before[name] for name in unchanged}
        return "WORKING"
    assert expected["reserved_margin"] is None
    assert (done["price_filled"], done["margin"], done["commission"]) == (
        expected["price"],
        expected["required_margin"],
        expected["commission"],
    )
    assert (after["free_margin"], after["margin_level"]) == (
        expected["free_margin_after"],
        expected["margin_level_after"],
    )
    return "FILLED"


@pytest.mark.timeout(300)
def test_a_preview_says_what_the_order_then_does(market: Push) -> None:
    rng = random.Random(20210301)
    Instrument.objects.filter(pk__in=["GBPUSD", "USDJPY"]).update(stop_distance=30)
    Instrument.objects.filter(pk="USDCHF").update(volume_limit=Decimal("1.20"))
    traders = [
        make_client(margin=Decimal(margin), leverage=leverage, currency=currency)
        for margin, leverage, currency in (("10000.00", 30, "USD"), ("2500.00", 100, "EUR"), ("900000", 200, "JPY"))
    ]
    at = {symbol: (Decimal(bid), Decimal(ask)) for symbol, (bid, ask) in PRICES.items()}
    outcomes: Counter[tuple[str, str]] = Counter()
    for case in range(CASES):
        who = rng.choice(traders)
        if case % 10 == 0:
            walk(rng, at, market)
        terms = terms_at_random(rng, at)
        outcomes[terms["type"], assert_alike(who, terms)] += 1
        if case % 4 == 0:
            tidy(rng, who)
    for type_ in ("LIMIT", "STOP"):
        assert outcomes[type_, "WORKING"] >= 20, outcomes
    assert outcomes["MARKET", "FILLED"] >= 20, outcomes
    codes = {code for _, code in outcomes} - {"WORKING", "FILLED"}
    assert codes >= {
        "MARGIN_INSUFFICIENT",
        "VOLUME_INVALID",
        "ORDER_PRICE_INVALID",
        "STOP_LOSS_INVALID",
        "TAKE_PROFIT_INVALID",
        "DEVIATION_EXCEEDED",
        "EXPIRY_INVALID",
    }, outcomes


def tidy(rng: random.Random, who: CastMember) -> None:
    """Make some room, so that the next order has a chance."""
    for position in who.api.get("/api/v1/positions?status=OPEN").json()["results"]:
        if rng.random() < 0.5:
            close(who, position["id"])
    for order in who.api.get("/api/v1/orders?status=WORKING").json()["results"]:
        if rng.random() < 0.5:
            cancel(who, order["id"])
        elif rng.random() < 0.2:
            change(who, order["id"], stop_loss=None, take_profit=None)
