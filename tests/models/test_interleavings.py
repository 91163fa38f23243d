"""Any two operations on one wallet, stopped wherever they can meet: it is as if one had come after the other."""

from __future__ import annotations

import ast
import itertools
import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest

from core import metrics
from tests import ledger_cast, source
from tests.database import Clone
from tests.models import interleaved, operations
from tests.models.desk import Desk, Stage
from tests.models.interleaved import Course, Hand, Outcome, Point
from tests.models.operations import ELSEWHERE, OPERATIONS
from tests.trading import nights
from wallets.models import LedgerTransaction

#: Every pair in both orders at every point; else each pair once, orders and points in turn, but for what locks and
#: reads as others do.
ALL = os.environ.get("MODEL_PAIRS") == "all"
ALIKE = {
    *("reject deposit", "report deposit", "review", "reject", "send", "fail", "transfer in", "reject adjustment"),
    *("withdraw adjustment", "lift", "verify", "rest", "cancel order", "guard"),
}
PARTS = 4  # so that several processes share them
VERIFIED_EVERY = 25

#: What a client is told who is to send the same again.
BUSY = "LOCK_TIMEOUT"

Pair = tuple[str, str]


def pairs() -> list[Pair]:
    """All that can meet at one of Bob's wallets, each with itself too, in one order."""
    names = [name for name in OPERATIONS if ALL or name not in ALIKE]
    return [
        (one, other)
        for one, other in itertools.combinations_with_replacement(names, 2)
        if set(OPERATIONS[one].meets) & set(OPERATIONS[other].meets)
    ]


def cases() -> list[tuple[str, str, Point]]:
    if ALL:
        ordered = {order for one, other in pairs() for order in ((one, other), (other, one))}
        return [(first, second, point) for first, second in sorted(ordered) for point in Point]
    turns = itertools.cycle(itertools.product(Point, (False, True)))
    return [
        (other, one, point) if is_turned else (one, other, point)
        for (one, other), (point, is_turned) in zip(pairs(), turns, strict=False)
    ]


@dataclass
class Theatre:
    """One furnished desk, put back before each performance."""

    furnished: Desk
    restore: Callable[[], None]
    hands: tuple[Hand, Hand]
    known: frozenset[str]
    in_order: dict[Pair, tuple[tuple[Outcome, Outcome], Any]] = field(default_factory=dict)
    seen: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.now = self.furnished.clock.now

    def acts(self, first: str, second: str) -> list[Callable[[], Outcome]]:
        """Both operations, ready to begin: the desk put back, and what each needs is there."""
        self.restore()
        self.furnished.clock.now = self.now
        for name in sorted({first, second}):
            if (prepare := OPERATIONS[name].prepare) is not None:
                prepare(operations.at_hand(self.furnished, f"before {name}"))
        return [
            partial(OPERATIONS[name].act, operations.at_hand(self.furnished, f"{place} to {name}"))
            for place, name in (("the first", first), ("the second", second))
        ]

    def serially(self, first: str, second: str) -> tuple[tuple[Outcome, Outcome], Any]:
        """What comes of one after the other."""
        if (first, second) not in self.in_order:
            one, other = self.acts(first, second)
            outcomes = one(), other()
            self.in_order[first, second] = outcomes, interleaved.left_behind(self.known)
        return self.in_order[first, second]

    def play(self, first: str, second: str, point: Point) -> None:
        one, other = self.acts(first, second)
        course = interleaved.interleave(self.hands, one, other, point)
        outcomes = course.first, course.second
        if course.second == BUSY:  # told to send it again, which they do
            outcomes = course.first, other()
        found = outcomes, interleaved.left_behind(self.known)
        if found not in self.expected(first, second, point, course):
            pytest.fail(self.told(first, second, point, course, found))
        self.seen["played"] += 1
        self.seen["stopped"] += course.was_stopped
        self.seen["waited"] += course.has_waited
        self.seen["refused"] += any(outcomes)
        if self.seen["played"] % VERIFIED_EVERY == 0:
            nights.books_are_clean()

    def expected(self, first: str, second: str, point: Point, course: Course) -> list[Any]:
        """The orders that this course may have come to."""
        if course.has_waited or not course.was_stopped:
            return [self.serially(first, second)]
        # The second was through before the first went on: it had the wallet first, or nothing to do with the other's.
        may_pass = point is Point.BEFORE_LOCK or OPERATIONS[second].yields or OPERATIONS[first].yields
        assert may_pass, f"{second} did not wait for {first}, which was stopped {point}"
        late, early = self.serially(second, first)
        return [(late[::-1], early), self.serially(first, second)]

    def told(self, first: str, second: str, point: Point, course: Course, found: Any) -> str:
        lines = [f"{first}, stopped {point}; {second} {'waited' if course.has_waited else 'went through'}: {found[0]}"]
        for name, (outcomes, state) in {
            f"{first}, {second}": self.serially(first, second),
            f"{second}, {first}": self.serially(second, first),
        }.items():
            differs = {part: sorted(set(found[1][part]) ^ set(rows)) for part, rows in state.items()}
            differs = {part: rows for part, rows in differs.items() if rows}
            lines.append(f"is not {name}: {outcomes}, {differs}")
        return "\n".join(lines)


@pytest.fixture
def theatre(committed_db: Clone, monkeypatch: pytest.MonkeyPatch) -> Iterator[Theatre]:
    furnished = operations.furnish(Stage.set(monkeypatch))
    with committed_db.kept() as restore, interleaved.two_hands(monkeypatch) as hands:
        yield Theatre(furnished, restore, hands, interleaved.ids())


@pytest.mark.timeout(1_800)  # for all of them, on a busy machine
@pytest.mark.parametrize("part", range(PARTS))
def test_two_at_once_are_as_one_after_the_other(theatre: Theatre, part: int) -> None:
    deadlocks, retries = ledger_cast.deadlocks(), _retries()
    mine = cases()[part::PARTS]
    for case in mine:
        theatre.play(*case)
    seen = theatre.seen
    print(dict(seen))
    assert seen["played"] == len(mine)
    assert seen["waited"] > len(mine) / 3
    assert seen["stopped"] > len(mine) * 0.9
    assert (ledger_cast.deadlocks(), _retries()) == (deadlocks, retries)


def _retries() -> float:
    return sum(
        sample.value
        for metric in metrics.RETRIES.collect()
        for sample in metric.samples
        if sample.name.endswith("_total")
    )


# --- Nothing is left out ----------------------------------------------------------------------------------------------


def test_every_service_that_locks_a_wallet_is_interleaved() -> None:
    entered = {f"{one.service.__module__}.{one.service.__name__}" for one in OPERATIONS.values()}
    assert entered | ELSEWHERE.keys() == lockers()
    assert not entered & ELSEWHERE.keys()


def lockers() -> set[str]:
    """Every service of every room from which calls lead to the ledger's lock, by the names that the source calls."""
    calls: dict[str, set[str]] = {}
    for module in source.modules():
        own = {node.name for node in module.tree.body if isinstance(node, ast.FunctionDef)}
        for node in module.functions():
            calls.setdefault(_name(module, node.name), set()).update(_called(module, node, own))
    reached = {"ledger.lock_wallets", "ledger.lock_wallets_by_id", "ledger.lock_wallet_with"}
    while more := {name for name, called in calls.items() if called & reached} - reached:
        reached |= more
    services = [module for module in source.modules() if "services" in module.path.parts]
    return {
        module.name.removesuffix(".py").replace("/", ".") + f".{node.name}"
        for module in services
        for node in module.tree.body
        if isinstance(node, ast.FunctionDef) and node.decorator_list and _name(module, node.name) in reached
    }


def _name(module: source.Module, function: str) -> str:
    return f"{module.path.stem}.{function}"


def _called(module: source.Module, function: ast.AST, own: set[str]) -> Iterator[str]:
    for node in ast.walk(function):
        if isinstance(node, ast.Name) and node.id in own:
            yield _name(module, node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield f"{node.value.id}.{node.attr}"


def test_every_kind_of_posting_is_interleaved(theatre: Theatre) -> None:
    """But for the one that opens an account, whose wallets nobody else can see."""
    made: set[str] = set()
    for name in OPERATIONS:
        (act, _) = theatre.acts(name, name)
        before = set(LedgerTransaction.objects.values_list("pk", flat=True))
        act()
        made |= set(LedgerTransaction.objects.exclude(pk__in=before).values_list("type", flat=True))
    assert made == set(LedgerTransaction.Type) - {"SIGN_UP"}
