"""Attempts are counted exactly, over all threads and processes, and a refusal says when to come back."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from core.models import ThrottleWindow
from core.throttling import RateLimited, peek, purge_windows, refund, reset, throttle
from tests.core import edge, effects
from tests.database import Clone

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def rates(settings: Any) -> None:
    settings.THROTTLES = {"login": "5/m", "burst": "20/m", "slow": "1/h", "fast": "10/s", "money": "2/m"}


def seconds(count: float) -> timedelta:
    return timedelta(seconds=count)


def attempts(scope: str, *ident: str, now: datetime = NOW, count: int = 1) -> str:
    """One letter per attempt: let through or refused."""
    outcome = ""
    for _ in range(count):
        try:
            throttle(scope, *ident, now=now)
            outcome += "+"
        except RateLimited:
            outcome += "-"
    return outcome


def test_lets_the_whole_allowance_through_at_once(db: None) -> None:
    assert attempts("login", "alice", count=7) == "+++++--"


def test_gives_back_one_attempt_per_interval(db: None) -> None:
    attempts("login", "alice", count=5)
    assert attempts("login", "alice", now=NOW + seconds(11)) == "-"
    assert attempts("login", "alice", now=NOW + seconds(12), count=2) == "+-"
    assert attempts("login", "alice", now=NOW + seconds(36), count=3) == "++-"
    assert attempts("login", "alice", now=NOW + seconds(3600), count=6) == "+++++-"


def test_never_lets_more_than_the_allowance_through_in_any_period(db: None) -> None:
    outcomes = [attempts("login", "alice", now=NOW + seconds(second)) for second in range(600)]
    for start in range(540):
        # A full bucket and what drips in meanwhile: at most twice the rate in the first minute, the rate afterwards.
        assert outcomes[start : start + 60].count("+") <= (10 if start < 60 else 5)
    assert outcomes.count("+") == 5 + 588 // 12


def test_says_how_long_to_wait(db: None) -> None:
    attempts("login", "alice", count=5)
    with pytest.raises(RateLimited) as caught:
        throttle("login", "alice", now=NOW + seconds(4.5))
    assert caught.value.retry_after_seconds == 8
    assert caught.value.context == {"retry_after": 8}
    assert attempts("login", "alice", now=NOW + seconds(4.5 + 8)) == "+"


def test_a_refused_attempt_lengthens_no_wait_and_writes_nothing(db: None) -> None:
    attempts("slow", "alice")
    before = ThrottleWindow.objects.values().get()
    assert attempts("slow", "alice", now=NOW + seconds(60), count=50) == "-" * 50
    assert ThrottleWindow.objects.values().get() == before
    assert attempts("slow", "alice", now=NOW + seconds(3600)) == "+"


def test_counts_each_identity_and_scope_apart(db: None) -> None:
    assert attempts("slow", "alice") == attempts("slow", "bob") == attempts("login", "alice") == "+"
    assert attempts("slow", "ab", "c") == attempts("slow", "a", "bc") == attempts("slow", "abc") == "+"


def test_counts_in_one_statement(db: None) -> None:
    with CaptureQueriesContext(connection) as queries:
        attempts("slow", "alice", count=3)
    assert len(queries) == 3


def test_a_look_counts_nothing(db: None) -> None:
    for _ in range(10):
        peek("login", "alice", now=NOW)
    attempts("login", "alice", count=4)
    peek("login", "alice", now=NOW)
    attempts("login", "alice")
    with pytest.raises(RateLimited) as caught:
        peek("login", "alice", now=NOW)
    assert caught.value.retry_after_seconds == 12
    peek("login", "alice", now=NOW + seconds(12))


def test_only_failures_count_when_successes_are_refunded(db: None) -> None:
    for _ in range(50):
        throttle("login", "alice", now=NOW)
        refund("login", "alice")
    assert attempts("login", "alice", count=6) == "+++++-"


def test_a_reset_forgets_everything(db: None) -> None:
    attempts("login", "alice", count=5)
    reset("login", "alice")
    assert not ThrottleWindow.objects.exists()
    assert attempts("login", "alice", count=6) == "+++++-"


def test_wrong_log_ins_from_one_address_leave_the_other_addresses_alone(db: None) -> None:
    assert attempts("login", "alice", "192.0.2.1", count=6) == "+++++-"
    assert attempts("login", "alice", "192.0.2.2") == "+"


def test_threads_share_one_count(committed_db: Clone) -> None:
    def attempt(_: int) -> str:
        try:
            throttle("burst", "alice", now=NOW)
        except RateLimited as error:
            return f"refused for {error.retry_after_seconds} s"
        finally:
            connection.close()
        return "let through"

    with ThreadPoolExecutor(16) as threads:
        assert Counter(threads.map(attempt, range(200))) == {"let through": 20, "refused for 3 s": 180}


def test_the_table_costs_no_disk_flush(db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT relpersistence FROM pg_class WHERE oid = 'core_throttlewindow'::regclass")
        assert cursor.fetchone() == ("u",)


def test_quiet_buckets_are_purged_in_batches(db: None) -> None:
    for number in range(5):
        attempts("login", f"old-{number}")
    attempts("login", "new", now=NOW + seconds(7200))
    before = NOW + seconds(3600)
    assert [purge_windows(before=before, limit=3) for _ in range(3)] == [3, 2, 0]
    assert ThrottleWindow.objects.count() == 1


@pytest.mark.urls("tests.core.edge")
def test_a_view_counts_what_changes_something_and_nothing_else(db: None) -> None:
    api = edge.client()
    assert [api.post("/api/v1/notes", {}, format="json").status_code for _ in range(3)] == [400, 400, 429]
    assert [api.get("/api/v1/notes").status_code for _ in range(3)] == [200, 200, 200]
    other = edge.client(effects.BOB)
    assert other.post("/api/v1/notes", {}, format="json").status_code == 400


@pytest.mark.urls("tests.core.edge")
def test_a_view_may_count_by_something_else(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        edge.NotesView, "throttle_ident", lambda _view, request: request.META["REMOTE_ADDR"], raising=False
    )
    statuses = [edge.client(effects.some_id()).post("/api/v1/notes", {}, format="json").status_code for _ in range(3)]
    assert statuses == [400, 400, 429]
