"""Whatever goes wrong, a client gets one shape, a stable code, and nothing from inside."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from rest_framework.test import APIClient

from core.errors import REGISTRY
from tests.core import edge, effects

pytestmark = pytest.mark.urls("tests.core.edge")


def problem(response: Any, code: str, status: int) -> dict[str, Any]:
    assert response.headers["Content-Type"] == "application/problem+json"
    document: dict[str, Any] = response.json()
    assert set(document) == {
        *("type", "title", "status", "detail", "instance", "code", "errors", "context", "request_id"),
    }
    assert document["code"] == code
    assert document["status"] == response.status_code == status
    assert document["type"] == f"/api/v1/error-codes#{code}"
    assert document["request_id"] == response.headers["X-Request-ID"]
    assert response.headers["Cache-Control"] == "no-store"
    assert REGISTRY[code].status == status
    assert edge.SECRET not in response.content.decode()
    return document


@pytest.mark.parametrize(
    "kind,code,status,retry_after",
    [
        ("domain", "NOT_FOUND", 404, None),
        ("busy", "LOCK_TIMEOUT", 503, "1"),
        ("http404", "NOT_FOUND", 404, None),
        ("denied", "PERMISSION_DENIED", 403, None),
        ("invalid", "VALIDATION_FAILED", 400, None),
        ("suspicious", "BAD_REQUEST", 400, None),
        ("throttled", "RATE_LIMITED", 429, "13"),
        ("parse", "BAD_REQUEST", 400, None),
        ("authentication", "NOT_AUTHENTICATED", 401, None),
        ("framework", "INTERNAL_ERROR", 500, None),
        ("surrogate", "VALIDATION_FAILED", 400, None),
        ("data", "VALIDATION_FAILED", 400, None),
        ("link", "DATABASE_UNAVAILABLE", 503, "2"),
        ("deadlock", "DEADLOCK", 503, "1"),
        ("serialization", "SERIALIZATION_FAILURE", 503, "1"),
        ("lock", "LOCK_TIMEOUT", 503, "1"),
        ("statement", "DEADLINE_EXCEEDED", 503, "1"),
        ("unique", "ALREADY_EXISTS", 409, None),
        ("check", "INTERNAL_ERROR", 500, None),
        ("bug", "INTERNAL_ERROR", 500, None),
    ],
)
def test_every_exception_has_its_code(kind: str, code: str, status: int, retry_after: str | None) -> None:
    response = APIClient().get(f"/api/v1/fail/{kind}")
    document = problem(response, code, status)
    assert document["instance"] == f"/api/v1/fail/{kind}"
    assert response.headers.get("Retry-After") == retry_after


def test_a_bug_is_logged_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        APIClient().get("/api/v1/fail/bug")
    records = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert [record.name for record in records] == ["core.api.problems"]
    event: Any = records[0].msg
    assert event["event"] == "core.request.failed"
    assert isinstance(event["exc_info"], ZeroDivisionError)


@pytest.mark.parametrize(
    "kind,code,status", [("http404", "ROUTE_NOT_FOUND", 404), ("denied", "PERMISSION_DENIED", 403)]
)
def test_plain_views_under_the_api_answer_in_the_same_shape(kind: str, code: str, status: int) -> None:
    problem(APIClient().get(f"/api/v1/plain/{kind}"), code, status)


def test_a_bug_outside_the_framework_answers_in_the_same_shape() -> None:
    problem(APIClient(raise_request_exception=False).get("/api/v1/plain/bug"), "INTERNAL_ERROR", 500)
    problem(APIClient(raise_request_exception=False).get("/api/v1/plain/suspicious"), "BAD_REQUEST", 400)


@pytest.mark.parametrize("kind,status", [("bug", 500), ("http404", 404), ("denied", 403), ("suspicious", 400)])
def test_people_get_a_page(kind: str, status: int) -> None:
    response = APIClient(raise_request_exception=False).get(f"/pages/{kind}")
    assert response.status_code == status
    assert response.headers["Content-Type"].startswith("text/html")
    assert edge.SECRET not in response.content.decode() or kind == "denied"


@pytest.mark.parametrize(
    "path", ["/api/", "/api/v1/nowhere", "/api/v1/echo/", "/api/v2/echo", "/api/%00", "/api/\u202e"]
)
@pytest.mark.parametrize("method", ["get", "post", "delete"])
def test_an_unknown_route_is_a_problem_document(path: str, method: str) -> None:
    problem(getattr(APIClient(), method)(path), "ROUTE_NOT_FOUND", 404)


def test_a_host_that_is_not_ours_is_a_problem_document() -> None:
    response = APIClient().get("/api/v1/echo", headers={"host": "evil.example"})
    problem(response, "BAD_REQUEST", 400)
    assert b"evil.example" not in response.content


def test_a_request_without_a_token_is_told_how_to_bring_one() -> None:
    response = APIClient().get("/api/v1/echo")
    problem(response, "NOT_AUTHENTICATED", 401)
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="desk"'


def test_a_malformed_token_is_refused_without_a_query() -> None:
    response = APIClient().get("/api/v1/echo", headers={"authorization": "Bearer nonsense"})
    problem(response, "TOKEN_INVALID", 401)
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="desk", error="invalid_token"'


def test_a_missing_scope_is_named() -> None:
    response = edge.client(effects.ALICE, "transfer").get("/api/v1/echo")
    assert problem(response, "SCOPE_MISSING", 403)["context"] == {"required": "read"}


def test_a_view_that_names_no_scope_is_closed() -> None:
    problem(edge.client().get("/api/v1/forgotten"), "PERMISSION_DENIED", 403)


def test_a_method_without_a_scope_needs_only_a_token() -> None:
    assert edge.client(effects.ALICE, "nothing").delete("/api/v1/echo").status_code == 204
    problem(APIClient().delete("/api/v1/echo"), "NOT_AUTHENTICATED", 401)


@pytest.mark.parametrize("method", ["put", "patch", "options"])
def test_a_method_that_is_not_possible_lists_those_that_are(method: str) -> None:
    response = getattr(edge.client(), method)("/api/v1/echo")
    assert problem(response, "METHOD_NOT_ALLOWED", 405)["context"] == {"method": method.upper()}
    assert {"GET", "POST", "DELETE"} <= set(response.headers["Allow"].split(", "))


def test_a_format_that_cannot_be_made_is_refused() -> None:
    problem(edge.client().get("/api/v1/echo", headers={"accept": "text/html"}), "NOT_ACCEPTABLE", 406)
    assert edge.client().get("/api/v1/echo", headers={"accept": "application/json"}).status_code == 200
    assert edge.client().get("/api/v1/echo", headers={"accept": "text/html, */*;q=0.1"}).status_code == 200


def test_answers_carry_ids_as_strings() -> None:
    response = edge.client().get("/api/v1/echo")
    assert response.headers["Content-Type"] == "application/json"
    assert response.json() == {"id": str(effects.ALICE)}


def post(body: bytes, content_type: str) -> Any:
    api: Any = edge.client()
    return api.generic("POST", "/api/v1/echo", body, content_type=content_type)


@pytest.mark.parametrize(
    "body,content_type,code,status",
    [
        (b'{"a": 1', "application/json", "MALFORMED_JSON", 400),
        (b'{"a": NaN}', "application/json", "MALFORMED_JSON", 400),
        (b'{"a": 1, "a": 2}', "application/json", "MALFORMED_JSON", 400),
        (b"[]", "application/json", "MALFORMED_JSON", 400),
        (b'{"a":' * 1_000 + b"1" + b"}" * 1_000, "application/json", "MALFORMED_JSON", 400),
        (b'{"a": "\\ud800"}', "application/json", "MALFORMED_JSON", 400),
        (b'{"a": 1}', "application/json; charset=iso-8859-1", "UNSUPPORTED_MEDIA_TYPE", 415),
        (b'{"a": 1}', "application/json; charset=no-such-charset", "UNSUPPORTED_MEDIA_TYPE", 415),
        (b"a=1", "application/x-www-form-urlencoded", "UNSUPPORTED_MEDIA_TYPE", 415),
        (b'{"a": 1}', "text/plain", "UNSUPPORTED_MEDIA_TYPE", 415),
        (b'{"a": 1}', "", "UNSUPPORTED_MEDIA_TYPE", 415),
        (b"<a/>", "application/xml", "UNSUPPORTED_MEDIA_TYPE", 415),
        (b'{"a": "' + b"x" * 65_536 + b'"}', "application/json", "PAYLOAD_TOO_LARGE", 413),
        (b"x" * 10_000_000, "text/plain", "PAYLOAD_TOO_LARGE", 413),
    ],
)
def test_a_body_is_strict_json_or_refused(body: bytes, content_type: str, code: str, status: int) -> None:
    problem(post(body, content_type), code, status)


def test_the_largest_body_is_accepted() -> None:
    body = b'{"a": "' + b"x" * (65_536 - 9) + b'"}'
    assert len(body) == 65_536
    assert post(body, "application/json").status_code == 200


def test_the_catalogue_names_every_refusal_that_clients_may_know() -> None:
    response = APIClient().get("/api/v1/error-codes")
    assert response.status_code == 200
    entries = {entry["code"]: entry for entry in response.json()["results"]}
    assert set(entries) == {code for code, refusal in REGISTRY.items() if refusal.is_public}
    assert list(entries) == sorted(entries)
    assert entries["RATE_LIMITED"]["status"] == 429
    assert entries["IDEMPOTENCY_IN_PROGRESS"]["retry"] == "same request, after the time in Retry-After"
    assert entries["TEST_NOTE_REFUSED"]["final"] is True
    assert entries["NOT_FOUND"]["final"] is False
    assert all(entry["message"] and entry["title"] for entry in entries.values())
