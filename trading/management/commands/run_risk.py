"""Do what prices do: fill and end orders, close at stops and targets, call margin, and stop out."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from collections import Counter
from typing import Any

import structlog
from django.db import InterfaceError, OperationalError
from django.utils import timezone

from core.commands import DeskCommand, JobFailed
from core.errors import DatabaseUnavailable, OutcomeUnknown, Unavailable
from trading.selection import Task
from trading.services import risk
from trading.services.risk import Memory, Progress

logger = structlog.get_logger(__name__)

#: How long an engine waits for others to finish what they are at.
WAIT_SECONDS = 0.005

#: Tasks put aside before that are tried in one round, so that they never hold up the prices.
SET_ASIDE_MAX = 50

#: Not the task's fault: the database is away, and `--watch` sits that out.
OUTAGES = (DatabaseUnavailable, Unavailable, OperationalError, InterfaceError)

COUNTED = (
    "batches",
    "accounts",
    "filled",
    "rejected",
    "expired",
    "stop_losses",
    "take_profits",
    "margin_calls",
    "stop_outs",
    "cancelled",
    "failed",
)


class Command(DeskCommand):
    help = (
        "Work off every price batch since the last run: fill limit and stop orders, close at stops and targets, call"
        " margin and stop out. Any number may run at once, and each may be killed at any time. Exit status 1 if an"
        " account failed; it is tried again."
    )
    watch_seconds = 0.2
    sweep_due_at = 0.0  # by the monotonic clock

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--sweep-every",
            type=int,
            default=30,
            metavar="SECONDS",
            help="How often to look for accounts whose money moved by itself (default 30).",
        )

    def run(self, *, sweep_every: int = 30, **_: Any) -> dict[str, Any]:
        self.counts: Counter[str] = Counter(dict.fromkeys(COUNTED, 0))
        self.memory = Memory()
        self.work_off_batches()
        is_sweep = time.monotonic() >= self.sweep_due_at
        if is_sweep:
            self.sweep_due_at = time.monotonic() + sweep_every
        if self.look_around(is_sweep=is_sweep):
            self.work_off_batches()
        for _attempt in range(SET_ASIDE_MAX):
            if self.stopping.is_set() or not self.work_off(is_set_aside=True):
                break
        if self.counts["failed"] and not self.is_watching:
            raise JobFailed("some accounts failed and were put aside", dict(self.counts))
        return dict(self.counts)

    def work_off_batches(self) -> None:
        """Go on until no price batch is left, and no account of the last one that anybody is at."""
        while not self.stopping.is_set():
            if self.work_off():
                continue
            progress = self.advance()
            if progress is Progress.UP_TO_DATE:
                return
            if progress is Progress.PUT_DOWN:
                self.counts["batches"] += 1
            else:
                self.stopping.wait(WAIT_SECONDS)

    def advance(self) -> Progress:
        try:
            return risk.advance(now=timezone.now())
        except OutcomeUnknown:
            return Progress.WAITING  # the cursor knows

    def look_around(self, *, is_sweep: bool) -> bool:
        try:
            return risk.look_around(now=timezone.now(), is_sweep=is_sweep) > 0
        except OutcomeUnknown:
            return True  # whatever was put down is there

    def work_off(self, *, is_set_aside: bool = False) -> bool:
        """Work off one task; False if there is none to be had."""
        try:
            tally = risk.work_off(memory=self.memory, is_set_aside=is_set_aside)
        except OutcomeUnknown:
            return True  # the task knows
        except OUTAGES:
            raise
        except Exception as error:
            if (task := self.memory.task) is None:
                raise
            self.put_aside(task, error)
            return True
        if tally is None:
            return False
        self.counts["accounts"] += 1
        self.counts.update(tally)
        return True

    def put_aside(self, task: Task, error: Exception) -> None:
        """It is this account's trouble, and everybody else's prices are not to wait for it."""
        logger.error("trading.risk.task_failed", account_id=str(task.account), batch=task.batch, exc_info=error)
        risk.put_aside(task=task, error=f"{type(error).__name__}: {error}", now=timezone.now())
        self.counts["failed"] += 1
