"""Two operations at once, each in a thread with a connection of its own, the first of them stopped at a named point."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from threading import Event
from typing import Any

import pytest
from django.db import DEFAULT_DB_ALIAS, connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from tests.models.desk import read

SECONDS_MAX = 20

#: How the ledger locks clients' wallets, in whatever operation.
WALLET_LOCK = "FOR NO KEY UPDATE OF w"

Outcome = str | None


class Point(StrEnum):
    """Where the first operation is stopped: with what it read before, under its lock, or with everything written."""

    BEFORE_LOCK = "before it locks"
    AFTER_LOCK = "under its lock"
    BEFORE_COMMIT = "before its COMMIT"


@dataclass(slots=True)
class Halt:
    """Stops whoever it watches once, at its point, until it may go on."""

    point: Point
    reached: Event = field(default_factory=Event)
    go: Event = field(default_factory=Event)
    has_locked: bool = False

    def __call__(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        is_lock = WALLET_LOCK in sql
        if is_lock:
            self._at(Point.BEFORE_LOCK)
        found = execute(sql, params, many, context)
        if is_lock:
            self.has_locked = True
            self._at(Point.AFTER_LOCK)
        return found

    def before_commit(self) -> None:
        if self.has_locked:
            self._at(Point.BEFORE_COMMIT)

    def _at(self, point: Point) -> None:
        if point is self.point and not self.reached.is_set():
            self.reached.set()
            assert self.go.wait(SECONDS_MAX), "nobody lets it go on"


class Hand:
    """A thread with a connection of its own, kept for one operation after another."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1)
        self._pool.submit(connection.ensure_connection).result()

    def begin(self, act: Callable[[], Outcome], halt: Halt | None = None) -> Future[Outcome]:
        return self._pool.submit(self._run, act, halt)

    def _run(self, act: Callable[[], Outcome], halt: Halt | None) -> Outcome:
        if halt is None:
            return act()
        watched: Any = connections[DEFAULT_DB_ALIAS]
        with watched.execute_wrapper(halt):
            watched.halt = halt
            try:
                return act()
            finally:
                watched.halt = None

    def close(self) -> None:
        self._pool.submit(connections.close_all).result()
        self._pool.shutdown()


@dataclass(frozen=True, slots=True)
class Course:
    """How two operations went: what each came to, and whether the second one had to wait for the first."""

    first: Outcome
    second: Outcome
    was_stopped: bool
    has_waited: bool


@contextmanager
def two_hands(patch: pytest.MonkeyPatch) -> Iterator[tuple[Hand, Hand]]:
    """Two threads whose COMMIT can be stopped."""
    real = BaseDatabaseWrapper._commit  # type: ignore[attr-defined]  # the stubs leave it out

    def commit(self: Any) -> None:
        halt = getattr(self, "halt", None)
        if halt is not None:
            halt.before_commit()
        real(self)

    hands = Hand(), Hand()
    with patch.context() as context:
        context.setattr(BaseDatabaseWrapper, "_commit", commit)
        try:
            yield hands
        finally:
            for hand in hands:
                hand.close()


def interleave(
    hands: tuple[Hand, Hand], first: Callable[[], Outcome], second: Callable[[], Outcome], point: Point
) -> Course:
    """Begin `first` and stop it at the point; let `second` end, or wait for it; then let `first` go on."""
    halt = Halt(point)
    one = hands[0].begin(first, halt)
    try:
        _until(lambda: halt.reached.is_set() or one.done())
        other = hands[1].begin(second)
        _until(lambda: other.done() or _somebody_waits())
        has_waited = not other.done()
    finally:
        halt.go.set()
    return Course(one.result(SECONDS_MAX), other.result(SECONDS_MAX), halt.reached.is_set(), has_waited)


def _until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS_MAX
    while not is_so():
        assert time.monotonic() < end, "neither ends nor waits for the other"
        time.sleep(0.0005)


def _somebody_waits() -> bool:
    """The second for the first: there is nobody else."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT FROM pg_stat_activity WHERE datname = current_database() AND cardinality(pg_blocking_pids(pid)) > 0"
        )
        return bool(cursor.rowcount)


# --- What they leave behind -----------------------------------------------------------------------------------------

_ID = re.compile(r"^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$")


def ids() -> frozenset[str]:
    """Every id that is there now, to tell what is new from it."""
    return frozenset(value for rows in read().values() for row in rows for value in row if _is_id(value))


def left_behind(known: frozenset[str]) -> dict[str, list[str]]:
    """Everything the desk knows of money, the same however often it is done: what is new has no name."""
    return {
        name: sorted(
            json.dumps(["new" if _is_id(value) and value not in known else value for value in row]) for row in rows
        )
        for name, rows in read().items()
    }


def _is_id(value: Any) -> bool:
    return isinstance(value, str) and _ID.match(value) is not None
