"""
What the dashboards show is read by a command, from readers that each part of the back office adds beside its tables.

A sub-app's `figures.py` is discovered by itself, as its `pages.py` is:

    @now("alerts")
    def alerts(_start: datetime, end: datetime) -> Iterator[Reading]:
        yield from waiting("Alerts", Alert.objects.filter(status="OPEN"), since="raised_at", at=end)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Any

from django.db.models import Count, Min, QuerySet


@dataclass(frozen=True, slots=True)
class Reading:
    """
    One number, what it is of and what it is in; `moment` is when what it tells of happened, if that was one moment.

    Of one reader, no two have the same name, environment, currency and label.
    """

    name: str
    value: Decimal | int
    unit: str
    environment: str = ""
    currency: str = ""
    label: str = ""
    moment: datetime | None = None


class NothingToRead(Exception):
    """There is no source for these figures here; the message says what an operator does about it."""


class Tells(Enum):
    """What a reader's figures are of."""

    DAY = "day"  # what happened in a day: the same whenever it is asked, once the day is over
    NOW = "now"  # what is so at one moment: a day keeps the last


#: Reads from the start of the day up to, but not including, an end; what tells of now looks at that end.
Read = Callable[[datetime, datetime], Iterable[Reading]]


@dataclass(frozen=True, slots=True)
class Reader:
    """A source of figures. It is called inside a read-only transaction of one moment, with the usual limits."""

    source: str
    tells: Tells
    read: Read


#: Every reader by the name of its source.
READERS: dict[str, Reader] = {}


def day(source: str) -> Callable[[Read], Read]:
    """Register a reader of what happens in a day."""
    return _register(source, Tells.DAY)


def now(source: str) -> Callable[[Read], Read]:
    """Register a reader of what is so now."""
    return _register(source, Tells.NOW)


def _register(source: str, tells: Tells) -> Callable[[Read], Read]:
    def register(read: Read) -> Read:
        assert source not in READERS, f"there are two sources called {source}"
        READERS[source] = Reader(source, tells, read)
        return read

    return register


def waiting(queue: str, rows: QuerySet[Any], *, since: str, at: datetime) -> Iterator[Reading]:
    """How many rows wait in a queue for somebody, and for how long the oldest has; `since` is the column that says."""
    found = rows.aggregate(count=Count("pk"), oldest=Min(since))
    yield Reading("queue.waiting", found["count"], "items", label=queue)
    if found["oldest"] is not None:
        seconds = max(0, int((at - found["oldest"]).total_seconds()))
        yield Reading("queue.oldest", seconds, "seconds", label=queue, moment=found["oldest"])
