"""Figures as they are kept, for whoever asks where a number on a dashboard is from."""

from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest

from config.back_office.dashboards import overview
from config.back_office.dashboards.models import Figure, FigureSet
from core.admin import ReadOnlyAdmin


@admin.register(FigureSet)
class FigureSetAdmin(ReadOnlyAdmin):
    list_display = ("day", "source", "as_of", "is_final", "note")
    list_filter = ("is_final",)
    search_fields = ("=source",)
    search_help_text = "A source"


@admin.register(Figure)
class FigureAdmin(ReadOnlyAdmin):
    list_display = ("set", "name", "environment", "currency", "label", "value", "unit", "moment")
    list_filter = ("environment",)
    list_select_related = ("set",)
    search_fields = ("=name", "=label", "=set__source")
    search_help_text = "A figure's name or label, or a source"

    def has_view_permission(self, request: HttpRequest, obj: Figure | None = None) -> bool:
        """Sums of money are among them."""
        return super().has_view_permission(request, obj) and request.user.has_perm(overview.MONEY_PERMISSION)
