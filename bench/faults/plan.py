"""The faults, by their names, and what each of them needs of its desk."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from bench.faults import bad_ticks, clients, crashes, database, full_disk
from bench.faults.stage import Scene
from bench.load.figures import Check
from scripts import environment


def at_every_statement(_log: Path) -> list[Check]:
    """The session, and the worker, are killed at each statement of each operation that moves money."""
    command = [sys.executable, "-m", "pytest", "tests/faults", "-q", "--numprocesses=2", "--dist=worksteal"]
    done = subprocess.run(command, cwd=environment.ROOT, check=False, capture_output=True, text=True)
    said = done.stdout.strip().splitlines()[-1] if done.stdout.strip() else done.stderr[-500:]
    return [Check("tests of one effect, whatever dies", "pass", said, done.returncode == 0)]


ON_STAGE: dict[str, tuple[Callable[..., list[Check]], Scene]] = {
    "F2": (database.commits_are_cut, Scene(has_proxy=True)),
    "F3": (crashes.sessions_are_ended, Scene()),
    "F4a": (crashes.a_backend_is_killed, Scene()),
    "F4b": (crashes.workers_are_killed, Scene()),
    "F5": (crashes.the_database_is_away, Scene()),
    "F6": (database.somebody_locks_backwards, Scene()),
    "F7": (clients.many_are_at_one_wallet, Scene(has_front_door=True)),
    "F8": (crashes.a_worker_stands_still, Scene()),
    "F9": (database.the_pool_is_empty, Scene(database.POOLED, has_front_door=True, has_proxy=True)),
    "F11": (database.messages_are_late, Scene(database.SHORT_DEADLINE, has_proxy=True)),
    # The desk itself is not made to be met by such clients.
    "F12": (clients.many_are_slow, Scene(has_front_door=True)),
    "F16": (bad_ticks.prices_are_impossible, Scene()),
    "F19": (crashes.it_is_reloaded_and_ended, Scene()),
    "F21": (clients.everything_is_sent_five_times, Scene()),
}

#: Those that bring a stage of their own.
ALONE: dict[str, Callable[..., list[Check] | None]] = {
    "F1": at_every_statement,
    "F13": full_disk.is_full,
}
NAMES = sorted({*ON_STAGE, *ALONE}, key=lambda name: (int(name[1:].rstrip("ab")), name))
