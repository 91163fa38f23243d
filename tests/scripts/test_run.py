"""`make run` serves, is alone, keeps its data, and leaves nothing behind, however it ends."""

from __future__ import annotations

import contextlib
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
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from config.database.access import OWNER, READER, RUNTIME
from scripts import embedded_postgres, environment

RUN = [sys.executable, "-m", "scripts.run"]
DESK = [sys.executable, "-m", "scripts.desk"]
START_SECONDS_MAX = 90.0
END_SECONDS_MAX = 30.0


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

    def end(self) -> int:
        """What it ends with when it is asked to, or ended with before."""
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(timeout=END_SECONDS_MAX)


class Runs:
    """The runs of one place, one after the other: a start takes seconds, so whoever only looks shares a run."""

    def __init__(self, settings: dict[str, str], logs: Path) -> None:
        self.settings = settings
        self.started: list[Run] = []
        self._logs = logs

    def start(self) -> Run:
        self.started.append(Run(self.settings, self._logs / f"run-{len(self.started)}.log"))
        return self.started[-1]

    def live(self) -> Run:
        """The run that is live, whichever test started it; a new one after one that ended."""
        if not self.started or self.started[-1].process.poll() is not None:
            self.start()
        return self.started[-1].wait_until_live()

    def end(self) -> None:
        """End the run that is live, if one is."""
        if self.started:
            self.started[-1].end()


@pytest.fixture(scope="module")
def settings() -> Iterator[dict[str, str]]:
    """The environment of a newcomer's shell, with a place and a port of its own; runs find what earlier ones left."""
    home = Path(tempfile.mkdtemp(prefix="desk-run-"))
    home.chmod(0o755)
    ours = {*environment.fresh_secrets(), *environment.DEMO, "DATABASE_URL", "PROMETHEUS_MULTIPROC_DIR", "LOG_LEVEL"}
    ours |= {"DATABASE_OWNER_URL", "LEDGER_SEAL_DIR", "HOST", "PORT", "FEED"}
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


@pytest.fixture(scope="module")
def runs(settings: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    ours = Runs(settings, tmp_path_factory.mktemp("runs"))
    yield ours
    for run in ours.started:
        run.end()


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


def processes(settings: dict[str, str]) -> Iterator[tuple[bytes, list[bytes]]]:
    """The command line and the environment of every process that was started with this run's place in it."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                environ = (entry / "environ").read_bytes()
                if settings["DESK_VAR"].encode() in environ:
                    yield (entry / "cmdline").read_bytes(), environ.split(b"\0")


def superuser(place: Path) -> psycopg.Connection:
    url = embedded_postgres.locate(place / "postgres").url(environment.DATABASE)
    return psycopg.connect(url, autocommit=True)


def owners(session: psycopg.Connection) -> set[str]:
    """Who owns anything of the desk's."""
    return {name for (name,) in session.execute(OWNERS)}


OWNERS = """
SELECT relowner::regrole::text FROM pg_class WHERE relnamespace = 'public'::regnamespace
 UNION SELECT proowner::regrole::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace
 UNION SELECT datdba::regrole::text FROM pg_database WHERE datname = current_database()
"""

AS_IT_WAS_BEFORE_THERE_WAS_AN_OWNER = f"""
REASSIGN OWNED BY {OWNER} TO CURRENT_USER;
DROP OWNED BY {RUNTIME};
DROP OWNED BY {READER};
"""


def wait_until_nothing_is_left(settings: dict[str, str]) -> None:
    deadline = time.monotonic() + END_SECONDS_MAX
    while found := leftovers(settings):
        assert time.monotonic() < deadline, found
        time.sleep(0.1)


def test_a_second_run_says_where_the_first_one_is(runs: Runs) -> None:
    run = runs.live()
    second = subprocess.run(RUN, env=run.settings, cwd=environment.ROOT, capture_output=True, text=True, check=False)
    assert second.returncode == 1
    assert "running already" in second.stderr
    assert f"{run.url}/api/v1" in second.stderr
    assert run.is_live()


def test_the_demo_file_says_where_the_run_answers(runs: Runs) -> None:
    run = runs.live()
    place = Path(run.settings["DESK_VAR"])
    assert (place / "demo.env").stat().st_mode & 0o777 == 0o600
    demo = json.loads((place / "demo.json").read_text())
    assert demo["api_url"] == f"{run.url}/api/v1"
    for name in ("docs_url", "admin_url"):
        with urllib.request.urlopen(demo[name], timeout=10) as answer:
            assert answer.status == 200


def test_reset_refuses_while_a_run_is_live(runs: Runs) -> None:
    run = runs.live()
    refused = desk(run.settings, "reset")
    assert (refused.returncode, refused.stderr) == (1, "`make run` is running: stop it first\n")
    assert run.is_live()


def test_the_next_run_finds_data_secrets_and_tokens_again(runs: Runs) -> None:
    count = "from accounts.models import User; print(User.objects.count())"
    first = runs.live()
    place = Path(first.settings["DESK_VAR"])
    people = desk(first.settings, "manage", "shell", "--verbosity=0", "--command", count).stdout
    kept = (place / "demo.env").read_bytes(), (place / "demo.json").read_bytes()
    with superuser(place) as session:
        session.execute(AS_IT_WAS_BEFORE_THERE_WAS_AN_OWNER)
        assert owners(session) == {embedded_postgres.SUPERUSER}
    first.process.kill()
    first.process.wait()
    second = runs.live()
    assert second is not first
    with superuser(place) as session:
        assert owners(session) == {OWNER}
    assert desk(second.settings, "manage", "shell", "--verbosity=0", "--command", count).stdout == people
    assert int(people) > 0
    assert ((place / "demo.env").read_bytes(), (place / "demo.json").read_bytes()) == kept


def test_what_serves_is_not_the_owner(runs: Runs) -> None:
    run = runs.live()
    said = desk(run.settings, "manage", "check", "--deploy", "--database", "default")
    assert said.returncode == 0, said.stderr
    assert "wallets.W001" in said.stderr  # so it was asked as in an installation
    assert "database.W001" not in said.stderr
    serving = [
        environ for command, environ in processes(run.settings) if b"manage.py" in command or b"gunicorn" in command
    ]
    assert len(serving) > 5
    assert {url.split(b"@")[0] for environ in serving for url in environ if url.startswith(b"DATABASE_URL=")} == {
        f"DATABASE_URL=postgresql://{RUNTIME}".encode()
    }
    assert [name for environ in serving for name in environ if name.startswith(b"DATABASE_OWNER_URL")] == []


def test_a_killed_run_leaves_nothing_behind(runs: Runs) -> None:
    run = runs.live()
    run.process.kill()
    run.process.wait()
    wait_until_nothing_is_left(run.settings)
    assert not embedded_postgres.is_running(Path(run.settings["DESK_VAR"]) / "postgres")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_everything_with_status_0(runs: Runs, number: signal.Signals) -> None:
    run = runs.live()
    run.process.send_signal(number)
    assert run.process.wait(timeout=END_SECONDS_MAX) == 0
    wait_until_nothing_is_left(run.settings)


def test_reset_forgets_everything(runs: Runs) -> None:
    place = Path(runs.settings["DESK_VAR"])
    if not (place / "demo.json").exists():
        runs.live()
    runs.end()
    assert (place / "postgres").exists()
    assert desk(runs.settings, "reset").returncode == 0
    assert {path.suffix for path in place.iterdir()} <= {".lock", ".users", ".start"}


def test_a_port_that_is_taken_is_refused(runs: Runs) -> None:
    runs.end()
    port = int(runs.settings["PORT"])
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        run = runs.start()
        assert run.process.wait(timeout=END_SECONDS_MAX) == 1
    assert f"port {port} on 127.0.0.1 is in use" in run.log.read_text()
