"""A kept connection is asked whether it is there only now and then, and its end is noticed all the same."""

from __future__ import annotations

import threading
import time
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from django.db import DataError, close_old_connections, connection
from django.db import Error as DatabaseFault
from django.test import Client
from django.utils import timezone

from core import db
from core.ids import uuid7
from core.postgres.base import ASK_EVERY_SECONDS, numbered
from tests.database import Clone
from tests.wire import round_trips


def ask() -> Any:
    return db.fetch_all("SELECT %(number)s::int + 1", {"number": 41})[0][0]


def as_a_request() -> Any:
    close_old_connections()  # what Django does as a request starts
    return ask()


def backend() -> int:
    pid: int = db.fetch_all("SELECT pg_backend_pid()", {})[0][0]
    return pid


def end(clone: Clone, pid: int) -> None:
    with psycopg.connect(clone.direct_url, autocommit=True) as session:
        assert session.execute("SELECT pg_terminate_backend(%s, 5000)", [pid]).fetchone() == (True,)


def test_a_connection_used_a_moment_ago_is_not_asked(committed_db: Clone) -> None:
    as_a_request()
    assert round_trips(as_a_request) == 1


def test_one_that_was_not_asked_for_a_while_is(committed_db: Clone) -> None:
    as_a_request()

    def later() -> None:
        connection.asked_at = time.monotonic() - ASK_EVERY_SECONDS  # type: ignore[attr-defined]  # our backend
        as_a_request()

    assert round_trips(later) == 2


def test_a_request_does_not_meet_a_server_that_has_gone(committed_db: Clone) -> None:
    as_a_request()
    gone = backend()
    end(committed_db, gone)
    assert as_a_request() == 42
    assert backend() != gone


def test_after_an_error_the_server_is_asked(committed_db: Clone) -> None:
    as_a_request()
    with pytest.raises(DatabaseFault):
        db.fetch_all("SELECT * FROM nowhere", {})
    assert connection.errors_occurred
    assert round_trips(as_a_request) == 2
    assert not connection.errors_occurred


def test_a_connection_that_was_closed_is_made_anew(committed_db: Clone) -> None:
    as_a_request()
    connection.connection.close()
    assert as_a_request() == 42


def test_what_was_fetched_stays_when_the_cursor_is_used_again(committed_db: Clone) -> None:
    first = db.fetch_all("SELECT generate_series(1, %(last)s::int)", {"last": 3})
    second = db.fetch_all("SELECT generate_series(4, %(last)s::int)", {"last": 5})
    assert (first, second) == ([(1,), (2,), (3,)], [(4,), (5,)])


def test_other_threads_work_while_a_statement_waits(committed_db: Clone) -> None:
    turns = 0
    is_over = threading.Event()

    def work() -> None:
        nonlocal turns
        while not is_over.wait(0.001):
            turns += 1

    thread = threading.Thread(target=work)
    thread.start()
    db.fetch_all("SELECT pg_sleep(%(seconds)s::float8)", {"seconds": 0.5})
    is_over.set()
    thread.join()
    assert turns > 50


def test_a_refused_statement_says_why_and_leaves_the_connection_usable(committed_db: Clone) -> None:
    for _ in range(2):  # when it is prepared, and afterwards
        with pytest.raises(DataError) as refused:
            db.fetch_all("SELECT 1 / %(number)s::int", {"number": 0})
        assert db.sqlstate(refused.value) == "22012"
        assert ask() == 42


def test_one_plan_serves_whatever_the_values_are(committed_db: Clone) -> None:
    sql = "SELECT %(amount)s::numeric, %(when)s::timestamptz, %(ids)s::uuid[], %(data)s::bytea"
    now, some = timezone.now(), uuid7()
    values: tuple[Any, ...]
    for values in ((Decimal("1.50"), now, [some], b"\x00\xff"), (None, None, [], None), (7, None, None, b"")):
        params = dict(zip(("amount", "when", "ids", "data"), values, strict=True))
        assert db.fetch_all(sql, params) == [values]
    ((count,),) = db.fetch_all(
        "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE %(what)s::text",
        {"what": "SELECT $1::numeric, $2::timestamptz%"},
    )
    assert count == 1


def test_a_session_that_is_lent_again_knows_what_was_prepared(committed_db: Clone) -> None:
    ask()
    lent = connection.connection
    connection.connection = None  # as a pool takes it back
    connection.ensure_connection()
    ask()
    other, connection.connection = connection.connection, lent
    other.close()
    assert round_trips(ask) == 1


def test_without_sessions_nothing_is_prepared(committed_db: Clone) -> None:
    connection.ensure_connection()
    connection.connection.prepare_threshold = None  # as behind PgBouncer
    assert ask() == 42
    assert db.fetch_all("SELECT count(*) FROM pg_prepared_statements", {}) == [(0,)]


def test_parameters_are_numbered_in_the_order_they_are_met() -> None:
    sql = "SELECT %(b)s::text, %(a)s::text, %(b)s::text LIKE '100%%'"
    assert numbered(sql)[:2] == (b"SELECT $1::text, $2::text, $1::text LIKE '100%'", ("b", "a"))


def test_a_parameter_that_is_missing_is_named(committed_db: Clone) -> None:
    with pytest.raises(KeyError, match="number"):
        db.fetch_all("SELECT %(number)s::int", {})


def test_the_api_has_no_session_and_pages_have(db: None) -> None:
    client = Client()
    assert not hasattr(client.get("/api/v1/instruments").wsgi_request, "session")
    assert hasattr(client.get("/admin/login/").wsgi_request, "session")
