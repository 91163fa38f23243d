"""Around every request: an id, a deadline, one log line, safe headers, and a bound on how many and how large."""

from __future__ import annotations

import logging
import re
import threading
import time
from io import BytesIO
from typing import Any
from uuid import UUID

import pytest
import structlog
from django.conf import settings as django_settings
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from rest_framework.test import APIClient

from core import db, metrics
from core.middleware import Admission, BodyLimit, RequestContext
from tests.core import edge, effects

pytestmark = pytest.mark.urls("tests.core.edge")


def finished(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [
        record.msg
        for record in caplog.records
        if isinstance(record.msg, dict) and record.msg["event"] == "core.request.finished"
    ]


@pytest.mark.parametrize("given", ["01890a5d-ac96-774b", "a" * 8, "a" * 64, "A-z.0:9_b"])
def test_keeps_a_request_id_that_is_plain(given: str) -> None:
    assert APIClient().get("/health/live", headers={"x-request-id": given}).headers["X-Request-ID"] == given


@pytest.mark.parametrize(
    "given",
    ["", "short", "a" * 65, "has space-in-it", 'quote"quote"', "line\nbreak-in-it", "é" * 10, "{jndi:ldap://x}"],
)
def test_replaces_a_request_id_that_is_not(given: str) -> None:
    found = APIClient().get("/health/live", headers={"x-request-id": given}).headers["X-Request-ID"]
    assert UUID(found).version == 7


TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def traceparent_of(given: str | None) -> str:
    seen: list[str] = []

    def view(request: Any) -> HttpResponse:
        seen.append(request.traceparent)
        assert structlog.contextvars.get_contextvars()["traceparent"] == request.traceparent
        return HttpResponse()

    headers = {} if given is None else {"HTTP_TRACEPARENT": given}
    RequestContext(view)(RequestFactory().get("/", **headers))  # type: ignore[arg-type]  # WSGI names
    return seen[0]


def test_continues_a_trace_with_a_span_of_its_own() -> None:
    given = f"00-{TRACE}-00f067aa0ba902b7-01"
    found = traceparent_of(given)
    assert re.fullmatch(rf"00-{TRACE}-[0-9a-f]{{16}}-01", found)
    assert found != given


@pytest.mark.parametrize(
    "given",
    [
        None,
        "",
        "garbage",
        f"00-{TRACE}-00f067aa0ba902b7",
        f"ff-{TRACE}-00f067aa0ba902b7-01",
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-00f067aa0ba902b7-01",
        f"00-{TRACE}-00f067aa0ba902b7-01\nx",
    ],
)
def test_starts_a_trace_where_none_is_given(given: str | None) -> None:
    found = traceparent_of(given)
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-00", found)
    assert TRACE not in found


def test_a_request_has_a_deadline_and_leaves_none_behind(settings: Any) -> None:
    settings.REQUEST_DEADLINE_SECONDS = 7
    seen: list[int | None] = []

    def view(_request: HttpRequest) -> HttpResponse:
        seen.append(db.remaining_ms())
        return HttpResponse()

    RequestContext(view)(RequestFactory().get("/"))
    assert seen[0] is not None
    assert 6_500 < seen[0] <= 7_000
    assert db.remaining_ms() is None
    assert structlog.contextvars.get_contextvars() == {}


def test_one_line_per_request_says_what_it_was(db: None, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "core")
    body = {"name": "noted"}
    for _ in range(2):
        edge.client().post("/api/v1/notes/x", body, format="json", headers={"idempotency-key": effects.KEY})
    first, second = finished(caplog)
    assert first["method"] == "POST"
    assert first["route"] == "api/v1/notes/<str:prefix>"
    assert first["status"] == 201
    assert first["user_id"] == str(effects.ALICE)
    assert isinstance(first["duration_ms"], float)
    assert (first["replayed"], second["replayed"]) == (False, True)
    assert first["code"] is None
    assert first["request_id"] != second["request_id"]


def test_a_refusal_is_one_line_with_its_code(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    before = metrics.REFUSALS.labels("ROUTE_NOT_FOUND")._value.get()
    APIClient().get("/api/v1/secret-canary-in-the-path")
    (line,) = finished(caplog)
    assert (line["status"], line["code"], line["route"]) == (404, "ROUTE_NOT_FOUND", "unmatched")
    assert "canary" not in caplog.text
    assert len(caplog.records) == 1
    assert metrics.REFUSALS.labels("ROUTE_NOT_FOUND")._value.get() == before + 1


def test_a_made_up_method_makes_no_new_metric(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    edge.client().generic("FROBNICATE", "/api/v1/echo")
    assert finished(caplog)[0]["method"] == "OTHER"


def test_probes_are_logged_only_for_who_looks_closely(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "core")
    APIClient().get("/health/live")
    assert finished(caplog) == []


class Held:
    """A view that stays until it is let go."""

    def __init__(self) -> None:
        self.entered, self.let_go = threading.Semaphore(0), threading.Event()

    def __call__(self, _request: HttpRequest) -> HttpResponse:
        self.entered.release()
        assert self.let_go.wait(10)
        return HttpResponse("done")


def test_sheds_what_exceeds_the_places_at_once(settings: Any) -> None:
    settings.REQUESTS_IN_FLIGHT_MAX = 2
    view = Held()
    admission = Admission(view)
    answers: list[int] = []
    threads = [
        threading.Thread(target=lambda: answers.append(admission(RequestFactory().get("/api/v1/x")).status_code))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
        view.entered.acquire(timeout=10)
    started = time.perf_counter()
    shed: Any = admission(RequestFactory().get("/api/v1/x"))
    assert time.perf_counter() - started < 0.05
    assert shed.status_code == 503
    assert shed.headers["Retry-After"] == "1"
    assert shed.code == "SERVICE_UNAVAILABLE"
    view.let_go.set()
    for thread in threads:
        thread.join()
    assert answers == [200, 200]
    assert admission(RequestFactory().get("/api/v1/x")).status_code == 200


def test_lets_probes_in_when_everything_is_taken(settings: Any) -> None:
    settings.REQUESTS_IN_FLIGHT_MAX = 1
    admission = Admission(lambda _: HttpResponse())
    assert admission.places.acquire(blocking=False)
    assert admission(RequestFactory().get("/health/live")).status_code == 200
    assert admission(RequestFactory().get("/metrics")).status_code == 200
    assert admission(RequestFactory().get("/api/v1/x")).status_code == 503


def test_a_place_is_given_back_after_a_crash(settings: Any) -> None:
    settings.REQUESTS_IN_FLIGHT_MAX = 1

    def crash(_request: HttpRequest) -> HttpResponse:
        raise RuntimeError

    admission = Admission(crash)
    for _ in range(3):
        with pytest.raises(RuntimeError):
            admission(RequestFactory().get("/"))


@pytest.mark.parametrize(
    "spelling", [lambda at: f"t={at:.3f}", lambda at: f"{at * 1e3:.0f}", lambda at: f"t={at * 1e6:.0f}"]
)
def test_sheds_what_queued_too_long_in_front_of_us(settings: Any, spelling: Any) -> None:
    settings.TRUST_PROXY_HEADERS = True
    settings.QUEUE_SECONDS_MAX = 5
    admission = Admission(lambda _: HttpResponse())

    def status(seconds_ago: float) -> int:
        start = spelling(time.time() - seconds_ago)
        return admission(RequestFactory().get("/api/v1/x", HTTP_X_REQUEST_START=start)).status_code

    assert (status(0), status(4), status(6), status(600)) == (200, 200, 503, 503)
    settings.TRUST_PROXY_HEADERS = False
    assert status(600) == 200


@pytest.mark.parametrize("start", ["", "t=", "soon", "nan", "inf", "-1e300", "t=99999999999999999999"])
def test_an_unreadable_queue_time_sheds_nothing_by_accident(settings: Any, start: str) -> None:
    settings.TRUST_PROXY_HEADERS = True
    admission = Admission(lambda _: HttpResponse())
    expected = 503 if start.startswith("-") else 200
    assert admission(RequestFactory().get("/x", HTTP_X_REQUEST_START=start)).status_code == expected


def test_a_refused_request_asks_the_database_nothing(settings: Any) -> None:
    settings.TRUST_PROXY_HEADERS = True
    # No database fixture here: pytest-django fails the test at the first query.
    response = edge.client().get("/api/v1/notes", headers={"x-request-start": "t=1000000000"})
    assert (response.status_code, response.json()["code"]) == (503, "SERVICE_UNAVAILABLE")


def chunked(body: bytes, path: str = "/api/v1/echo") -> Any:
    request = RequestFactory().post(path, HTTP_TRANSFER_ENCODING="chunked", content_type="application/json")
    request.META.pop("CONTENT_LENGTH", None)
    request.META["wsgi.input"] = BytesIO(body)
    return request


def read_body(request: HttpRequest) -> HttpResponse:
    return HttpResponse(request.body)


def test_a_chunked_body_is_read_up_to_the_limit(settings: Any) -> None:
    limit = settings.REQUEST_BODY_BYTES_MAX
    assert BodyLimit(read_body)(chunked(b"x" * limit)).content == b"x" * limit  # type: ignore[attr-defined]
    refused: Any = BodyLimit(read_body)(chunked(b"x" * (limit + 1)))
    assert (refused.status_code, refused.code) == (413, "PAYLOAD_TOO_LARGE")


def test_a_broken_chunk_is_the_clients_mistake() -> None:
    class Broken(BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError("not a chunk")

    request = chunked(b"")
    request.META["wsgi.input"] = Broken()
    assert BodyLimit(read_body)(request).status_code == 400


def test_a_length_over_the_limit_is_refused_unread() -> None:
    request: Any = RequestFactory().post("/api/v1/echo", b"x", content_type="application/json")
    request.META["CONTENT_LENGTH"] = "65537"
    response: Any = BodyLimit(read_body)(request)
    assert response.status_code == 413
    assert not request._read_started


def test_a_length_that_promises_less_than_is_sent_cuts_the_body() -> None:
    request = RequestFactory().post(
        "/api/v1/echo", b'{"a": "' + b"x" * 100_000 + b'"}', content_type="application/json"
    )
    request.META["CONTENT_LENGTH"] = "10"
    cut: Any = request.__class__(request.environ)
    assert BodyLimit(read_body)(cut).content == b'{"a": "xxx'  # type: ignore[attr-defined]


def test_only_the_api_has_the_limit(settings: Any) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 200_000
    request = RequestFactory().post("/admin/x", b"x" * 100_000, content_type="text/plain")
    assert BodyLimit(read_body)(request).status_code == 200


STRICT = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


@pytest.mark.parametrize(
    "path", ["/health/live", "/api/v1/error-codes", "/api/v1/nowhere", "/pages/bug", "/nowhere", "/api/schema"]
)
def test_every_answer_has_safe_headers(path: str) -> None:
    headers = APIClient(raise_request_exception=False).get(path).headers
    assert headers["Content-Security-Policy"] == STRICT
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "camera=()" in headers["Permissions-Policy"]
    assert "Server" not in headers


def test_a_shed_answer_has_safe_headers_too(settings: Any) -> None:
    settings.TRUST_PROXY_HEADERS = True
    headers = APIClient().get("/api/v1/echo", headers={"x-request-start": "t=1000000000"}).headers
    assert headers["Content-Security-Policy"] == STRICT
    assert headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("path", ["/api/docs", "/api/docs?script"])
def test_the_documents_page_may_load_its_own_scripts(path: str) -> None:
    policy = APIClient().get(path).headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")
    assert "script-src 'self';" in policy
    assert "unsafe-eval" not in policy
    assert "connect-src 'self'" in policy


def test_no_page_may_be_framed_or_run_inline_scripts() -> None:
    for sources in django_settings.SECURE_CSP_BY_PREFIX.values():
        assert "frame-ancestors" not in sources
        assert "'unsafe-inline'" not in sources["script-src"]


@pytest.mark.parametrize("path", ["/api/v1/error-codes", "/api/v1/nowhere", "/api/v1/echo", "/api/schema"])
def test_the_api_is_not_cached(path: str) -> None:
    assert APIClient().get(path).headers["Cache-Control"] == "no-store"


def test_what_was_asked_with_credentials_is_not_cached() -> None:
    assert "Cache-Control" not in APIClient().get("/health/live").headers
    assert APIClient().get("/health/live", headers={"authorization": "Bearer x"}).headers["Cache-Control"] == "no-store"
