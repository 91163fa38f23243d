"""The REST framework's view of a throttle: the counting itself is `core.throttling`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from core import throttling
from core.api.requests import client_address
from core.throttling import Attempt


class DeskThrottle(BaseThrottle):
    """
    Counts requests that change something in the view's `throttle_scope`: per principal, or per address without one.

    A view that counts by something else defines `throttle_ident(request) -> str`. Where the look-up of the request's
    token has counted already (`note_attempt`), this only says what came of it.
    """

    def allow_request(self, request: Request, view: Any) -> bool:
        scope = _scope(request, view)
        if scope is None:
            return True
        noted: tuple[Attempt, datetime] | None = request.__dict__.get("attempt")
        if noted is not None:
            attempt, now = noted
            throttling.judge(scope, attempt, now=now)
        else:
            throttling.throttle(scope, _ident(request, view))
        return True


def scope_by_owner(request: Request, view: Any) -> str | None:
    """In which scope the request counts for the owner of its token; None if it counts for somebody else, or not."""
    return None if hasattr(view, "throttle_ident") else _scope(request, view)


def note_attempt(request: Request, attempt: Attempt, *, now: datetime) -> None:
    """Leave what came of an attempt that was counted at `now` while the request's token was looked up."""
    request.__dict__["attempt"] = attempt, now


def _scope(request: Request, view: Any) -> str | None:
    scope: str | None = getattr(view, "throttle_scope", None)
    return None if request.method in SAFE_METHODS else scope


def _ident(request: Request, view: Any) -> str:
    if hasattr(view, "throttle_ident"):
        return str(view.throttle_ident(request))
    principal: Any = request.user  # None without a token, whatever the framework's types say
    return str(principal.id) if principal is not None else client_address(request) or ""
