"""What the rounds say together: medians, ratios of systems in the same round, and what was promised of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

Rounds = Mapping[str, Sequence[Mapping[str, Any]]]

#: Beside what is measured, a round says what was wrong with it: then its figures count for nothing.
BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Ratio:
    """How one system's rate stands to another's."""

    name: str
    of: str
    to: str
    wanted: float | None = None


RATIOS = (
    Ratio("ratio_to_reference_stack", "desk", "reference", wanted=2.5),
    Ratio("ratio_to_pgbench_floor", "desk", "floor", wanted=0.25),
    Ratio("ratio_to_pgbench_pipeline", "desk", "pipeline"),
    Ratio("ratio_of_orders_to_reference_transfers", "orders", "reference", wanted=2.0),
)


def medians(rounds: Rounds) -> dict[str, dict[str, float]]:
    """Each system's median of each figure that is a number."""
    found: dict[str, dict[str, float]] = {}
    for name, figures in rounds.items():
        whole = [one for one in figures if BROKEN not in one]
        names = [key for key, value in whole[0].items() if isinstance(value, int | float)] if whole else []
        found[name] = {key: round(median(one[key] for one in whole), 3) for key in names}
    return found


def ratios(rounds: Rounds) -> dict[str, float]:
    """
    The median over rounds of the ratio within a round.

    What ran in one round ran within minutes of each other: a machine that is slow for a while is slow for both.
    """
    found: dict[str, float] = {}
    for ratio in RATIOS:
        pairs = zip(rounds.get(ratio.of, ()), rounds.get(ratio.to, ()), strict=False)
        each = [
            one["per_second"] / other["per_second"]
            for one, other in pairs
            if BROKEN not in one and BROKEN not in other and other["per_second"]
        ]
        if each:
            found[ratio.name] = round(median(each), 3)
    return found


def flaws(rounds: Rounds) -> list[str]:
    """Every round in which something failed, or was not right afterwards."""
    found = []
    for name, figures in rounds.items():
        for place, one in enumerate(figures, start=1):
            if BROKEN in one:
                found.append(f"{name}, round {place}: {one[BROKEN]}")
                continue
            wrong = {**one["errors"], "shed": one["shed"], "unanswered": one["unanswered"]}
            wrong["nothing done"] = int(not one["done"])
            found += [f"{name}, round {place}: {what} {times} times" for what, times in wrong.items() if times]
    return found


def missed(found: Mapping[str, float]) -> list[str]:
    """The promises that this run does not keep, of those that it put to the test."""
    return [
        f"{ratio.name} is {found[ratio.name]:.2f}, and should be {ratio.wanted:.2f} or more"
        for ratio in RATIOS
        if ratio.wanted is not None and ratio.name in found and found[ratio.name] < ratio.wanted
    ]
