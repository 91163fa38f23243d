"""The REST framework's view of a throttle: the counting itself is `core.throttling`."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from core import throttling
from core.api.requests import client_address


class DeskThrottle(BaseThrottle):
    """
    Counts requests that change something in the view's `throttle_scope`: per principal, or per address without one.

    A view that counts by something else defines `throttle_ident(request) -> str`. Where the look-up of the request's
    token has counted already, this only says what came of it.
    """

    def allow_request(self, request: Request, view: Any) -> bool:
        scope = counted_scope(request, view)
        if scope is None:
            return True
        outcome: Outcome | None = request.__dict__.get(COUNTED)
        if outcome is not None:
            throttling.judge(scope, outcome.let_through, outcome.tokens_at, now=outcome.now)
        else:
            throttling.throttle(scope, _ident(request, view))
        return True


def _ident(request: Request, view: Any) -> str:
    if hasattr(view, "throttle_ident"):
        return str(view.throttle_ident(request))
    principal: Any = request.user  # None without a token, whatever the framework's types say
    return str(principal.id) if principal is not None else client_address(request) or ""


class Outcome(NamedTuple):
    """What came of an attempt that was counted while its token was looked up."""

    let_through: bool
    tokens_at: datetime | None
    now: datetime


#: The attribute of a request that carries its `Outcome`.
COUNTED = "counted"


def counted_scope(request: Request, view: Any) -> str | None:
    """In which scope this request is counted; None if it is not."""
    scope: str | None = getattr(view, "throttle_scope", None)
    return None if request.method in SAFE_METHODS else scope


def is_counted_by_owner(view: Any) -> bool:
    """Whether it is known by whom to count as soon as it is known whose token it is."""
    return not hasattr(view, "throttle_ident")
