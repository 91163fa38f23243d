"""A job's row, its output and its exit status tell the same story."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import OperationalError
from tqdm import tqdm

from core.commands import DeskCommand, JobFailed
from core.errors import Unavailable
from core.models import JobRun
from tests.database import Clone

ROOT = Path(__file__).resolve().parents[2]


class Counting(DeskCommand):
    """Counts, and does what the test tells it."""

    has_dry_run = True
    watch_seconds = 0.01

    def __init__(self, *rounds: Any, stop_after: int = 0) -> None:
        self.output = io.StringIO()
        super().__init__(stdout=self.output, stderr=io.StringIO())
        self.rounds = list(rounds)
        self.done = 0
        self.stop_after = stop_after

    def run(self, *, dry_run: bool, **_: Any) -> dict[str, Any]:
        outcome = self.rounds[min(self.done, len(self.rounds) - 1)]
        self.done += 1
        if self.stop_after and self.done >= self.stop_after:
            self.stopping.set()
        if isinstance(outcome, Exception):
            raise outcome
        return {**outcome, "dry": int(dry_run)}

    @property
    def printed(self) -> str:
        text: str = self.output.getvalue()
        return text


def test_a_run_that_ends_well_leaves_its_counts(db: None) -> None:
    command = Counting({"paid": 3})
    call_command(command)
    run = JobRun.objects.get()
    assert (run.name, run.status, run.error) == ("test_commands", JobRun.Status.SUCCEEDED, "")
    assert run.counts == {"paid": 3, "dry": 0}
    assert run.ended_at is not None
    assert run.started_at <= run.ended_at
    assert command.printed == "paid: 3\ndry: 0\n"


def test_json_is_one_object(db: None) -> None:
    command = Counting({"paid": 3})
    call_command(command, as_json=True)
    assert json.loads(command.printed) == {"job": "test_commands", "paid": 3, "dry": 0}


def test_a_dry_run_leaves_no_row(db: None) -> None:
    command = Counting({"paid": 3})
    call_command(command, dry_run=True)
    assert "dry: 1" in command.printed
    assert not JobRun.objects.exists()


def test_a_failure_that_was_found_keeps_its_counts(db: None) -> None:
    command = Counting(JobFailed("2 breaks", {"checked": 9, "breaks": 2}))
    with pytest.raises(CommandError, match="2 breaks") as caught:
        call_command(command, as_json=True)
    assert caught.value.returncode == 1
    run = JobRun.objects.get()
    assert (run.status, run.error, run.counts) == (JobRun.Status.FAILED, "2 breaks", {"checked": 9, "breaks": 2})
    assert json.loads(command.printed) == {"job": "test_commands", "checked": 9, "breaks": 2}


def test_a_crash_is_on_record_and_not_in_the_output(db: None) -> None:
    command = Counting(ZeroDivisionError("canary"))
    with pytest.raises(CommandError, match="test_commands failed: ZeroDivisionError") as caught:
        call_command(command)
    assert "canary" not in str(caught.value)
    run = JobRun.objects.get()
    assert (run.status, run.error) == (JobRun.Status.FAILED, "ZeroDivisionError: canary")


def test_watching_adds_up_until_told_to_stop(db: None) -> None:
    command = Counting({"paid": 2}, {"paid": 3}, stop_after=4)
    call_command(command, watch=True, interval=0.001)
    run = JobRun.objects.get()
    assert (run.status, run.counts) == (JobRun.Status.SUCCEEDED, {"paid": 11, "dry": 0})
    assert command.done == 4


def test_watching_leaves_signs_of_life(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.commands.BEAT_SECONDS", 0.0)
    beats: list[Any] = []
    real = DeskCommand.beat

    def counted(self: DeskCommand) -> None:
        real(self)
        beats.append(JobRun.objects.get().beat_at)

    monkeypatch.setattr(DeskCommand, "beat", counted)
    call_command(Counting({"paid": 1}, stop_after=3), watch=True, interval=0.001)
    assert len(beats) == 3
    assert beats == sorted(set(beats))


@pytest.mark.parametrize("fault", [OperationalError("gone"), Unavailable()])
def test_watching_sits_an_outage_out(committed_db: Clone, fault: Exception) -> None:
    command = Counting(fault, fault, {"paid": 1}, stop_after=4)
    started = time.monotonic()
    call_command(command, watch=True, interval=0.001)
    assert time.monotonic() - started >= 0.2 + 0.4  # it waits longer each time
    run = JobRun.objects.get()
    assert (run.status, run.counts) == (JobRun.Status.SUCCEEDED, {"paid": 2, "dry": 0})


def test_watching_ends_at_a_bug(db: None) -> None:
    with pytest.raises(CommandError):
        call_command(Counting({"paid": 1}, KeyError("bug")), watch=True, interval=0.001)
    assert JobRun.objects.get().status == JobRun.Status.FAILED


def test_watching_in_a_thread_needs_no_signals(committed_db: Clone) -> None:
    from django.db import connection

    command = Counting({"paid": 1}, stop_after=2)

    def run() -> None:
        call_command(command, watch=True, interval=0.001)
        connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(10)
    assert JobRun.objects.get().status == JobRun.Status.SUCCEEDED


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_round_under_way_and_the_job_well(committed_db: Clone, number: signal.Signals) -> None:
    script = (
        "import django; django.setup()\n"
        "import time, sys\n"
        "from core.commands import DeskCommand\n"
        "class Slow(DeskCommand):\n"
        "    watch_seconds = 0.01\n"
        "    def run(self, **_):\n"
        "        print('round', flush=True)\n"
        "        time.sleep(0.4)\n"
        "        return {'rounds': 1}\n"
        "Slow().run_from_argv(['manage.py', 'slow', '--watch', '--json'])\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=os.environ | {"DATABASE_URL": committed_db.desks_url},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "round\n"
    process.send_signal(number)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert json.loads(output.splitlines()[-1])["rounds"] >= 1
    run = JobRun.objects.get()
    assert run.status == JobRun.Status.SUCCEEDED
    assert run.counts["rounds"] == 1


def test_a_progress_bar_is_for_people(db: None, capsys: pytest.CaptureFixture[str]) -> None:
    command = Counting({"paid": 1})
    call_command(command)
    with command.progress(total=3, unit="rows") as bar:
        bar.update(3)
    assert bar.disable  # stderr is no terminal here
    assert capsys.readouterr().err == ""


def test_a_job_killed_while_it_draws_holds_no_other_up() -> None:
    def draw() -> None:
        command = Counting()
        command.is_watching = command.as_json = True
        command.progress(total=None, unit="rows").close()

    draw()
    pid = os.fork()
    if pid == 0:
        with tqdm.get_lock():  # every bar is made, drawn and closed under it
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    drawing = threading.Thread(target=draw, daemon=True)
    drawing.start()
    drawing.join(5)
    assert not drawing.is_alive()
