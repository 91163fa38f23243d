"""A break is a difference that somebody has to explain: it has an owner and an age, and does not go away by itself."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from core.ids import uuid7


class Run(models.Model):
    """One comparison: of the desk's own books, or with a statement; what it was held against and what it found."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    provider = models.CharField(max_length=16, blank=True, help_text="Whose statement; empty: the desk's own books.")
    file_name = models.CharField(max_length=255, blank=True)
    file_digest = models.CharField(max_length=64, blank=True, help_text="SHA-256 of the statement, in hex.")
    compared = models.JSONField(default=dict, help_text="How much was held against what.")
    found = models.BigIntegerField(default=0)
    opened = models.BigIntegerField(default=0, help_text="Of those found, how many were new.")
    reopened = models.BigIntegerField(default=0, help_text="Of those found, how many had been resolved.")
    ran_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = (
            models.CheckConstraint(
                condition=Q(opened__gte=0, reopened__gte=0, found__gte=F("opened") + F("reopened")),
                name="run_counts_what_it_found",
            ),
        )

    def __str__(self) -> str:
        return f"{self.provider or 'books'} {self.ran_at:%Y-%m-%d %H:%M}"


class Break(models.Model):
    """
    Something that should agree and does not; one row per kind and subject, however often it is seen.

    OPEN → ASSIGNED → RESOLVED, and back to OPEN when it is seen again after it was resolved.
    """

    class Kind(models.TextChoices):
        CLEARING_DIFFERS = "CLEARING_DIFFERS"  # the house's clearing wallet, and the payments behind it
        PAYMENT_NOT_CREDITED = "PAYMENT_NOT_CREDITED"  # the provider reported it, and no deposit has it
        DEPOSIT_NOT_POSTED = "DEPOSIT_NOT_POSTED"
        WITHDRAWAL_NOT_POSTED = "WITHDRAWAL_NOT_POSTED"
        WITHDRAWAL_UNCONFIRMED = "WITHDRAWAL_UNCONFIRMED"  # sent long ago, and nobody has said that it was paid
        MISSING_HERE = "MISSING_HERE"  # on the statement, and not in the books
        MISSING_THERE = "MISSING_THERE"  # in the books, and not on the statement
        AMOUNT_DIFFERS = "AMOUNT_DIFFERS"
        DUPLICATE = "DUPLICATE"  # the statement has it twice
        VERIFICATION_FAILED = "VERIFICATION_FAILED"

    class Status(models.TextChoices):
        OPEN = "OPEN"
        ASSIGNED = "ASSIGNED"
        RESOLVED = "RESOLVED"

    class Resolution(models.TextChoices):
        TIMING = "TIMING", "A matter of time: both sides have it now"
        CORRECTED_HERE = "CORRECTED_HERE", "Corrected in our books"
        CORRECTED_THERE = "CORRECTED_THERE", "Corrected by the provider or the bank"
        RETURNED = "RETURNED", "The money went back to its sender"
        WRITTEN_OFF = "WRITTEN_OFF", "Written off"
        NO_DIFFERENCE = "NO_DIFFERENCE", "Looked into: there is no difference"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    kind = models.CharField(max_length=24, choices=Kind)
    subject = models.CharField(max_length=255, help_text="What does not agree, by a name that stays.")
    expected = models.CharField(max_length=255)
    found = models.CharField(max_length=255)
    currency = models.CharField(max_length=4, blank=True)
    about = models.CharField(max_length=64, blank=True, help_text="The model of the row here, if there is one.")
    about_id = models.UUIDField(null=True)
    status = models.CharField(max_length=8, choices=Status, default=Status.OPEN)
    assignee = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+", db_index=False
    )
    resolution = models.CharField(max_length=16, choices=Resolution, blank=True)
    note = models.CharField(max_length=500, blank=True)
    first_seen_at = models.DateTimeField(help_text="Since when it is open: again, if it had been resolved.")
    last_seen_at = models.DateTimeField()
    resolved_at = models.DateTimeField(null=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["kind", "subject"], name="break_once_per_subject"),
            models.CheckConstraint(
                condition=Q(status="OPEN", assignee__isnull=True, resolution="", resolved_at__isnull=True)
                | Q(status="ASSIGNED", assignee__isnull=False, resolution="", resolved_at__isnull=True)
                | (
                    Q(status="RESOLVED", assignee__isnull=False, resolved_at__isnull=False)
                    & ~Q(resolution="")
                    & ~Q(note="")
                ),
                name="break_state_has_its_facts",
            ),
            models.CheckConstraint(
                condition=Q(last_seen_at__gte=F("first_seen_at")), name="break_is_seen_after_it_was_first"
            ),
        )
        indexes = (
            models.Index(fields=["first_seen_at"], condition=~Q(status="RESOLVED"), name="break_unresolved"),
            models.Index(fields=["kind", "first_seen_at"], name="break_kind"),
        )

    def __str__(self) -> str:
        return f"{self.kind} {self.subject}"
