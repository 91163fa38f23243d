"""`make run` serves, is alone, keeps its data, and leaves nothing behind, however it ends."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scripts import embedded_postgres, environment

RUN = [sys.executable, "-m", "scripts.run"]
DESK = [sys.executable, "-m", "scripts.desk"]
START_SECONDS_MAX = 90.0
END_SECONDS_MAX = 30.0

Launch = Callable[..., "Run"]


class Run:
    """One `make run`, as its own process."""

    def __init__(self, settings: dict[str, str], log: Path) -> None:
        self.settings = settings
        self.log = log
        self.process = subprocess.Popen(
            RUN,
            env=settings,
            cwd=environment.ROOT,
            stdout=log.open("wb"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.settings['PORT']}"

    def wait_until_live(self) -> Run:
        deadline = time.monotonic() + START_SECONDS_MAX
        while not self.is_live():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.1)
        return self

    def is_live(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health/live", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:  # refused, or not answered yet
            return False


@pytest.fixture(scope="module")
def settings() -> Iterator[dict[str, str]]:
    """The environment of a newcomer's shell, with a place and a port of its own; runs find what earlier ones left."""
    home = Path(tempfile.mkdtemp(prefix="desk-run-"))
    home.chmod(0o755)
    ours = {*environment.fresh_secrets(), *environment.DEMO, "DATABASE_URL", "PROMETHEUS_MULTIPROC_DIR", "LOG_LEVEL"}
    ours |= {"LEDGER_SEAL_DIR", "HOST", "PORT", "FEED"}
    newcomer = {name: value for name, value in os.environ.items() if name not in ours}
    yield newcomer | {
        "DESK_VAR": str(home),
        "STATIC_ROOT": str(environment.ROOT / "var" / "static"),  # collecting them again would show nothing
        "LEDGER_SEAL_DIR": str(home / "seals"),
        "PORT": str(free_port()),
        "FEED": "off",
    }
    embedded_postgres.reset(home / "postgres")
    shutil.rmtree(home)


@pytest.fixture
def launch(settings: dict[str, str], tmp_path: Path) -> Iterator[Launch]:
    runs: list[Run] = []

    def start(**changes: str) -> Run:
        runs.append(Run(settings | changes, tmp_path / f"run-{len(runs)}.log"))
        return runs[-1]

    yield start
    for run in runs:
        if run.process.poll() is None:
            run.process.terminate()
            run.process.wait(timeout=END_SECONDS_MAX)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def desk(settings: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [*DESK, *arguments]
    return subprocess.run(command, env=settings, cwd=environment.ROOT, capture_output=True, text=True, check=False)


def leftovers(settings: dict[str, str]) -> list[str]:
    """Live processes that were started with this run's place in their environment, or serve its database."""
    place = settings["DESK_VAR"].encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                command = (entry / "cmdline").read_bytes()
                is_ours = place in command or place in (entry / "environ").read_bytes()
            except OSError:
                continue
            if command and is_ours:
                found.append(f"{entry.name} {command.decode().replace(chr(0), ' ')[:80]}")
    return found


def wait_until_nothing_is_left(settings: dict[str, str]) -> None:
    deadline = time.monotonic() + END_SECONDS_MAX
    while found := leftovers(settings):
        assert time.monotonic() < deadline, found
        time.sleep(0.1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_everything_with_status_0(launch: Launch, number: signal.Signals) -> None:
    run = launch().wait_until_live()
    run.process.send_signal(number)
    assert run.process.wait(timeout=END_SECONDS_MAX) == 0
    wait_until_nothing_is_left(run.settings)


def test_a_killed_run_leaves_nothing_behind(launch: Launch) -> None:
    run = launch().wait_until_live()
    run.process.kill()
    run.process.wait()
    wait_until_nothing_is_left(run.settings)
    assert not embedded_postgres.is_running(Path(run.settings["DESK_VAR"]) / "postgres")


def test_a_second_run_says_where_the_first_one_is(launch: Launch) -> None:
    run = launch().wait_until_live()
    second = subprocess.run(RUN, env=run.settings, cwd=environment.ROOT, capture_output=True, text=True, check=False)
    assert second.returncode == 1
    assert "running already" in second.stderr
    assert f"{run.url}/api/v1" in second.stderr
    assert run.is_live()


def test_the_next_run_finds_data_secrets_and_tokens_again(launch: Launch) -> None:
    count = "from accounts.models import User; print(User.objects.count())"
    first = launch().wait_until_live()
    place = Path(first.settings["DESK_VAR"])
    people = desk(first.settings, "manage", "shell", "--verbosity=0", "--command", count).stdout
    kept = (place / "demo.env").read_bytes(), (place / "demo.json").read_bytes()
    first.process.kill()
    first.process.wait()
    second = launch().wait_until_live()
    assert desk(second.settings, "manage", "shell", "--verbosity=0", "--command", count).stdout == people
    assert int(people) > 0
    assert ((place / "demo.env").read_bytes(), (place / "demo.json").read_bytes()) == kept


def test_the_demo_file_says_where_the_run_answers(launch: Launch) -> None:
    run = launch().wait_until_live()
    place = Path(run.settings["DESK_VAR"])
    assert (place / "demo.env").stat().st_mode & 0o777 == 0o600
    demo = json.loads((place / "demo.json").read_text())
    assert demo["api_url"] == f"{run.url}/api/v1"
    for name in ("docs_url", "admin_url"):
        with urllib.request.urlopen(demo[name], timeout=10) as answer:
            assert answer.status == 200


def test_a_port_that_is_taken_is_refused(launch: Launch, settings: dict[str, str]) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", int(settings["PORT"])))
        other.listen()
        run = launch()
        assert run.process.wait(timeout=END_SECONDS_MAX) == 1
    assert f"port {settings['PORT']} on 127.0.0.1 is in use" in run.log.read_text()


def test_reset_refuses_while_a_run_is_live_and_forgets_afterwards(launch: Launch) -> None:
    run = launch().wait_until_live()
    refused = desk(run.settings, "reset")
    assert (refused.returncode, refused.stderr) == (1, "`make run` is running: stop it first\n")
    run.process.terminate()
    run.process.wait(timeout=END_SECONDS_MAX)
    assert desk(run.settings, "reset").returncode == 0
    left = {path.suffix for path in Path(run.settings["DESK_VAR"]).iterdir()}
    assert left <= {".lock", ".users", ".start"}
