"""An account is called at 100 %, stopped out below 50 % in order, and reads exactly what was done on what prices."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import time, timedelta
from decimal import Decimal
from typing import Any

import pytest
import time_machine
from django.db import transaction
from django.utils import timezone

from tests import database
from tests.cast import CastMember, fund, make_client
from tests.trading.calls import close
from tests.trading.nights import books_are_clean
from tests.trading.prices import Push
from tests.trading.risk import (
    deals,
    events,
    is_open,
    money,
    no_commission,
    opened,
    run_risk,
    status,
    trader,
    waiting,
)
from trading.models import (
    AccountWatch,
    Deal,
    MarginEvent,
    Position,
    Quote,
    RiskTask,
    TradingSession,
)
from wallets import ledger
from wallets.models import Entry, LedgerTransaction

# The market of these tests quotes EURUSD at 1.20000/1.20010, and a lot of it locks 4,000.33 at a leverage of 30.


@pytest.fixture
def market(committed_market: Push) -> Iterator[Push]:
    """Really committed, so that the whole ledger can be verified at the end of every test."""
    no_commission()
    run_risk()
    yield committed_market
    assert not RiskTask.objects.exists()
    books_are_clean()


def at(bid: str, spread: str = "0.00010") -> tuple[str, str]:
    return bid, str(Decimal(bid) + Decimal(spread))


def report(who: CastMember, kind: str = "STOP_OUT") -> dict[str, Any]:
    document: dict[str, Any] = MarginEvent.objects.filter(account=who.account, kind=kind).latest("id").report
    return document


def steps(who: CastMember) -> list[tuple[str, Any]]:
    return [(step["what"], step.get("number") or step["order"]) for step in report(who)["steps"]]


def number(position: Any) -> int:
    found: int = Position.objects.get(pk=position).number
    return found


# --- Margin call ------------------------------------------------------------------------------------------------------


def test_a_margin_call_comes_once_is_lifted_and_comes_again(market: Push) -> None:
    who = trader("5000.00")
    opened(who, volume="1.00")  # holds 4,000.33, so 100 % is where it has lost 999.67
    for bid, expected in [
        ("1.19011", []),  # 4,001.00
        ("1.19010", ["MARGIN_CALL"]),  # 4,000.00
        ("1.18900", ["MARGIN_CALL"]),
        ("1.19012", ["MARGIN_CALL", "MARGIN_CALL_LIFTED"]),
        ("1.19500", ["MARGIN_CALL", "MARGIN_CALL_LIFTED"]),
        ("1.18000", ["MARGIN_CALL", "MARGIN_CALL_LIFTED", "MARGIN_CALL"]),
    ]:
        market(EURUSD=at(bid))
        run_risk()
        assert events(who) == expected, bid
        is_called = AccountWatch.objects.get(account=who.account).called_at is not None
        assert is_called == (bool(expected) and expected[-1] == "MARGIN_CALL"), bid
    assert deals() == []
    event = MarginEvent.objects.order_by("id")[0]
    assert (event.equity, event.held) == (Decimal("4000.00"), Decimal("4000.33"))
    assert event.report["before"]["margin_level"] == "99.99"
    assert event.report["steps"] == []


def test_a_deposit_lifts_a_call_at_the_next_sweep(market: Push) -> None:
    who = trader("5000.00")
    opened(who, volume="1.00")
    market(EURUSD=at("1.18900"))
    assert run_risk() == {"margin_calls": 1}
    pay_in(who, "2000.00")
    assert run_risk() == {}
    assert events(who) == ["MARGIN_CALL", "MARGIN_CALL_LIFTED"]


def pay_in(who: CastMember, amount: str) -> None:
    with transaction.atomic():
        (wallet,) = ledger.lock_wallets_by_id(who.margin.pk)
        fund(wallet, Decimal(amount))


def test_money_that_staff_take_out_is_noticed_without_a_price(market: Push) -> None:
    who = trader("5000.00")
    opened(who, volume="1.00")
    assert run_risk() == {}
    pay_in(who, "-3500.00")
    assert run_risk() == {"stop_outs": 1}
    assert money(who) == (Decimal("1490.00"), Decimal(0))


def test_an_account_that_nobody_watches_is_found_by_the_sweep(market: Push) -> None:
    who = trader("5000.00")
    opened(who, volume="1.00")
    with database.as_owner():
        AccountWatch.objects.all().delete()
    run_risk()
    assert AccountWatch.objects.get(account=who.account).held == Decimal("4000.33")


def test_the_same_prices_tell_nobody_twice(market: Push) -> None:
    who = trader("5000.00")
    opened(who, volume="1.00")
    market(EURUSD=at("1.19010"))
    run_risk()
    AccountWatch.objects.update(called_at=None)
    run_risk()
    assert events(who) == ["MARGIN_CALL"]


# --- Stop-out ---------------------------------------------------------------------------------------------------------


def test_the_working_orders_go_first_by_what_they_reserve(market: Push) -> None:
    who = trader("5000.00")
    position = opened(who, volume="1.00")
    orders = [waiting(who, "1.10000", reserved=reserved) for reserved in ("40.00", "400.00", "40.00")]
    market(EURUSD=at("1.16900"))
    assert run_risk() == {"stop_outs": 1, "cancelled": 3}
    assert [status(order) for order in orders] == ["CANCELLED"] * 3
    assert {order.cancel_reason for order in orders} == {"STOP_OUT"}
    ids = [str(orders[place].pk) for place in (1, 0, 2)]
    assert steps(who) == [*(("ORDER_CANCELLED", id_) for id_ in ids), ("POSITION_CLOSED", number(position))]


def test_the_largest_loss_goes_first_and_the_rest_stays_at_fifty_percent(market: Push) -> None:
    who = trader("5000.00")
    small, large, winning = (
        opened(who, volume="0.40"),
        opened(who, volume="0.60"),
        opened(who, symbol="GBPUSD", volume="0.10"),
    )
    # 0.4 and 0.6 lots have lost 3,250.00 at this bid, and hold 4,000.33 with 463.37 for the pounds.
    market(EURUSD=at("1.16760"), GBPUSD=("1.39100", "1.39112"))
    assert run_risk() == {"stop_outs": 1, "margin_calls": 1}
    assert (is_open(small), is_open(large), is_open(winning)) == (True, False, True)
    assert steps(who) == [("POSITION_CLOSED", number(large))]
    after = report(who)["after"]
    assert Decimal(after["margin_level"]) >= 50
    assert Decimal(report(who)["before"]["margin_level"]) < 50


def test_an_account_at_exactly_fifty_percent_is_left_alone(market: Push) -> None:
    who = trader("3000.10")
    opened(who, volume="0.60")
    assert money(who)[1] == Decimal("2400.20")
    market(EURUSD=at("1.17010"))  # has lost 1,800.00
    assert run_risk() == {"margin_calls": 1}
    assert report(who, "MARGIN_CALL")["before"]["margin_level"] == "50.00"
    market(EURUSD=at("1.17009"))
    assert run_risk() == {"stop_outs": 1}


def test_a_gap_through_everything_leaves_nothing_owed(market: Push) -> None:
    who = trader("5000.00")
    opened(who, volume="1.00")
    market(EURUSD=at("1.10010"))
    assert run_risk() == {"stop_outs": 1}
    assert money(who) == (Decimal(0), Decimal(0))
    deal = Deal.objects.get(cause="STOP_OUT")
    assert (deal.profit, deal.compensation) == (Decimal("-10000.00"), Decimal("5000.00"))
    paid = Entry.objects.get(wallet__kind="HOUSE_NEGATIVE_BALANCE")
    assert (paid.amount, paid.reason) == (Decimal("-5000.00"), "NEGATIVE_BALANCE_PROTECTION")
    assert LedgerTransaction.objects.get(type="STOP_OUT").pk == deal.transaction_id
    (step,) = report(who)["steps"]
    assert (step["compensation"], step["balance_after"], step["margin_level_after"]) == ("5000.00", "0.00", None)
    # Nothing is left to be called for.
    assert events(who) == ["STOP_OUT"]


def test_a_stop_that_is_hit_as_the_account_falls_is_a_stop_and_not_a_stop_out(market: Push) -> None:
    who = trader("5000.00")
    opened(who, volume="1.00", stop_loss="1.19000")
    market(EURUSD=at("1.10010"))
    assert run_risk() == {"stop_losses": 1}
    assert money(who) == (Decimal(0), Decimal(0))
    assert events(who) == []


def test_a_swing_from_call_to_rescue_is_told_in_that_order(market: Push) -> None:
    who = trader("5000.00")
    large, small = opened(who, volume="0.80"), opened(who, volume="0.20")
    market(EURUSD=at("1.19000"))
    assert run_risk() == {"margin_calls": 1}
    market(EURUSD=at("1.16000"))
    assert run_risk() == {"stop_outs": 1}
    assert (is_open(large), is_open(small)) == (False, True)
    assert events(who) == ["MARGIN_CALL", "STOP_OUT", "MARGIN_CALL_LIFTED"]


def test_what_is_stopped_out_and_still_short_is_called(market: Push) -> None:
    who = trader("5000.00")
    for _ in range(4):
        opened(who, volume="0.25")
    market(EURUSD=at("1.16500"))  # lost 3,510.00: 1,490.00 of 4,000.32
    assert run_risk() == {"stop_outs": 1, "margin_calls": 1}
    assert events(who) == ["STOP_OUT", "MARGIN_CALL"]
    assert Decimal(report(who, "MARGIN_CALL")["before"]["margin_level"]) >= 50


# --- Closed and unpriced ----------------------------------------------------------------------------------------------


def shut(symbol: str) -> None:
    """Closed at any hour of this day and of the next ones."""
    day = (timezone.now() + timedelta(days=3)).weekday()
    TradingSession.objects.create(instrument_id=symbol, weekday=day, opens=time(10), closes=time(11))


def test_a_closed_market_is_skipped_and_caught_up_when_it_opens(market: Push) -> None:
    who = trader("5000.00")
    pounds, euros = opened(who, symbol="GBPUSD", volume="0.80"), opened(who, volume="0.20")
    shut("GBPUSD")
    market(GBPUSD=at("1.33000", "0.00012"), EURUSD=at("1.19500"))
    assert run_risk() == {"stop_outs": 1, "margin_calls": 1}
    assert (is_open(pounds), is_open(euros)) == (True, False)
    assert steps(who) == [("POSITION_SKIPPED", number(pounds)), ("POSITION_CLOSED", number(euros))]
    assert report(who)["steps"][0]["code"] == "MARKET_CLOSED"
    market(GBPUSD=at("1.33010", "0.00012"))
    assert run_risk() == {}, "nothing can be done, so there is nothing to tell"
    assert events(who) == ["STOP_OUT", "MARGIN_CALL"]
    TradingSession.objects.all().delete()
    market(GBPUSD=at("1.33020", "0.00012"))
    assert run_risk() == {"stop_outs": 1}
    assert not is_open(pounds)
    assert deals("STOP_OUT")[-1][4] == Decimal("1.33020")


def test_orders_and_stops_wait_for_a_market_to_open(market: Push) -> None:
    who = trader()
    position, order = opened(who, stop_loss="1.19000"), waiting(who, "1.19000")
    shut("EURUSD")
    market(EURUSD=at("1.18000"))
    assert run_risk() == {}
    assert (is_open(position), status(order)) == (True, "WORKING")
    TradingSession.objects.all().delete()
    market(EURUSD=at("1.18500"))
    assert run_risk() == {"stop_losses": 1, "filled": 1}
    assert [row[4] for row in deals()] == [Decimal("1.18500"), Decimal("1.18510")]


def test_a_position_without_a_fresh_price_is_skipped(market: Push) -> None:
    who = trader("5000.00")
    pounds = opened(who, symbol="GBPUSD", volume="0.80")
    euros = opened(who, volume="0.20")
    with time_machine.travel(timezone.now() + timedelta(seconds=61)):
        market(EURUSD=at("1.01000"))
        assert run_risk() == {"stop_outs": 1, "margin_calls": 1}
        assert (is_open(pounds), is_open(euros)) == (True, False)
        assert report(who)["steps"][1]["code"] == "QUOTE_STALE"
    with time_machine.travel(timezone.now() + timedelta(seconds=130)):
        market(EURUSD=at("1.20000"), GBPUSD=at("1.33000", "0.00012"))
        assert run_risk() == {"stop_outs": 1}
    assert money(who) == (Decimal(0), Decimal(0))


def test_a_profit_that_cannot_be_converted_waits_for_its_rate(market: Push) -> None:
    who = trader()
    position = opened(who, symbol="GBPJPY", volume="0.10", stop_loss="151.000")
    with time_machine.travel(timezone.now() + timedelta(seconds=61)):
        market(GBPJPY=("150.900", "150.924"))
        assert run_risk() == {}
        assert is_open(position)
        market(GBPJPY=("150.910", "150.934"), USDJPY=("109.200", "109.210"))
        assert run_risk() == {"stop_losses": 1}


# --- What others do meanwhile -----------------------------------------------------------------------------------------


def test_an_account_valued_later_is_not_judged_by_older_prices(market: Push) -> None:
    who = trader("5000.00")
    opened(who, volume="0.50")
    market(EURUSD=at("1.10000"))  # would be a margin call
    market(EURUSD=at("1.20000"))
    opened(who, volume="0.50")  # with which 1.10 would have been a stop-out
    assert run_risk() == {}
    assert events(who) == []
    market(EURUSD=at("1.10000"))
    assert run_risk() == {"stop_outs": 1}


def test_what_is_closed_in_between_is_not_closed_again(market: Push) -> None:
    who = trader("5000.00")
    position = opened(who, volume="1.00", stop_loss="1.19500")
    market(EURUSD=at("1.19400"))
    close(who, str(position))
    assert run_risk() == {}
    assert money(who)[0] == Decimal("4390.00")


# --- The report -------------------------------------------------------------------------------------------------------


def test_a_report_agrees_with_the_quotes_it_names(market: Push) -> None:
    who = make_client(margin=Decimal("4000.00"), currency="EUR", leverage=30)
    for symbol, side, volume in (
        ("EURUSD", "BUY", "0.50"),
        ("GBPJPY", "SELL", "0.30"),
        ("USDCHF", "BUY", "0.20"),
        ("GBPJPY", "BUY", "0.10"),
    ):
        opened(who, symbol=symbol, side=side, volume=volume)
    waiting(who, "1.00000", reserved="10.00")
    market(EURUSD=at("1.19000"), GBPJPY=("163.000", "163.030"), USDCHF=("0.90000", "0.90014"))
    assert run_risk()["stop_outs"] == 1
    event = MarginEvent.objects.get(account=who.account, kind="STOP_OUT")
    said = event.report
    assert (event.batch, said["batch"], said["currency"]) == (said["batch"], event.batch, "EUR")
    quotes = {quote["symbol"]: quote for quote in said["quotes"]}
    assert set(quotes) == {"EURUSD", "GBPJPY", "USDCHF", "USDJPY"}
    for symbol, quote in quotes.items():
        known = Quote.objects.get(pk=symbol)
        assert (Decimal(quote["bid"]), Decimal(quote["ask"])) == (known.bid, known.ask)
        assert (quote["sequence"], quote["batch"] is not None) == (known.sequence, True)

    floating = sum(recomputed(one, quotes) for one in said["positions"])
    before = {name: Decimal(value) for name, value in said["before"].items()}
    assert before["floating"] == floating
    assert before["equity"] == before["balance"] + before["credit"] + floating == event.equity
    assert before["held"] == event.held
    assert before["margin_level"] == round(before["equity"] * 100 / before["held"], 2)
    assert before["margin_level"] < 50
    assert before["free_margin"] == before["equity"] - before["held"]

    opened_ = {one["number"]: one for one in said["positions"]}
    balance, losses = before["balance"], []
    for step in said["steps"][1:]:
        assert step["what"] == "POSITION_CLOSED"
        deal = Deal.objects.get(pk=step["deal"])
        assert (deal.cause, deal.batch) == ("STOP_OUT", event.batch)
        assert Decimal(step["profit"]) == deal.profit == Decimal(opened_[step["number"]]["floating"])
        quote = quotes[step["symbol"]]
        assert step["price"] == (quote["bid"] if step["side"] == "BUY" else quote["ask"])
        balance += deal.profit - deal.commission + deal.compensation
        assert Decimal(step["balance_after"]) == balance
        losses.append(deal.profit)
    assert said["steps"][0]["what"] == "ORDER_CANCELLED"
    assert losses == sorted(losses)
    levels = [step["margin_level_after"] for step in said["steps"]]
    assert all(Decimal(level) < 50 for level in levels[:-1])
    after = said["after"]
    assert levels[-1] == after["margin_level"]
    assert after["margin_level"] is None or Decimal(after["margin_level"]) >= 50
    assert (Decimal(after["balance"]), Decimal(after["held"])) == money(who)


def recomputed(position: dict[str, Any], quotes: dict[str, Any]) -> Decimal:
    """A floating profit by hand: the price's move × contract size × lots, converted along the path it names."""
    quote, sign = quotes[position["symbol"]], 1 if position["side"] == "BUY" else -1
    price = Decimal(quote["bid"] if sign == 1 else quote["ask"])
    amount = sign * (price - Decimal(position["price_open"])) * 100_000 * Decimal(position["volume"])
    for step in position["conversion_path"]:
        pair, side, rate = step.removeprefix("1 / ").split(" ")
        assert Decimal(rate) == (price if side == "close" else Decimal(quotes[pair][side]))
        amount = amount / Decimal(rate) if step.startswith("1 / ") else amount * Decimal(rate)
    return round(amount, 2)
