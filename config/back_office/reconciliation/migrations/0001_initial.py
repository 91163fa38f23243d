"""Runs and breaks."""

import django.db.models.deletion
import django.db.models.expressions
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

import core.ids


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Run",
            fields=[
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                (
                    "provider",
                    models.CharField(
                        blank=True, help_text="Whose statement; empty: the desk's own books.", max_length=16
                    ),
                ),
                ("file_name", models.CharField(blank=True, max_length=255)),
                (
                    "file_digest",
                    models.CharField(blank=True, help_text="SHA-256 of the statement, in hex.", max_length=64),
                ),
                ("compared", models.JSONField(default=dict, help_text="How much was held against what.")),
                ("found", models.BigIntegerField(default=0)),
                ("opened", models.BigIntegerField(default=0, help_text="Of those found, how many were new.")),
                (
                    "reopened",
                    models.BigIntegerField(default=0, help_text="Of those found, how many had been resolved."),
                ),
                ("ran_at", models.DateTimeField(default=django.utils.timezone.now)),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "found__gte",
                                django.db.models.expressions.CombinedExpression(
                                    models.F("opened"), "+", models.F("reopened")
                                ),
                            ),
                            ("opened__gte", 0),
                            ("reopened__gte", 0),
                        ),
                        name="run_counts_what_it_found",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Break",
            fields=[
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("CLEARING_DIFFERS", "Clearing Differs"),
                            ("PAYMENT_NOT_CREDITED", "Payment Not Credited"),
                            ("DEPOSIT_NOT_POSTED", "Deposit Not Posted"),
                            ("WITHDRAWAL_NOT_POSTED", "Withdrawal Not Posted"),
                            ("WITHDRAWAL_UNCONFIRMED", "Withdrawal Unconfirmed"),
                            ("MISSING_HERE", "Missing Here"),
                            ("MISSING_THERE", "Missing There"),
                            ("AMOUNT_DIFFERS", "Amount Differs"),
                            ("DUPLICATE", "Duplicate"),
                            ("VERIFICATION_FAILED", "Verification Failed"),
                        ],
                        max_length=24,
                    ),
                ),
                ("subject", models.CharField(help_text="What does not agree, by a name that stays.", max_length=255)),
                ("expected", models.CharField(max_length=255)),
                ("found", models.CharField(max_length=255)),
                ("currency", models.CharField(blank=True, max_length=4)),
                (
                    "about",
                    models.CharField(
                        blank=True, help_text="The model of the row here, if there is one.", max_length=64
                    ),
                ),
                ("about_id", models.UUIDField(null=True)),
                (
                    "status",
                    models.CharField(
                        choices=[("OPEN", "Open"), ("ASSIGNED", "Assigned"), ("RESOLVED", "Resolved")],
                        default="OPEN",
                        max_length=8,
                    ),
                ),
                (
                    "resolution",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("TIMING", "A matter of time: both sides have it now"),
                            ("CORRECTED_HERE", "Corrected in our books"),
                            ("CORRECTED_THERE", "Corrected by the provider or the bank"),
                            ("RETURNED", "The money went back to its sender"),
                            ("WRITTEN_OFF", "Written off"),
                            ("NO_DIFFERENCE", "Looked into: there is no difference"),
                        ],
                        max_length=16,
                    ),
                ),
                ("note", models.CharField(blank=True, max_length=500)),
                (
                    "first_seen_at",
                    models.DateTimeField(help_text="Since when it is open: again, if it had been resolved."),
                ),
                ("last_seen_at", models.DateTimeField()),
                ("resolved_at", models.DateTimeField(null=True)),
                (
                    "assignee",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("status", "RESOLVED"), _negated=True),
                        fields=["first_seen_at"],
                        name="break_unresolved",
                    ),
                    models.Index(fields=["kind", "first_seen_at"], name="break_kind"),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("kind", "subject"), name="break_once_per_subject"),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("assignee__isnull", True),
                                ("resolution", ""),
                                ("resolved_at__isnull", True),
                                ("status", "OPEN"),
                            ),
                            models.Q(
                                ("assignee__isnull", False),
                                ("resolution", ""),
                                ("resolved_at__isnull", True),
                                ("status", "ASSIGNED"),
                            ),
                            models.Q(
                                ("assignee__isnull", False),
                                ("resolved_at__isnull", False),
                                ("status", "RESOLVED"),
                                models.Q(("resolution", ""), _negated=True),
                                models.Q(("note", ""), _negated=True),
                            ),
                            _connector="OR",
                        ),
                        name="break_state_has_its_facts",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("last_seen_at__gte", models.F("first_seen_at"))),
                        name="break_is_seen_after_it_was_first",
                    ),
                ],
            },
        ),
    ]
