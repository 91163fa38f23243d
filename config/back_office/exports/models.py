"""Every export is on record before its first byte leaves: who asked, why, and what its manifest came to."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from core.ids import uuid7


class Export(models.Model):
    """
    One export that somebody asked for; once it is whole, how large it is and the digest of its manifest.

    `owner` is the client it is about, or the house for an instrument. Without `made_at` it never became whole.
    """

    class Kind(models.TextChoices):
        CLIENT = "CLIENT"
        INSTRUMENT = "INSTRUMENT"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", db_index=False)
    kind = models.CharField(max_length=12, choices=Kind)
    subject = models.CharField(max_length=64, help_text="The client's id, or the instrument's symbol.")
    period_from = models.DateTimeField(help_text="Included.")
    period_to = models.DateTimeField(help_text="Not included.")
    asked_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", db_index=False)
    reason = models.CharField(max_length=500)
    asked_at = models.DateTimeField(default=timezone.now)
    made_at = models.DateTimeField(null=True)
    rows = models.BigIntegerField(null=True, help_text="Of all tables together.")
    manifest_digest = models.BinaryField(max_length=32, null=True, help_text="SHA-256 of MANIFEST.json.")

    class Meta:
        constraints = (
            models.CheckConstraint(condition=~Q(reason=""), name="export_has_a_reason"),
            models.CheckConstraint(condition=Q(period_to__gt=F("period_from")), name="export_period_in_order"),
            models.CheckConstraint(
                condition=Q(made_at__isnull=True, rows__isnull=True, manifest_digest__isnull=True)
                | Q(made_at__isnull=False, rows__gte=0, rows__isnull=False, manifest_digest__isnull=False),
                name="export_is_made_when_its_manifest_is_known",
            ),
        )
        indexes = (models.Index(fields=["owner", "id"], name="export_owner"),)

    def __str__(self) -> str:
        return f"{self.kind} {self.subject}"
