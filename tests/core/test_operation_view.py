"""The gates of an operation stand in one order, and only the last one moves anything."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from core.models import IdempotencyKey
from tests.core import edge, effects

pytestmark = [pytest.mark.urls("tests.core.edge"), pytest.mark.usefixtures("db")]

NOTES = "/api/v1/notes"


def post(body: Any, *, key: str | None = effects.KEY, api: APIClient | None = None, path: str = NOTES) -> Any:
    headers = {} if key is None else {"idempotency-key": key}
    return (api or edge.client()).post(path, body, format="json", headers=headers)


def test_first_use_acts_and_says_so() -> None:
    response = post({"name": "first"})
    assert response.status_code == 201
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["Idempotent-Replayed"] == "false"
    assert response.headers["Cache-Control"] == "no-store"
    assert response.json()["by"] == str(effects.ALICE)
    assert effects.notes("first") == 1


def test_a_repetition_gets_the_same_bytes_and_changes_nothing() -> None:
    first = post({"name": "once"})
    second = post({"name": "once"}, key=f'"{effects.KEY}"')
    assert (second.status_code, second.content) == (first.status_code, first.content)
    assert second.headers["Idempotent-Replayed"] == "true"
    assert effects.notes("once") == 1


def test_a_business_refusal_is_stored_and_replayed() -> None:
    first = post({"name": "refused"})
    assert first.status_code == 422
    assert first.headers["Content-Type"] == "application/problem+json"
    assert first.headers["Idempotent-Replayed"] == "false"
    second = post({"name": "refused"})
    assert second.content == first.content
    assert second.headers["Idempotent-Replayed"] == "true"
    assert second.headers["X-Request-ID"] != first.headers["X-Request-ID"]
    assert json.loads(second.content)["request_id"] == first.headers["X-Request-ID"]
    assert IdempotencyKey.objects.get().status == IdempotencyKey.Status.FAILED


def test_another_request_under_the_same_key_is_refused() -> None:
    post({"name": "one"})
    response = post({"name": "two"})
    assert (response.status_code, response.json()["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")
    assert effects.notes("two") == 0


def test_the_path_is_part_of_the_request() -> None:
    post({"name": "x"}, path=f"{NOTES}/a-")
    assert effects.notes("a-x") == 1
    assert post({"name": "x"}, path=f"{NOTES}/b-").json()["code"] == "IDEMPOTENCY_KEY_REUSED"
    assert effects.notes("b-x") == 0


def test_two_clients_may_use_the_same_key() -> None:
    assert post({"name": "both"}).status_code == 201
    assert post({"name": "both"}, api=edge.client(effects.BOB)).status_code == 201
    assert effects.notes("both") == 2


@pytest.mark.parametrize("name,code,status", [("missing", "TEST_NOTE_NOT_FOUND", 404)])
def test_what_is_not_final_leaves_the_key_free(name: str, code: str, status: int) -> None:
    response = post({"name": name})
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert "Idempotent-Replayed" not in response.headers
    assert not IdempotencyKey.objects.exists()
    assert post({"name": "found"}).status_code == 201


def test_gates_stand_in_order(settings: Any) -> None:
    settings.THROTTLES = {"money": "1/h"}
    malformed = {"nome": 1}
    # Everything is wrong: the first gate speaks.
    assert post(malformed, key=None, api=APIClient()).json()["code"] == "NOT_AUTHENTICATED"
    reader = edge.client(effects.ALICE, "read")
    assert post(malformed, key=None, api=reader).json()["code"] == "SCOPE_MISSING"
    assert post(malformed, key=None).json()["code"] == "VALIDATION_FAILED"  # takes the one attempt
    limited = post(malformed, key=None)
    assert limited.json()["code"] == "RATE_LIMITED"
    assert 0 < int(limited.headers["Retry-After"]) <= 3600
    settings.THROTTLES = {"money": "1000/m"}
    other = edge.client(effects.BOB)
    assert post(malformed, key=None, api=other).json()["code"] == "VALIDATION_FAILED"
    assert post({"name": "ok"}, key=None, api=other).json()["code"] == "IDEMPOTENCY_KEY_REQUIRED"
    assert post({"name": "ok"}, key="short", api=other).json()["code"] == "IDEMPOTENCY_KEY_INVALID"
    assert not IdempotencyKey.objects.exists()
    assert effects.notes("ok") == 0


@pytest.mark.parametrize("body", [{"name": ""}, {"name": 7}, {"name": "x", "extra": 1}, {}, {"name": "a\u202eb"}])
def test_a_malformed_body_costs_no_key(body: Any) -> None:
    response = post(body)
    assert response.status_code == 400
    assert response.json()["errors"]
    assert not IdempotencyKey.objects.exists()


def test_a_post_without_a_body_is_a_body_without_fields() -> None:
    response = edge.client().post(NOTES, headers={"idempotency-key": effects.KEY})
    assert response.json()["errors"][0] == {"field": "name", "code": "REQUIRED", "message": "This field is required."}


def test_listing_beside_the_operation_needs_its_own_scope_and_no_key() -> None:
    post({"name": "listed"})
    response = edge.client(effects.ALICE, "read").get(NOTES)
    assert response.status_code == 200
    assert [line["name"] for line in response.json()["results"]] == ["listed"]
    assert edge.client(effects.ALICE, "transfer").get(NOTES).json()["code"] == "SCOPE_MISSING"


def test_an_operation_costs_few_round_trips() -> None:
    """Throttle, savepoint for BEGIN, claim, write, complete, and its release: nothing else."""
    post({"name": "warm"}, key="warm-up-0123456789")
    with CaptureQueriesContext(
        connection,
    ) as queries:
        post({"name": "counted"})
    statements = [query["sql"].split()[0] for query in queries]
    assert statements == ["WITH", "SAVEPOINT", "WITH", "INSERT", "INSERT", "RELEASE"]
