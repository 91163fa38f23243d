"""Whoever delivers prices, a file or a request, is a feed, and all feeds are recorded the same way."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from trading import replay
from trading.market import NewQuote
from trading.models import Instrument


class Feed(Protocol):
    """
    Where prices come from: `quotes.record_quotes(quotes=batch, source=feed.source, rewinds=feed.rewinds, …)`.

    A feed delivers and nobody trusts it: what cannot be true, or is hard to believe, is the recording's business.
    """

    @property
    def source(self) -> str:
        """What its prices are marked with, in at most 16 characters."""
        ...

    @property
    def rewinds(self) -> bool:
        """Whether it keeps a time of its own, which is not now and may go back."""
        ...

    def batches(self) -> Iterator[list[NewQuote]]:
        """Its prices, those that belong together at a time; an empty batch means that time passes without news."""
        ...


@dataclass(frozen=True, slots=True)
class PushedFeed:
    """What one request delivered: a single batch."""

    quotes: list[NewQuote]
    source: str = "push"
    rewinds: bool = False

    @classmethod
    def of(cls, rows: Iterable[Mapping[str, Any]], *, now: datetime) -> PushedFeed:
        """The quotes of a body as `QuotesTerms` has read it; one without a time is from now."""
        return cls([NewQuote(row["symbol"], row["bid"], row["ask"], row.get("time", now)) for row in rows])

    def batches(self) -> Iterator[list[NewQuote]]:
        yield self.quotes


#: Of a hundred days of a symbol, how many have a gap when gaps are asked for.
GAP_DAYS_PERCENT = 30
#: The longest gap in steps, out of `replay.STEPS_PER_BAR` a day.
GAP_STEPS_MAX = 6
#: By how much the spread is widened when prices come back, at most; it narrows by half with every step.
GAP_SPREAD_FACTOR_MAX = 16


@dataclass(frozen=True, slots=True)
class Gap:
    """Steps of a day without a price, from `start` to before `end`; the market comes back with a wider spread."""

    start: int
    end: int
    factor: int

    @classmethod
    def of(cls, seed: int, symbol: str, day: datetime) -> Gap | None:
        """
        The same gap for the same seed, symbol and day, or none: however the replay is cut, resumed or filtered.

        A gap never holds the day's first step, nor its last.
        """
        chance = random.Random(f"{seed} {symbol} {day:%Y-%m-%d}")  # noqa: S311 - a simulation, no secret
        if chance.randrange(100) >= GAP_DAYS_PERCENT:
            return None
        length = chance.randint(1, GAP_STEPS_MAX)
        start = chance.randint(1, replay.STEPS_PER_BAR - 1 - length)
        return cls(start, start + length, chance.randint(2, GAP_SPREAD_FACTOR_MAX))

    def widening_at(self, step: int) -> int | None:
        """What the spread is multiplied by at a step, or None where there is no price."""
        if step < self.start:
            return 1
        return None if step < self.end else max(1, self.factor >> (step - self.end))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayFeed:
    """
    Real bars as quotes, with the instrument's spread around them.

    `after` is the moment of market time the last replay reached. Only market time from `start` to before `end` is
    played; with `loop` over and over. `gaps` seeds a simulation of gaps, without it there is none.
    """

    instruments: Mapping[str, Instrument]
    after: datetime | None = None
    start: datetime | None = None
    end: datetime | None = None
    loop: bool = True
    gaps: int | None = None
    source: str = "replay"
    rewinds: bool = True

    def batches(self) -> Iterator[list[NewQuote]]:
        bars = {
            day: known
            for day, by_symbol in replay.load_bars().items()
            if (known := {symbol: bar for symbol, bar in by_symbol.items() if symbol in self.instruments})
        }
        resumed = self.after
        if resumed is not None and not self._is_played(resumed):
            resumed = None
        while True:
            is_empty = True
            for points in replay.ticks(bars, after=resumed):
                if self._is_played(points[0].moment):
                    is_empty = False
                    yield [quote for point in points if (quote := self._quote(point)) is not None]
            if not self.loop or (is_empty and resumed is None):
                return
            resumed = None

    def _is_played(self, moment: datetime) -> bool:
        return (self.start is None or moment >= self.start) and (self.end is None or moment < self.end)

    def _quote(self, point: replay.Point) -> NewQuote | None:
        instrument, widening = self.instruments[point.symbol], self._widening(point)
        if widening is None:
            return None
        bid, ask = replay.spread_around(
            point.mid, points=instrument.replay_spread_points * widening, digits=instrument.digits
        )
        return NewQuote(point.symbol, bid, ask, point.moment)

    def _widening(self, point: replay.Point) -> int | None:
        if self.gaps is None:
            return 1
        day = point.moment.replace(hour=0, minute=0, second=0, microsecond=0)
        gap = Gap.of(self.gaps, point.symbol, day)
        step = (point.moment - day) // replay.STEP
        return 1 if gap is None else gap.widening_at(step)
