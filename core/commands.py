"""A job leaves a row that says when it ran, how it ended and what it counted, and its exit status says the same."""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, ClassVar

import structlog
from django.core.management.base import BaseCommand, CommandError
from django.db import Error as DatabaseFault
from django.db import connection
from django.utils import timezone
from tqdm import tqdm

from core.errors import DomainError, plain
from core.models import JobRun

logger = structlog.get_logger(__name__)

BEAT_SECONDS = 5.0
BACKOFF_SECONDS_MAX = 5.0

# A bar's own lock is shared with every process forked after it: one that is killed while it draws would stop them all.
tqdm.set_lock(threading.RLock())

#: What Django itself adds to every command.
_DJANGO_OPTIONS = frozenset(
    {"verbosity", "settings", "pythonpath", "traceback", "no_color", "force_color", "skip_checks"}
)


class JobFailed(Exception):
    """The job ran to its end and what it found is a failure (such as a break in the ledger); `counts` say what."""

    def __init__(self, message: str, counts: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.counts = counts or {}


class DeskCommand(BaseCommand):
    """
    The base of every management command of ours; a subclass implements `run(**options)` and returns its counts.

    `--json` prints the counts as one JSON object, otherwise one line each. With `has_dry_run`, `--dry-run` reaches
    `run` as `dry_run=True` and no job row is written. With `watch_seconds`, `--watch` calls `run` again and again, that
    far apart or `--interval`, until SIGTERM or SIGINT; counts add up, the job's row gets a beat, and an outage of the
    database is sat out. Exit status: 0, or 1 for whatever did not end well.
    """

    has_dry_run: ClassVar[bool] = False
    watch_seconds: ClassVar[float | None] = None

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", dest="as_json", help="Print the counts as JSON.")
        if self.has_dry_run:
            parser.add_argument("--dry-run", action="store_true", help="Count what would be done, and do nothing.")
        if self.watch_seconds is not None:
            parser.add_argument("--watch", action="store_true", help="Keep running until told to stop.")
            parser.add_argument(
                "--interval", type=float, default=self.watch_seconds, help="Seconds between two rounds of --watch."
            )

    def run(self, *args: Any, **options: Any) -> dict[str, Any]:
        """Do the work and return what was counted. :raises JobFailed: if what was found is a failure"""
        raise NotImplementedError

    def handle(self, *args: Any, **options: Any) -> None:
        self.stopping = threading.Event()
        self.as_json = bool(options.pop("as_json", False))
        self.is_watching = bool(options.pop("watch", False))
        interval = float(options.pop("interval", 0) or 0)
        own = {name: value for name, value in options.items() if name not in _DJANGO_OPTIONS}
        name = type(self).__module__.rpartition(".")[2]
        self.job = JobRun(name=name)
        if not own.get("dry_run"):
            self.job.save(force_insert=True)
        with structlog.contextvars.bound_contextvars(job=name, job_id=str(self.job.id)):
            try:
                counts = self._watch(interval, own) if self.is_watching else self.run(**own)
            except JobFailed as failure:
                self._finish(JobRun.Status.FAILED, failure.counts, str(failure))
                self._print(failure.counts)
                raise CommandError(str(failure)) from failure
            except Exception as error:
                # Whatever it was, the row must not say RUNNING for ever.
                self._finish(JobRun.Status.FAILED, {}, f"{type(error).__name__}: {error}")
                logger.exception("core.job.failed")
                raise CommandError(f"{name} failed: {type(error).__name__}") from error
            self._finish(JobRun.Status.SUCCEEDED, counts, "")
        self._print(counts)

    def progress(self, *, total: int | None, unit: str) -> tqdm[Any]:
        """A progress bar on stderr for whoever is watching: none where stderr is no terminal, or in a loop."""
        hidden = self.is_watching or self.as_json or not sys.stderr.isatty()
        return tqdm(total=total, unit=f" {unit}", disable=hidden, file=sys.stderr, leave=False)

    def beat(self) -> None:
        """Leave a sign of life on the job's row."""
        self.job.beat_at = timezone.now()
        self.job.save(update_fields=["beat_at"])

    def _watch(self, interval: float, options: dict[str, Any]) -> dict[str, Any]:
        counts: Counter[str] = Counter()
        failures = 0
        beaten_at = time.monotonic()
        with self._told_to_stop():
            while not self.stopping.is_set():
                started = time.monotonic()
                try:
                    counts.update({name: value for name, value in self.run(**options).items() if type(value) is int})
                    if started - beaten_at >= BEAT_SECONDS:
                        self.job.counts = plain(counts)
                        self.job.save(update_fields=["counts"])
                        self.beat()
                        beaten_at = started
                    failures = 0
                except (DatabaseFault, DomainError) as error:
                    failures += 1
                    logger.warning("core.job.round_failed", failures=failures, exc_info=error)
                    connection.close()
                    self.stopping.wait(min(BACKOFF_SECONDS_MAX, 0.1 * 2**failures))
                    continue
                self.stopping.wait(max(0.0, interval - (time.monotonic() - started)))
        return dict(counts)

    @contextmanager
    def _told_to_stop(self) -> Iterator[None]:
        """SIGTERM and SIGINT end the loop after the round that is under way."""

        def stop(_number: int, _frame: FrameType | None) -> None:
            self.stopping.set()

        if threading.current_thread() is not threading.main_thread():
            yield  # signals are the main thread's business; `stopping` works from anywhere
            return
        before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _finish(self, status: JobRun.Status, counts: dict[str, Any], error: str) -> None:
        log = logger.info if status == JobRun.Status.SUCCEEDED else logger.error
        log("core.job.ended", status=status.value, counts=plain(counts))
        if self.job._state.adding:  # noqa: SLF001 - Django's own record of whether the row exists: not in a dry run
            return
        self.job.status = status
        self.job.counts = plain(counts) or self.job.counts
        self.job.error = error[:2_000]
        self.job.ended_at = timezone.now()
        try:
            self.job.save(update_fields=["status", "counts", "error", "ended_at"])
        except DatabaseFault:
            # The error that ended the job is the news; that its row still says RUNNING follows from it.
            logger.warning("core.job.row_lost", exc_info=True)
            connection.close()

    def _print(self, counts: dict[str, Any]) -> None:
        if self.as_json:
            self.stdout.write(json.dumps({"job": self.job.name, **plain(counts)}))
            return
        for name, value in counts.items():
            self.stdout.write(f"{name.replace('_', ' ')}: {plain(value)}")
