"""How a queue is drawn: ages instead of dates, people by their names, and a case as its facts and its buttons."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponseBase
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from accounts.models import User
from config.back_office.cells import VARIANTS, Table, label, link
from config.back_office.pages import show
from config.back_office.queues.deciding import Button
from config.back_office.queues.selectors import Slice


def age(since: datetime | None, now: datetime | None = None) -> str:
    """How long something has waited, to two figures: `3 d 4 h`, `5 h 12 min`, `7 min`."""
    if since is None:
        return "–"
    minutes = max(int(((now or timezone.now()) - since).total_seconds()), 0) // 60
    hours, days = minutes // 60, minutes // 1440
    if days:
        return f"{days} d {hours % 24} h"
    return f"{hours} h {minutes % 60} min" if hours else f"{minutes} min"


def stamp(moment: datetime | None) -> str:
    return "–" if moment is None else f"{moment:%Y-%m-%d %H:%M} UTC"


def status(text: str) -> SafeString:
    return label(text.replace("_", " "), VARIANTS.get(text, "default"))


def client(request: HttpRequest, person: User) -> str | SafeString:
    """A client by name, and a way to their page."""
    return link(request, person, person.name or "No name")


def side_by_side(parts: list[SafeString]) -> SafeString:
    return format_html_join(" ", "{}", ((part,) for part in parts))


def queue(
    request: HttpRequest,
    *,
    title: str,
    remark: str,
    headers: list[str],
    page: Slice,
    rows: list[list[Any]],
    **more: Any,
) -> HttpResponseBase:
    """A queue's page: what it is, its rows, and the way on."""
    further = request.GET.copy()
    further["after"] = page.after
    return show(
        request,
        "queues/queue.html",
        title=title,
        remark=remark,
        table=Table(headers=headers, rows=rows),
        further=f"?{further.urlencode()}" if page.after else "",
        **more,
    )


def case(
    request: HttpRequest,
    *,
    title: str,
    back: str,
    facts: list[tuple[str, Any]],
    form: forms.Form,
    possible: list[Button],
    notes: list[str] | None = None,
    tables: list[tuple[str, Table]] | None = None,
) -> HttpResponseBase:
    """One thing to decide about: what is known, what to mind, and the buttons of who looks at it."""
    return show(
        request,
        "queues/case.html",
        title=title,
        back=reverse(f"admin:{back}"),
        facts=facts,
        form=form,
        buttons=possible,
        notes=notes or [],
        tables=tables or [],
    )
