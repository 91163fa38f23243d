"""A view says which scope each of its methods needs; one that says nothing is closed."""

from __future__ import annotations

from typing import Any

from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from core.api.problems import NotAuthenticated, ScopeMissing


class HasScope(BasePermission):
    """
    A signed-in principal whose token has the scope that the view declares for this method.

    A view declares `scopes = {"GET": "read", "POST": "transfer"}`, or `required_scope = "read"` for all methods. None
    in place of a scope means: any token will do. A view for everybody sets `permission_classes = ()` instead.

    :raises NotAuthenticated: without a valid token
    :raises ScopeMissing: naming the scope
    """

    def has_permission(self, request: Request, view: Any) -> bool:
        principal: Any = request.user  # None without a token, whatever the framework's types say
        if principal is None or not principal.is_authenticated:
            raise NotAuthenticated
        method = "GET" if request.method == "HEAD" else str(request.method)
        scopes: dict[str, str | None] = getattr(view, "scopes", {})
        if method in scopes:
            required = scopes[method]
        elif hasattr(view, "required_scope"):
            required = view.required_scope
        else:
            # Nobody handles this method (405 follows), or its author forgot to say who may call it.
            return method == "OPTIONS" or getattr(view, method.lower(), None) is None
        grant: Any = request.auth
        if required is not None and required not in grant.scopes:
            raise ScopeMissing(required=required)
        return True
