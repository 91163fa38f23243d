"""Whatever goes wrong between the socket and a service leaves here as one shape, with nothing internal in it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from itertools import islice
from typing import Any

import structlog
from django.core.exceptions import BadRequest, PermissionDenied, SuspiciousOperation
from django.core.exceptions import ValidationError as DjangoValidationError
from django.db import DataError
from django.db import Error as DatabaseFault
from django.http import Http404, HttpRequest, HttpResponse, UnreadablePostError
from rest_framework import exceptions
from rest_framework.fields import get_error_detail
from rest_framework.request import Request

from core import db
from core.errors import DomainError, Internal, Malformed, NotFound, problem
from core.throttling import RateLimited

logger = structlog.get_logger(__name__)

PROBLEM_TYPE = "application/problem+json"

#: A hostile body may have thousands of wrong fields; the first ones are enough to see what is wrong.
FIELD_ERRORS_MAX = 50

#: Where the API lives: under it every answer is JSON, elsewhere people look at pages.
API_PREFIX = "/api/"


class MalformedRequest(DomainError):
    code = "BAD_REQUEST"
    message = "The request could not be read as HTTP."
    status = 400


class MalformedJSON(DomainError):
    code = "MALFORMED_JSON"
    message = "The body is not JSON as this service reads it: {reason} (at character {position})."
    status = 400


class UnknownField(DomainError):
    code = "UNKNOWN_FIELD"
    message = "The request has fields that this operation does not know; `errors` names each one."
    status = 400


class NotAuthenticated(DomainError):
    code = "NOT_AUTHENTICATED"
    message = "This request needs an access token: `Authorization: Bearer <token>`."
    status = 401


class PermissionRefused(DomainError):
    code = "PERMISSION_DENIED"
    message = "This is not open to you."
    status = 403


class ScopeMissing(DomainError):
    code = "SCOPE_MISSING"
    message = "This token lacks the scope `{required}`."
    status = 403


class RouteNotFound(DomainError):
    code = "ROUTE_NOT_FOUND"
    message = "There is no such address in this API."
    status = 404


class MethodNotAllowed(DomainError):
    code = "METHOD_NOT_ALLOWED"
    message = "{method} is not possible here; the Allow header lists what is."
    status = 405


class NotAcceptable(DomainError):
    code = "NOT_ACCEPTABLE"
    message = "None of the formats in the Accept header can be produced here."
    status = 406


class PayloadTooLarge(DomainError):
    code = "PAYLOAD_TOO_LARGE"
    message = "The body is larger than the {max} bytes accepted here."
    status = 413


class UnsupportedMediaType(DomainError):
    code = "UNSUPPORTED_MEDIA_TYPE"
    message = "The body must be `application/json` in UTF-8."
    status = 415


class ProblemResponse(HttpResponse):
    """A problem document on its way out; `code` is kept for the request's log line."""

    def __init__(self, error: DomainError, *, instance: str, request_id: str) -> None:
        body = json.dumps(problem(error, instance=instance, request_id=request_id), separators=(",", ":"))
        super().__init__(body.encode(), status=error.status, content_type=PROBLEM_TYPE)
        self.code = error.code
        self.headers["Cache-Control"] = "no-store"
        if error.retry_after_seconds is not None:
            self.headers["Retry-After"] = str(error.retry_after_seconds)


def problem_response(exc: Exception, context: dict[str, Any]) -> ProblemResponse:
    """The REST framework's exception handler: any exception in, a problem document out."""
    response = respond(refusal_of(exc), context["request"])
    if response.status_code == 405:
        response.headers["Allow"] = ", ".join(context["view"].allowed_methods)
    return response


def respond(error: DomainError, request: HttpRequest | Request) -> ProblemResponse:
    """A refusal as the answer to this request; also for middleware and Django's own error handlers."""
    response = ProblemResponse(error, instance=request.path, request_id=getattr(request, "request_id", ""))
    if error.status == 401:
        # RFC 6750: say that the token was bad only to someone who sent one.
        sent = "HTTP_AUTHORIZATION" in request.META
        response.headers["WWW-Authenticate"] = 'Bearer realm="desk"' + (', error="invalid_token"' if sent else "")
    return response


def refusal_of(exc: Exception) -> DomainError:
    """
    The refusal that stands for an exception; whatever nobody foresaw is logged with its traceback and becomes a 500.

    Only fixed texts of ours go out: the messages of databases, of Django and of the REST framework stay inside.
    """
    match exc:
        case DomainError():
            if exc.status >= 500:
                logger.warning("core.request.refused", code=exc.code, exc_info=exc.__cause__)
            return exc
        case exceptions.ValidationError() | DjangoValidationError():
            return invalid(exc.detail if isinstance(exc, exceptions.ValidationError) else get_error_detail(exc))
        case exceptions.MethodNotAllowed():
            return MethodNotAllowed(method=str(exc.args[0]) if exc.args else "This method")
        case exceptions.Throttled():
            return RateLimited(retry_after=max(1, math.ceil(getattr(exc, "wait", None) or 1)))
        case UnicodeEncodeError() | DataError():
            # Text or a number that the database cannot hold and that no field caught: the client's doing, and our gap.
            logger.warning("core.request.data_refused", exc_info=exc)
            return Malformed()
        case DatabaseFault():
            return _refusal_of_database(exc)
    for kind, refusal in _REFUSAL_BY_EXCEPTION:
        if isinstance(exc, kind):
            return refusal()
    logger.error("core.request.failed", exc_info=exc)
    return Internal()


_REFUSAL_BY_EXCEPTION: tuple[tuple[type[Exception], type[DomainError]], ...] = (
    (exceptions.NotAuthenticated, NotAuthenticated),
    (exceptions.AuthenticationFailed, NotAuthenticated),
    (exceptions.PermissionDenied, PermissionRefused),
    (PermissionDenied, PermissionRefused),
    (exceptions.NotFound, NotFound),
    (Http404, NotFound),
    (exceptions.NotAcceptable, NotAcceptable),
    (exceptions.UnsupportedMediaType, UnsupportedMediaType),
    (exceptions.ParseError, MalformedRequest),
    (UnreadablePostError, MalformedRequest),  # the client went away in the middle of its body
    (SuspiciousOperation, MalformedRequest),
    (BadRequest, MalformedRequest),
)


def _refusal_of_database(fault: DatabaseFault) -> DomainError:
    refusal = db.refusal_for(fault)
    log = logger.error if isinstance(refusal, Internal) else logger.warning
    log("core.request.database_failed", code=refusal.code, sqlstate=db.sqlstate(fault), exc_info=fault)
    return refusal


def invalid(detail: Any) -> DomainError:
    """
    A serializer's complaints as one refusal, each with the path of its field.

    When nothing is wrong but fields nobody asked for, the refusal itself is UNKNOWN_FIELD.
    """
    errors = list(islice(_field_errors(detail, ""), FIELD_ERRORS_MAX))
    if errors and all(error["code"] == UnknownField.code for error in errors):
        return UnknownField(errors=errors)
    return Malformed(errors=errors)


def _field_errors(detail: Any, path: str) -> Iterator[dict[str, str]]:
    if isinstance(detail, dict):
        for name, inner in detail.items():
            here = path if name == "non_field_errors" else f"{path}.{name}" if path else str(name)
            yield from _field_errors(inner, here)
    elif isinstance(detail, list | tuple):
        for index, inner in enumerate(detail):
            # Serializers of many report one (maybe empty) entry per item, fields a list of messages.
            nested = isinstance(inner, dict | list | tuple)
            yield from _field_errors(inner, f"{path}.{index}" if nested and path else str(index) if nested else path)
    else:
        yield {"field": path, "code": str(getattr(detail, "code", "invalid")).upper(), "message": str(detail)}


def field_error(field: str, code: str, message: str) -> dict[str, str]:
    """One entry of a problem's `errors`, for refusals that a service raises about one field."""
    return {"field": field, "code": code, "message": message}
