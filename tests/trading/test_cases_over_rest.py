"""The worked examples that an account can live through, lived through over REST."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from tests.cast import CastMember, make_client, market_data_client
from tests.trading.calls import account, close, place
from tests.trading.prices import Push
from trading.models import Instrument

#: A country whose clients may have the leverage of the examples.
UNCAPPED = "BR"


def quote(symbol: str, bid: str, ask: str | None = None) -> None:
    body = {"quotes": [{"symbol": symbol, "bid": bid, "ask": ask or bid}]}
    feed = market_data_client()
    response = feed.post("/api/v1/quotes", body)
    if response.json()["refused"]:  # the examples move far at once: a second quote confirms the first
        response = feed.post("/api/v1/quotes", body)
    assert response.json()["accepted"] == 1, response.json()


def trade(who: CastMember, **order: Any) -> Any:
    response = place(who, **order)
    assert response.status_code == 201, response.json()
    return response.json()


def free_of_charge(symbol: str, **terms: Any) -> None:
    """The published examples know no commission."""
    Instrument.objects.filter(pk=symbol).update(commission_per_lot=0, **terms)


def cfd(symbol: str, **terms: Any) -> None:
    base, money = symbol[:3], symbol[3:]
    defaults = {
        "name": symbol,
        "asset_class": "METAL",
        "base": base,
        "quote": money,
        "margin_currency": money,
        "digits": 2,
        "tick_size": Decimal("0.01"),
        "pip_size": Decimal("0.01"),
        "contract_size": Decimal(100),
        "volume_min": Decimal("0.01"),
        "volume_max": Decimal(100),
        "volume_step": Decimal("0.01"),
        "calculation": "CFD",
    }
    Instrument.objects.create(symbol=symbol, **(defaults | terms))


def test_we_01_a_forex_margin_has_no_price_term_and_a_rate(market: Push) -> None:
    free_of_charge("EURUSD", margin_rate=Decimal("1.15"))
    quote("EURUSD", "1.2789", "1.2790")
    who = make_client(margin=Decimal("10000.00"), leverage=100, country=UNCAPPED)
    assert trade(who, volume="1")["margin"] == "1470.85"


def test_we_03_the_profit_of_300_points(market: Push) -> None:
    free_of_charge("EURUSD")
    free_of_charge("USDJPY")
    cases = [("EURUSD", "BUY", "1.20000", "1.20300", "300.00"), ("USDJPY", "BUY", "108.183", "108.483", "276.54")]
    cases += [("USDJPY", "SELL", "108.179", "107.879", "278.09")]
    for symbol, side, opened, closed, profit in cases:
        who = make_client(margin=Decimal("10000.00"))
        quote(symbol, opened)
        position = trade(who, symbol=symbol, side=side, volume="1")["position"]["id"]
        quote(symbol, closed)
        assert close(who, position).json()["profit"] == profit


def test_we_10_and_11_a_cross_kept_in_its_quote_currency(market: Push) -> None:
    cfd(
        "EURGBP",
        asset_class="FOREX",
        calculation="CFD",
        margin_rate=Decimal("0.0333333"),
        digits=4,
        tick_size=Decimal("0.0001"),
        contract_size=Decimal(100_000),
    )
    quote("EURGBP", "0.8566", "0.8568")
    who = make_client(currency="GBP", margin=Decimal("50000.00"))
    assert trade(who, symbol="EURGBP", volume="10")["margin"] == "28559.97"
    state = account(who)
    assert (state["floating"], state["equity"], state["free_margin"]) == ("-200.00", "49800.00", "21240.03")
    assert state["margin_level"] == "174.37"
    quote("EURGBP", "0.8536", "0.8538")
    state = account(who)
    assert (state["held"], state["equity"], state["free_margin"]) == ("28559.97", "46800.00", "18240.03")
    assert state["margin_level"] == "163.87"


def test_we_12_a_short_of_ten_thousand_units(market: Push) -> None:
    free_of_charge("EURUSD")
    quote("EURUSD", "0.9521")
    who = make_client(margin=Decimal("10000.00"))
    position = trade(who, side="SELL", volume="0.10")["position"]["id"]
    quote("EURUSD", "0.9505")
    assert close(who, position).json()["profit"] == "16.00"


def test_we_15_gold_at_five_percent(market: Push) -> None:
    cfd("XAUUSD", margin_rate=Decimal("0.05"))
    for price, profit in (("2017.60", "7760.00"), ("1804.20", "-13580.00")):
        quote("XAUUSD", "1940.00")
        who = make_client(margin=Decimal("20000.00"))
        order = trade(who, symbol="XAUUSD", volume="1")
        assert order["margin"] == "9700.00"
        quote("XAUUSD", price)
        assert account(who)["floating"] == profit
        assert close(who, order["position"]["id"]).json()["profit"] == profit


def test_we_29_the_last_partial_close_takes_the_remainder(market: Push) -> None:
    free_of_charge("EURUSD")
    quote("EURUSD", "1.27900")
    who = make_client(margin=Decimal("10000.00"), leverage=100, country=UNCAPPED)
    order = trade(who, volume="1.00")
    assert order["margin"] == "1279.00"
    position = order["position"]["id"]
    released = [close(who, position, volume=part).json()["margin_released"] for part in ("0.33", "0.33", "0.34")]
    assert released == ["422.07", "422.07", "434.86"]


def test_we_30_a_negative_balance_is_made_good(market: Push) -> None:
    free_of_charge("EURUSD")
    quote("EURUSD", "1.20000")
    who = make_client(margin=Decimal("862.02"))
    position = trade(who, volume="0.20")["position"]["id"]
    quote("EURUSD", "1.15000")
    body = close(who, position).json()
    assert (body["compensation"], body["balance"]) == ("137.98", "0.00")
