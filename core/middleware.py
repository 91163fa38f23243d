"""Around every request: an id and a deadline, a bound on how many at once and how large, one log line, safe headers."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any, Protocol

import structlog
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase, ResponseHeaders
from django.utils.functional import SimpleLazyObject

from core import db, metrics
from core.api.problems import API_PREFIX, MalformedRequest, PayloadTooLarge, respond
from core.errors import Unavailable
from core.ids import uuid7

logger = structlog.get_logger(__name__)

GetResponse = Callable[[HttpRequest], HttpResponseBase]
#: As Django keeps headers: by lower-case name, the name as it is sent, and the value.
_Store = dict[str, tuple[str, str]]

_REQUEST_ID = re.compile(r"\A[A-Za-z0-9._:-]{8,64}\Z", re.ASCII)
_TRACEPARENT = re.compile(r"\A00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})\Z", re.ASCII)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

#: Asked every few seconds by machines: always let in, and logged only for who looks closely.
PROBES = ("/health/", "/metrics")


class TracedRequest(Protocol):
    """What `RequestContext` adds to a request."""

    request_id: str
    traceparent: str


class RequestContext:
    """
    Gives the request an id, a trace and a deadline, and writes its one log line.

    A client's own X-Request-ID is kept if it is 8 to 64 plain characters; a W3C `traceparent` is continued. Every log
    line in between carries both, and no database statement outlives `REQUEST_DEADLINE_SECONDS`.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        started = time.perf_counter()
        traced: Any = request
        traced.request_id = _request_id(request.META)
        traced.traceparent = _traceparent(request.META)
        # Nothing else is ever bound, so setting these back leaves nothing of this request to the thread's next one.
        bound = structlog.contextvars.bind_contextvars(request_id=traced.request_id, traceparent=traced.traceparent)
        try:
            with db.deadline(settings.REQUEST_DEADLINE_SECONDS):
                response = self.get_response(request)
            response.headers["X-Request-ID"] = traced.request_id
            _account_for(request, response, time.perf_counter() - started)
        finally:
            structlog.contextvars.reset_contextvars(**bound)
        return response


def _request_id(meta: Mapping[str, Any]) -> str:
    given = str(meta.get("HTTP_X_REQUEST_ID", ""))
    return given if _REQUEST_ID.match(given) else str(uuid7())


def _traceparent(meta: Mapping[str, Any]) -> str:
    """Our own span in the caller's trace, or in a new one."""
    match = _TRACEPARENT.match(str(meta.get("HTTP_TRACEPARENT", "")))
    drawn = os.urandom(24).hex()
    trace, flags = (match[1], match[2]) if match else (drawn[16:], "00")
    return f"00-{trace}-{drawn[:16]}-{flags}"


def _account_for(request: HttpRequest, response: HttpResponseBase, seconds: float) -> None:
    """The request's log line and its metrics; the route's pattern stands for the path, which can hold anything."""
    method = request.method if request.method in _METHODS else "OTHER"
    route = request.resolver_match.route if request.resolver_match else "unmatched"
    code = getattr(response, "code", "")
    metrics.REQUEST_SECONDS.labels(method, route, response.status_code).observe(seconds)
    if code:
        metrics.REFUSALS.labels(code).inc()
    log = logger.debug if request.path.startswith(PROBES) else logger.info
    log(
        "core.request.finished",
        method=method,
        route=route,
        status=response.status_code,
        duration_ms=round(seconds * 1000, 1),
        user_id=_user_id(request),
        replayed=getattr(response, "replayed", None),
        code=code or None,
    )


def _user_id(request: HttpRequest) -> str | None:
    """Who asked, if that is known already: a log line never makes a query."""
    user = request.__dict__.get("user")
    if isinstance(user, SimpleLazyObject):
        user = request.__dict__.get("_cached_user")
    identity = getattr(user, "id", None)
    return str(identity) if identity is not None else None


class Admission:
    """
    Says 503 at once where waiting would only make it worse, before anything costs a database connection.

    Two signs: too many requests in flight in this process, or a request that has queued in front of us for so long
    that its client has probably gone (X-Request-Start, which only a trusted proxy may set).
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response
        self.places = threading.BoundedSemaphore(settings.REQUESTS_IN_FLIGHT_MAX)

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.path.startswith(PROBES):
            return self.get_response(request)
        if _seconds_queued(request.META) > settings.QUEUE_SECONDS_MAX:
            return self._shed(request, "queued_too_long")
        if not self.places.acquire(blocking=False):
            return self._shed(request, "in_flight")
        try:
            return self.get_response(request)
        finally:
            self.places.release()

    def _shed(self, request: HttpRequest, reason: str) -> HttpResponse:
        metrics.SHED.labels(reason).inc()
        return respond(Unavailable(), request)


def _seconds_queued(meta: Mapping[str, Any]) -> float:
    """How long ago the proxy took the request in: nginx's `t=1700000000.123`, others' milliseconds or microseconds."""
    if not settings.TRUST_PROXY_HEADERS:
        return 0
    text = str(meta.get("HTTP_X_REQUEST_START", "")).removeprefix("t=")
    try:
        started = float(text)
    except ValueError:
        return 0
    if started > 1e14:
        started /= 1_000_000
    elif started > 1e11:
        started /= 1_000
    return max(0, time.time() - started)


class BodyLimit:
    """
    413 for an API body over `REQUEST_BODY_BYTES_MAX`, by its Content-Length or by what really arrives in chunks.

    A chunked body has no length, and Django would take it for an empty one; it is read here, up to the limit.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if not request.path.startswith(API_PREFIX):
            return self.get_response(request)
        limit = settings.REQUEST_BODY_BYTES_MAX
        if _content_length(request.META) > limit:
            return respond(PayloadTooLarge(max=limit), request)
        if "chunked" in str(request.META.get("HTTP_TRANSFER_ENCODING", "")).lower():
            try:
                body = request.META["wsgi.input"].read(limit + 1)
            except OSError:  # a chunk that is none, or a client that has gone
                return respond(MalformedRequest(), request)
            if len(body) > limit:
                return respond(PayloadTooLarge(max=limit), request)
            request.META["CONTENT_LENGTH"] = str(len(body))
            request._stream = BytesIO(body)  # noqa: SLF001 - what Django reads from
        return self.get_response(request)


def _content_length(meta: Mapping[str, Any]) -> int:
    try:
        return int(meta.get("CONTENT_LENGTH") or 0)
    except ValueError:
        return 0


class SecurityHeaders:
    """
    A Content-Security-Policy that allows nothing, and no caching of what is meant for one person.

    `SECURE_CSP` is for every answer; `SECURE_CSP_BY_PREFIX` widens it where people look at pages.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response
        self.usual = _fixed(settings.SECURE_CSP)
        self.wider = [
            (prefix, _fixed(settings.SECURE_CSP | wider)) for prefix, wider in settings.SECURE_CSP_BY_PREFIX.items()
        ]

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        headers = response.headers
        # Taken over as they are: Django would check the same names and values anew in every answer.
        headers._store.update(self._fixed_for(request.path))  # noqa: SLF001
        headers.setdefault("Cross-Origin-Opener-Policy", "same-origin")
        headers.setdefault("X-Content-Type-Options", "nosniff")
        is_personal = "HTTP_AUTHORIZATION" in request.META or settings.SESSION_COOKIE_NAME in request.COOKIES
        if is_personal or request.path.startswith(API_PREFIX):
            headers.setdefault("Cache-Control", "no-store")
        return response

    def _fixed_for(self, path: str) -> _Store:
        for prefix, fixed in self.wider:
            if path.startswith(prefix):
                return fixed
        return self.usual


def _fixed(directives: Mapping[str, list[str]]) -> _Store:
    """The headers that are the same in every answer, checked and ready to be taken over as they are."""
    headers = ResponseHeaders(
        {
            "Content-Security-Policy": _policy(directives),
            "Permissions-Policy": settings.PERMISSIONS_POLICY,
            "Cross-Origin-Resource-Policy": "same-origin",
        }
    )
    store: _Store = headers._store  # noqa: SLF001
    return store


def _policy(directives: Mapping[str, list[str]]) -> str:
    return "; ".join(f"{name} {' '.join(sources)}" for name, sources in directives.items())
