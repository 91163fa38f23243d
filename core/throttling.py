"""Attempts are counted in one place for all processes, and counting one costs one statement."""

from __future__ import annotations

import functools
import math
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from core import db
from core.errors import DomainError
from core.ids import frame, framed

_PERIODS = {"s": timedelta(seconds=1), "m": timedelta(minutes=1), "h": timedelta(hours=1)}


class RateLimited(DomainError):
    code = "RATE_LIMITED"
    message = "Too many attempts; try again in {retry_after} seconds."
    status = 429

    def __init__(self, *, retry_after: int) -> None:
        super().__init__(retry_after=retry_after)
        self.retry_after_seconds = retry_after


class Attempt(NamedTuple):
    """One that was counted: whether it is let through, and where its bucket stands."""

    let_through: bool = False
    tokens_at: datetime | None = None


# The generic cell rate algorithm. A bucket is one timestamp: when the attempts so far would have been spread evenly.
# An attempt moves it by one interval and is refused when it would stand more than a period ahead of now. Refused
# attempts write nothing, so hammering neither costs a row version nor lengthens the wait.
TAKEN_SQL = """
taken AS (
    INSERT INTO core_throttlewindow AS bucket (key, tokens_at)
    SELECT attempt.key, %(now)s::timestamptz + %(interval)s::interval FROM attempt
    ON CONFLICT (key) DO UPDATE
       SET tokens_at = greatest(bucket.tokens_at, %(now)s::timestamptz) + %(interval)s::interval
     WHERE greatest(bucket.tokens_at, %(now)s::timestamptz) + %(interval)s::interval
           <= %(now)s::timestamptz + %(period)s::interval
    RETURNING tokens_at
)
"""
_TAKE_SQL = f"""
WITH attempt AS (SELECT %(key)s::bytea AS key), {TAKEN_SQL}
SELECT true, tokens_at FROM taken
UNION ALL
SELECT false, tokens_at FROM core_throttlewindow
 WHERE key = %(key)s::bytea AND NOT EXISTS (SELECT FROM taken)
"""  # noqa: S608 - all of it is our own

#: For a look-up that finds out who is asking and counts the attempt in the same breath. It names `attempt` before, with
#: the `key` of `OWNER_KEY_SQL` where somebody counts; `TAKEN_SQL` follows, and `OUTCOME_SQL` selects what became of it.
OWNER_KEY_SQL = "sha256(%(bucket)s::bytea || convert_to({owner}::text, 'UTF8'))"
OUTCOME_SQL = """
EXISTS (SELECT FROM taken),
coalesce((SELECT tokens_at FROM taken),
         (SELECT known.tokens_at FROM core_throttlewindow known JOIN attempt ON attempt.key = known.key))
"""

_PEEK_SQL = "SELECT tokens_at FROM core_throttlewindow WHERE key = %(key)s::bytea"

_REFUND_SQL = """
UPDATE core_throttlewindow SET tokens_at = tokens_at - %(interval)s::interval WHERE key = %(key)s::bytea RETURNING key
"""

_RESET_SQL = "DELETE FROM core_throttlewindow WHERE key = %(key)s::bytea RETURNING key"

# MATERIALIZED, since a LIMIT that the planner may evaluate for each row is no limit.
_PURGE_SQL = """
WITH quiet AS MATERIALIZED (
    SELECT key FROM core_throttlewindow WHERE tokens_at < %(before)s::timestamptz
     LIMIT %(limit)s FOR UPDATE SKIP LOCKED
)
DELETE FROM core_throttlewindow bucket USING quiet WHERE bucket.key = quiet.key RETURNING bucket.key
"""


def throttle(scope: str, *ident: str, now: datetime | None = None) -> None:
    """
    Count one attempt by `ident` in `scope` (a name in `settings.THROTTLES`).

    Where only failures should count, take the attempt first and `refund` it on success: then attempts made at the
    same moment are counted too, which a look before and a count afterwards would miss.

    :raises RateLimited: with the seconds until the next attempt would be let through
    """
    now = now or timezone.now()
    rows = db.fetch_all(_TAKE_SQL, {"key": frame(scope, *ident)} | _spread(scope, now))
    judge(scope, Attempt(*rows[0]) if rows else Attempt(), now=now)


def counting(scope: str, *, now: datetime) -> dict[str, Any]:
    """The parameters of `TAKEN_SQL` and `OWNER_KEY_SQL`, which count for an owner as `throttle(scope, owner)` does."""
    return {"bucket": _owner_prefix(scope)} | _spread(scope, now)


def judge(scope: str, attempt: Attempt, *, now: datetime) -> None:
    """
    Say no to an attempt that was counted at `now` and not let through.

    :raises RateLimited: with the seconds until the next attempt would be let through
    """
    if attempt.let_through:
        return
    period, interval = _rate(scope)
    if attempt.tokens_at is None:  # someone else made the row between our snapshot and our insert, and filled it
        raise RateLimited(retry_after=max(1, math.ceil(interval.total_seconds())))
    _refuse(attempt.tokens_at, period, interval, now)


def _spread(scope: str, now: datetime) -> dict[str, Any]:
    period, interval = _rate(scope)
    return {"now": now, "interval": interval, "period": period}


@functools.cache
def _owner_prefix(scope: str) -> bytes:
    """What `frame(scope, owner)` digests before the owner's 36 characters."""
    owner = str(UUID(int=0))
    return framed(scope, owner)[: -len(owner)]


def peek(scope: str, *ident: str, now: datetime | None = None) -> None:
    """
    Refuse if one more attempt would be refused, without counting one.

    :raises RateLimited: with the seconds until the next attempt would be let through
    """
    now = now or timezone.now()
    period, interval = _rate(scope)
    rows = db.fetch_all(_PEEK_SQL, {"key": frame(scope, *ident)})
    if rows and rows[0][0] + interval > now + period:
        _refuse(rows[0][0], period, interval, now)


def refund(scope: str, *ident: str) -> None:
    """Give one attempt back: it succeeded, and only failures count."""
    _, interval = _rate(scope)
    db.fetch_all(_REFUND_SQL, {"key": frame(scope, *ident), "interval": interval})


def reset(scope: str, *ident: str) -> None:
    """Forget every attempt by `ident`."""
    db.fetch_all(_RESET_SQL, {"key": frame(scope, *ident)})


@db.retry_on_conflict
@transaction.atomic(durable=True)
def purge_windows(*, before: datetime, limit: int) -> int:
    """Delete up to `limit` buckets that have said nothing since `before`, and say how many went."""
    return len(db.fetch_all(_PURGE_SQL, {"before": before, "limit": limit}))


def _rate(scope: str) -> tuple[timedelta, timedelta]:
    return _parse_rate(settings.THROTTLES[scope])


@functools.cache
def _parse_rate(rate: str) -> tuple[timedelta, timedelta]:
    """`20/m` as the period and the interval between two attempts spread evenly over it."""
    count, _, unit = rate.partition("/")
    period = _PERIODS[unit]
    return period, period / int(count)


def _refuse(tokens_at: datetime, period: timedelta, interval: timedelta, now: datetime) -> None:
    wait = tokens_at + interval - period - now
    if wait <= timedelta(0):  # our snapshot is older than the attempt that filled the bucket a moment ago
        wait = interval
    raise RateLimited(retry_after=max(1, math.ceil(wait.total_seconds())))
