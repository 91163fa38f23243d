"""What was exported, for whoever holds a zip and wants to know where it came from."""

from __future__ import annotations

from django.contrib import admin

from config.back_office.exports.models import Export
from core.admin import ReadOnlyAdmin


@admin.register(Export)
class ExportAdmin(ReadOnlyAdmin):
    list_display = ("asked_at", "kind", "subject", "period_from", "period_to", "asked_by", "reason", "made_at", "rows")
    list_filter = ("kind",)
    list_select_related = ("asked_by",)
    search_fields = ("=id", "=subject")
    search_help_text = "An export's id, a client's id, or a symbol"
    fields = (
        "id",
        "owner",
        "kind",
        "subject",
        "period_from",
        "period_to",
        "asked_by",
        "reason",
        "asked_at",
        "made_at",
        "rows",
        "digest",
    )

    @admin.display(description="SHA-256 of the manifest")
    def digest(self, export: Export) -> str:
        return bytes(export.manifest_digest).hex() if export.manifest_digest is not None else ""
