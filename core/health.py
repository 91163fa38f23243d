"""Live means that this process answers; ready means that it could do a client's work right now."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any

import structlog
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from core import db, metrics
from core.errors import DomainError
from core.models import JobRun

logger = structlog.get_logger(__name__)

DATABASE_SECONDS_MAX = 0.5
DETAILS_SECONDS_MAX = 2.0

#: An informational check: some figures, read from the database. It never decides whether we are ready.
Check = Callable[[], dict[str, Any]]

_checks: dict[str, Check] = {}

# The checks run beside the request, because a server that hangs would hang the request with it: a client cannot bound
# the wait for a reply from outside. One thread per process, whose connection is closed after use.
_executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="health")
_busy = threading.Lock()

_migrated = threading.Event()


def register(name: str, check: Check) -> None:
    """Add an informational check of a room's own, such as the age of the newest quote; from `AppConfig.ready`."""
    assert _checks.setdefault(name, check) is check, f"two checks are called {name}"


def readiness() -> tuple[bool, dict[str, Any]]:
    """Whether this process can serve clients, and what it looked at. Takes at most 2.5 seconds, whatever is broken."""
    if not _busy.acquire(blocking=False):
        return False, {"database": "busy"}  # the last look has not come back yet
    try:
        answering: Future[None] = _executor.submit(_ask_database)
        looking: Future[dict[str, Any]] = _executor.submit(_look)
        looking.add_done_callback(lambda _: _busy.release())
    except RuntimeError:  # the interpreter is going down
        _busy.release()
        return False, {"database": "stopping"}
    try:
        answering.result(DATABASE_SECONDS_MAX)
    except FutureTimeout:
        return False, {"database": "slow"}
    except (DatabaseError, DomainError) as error:
        logger.warning("core.health.database_failed", exc_info=error)
        return False, {"database": "unreachable"}
    try:
        details = looking.result(DETAILS_SECONDS_MAX)
    except FutureTimeout:
        return False, {"database": "ok", "migrations": "unknown"}
    except (DatabaseError, DomainError) as error:
        logger.warning("core.health.database_failed", exc_info=error)
        return False, {"database": "unreachable"}
    return details["migrations"] == "applied", {"database": "ok", **details}


def _ask_database() -> None:
    with db.deadline(DATABASE_SECONDS_MAX), connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def _look() -> dict[str, Any]:
    try:
        with db.deadline(DETAILS_SECONDS_MAX):
            details: dict[str, Any] = {"migrations": _migrations(), "pool": _pool()}
            for name, check in _checks.items():
                try:
                    details[name] = check()
                except (DatabaseError, DomainError, LookupError, ValueError) as error:
                    logger.warning("core.health.check_failed", check=name, exc_info=error)
                    details[name] = {"error": "unavailable"}
    finally:
        connection.close()
    return details


def _migrations() -> str:
    """Looked up until they are all there, and remembered then: the code of a process does not change."""
    if not _migrated.is_set():
        executor = MigrationExecutor(connection)
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            return "pending"
        _migrated.set()
    return "applied"


def _pool() -> dict[str, Any]:
    pool = getattr(connection, "pool", None)
    if pool is None:
        return {"kind": "one connection per thread"}
    stats = pool.get_stats()
    names = ("pool_size", "pool_available", "requests_waiting")
    return {"kind": "pool", **{name: stats.get(name, 0) for name in names}}


def jobs() -> dict[str, Any]:
    """Each job's last run: how it ended and how long ago it gave a sign of life; told to the metrics too."""
    now = timezone.now()
    found: dict[str, Any] = {}
    for run in JobRun.objects.order_by("name", "-started_at").distinct("name"):
        seen_at = max(run.started_at, run.beat_at, run.ended_at or run.started_at)
        silent = (now - seen_at).total_seconds()
        metrics.JOB_IS_FAILED.labels(run.name).set(run.status == JobRun.Status.FAILED)
        metrics.JOB_SILENT_SECONDS.labels(run.name).set(silent)
        found[run.name] = {"status": run.status, "seconds_since": round(silent)}
    return found


register("jobs", jobs)
