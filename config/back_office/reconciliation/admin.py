"""Breaks and runs as they are kept; what is decided about a break is decided on its page."""

from __future__ import annotations

from django.contrib import admin

from config.back_office.reconciliation.models import Break, Run
from core.admin import ReadOnlyAdmin


@admin.register(Break)
class BreakAdmin(ReadOnlyAdmin):
    list_display = ("first_seen_at", "kind", "subject", "expected", "found", "status", "assignee", "last_seen_at")
    list_filter = ("status", "kind")
    list_select_related = ("assignee",)
    search_fields = ("=subject",)
    search_help_text = "A subject, as it stands in the list"


@admin.register(Run)
class RunAdmin(ReadOnlyAdmin):
    list_display = ("ran_at", "provider", "file_name", "found", "opened", "reopened", "compared")
    list_filter = ("provider",)
