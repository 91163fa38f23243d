import django.utils.timezone
from django.db import migrations, models

import core.ids


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="KillSwitch",
            fields=[
                (
                    "scope",
                    models.CharField(
                        help_text="WITHDRAWALS, TRADING or TRADING:<symbol>.",
                        max_length=64,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("engaged", models.BooleanField(default=False)),
                ("reason", models.CharField(blank=True, max_length=500)),
                ("actor_id", models.UUIDField(null=True)),
                ("changed_at", models.DateTimeField(default=django.utils.timezone.now)),
            ],
            options={"verbose_name_plural": "kill switches"},
        ),
        migrations.CreateModel(
            name="ThrottleWindow",
            fields=[
                ("key", models.BinaryField(max_length=32, primary_key=True, serialize=False)),
                (
                    "tokens_at",
                    models.DateTimeField(help_text="The theoretical arrival time of the generic cell rate algorithm."),
                ),
            ],
        ),
        migrations.CreateModel(
            name="AuditEvent",
            fields=[
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                (
                    "owner",
                    models.UUIDField(
                        help_text="The client it concerns; the house for what concerns nobody in particular."
                    ),
                ),
                ("action", models.CharField(max_length=64)),
                ("actor_id", models.UUIDField(null=True)),
                ("actor_kind", models.CharField(max_length=12)),
                ("object_type", models.CharField(max_length=64)),
                ("object_id", models.CharField(max_length=64)),
                ("before", models.JSONField(null=True)),
                ("after", models.JSONField(null=True)),
                ("reason", models.CharField(blank=True, max_length=500)),
                ("request_id", models.CharField(blank=True, max_length=64)),
                ("address", models.GenericIPAddressField(null=True)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
            ],
            options={
                "indexes": [
                    models.Index(fields=["owner", "id"], name="auditevent_owner"),
                    models.Index(fields=["object_type", "object_id"], name="auditevent_object"),
                    models.Index(fields=["created_at"], name="auditevent_created_at"),
                ],
            },
        ),
        migrations.CreateModel(
            name="IdempotencyKey",
            fields=[
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("owner", models.UUIDField()),
                ("digest", models.BinaryField(max_length=32)),
                ("operation", models.CharField(max_length=32)),
                ("request_hash", models.BinaryField(max_length=32)),
                (
                    "status",
                    models.CharField(
                        choices=[("PROCESSING", "Processing"), ("COMPLETED", "Completed"), ("FAILED", "Failed")],
                        max_length=12,
                    ),
                ),
                ("response_status", models.SmallIntegerField(null=True)),
                ("response_body", models.BinaryField(null=True)),
                ("effect_id", models.UUIDField(null=True)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("completed_at", models.DateTimeField(null=True)),
                ("expires_at", models.DateTimeField()),
            ],
            options={
                "indexes": [models.Index(fields=["expires_at"], name="idempotencykey_expires_at")],
                "constraints": [
                    models.UniqueConstraint(fields=("owner", "digest"), name="idempotencykey_owner_digest"),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("status", "PROCESSING"),
                            models.Q(
                                ("completed_at__isnull", False),
                                ("response_body__isnull", False),
                                ("response_status__isnull", False),
                            ),
                            _connector="OR",
                        ),
                        name="idempotencykey_answered_when_ended",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="JobRun",
            fields=[
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("name", models.CharField(max_length=64)),
                (
                    "status",
                    models.CharField(
                        choices=[("RUNNING", "Running"), ("SUCCEEDED", "Succeeded"), ("FAILED", "Failed")],
                        default="RUNNING",
                        max_length=12,
                    ),
                ),
                ("started_at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "beat_at",
                    models.DateTimeField(
                        default=django.utils.timezone.now, help_text="A watching command's last sign of life."
                    ),
                ),
                ("ended_at", models.DateTimeField(null=True)),
                ("counts", models.JSONField(default=dict)),
                ("error", models.TextField(blank=True)),
            ],
            options={
                "indexes": [models.Index(fields=["name", "started_at"], name="jobrun_name_started_at")],
            },
        ),
    ]
