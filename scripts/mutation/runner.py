"""
The part that runs inside pytest: collect once, then one forked process per mistake, which makes it and runs the tests
that pass by its place until one fails.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from scripts.leash import die_with_parent
from scripts.mutation import switch

#: Where the work is described, and where its outcome goes, a line per mistake.
WORK, OUTCOME = "DESK_MUTATION_WORK", "DESK_MUTATION_OUTCOME"
PROCESSES = os.cpu_count() or 1
#: Of the tests that pass by, so many seconds' worth are tried, the likeliest first.
TESTS_SECONDS_MAX = 60.0
SPARE_SECONDS = 40.0
#: What a test costs in a fresh process that has to set up what it stands on.
LIVE_DESK_SECONDS = 6.0

KILLED, SURVIVED, TOO_SLOW, UNREACHED = "killed", "survived", "too slow", "unreached"


@dataclass(slots=True, eq=False)
class Passed:
    """A test that passes when nothing is wrong: how long it takes, and which mistakes' places it comes by."""

    item: pytest.Item
    seconds: float
    reached: frozenset[int]
    kills: int = 0


@dataclass(slots=True, eq=False)
class Failures:
    """Which tests failed in this process."""

    names: list[str] = field(default_factory=list)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.names.append(report.nodeid)


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool:
    work = json.loads(Path(os.environ[WORK]).read_text())
    outcome = Path(os.environ[OUTCOME])
    if work.get("mistake"):  # one that is made at import, so that this whole process is its own
        return _run_alone(session, work, outcome)
    tests = _first_pass(session)
    print(f"{len(tests)} of {len(session.items)} tests pass in a copy where nothing is wrong", flush=True)
    with outcome.open("a") as file:
        for number, verdict, by in _judged(session, [int(number) for number in work["keys"]], tests):
            file.write(json.dumps({"key": work["keys"][str(number)], "verdict": verdict, "by": by}) + "\n")
            file.flush()
    order = sorted(tests, key=lambda one: -len(one.reached) / one.seconds)
    known = [{"name": one.item.nodeid, "seconds": one.seconds, "reached": sorted(one.reached)} for one in order]
    Path(work["tests"]).write_text(json.dumps(known))
    return True


def _run_alone(session: pytest.Session, work: dict[str, str], outcome: Path) -> bool:
    failures = Failures()
    session.config.pluginmanager.register(failures)
    for item, following in _in_turn(session.items):
        session.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if failures.names:
            break
    verdict = KILLED if failures.names else SURVIVED
    line = {"key": work["mistake"], "verdict": verdict, "by": (failures.names or [""])[0]}
    with outcome.open("a") as file:
        file.write(json.dumps(line) + "\n")
    session.shouldstop = "judged"
    return True


def _first_pass(session: pytest.Session) -> list[Passed]:
    """Run everything once with nothing wrong, in as many processes as there are processors."""
    items = session.items
    notes = [Path(tempfile.mkstemp(prefix="desk-mutation-")[1]) for _ in range(PROCESSES)]

    def share(place: int) -> Callable[[], int]:
        # Neighbours share fixtures, so a process gets runs of tests and not every other one.
        runs = [items[start : start + 40] for start in range(0, len(items), 40)]
        mine = [item for run in runs[place::PROCESSES] for item in run]
        return lambda: _note(session, mine, notes[place])

    for pid in [_forked(share(place)) for place in range(PROCESSES)]:
        os.waitpid(pid, 0)
    by_name = {item.nodeid: item for item in items}
    passed = []
    for path in notes:
        for line in path.read_text().splitlines():
            told = json.loads(line)
            item = by_name[told["name"]]
            seconds = told["seconds"] + (LIVE_DESK_SECONDS if "live_desk" in getattr(item, "fixturenames", ()) else 0)
            passed.append(Passed(item, seconds, frozenset(told["reached"])))
        path.unlink()
    return passed


def _note(session: pytest.Session, items: Sequence[pytest.Item], notes: Path) -> int:
    failures = Failures()
    session.config.pluginmanager.register(failures)
    with notes.open("w") as file:
        for item, following in _in_turn(items):
            _forget_what_is_cached()
            switch.reached.clear()
            started, so_far = time.monotonic(), len(failures.names)
            session.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if len(failures.names) == so_far:
                seconds = time.monotonic() - started
                line = {"name": item.nodeid, "seconds": seconds, "reached": sorted(switch.reached)}
                file.write(json.dumps(line) + "\n")
                file.flush()
    return 0


def _forget_what_is_cached() -> None:
    """What the first test alone would come by, every test shall."""
    for name, module in list(sys.modules.items()):
        if name.startswith(("core", "wallets", "trading")):
            for value in list(vars(module).values()):
                if hasattr(value, "cache_clear"):
                    value.cache_clear()


def _judged(session: pytest.Session, numbers: Sequence[int], tests: Sequence[Passed]) -> Iterator[tuple[int, str, str]]:
    running: dict[int, tuple[int, float, list[Passed], Path]] = {}
    waiting = list(reversed(numbers))
    while waiting or running:
        while waiting and len(running) < PROCESSES:
            number = waiting.pop()
            chosen = _likeliest(tests, number)
            if not chosen:
                yield number, UNREACHED, ""
                continue
            note = Path(tempfile.mkstemp(prefix="desk-mutation-")[1])
            seconds = SPARE_SECONDS + 4 * sum(one.seconds for one in chosen)
            pid = _forked(partial(_try, session, number, chosen, note))
            running[pid] = number, time.monotonic() + seconds, chosen, note
        time.sleep(0.02)
        for pid, (number, end, chosen, note) in list(running.items()):
            ended, status = os.waitpid(pid, os.WNOHANG)
            is_late = not ended and time.monotonic() > end
            if is_late:
                with suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            if ended or is_late:
                del running[pid]
                by = note.read_text()
                note.unlink()
                for one in chosen:
                    one.kills += one.item.nodeid == by
                # A process that the mistake ended was noticed too.
                yield number, TOO_SLOW if is_late else KILLED if by or status else SURVIVED, by


def _likeliest(tests: Iterable[Passed], number: int) -> list[Passed]:
    """
    The tests that pass by, as many as there is time for.

    For half of it those that noticed much so far and cost little; for the other half those that pass by little else,
    which are about this place however long they take.
    """
    passing = [one for one in tests if number in one.reached]
    cheap = sorted(passing, key=lambda one: one.seconds / (1 + one.kills))
    special = sorted(passing, key=lambda one: len(one.reached))
    chosen: dict[str, Passed] = {}
    for order, seconds_max in ((cheap, TESTS_SECONDS_MAX / 2), (special, TESTS_SECONDS_MAX)):
        seconds = sum(one.seconds for one in chosen.values())
        for one in order:
            if one.item.nodeid not in chosen and (not chosen or seconds + one.seconds <= seconds_max):
                chosen[one.item.nodeid] = one
                seconds += one.seconds
    return list(chosen.values())


def _try(session: pytest.Session, number: int, tests: Sequence[Passed], note: Path) -> int:
    failures = Failures()
    session.config.pluginmanager.register(failures)
    switch.make(number)
    for item, following in _in_turn([one.item for one in tests]):
        session.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if failures.names:
            note.write_text(failures.names[0])
            break
    with suppress(Exception):
        session._setupstate.teardown_exact(None)  # noqa: SLF001 - what a session's end does; the clone is dropped
    return 0


def _in_turn(items: Sequence[pytest.Item]) -> Iterator[tuple[pytest.Item, pytest.Item | None]]:
    return zip(items, [*items[1:], None], strict=True)


def _forked(work: Callable[[], int]) -> int:
    """A process of its own, silent, with its own folder, that does the work and ends."""
    if pid := os.fork():
        return pid
    status = 1
    try:
        os.setsid()
        die_with_parent()
        nowhere = os.open(os.devnull, os.O_RDWR)
        for descriptor in (1, 2):
            os.dup2(nowhere, descriptor)
        scratch = _fresh_scratch()
        status = work()
        shutil.rmtree(scratch, ignore_errors=True)
    except BaseException:  # noqa: BLE001 - nobody else would hear of it
        Path("child.log").write_text(traceback.format_exc())
    finally:
        os._exit(status)


def _fresh_scratch() -> Path:
    from django.conf import settings

    from tests import conftest

    conftest.SCRATCH = Path(tempfile.mkdtemp(prefix="desk-test-"))
    settings.LEDGER_SEAL_DIR = conftest.SCRATCH / "seals"
    return conftest.SCRATCH
