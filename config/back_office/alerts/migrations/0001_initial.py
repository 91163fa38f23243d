"""What rules find about clients, and what people make of it."""

import django.db.models.deletion
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
            name="AlertCursor",
            fields=[
                (
                    "stream",
                    models.CharField(
                        choices=[
                            ("DEPOSITS", "Deposits"),
                            ("WITHDRAWALS", "Withdrawals"),
                            ("LIVE_WALLETS", "Live Wallets"),
                            ("BANK_ACCOUNTS", "Bank Accounts"),
                            ("ADDRESSES", "Addresses"),
                            ("TRANSFERS", "Transfers"),
                        ],
                        max_length=16,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("position", models.UUIDField()),
                ("moved_at", models.DateTimeField(default=django.utils.timezone.now)),
            ],
        ),
        migrations.CreateModel(
            name="AlertRule",
            fields=[
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                (
                    "code",
                    models.CharField(
                        choices=[
                            ("LARGE_DEPOSIT", "Large deposit"),
                            ("STRUCTURING", "Structuring"),
                            ("IN_AND_OUT", "In and out untraded"),
                            ("DORMANT_WAKING", "Dormant account waking"),
                            ("SHARED_BANK_ACCOUNT", "Shared bank account"),
                            ("SHARED_ADDRESS", "Shared network address"),
                            ("REFERRAL_RING", "Referral ring"),
                        ],
                        max_length=32,
                    ),
                ),
                ("version", models.PositiveBigIntegerField()),
                ("is_on", models.BooleanField(help_text="Off: it raises nothing while this version is in force.")),
                (
                    "severity",
                    models.CharField(choices=[("LOW", "Low"), ("MEDIUM", "Medium"), ("HIGH", "High")], max_length=8),
                ),
                ("terms", models.JSONField(help_text="From where on it raises; amounts by currency.")),
                ("loaded_at", models.DateTimeField(default=django.utils.timezone.now)),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("code", "version"), name="alertrule_version"),
                    models.CheckConstraint(condition=models.Q(("version__gte", 1)), name="alertrule_version_positive"),
                ],
            },
        ),
        migrations.CreateModel(
            name="Alert",
            fields=[
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                (
                    "code",
                    models.CharField(
                        choices=[
                            ("LARGE_DEPOSIT", "Large deposit"),
                            ("STRUCTURING", "Structuring"),
                            ("IN_AND_OUT", "In and out untraded"),
                            ("DORMANT_WAKING", "Dormant account waking"),
                            ("SHARED_BANK_ACCOUNT", "Shared bank account"),
                            ("SHARED_ADDRESS", "Shared network address"),
                            ("REFERRAL_RING", "Referral ring"),
                        ],
                        max_length=32,
                        verbose_name="found",
                    ),
                ),
                (
                    "severity",
                    models.CharField(choices=[("LOW", "Low"), ("MEDIUM", "Medium"), ("HIGH", "High")], max_length=8),
                ),
                ("fingerprint", models.CharField(max_length=128)),
                ("facts", models.JSONField()),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("OPEN", "Open"),
                            ("ASSIGNED", "Assigned"),
                            ("ESCALATED", "Escalated"),
                            ("CLOSED", "Closed"),
                        ],
                        default="OPEN",
                        max_length=12,
                    ),
                ),
                ("raised_at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "escalated_to",
                    models.CharField(
                        blank=True, choices=[("kyc", "Compliance"), ("finance", "Finance")], max_length=16
                    ),
                ),
                (
                    "outcome",
                    models.CharField(
                        blank=True,
                        choices=[("EXPLAINED", "Explained"), ("ACTED_ON", "Acted on"), ("REPORTED", "Reported")],
                        max_length=12,
                    ),
                ),
                ("reason", models.CharField(blank=True, help_text="Why it was closed.", max_length=500)),
                ("closed_at", models.DateTimeField(null=True)),
                ("updated_at", models.DateTimeField(default=django.utils.timezone.now)),
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
                (
                    "closed_by",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "escalated_by",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "owner",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="client",
                    ),
                ),
                (
                    "rule",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="alerts.alertrule",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="AlertNote",
            fields=[
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("text", models.CharField(max_length=500)),
                ("written_at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "alert",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="notes",
                        to="alerts.alert",
                    ),
                ),
                (
                    "author",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "owner",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["alert", "id"], name="alertnote_alert")],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("text", ""), _negated=True), name="alertnote_says_something"
                    )
                ],
            },
        ),
        migrations.AddIndex(
            model_name="alert",
            index=models.Index(fields=["owner", "id"], name="alert_owner"),
        ),
        migrations.AddIndex(
            model_name="alert",
            index=models.Index(fields=["status", "id"], name="alert_status"),
        ),
        migrations.AddIndex(
            model_name="alert",
            index=models.Index(fields=["severity", "id"], name="alert_severity"),
        ),
        migrations.AddIndex(
            model_name="alert",
            index=models.Index(fields=["code", "id"], name="alert_code"),
        ),
        migrations.AddIndex(
            model_name="alert",
            index=models.Index(
                condition=models.Q(("status", "CLOSED"), _negated=True), fields=["assignee", "id"], name="alert_in_hand"
            ),
        ),
        migrations.AddConstraint(
            model_name="alert",
            constraint=models.UniqueConstraint(fields=("owner", "code", "fingerprint"), name="alert_is_raised_once"),
        ),
        migrations.AddConstraint(
            model_name="alert",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("assignee__isnull", True),
                        ("closed_by__isnull", True),
                        ("escalated_by__isnull", True),
                        ("outcome", ""),
                        ("status", "OPEN"),
                    ),
                    models.Q(
                        ("assignee__isnull", False),
                        ("closed_by__isnull", True),
                        ("escalated_by__isnull", True),
                        ("outcome", ""),
                        ("status", "ASSIGNED"),
                    ),
                    models.Q(
                        ("closed_by__isnull", True),
                        ("escalated_by__isnull", False),
                        ("outcome", ""),
                        ("status", "ESCALATED"),
                    ),
                    models.Q(
                        ("closed_at__isnull", False),
                        ("closed_by__isnull", False),
                        ("status", "CLOSED"),
                        models.Q(("outcome", ""), _negated=True),
                        models.Q(("reason", ""), _negated=True),
                    ),
                    _connector="OR",
                ),
                name="alert_state_has_its_facts",
            ),
        ),
        migrations.AddConstraint(
            model_name="alert",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("escalated_by__isnull", True), ("escalated_to", "")),
                    models.Q(("escalated_by__isnull", False), models.Q(("escalated_to", ""), _negated=True)),
                    _connector="OR",
                ),
                name="alert_is_escalated_to_someone",
            ),
        ),
        migrations.AddConstraint(
            model_name="alert",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("closed_by__isnull", True),
                    ("escalated_by__isnull", True),
                    models.Q(("closed_by", models.F("escalated_by")), _negated=True),
                    _connector="OR",
                ),
                name="alert_escalator_does_not_close",
            ),
        ),
        migrations.AddConstraint(
            model_name="alert",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("assignee__isnull", True),
                        models.Q(("assignee", models.F("owner")), _negated=True),
                        _connector="OR",
                    ),
                    models.Q(
                        ("closed_by__isnull", True),
                        models.Q(("closed_by", models.F("owner")), _negated=True),
                        _connector="OR",
                    ),
                ),
                name="alert_is_worked_by_somebody_else",
            ),
        ),
    ]
