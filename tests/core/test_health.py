"""Live needs nothing, ready needs the database and its migrations, and the rest informs."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone
from prometheus_client import values

from core import health, metrics
from core.models import JobRun
from tests import database
from tests.database import Clone

pytestmark = pytest.mark.urls("tests.core.edge")


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    """Each test looks up the migrations for itself."""
    health._migrated.clear()
    yield
    with health._busy:
        health._migrated.clear()


def ready() -> tuple[int, dict[str, Any]]:
    response = Client().get("/health/ready")
    return response.status_code, response.json()


def test_live_asks_the_database_nothing() -> None:
    # No database fixture here: pytest-django fails the test at the first query.
    response = Client().get("/health/live")
    assert (response.status_code, response.json()) == (200, {"status": "live"})


def test_ready_looks_at_the_database_its_migrations_and_the_jobs(committed_db: Clone) -> None:
    now = timezone.now()
    JobRun.objects.create(name="run_risk", status="FAILED", started_at=now - timedelta(hours=2))
    JobRun.objects.create(name="run_risk", started_at=now - timedelta(hours=1), beat_at=now - timedelta(seconds=30))
    status, document = ready()
    assert status == 200
    assert document["status"] == "ready"
    assert (document["database"], document["migrations"]) == ("ok", "applied")
    assert document["pool"]["kind"] == "one connection per thread"
    assert document["jobs"]["run_risk"]["status"] == "RUNNING"
    assert 29 <= document["jobs"]["run_risk"]["seconds_since"] <= 40


def test_ready_tells_the_metrics_which_job_failed_and_which_is_silent(committed_db: Clone) -> None:
    now = timezone.now()
    JobRun.objects.create(name="verify_ledger", status="FAILED", started_at=now, beat_at=now, ended_at=now)
    hour = timedelta(hours=1)
    JobRun.objects.create(name="fold_house", status="SUCCEEDED", started_at=now - hour, beat_at=now - hour)
    ready()
    assert metrics.JOB_IS_FAILED.labels("verify_ledger")._value.get() == 1
    assert metrics.JOB_IS_FAILED.labels("fold_house")._value.get() == 0
    assert metrics.JOB_SILENT_SECONDS.labels("verify_ledger")._value.get() < 60
    assert 3_600 <= metrics.JOB_SILENT_SECONDS.labels("fold_house")._value.get() < 3_660


def test_ready_keeps_no_connection_of_its_own(committed_db: Clone) -> None:
    def sessions() -> int:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
            count: int = cursor.fetchone()[0]
            return count

    before = sessions()
    for _ in range(3):
        assert ready()[0] == 200
    deadline = time.monotonic() + 5
    while sessions() > before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert sessions() == before


def test_not_ready_while_migrations_are_missing(committed_db: Clone) -> None:
    with database.as_owner() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'core' RETURNING app, name, applied")
        rows = cursor.fetchall()
        try:
            assert ready() == (503, ready()[1])
            assert ready()[1]["migrations"] == "pending"
        finally:
            cursor.executemany("INSERT INTO django_migrations (app, name, applied) VALUES (%s, %s, %s)", rows)
    assert ready()[0] == 200


def test_not_ready_within_a_moment_when_the_database_is_gone(
    committed_db: Clone, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(connection.settings_dict, "HOST", str(tmp_path))
    started = time.monotonic()
    response = Client().get("/health/ready")
    assert time.monotonic() - started < 2.5
    assert response.status_code == 503
    assert response.json() == {"status": "not ready", "database": "unreachable"}
    assert response.headers["Retry-After"] == "1"
    assert Client().get("/health/live").status_code == 200


def test_not_ready_within_half_a_second_when_the_database_hangs(
    committed_db: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hang() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(1.5)")
        connection.close()

    monkeypatch.setattr(health, "_ask_database", hang)
    started = time.monotonic()
    assert ready() == (503, {"status": "not ready", "database": "slow"})
    assert 0.4 < time.monotonic() - started < 1
    # While that look has not come back, nobody else waits for another.
    started = time.monotonic()
    assert ready() == (503, {"status": "not ready", "database": "busy"})
    assert time.monotonic() - started < 0.2


def test_a_rooms_check_informs_and_decides_nothing(committed_db: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    def break_down() -> dict[str, Any]:
        raise LookupError("nobody has quoted yet")

    monkeypatch.setattr(health, "_checks", {})
    health.register("quotes", lambda: {"seconds_since": 7})
    health.register("broken", break_down)
    status, document = ready()
    assert status == 200
    assert document["quotes"] == {"seconds_since": 7}
    assert document["broken"] == {"error": "unavailable"}
    with pytest.raises(AssertionError):
        health.register("quotes", break_down)


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/metrics"])
def test_probes_are_read_only(path: str) -> None:
    assert Client().post(path).status_code == 405


def scrape(address: str = "127.0.0.1", **headers: str) -> Any:
    return Client(REMOTE_ADDR=address).get("/metrics", headers=headers)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "::1"])
def test_metrics_are_for_this_host(address: str) -> None:
    metrics.REPLAYS.inc()
    response = scrape(address)
    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith("text/plain")
    assert b"desk_idempotent_replays_total" in response.content
    assert b"desk_request_seconds_bucket" in response.content


@pytest.mark.parametrize("address", ["192.0.2.7", "10.0.0.1", "2001:db8::1", ""])
def test_metrics_are_not_for_others(address: str) -> None:
    response = scrape(address)
    assert response.status_code == 403
    assert b"desk_" not in response.content


def test_a_proxy_on_this_host_makes_nobody_local(settings: Any) -> None:
    assert scrape(**{"x-forwarded-for": "203.0.113.9"}).status_code == 403
    settings.TRUST_PROXY_HEADERS = True
    assert scrape(**{"x-forwarded-for": "203.0.113.9"}).status_code == 403
    assert scrape(**{"x-forwarded-for": "127.0.0.1"}).status_code == 200


def test_a_token_opens_the_metrics_from_anywhere_and_only_it(settings: Any) -> None:
    settings.METRICS_TOKEN = "a-long-scraping-token"
    assert scrape("192.0.2.7", authorization="Bearer a-long-scraping-token").status_code == 200
    assert scrape("192.0.2.7", authorization="Bearer a-long-scraping-tokem").status_code == 403
    assert scrape("192.0.2.7", authorization="Bearer é").status_code == 403
    assert scrape("127.0.0.1").status_code == 403


def test_metrics_add_up_over_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    for process in (1001, 1002):
        make = values.MultiProcessValue(lambda process=process: process)
        make("counter", "desk_test", "desk_test_total", (), (), "A test's counter.").inc(3)
    assert b"desk_test_total 6.0" in scrape().content
