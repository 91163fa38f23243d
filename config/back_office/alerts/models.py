"""An alert is a question about one client that somebody has to answer, with the figures that raised it."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from core.ids import uuid7


class AlertRule(models.Model):
    """
    One version of a rule; the newest is in force. Terms for everybody, so it belongs to nobody.

    A version never changes, since alerts refer to it: to ask for more, for less or for nothing is a new version.
    """

    class Code(models.TextChoices):
        LARGE_DEPOSIT = "LARGE_DEPOSIT", "Large deposit"
        STRUCTURING = "STRUCTURING", "Structuring"
        IN_AND_OUT = "IN_AND_OUT", "In and out untraded"
        DORMANT_WAKING = "DORMANT_WAKING", "Dormant account waking"
        SHARED_BANK_ACCOUNT = "SHARED_BANK_ACCOUNT", "Shared bank account"
        SHARED_ADDRESS = "SHARED_ADDRESS", "Shared network address"
        REFERRAL_RING = "REFERRAL_RING", "Referral ring"

    class Severity(models.TextChoices):
        LOW = "LOW"
        MEDIUM = "MEDIUM"
        HIGH = "HIGH"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    code = models.CharField(max_length=32, choices=Code)
    version = models.PositiveBigIntegerField()
    is_on = models.BooleanField(help_text="Off: it raises nothing while this version is in force.")
    severity = models.CharField(max_length=8, choices=Severity)
    terms = models.JSONField(help_text="From where on it raises; amounts by currency.")
    loaded_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["code", "version"], name="alertrule_version"),
            models.CheckConstraint(condition=Q(version__gte=1), name="alertrule_version_positive"),
        )

    def __str__(self) -> str:
        return f"{self.code} v{self.version}"


class Alert(models.Model):
    """
    What a rule found about a client, and what people made of it.

    What was found never changes. `fingerprint` says what it was found in (a posting, a bank account), so that no rule
    says the same twice, however often it looks and under whichever version.
    """

    class Status(models.TextChoices):
        OPEN = "OPEN"
        ASSIGNED = "ASSIGNED"
        ESCALATED = "ESCALATED"
        CLOSED = "CLOSED"

    class Outcome(models.TextChoices):
        EXPLAINED = "EXPLAINED"  # there is a good answer to the question
        ACTED_ON = "ACTED_ON", "Acted on"  # the client was stopped, limited or spoken to
        REPORTED = "REPORTED"  # the authority was told

    class Desk(models.TextChoices):
        """Whom an alert is escalated to, by the roles that may look at alerts."""

        KYC = "kyc", "Compliance"
        FINANCE = "finance", "Finance"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", db_index=False, verbose_name="client"
    )
    rule = models.ForeignKey(AlertRule, on_delete=models.PROTECT, related_name="+", db_index=False)
    code = models.CharField("found", max_length=32, choices=AlertRule.Code)
    severity = models.CharField(max_length=8, choices=AlertRule.Severity)
    fingerprint = models.CharField(max_length=128)
    facts = models.JSONField()
    status = models.CharField(max_length=12, choices=Status, default=Status.OPEN)
    raised_at = models.DateTimeField(default=timezone.now)
    assignee = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+", db_index=False
    )
    escalated_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+", db_index=False
    )
    escalated_to = models.CharField(max_length=16, choices=Desk, blank=True)
    outcome = models.CharField(max_length=12, choices=Outcome, blank=True)
    reason = models.CharField(max_length=500, blank=True, help_text="Why it was closed.")
    closed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+", db_index=False
    )
    closed_at = models.DateTimeField(null=True)
    updated_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["owner", "code", "fingerprint"], name="alert_is_raised_once"),
            models.CheckConstraint(
                condition=Q(
                    status="OPEN", assignee__isnull=True, escalated_by__isnull=True, closed_by__isnull=True, outcome=""
                )
                | Q(
                    status="ASSIGNED",
                    assignee__isnull=False,
                    escalated_by__isnull=True,
                    closed_by__isnull=True,
                    outcome="",
                )
                | Q(status="ESCALATED", escalated_by__isnull=False, closed_by__isnull=True, outcome="")
                | (
                    Q(status="CLOSED", closed_by__isnull=False, closed_at__isnull=False)
                    & ~Q(outcome="")
                    & ~Q(reason="")
                ),
                name="alert_state_has_its_facts",
            ),
            models.CheckConstraint(
                condition=Q(escalated_by__isnull=True, escalated_to="")
                | (Q(escalated_by__isnull=False) & ~Q(escalated_to="")),
                name="alert_is_escalated_to_someone",
            ),
            # Whoever found something too big to decide alone does not end up deciding it alone.
            models.CheckConstraint(
                condition=Q(closed_by__isnull=True) | Q(escalated_by__isnull=True) | ~Q(closed_by=F("escalated_by")),
                name="alert_escalator_does_not_close",
            ),
            models.CheckConstraint(
                condition=(Q(assignee__isnull=True) | ~Q(assignee=F("owner")))
                & (Q(closed_by__isnull=True) | ~Q(closed_by=F("owner"))),
                name="alert_is_worked_by_somebody_else",
            ),
        )
        indexes = (
            models.Index(fields=["owner", "id"], name="alert_owner"),
            models.Index(fields=["status", "id"], name="alert_status"),
            models.Index(fields=["severity", "id"], name="alert_severity"),
            models.Index(fields=["code", "id"], name="alert_code"),
            models.Index(fields=["assignee", "id"], condition=~Q(status="CLOSED"), name="alert_in_hand"),
        )

    def __str__(self) -> str:
        return f"{self.code} {self.id}"


class AlertNote(models.Model):
    """What somebody found out about an alert; append-only."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", db_index=False)
    alert = models.ForeignKey(Alert, on_delete=models.PROTECT, related_name="notes", db_index=False)
    author = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", db_index=False)
    text = models.CharField(max_length=500)
    written_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = (models.CheckConstraint(condition=~Q(text=""), name="alertnote_says_something"),)
        indexes = (models.Index(fields=["alert", "id"], name="alertnote_alert"),)

    def __str__(self) -> str:
        return f"{self.written_at:%Y-%m-%d %H:%M} {self.author_id}"


class AlertCursor(models.Model):
    """
    How far one stream of rows has been looked at for good.

    Everything with an id up to `position` has been seen, and no transaction that was under way then can add to it.
    """

    class Stream(models.TextChoices):
        DEPOSITS = "DEPOSITS"
        WITHDRAWALS = "WITHDRAWALS"
        LIVE_WALLETS = "LIVE_WALLETS"
        BANK_ACCOUNTS = "BANK_ACCOUNTS"
        ADDRESSES = "ADDRESSES"
        TRANSFERS = "TRANSFERS"

    stream = models.CharField(primary_key=True, max_length=16, choices=Stream)
    position = models.UUIDField()
    moved_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return self.stream
