"""A preview is the execution's own reckoning, and changes nothing."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from core.models import KillSwitch
from tests.cast import CastMember, bob, make_client
from tests.trading.calls import account, place
from tests.trading.prices import Push
from trading.models import Order, Quote


def trader(**options: Any) -> CastMember:
    return make_client(margin=Decimal("10000.00"), **options)


def preview(who: CastMember, *, symbol: str = "EURUSD", side: str = "BUY", volume: str = "0.50") -> dict[str, Any]:
    body = {"account": who.account.number, "symbol": symbol, "side": side, "volume": volume}
    document: dict[str, Any] = who.api.post("/api/v1/orders/preview", body).json()
    return document


@pytest.mark.parametrize(
    "symbol, side, volume",
    [("EURUSD", "BUY", "0.50"), ("EURUSD", "SELL", "1.23"), ("GBPJPY", "BUY", "0.11"), ("BTCUSD", "SELL", "0.07")],
)
def test_says_what_execution_then_does(market: Push, symbol: str, side: str, volume: str) -> None:
    who = trader()
    place(who, symbol="USDJPY", volume="0.20")
    before = account(who)
    shown = preview(who, symbol=symbol, side=side, volume=volume)
    assert account(who) == before
    done = place(who, symbol=symbol, side=side, volume=volume).json()
    assert shown["would_reject"] == []
    assert (shown["price"], shown["required_margin"], shown["commission"]) == (
        done["price_filled"],
        done["margin"],
        done["commission"],
    )
    after = account(who)
    assert (shown["free_margin_after"], shown["margin_level_after"]) == (after["free_margin"], after["margin_level"])


def test_names_every_reason_at_once(market: Push) -> None:
    who = trader(verified=False)
    KillSwitch.objects.create(scope="TRADING", engaged=True)
    codes = [refusal["code"] for refusal in preview(who, volume="77.777")["would_reject"]]
    assert codes == ["VERIFICATION_REQUIRED", "TRADING_HALTED", "VOLUME_INVALID", "MARGIN_INSUFFICIENT"]
    assert not Order.objects.exists()


def test_leaves_unknown_figures_out(market: Push) -> None:
    who = trader()
    Quote.objects.update(received_at=timezone.now() - timedelta(hours=1))
    shown = preview(who)
    assert [refusal["code"] for refusal in shown["would_reject"]] == ["QUOTE_STALE"]
    assert shown["required_margin"] is None
    assert shown["max_volume"] is None


def test_the_largest_volume_fills_and_one_step_more_does_not(market: Push) -> None:
    fits = Decimal(preview(trader())["max_volume"])
    assert place(trader(), volume=str(fits)).status_code == 201
    assert place(trader(), volume=str(fits + Decimal("0.01"))).json()["code"] == "MARGIN_INSUFFICIENT"


@pytest.mark.parametrize("side", ["BUY", "SELL"])
def test_the_stop_out_price_is_where_the_level_falls_below_half(market: Push, side: str) -> None:
    who = trader()
    price = Decimal(preview(who, side=side, volume="1.50")["stop_out_price"])
    place(who, side=side, volume="1.50")
    spread, tick = Decimal("0.00010"), Decimal("0.00001")
    market(EURUSD=(str(price), str(price + spread)))
    assert Decimal(account(who)["margin_level"]) < 50
    back = price + (tick if side == "BUY" else -tick)
    market(EURUSD=(str(back), str(back + spread)))
    assert Decimal(account(who)["margin_level"]) >= 50


def test_a_perfect_hedge_has_no_stop_out_price(market: Push) -> None:
    who = trader()
    place(who, side="SELL", volume="0.50")
    assert preview(who, side="BUY", volume="0.50")["stop_out_price"] is None


def test_hides_a_strangers_account(market: Push) -> None:
    who = trader()
    body = {"account": who.account.number, "symbol": "EURUSD", "side": "BUY", "volume": "0.10"}
    response = bob().api.post("/api/v1/orders/preview", body)
    assert (response.status_code, response.json()["code"]) == (404, "TRADING_ACCOUNT_NOT_FOUND")
