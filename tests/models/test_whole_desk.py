"""Whatever clients, staff, prices and time do in whatever order: after each step the desk is what it is on paper."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

import hypothesis
import pytest
from django.db import transaction
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from tests.database import Clone
from tests.models.account import CENT, SWAPS
from tests.models.desk import Desk, Stage
from tests.models.paper import ALICE, CLIENTS, HELD_MIN, WAYS, Paper
from tests.referrals import deals
from tests.trading import nights
from tests.trading.programs import TERMS, VOLUME_STEP

PROGRAMS = int(os.environ.get("MODEL_PROGRAMS", "200"))
SEED = int(os.environ.get("MODEL_SEED", "1"))
PARTS = 4  # so that several processes share them
STEPS = 30
VERIFIED_EVERY = 10

clients = st.sampled_from(CLIENTS)
wallets = st.integers(0, 2 * len(CLIENTS) - 1)
cash_mostly = st.sampled_from([0, 2, 4, 0, 2, 1])
amounts = st.sampled_from(["10", "100", "1000", "250", "77.77", "2500", "4999.99", "3000", "0.01"]).map(Decimal)
#: Out of a wallet also all that is there, and a cent more.
ALL, MORE = "all", "a cent more"
amounts_out = amounts | st.sampled_from([ALL, MORE])
symbols, sides = st.sampled_from(sorted(SWAPS)), st.sampled_from(["BUY", "SELL"])
volumes = st.sampled_from(["0.1", "0.1", "0.2", "0.2", "0.3", "0.05"]).map(Decimal)
picks = st.integers(0, 7)
scopes = st.sampled_from(["TRADING", "WITHDRAWALS", "DEPOSITS"])
#: How far a price goes, in hundredths of a percent.
steps, gaps = st.sampled_from([0, 1, -1, 20, -20, 150, -150]), st.sampled_from([500, 800, -500, 2_000])
ticks_away = st.sampled_from([1, 10, 200, 3_000, 0, -5])
ONWARDS = "the next step to the bank"  # which chance alone seldom takes in order
TO_THE_BANK = ("start_review", "approve_withdrawal", "mark_sent", "complete_withdrawal")
HOUR, DAY = 3_600, 86_400


#: For rules that would otherwise crowd out what needs several steps to come about; a step takes a second.
seldom = precondition(lambda self: self.paper.now.second % 4 == 0)


class WholeDesk(RuleBasedStateMachine):
    """Each rule is done on paper and by the desk; what comes of it, and everything there is then, is the same."""

    def __init__(self, stage: Stage, restore: Callable[[], None], tally: Counter[str]) -> None:
        super().__init__()
        restore()
        self.tally = tally
        tally["programs"] += 1
        self.paper = Paper()
        stage.clock.now = self.paper.now
        self.desk = Desk(stage)
        start = {symbol: (TERMS[symbol].start, TERMS[symbol].start + _tick(symbol) * 10) for symbol in SWAPS}
        self.same("tick", start)

    @initialize(
        opened=st.lists(st.tuples(clients, symbols, sides, volumes), min_size=1, max_size=4), is_rewarded=st.booleans()
    )
    def begin(self, opened: list[tuple[int, str, str, Decimal]], is_rewarded: bool) -> None:
        """Not from nothing: it is positions, a bonus and a reward that was paid which make wallets interesting."""
        self.same("deposit", 1, Decimal(100), "sandbox")
        self.same("claim_bonus", ALICE)
        if is_rewarded:
            self.same("open", ALICE, "EURUSD", "BUY", VOLUME_STEP)
            self.paper.now += HELD_MIN
            self.same("close", ALICE, 0, VOLUME_STEP)
            self.same("accrue")
            self.same("pay")
        for order in opened:
            self.same("open", *order)

    def same(self, step: str, *terms: Any, really: tuple[Any, ...] | None = None) -> None:
        """Do a step on both sides; `really` are the desk's terms where it has other names for them."""
        if step != "wait":
            self.paper.now += timedelta(seconds=1)
            self.desk.clock.now = self.paper.now
        expected = getattr(self.paper, step)(*terms)
        found = getattr(self.desk, step)(*(terms if really is None else really))
        self.compare(step, expected, found)

    def compare(self, step: str, expected: str | None, found: str | None) -> None:
        assert found == expected, step
        there, here = self.desk.state(), self.paper.state()
        assert {what: (there[what], said) for what, said in here.items() if there[what] != said} == {}, step
        self.tally[f"{step}: {expected or 'done'}"] += 1

    def teardown(self) -> None:
        self.tally += self.paper.told
        if self.tally["programs"] % VERIFIED_EVERY == 0:
            nights.books_are_clean()
            with transaction.atomic():
                deals.books_are_clean()

    # --- In and out ---------------------------------------------------------------------------------------------------

    @rule(wallet=wallets, amount=amounts, provider=st.sampled_from(["sandbox", "webhook", "webhook", "manual"]))
    def deposit(self, wallet: int, amount: Decimal, provider: str) -> None:
        self.same("deposit", wallet, amount, provider)

    @precondition(lambda self: self.paper.deposits)
    @rule(pick=picks, what=st.sampled_from(["approve", "report", "reverse", "reject", "report failed"]))
    def decide_deposit(self, pick: int, what: str) -> None:
        pending_last = sorted(
            range(len(self.paper.deposits)), key=lambda nth: self.paper.deposits[nth].status == "PENDING"
        )
        nth = pending_last[_latest(pending_last, pick)]
        if what.startswith("report"):
            self.same("report_deposit", nth, what == "report")
        else:
            self.same(f"{what}_deposit", nth)

    @seldom
    @rule(who=clients, amount=amounts, is_credit=st.booleans())
    def adjust(self, who: int, amount: Decimal, is_credit: bool) -> None:
        self.same("adjust", who, amount if is_credit else -amount)

    @rule(wallet=cash_mostly, amount=amounts_out)
    def withdraw(self, wallet: int, amount: Decimal | str) -> None:
        self.same("withdraw", wallet, self._out_of(wallet, amount))

    @precondition(lambda self: self.paper.withdrawals)
    @rule(pick=picks, what=st.sampled_from([ONWARDS] * 4 + ["cancel", *sorted(WAYS)]), staff=st.integers(0, 1))
    def decide_withdrawal(self, pick: int, what: str, staff: int) -> None:
        nth = _latest(self.paper.withdrawals, pick)
        if what == "cancel":
            self.same("cancel_withdrawal", nth)
            return
        if what == ONWARDS:
            status = self.paper.withdrawals[nth].status
            what = next((step for step in TO_THE_BANK if status in WAYS[step][0]), "mark_sent")
        self.same("decide_withdrawal", nth, what, staff)

    @rule(payer=cash_mostly, payee=cash_mostly, amount=amounts_out)
    def transfer(self, payer: int, payee: int, amount: Decimal | str) -> None:
        self.same("transfer", payer, payee, self._out_of(payer, amount))

    @rule(who=clients, amount=amounts_out)
    def release(self, who: int, amount: Decimal | str) -> None:
        self.same("release", who, self._out_of(2 * who + 1, amount))

    def _out_of(self, wallet: int, amount: Decimal | str) -> Decimal:
        if isinstance(amount, Decimal):
            return amount
        there = self.paper.wallet(wallet).available
        return max(there, CENT) if amount == ALL else there + CENT

    @seldom
    @rule(who=clients, scope=scopes)
    def freeze_or_lift(self, who: int, scope: str) -> None:
        self.same("lift" if scope in self.paper.frozen[who] else "freeze", who, scope)

    # --- Trading ------------------------------------------------------------------------------------------------------

    @rule(who=clients, symbol=symbols, side=sides, volume=volumes)
    def open(self, who: int, symbol: str, side: str, volume: Decimal) -> None:
        self.same("open", who, symbol, side, volume)

    @rule(
        who=clients,
        symbol=symbols,
        side=sides,
        kind=st.sampled_from(["LIMIT", "STOP"]),
        away=ticks_away,
        volume=volumes,
        lasts=st.sampled_from([None, 30, DAY]),
    )
    def rest(self, who: int, symbol: str, side: str, kind: str, away: int, volume: Decimal, lasts: int | None) -> None:
        price = self.paper.price_away(symbol, side, kind, away)
        self.same(
            "rest", who, symbol, side, kind, away, volume, lasts, really=(who, symbol, side, kind, price, volume, lasts)
        )

    @precondition(lambda self: bool(_held(self, "orders")))
    @rule(pick=picks)
    def cancel_order(self, pick: int) -> None:
        self.same("cancel_order", *_picked(self, "orders", pick))

    @precondition(lambda self: bool(_held(self, "positions")))
    @rule(pick=picks, share=st.sampled_from([100, 50, 30]))
    def close(self, pick: int, share: int) -> None:
        who, name = _picked(self, "positions", pick)
        left = self.paper.accounts[who].positions[name].volume
        part = left * share / 100 // VOLUME_STEP * VOLUME_STEP
        self.same("close", who, name, part if part and share < 100 else left)

    @precondition(lambda self: bool(_held(self, "positions")))
    @rule(pick=picks, loss=st.sampled_from([None, 1, 500]), gain=st.sampled_from([None, 1, 500]))
    def guard(self, pick: int, loss: int | None, gain: int | None) -> None:
        who, name = _picked(self, "positions", pick)
        stops = self.paper.stops_away(who, name, loss, gain)
        self.same("guard", who, name, loss, gain, really=(who, name, stops))

    # --- Prices and time ----------------------------------------------------------------------------------------------

    @rule(symbol=symbols, move=steps, spread=st.sampled_from([10, 0, 35]))
    def tick(self, symbol: str, move: int, spread: int) -> None:
        self._quote(symbol, move, spread)

    def _quote(self, symbol: str, move: int, spread: int) -> None:
        """One symbol moves, and all are quoted again."""
        tick = _tick(symbol)
        bid = (self.paper.prices[symbol][0] * (10_000 + move) / 10_000).quantize(tick)
        self.same("tick", {**self.paper.prices, symbol: (bid, bid + spread * tick)})

    @precondition(lambda self: bool(_held(self, "positions")))
    @rule(pick=picks, against=gaps)
    def gap(self, pick: int, against: int) -> None:
        """Far in the direction that somebody's position loses by, or gains."""
        who, name = _picked(self, "positions", pick)
        one = self.paper.accounts[who].positions[name]
        self._quote(one.symbol, -against if one.side == "BUY" else against, 10)

    @rule(seconds=st.sampled_from([40, 2 * HOUR, DAY, 6 * DAY]), is_quoted=st.booleans(), is_purged=st.booleans())
    def wait(self, seconds: int, is_quoted: bool, is_purged: bool) -> None:
        """Prices may be there again at once, and answers that are kept no longer may be gone."""
        self.same("wait", seconds)
        if is_purged:
            self.same("purge")
        if is_quoted:
            self.same("tick", dict(self.paper.prices))

    # --- Rewards ------------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.paper.not_accrued)
    @rule(is_paid=st.booleans())
    def accrue(self, is_paid: bool) -> None:
        self.same("accrue")
        if is_paid:
            self.same("pay")

    @precondition(lambda self: self.paper.commissions)
    @rule(pick=picks, is_spent=st.booleans())
    def reverse_commission(self, pick: int, is_spent: bool) -> None:
        """It may be spent by then, to the last cent."""
        nth = _latest(self.paper.commissions, pick)
        one = self.paper.commissions[nth]
        if is_spent:
            self.same("transfer", 2 * one.owner, 2 * one.owner + 1, self._out_of(2 * one.owner, ALL))
        self.same("reverse_commission", nth, really=(one.position, one.nth, one.level))

    @seldom
    @rule(who=clients)
    def claim_bonus(self, who: int) -> None:
        self.same("claim_bonus", who)

    # --- The same again -----------------------------------------------------------------------------------------------

    @precondition(lambda self: self.paper.repeatable)
    @rule(pick=st.integers(0, 30), changed=st.sampled_from([False, False, True]))
    def repeat(self, pick: int, changed: bool) -> None:
        known = self.paper.repeatable
        nth = known[pick % len(known)]
        expected, found = self.paper.repeat(nth, changed=changed), self.desk.repeat(nth, changed=changed)
        self.compare("repeat", expected, found)


def _tick(symbol: str) -> Decimal:
    return Decimal(1).scaleb(-TERMS[symbol].digits)


def _held(machine: WholeDesk, what: str) -> list[tuple[int, int]]:
    """Every client with every position they have open, or order that waits."""
    return [(who, name) for who, wallet in enumerate(machine.paper.accounts) for name in getattr(wallet, what)]


def _picked(machine: WholeDesk, what: str, pick: int) -> tuple[int, int]:
    held = _held(machine, what)
    return held[_latest(held, pick)]


def _latest(made: Sequence[object], pick: int) -> int:
    """The place of what was made last, the one before, and so on round."""
    return len(made) - 1 - pick % len(made)


@pytest.mark.timeout(1_200)  # which only the search for the shortest program that fails can take
@pytest.mark.parametrize("part", range(PARTS))
def test_the_desk_does_what_the_paper_says(committed_db: Clone, monkeypatch: pytest.MonkeyPatch, part: int) -> None:
    stage, tally = Stage.set(monkeypatch), Counter[str]()
    with committed_db.kept() as restore:

        @hypothesis.seed(SEED * PARTS + part)
        class Program(WholeDesk):
            def __init__(self) -> None:
                super().__init__(stage, restore, tally)

        run_state_machine_as_test(
            Program,
            settings=hypothesis.settings(
                max_examples=PROGRAMS // PARTS,
                stateful_step_count=STEPS,
                deadline=None,
                report_multiple_bugs=False,
                suppress_health_check=list(HealthCheck),
                phases=[Phase.generate, Phase.shrink],
                database=None,
            ),
        )
    print(dict(sorted(tally.items())))
    # Programs in which nothing happens would show nothing.
    assert tally["programs"] >= PROGRAMS // PARTS
    assert min(tally[f"{step}: done"] for step in ("open", "close", "tick", "deposit", "wait")) > PROGRAMS // PARTS // 4
    by_themselves = ("nights", "expired", "stopped", "stopped out", "compensated", "triggered, carried")
    assert sum(tally[what] for what in by_themselves) > PROGRAMS // PARTS // 4
    assert len(tally) > 40
