"""The proxy passes everything on as it is, and what it does to a session it does exactly then."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import psycopg
import pytest

from bench.faults.proxy import Proxy, When
from tests.database import Clone

Session = psycopg.Connection[Any]


@pytest.fixture
def proxy(committed_db: Clone) -> Iterator[Proxy]:
    with psycopg.connect(committed_db.url) as direct:
        host, port = direct.info.host, direct.info.port
    with Proxy.before(host, port) as made:
        yield made


@pytest.fixture
def session(proxy: Proxy, committed_db: Clone) -> Iterator[Session]:
    with psycopg.connect(committed_db.url, host="127.0.0.1", port=proxy.port, autocommit=True) as made:
        yield made


def write(session: Session) -> None:
    session.execute("BEGIN")
    session.execute("INSERT INTO core_killswitch (scope, engaged, reason, changed_at) VALUES ('A', false, '', now())")


def written(committed_db: Clone) -> int:
    with psycopg.connect(committed_db.url, autocommit=True) as direct:
        return direct.execute("SELECT FROM core_killswitch").rowcount


def plainly(session: Session) -> None:
    session.execute("COMMIT")


def with_parameters(session: Session) -> None:
    session.pgconn.exec_params(b"commit;", [])


def prepared(session: Session) -> None:
    session.pgconn.prepare(b"other", b"SELECT 1")
    session.pgconn.prepare(b"end", b"COMMIT")
    session.pgconn.exec_prepared(b"other", [])
    session.pgconn.exec_prepared(b"end", [])


@pytest.mark.parametrize("commit", [plainly, with_parameters, prepared])
@pytest.mark.parametrize("when,rows", [("before", 0), ("after", 1)])
def test_a_commit_is_cut_however_it_is_said(
    proxy: Proxy, session: Session, committed_db: Clone, commit: Callable[[Session], None], when: When, rows: int
) -> None:
    write(session)
    proxy.cut_at_commit(when)
    assert session.execute("SELECT 'COMMIT'").fetchone() == ("COMMIT",)
    with suppress(psycopg.OperationalError):  # libpq itself does not raise
        commit(session)
    assert session.pgconn.status == psycopg.pq.ConnStatus.BAD
    assert (proxy.cuts, written(committed_db)) == (1, rows)


def test_a_cut_is_for_one_commit(proxy: Proxy, session: Session, committed_db: Clone) -> None:
    proxy.cut_at_commit("before")
    with pytest.raises(psycopg.OperationalError):
        plainly(session)
    with psycopg.connect(committed_db.url, host="127.0.0.1", port=proxy.port, autocommit=True) as again:
        write(again)
        plainly(again)
    assert (proxy.cuts, written(committed_db)) == (1, 1)
    with pytest.raises(RuntimeError):
        proxy.wait_for_cuts(2, 0.01)


def test_large_messages_pass_whole_in_both_directions(session: Session) -> None:
    text = "0123456789" * 100_000
    assert session.execute("SELECT %s::text FROM generate_series(1, 3)", [text]).fetchall() == [(text,)] * 3
    assert session.execute("SELECT n FROM generate_series(1, 20000) n").fetchall()[-1] == (20_000,)


def test_every_message_is_late_in_both_directions(proxy: Proxy, session: Session) -> None:
    proxy.delay_seconds = 0.1
    started = time.monotonic()
    session.execute("SELECT 1")
    assert 0.2 <= time.monotonic() - started < 0.5
    proxy.delay_seconds = 0


def test_nothing_passes_while_it_is_held(proxy: Proxy, session: Session) -> None:
    with ThreadPoolExecutor(1) as threads:
        with proxy.held():
            asked = threads.submit(session.execute, "SELECT 1")
            with pytest.raises(TimeoutError):
                asked.result(0.3)
        assert asked.result(5).fetchone() == (1,)
