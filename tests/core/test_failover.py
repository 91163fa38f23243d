"""A desk that knows both servers leaves the one that stopped taking writes, and finds the one that began to."""

from __future__ import annotations

import os
import runpy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from django.db import InternalError, NotSupportedError, ProgrammingError, close_old_connections, connection, transaction

from bench.load import processes
from bench.load.pair import Pair
from bench.load.systems import Server
from core.db import Fault, classify, retry_on_conflict, sqlstate
from core.errors import DatabaseUnavailable
from core.postgres.base import DatabaseWrapper
from scripts import embedded_postgres, environment
from scripts.embedded_postgres import SUPERUSER
from tests.database import Clone


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Two small servers of their own, for what cannot be done to the one that other tests use."""
    places = [environment.VAR / f"test-{name}-{os.getpid()}" for name in ("one", "two")]
    primary = Server(places[0])
    primary.execute("CREATE TABLE note (name text PRIMARY KEY)")
    primary.execute("CREATE UNLOGGED TABLE draft (name text)")
    try:
        with Pair.of(primary, places[1]) as made:
            yield made
    finally:
        primary.hold.release()
        embedded_postgres.reset(places[0])
        for lock in places[0].parent.glob(f"test-*-{os.getpid()}.*"):
            lock.unlink()


def settings_of(url: str) -> dict[str, Any]:
    """What settings make of a DATABASE_URL."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATABASE_URL", url)
        made: dict[str, Any] = runpy.run_path(str(environment.ROOT / "config" / "settings.py"))["DATABASES"]["default"]
    return made


@pytest.fixture
def knows_both(pair: Pair, committed_db: Clone) -> Iterator[Pair]:
    """Django's connection with a DATABASE_URL that names both."""
    connection.close()
    settings, kept = connection.settings_dict, dict(connection.settings_dict)
    settings |= settings_of(pair.url(SUPERUSER))
    yield pair
    connection.close()
    connection._connection_pools.pop("default").close()  # type: ignore[attr-defined]  # PostgreSQL's own
    settings |= kept


@retry_on_conflict
@transaction.atomic(durable=True)
def take(note: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO note VALUES (%s)", [note])


def take_outside_a_service(note: str) -> None:
    """As a throttle counts: one statement, which nobody runs again."""
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO note VALUES (%s)", [note])


def is_at(server: Server) -> bool:
    host: str = connection.connection.info.host
    return host == str(server.hold.cluster.sockets)


@contextmanager
def session_at(server: Server) -> Iterator[None]:
    """Django's connection goes to this server, whatever that is."""
    connection.close()
    settings, kept = connection.settings_dict, dict(connection.settings_dict)
    settings |= settings_of(server.url(SUPERUSER))
    yield
    connection.close()
    settings |= kept


def make_read_only(server: Server) -> None:
    server.execute("ALTER SYSTEM SET default_transaction_read_only = on")
    server.execute("SELECT pg_reload_conf()")
    shown = "SHOW default_transaction_read_only"
    processes.wait_for(lambda: server.execute(shown) == [("on",)], 10, "the change")


@contextmanager
def pooled() -> Iterator[None]:
    """Django takes its session from a pool of one, as with DATABASE_POOL_SIZE, and gives it back at the end."""
    connection.close()
    settings, kept = connection.settings_dict, dict(connection.settings_dict)
    settings |= {"CONN_MAX_AGE": 0, "OPTIONS": kept["OPTIONS"] | {"pool": {"min_size": 1, "max_size": 1, "timeout": 5}}}
    yield
    connection.close()
    settings |= kept


def test_hosts_with_ports_are_each_tried() -> None:
    given = settings_of("postgresql://desk:secret@127.0.0.1:1,127.0.0.1:2/desk?target_session_attrs=read-write")
    assert given["OPTIONS"]["target_session_attrs"] == "read-write"
    probe = DatabaseWrapper(connection.settings_dict | given, "probe")
    with pytest.raises(psycopg.OperationalError) as refused:
        probe.connect()
    assert "port: '1'" in str(refused.value)
    assert "port: '2'" in str(refused.value)


def test_it_goes_where_writes_are_taken(knows_both: Pair) -> None:
    first, second = knows_both.primary, knows_both.standby
    with session_at(second), connection.cursor() as cursor:  # a table without a log is not there on a standby
        with pytest.raises(NotSupportedError) as missing:
            cursor.execute("SELECT FROM draft")
        assert (sqlstate(missing.value), classify(missing.value)) == ("0A000", Fault.READ_ONLY)
        with pytest.raises(ProgrammingError) as mistaken:
            cursor.execute("SELECT FROM nothing_of_this_name")
        assert classify(mistaken.value) is Fault.OTHER
    with pooled():
        take("from a pool")
        assert is_at(first)
    take("before")
    assert is_at(first)

    make_read_only(first)
    with pytest.raises(InternalError) as refused:
        take_outside_a_service("refused")
    assert sqlstate(refused.value) == "25006"
    close_old_connections()  # what Django does as the next request starts
    assert connection.connection is None
    with pytest.raises(DatabaseUnavailable):  # one takes no writes any more, the other does not yet
        take("nowhere")

    knows_both.promote()
    take("after")
    assert is_at(second)
    with pooled():  # which still has a session at the first: that one is refused, and not lent again
        take("from a pool, after")
        assert is_at(second)
    processes.kill(first.pid)
    take("without the first")
    assert is_at(second)

    notes = {name for (name,) in second.execute("SELECT name FROM note")}
    assert notes == {"from a pool", "before", "after", "from a pool, after", "without the first"}
