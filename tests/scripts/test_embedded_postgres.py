"""The embedded server is up while anyone uses it, gone afterwards, and never loses what was committed."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from scripts import embedded_postgres

USER = """
import sys
from scripts import embedded_postgres
hold = embedded_postgres.use(sys.argv[1], durable=True)
print("up", flush=True)
sys.stdin.read()
"""

Person = subprocess.Popen[str]
Launch = Callable[[], Person]


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """Short, and open to the server's user, as a checkout in /srv or /home would be."""
    home = Path(tempfile.mkdtemp(prefix="desk-"))
    home.chmod(0o755)
    yield home / "postgres"
    with contextlib.suppress(FileNotFoundError):
        embedded_postgres.reset(home / "postgres")
    shutil.rmtree(home)


@pytest.fixture
def launch(data_dir: Path) -> Iterator[Launch]:
    """Starts a process that uses the server until its standard input closes."""
    people: list[Person] = []

    def start() -> Person:
        command = [sys.executable, "-c", USER, str(data_dir)]
        person = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        people.append(person)
        return person

    yield start
    for person in people:
        person.kill()
        person.communicate()


def wait_until_up(*people: Person) -> None:
    for person in people:
        assert person.stdout is not None
        assert person.stdout.readline() == "up\n"


def leave(person: Person) -> None:
    person.communicate()
    assert person.returncode == 0


def query(data_dir: Path, statement: str) -> list[tuple[object, ...]]:
    url = embedded_postgres.locate(data_dir).url("postgres")
    with psycopg.connect(url, autocommit=True) as session:
        cursor = session.execute(statement)
        return cursor.fetchall() if cursor.description else []


def postmaster(data_dir: Path) -> int:
    return int((embedded_postgres.locate(data_dir).data / "postmaster.pid").read_text().split()[0])


def test_the_last_user_out_stops_the_server(data_dir: Path, launch: Launch) -> None:
    first, second = launch(), launch()
    wait_until_up(first, second)
    leave(first)
    assert embedded_postgres.is_running(data_dir)
    leave(second)
    assert not embedded_postgres.is_running(data_dir)


def test_many_users_at_once_start_one_server(data_dir: Path, launch: Launch) -> None:
    people = [launch() for _ in range(5)]
    wait_until_up(*people)
    query(data_dir, "SELECT 1")
    for person in people[:-1]:
        leave(person)
    assert embedded_postgres.is_running(data_dir)
    leave(people[-1])
    assert not embedded_postgres.is_running(data_dir)


def test_a_server_whose_users_were_killed_is_adopted_and_then_stopped(data_dir: Path, launch: Launch) -> None:
    first, second = launch(), launch()
    wait_until_up(first, second)
    query(data_dir, "CREATE TABLE kept AS SELECT 42 AS answer")
    orphan = postmaster(data_dir)
    for person in (first, second):
        person.kill()
        person.wait()
    assert embedded_postgres.is_running(data_dir)
    with embedded_postgres.use(data_dir, durable=True):
        assert postmaster(data_dir) == orphan
        assert query(data_dir, "SELECT answer FROM kept") == [(42,)]
    assert not embedded_postgres.is_running(data_dir)


def test_a_killed_server_is_started_again_with_its_data(data_dir: Path) -> None:
    with embedded_postgres.use(data_dir, durable=True) as hold:
        query(data_dir, "CREATE TABLE kept AS SELECT 42 AS answer")
        busy = psycopg.connect(hold.url("postgres"))
        busy.execute("SELECT 1")
        os.kill(postmaster(data_dir), signal.SIGKILL)
        with embedded_postgres.use(data_dir, durable=True):
            assert query(data_dir, "SELECT answer FROM kept") == [(42,)]
        busy.close()
    assert not embedded_postgres.is_running(data_dir)


def test_a_stale_pid_file_that_names_another_program_does_not_stop_it(data_dir: Path) -> None:
    with embedded_postgres.use(data_dir, durable=True):
        lines = (data_dir / "postmaster.pid").read_text().splitlines()
    (data_dir / "postmaster.pid").write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")
    assert not embedded_postgres.is_running(data_dir)
    with embedded_postgres.use(data_dir, durable=True):
        assert query(data_dir, "SELECT 1") == [(1,)]


def test_sigterm_releases_the_share(data_dir: Path, launch: Launch) -> None:
    person = launch()
    wait_until_up(person)
    person.terminate()
    assert person.wait() == 128 + signal.SIGTERM
    assert not embedded_postgres.is_running(data_dir)


def test_a_fork_is_no_user_of_its_own(data_dir: Path) -> None:
    reader, writer = os.pipe()
    with embedded_postgres.use(data_dir, durable=True):
        child = os.fork()
        if child == 0:
            os.close(writer)
            os.read(reader, 1)
            os._exit(0)
    assert not embedded_postgres.is_running(data_dir)
    os.close(writer)
    assert os.waitpid(child, 0)[1] == 0
    os.close(reader)


def test_reset_refuses_while_someone_uses_it(data_dir: Path) -> None:
    with embedded_postgres.use(data_dir, durable=True):
        query(data_dir, "CREATE TABLE kept AS SELECT 42 AS answer")
        with pytest.raises(embedded_postgres.EmbeddedPostgresError, match="in use"):
            embedded_postgres.reset(data_dir)
        assert query(data_dir, "SELECT answer FROM kept") == [(42,)]


def test_reset_deletes_everything(data_dir: Path) -> None:
    with embedded_postgres.use(data_dir, durable=True):
        query(data_dir, "CREATE TABLE kept AS SELECT 42 AS answer")
    embedded_postgres.reset(data_dir)
    assert not data_dir.exists()
    with embedded_postgres.use(data_dir, durable=True):
        assert query(data_dir, "SELECT count(*) FROM pg_class WHERE relname = 'kept'") == [(0,)]


def test_commits_are_durable_when_asked_for(data_dir: Path) -> None:
    with embedded_postgres.use(data_dir, durable=True):
        settings = "SELECT current_setting('fsync'), current_setting('synchronous_commit')"
        assert query(data_dir, settings) == [("on", "on")]


def test_text_is_utf8_in_a_locale_that_every_machine_has(data_dir: Path) -> None:
    with embedded_postgres.use(data_dir, durable=True):
        found = query(data_dir, "SELECT datlocprovider, datlocale, pg_encoding_to_char(encoding) FROM pg_database")
        assert set(found) == {("b", "C.UTF-8", "UTF8")}


def test_it_listens_on_no_network_address(data_dir: Path) -> None:
    with embedded_postgres.use(data_dir, durable=True):
        assert query(data_dir, "SHOW listen_addresses") == [("",)]


def test_parent_directories_keep_their_mode_and_owner(data_dir: Path) -> None:
    before = [(parent, parent.stat().st_mode, parent.stat().st_uid) for parent in data_dir.parents]
    with embedded_postgres.use(data_dir, durable=True):
        pass
    assert [(parent, parent.stat().st_mode, parent.stat().st_uid) for parent in data_dir.parents] == before


def test_a_path_too_long_for_a_socket_works(data_dir: Path) -> None:
    deep = data_dir.with_name("checkout " + "x" * 120) / "postgres"
    with embedded_postgres.use(deep, durable=True):
        assert query(deep, "SELECT 1") == [(1,)]
    embedded_postgres.reset(deep)
    assert not embedded_postgres.locate(deep).sockets.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives its server to another user")
def test_root_in_a_closed_tree_keeps_its_data_elsewhere_and_finds_it_again(data_dir: Path) -> None:
    data_dir.parent.chmod(0o700)
    with embedded_postgres.use(data_dir, durable=True):
        query(data_dir, "CREATE TABLE kept AS SELECT 42 AS answer")
    with embedded_postgres.use(data_dir, durable=True):
        assert query(data_dir, "SELECT answer FROM kept") == [(42,)]
    assert data_dir.parent.stat().st_mode & 0o777 == 0o700
    elsewhere = embedded_postgres.locate(data_dir).data
    assert not elsewhere.is_relative_to(data_dir.parent)
    embedded_postgres.reset(data_dir)
    assert not elsewhere.parent.exists()
