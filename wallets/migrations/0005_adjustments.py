"""Corrections by two people; what is proposed keeps its terms."""

from decimal import Decimal
from pathlib import Path

import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

import core.ids

SQL = Path(__file__).resolve().parent.parent / "sql"


class Migration(migrations.Migration):
    dependencies = [
        ("wallets", "0004_credit"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Adjustment",
            fields=[
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                (
                    "direction",
                    models.CharField(
                        choices=[("CREDIT", "Credit"), ("DEBIT", "Debit")],
                        help_text="Into the wallet, or out of it.",
                        max_length=6,
                    ),
                ),
                ("amount", models.DecimalField(decimal_places=8, max_digits=20)),
                (
                    "currency",
                    models.CharField(
                        choices=[
                            ("USD", "US dollar"),
                            ("EUR", "Euro"),
                            ("GBP", "Pound sterling"),
                            ("CHF", "Swiss franc"),
                            ("CAD", "Canadian dollar"),
                            ("AUD", "Australian dollar"),
                            ("JPY", "Yen"),
                            ("KWD", "Kuwaiti dinar"),
                            ("BTC", "Bitcoin"),
                            ("ETH", "Ether"),
                        ],
                        max_length=4,
                    ),
                ),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("PROPOSED", "Proposed"),
                            ("APPROVED", "Approved"),
                            ("REJECTED", "Rejected"),
                            ("WITHDRAWN", "Withdrawn"),
                        ],
                        default="PROPOSED",
                        max_length=9,
                    ),
                ),
                ("reason", models.CharField(max_length=500)),
                (
                    "reference",
                    models.CharField(blank=True, help_text="The client reads it on their statement.", max_length=128),
                ),
                ("idempotency_digest", models.BinaryField(max_length=32)),
                ("proposed_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("decided_at", models.DateTimeField(null=True)),
                (
                    "decision",
                    models.CharField(
                        blank=True, help_text="Why it was approved, rejected or withdrawn.", max_length=500
                    ),
                ),
                (
                    "decided_by",
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
                        related_name="adjustments",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "proposed_by",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "transaction",
                    models.OneToOneField(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="adjustment",
                        to="wallets.ledgertransaction",
                    ),
                ),
                (
                    "wallet",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="adjustments", to="wallets.wallet"
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(fields=["owner", "id"], name="adjustment_owner"),
                    models.Index(
                        condition=models.Q(("status", "PROPOSED")),
                        fields=["proposed_at", "id"],
                        name="adjustment_waiting",
                    ),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("amount__gt", Decimal("0")), ("amount__lte", Decimal("999999999999.99999999"))
                        ),
                        name="adjustment_amount_positive",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("direction__in", ["CREDIT", "DEBIT"])), name="adjustment_direction_known"
                    ),
                    models.UniqueConstraint(
                        fields=("owner", "idempotency_digest"), name="adjustment_idempotency_digest"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("reason", ""), _negated=True),
                            models.Q(
                                ("status", "PROPOSED"), models.Q(("decision", ""), _negated=True), _connector="OR"
                            ),
                        ),
                        name="adjustment_has_its_reasons",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("decided_at__isnull", True), ("decided_by__isnull", True), ("status", "PROPOSED")
                            ),
                            models.Q(
                                ("decided_at__isnull", False),
                                ("decided_by__isnull", False),
                                ("status__in", ["APPROVED", "REJECTED", "WITHDRAWN"]),
                            ),
                            _connector="OR",
                        ),
                        name="adjustment_is_decided_by_someone",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("proposed_by", models.F("owner")), _negated=True),
                            models.Q(
                                ("decided_by__isnull", True),
                                models.Q(("decided_by", models.F("proposed_by")), ("status", "WITHDRAWN")),
                                models.Q(
                                    models.Q(("status", "WITHDRAWN"), _negated=True),
                                    models.Q(("decided_by", models.F("proposed_by")), _negated=True),
                                    models.Q(("decided_by", models.F("owner")), _negated=True),
                                ),
                                _connector="OR",
                            ),
                        ),
                        name="adjustment_takes_two_other_people",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("status", "APPROVED"), ("transaction__isnull", False)),
                            models.Q(models.Q(("status", "APPROVED"), _negated=True), ("transaction__isnull", True)),
                            _connector="OR",
                        ),
                        name="adjustment_is_posted_when_approved",
                    ),
                ],
            },
        ),
        migrations.RunSQL(
            (SQL / "adjustment_guards.sql").read_text(), (SQL / "adjustment_guards_drop.sql").read_text()
        ),
    ]
