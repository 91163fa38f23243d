"""
Runs one command, and does not let it outlive its supervisor.

    python -m scripts.leash [--grace SECONDS] [--supervisor PID] -- COMMAND…

The supervisor is named by `DESK_SUPERVISOR` or `--supervisor`; when it dies, however it dies, the command gets SIGTERM
and, if it is still there after the grace, its whole process group gets SIGKILL. SIGTERM, SIGINT and SIGHUP to the leash
do the same; SIGUSR1, SIGUSR2 and SIGWINCH are passed on. If `DESK_POSTGRES` names an embedded server's data directory,
the leash holds a share of it until the command is gone, so the last leash out stops the server when all else is killed.
`DESK_LEASHES` names a lock file that it holds a share of too, so that others can tell whether leashes are left.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

from scripts import embedded_postgres, locks

GRACE_SECONDS = 10.0
LOOK_SECONDS = 0.5  # how often a system without pidfd looks whether the supervisor is there
ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
PASSED_ON = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH)
PR_SET_PDEATHSIG = 1


def run(command: list[str], *, supervisor: int | None, grace: float) -> int:
    """
    Run the command to its end, or end it with its supervisor.

    :returns: the command's exit status, or 128 + the signal that ended it
    """
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    for number in (*ENDING, *PASSED_ON, signal.SIGCHLD):
        signal.signal(number, lambda _number, _frame: None)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    # Its own group, so that a stubborn command's children can be killed with it. One thread, so forking is safe.
    child = subprocess.Popen(command, start_new_session=True, preexec_fn=die_with_parent)  # noqa: PLW1509
    try:
        return _watch(child, reader, supervisor=supervisor, grace=grace)
    finally:
        _end_group(child)


def _watch(child: subprocess.Popen[bytes], signals: int, *, supervisor: int | None, grace: float) -> int:
    supervisor_end = _open_pidfd(supervisor)
    kill_at: float | None = None
    while True:
        status = child.poll()
        if status is not None:
            return 128 - status if status < 0 else status
        wait = LOOK_SECONDS if kill_at is None else min(LOOK_SECONDS, max(0.0, kill_at - time.monotonic()))
        watched = [signals] if supervisor_end is None or kill_at is not None else [signals, supervisor_end]
        select.select(watched, [], [], wait)
        received = _read_signals(signals)
        for number in received.intersection(PASSED_ON):
            child.send_signal(number)
        if received.intersection(ENDING) or (kill_at is None and not _is_alive(supervisor, supervisor_end)):
            child.send_signal(signal.SIGTERM)
            kill_at = kill_at or time.monotonic() + grace
        if kill_at is not None and time.monotonic() >= kill_at:
            _end_group(child)


def _read_signals(reader: int) -> set[int]:
    with contextlib.suppress(BlockingIOError):
        return set(os.read(reader, 1024))
    return set()


def _open_pidfd(pid: int | None) -> int | None:
    """Readable when the process ends; None where the system has no such thing, or the process is gone already."""
    if pid is None or not hasattr(os, "pidfd_open"):
        return None
    with contextlib.suppress(OSError):
        return os.pidfd_open(pid)
    return None


def _is_alive(pid: int | None, pidfd: int | None) -> bool:
    if pid is None:
        return True
    if pidfd is not None:
        return not select.select([pidfd], [], [], 0)[0]
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _end_group(child: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def die_with_parent() -> None:
    """For a child that was just forked: Linux then sends it SIGTERM when its parent is gone, however it went."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m scripts.leash", description="Run a command on a leash.")
    parser.add_argument("--grace", type=float, default=GRACE_SECONDS, help="seconds between SIGTERM and SIGKILL")
    parser.add_argument("--supervisor", type=int, default=None, help="its pid; default DESK_SUPERVISOR")
    parser.add_argument("command", nargs="+")
    chosen = parser.parse_args(arguments)
    supervisor = chosen.supervisor
    if supervisor is None and os.environ.get("DESK_SUPERVISOR"):
        supervisor = int(os.environ["DESK_SUPERVISOR"])
    with contextlib.ExitStack() as shares:
        if os.environ.get("DESK_LEASHES"):
            shares.enter_context(locks.held(Path(os.environ["DESK_LEASHES"]), locks.SHARED))
        if os.environ.get("DESK_POSTGRES"):
            shares.enter_context(embedded_postgres.use(os.environ["DESK_POSTGRES"], durable=True))
        return run(chosen.command, supervisor=supervisor, grace=chosen.grace)


if __name__ == "__main__":
    sys.exit(main())
