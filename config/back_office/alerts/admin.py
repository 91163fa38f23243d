"""The queue of alerts, and what stands behind it; whatever is done to one is done on its own page."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from unfold.decorators import display

from config.back_office.alerts.models import Alert, AlertCursor, AlertNote, AlertRule
from core.admin import ReadOnlyAdmin

#: How a label looks.
SEVERITIES = {"HIGH": "danger", "MEDIUM": "warning", "LOW": "info"}
STATES = {"OPEN": "info", "ASSIGNED": "primary", "ESCALATED": "danger"}


class InWhoseHands(admin.SimpleListFilter):
    """A choice of two, since a list of colleagues would have to be read from the table."""

    title = "in whose hands"
    parameter_name = "hands"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("mine", "Mine"), ("nobody", "Nobody's")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Alert]) -> QuerySet[Alert]:
        if self.value() == "mine":
            return queryset.filter(assignee=request.user.pk).exclude(status=Alert.Status.CLOSED)
        if self.value() == "nobody":
            return queryset.filter(assignee__isnull=True).exclude(status=Alert.Status.CLOSED)
        return queryset


@admin.register(Alert)
class AlertAdmin(ReadOnlyAdmin):
    list_display = ("code", "how_severe", "where_it_stands", "age", "client", "in_hand", "escalated_to", "raised_at")
    list_filter = ("status", "severity", "code", "escalated_to", InWhoseHands)
    list_select_related = ("owner", "assignee")
    search_fields = ("=id", "=owner__id")
    search_help_text = "An alert's id, or a client's"

    # The decorator carries no types.
    @display(description="Severity", label=SEVERITIES)  # type: ignore[untyped-decorator]
    def how_severe(self, alert: Alert) -> tuple[str, str]:
        return alert.severity, alert.get_severity_display()

    @display(description="Status", label=STATES)  # type: ignore[untyped-decorator]
    def where_it_stands(self, alert: Alert) -> tuple[str, str]:
        return alert.status, alert.get_status_display()

    @admin.display(description="Age")
    def age(self, alert: Alert) -> str:
        """How long the question has been waiting, or had been when it was answered."""
        hours, _ = divmod(int(((alert.closed_at or timezone.now()) - alert.raised_at).total_seconds()), 3600)
        return f"{hours // 24} d {hours % 24} h"

    @admin.display(description="Client")
    def client(self, alert: Alert) -> str:
        return alert.owner.name

    @admin.display(description="Assignee")
    def in_hand(self, alert: Alert) -> str:
        return "" if alert.assignee is None else alert.assignee.name

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Every link to an alert leads to its page; a form has nothing to do here."""
        if not self.has_view_permission(request) or request.method == "POST":
            raise PermissionDenied
        alert = get_object_or_404(Alert, pk=object_id)
        return HttpResponseRedirect(reverse("admin:alert", args=[alert.pk]))


@admin.register(AlertRule)
class AlertRuleAdmin(ReadOnlyAdmin):
    list_display = ("code", "version", "is_on", "severity", "terms", "loaded_at")
    list_filter = ("code",)


@admin.register(AlertNote)
class AlertNoteAdmin(ReadOnlyAdmin):
    list_display = ("written_at", "alert", "author", "text")
    list_select_related = ("alert", "author")
    search_fields = ("=alert__id", "=owner__id")
    search_help_text = "An alert's id, or a client's"


@admin.register(AlertCursor)
class AlertCursorAdmin(ReadOnlyAdmin):
    list_display = ("stream", "position", "moved_at")
