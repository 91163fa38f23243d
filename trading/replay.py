"""Real bars, walked again tick by tick: the prices are history, only the path inside a day is ours."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path

DATA = Path(__file__).parent / "data"

#: Steps from one corner of a bar to the next: open, the two extremes, close.
STEPS_PER_LEG = 8
LEGS = 3
STEPS_PER_BAR = STEPS_PER_LEG * LEGS
STEP = timedelta(days=1) / STEPS_PER_BAR


@dataclass(frozen=True, slots=True)
class Bar:
    """One day of one symbol."""

    day: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal

    def path(self) -> tuple[Decimal, Decimal, Decimal, Decimal]:
        """The corners in the order they are walked: against the day's direction first, so that it ends at the close."""
        if self.close >= self.open:
            return self.open, self.low, self.high, self.close
        return self.open, self.high, self.low, self.close


@dataclass(frozen=True, slots=True)
class Point:
    """A replayed mid price of one symbol at one moment of market time."""

    symbol: str
    moment: datetime
    mid: Decimal


def load_bars(path: Path = DATA / "daily_bars.csv") -> dict[datetime, dict[str, Bar]]:
    """All bars by day and symbol, in day order."""
    days: dict[datetime, dict[str, Bar]] = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            day = datetime.fromisoformat(row["time"]).astimezone(UTC)
            bar = Bar(day, *(Decimal(row[name]) for name in ("open", "high", "low", "close")))
            days.setdefault(day, {})[row["symbol"]] = bar
    return dict(sorted(days.items()))


def ticks(bars: dict[datetime, dict[str, Bar]], *, after: datetime | None = None) -> Iterator[list[Point]]:
    """
    The replay as batches, one per step: every symbol that trades that day, at the same moment of market time.

    `after` continues behind a moment already replayed; without it, or behind the last bar, the walk starts over.
    """
    for day, by_symbol in bars.items():
        if after is not None and day + timedelta(days=1) <= after:
            continue
        for step in range(STEPS_PER_BAR):
            moment = day + STEP * step
            if after is not None and moment <= after:
                continue
            yield [Point(symbol, moment, mid_at(bar, step)) for symbol, bar in sorted(by_symbol.items())]


def mid_at(bar: Bar, step: int) -> Decimal:
    """The price at a step of the bar: on a straight line between the corners before and behind it."""
    leg, along = divmod(step, STEPS_PER_LEG)
    corners = bar.path()
    start, end = corners[leg], corners[leg + 1]
    return start + (end - start) * along / (STEPS_PER_LEG - (1 if leg == LEGS - 1 else 0))


def spread_around(mid: Decimal, *, points: int, digits: int) -> tuple[Decimal, Decimal]:
    """Bid and ask `points` apart around a mid price, on the instrument's digits."""
    point = Decimal(1).scaleb(-digits)
    bid = (mid - point * points / 2).quantize(point, rounding=ROUND_HALF_EVEN)
    return bid, bid + point * points
