"""A period has its beginning and lacks its end, in UTC, so that months fit together."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from typing import NamedTuple

from core.errors import DomainError


class PeriodRefused(DomainError):
    code = "PERIOD_REFUSED"
    message = "A period ends after it begins."
    status = 400


class Period(NamedTuple):
    """From `start`, included, to `end`, not included."""

    start: datetime
    end: datetime

    @classmethod
    def of_days(cls, first: date, end: date) -> Period:
        """From the beginning of one day to the beginning of another. :raises PeriodRefused: unless it comes later"""
        return cls.between(datetime.combine(first, time(), UTC), datetime.combine(end, time(), UTC))

    @classmethod
    def between(cls, start: datetime, end: datetime) -> Period:
        """:raises PeriodRefused: unless the end comes after the start"""
        if end <= start:
            raise PeriodRefused
        return cls(start, end)


def read_moment(text: str) -> datetime:
    """A day, or a moment with or without an offset; UTC if it has none. :raises ValueError: if it is neither"""
    moment = datetime.fromisoformat(text)
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
