"""What every room shares: keys, audit events, jobs and the switches that stop everything."""

from __future__ import annotations

from django.db import models
from django.utils import timezone

from core.ids import uuid7


class IdempotencyKey(models.Model):
    """
    A client's key, the request it stands for, and the answer it got.

    `owner` has no foreign key: an anonymous sign-up owns its key before its user exists.
    """

    class Status(models.TextChoices):
        PROCESSING = "PROCESSING"  # written by nobody: a key comes with its answer
        COMPLETED = "COMPLETED"
        FAILED = "FAILED"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    owner = models.UUIDField()
    digest = models.BinaryField(max_length=32)
    operation = models.CharField(max_length=32)
    request_hash = models.BinaryField(max_length=32)
    status = models.CharField(max_length=12, choices=Status)
    response_status = models.SmallIntegerField(null=True)
    response_body = models.BinaryField(null=True)
    effect_id = models.UUIDField(null=True)
    created_at = models.DateTimeField(default=timezone.now)
    completed_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField()

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["owner", "digest"], name="idempotencykey_owner_digest"),
            models.CheckConstraint(
                condition=models.Q(status="PROCESSING")
                | models.Q(response_status__isnull=False, response_body__isnull=False, completed_at__isnull=False),
                name="idempotencykey_answered_when_ended",
            ),
        )
        indexes = (models.Index(fields=["expires_at"], name="idempotencykey_expires_at"),)

    def __str__(self) -> str:
        return f"{self.operation} {self.id}"


class AuditEvent(models.Model):
    """Who did what to whom, why, and what it changed; append-only, written with the change it records."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    owner = models.UUIDField(help_text="The client it concerns; the house for what concerns nobody in particular.")
    action = models.CharField(max_length=64)
    actor_id = models.UUIDField(null=True)
    actor_kind = models.CharField(max_length=12)
    object_type = models.CharField(max_length=64)
    object_id = models.CharField(max_length=64)
    before = models.JSONField(null=True)
    after = models.JSONField(null=True)
    reason = models.CharField(max_length=500, blank=True)
    request_id = models.CharField(max_length=64, blank=True)
    address = models.GenericIPAddressField(null=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        indexes = (
            models.Index(fields=["owner", "id"], name="auditevent_owner"),
            models.Index(fields=["object_type", "object_id"], name="auditevent_object"),
            models.Index(fields=["created_at"], name="auditevent_created_at"),
            models.Index(
                fields=["address", "owner", "created_at"],
                condition=models.Q(actor_kind="CLIENT", address__isnull=False),
                name="auditevent_client_address",
            ),
            models.Index(fields=["request_id"], condition=~models.Q(request_id=""), name="auditevent_request_id"),
            # By the whole name of an action, or by how it begins, whatever the database's collation.
            models.Index(
                fields=["action", "id"], name="auditevent_action", opclasses=["varchar_pattern_ops", "uuid_ops"]
            ),
            models.Index(fields=["actor_kind", "id"], name="auditevent_actor_kind"),
        )

    def __str__(self) -> str:
        return f"{self.action} {self.object_type} {self.object_id}"


class JobRun(models.Model):
    """One run of a management command: when, how it ended, what it counted."""

    class Status(models.TextChoices):
        RUNNING = "RUNNING"
        SUCCEEDED = "SUCCEEDED"
        FAILED = "FAILED"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=64)
    status = models.CharField(max_length=12, choices=Status, default=Status.RUNNING)
    started_at = models.DateTimeField(default=timezone.now)
    beat_at = models.DateTimeField(default=timezone.now, help_text="A watching command's last sign of life.")
    ended_at = models.DateTimeField(null=True)
    counts = models.JSONField(default=dict)
    error = models.TextField(blank=True)

    class Meta:
        indexes = (models.Index(fields=["name", "started_at"], name="jobrun_name_started_at"),)

    def __str__(self) -> str:
        return f"{self.name} {self.started_at:%Y-%m-%d %H:%M}"


class KillSwitch(models.Model):
    """A switch that staff throw to stop one kind of operation at once; read by the statement that locks the wallet."""

    scope = models.CharField(primary_key=True, max_length=64, help_text="WITHDRAWALS, TRADING or TRADING:<symbol>.")
    engaged = models.BooleanField(default=False)
    reason = models.CharField(max_length=500, blank=True)
    actor_id = models.UUIDField(null=True)
    changed_at = models.DateTimeField(default=timezone.now)

    class Meta:
        verbose_name_plural = "kill switches"

    def __str__(self) -> str:
        return f"{self.scope} {'engaged' if self.engaged else 'clear'}"


class ThrottleWindow(models.Model):
    """
    How often something was tried, counted across all processes.

    The table is unlogged: a crash forgets the counts, and counting costs no disk flush.
    """

    key = models.BinaryField(primary_key=True, max_length=32)
    tokens_at = models.DateTimeField(help_text="The theoretical arrival time of the generic cell rate algorithm.")

    def __str__(self) -> str:
        return bytes(self.key).hex()
