"""The REST framework's view of a throttle: the counting itself is `core.throttling`."""

from __future__ import annotations

from typing import Any

from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from core import throttling
from core.api.requests import client_address


class DeskThrottle(BaseThrottle):
    """
    Counts requests that change something in the view's `throttle_scope`: per principal, or per address without one.

    A view that counts by something else defines `throttle_ident(request) -> str`.
    """

    def allow_request(self, request: Request, view: Any) -> bool:
        scope = getattr(view, "throttle_scope", None)
        if scope is not None and request.method not in SAFE_METHODS:
            throttling.throttle(scope, _ident(request, view))
        return True


def _ident(request: Request, view: Any) -> str:
    if hasattr(view, "throttle_ident"):
        return str(view.throttle_ident(request))
    principal: Any = request.user  # None without a token, whatever the framework's types say
    return str(principal.id) if principal is not None else client_address(request) or ""
