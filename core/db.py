"""A conflict is retried, a deadline is kept, and a commit whose outcome is unknown is never simply run again."""

from __future__ import annotations

import functools
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from enum import Enum
from typing import Any, ParamSpec, TypeVar

import structlog
from django.db import DEFAULT_DB_ALIAS, IntegrityError, connection, connections, transaction
from django.db import Error as DatabaseFault
from psycopg_pool import PoolTimeout, TooManyRequests

from core import metrics
from core.errors import (
    AlreadyExists,
    Contended,
    DatabaseUnavailable,
    DeadlineExceeded,
    Deadlocked,
    DomainError,
    Internal,
    OutcomeUnknown,
    SerializationFailed,
    Unavailable,
)
from core.postgres.base import CommitOutcomeUnknown, is_link_lost

logger = structlog.get_logger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

RETRIES_MAX = 3
RETRY_WAIT_MIN_MS = 10
RETRY_WAIT_MAX_MS = 100

#: Below the statement's own limit, else it would never fire.
LOCK_TIMEOUT_MS = 2_000
STATEMENT_TIMEOUT_MS = 5_000

_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)


class Fault(Enum):
    """What a database error means for the caller; each asks for a different answer."""

    CONFLICT = "conflict"  # deadlock or serialization failure: the whole function may run again
    LOCK_TIMEOUT = "lock_timeout"  # someone holds the row for too long
    STATEMENT_TIMEOUT = "statement_timeout"  # the time is spent
    LINK_LOST = "link_lost"  # before COMMIT: nothing happened
    OUTCOME_UNKNOWN = "outcome_unknown"  # during COMMIT: only the idempotency key knows
    READ_ONLY = "read_only"  # a fail-over left us on a standby
    IDLE_TIMEOUT = "idle_timeout"  # we held a transaction open and did nothing: our bug, and nothing happened
    NO_ROOM = "no_room"  # the server's disk, memory or sessions are used up: nothing happened, and it is nobody's bug
    SATURATED = "saturated"  # the pool has no connection for us: waiting for it again would only lengthen the queue
    OTHER = "other"


_FAULT_BY_SQLSTATE = {
    "40001": Fault.CONFLICT,
    "40P01": Fault.CONFLICT,
    "55P03": Fault.LOCK_TIMEOUT,
    "57014": Fault.STATEMENT_TIMEOUT,
    "25006": Fault.READ_ONLY,
    "25P03": Fault.IDLE_TIMEOUT,
    "53100": Fault.NO_ROOM,
    "53200": Fault.NO_ROOM,
    "53300": Fault.NO_ROOM,
}

#: How PgBouncer says that no session was free in time; its SQLSTATE is that of all its reasons to end a connection.
_PGBOUNCER_HAS_NONE = "query_wait_timeout"

_REFUSAL_BY_FAULT: dict[Fault, type[DomainError]] = {
    Fault.CONFLICT: Unavailable,
    Fault.LOCK_TIMEOUT: Contended,
    Fault.STATEMENT_TIMEOUT: DeadlineExceeded,
    Fault.LINK_LOST: DatabaseUnavailable,
    Fault.OUTCOME_UNKNOWN: OutcomeUnknown,
    Fault.READ_ONLY: DatabaseUnavailable,
    Fault.IDLE_TIMEOUT: Unavailable,
    Fault.NO_ROOM: DatabaseUnavailable,
    Fault.SATURATED: Unavailable,
    Fault.OTHER: Internal,
}

#: Where the server says more than the fault does.
_REFUSAL_BY_SQLSTATE: dict[str | None, type[DomainError]] = {
    "40P01": Deadlocked,
    "40001": SerializationFailed,
    "23505": AlreadyExists,
}

#: What may run again, and how often. A deadlock or a lock time-out has released everything; a lost link before COMMIT
#: has changed nothing; a read-only or idle-killed session is replaced once by a new one. A statement time-out is not
#: here: its deadline is spent. A full disk is not: it is full for longer than we wait, and trying writes more. An empty
#: pool is not: the queue belongs in front of it. 25P02 (aborted transaction) is not here either: it is always our own
#: bug.
_RETRIES_BY_FAULT = {
    Fault.CONFLICT: RETRIES_MAX,
    Fault.LOCK_TIMEOUT: RETRIES_MAX,
    Fault.LINK_LOST: RETRIES_MAX,
    Fault.OUTCOME_UNKNOWN: RETRIES_MAX,
    Fault.READ_ONLY: 1,
    Fault.IDLE_TIMEOUT: 1,
}


class ClaimHeldElsewhere(DomainError):
    code = "IDEMPOTENCY_IN_PROGRESS"
    message = "A request with this Idempotency-Key is being carried out right now. Ask again in a second."
    status = 409
    retry_after_seconds = 1


def sqlstate(error: BaseException) -> str | None:
    """The five-character SQLSTATE behind a Django database error, or None when the server never answered."""
    return getattr(error.__cause__, "sqlstate", None) or getattr(error, "sqlstate", None)


def constraint(error: IntegrityError) -> str:
    """The name of the violated constraint, or an empty string."""
    return getattr(getattr(error.__cause__, "diag", None), "constraint_name", None) or ""


def classify(error: DatabaseFault) -> Fault:
    """Read a database error as one of the faults we know how to answer."""
    if isinstance(error, CommitOutcomeUnknown):
        return Fault.OUTCOME_UNKNOWN
    if isinstance(error.__cause__, PoolTimeout | TooManyRequests) or _PGBOUNCER_HAS_NONE in str(error):
        return Fault.SATURATED
    state = sqlstate(error)
    if state in _FAULT_BY_SQLSTATE:
        return _FAULT_BY_SQLSTATE[state]
    if state == "0A000" and _is_on_standby():
        return Fault.READ_ONLY  # an unlogged table is not there before recovery has ended
    if type(error).__name__ in {"OperationalError", "InterfaceError", "InternalError"} and is_link_lost(error):
        return Fault.LINK_LOST
    return Fault.OTHER


def _is_on_standby() -> bool:
    """What the server has said of itself, without asking it again."""
    session = connection.connection
    return session is not None and session.info.parameter_status("in_hot_standby") == "on"


def refusal_for(error: DatabaseFault) -> DomainError:
    """The answer a client gets when a database error was not retried, or not retried away."""
    refusal = _REFUSAL_BY_SQLSTATE.get(sqlstate(error)) or _REFUSAL_BY_FAULT[classify(error)]
    return refusal()


def retry_on_conflict(func: Callable[P, R]) -> Callable[P, R]:
    """
    Run a durable service again when the database says that running it again is right.

    Outside `transaction.atomic(durable=True)`, never inside: a retry must start with nothing held, and only the
    outermost block can promise that. What is retried: deadlocks and serialization failures (the server has rolled
    back, and the lock order makes them rare), a refusal that looked too early, lock time-outs while time is left, and a
    link lost before COMMIT. What is not: a statement that used up its time, a constraint that spoke, anything we do not
    recognise. A link lost *during* COMMIT may have moved the money, so the function runs again only if it goes through
    `exactly_once`, where the idempotency key, which commits with the money, answers for what happened; otherwise the
    caller is told that the outcome is unknown. Each wait is uniform in [10 ms, min(100 ms, 20 ms * 2^attempt)], so that
    two victims of one deadlock do not meet again, and no wait starts that would outlive the request's deadline.

    :raises Unavailable, Contended, DeadlineExceeded, DatabaseUnavailable, OutcomeUnknown: when retrying did not help
    """

    @functools.wraps(func)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        attempt = 0
        outcome_unknown = False
        while True:
            error: DatabaseFault | DomainError
            try:
                return func(*args, **kwargs)
            except ClaimHeldElsewhere as held:
                # After a lost COMMIT the old session may still hold the claim while the server works out that its
                # client is gone; then this is our own echo, not another request.
                if not outcome_unknown:
                    raise
                error, fault = held, Fault.OUTCOME_UNKNOWN
            except DomainError as refusal:
                if not refusal.looked_too_early:
                    raise
                error, fault = refusal, Fault.CONFLICT
            except DatabaseFault as raised:
                error, fault = raised, classify(raised)
            attempt += 1
            if fault in (Fault.LINK_LOST, Fault.OUTCOME_UNKNOWN, Fault.READ_ONLY, Fault.IDLE_TIMEOUT):
                _leave_server()
            if fault is Fault.OUTCOME_UNKNOWN:
                if not getattr(func, "answers_through_its_key", False):
                    raise OutcomeUnknown from error
                outcome_unknown = True
            if fault is Fault.OTHER:
                raise error
            _wait_before(attempt, fault, error, func.__qualname__)

    return wrapper


def _leave_server() -> None:
    """Close the session itself, which a pool would lend again, and connect anew at the next statement."""
    if connection.connection is not None:
        connection.connection.close()
    connection.close()


def _wait_before(attempt: int, fault: Fault, error: DatabaseFault | DomainError, function: str) -> None:
    """Sleep before the given retry, or raise the refusal that stands in for the error when no retry is left."""
    wait_ms = random.uniform(RETRY_WAIT_MIN_MS, min(RETRY_WAIT_MAX_MS, 20 * 2**attempt))  # noqa: S311 - no secret
    left = remaining_ms()
    if attempt > _RETRIES_BY_FAULT.get(fault, 0) or (left is not None and left <= wait_ms):
        metrics.RETRIES_SPENT.labels(fault.value).inc()
        logger.warning("core.transaction.gave_up", fault=fault.value, attempt=attempt, function=function)
        if isinstance(error, DatabaseFault):
            raise refusal_for(error) from error
        if isinstance(error, ClaimHeldElsewhere):
            raise OutcomeUnknown from error
        raise error
    state = sqlstate(error) or ""
    metrics.RETRIES.labels(state).inc()
    logger.warning(
        "core.transaction.retried", sqlstate=state, attempt=attempt, wait_ms=round(wait_ms), function=function
    )
    time.sleep(wait_ms / 1000)


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Give everything inside this block a common end, no later than that of a block around it."""
    outer = _deadline.get()
    end = time.monotonic() + seconds
    token = _deadline.set(end if outer is None else min(outer, end))
    try:
        with connection.execute_wrapper(_keep_deadline):
            yield
    finally:
        _deadline.reset(token)


def remaining_ms() -> int | None:
    """Milliseconds left until the deadline (never negative), or None where there is none."""
    end = _deadline.get()
    return None if end is None else max(0, int((end - time.monotonic()) * 1000))


def statement_timeout_ms() -> int:
    """What a statement may take now: the usual limit, or what the request has left if that is less."""
    left = remaining_ms()
    return STATEMENT_TIMEOUT_MS if left is None else max(1, min(STATEMENT_TIMEOUT_MS, left))


def _keep_deadline(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:
    left = remaining_ms()
    if left is None or left >= STATEMENT_TIMEOUT_MS:
        return execute(sql, params, many, context)
    if left == 0:
        raise DeadlineExceeded
    # Near its end: the session's own limit would let this statement outlive the request. The tighter limit is local to
    # a transaction, because a plain SET would leak to the next client of a pooled connection.
    # Without a savepoint, and on a cursor of the driver's own: both would come through here again.
    with transaction.atomic(savepoint=False):
        with connection.wrap_database_errors:
            connection.connection.execute("SELECT set_config('statement_timeout', %s, true)", [str(left)])
        if remaining_ms() == 0:  # on a slow link that was all there was time for
            raise DeadlineExceeded
        return execute(sql, params, many, context)


_OUTSIDE = "this changes money and runs only inside the caller's transaction"


class _Here(threading.local):
    """This thread's connection, which is the same for as long as the thread lives; looking it up costs ten calls."""

    def __init__(self) -> None:
        self.connection: Any = connections[DEFAULT_DB_ALIAS]


_here = _Here()


def require_transaction() -> None:
    """Assert that the caller owns a transaction: every building block that locks or writes calls this first."""
    assert _here.connection.in_atomic_block, _OUTSIDE


def transaction_serial() -> int:
    """The name of the caller's transaction, different from that of every other: what was locked in it is locked now."""
    here = _here.connection
    assert here.in_atomic_block, _OUTSIDE
    serial: int = here.transaction_serial
    return serial


def fetch_all(sql: str, params: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Run one hot statement, prepared on the server at its first use, and return its rows."""
    rows: list[tuple[Any, ...]] = _here.connection.fetch_all(sql, params)
    return rows
