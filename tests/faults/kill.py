"""Ends the database session or the worker under a piece of code at a chosen moment, as a crash would."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import psycopg
import pytest
from django.db import OperationalError, connection
from django.db.backends.base.base import BaseDatabaseWrapper

#: Moments that are no statement: COMMIT on its way, and COMMIT carried out with its answer still on the way.
BEFORE_COMMIT = "before COMMIT"
AFTER_COMMIT = "after COMMIT"

KILLED = 137  # what a shell calls a process that was killed
WORKER_SECONDS_MAX = 30


class Fault:
    """Strikes once: right before statement number `at`, or at one of the moments of COMMIT."""

    def __init__(self, at: int | str, strike: Callable[[], None]) -> None:
        self.at = at
        self.statements = 0
        self.commits = 0
        self.struck = False
        self._blow = strike

    def __call__(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        self.statements += 1
        if self.statements == self.at:
            self._strike()
        return execute(sql, params, many, context)

    def commit(self, really: Callable[[], None]) -> None:
        """COMMIT, with the blow before or after it; after it, the driver would say what is raised here."""
        self.commits += 1
        is_due = not self.struck
        if is_due and self.at == BEFORE_COMMIT:
            self._strike()
        really()
        if is_due and self.at == AFTER_COMMIT:
            self._strike()
            raise OperationalError("server closed the connection unexpectedly")

    def _strike(self) -> None:
        self.struck = True
        self._blow()


@contextmanager
def session_dies(url: str, at: int | str, patch: pytest.MonkeyPatch) -> Iterator[Fault]:
    """The server ends our session at that moment within the block; `at=0` is never, and counts."""

    def strike() -> None:
        with psycopg.connect(url, application_name="killer") as session:
            session.execute("SELECT")  # behind PgBouncer it has a session now, which then is not ours
            pid = connection.connection.execute("SELECT pg_backend_pid()").fetchone()[0]
            ended = session.execute("SELECT pg_terminate_backend(%s, 5000)", [pid]).fetchone()
        assert ended == (True,), "the session is gone before anything else happens"

    with _armed(Fault(at, strike), patch) as fault:
        yield fault


def worker_dies(at: int | str, patch: pytest.MonkeyPatch, act: Callable[[], Any]) -> None:
    """
    Run `act` in a process of its own that is gone at that moment: no handler runs, nothing is said to the server.

    :raises AssertionError: if it lived through it
    """
    connection.close()  # the child would share its socket
    pid = os.fork()
    if pid == 0:
        _act_and_die(at, patch, act)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == KILLED, at


def _act_and_die(at: int | str, patch: pytest.MonkeyPatch, act: Callable[[], Any]) -> NoReturn:
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(WORKER_SECONDS_MAX)
    try:
        with _armed(Fault(at, lambda: os._exit(KILLED)), patch):
            act()
    finally:
        os._exit(1)


@contextmanager
def _armed(fault: Fault, patch: pytest.MonkeyPatch) -> Iterator[Fault]:
    real = BaseDatabaseWrapper._commit  # type: ignore[attr-defined]  # the stubs leave it out

    def commit(self: Any) -> None:
        fault.commit(lambda: real(self))

    with patch.context() as context, connection.execute_wrapper(fault):
        context.setattr(BaseDatabaseWrapper, "_commit", commit)
        yield fault
