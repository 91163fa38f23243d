"""The verdict of a comparison is arithmetic, and is checked on numbers whose outcome is known."""

from __future__ import annotations

import json
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from bench import curve
from bench.compare import charts, verdict
from bench.load.scripts import OpenAndClose, post

SVG = "{http://www.w3.org/2000/svg}"
POSITION = "01890000-0000-7000-8000-000000000000"


def figures(per_second: float, **more: Any) -> dict[str, Any]:
    return {"per_second": per_second, "done": 10, "errors": {}, "shed": 0, "unanswered": 0, **more}


def test_a_median_is_of_the_rounds_that_were_right() -> None:
    rounds = {"desk": [figures(100, p99_ms=5.0), {"broken": "books"}, figures(300, p99_ms=9.0)]}
    assert verdict.medians(rounds)["desk"] | {"done": 0} == {
        "per_second": 200, "p99_ms": 7.0, "done": 0, "shed": 0, "unanswered": 0,
    }  # fmt: skip


def test_a_ratio_is_the_median_of_the_ratios_within_rounds() -> None:
    """Ratios of 4, 2 and 3 have the median 3; the medians' own ratio would be 400 to 100."""
    rounds = {
        "desk": [figures(400), figures(200), figures(900)],
        "reference": [figures(100), figures(100), figures(300)],
        "floor": [figures(1000), figures(1000), figures(1000)],
    }
    assert verdict.ratios(rounds) == {"ratio_to_reference_stack": 3.0, "ratio_to_pgbench_floor": 0.4}


def test_a_broken_round_makes_no_ratio() -> None:
    rounds = {"desk": [figures(500), figures(200)], "reference": [{"broken": "books"}, figures(100)]}
    assert verdict.ratios(rounds) == {"ratio_to_reference_stack": 2.0}


def test_what_was_promised_and_not_kept_is_named() -> None:
    found = {
        "ratio_to_reference_stack": 2.49,
        "ratio_to_pgbench_floor": 0.25,
        "ratio_of_orders_to_reference_transfers": 1.5,
    }
    assert [line.split(" is ")[0] for line in verdict.missed(found)] == [
        "ratio_to_reference_stack",
        "ratio_of_orders_to_reference_transfers",
    ]
    assert verdict.missed({}) == []


@pytest.mark.parametrize(
    "round_,flaw",
    [
        (figures(1, errors={"500": 3}), "desk, round 1: 500 3 times"),
        (figures(1, shed=2), "desk, round 1: shed 2 times"),
        (figures(1, unanswered=1), "desk, round 1: unanswered 1 times"),
        (figures(0, done=0), "desk, round 1: nothing done 1 times"),
        ({"broken": "the books are wrong"}, "desk, round 1: the books are wrong"),
    ],
)
def test_whatever_went_wrong_in_a_round_is_a_flaw(round_: dict[str, Any], flaw: str) -> None:
    assert verdict.flaws({"desk": [round_]}) == [flaw]


def test_a_round_without_failures_has_no_flaw() -> None:
    assert verdict.flaws({"desk": [figures(100)]}) == []


def test_bars_are_as_long_as_their_values_and_whiskers_span_the_rounds() -> None:
    bars = [charts.Bar(100, "own", 80, 120), charts.Bar(50, "other", 50, 50)]
    picture = ET.fromstring(charts.picture("Rates & more", "of a test", [charts.Row("a", bars)]))
    long, short = (bar for bar in picture.iter(f"{SVG}rect") if bar.get("class") in {"own", "other"})
    assert float(long.get("width", 0)) == pytest.approx(2 * float(short.get("width", 0)), abs=0.2)
    (whisker,) = (path for path in picture.iter(f"{SVG}path"))
    left, right = (float(part.split()[0]) for part in whisker.get("d", "").replace("M", "").split("H"))
    assert right - left == pytest.approx(0.4 * float(long.get("width", 0)), abs=0.2)


def test_a_curve_names_what_grows_from_point_to_point() -> None:
    sizes = [(100, 66_000), (1_000, 66_000), (33_000, 66_000), (1_000, 33_000), (1_000, 3_300_000)]
    points = [
        {"connections": one, "wallets": other, "steady": {"p50_ms": 5.0, "p99_ms": 20.0}, "full": figures(500)}
        for one, other in sizes
    ]
    drawn = curve.pictures(points, rate=300)
    assert list(drawn) == ["curve-rate", "curve-latency"]
    for text in drawn.values():
        said = [found.text for found in ET.fromstring(text).iter(f"{SVG}text")]
        grows = ["100 connections", "1,000 connections", "33,000 connections", "33,000 wallets", "3,300,000 wallets"]
        assert [one for one in said if one in grows] == grows


def test_a_position_that_was_closed_is_followed_by_another() -> None:
    script = OpenAndClose(1, 2, "token", post("/api/v1/orders", "token", b"{}"))
    opened = json.dumps({"id": "x", "position": {"id": POSITION, "number": 7}}).encode()
    asked = [script.next(*answer) for answer in ((0, b""), (201, opened), (503, b""), (201, b"{}"), (422, b"{}"))]
    assert [kind for kind, _ in asked] == [1, 2, 2, 1, 1]
    assert f"/positions/{POSITION}/close".encode() in asked[1][1]
