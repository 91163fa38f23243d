"""No statement gets more time than its request has left, inside a transaction or outside of one."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction
from django.test.utils import CaptureQueriesContext

from core import db
from core.db import deadline, remaining_ms, statement_timeout_ms
from core.errors import DeadlineExceeded
from core.models import KillSwitch
from tests.core import link
from tests.database import Clone


def sql(statement: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchone()


def seconds(act: Any) -> float:
    started = time.monotonic()
    act()
    return time.monotonic() - started


def sleep_too_long() -> None:
    with pytest.raises(OperationalError) as caught:
        sql("SELECT pg_sleep(3)")
    assert db.classify(caught.value) is db.Fault.STATEMENT_TIMEOUT


def test_a_read_outside_a_transaction_ends_with_the_deadline(committed_db: Clone) -> None:
    sql("SELECT 1")
    with deadline(0.3):
        assert seconds(sleep_too_long) < 0.6
    assert sql("SHOW statement_timeout") == ("5s",)


def test_a_statement_in_a_transaction_ends_with_the_deadline(committed_db: Clone) -> None:
    def act() -> None:
        with transaction.atomic():
            sql("SELECT 1")
            with deadline(0.3):
                sql("SELECT pg_sleep(3)")

    started = time.monotonic()
    with pytest.raises(OperationalError):
        act()
    assert time.monotonic() - started < 0.6
    assert sql("SHOW statement_timeout") == ("5s",)


def test_what_was_left_of_the_time_is_not_left_to_others(committed_db: Clone) -> None:
    with deadline(3):
        assert sql("SELECT current_setting('statement_timeout')")[0] != "5s"
        with transaction.atomic():
            sql("SELECT 1")
    assert sql("SHOW statement_timeout") == ("5s",)


def test_several_statements_share_what_is_left(committed_db: Clone) -> None:
    started = time.monotonic()
    with deadline(0.5):
        sql("SELECT pg_sleep(0.2)")
        sql("SELECT pg_sleep(0.2)")
        sleep_too_long()
    assert time.monotonic() - started < 0.9


def test_the_orm_and_the_prepared_statements_keep_it_too(committed_db: Clone) -> None:
    sql("SELECT 1")
    with deadline(0.3), pytest.raises(OperationalError):
        db.fetch_all("SELECT pg_sleep(%(seconds)s)", {"seconds": 3})
    with deadline(0.3):
        assert not KillSwitch.objects.filter(scope="none").exists()
        KillSwitch.objects.create(scope="made near the end")
    assert KillSwitch.objects.count() == 1


def test_a_spent_deadline_asks_the_server_nothing(committed_db: Clone, tmp_path: Path) -> None:
    sql("SELECT 1")
    wire, said = connection.connection.pgconn, tmp_path / "said"
    with said.open("w") as file, deadline(0):
        wire.trace(file.fileno())
        with pytest.raises(DeadlineExceeded) as caught:
            KillSwitch.objects.create(scope="too late")
        wire.untrace()
    assert said.read_text() == ""
    assert caught.value.status == 503
    assert not KillSwitch.objects.exists()


def test_a_link_so_slow_that_the_limit_is_all_there_is_time_for(committed_db: Clone) -> None:
    with link.cuttable() as proxy:
        sql("SELECT 1")
        proxy.delay_seconds = 0.1
        with deadline(0.3), pytest.raises(DeadlineExceeded):
            KillSwitch.objects.create(scope="too late")
        proxy.delay_seconds = 0.0
        assert not KillSwitch.objects.exists()
        KillSwitch.objects.create(scope="in time")
    assert KillSwitch.objects.count() == 1


def test_a_distant_deadline_costs_nothing(committed_db: Clone) -> None:
    sql("SELECT 1")
    with CaptureQueriesContext(connection) as queries, deadline(30):
        assert sql("SHOW statement_timeout") == ("5s",)
        assert sql("SHOW lock_timeout") == ("2s",)
    assert len(queries) == 2


def test_remaining_time_is_never_negative_and_ends_with_the_block() -> None:
    assert remaining_ms() is None
    assert statement_timeout_ms() == 5_000
    with deadline(2):
        left = remaining_ms()
        assert left is not None
        assert 1_900 < left <= 2_000
        assert statement_timeout_ms() <= 2_000
        with deadline(0.001):
            time.sleep(0.01)
            assert remaining_ms() == 0
            assert statement_timeout_ms() == 1
        left = remaining_ms()
        assert left is not None
        assert left > 1_500
    assert remaining_ms() is None


def test_an_inner_deadline_cannot_outlive_the_outer_one() -> None:
    with deadline(1), deadline(60):
        left = remaining_ms()
        assert left is not None
        assert left <= 1_000


def test_another_thread_has_its_own() -> None:
    seen: list[int | None] = []
    with deadline(1):
        thread = threading.Thread(target=lambda: seen.append(remaining_ms()))
        thread.start()
        thread.join()
    assert seen == [None]
