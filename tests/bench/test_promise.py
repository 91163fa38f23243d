"""A promise that is missed is said to be missed, each by its name."""

from __future__ import annotations

import copy
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from bench import charts_by_second
from bench.load import figures
from bench.load.generator import BROKEN, Shots
from bench.promise import Overload, gathered, judge

KEPT: dict[str, Any] = {
    "members": {"requests": 600, "due": 600, "done": 600, "p99_ms": 149.9, "errors": {}, "shed": 0, "unanswered": 0},
    "database_connections_max": 50,
    "overload": {"goodput_of_capacity": 0.9, "shed": 9, "shed_p99_ms": 49.9, "errors": {}, "unanswered": 0},
    "recovery": {"p99_ms": 149.9, "done": 100, "shed": 0},
    "ledger": "yes",
}


def missed(part: str, name: str, value: Any) -> list[str]:
    found = copy.deepcopy(KEPT)
    if name:
        found[part][name] = value
    else:
        found[part] = value
    return [check.name for check in judge(found) if not check.is_kept]


def test_what_is_kept_to_the_last_digit_is_kept() -> None:
    assert [check.name for check in judge(KEPT) if not check.is_kept] == []


@pytest.mark.parametrize(
    "part,name,value,expected",
    [
        ("members", "requests", 599, "requests sent"),
        ("members", "errors", {"500": 1}, "errors"),
        ("members", "shed", 1, "errors"),  # below its capacity a desk turns nobody away
        ("members", "unanswered", 1, "errors"),
        ("members", "p99_ms", 150.0, "p99, ms"),
        ("members", "done", 0, "p99, ms"),
        ("database_connections_max", "", 51, "database connections"),
        ("overload", "goodput_of_capacity", 0.89, "overload: goodput of capacity"),
        ("overload", "shed_p99_ms", 50.0, "overload: p99 of what is shed, ms"),
        ("overload", "shed", 0, "overload: p99 of what is shed, ms"),  # then it was no overload
        ("overload", "errors", {"502": 1}, "overload: errors"),
        ("recovery", "p99_ms", 150.0, "p99 from 10 s after it, ms"),
        ("recovery", "shed", 1, "p99 from 10 s after it, ms"),
        ("recovery", "done", 0, "p99 from 10 s after it, ms"),
        ("ledger", "", "a break", "ledger verified"),
    ],
)
def test_each_miss_is_named(part: str, name: str, value: Any, expected: str) -> None:
    assert missed(part, name, value) == [expected]


def test_goodput_is_what_ended_while_it_lasted() -> None:
    members, strangers = Shots(), Shots()
    for second in range(40):
        members.add(0, float(second), 0.010, 201)
        members.add(0, float(second), 0.001, 503 if 10 <= second < 20 else 201)
    for tenth in range(100):
        strangers.add(0, tenth / 10, 0.020, 201 if tenth % 2 else 503)
    strangers.add(0, 9.9, 5.0, 201)  # it ended after the overload
    strangers.add(0, 5.0, 1.0, BROKEN)
    found = Overload(members, strangers, 10.0, 20.0).figures(capacity=6.0)
    assert found["goodput_per_second"] == 6.0  # ten of the members and fifty of the strangers in ten seconds
    assert found["goodput_of_capacity"] == 1.0
    assert found["shed"] == 60
    assert found["shed_p99_ms"] == 20.0
    assert found["errors"] == {str(BROKEN): 1}


def test_of_all_rounds_the_medians_count_and_every_error() -> None:
    def found(share: float, **other: Any) -> dict[str, Any]:
        overload = {**KEPT["overload"], "goodput_of_capacity": share} | other.get("overload", {})
        return {"overload": overload, "recovery": {**KEPT["recovery"], "seconds": 0} | other.get("recovery", {})}

    rounds = [
        found(0.99, overload={"shed": 3, "shed_p99_ms": 60.0}, recovery={"shed": 7}),
        found(0.5, overload={"errors": {"500": 1}, "unanswered": 2, "shed_p99_ms": 55.0}),
        found(0.92, overload={"shed_p99_ms": 51.0}, recovery={"p99_ms": 200.0, "seconds": 4}),
        found(0.91, overload={"errors": {"500": 2, "broken": 1}}, recovery={"done": 1, "seconds": 3, "shed": 2}),
        found(0.89, recovery={"p99_ms": 10.0, "seconds": 2, "shed": 3}),
    ]
    told = gathered(rounds)
    assert told["overload"] == {
        "goodput_of_capacity": 0.91,
        "shed": 3,  # fewest: each round was to be an overload
        "shed_p99_ms": 51.0,
        "errors": {"500": 3, "broken": 1},
        "unanswered": 2,
    }
    assert told["recovery"] == {"seconds": 2, "p99_ms": 149.9, "done": 100, "shed": 2}


def test_recovery_is_over_with_the_last_bad_second() -> None:
    members = Shots()
    for tenth in range(400):
        slow = tenth < 230
        members.add(0, tenth / 10, 0.5 if slow else 0.01, 201)
    found = Overload(members, Shots(), 10.0, 20.0).recovery()
    assert found["seconds"] == 3.0
    assert (found["p99_ms"], found["shed"]) == (10.0, 0)


def test_a_chart_is_well_formed_whatever_happened() -> None:
    shots = Shots()
    for second in range(5):
        shots.add(0, float(second), 0.2, 201)
    for line in (figures.by_second(shots), []):
        drawn = charts_by_second.svg("a < b & c", line, limit_ms=150.0, marks=[(2.0, "now")])
        root = ET.fromstring(drawn)
        assert root.tag.endswith("svg")
        assert "a < b & c" in "".join(root.itertext())
