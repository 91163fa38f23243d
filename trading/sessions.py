"""
A market keeps the hours of its own wall clock: when summer time moves that clock, the hours move and no rule changes.

Nothing here knows a database or what time it is now. Hours are told weekly, in the market's time zone; everything that
comes out is a moment in UTC. Every span is half-open: a market that opens at 17:00 is open at 17:00:00 sharp, and one
that closes at 17:00 no longer is, so sessions that touch leave neither a gap nor an overlap.

Twice a year a clock tells some times twice, or not at all. A time told twice means its first; a time that is left out
means the moment that was due, so 02:30 on the night the clock jumps from 02:00 to 03:00 is 03:30.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

WEEKDAYS: Final = ("MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY")
DAY: Final = timedelta(days=1)
MIDNIGHT: Final = time(0)

#: How far ahead the next opening or closing is looked for, in days: rarely more than a week, never more than this.
HORIZONS: Final = (8, 64, 400)

Span = tuple[datetime, datetime]


@dataclass(frozen=True, slots=True)
class Session:
    """Hours that begin every week on `weekday` (Monday is 0); a close at or before the opening is on the next day."""

    weekday: int
    opens: time
    closes: time

    def __post_init__(self) -> None:
        assert 0 <= self.weekday <= 6, "weekdays run from Monday, 0, to Sunday, 6"

    def on(self, day: date, zone: ZoneInfo) -> Span:
        """The session that begins on this day, which is one of its weekdays."""
        closing_day = day if self.closes > self.opens else day + DAY
        return moment_of(day, self.opens, zone), moment_of(closing_day, self.closes, zone)


@dataclass(frozen=True, slots=True)
class Closure:
    """A day with other hours: closed from `closes` (None: from midnight) to `reopens` (None: to the next midnight)."""

    day: date
    closes: time | None = None
    reopens: time | None = None

    def span(self, zone: ZoneInfo) -> Span:
        start = moment_of(self.day, self.closes or MIDNIGHT, zone)
        if self.reopens is None:
            return start, moment_of(self.day + DAY, MIDNIGHT, zone)
        return start, moment_of(self.day, self.reopens, zone)


@dataclass(frozen=True, slots=True)
class Schedule:
    """One market's week and its exceptions. Without sessions it never closes, but for its closures."""

    zone: str
    sessions: tuple[Session, ...] = ()
    closures: tuple[Closure, ...] = ()


def moment_of(day: date, at: time, zone: ZoneInfo) -> datetime:
    """When the wall clock of `zone` says `at` on `day`."""
    return datetime.combine(day, at, tzinfo=zone).astimezone(UTC)


# --- Opening hours --------------------------------------------------------------------------------------------------


def is_open(schedule: Schedule, moment: datetime) -> bool:
    """Whether the market is open at that moment."""
    return any(opens <= moment < closes for opens, closes in _open_spans(schedule, moment, moment))


def next_open(schedule: Schedule, moment: datetime) -> datetime | None:
    """The first moment from `moment` on (itself included) at which the market is open; None if that is never."""
    for days in HORIZONS:
        if spans := sessions_between(schedule, moment, moment + days * DAY):
            return spans[0][0]
    return None


def next_close(schedule: Schedule, moment: datetime) -> datetime | None:
    """When the market that is open at `moment` closes; None if it is closed, or never closes."""
    for days in HORIZONS:
        spans = sessions_between(schedule, moment, moment + days * DAY)
        if not spans or spans[0][0] > moment:
            return None
        if spans[0][1] < moment + days * DAY:
            return spans[0][1]
    return None


def sessions_between(schedule: Schedule, start: datetime, end: datetime) -> list[Span]:
    """When the market is open from `start` to `end`, cut to those: apart from each other, and in order."""
    clipped = ((max(opens, start), min(closes, end)) for opens, closes in _open_spans(schedule, start, end))
    return [(opens.astimezone(UTC), closes.astimezone(UTC)) for opens, closes in clipped if opens < closes]


def _open_spans(schedule: Schedule, start: datetime, end: datetime) -> list[Span]:
    """Every stretch that may touch what lies between two moments, whole sessions joined where they touch."""
    assert start.tzinfo is not None, "a moment has a time zone"
    zone = ZoneInfo(schedule.zone)
    # A session begins at most a day before it ends, and a clock change moves it by less than another.
    first, last = start.astimezone(zone).date() - 2 * DAY, end.astimezone(zone).date() + DAY
    days = [first + number * DAY for number in range((last - first).days + 1)]
    if schedule.sessions:
        hours = _joined(
            session.on(day, zone) for day in days for session in schedule.sessions if session.weekday == day.weekday()
        )
    else:
        hours = [(moment_of(first, MIDNIGHT, zone), moment_of(last + DAY, MIDNIGHT, zone))]
    for closure in schedule.closures:
        if first <= closure.day <= last:
            hours = list(_without(hours, closure.span(zone)))
    return hours


def _joined(spans: Iterable[Span]) -> list[Span]:
    joined: list[Span] = []
    for opens, closes in sorted(spans):
        if opens >= closes:
            continue  # the clock jumped over it
        if joined and opens <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], closes))
        else:
            joined.append((opens, closes))
    return joined


def _without(spans: Iterable[Span], gap: Span) -> Iterator[Span]:
    if gap[0] >= gap[1]:
        yield from spans
        return
    for opens, closes in spans:
        if opens < min(closes, gap[0]):
            yield opens, min(closes, gap[0])
        if max(opens, gap[1]) < closes:
            yield max(opens, gap[1]), closes


# --- Nights ---------------------------------------------------------------------------------------------------------


def rollovers(zone: str, at: time, *, first: date, until: datetime) -> Iterator[tuple[date, datetime]]:
    """Each day from `first` on with the moment its trading day ends, as far as that is no later than `until`."""
    clock = ZoneInfo(zone)
    day, moment = first, _end_of(first, at, clock)
    while moment <= until:
        yield day, moment
        day += DAY
        moment = _end_of(day, at, clock)


def day_ending(zone: str, at: time, *, by: datetime) -> date:
    """The first trading day that may end at `by` or later: where to begin with `rollovers`."""
    day = by.astimezone(ZoneInfo(zone)).date()
    return day - DAY if at == MIDNIGHT else day


def next_rollover(zone: str, at: time, *, after: datetime) -> datetime:
    """The first end of a trading day that is later than `after`."""
    clock = ZoneInfo(zone)
    day = after.astimezone(clock).date()
    while (moment := _end_of(day, at, clock)) <= after:
        day += DAY
    return moment


def _end_of(day: date, at: time, clock: ZoneInfo) -> datetime:
    """A trading day ends on its own date; one that ends at midnight does at the midnight after it."""
    return moment_of(day + DAY if at == MIDNIGHT else day, at, clock)
