"""`make replay` trades, checks and says so; and what it checks, it would find."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import call_command

from scripts import environment

if TYPE_CHECKING:  # models cannot be imported before the settings are made
    from tests.trading.prices import Push
    from trading.models import MarginEvent


@pytest.fixture
def market(db: None) -> Push:
    from tests.trading import prices

    return prices.open_market()


@pytest.mark.timeout(300)
def test_a_small_floor_adds_up() -> None:
    command = [sys.executable, "-m", "scripts.replay", "--accounts=3", "--days=1", "--actions=3"]
    ended = subprocess.run(command, cwd=environment.ROOT, capture_output=True, text=True, timeout=110, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    lines = ended.stdout.splitlines()
    assert lines[0].startswith("3 accounts, seed 1,")
    assert lines[-1] == "Every figure agrees."
    assert "tape          25 batches," in ended.stdout
    assert " = deals " in ended.stdout


@pytest.fixture
def event(market: Push) -> MarginEvent:
    """An account in pounds with three positions, of which a fall closes two."""
    from tests.cast import make_client
    from tests.trading.calls import place
    from trading.models import MarginEvent

    who = make_client(currency="GBP", margin=Decimal("3000.00"), country="ZA")
    for symbol, side, volume in (("EURUSD", "BUY", "0.50"), ("GBPJPY", "BUY", "0.30"), ("USDJPY", "SELL", "0.05")):
        assert place(who, symbol=symbol, side=side, volume=volume).status_code == 201
    call_command("run_risk", stdout=StringIO())
    market(EURUSD=("1.17000", "1.17010"), GBPJPY=("143.100", "143.124"))
    call_command("run_risk", stdout=StringIO())
    return MarginEvent.objects.get(kind="STOP_OUT")


def complaints(event: MarginEvent) -> str:
    from scripts.floor_audit import stop_out_problems

    return "\n".join(stop_out_problems(event))


def closed(report: dict[str, Any]) -> list[dict[str, Any]]:
    return [step for step in report["steps"] if step["what"] == "POSITION_CLOSED"]


def test_a_stop_out_follows_from_the_quotes_it_names(event: MarginEvent) -> None:
    assert len(closed(event.report)) == 2
    assert complaints(event) == ""


def moved_quote(report: dict[str, Any]) -> None:
    (quote,) = [quote for quote in report["quotes"] if quote["symbol"] == "EURUSD"]
    quote["bid"] = "1.16999"


def better_profit(report: dict[str, Any]) -> None:
    closed(report)[0]["profit"] = "0.01"


def other_price(report: dict[str, Any]) -> None:
    closed(report)[0]["price"] = "1.18000"


def smaller_loss_first(report: dict[str, Any]) -> None:
    step, left = closed(report)[0], {one["position"] for one in closed(report)}
    other = next(row for row in report["positions"] if row["position"] not in left)
    step |= {"position": other["position"], "number": other["number"]}


def one_step_more(report: dict[str, Any]) -> None:
    other = next(
        row for row in report["positions"] if row["position"] not in {one["position"] for one in closed(report)}
    )
    report["steps"].append({**closed(report)[0], "position": other["position"]})


def one_step_less(report: dict[str, Any]) -> None:
    report["steps"].remove(closed(report)[-1])


def healthier_before(report: dict[str, Any]) -> None:
    report["before"]["balance"] = "9000.00"


def other_after(report: dict[str, Any]) -> None:
    report["after"]["equity"] = "1.00"


def other_deal(report: dict[str, Any]) -> None:
    closed(report)[0]["deal"] = report["positions"][0]["position"]


@pytest.mark.parametrize(
    "alter, complaint",
    [
        (moved_quote, "EURUSD was not 1.16999/"),
        (better_profit, "was not closed at its quote"),
        (other_price, "was not closed at its quote"),
        (smaller_loss_first, "although another had the larger loss"),
        (one_step_more, "although the level was no longer below"),
        (one_step_less, "with positions that could have been closed"),
        (healthier_before, "the margin level was not below"),
        (other_after, "the state after does not add up"),
        (other_deal, "has no such deal"),
    ],
)
def test_a_report_that_says_otherwise_is_found(
    event: MarginEvent, alter: Callable[[dict[str, Any]], None], complaint: str
) -> None:
    event.report = copy.deepcopy(event.report)
    alter(event.report)
    assert complaint in complaints(event)


def test_what_is_left_open_or_was_not_told_is_found(committed_db: object) -> None:
    from scripts.floor import Floor, Plan
    from scripts.floor_audit import audit
    from tests.trading import prices

    floor = Floor.open(Plan(accounts=2, actions=0))
    prices.push(**prices.PRICES)
    trader = floor.traders[0]
    body = {"account": trader.number, "symbol": "EURUSD", "side": "BUY", "type": "MARKET", "volume": "0.01"}
    assert floor.send(trader, "POST", "/orders", body)[0] == 201
    for one in floor.traders:
        floor.follow(one)
    found = audit(floor)
    assert [mirror.is_true for mirror in found.mirrors] == [True]
    assert len(found.problems) == 2
    assert all("holds" in problem or "is open" in problem for problem in found.problems)
    trader.rows["deals"].clear()
    assert "1 deals were told and are not there, or the other way round" in audit(floor).problems
