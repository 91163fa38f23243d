"""Expired keys go, in batches and side by side, and what they stood for stays recognised."""

from __future__ import annotations

import io
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from core import idempotency
from core.ids import frame, uuid7
from core.models import IdempotencyKey, JobRun, ThrottleWindow
from tests.core import effects
from tests.database import Clone


def keys(count: int, *, hours_old: float) -> list[IdempotencyKey]:
    expires_at = timezone.now() - timedelta(hours=hours_old)
    return IdempotencyKey.objects.bulk_create(
        IdempotencyKey(
            owner=effects.ALICE,
            digest=frame("test", str(number), str(hours_old)),
            operation="NOTE",
            request_hash=b"x" * 32,
            status=IdempotencyKey.Status.COMPLETED,
            response_status=201,
            response_body=b"{}",
            effect_id=uuid7(),
            completed_at=expires_at,
            expires_at=expires_at,
        )
        for number in range(count)
    )


def purge(*arguments: str) -> dict[str, Any]:
    output = io.StringIO()
    call_command("purge_idempotency_keys", "--json", *arguments, stdout=output)
    counts: dict[str, Any] = json.loads(output.getvalue())
    return counts


def test_only_expired_keys_go(db: None) -> None:
    keys(7, hours_old=1)
    kept = {key.id for key in keys(3, hours_old=-1)}
    assert purge() == {"job": "purge_idempotency_keys", "expired": 7, "deleted": 7}
    assert set(IdempotencyKey.objects.values_list("id", flat=True)) == kept
    run = JobRun.objects.get()
    assert (run.status, run.counts) == (JobRun.Status.SUCCEEDED, {"expired": 7, "deleted": 7})


def test_a_dry_run_counts_and_deletes_nothing(db: None) -> None:
    keys(7, hours_old=1)
    assert purge("--dry-run") == {"job": "purge_idempotency_keys", "expired": 7, "deleted": 0}
    assert IdempotencyKey.objects.count() == 7
    assert not JobRun.objects.exists()


def test_a_batch_is_a_transaction_of_its_own(db: None) -> None:
    keys(25, hours_old=1)
    with CaptureQueriesContext(connection) as queries:
        assert purge("--batch", "10")["deleted"] == 25
    deletes = [query["sql"] for query in queries if query["sql"].startswith("DELETE")]
    locks = [query["sql"] for query in queries if "SKIP LOCKED" in query["sql"]]
    assert (len(deletes), len(locks)) == (3, 4)
    assert all("LIMIT 10" in lock and 'ORDER BY "core_idempotencykey"."expires_at"' in lock for lock in locks)


def test_the_oldest_go_first(db: None) -> None:
    keys(3, hours_old=1)
    keys(3, hours_old=5)
    assert idempotency.purge_expired_keys(before=timezone.now(), limit=3) == 3
    assert all(key.expires_at > timezone.now() - timedelta(hours=2) for key in IdempotencyKey.objects.all())


def test_keys_that_another_purger_holds_are_left_to_it(committed_db: Clone) -> None:
    held = keys(4, hours_old=5)
    keys(6, hours_old=1)
    with ThreadPoolExecutor(1) as thread, transaction.atomic():
        list(IdempotencyKey.objects.select_for_update(no_key=False).filter(id__in=[key.id for key in held]))

        def other() -> int:
            try:
                return idempotency.purge_expired_keys(before=timezone.now(), limit=100)
            finally:
                connection.close()

        assert thread.submit(other).result(10) == 6
    assert IdempotencyKey.objects.count() == 4


def test_purgers_side_by_side_delete_each_key_once(committed_db: Clone) -> None:
    keys(1_000, hours_old=1)
    keep = keys(5, hours_old=-1)

    def purger(_: int) -> int:
        deleted = 0
        try:
            while gone := idempotency.purge_expired_keys(before=timezone.now(), limit=37):
                deleted += gone
        finally:
            connection.close()
        return deleted

    with ThreadPoolExecutor(4) as threads:
        assert sum(threads.map(purger, range(4))) == 1_000
    assert IdempotencyKey.objects.count() == len(keep)


def test_a_purged_answer_is_not_given_again(db: None) -> None:
    effects.take_note(name="a", claim=effects.claim())
    IdempotencyKey.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    with pytest.raises(idempotency.IdempotencyKeyExpired):
        effects.take_note(name="a", claim=effects.claim())
    assert purge()["deleted"] == 1


def test_quiet_throttle_buckets_go_the_same_way(db: None) -> None:
    now = timezone.now()
    for number, hours in enumerate((5, 3, 2, 0)):
        ThrottleWindow.objects.create(key=bytes([number]) * 32, tokens_at=now - timedelta(hours=hours))
    output = io.StringIO()
    call_command("purge_throttles", "--json", "--batch", "2", stdout=output)
    assert json.loads(output.getvalue()) == {"job": "purge_throttles", "quiet": 3, "deleted": 3}
    assert ThrottleWindow.objects.count() == 1
