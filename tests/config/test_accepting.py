"""Threads that take their own requests: as many at once as there are, whatever fails, and what was begun is ended."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.load import processes
from tests.config.test_front_door import ask

THREADS = 2
APPLICATION = """
import time
from config import accepting

accepting.SILENCE_SECONDS_MAX = 1  # for whom a test does not want to wait longer


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/fail":
        raise RuntimeError("on purpose")
    if path == "/slow":
        time.sleep(0.6)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return [b"ok"]
"""


@contextmanager
def served(folder: Path) -> Iterator[tuple[Path, subprocess.Popen[bytes]]]:
    (folder / "scene.py").write_text(APPLICATION)
    desk = folder / "desk.sock"
    how = ["-k", "config.accepting.AcceptingThreads", "--threads", str(THREADS), "--bind", f"unix:{desk}"]
    command = [sys.executable, "-m", "gunicorn", *how, "--pythonpath", str(folder), "--no-control-socket", "scene"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        processes.wait_for(lambda: is_up(desk), 20, (folder / "log").read_text())
        yield desk, process
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(10)


def is_up(desk: Path) -> bool:
    try:
        return ask(desk, "/").status == 200
    except OSError:
        return False


def timed(act: Callable[[], object]) -> float:
    began = time.monotonic()
    act()
    return time.monotonic() - began


def test_as_many_are_served_at_once_as_there_are_threads(folder: Path) -> None:
    with served(folder) as (desk, _), ThreadPoolExecutor(8) as pool:
        at_once = timed(lambda: list(pool.map(lambda _: ask(desk, "/slow"), range(THREADS))))
        in_turn = timed(lambda: list(pool.map(lambda _: ask(desk, "/slow"), range(THREADS + 1))))
    assert 0.6 <= at_once < 1.1
    assert in_turn >= 1.2


def test_an_application_that_fails_takes_no_thread_with_it(folder: Path) -> None:
    with served(folder) as (desk, _):
        assert [ask(desk, "/fail").status for _ in range(2 * THREADS)] == [500] * 2 * THREADS
        assert ask(desk, "/").body == b"ok"


def test_who_says_nothing_takes_no_thread_for_long(folder: Path) -> None:
    with served(folder) as (desk, _):
        silent = [socket.socket(socket.AF_UNIX) for _ in range(THREADS)]
        for one in silent:
            one.connect(str(desk))
        time.sleep(0.2)  # each is with a thread by now
        waited = timed(lambda: ask(desk, "/"))
        for one in silent:
            one.close()
    assert 0.3 < waited < 5.0


@pytest.mark.parametrize("said", [signal.SIGTERM, signal.SIGHUP])
def test_what_was_begun_is_carried_out_before_a_worker_ends(folder: Path, said: signal.Signals) -> None:
    with served(folder) as (desk, process), ThreadPoolExecutor(8) as pool:
        begun = pool.submit(ask, desk, "/slow")
        time.sleep(0.2)
        os.kill(process.pid, said)
        assert begun.result(10).status == 200
        if said == signal.SIGTERM:
            assert process.wait(10) == 0
        else:  # another worker has taken its place
            assert ask(desk, "/").status == 200


def test_a_signal_that_is_not_for_ending_ends_nothing(folder: Path) -> None:
    """Nor does it keep a processor busy, as a pipe would that nobody reads."""
    with served(folder) as (desk, process):
        os.kill(process.pid, signal.SIGUSR1)
        time.sleep(0.3)
        family = processes.family(process.pid)
        before = processes.processor_seconds(family)
        time.sleep(1.0)
        assert processes.processor_seconds(family) - before < 0.3
        assert ask(desk, "/").status == 200


@pytest.mark.parametrize(
    "bind,expected", [("unix:/nowhere/desk.sock", "config.accepting.AcceptingThreads"), ("127.0.0.1:0", "gthread")]
)
def test_only_behind_a_proxy_threads_accept(bind: str, expected: str) -> None:
    command = [sys.executable, "-m", "gunicorn", "--config", "config/gunicorn.py", "--print-config", "config.wsgi"]
    printed = subprocess.run(command, env=os.environ | {"BIND": bind}, capture_output=True, text=True, check=True)
    (line,) = [line for line in printed.stdout.splitlines() if line.startswith("worker_class ")]
    assert line.split("=")[1].strip() == expected
