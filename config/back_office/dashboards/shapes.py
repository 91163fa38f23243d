"""Figures in the shapes that pages show: tables, tiles and the data of a chart."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

from core.money import show

#: Told apart by those who see no red or green, and against both backgrounds.
BLUE, ORANGE, TEAL, PURPLE, GREY = "#3b82c4", "#d97706", "#0d9488", "#8b5cf6", "#94a3b8"


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell that leads somewhere, or stands out: `mark` is a class of the style sheet."""

    text: str
    href: str = ""
    mark: str = ""


Row = Sequence[str | Cell]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows for `back_office/table.html`; from the column `numbers_from` on they are numbers, to be compared by eye."""

    headers: Sequence[str]
    rows: Sequence[Row]
    numbers_from: int = 1
    empty: str = "Nothing yet."


@dataclass(frozen=True, slots=True)
class Tile:
    """One figure to see at a glance."""

    title: str
    text: str
    below: str = ""
    href: str = ""
    is_bad: bool = False


@dataclass(frozen=True, slots=True)
class Series:
    """One figure over the days or the groups of a chart, in the order of its labels."""

    title: str
    values: Sequence[Decimal]
    color: str = BLUE


@dataclass(frozen=True, slots=True)
class Chart:
    """What unfold's chart components draw; the legend is ours, since theirs is off."""

    title: str
    labels: Sequence[str]
    series: Sequence[Series]
    unit: str = ""
    kind: str = "bar"
    rows: Table | None = field(default=None)

    @property
    def data(self) -> str:
        """As Chart.js takes it; numbers as text, exact until they are drawn."""
        return json.dumps({"labels": list(self.labels), "datasets": [self._dataset(one) for one in self.series]})

    def _dataset(self, series: Series) -> dict[str, Any]:
        look: dict[str, Any] = {"displayYAxis": True, "maxTicksXLimit": 10, "suffixYAxis": self.unit}
        if self.kind == "bar":
            look |= {"grouped": True, "maxBarThickness": 14, "barPercentage": 0.9, "borderRadius": 2}
        return {
            "label": series.title,
            "data": [format(value.normalize(), "f") for value in series.values],
            "backgroundColor": series.color,
            "borderColor": series.color,
            **look,
        }

    @property
    def is_empty(self) -> bool:
        return not any(value for one in self.series for value in one.values)


def days_as_labels(days: Sequence[date]) -> list[str]:
    return [f"{day:%d %b}" for day in days]


def money(amount: Decimal, currency: str) -> str:
    """With thousands apart, and the currency's own decimals."""
    text = show(amount, currency)
    whole, point, decimals = text.removeprefix("-").partition(".")
    sign = "−" if text.startswith("-") and Decimal(text) else ""
    return f"{sign}{int(whole):,}{point}{decimals}"


def number(value: Decimal) -> str:
    """A count or a volume, with thousands apart and no zeros behind the last digit that says something."""
    text = f"{value.normalize():,f}"
    return text.replace("-", "−")


def duration(seconds: Decimal | int) -> str:
    """An age in its two largest units."""
    left = int(seconds)
    parts: list[str] = []
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count or (unit == "s" and not parts):
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])


def latency(seconds: Decimal) -> str:
    """How long a request took at most, in milliseconds below a second."""
    return f"{number(seconds * 1000)} ms" if seconds < 1 else f"{number(seconds)} s"
