"""A page of the back office is a function that looks, or that calls one service; who may open it is said beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from django.contrib import messages
from django.contrib.admin import site
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase, HttpResponseNotAllowed
from django.template.response import TemplateResponse

from core.errors import DomainError

View = Callable[..., HttpResponseBase]
Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class Page:
    """Where a page is (below /admin/), what reverse() calls it, and the permission that opens it."""

    route: str
    name: str
    title: str
    permission: str
    view: View
    methods: tuple[str, ...]

    def open(self, request: HttpRequest, **path: Any) -> HttpResponseBase:
        """:raises PermissionDenied: if this member of staff may not"""
        if not request.user.has_perm(self.permission):
            raise PermissionDenied
        if request.method not in self.methods:
            return HttpResponseNotAllowed(self.methods)
        return self.view(request, **path)


#: Every page by name; the site gives each its URL, behind the second factor.
PAGES: dict[str, Page] = {}


def page(
    route: str, *, name: str, title: str, permission: str, methods: tuple[str, ...] = ("GET", "HEAD")
) -> Callable[[View], View]:
    """Put a view among the pages: `/admin/<route>`, `reverse("admin:<name>")`."""

    def register(view: View) -> View:
        assert name not in PAGES, f"there are two pages called {name}"
        PAGES[name] = Page(route, name, title, permission, view, methods)
        return view

    return register


def show(request: HttpRequest, template: str, *, title: str, status: int = 200, **context: Any) -> TemplateResponse:
    """A page within the admin's frame; templates extend `back_office/page.html`."""
    whole = {**site.each_context(request), "title": title, **context}
    return TemplateResponse(request, template, whole, status=status)


def told(request: HttpRequest, act: Callable[[], Made], done: str) -> Made | None:
    """What a service made of it, saying `done`; or None, saying why it refused in its own words."""
    try:
        made = act()
    except DomainError as refusal:
        messages.error(request, refusal.detail)
        return None
    messages.success(request, done)
    return made
