"""A price fills the orders and closes the positions that waited for it, at that price, and no others."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from accounts.models import TradingAccount
from core.models import KillSwitch
from tests.trading.nights import books_are_clean
from tests.trading.prices import Push
from tests.trading.risk import (
    deals,
    guard,
    is_open,
    money,
    no_commission,
    opened,
    run_risk,
    status,
    trader,
    waiting,
)
from trading.models import AccountChange, AccountWatch, Deal, Instrument, Order, Position, PriceClock, RiskTask
from wallets.models import LedgerTransaction, Wallet

# The market of these tests quotes EURUSD at 1.20000/1.20010.


@pytest.fixture
def market(committed_market: Push) -> Iterator[Push]:
    """Really committed, so that the whole ledger can be verified at the end of every test."""
    no_commission()
    run_risk()
    yield committed_market
    assert not RiskTask.objects.exists()
    books_are_clean()


@pytest.mark.parametrize(
    "type_, side, price, before, at, gap",
    [
        ("LIMIT", "BUY", "1.19000", ("1.18991", "1.19001"), ("1.18990", "1.19000"), ("1.17000", "1.17010")),
        ("LIMIT", "SELL", "1.21000", ("1.20999", "1.21009"), ("1.21000", "1.21010"), ("1.23000", "1.23010")),
        ("STOP", "BUY", "1.21000", ("1.20989", "1.20999"), ("1.20990", "1.21000"), ("1.23000", "1.23010")),
        ("STOP", "SELL", "1.19000", ("1.19001", "1.19011"), ("1.19000", "1.19010"), ("1.17000", "1.17010")),
    ],
)
def test_an_order_fills_when_its_price_has_come_and_not_a_point_before(
    market: Push, type_: str, side: str, price: str, before: Any, at: Any, gap: Any
) -> None:
    orders = [waiting(trader(), price, type=type_, side=side) for _ in range(2)]
    market(EURUSD=before)
    assert run_risk() == {}
    assert [status(order) for order in orders] == ["WORKING", "WORKING"]
    Order.objects.filter(pk=orders[1].pk).update(watched_after=PriceClock.objects.get().number + 1)
    opening = 1 if side == "BUY" else 0
    for order, quote in zip(orders, (at, gap), strict=True):
        market(EURUSD=quote)
        assert run_risk() == {"filled": 1}
        assert (status(order), order.price_filled) == ("FILLED", Decimal(quote[opening]))
        deal = Deal.objects.get(order=order)
        assert (deal.cause, deal.batch, deal.price) == ("ORDER", PriceClock.objects.get().number, order.price_filled)
        assert (deal.entry, deal.side, deal.volume, deal.position.price_open) == ("IN", side, order.volume, deal.price)


@pytest.mark.parametrize(
    "side, guards, before, at, gap, cause",
    [
        ("BUY", {"stop_loss": "1.19000"}, "1.19001", "1.19000", "1.17000", "STOP_LOSS"),
        ("BUY", {"take_profit": "1.21000"}, "1.20999", "1.21000", "1.23000", "TAKE_PROFIT"),
        ("SELL", {"stop_loss": "1.21000"}, "1.20989", "1.20990", "1.23000", "STOP_LOSS"),
        ("SELL", {"take_profit": "1.19000"}, "1.18991", "1.18990", "1.17000", "TAKE_PROFIT"),
    ],
)
def test_a_position_closes_when_its_stop_or_target_has_come_and_not_a_point_before(
    market: Push, side: str, guards: dict[str, str], before: str, at: str, gap: str, cause: str
) -> None:
    def quote(bid: str) -> tuple[str, str]:
        return bid, str(Decimal(bid) + Decimal("0.00010"))

    whos = [trader(), trader()]
    positions = [opened(who, side=side, **guards) for who in whos]
    market(EURUSD=quote(before))
    assert run_risk() == {}
    Position.objects.filter(pk=positions[1]).update(watched_after=PriceClock.objects.get().number + 1)
    name = "stop_losses" if cause == "STOP_LOSS" else "take_profits"
    sign, entered = (1, "1.20010") if side == "BUY" else (-1, "1.20000")
    for who, position, bid in zip(whos, positions, (at, gap), strict=True):
        market(EURUSD=quote(bid))
        assert run_risk() == {name: 1}
        price = Decimal(quote(bid)[0 if side == "BUY" else 1])
        profit = sign * (price - Decimal(entered)) * 10_000
        deal = Deal.objects.get(position=position, entry="OUT")
        assert (deal.cause, deal.price, deal.profit) == (cause, price, profit)
        assert deal.batch == PriceClock.objects.get().number
        assert money(who) == (Decimal(10_000) + profit, Decimal(0))


def test_a_price_that_reaches_both_is_the_stop(market: Push) -> None:
    position = opened(trader())
    guard_ = {"stop_loss": Decimal("1.21000"), "take_profit": Decimal("1.20500")}  # as after a modification gone wrong
    Position.objects.filter(pk=position).update(**guard_, watched_after=PriceClock.objects.get().number)
    market(EURUSD=("1.20600", "1.20610"))
    assert run_risk() == {"stop_losses": 1}


def test_what_was_set_at_a_batch_is_not_triggered_by_it(market: Push) -> None:
    who = trader()
    market(EURUSD=("1.19000", "1.19010"))
    order = waiting(who, "1.19500")
    position = opened(who, stop_loss="1.19500")
    assert run_risk() == {}
    market(GBPUSD=("1.39001", "1.39013"))  # another symbol's news is none of theirs
    assert run_risk() == {}
    AccountWatch.objects.update(funds=0)  # so that the account is looked at for another reason
    assert run_risk() == {}
    assert (status(order), is_open(position)) == ("WORKING", True)
    market(EURUSD=("1.19000", "1.19010"))
    assert run_risk() == {"filled": 1, "stop_losses": 1}


def test_a_filled_order_hands_its_stop_and_target_to_the_position(market: Push) -> None:
    order = waiting(trader(), "1.19000", stop_loss=Decimal("1.18000"), take_profit=Decimal("1.22000"))
    market(EURUSD=("1.18900", "1.18910"))
    assert run_risk() == {"filled": 1}
    position = Position.objects.get(order=order)
    assert (position.stop_loss, position.take_profit) == (Decimal("1.18"), Decimal("1.22"))
    assert position.watched_after == PriceClock.objects.get().number
    market(EURUSD=("1.18000", "1.18010"))
    assert run_risk() == {"stop_losses": 1}


def test_what_a_gap_opens_beyond_its_own_stop_is_closed_by_the_next_price(market: Push) -> None:
    order = waiting(trader(), "1.19000", stop_loss=Decimal("1.18000"))
    market(EURUSD=("1.17000", "1.17010"))
    assert run_risk() == {"filled": 1}
    assert is_open(Position.objects.get(order=order).pk)
    market(EURUSD=("1.17100", "1.17110"))
    assert run_risk() == {"stop_losses": 1}
    assert deals("STOP_LOSS")[0][4] == Decimal("1.17100")


def test_stops_close_before_orders_open(market: Push) -> None:
    """What a stop frees may be used by an order that the same price fills."""
    who = trader("4100.00")
    position = opened(who, volume="1.00", stop_loss="1.19900")  # holds 4,000.33
    waiting(who, "1.19910", volume="0.90", reserved="3600.00")
    market(EURUSD=("1.19900", "1.19910"))
    assert run_risk() == {"stop_losses": 1, "filled": 1}
    assert not is_open(position)


def test_an_order_without_margin_is_rejected_and_kept_with_its_numbers(market: Push) -> None:
    who = trader("100.00")
    order = waiting(who, "1.19000", volume="1.00")
    market(EURUSD=("1.18900", "1.18910"))
    assert run_risk() == {"rejected": 1}
    assert (status(order), order.reject_code) == ("REJECTED", "MARGIN_INSUFFICIENT")
    assert order.reject_context is not None
    assert order.reject_context["available"] == "100.00"
    assert not Position.objects.exists()
    assert not LedgerTransaction.objects.filter(type="OPEN").exists()
    shown = who.api.get(f"/api/v1/orders/{order.pk}").json()
    assert (shown["status"], shown["reject_code"]) == ("REJECTED", "MARGIN_INSUFFICIENT")


@pytest.mark.parametrize(
    "stop, code",
    [
        (lambda who: KillSwitch.objects.create(scope="TRADING", engaged=True), "TRADING_HALTED"),
        (lambda who: KillSwitch.objects.create(scope="TRADING:EURUSD", engaged=True), "TRADING_HALTED"),
        (lambda who: Wallet.objects.filter(pk=who.margin.pk).update(trading_enabled=False), "TRADING_FROZEN"),
        (lambda who: Wallet.objects.filter(pk=who.margin.pk).update(status="FROZEN"), "WALLET_NOT_ACTIVE"),
        (lambda who: TradingAccount.objects.update(is_self_trading=False), "SELF_TRADING_DISABLED"),
        (lambda who: Instrument.objects.update(trade_mode="CLOSE_ONLY"), "INSTRUMENT_NOT_TRADABLE"),
    ],
)
def test_what_stops_opening_ends_the_order_and_closes_all_the_same(market: Push, stop: Any, code: str) -> None:
    who = trader()
    position = opened(who, stop_loss="1.19000")
    order = waiting(who, "1.19500")
    stop(who)
    market(EURUSD=("1.19000", "1.19010"))
    assert run_risk() == {"rejected": 1, "stop_losses": 1}
    assert (status(order), order.reject_code, is_open(position)) == ("REJECTED", code, False)


def test_an_order_expires_when_its_time_comes_before_its_price(market: Push) -> None:
    now = timezone.now()
    late, early = (waiting(trader(), "1.19000", expires_at=now + timedelta(seconds=wait)) for wait in (-1, 60))
    market(EURUSD=("1.18900", "1.18910"))
    assert run_risk() == {"expired": 1, "filled": 1}
    assert (status(late), status(early)) == ("EXPIRED", "FILLED")
    assert AccountChange.objects.filter(subject=late.pk, kind="ORDER").exists()


def test_an_order_expires_when_no_price_comes_at_all(market: Push) -> None:
    now = timezone.now()
    order = waiting(trader(), "1.19000", expires_at=now + timedelta(seconds=30))
    assert run_risk() == {}
    Order.objects.filter(pk=order.pk).update(expires_at=now - timedelta(seconds=1))
    assert run_risk() == {}, "a price from before may still become known"
    Order.objects.filter(pk=order.pk).update(expires_at=now - timedelta(seconds=6))
    assert run_risk() == {"expired": 1}


def test_an_order_whose_price_came_in_time_is_filled_however_late_the_engine_is(market: Push) -> None:
    order = waiting(trader(), "1.19000", expires_at=timezone.now() + timedelta(seconds=60))
    market(EURUSD=("1.18900", "1.18910"))
    Order.objects.filter(pk=order.pk).update(expires_at=timezone.now())
    market(EURUSD=("1.20000", "1.20010"))
    assert run_risk() == {"filled": 1}
    assert Deal.objects.get(order=order).price == Decimal("1.18910")


def test_the_account_numbers_what_the_engine_did(market: Push) -> None:
    who = trader()
    opened(who, stop_loss="1.19000")
    order = waiting(who, "1.19500")
    known = AccountChange.objects.filter(account=who.account).count()
    market(EURUSD=("1.19000", "1.19010"))
    run_risk()
    rows = AccountChange.objects.filter(account=who.account).order_by("sequence")[known:]
    kinds = [row.kind for row in rows]
    assert kinds == ["POSITION", "DEAL", "ORDER", "POSITION", "DEAL"]
    assert rows[2].subject == order.pk


def test_a_short_guard_is_watched_from_when_it_was_set(market: Push) -> None:
    who = trader()
    position = opened(who, side="SELL")
    market(EURUSD=("1.21000", "1.21010"))
    run_risk()
    guard(who, position, stop_loss="1.21500")
    market(EURUSD=("1.21490", "1.21500"))
    assert run_risk() == {"stop_losses": 1}
