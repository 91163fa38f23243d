"""Processes that a measurement starts, and what they and their children cost: processor time, memory."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from scripts import environment

TICKS = os.sysconf("SC_CLK_TCK")
STOP_SECONDS_MAX = 40.0


@contextmanager
def running(command: Sequence[str], settings: Mapping[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A command for the length of the block; it is told to end, and killed if it does not."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            env=dict(os.environ) | dict(settings),
            cwd=environment.ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))) is not None:
            parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found, waiting = [], [pid]
    while waiting:
        one = waiting.pop()
        found.append(one)
        waiting += parents.get(one, [])
    return found


def kill(pid: int) -> None:
    """kill -9 of a process and of all that descend from it, as when their machine loses power."""
    pids = family(pid)
    for one in pids:
        with suppress(ProcessLookupError):
            os.kill(one, signal.SIGKILL)
    gone = (None, "Z")  # or as good as gone: nobody has asked yet how it ended
    wait_for(lambda: all(_state(one) in gone for one in pids), STOP_SECONDS_MAX, "their end")


def processor_seconds(pids: Iterable[int]) -> float:
    """User and system time of these processes and of their children that have ended."""
    ticks = 0
    for pid in pids:
        if (fields := _stat(pid)) is not None:
            ticks += sum(int(field) for field in fields[11:15])
    return ticks / TICKS


def memory_bytes(pids: Iterable[int]) -> int:
    """What they hold in memory, each page that several share counted in parts (PSS)."""
    total = 0
    for pid in pids:
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        total += sum(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Pss:"))
    return total


def wait_for(is_ready: object, seconds: float, what: str) -> None:
    """:raises RuntimeError: if it is not ready in time"""
    assert callable(is_ready)
    deadline = time.monotonic() + seconds
    while not is_ready():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what} is not ready after {seconds:.0f} s")
        time.sleep(0.05)


def _state(pid: int) -> str | None:
    return fields[0] if (fields := _stat(pid)) else None


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/<pid>/stat after the command's name: state, parent, …; None if it has gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return text.rpartition(")")[2].split()
