"""What a run came to: rates, percentiles, and what was not answered as it should have been."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.load.generator import BROKEN, TIMED_OUT, Shots

#: A saturated desk says so at once; it is counted apart from what failed.
SHED = 503
PERCENTILES = ((50, "p50_ms"), (99, "p99_ms"), (99.9, "p999_ms"))


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was promised, and what came of it."""

    name: str
    promised: str
    measured: Any
    is_kept: bool


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The smallest value that so many per cent do not exceed (nearest rank); of nothing it is 0."""
    if not ordered:
        return 0.0
    return ordered[max(0, min(len(ordered) - 1, -int(-len(ordered) * percent // 100) - 1))]


def summary(shots: Shots, seconds: float, *, after: float = 0.0) -> dict[str, Any]:
    """
    Figures of the requests due after `after` seconds, until then the system may warm up.

    Latencies are of the requests that were carried out; those shed have their own, and errors have none.
    """
    chosen = [index for index, due in enumerate(shots.due) if due >= after]
    done = sorted(shots.took[i] for i in chosen if 200 <= shots.statuses[i] < 300)
    shed = sorted(shots.took[i] for i in chosen if shots.statuses[i] == SHED)
    errors = Counter(_name(shots.statuses[i]) for i in chosen if not _is_expected(shots.statuses[i]))
    span = seconds - after
    return {
        "requests": len(chosen),
        "done": len(done),
        "per_second": round(len(done) / span, 1),
        **{name: round(1000 * percentile(done, percent), 1) for percent, name in PERCENTILES},
        "shed": len(shed),
        "shed_p99_ms": round(1000 * percentile(shed, 99), 1),
        "errors": dict(errors),
        "unanswered": shots.unanswered,
        "generator_cpu_ms": round(1000 * shots.processor_seconds / max(1, len(shots.due)), 3),
    }


def by_second(shots: Shots) -> list[dict[str, float]]:
    """Per second of due time: how many were due, done, shed, and the slowest hundredth of those done."""
    seconds: dict[int, list[int]] = {}
    for index, due in enumerate(shots.due):
        seconds.setdefault(int(due), []).append(index)
    line = []
    for second in sorted(seconds):
        at = seconds[second]
        done = sorted(shots.took[i] for i in at if 200 <= shots.statuses[i] < 300)
        shed = sum(shots.statuses[i] == SHED for i in at)
        p99 = round(1000 * percentile(done, 99), 1)
        line.append({"second": second, "due": len(at), "done": len(done), "shed": shed, "p99_ms": p99})
    return line


def _is_expected(status: int) -> bool:
    return 200 <= status < 300 or status == SHED


def _name(status: int) -> str:
    return {BROKEN: "broken", TIMED_OUT: "timed out"}.get(status, str(status))
