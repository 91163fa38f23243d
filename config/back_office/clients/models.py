"""What one member of staff leaves for the next about a client; it is never rewritten."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from core.ids import uuid7

NOTE_CHARACTERS_MAX = 4_000


class ClientNote(models.Model):
    """A remark about a client, by whom and when; append-only, and never shown to the client."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", db_index=False)
    author = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", db_index=False)
    text = models.CharField(max_length=NOTE_CHARACTERS_MAX)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = (models.CheckConstraint(condition=Q(text__regex=r"\S"), name="clientnote_says_something"),)
        indexes = (models.Index(fields=["owner", "id"], name="clientnote_owner"),)

    def __str__(self) -> str:
        return f"{self.created_at:%Y-%m-%d %H:%M}"
