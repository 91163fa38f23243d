"""What a service needs to know about a request: whose key it carries, who is acting, and from where."""

from __future__ import annotations

import ipaddress
import json
import re
from functools import lru_cache
from typing import Any
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from rest_framework.request import Request

from core.api.problems import PROBLEM_TYPE
from core.audit import Actor, ActorKind
from core.idempotency import Answer, Claim, IdempotencyKeyInvalid, IdempotencyKeyRequired, Operation

_KEY = re.compile(r'\A(?:"([A-Za-z0-9._:-]{16,128})"|([A-Za-z0-9._:-]{16,128}))\Z', re.ASCII)


class AnswerResponse(HttpResponse):
    """A service's stored answer, byte for byte; `code` and `replayed` are kept for the request's log line."""

    def __init__(self, answer: Answer) -> None:
        kind = PROBLEM_TYPE if answer.refused else "application/json"
        super().__init__(answer.body, status=answer.status, content_type=kind)
        self.replayed = answer.replayed
        self.code = str(json.loads(answer.body).get("code", "")) if answer.refused else ""
        self.headers["Idempotent-Replayed"] = "true" if answer.replayed else "false"
        self.headers["Cache-Control"] = "no-store"


def answer_response(answer: Answer) -> AnswerResponse:
    """The answer of an exactly-once service as HTTP."""
    return AnswerResponse(answer)


def idempotency_key(request: Request | HttpRequest) -> str:
    """
    The request's Idempotency-Key, bare or in double quotes.

    :raises IdempotencyKeyRequired: if there is none
    :raises IdempotencyKeyInvalid: if it is not 16 to 128 characters of A-Z a-z 0-9 . _ : -
    """
    text = request.META.get("HTTP_IDEMPOTENCY_KEY", "")
    if not text:
        raise IdempotencyKeyRequired
    match = _KEY.match(text)
    if match is None:
        raise IdempotencyKeyInvalid
    return str(match[1] or match[2])


def claim_for(
    request: Request,
    operation: Operation,
    terms: dict[str, Any],
    *,
    owner: UUID | None = None,
    path: dict[str, Any] | None = None,
) -> Claim:
    """
    The claim this request makes on its key; `owner` is the signed-in principal unless given (an anonymous sign-up).

    `terms` must hold no secret in clear (see `idempotency.conceal`) and nothing that differs between two sendings of
    one intent, such as a one-time code or the client's clock.

    :raises IdempotencyKeyRequired, IdempotencyKeyInvalid: as `idempotency_key` does
    """
    principal: Any = request.user
    return Claim.make(
        operation=operation,
        owner=owner if owner is not None else principal.id,
        key=idempotency_key(request),
        request={"path": path or {}, "body": terms},
        instance=request.path,
        request_id=getattr(request, "request_id", ""),
    )


def actor_of(request: Request | HttpRequest) -> Actor:
    """
    Who is acting: the owner of the token, or the member of staff signed in to the admin.

    Only a request of the REST framework has a token; what comes without one went through the admin's own log-in.
    """
    is_staff = getattr(request, "auth", None) is None and getattr(request.user, "is_staff", False)
    owner: Any = request.user
    return Actor(
        id=owner.id,
        kind=ActorKind.STAFF if is_staff else ActorKind.CLIENT,
        request_id=getattr(request, "request_id", ""),
        address=client_address(request),
    )


def owner_of(request: Request) -> UUID:
    """The signed-in principal's id: whose rows a view may show. Permissions have refused everybody without one."""
    owner: Any = request.user
    identity: UUID = owner.id
    return identity


def client_address(request: Request | HttpRequest) -> str | None:
    """
    The client's IP address in its canonical form, or None where there is none (a unix socket).

    Behind a proxy it is the last entry of X-Forwarded-For: the one our own proxy wrote. Without TRUST_PROXY_HEADERS
    that header is somebody's claim and is not read.
    """
    text = request.META.get("REMOTE_ADDR", "")
    if settings.TRUST_PROXY_HEADERS and "HTTP_X_FORWARDED_FOR" in request.META:
        text = request.META["HTTP_X_FORWARDED_FOR"].rpartition(",")[2]
    return _canonical_address(text.strip())


@lru_cache(maxsize=4096)
def _canonical_address(text: str) -> str | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)
