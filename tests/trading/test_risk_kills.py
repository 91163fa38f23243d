"""Whenever the database or an engine dies while an account is worked off, everything has been done once in the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from core.errors import OutcomeUnknown
from tests.cast import CastMember
from tests.database import Clone
from tests.faults.kill import AFTER_COMMIT, BEFORE_COMMIT, Fault, session_dies, worker_dies
from tests.trading import prices
from tests.trading.nights import books_are_clean
from tests.trading.prices import Push
from tests.trading.risk import engine, money, no_commission, opened, run_risk, trader, waiting
from trading.models import AccountChange, Deal, MarginEvent, Order, PriceBand, RiskTask
from trading.services import risk
from trading.services.risk import Memory, Progress
from wallets.models import LedgerTransaction


@pytest.fixture
def market(committed_market: Push) -> Iterator[Push]:
    no_commission()
    run_risk()
    yield committed_market
    assert not RiskTask.objects.exists()
    books_are_clean()


def ruined() -> CastMember:
    """One price will expire, stop, refuse, cancel, close and call, in that order."""
    who = trader("3400.00")
    opened(who, volume="0.05", stop_loss="1.19500")
    opened(who, volume="0.40")
    opened(who, volume="0.20")
    waiting(who, "1.18000", expires_at=timezone.now())
    waiting(who, "1.18000", volume="0.01", reserved="40.00")
    waiting(who, "1.00000", volume="0.01", reserved="40.00")
    return who


def served() -> CastMember:
    """The same price will close two of its positions and open two others."""
    who = trader("3400.00")
    opened(who, volume="0.05", stop_loss="1.19500")
    opened(who, volume="0.20", side="SELL", take_profit="1.16000")
    opened(who, volume="0.10")
    waiting(who, "1.18000", volume="0.01", reserved="40.00")
    waiting(who, "1.18000", side="SELL", type="STOP", volume="0.02", reserved="80.00")
    return who


WORLDS: dict[str, tuple[Callable[[], CastMember], dict[str, Any]]] = {
    "ruined": (
        ruined,
        {
            "deals": Counter({("IN", "CLIENT"): 3, ("OUT", "STOP_LOSS"): 1, ("OUT", "STOP_OUT"): 1}),
            "orders": Counter({"FILLED": 3, "EXPIRED": 1, "REJECTED": 1, "CANCELLED": 1}),
            "events": Counter({"STOP_OUT": 1, "MARGIN_CALL": 1}),
            "postings": Counter({"CLOSE": 1, "STOP_OUT": 1}),
            "money": (Decimal("1370.50"), Decimal("800.07")),  # 3,400.00 less 225.50 and 1,804.00
            "changes": 18,
        },
    ),
    "served": (
        served,
        {
            "deals": Counter(
                {("IN", "CLIENT"): 3, ("IN", "ORDER"): 2, ("OUT", "STOP_LOSS"): 1, ("OUT", "TAKE_PROFIT"): 1}
            ),
            "orders": Counter({"FILLED": 5}),
            "events": Counter(),
            "postings": Counter({"CLOSE": 2}),
            "money": (Decimal("4072.50"), Decimal("438.53")),  # 3,400.00 less 225.50 and with 898.00
            "changes": 19,
        },
    ),
}


def effect(who: CastMember) -> dict[str, Any]:
    """What everything left behind; its changes are numbered without a gap."""
    of = {"account": who.account}
    numbers = AccountChange.objects.filter(**of).order_by("sequence").values_list("sequence", flat=True)
    assert list(numbers) == list(range(1, len(numbers) + 1))
    kinds = LedgerTransaction.objects.filter(owner=who.user, type__in=["CLOSE", "STOP_OUT"])
    return {
        "deals": Counter(Deal.objects.filter(**of).values_list("entry", "cause")),
        "orders": Counter(Order.objects.filter(**of).values_list("status", flat=True)),
        "events": Counter(MarginEvent.objects.filter(**of).values_list("kind", flat=True)),
        "postings": Counter(kinds.values_list("type", flat=True)),
        "money": money(who),
        "changes": len(numbers),
    }


def due(world: str) -> CastMember:
    """An account, and the price that does everything to it, which no engine has looked at."""
    prices.push(EURUSD=("1.20000", "1.20010"))
    run_risk()
    PriceBand.objects.all().delete()  # earlier accounts are left alone
    who = WORLDS[world][0]()
    prices.push(EURUSD=("1.15500", "1.15510"))
    return who


def put_down() -> None:
    assert risk.advance(now=timezone.now()) is Progress.PUT_DOWN


def work() -> None:
    risk.work_off(memory=Memory())


#: What may be struck, in which world, and what comes before it.
ACTS: dict[str, tuple[str, Callable[[], None], Callable[[], None]]] = {
    "put down": ("ruined", lambda: None, put_down),
    "work off the ruined": ("ruined", put_down, work),
    "work off the served": ("served", put_down, work),
}


def moments(url: str, act: str, patch: pytest.MonkeyPatch) -> list[Any]:
    """Every moment at which the act can be struck; left alone it does everything once."""
    world, before, struck = ACTS[act]
    who = due(world)
    before()
    with session_dies(url, 0, patch) as counting:
        struck()
    run_risk()
    assert effect(who) == WORLDS[world][1]
    assert counting.commits == 1
    assert counting.statements >= (3 if act == "put down" else 15)
    return [*range(1, counting.statements + 1), BEFORE_COMMIT, AFTER_COMMIT]


@pytest.mark.parametrize("act", ACTS)
def test_the_database_may_die_at_every_statement(
    market: Push, committed_db: Clone, monkeypatch: pytest.MonkeyPatch, act: str
) -> None:
    world, before, struck = ACTS[act]
    for moment in moments(committed_db.url, act, monkeypatch):
        who = due(world)
        before()
        assert RiskTask.objects.count() == (act != "put down")
        with session_dies(committed_db.url, moment, monkeypatch) as fault:
            _struck(struck, fault)
        assert fault.struck, moment
        run_risk()
        assert effect(who) == WORLDS[world][1], moment


def _struck(act: Callable[[], None], fault: Fault) -> None:
    """Nobody knows of a lost commit but the row; everything before it is run again."""
    try:
        act()
    except OutcomeUnknown:
        assert fault.at in {BEFORE_COMMIT, AFTER_COMMIT}
    else:
        assert fault.at not in {BEFORE_COMMIT, AFTER_COMMIT}


@pytest.mark.parametrize("act", ["put down", "work off the ruined"])
def test_an_engine_may_die_at_every_statement(
    market: Push, committed_db: Clone, monkeypatch: pytest.MonkeyPatch, act: str
) -> None:
    world, before, struck = ACTS[act]
    for moment in moments(committed_db.url, act, monkeypatch):
        who = due(world)
        before()
        assert RiskTask.objects.count() == (act != "put down")
        worker_dies(moment, monkeypatch, struck)
        run_risk()
        assert effect(who) == WORLDS[world][1], moment


@pytest.mark.parametrize("world", WORLDS)
def test_a_whole_engine_goes_on_through_a_lost_session(
    market: Push, committed_db: Clone, monkeypatch: pytest.MonkeyPatch, world: str
) -> None:
    """Its commits too: each is one of many, and the next look tells what became of it."""
    for moment in (BEFORE_COMMIT, AFTER_COMMIT, 1, 5, 20):
        who = due(world)
        with session_dies(committed_db.url, moment, monkeypatch) as fault:
            engine().run()
        assert fault.struck
        assert effect(who) == WORLDS[world][1], moment
