"""Notes in the order in which they were written; new ones are written on the client's page."""

from __future__ import annotations

from django.contrib import admin

from config.back_office.clients.models import ClientNote
from core.admin import ReadOnlyAdmin


@admin.register(ClientNote)
class ClientNoteAdmin(ReadOnlyAdmin):
    list_display = ("created_at", "owner", "author")
    list_select_related = ("owner", "author")
    search_fields = ("=id", "=owner__id", "=author__id")
    search_help_text = "A note's id, a client's, or its author's"
