"""A command on a leash ends with its supervisor, and with the leash."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

# Says that it is up by writing its pid; stubborn ones ignore SIGTERM.
OBEDIENT = "import os, sys, time; open(sys.argv[1], 'w').write(f'{os.getpid()}\\n'); time.sleep(600)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {OBEDIENT}"
# Has a child in its own group, whose pid it reports.
PARENT = """
import subprocess, sys
stubborn = subprocess.Popen([sys.executable, "-c", sys.argv[2], sys.argv[1]])
stubborn.wait()
"""

Process = subprocess.Popen[str]
Leash = Callable[..., tuple[Process, int]]


@pytest.fixture
def supervisor() -> Iterator[Process]:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], text=True)
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def leash(tmp_path: Path, supervisor: Process) -> Iterator[Leash]:
    """Starts a command on a leash; gives the leash and the pid that the command reports."""
    leashes: list[Process] = []

    def start(program: str, *arguments: str, grace: float = 5.0) -> tuple[Process, int]:
        report = tmp_path / f"pid-{len(leashes)}"
        options = ["--grace", str(grace), "--supervisor", str(supervisor.pid)]
        command = [sys.executable, "-c", program, str(report), *arguments]
        process = subprocess.Popen([sys.executable, "-m", "scripts.leash", *options, "--", *command], text=True)
        leashes.append(process)
        deadline = time.monotonic() + 20
        while not report.exists() or not report.read_text().endswith("\n"):
            assert time.monotonic() < deadline, "the command did not start"
            time.sleep(0.02)
        return process, int(report.read_text())

    yield start
    for process in leashes:
        process.kill()
        process.wait()


def is_gone(pid: int, *, within: float) -> bool:
    """Gone, or dead and waiting for init to notice."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks into /proc")


def test_the_commands_exit_status_is_passed_on() -> None:
    command = [sys.executable, "-m", "scripts.leash", "--", sys.executable, "-c", "raise SystemExit(7)"]
    assert subprocess.run(command, check=False).returncode == 7


def test_the_command_ends_when_the_supervisor_is_killed(leash: Leash, supervisor: Process) -> None:
    process, pid = leash(OBEDIENT)
    supervisor.kill()
    supervisor.wait()
    assert process.wait(timeout=10) == 128 + signal.SIGTERM
    assert is_gone(pid, within=0.1)


def test_a_stubborn_command_is_killed_after_the_grace(leash: Leash, supervisor: Process) -> None:
    process, pid = leash(STUBBORN, grace=0.5)
    supervisor.kill()
    supervisor.wait()
    assert process.wait(timeout=10) == 128 + signal.SIGKILL
    assert is_gone(pid, within=0.1)


def test_a_command_without_its_supervisor_ends_at_once(leash: Leash, supervisor: Process) -> None:
    supervisor.kill()
    supervisor.wait()
    process, pid = leash(OBEDIENT)
    assert process.wait(timeout=10) == 128 + signal.SIGTERM
    assert is_gone(pid, within=0.1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_the_leash_ends_the_command(leash: Leash, number: signal.Signals) -> None:
    process, pid = leash(OBEDIENT)
    process.send_signal(number)
    assert process.wait(timeout=10) == 128 + signal.SIGTERM
    assert is_gone(pid, within=0.1)


def test_the_commands_own_children_end_with_it(leash: Leash) -> None:
    process, grandchild = leash(PARENT, STUBBORN, grace=0.5)
    process.terminate()
    process.wait(timeout=10)
    assert is_gone(grandchild, within=5)


def test_the_command_ends_when_the_leash_itself_is_killed(leash: Leash) -> None:
    process, pid = leash(OBEDIENT)
    process.kill()
    process.wait()
    assert is_gone(pid, within=5)


def test_other_signals_are_passed_on(leash: Leash, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    catcher = f"import signal; signal.signal(signal.SIGUSR2, lambda *_: open({str(seen)!r}, 'w').close()); {OBEDIENT}"
    process, pid = leash(catcher)
    process.send_signal(signal.SIGUSR2)
    deadline = time.monotonic() + 10
    while not seen.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert seen.exists()
    assert not is_gone(pid, within=0.2)
    assert os.waitpid(process.pid, os.WNOHANG) == (0, 0)
