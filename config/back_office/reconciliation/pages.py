"""The board of what does not agree: how old it is, who looks after it, and how it was explained."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.db.models import Count, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget

from config.back_office.cells import Row, Table, anchor, colleague, label, link
from config.back_office.pages import page, show, told
from config.back_office.reconciliation.models import Break, Run
from config.back_office.reconciliation.services import breaks
from core.api.requests import actor_of
from core.models import AuditEvent

ROWS_MAX = 100
DAYS_OLD = 7

Status = Break.Status
VARIANTS = {Status.OPEN: "danger", Status.ASSIGNED: "warning", Status.RESOLVED: "success"}


class ResolutionForm(forms.Form):
    """How a break is explained."""

    resolution = forms.ChoiceField(choices=Break.Resolution.choices, widget=UnfoldAdminSelectWidget)
    note = forms.CharField(max_length=500, widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}))


@page("reconciliation/", name="reconciliation", title="Reconciliation", permission="reconciliation.view_break")
def board(request: HttpRequest) -> HttpResponseBase:
    """What is open, oldest first, by kind and by who has it; or what was resolved."""
    now = timezone.now()
    chosen = {name: request.GET.get(name, "") for name in ("status", "kind", "mine")}
    chosen["kind"] = chosen["kind"] if chosen["kind"] in Break.Kind.values else ""
    chosen["status"] = chosen["status"] if chosen["status"] in Status.values else ""
    unresolved = Break.objects.exclude(status=Status.RESOLVED)
    counts = unresolved.aggregate(
        open=Count("pk", filter=Q(status=Status.OPEN)),
        mine=Count("pk", filter=Q(assignee=request.user.pk)),
        old=Count("pk", filter=Q(first_seen_at__lt=_days_ago(now))),
        all=Count("pk"),
    )
    rows = _chosen(request, unresolved, chosen).select_related("assignee").order_by("first_seen_at")[:ROWS_MAX]
    runs = Run.objects.order_by("-id")[:10]
    return show(
        request,
        "reconciliation/board.html",
        title="Reconciliation",
        counts=[
            ("Unresolved", counts["all"]),
            ("Nobody's", counts["open"]),
            ("Mine", counts["mine"]),
            (f"Older than {DAYS_OLD} days", counts["old"]),
        ],
        chosen=chosen,
        kinds=Break.Kind.values,
        statuses=Status.values,
        breaks=Table(
            headers=["Kind", "Subject", "Expected", "Found", "Age", "Last seen", "State", "Who"],
            rows=[_row(row, now) for row in rows],
        ),
        runs=Table(
            headers=["When", "Against", "Found", "New", "Open again"],
            rows=[
                [
                    f"{run.ran_at:%Y-%m-%d %H:%M}", f"{run.provider} {run.file_name}".strip() or "The desk's own books",
                    run.found, run.opened, run.reopened,
                ]
                for run in runs
            ],
        ),
    )  # fmt: skip


def _chosen(request: HttpRequest, unresolved: QuerySet[Break], chosen: dict[str, str]) -> QuerySet[Break]:
    rows = Break.objects.filter(status=chosen["status"]) if chosen["status"] else unresolved
    if chosen["kind"]:
        rows = rows.filter(kind=chosen["kind"])
    return rows.filter(assignee=request.user.pk) if chosen["mine"] else rows


def _days_ago(now: datetime) -> datetime:
    return now - timedelta(days=DAYS_OLD)


def _row(row: Break, now: datetime) -> list[Any]:
    return [
        row.kind,
        anchor(reverse("admin:break", args=[row.pk]), row.subject),
        row.expected,
        row.found,
        _age(row, now),
        f"{row.last_seen_at:%Y-%m-%d %H:%M}",
        label(row.status, VARIANTS[Status(row.status)]),
        colleague(row.assignee),
    ]


def _age(row: Break, now: datetime) -> str:
    """Until it was resolved, or until now."""
    days = ((row.resolved_at or now) - row.first_seen_at).days
    return f"{days} d" if days else "today"


@page("reconciliation/<uuid:pk>/", name="break", title="Break", permission="reconciliation.view_break")
def break_page(request: HttpRequest, pk: UUID) -> HttpResponseBase:
    """One break: both figures, what it is about, and everything that was done about it."""
    row = Break.objects.select_related("assignee").filter(pk=pk).first()
    if row is None:
        raise Http404
    about = link(request, Row(row.about, row.about_id), f"{row.about} {row.about_id}") if row.about else "–"
    facts = [
        ("Kind", row.kind),
        ("Expected", row.expected),
        ("Found", row.found),
        ("About", about),
        ("First seen", f"{row.first_seen_at:%Y-%m-%d %H:%M}"),
        ("Last seen", f"{row.last_seen_at:%Y-%m-%d %H:%M}"),
        ("Age", _age(row, timezone.now())),
        ("State", label(row.status, VARIANTS[Status(row.status)])),
        ("Who looks after it", colleague(row.assignee)),
        ("Resolution", row.get_resolution_display() if row.resolution else "–"),
        ("Note", row.note or "–"),
    ]
    events = AuditEvent.objects.filter(object_type=row._meta.label_lower, object_id=str(row.pk)).order_by("-id")[:50]
    history = Table(
        headers=["When", "What", "Who", "Why"],
        rows=[
            [f"{event.created_at:%Y-%m-%d %H:%M}", link(request, event, event.action), event.actor_kind, event.reason]
            for event in events
        ],
    )
    decides = request.user.has_perm("reconciliation.change_break") and row.status != Status.RESOLVED
    form = ResolutionForm() if decides else None
    return show(
        request, "reconciliation/break.html", title=row.subject, row=row, facts=facts, history=history, form=form
    )


@page(
    "reconciliation/<uuid:pk>/assign/",
    name="break-assign",
    title="Take a break",
    permission="reconciliation.change_break",
    methods=("POST",),
)
def assign(request: HttpRequest, pk: UUID) -> HttpResponseBase:
    """Take a break on."""
    told(request, lambda: breaks.assign_break(break_id=pk, actor=actor_of(request)), "It is yours.")
    return HttpResponseRedirect(reverse("admin:break", args=[pk]))


@page(
    "reconciliation/<uuid:pk>/resolve/",
    name="break-resolve",
    title="Resolve a break",
    permission="reconciliation.change_break",
    methods=("POST",),
)
def resolve(request: HttpRequest, pk: UUID) -> HttpResponseBase:
    """Say what explains a break."""
    form = ResolutionForm(request.POST)
    if form.is_valid():
        given = form.cleaned_data
        told(request, lambda: breaks.resolve_break(break_id=pk, **given, actor=actor_of(request)), "Resolved.")
    else:
        messages.error(request, "Say how it was resolved, and why, in at most 500 characters.")
    return HttpResponseRedirect(reverse("admin:break", args=[pk]))
