"""Placing a market order: filled at our price, or kept with the reason why not."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from django.test import override_settings
from django.utils import timezone

from core.models import KillSwitch
from tests.cast import CastMember, alice, bob, make_client
from tests.trading.calls import account, key, place
from tests.trading.prices import Push, forget
from trading.models import Deal, Instrument, Order, Position, Quote
from wallets.models import Entry, LedgerTransaction, Wallet


def trader(**options: object) -> CastMember:
    return make_client(margin=Decimal("10000.00"), **options)  # type: ignore[arg-type]


def assert_refused(response: object, who: CastMember, code: str, *, order_kept: bool = True) -> dict[str, object]:
    """The refusal has this code; the balance and the hold are untouched; nothing but the rejected order was written."""
    body: dict[str, object] = response.json()  # type: ignore[attr-defined]
    assert (response.status_code, body["code"]) == (422, code)  # type: ignore[attr-defined]
    who.margin.refresh_from_db()
    assert (who.margin.balance, who.margin.held) == (Decimal("10000.00"), 0)
    assert not Position.objects.exists()
    assert not Deal.objects.exists()
    assert not LedgerTransaction.objects.filter(type="OPEN").exists()
    orders = list(Order.objects.values_list("status", "reject_code"))
    assert orders == ([("REJECTED", code)] if order_kept else [])
    return body


def test_fills_a_buy_at_the_ask_and_holds_its_margin(market: Push) -> None:
    who = trader()
    response = place(who, volume="0.50")
    body = response.json()
    assert response.status_code == 201, body
    # 0.5 · 100,000 ÷ 30 = 1,666.67 EUR, at the ask 1.20010.
    assert (body["status"], body["price_filled"], body["margin"]) == ("FILLED", "1.20010", "2000.17")
    assert (body["commission"], body["balance"], body["held"]) == ("1.75", "9998.25", "2000.17")
    who.margin.refresh_from_db()
    assert (who.margin.balance, who.margin.held) == (Decimal("9998.25"), Decimal("2000.17"))
    position = Position.objects.get()
    assert (position.side, position.price_open, position.margin_locked) == (
        "BUY",
        Decimal("1.2001"),
        Decimal("2000.17"),
    )
    assert Deal.objects.get().transaction_id == LedgerTransaction.objects.get(type="OPEN").id
    assert account(who)["free_margin"] == body["free_margin"] == "7993.08"


def test_fills_a_sell_at_the_bid(market: Push) -> None:
    body = place(trader(), side="SELL").json()
    assert (body["price_filled"], body["margin"]) == ("1.20000", "400.00")


def test_posts_nothing_when_there_is_no_commission(market: Push) -> None:
    Instrument.objects.filter(pk="EURUSD").update(commission_per_lot=0)
    body = place(trader()).json()
    assert body["transaction"] is None
    assert not LedgerTransaction.objects.filter(type="OPEN").exists()
    assert body["held"] == "400.03"


def test_repeats_its_answer_for_the_same_key(market: Push) -> None:
    who, same = trader(), key()
    first, second = place(who, key=same), place(who, key=same)
    assert first.content == second.content
    assert (first["Idempotent-Replayed"], second["Idempotent-Replayed"]) == ("false", "true")
    assert Position.objects.count() == 1


def test_repeats_a_rejection_even_when_it_would_be_filled_now(market: Push) -> None:
    who, same = trader(), key()
    Quote.objects.update(received_at=timezone.now() - timedelta(hours=1))
    first = place(who, key=same)
    market(EURUSD=("1.20000", "1.20010"))
    second = place(who, key=same)
    assert first.content == second.content
    assert_refused(second, who, "QUOTE_STALE")


def test_rejects_more_than_the_free_margin_carries_and_says_how_much_would_fit(market: Push) -> None:
    who = trader()
    context = assert_refused(place(who, volume="5.00"), who, "MARGIN_INSUFFICIENT")["context"]
    assert context["available"] == "10000.00"  # type: ignore[index]
    assert Decimal(context["shortfall"]) == Decimal(context["required"]) - 10000  # type: ignore[index]
    fits = context["max_volume"]  # type: ignore[index]
    assert place(who, volume=fits).status_code == 201


def test_rejects_one_step_more_than_the_largest_volume(market: Push) -> None:
    who = trader()
    fits = Decimal(place(who, volume="5.00").json()["context"]["max_volume"])
    assert place(who, volume=str(fits + Decimal("0.01"))).json()["code"] == "MARGIN_INSUFFICIENT"


@pytest.mark.parametrize(
    "volume, nearest", [("0.005", "0.01"), ("0.015", "0.01"), ("500.01", "500"), ("0.0001", "0.01")]
)
def test_rejects_a_volume_off_the_grid_and_names_the_nearest(market: Push, volume: str, nearest: str) -> None:
    who = trader()
    context = assert_refused(place(who, volume=volume), who, "VOLUME_INVALID")["context"]
    assert context["nearest"] == nearest  # type: ignore[index]


def test_rejects_on_a_stale_price(market: Push) -> None:
    who = trader()
    Quote.objects.filter(pk="EURUSD").update(received_at=timezone.now() - timedelta(seconds=61))
    assert_refused(place(who), who, "QUOTE_STALE")


def test_rejects_without_any_price(market: Push) -> None:
    who = trader()
    forget()
    assert_refused(place(who), who, "QUOTE_UNAVAILABLE")


def test_rejects_when_a_conversion_has_no_fresh_rate(market: Push) -> None:
    who = trader()
    forget("GBPUSD")
    assert_refused(place(who, symbol="GBPJPY"), who, "CONVERSION_RATE_UNAVAILABLE")


@pytest.mark.parametrize("mode, side", [("LONG_ONLY", "SELL"), ("SHORT_ONLY", "BUY"), ("CLOSE_ONLY", "BUY")])
def test_rejects_a_side_the_instrument_bars(market: Push, mode: str, side: str) -> None:
    who = trader()
    Instrument.objects.filter(pk="EURUSD").update(trade_mode=mode)
    assert_refused(place(who, side=side), who, "INSTRUMENT_NOT_TRADABLE")


@pytest.mark.parametrize("scope", ["TRADING", "TRADING:EURUSD"])
def test_rejects_while_a_kill_switch_is_engaged(market: Push, scope: str) -> None:
    who = trader()
    KillSwitch.objects.create(scope=scope, engaged=True)
    assert_refused(place(who), who, "TRADING_HALTED")


def test_ignores_another_instruments_kill_switch(market: Push) -> None:
    KillSwitch.objects.create(scope="TRADING:GBPUSD", engaged=True)
    assert place(trader()).status_code == 201


@pytest.mark.parametrize(
    "change, code",
    [
        ({"trading_enabled": False}, "TRADING_FROZEN"),
        ({"status": "FROZEN"}, "WALLET_NOT_ACTIVE"),
        ({"verified": False}, "VERIFICATION_REQUIRED"),
    ],
)
def test_rejects_what_the_wallets_flags_bar(market: Push, change: dict[str, object], code: str) -> None:
    who = trader()
    Wallet.objects.filter(pk=who.margin.pk).update(**change)
    assert_refused(place(who), who, code)


def test_rejects_opening_by_a_client_who_does_not_trade_for_himself(market: Push) -> None:
    who = trader()
    who.account.is_self_trading = False
    who.account.save(update_fields=["is_self_trading"])
    assert_refused(place(who), who, "SELF_TRADING_DISABLED")


@override_settings(POSITIONS_MAX=1)
def test_rejects_more_positions_than_allowed(market: Push) -> None:
    who = trader()
    assert place(who).status_code == 201
    assert place(who).json()["code"] == "POSITIONS_LIMIT_REACHED"
    assert Position.objects.count() == 1


def test_hides_a_strangers_account(market: Push) -> None:
    owner, stranger = alice(), bob()
    response = place(stranger, account=owner.account.number)
    assert (response.status_code, response.json()["code"]) == (404, "TRADING_ACCOUNT_NOT_FOUND")
    unknown = place(stranger, account="1999999999")
    assert unknown.json()["code"] == "TRADING_ACCOUNT_NOT_FOUND"
    assert not Order.objects.exists()


def test_knows_no_such_instrument(market: Push) -> None:
    response = place(trader(), symbol="EURXXX")
    assert (response.status_code, response.json()["code"]) == (404, "INSTRUMENT_NOT_FOUND")
    assert not Order.objects.exists()


def test_takes_a_client_order_id_once(market: Push) -> None:
    who = trader()
    first = place(who, client_order_id="mine-1")
    again = place(who, client_order_id="mine-1")
    assert (again.status_code, again.json()["code"]) == (409, "CLIENT_ORDER_ID_TAKEN")
    assert again.json()["context"]["order"] == first.json()["id"]
    assert Order.objects.count() == 1


def test_a_hedge_holds_only_its_larger_leg(market: Push) -> None:
    who = trader()
    place(who, side="BUY", volume="0.50")
    body = place(who, side="SELL", volume="0.50").json()
    assert body["held"] == "2000.17"
    assert account(who)["held"] == "2000.17"


def test_lists_orders_newest_first_and_filters_them(market: Push) -> None:
    who = trader()
    filled, rejected = place(who).json(), place(who, volume="0.005").json()
    results = who.api.get("/api/v1/orders").json()["results"]
    assert [row["id"] for row in results] == [rejected["context"]["order"], filled["id"]]
    assert results[0]["reject_code"] == "VOLUME_INVALID"
    only = who.api.get("/api/v1/orders?status=FILLED").json()["results"]
    assert [row["id"] for row in only] == [filled["id"]]
    assert who.api.get(f"/api/v1/orders/{filled['id']}").json()["position"]["id"] == filled["position"]["id"]
    assert bob().api.get(f"/api/v1/orders/{filled['id']}").status_code == 404


def test_refuses_a_token_that_may_not_trade(market: Push) -> None:
    who = trader(scopes=("read",))
    response = place(who)
    assert (response.status_code, response.json()["code"]) == (403, "SCOPE_MISSING")
    assert not Order.objects.exists()


def test_keeps_demo_commission_out_of_the_live_books(market: Push) -> None:
    place(trader(environment="DEMO"))
    environments = set(Entry.objects.filter(reason="COMMISSION").values_list("wallet__environment", flat=True))
    assert environments == {"DEMO"}
