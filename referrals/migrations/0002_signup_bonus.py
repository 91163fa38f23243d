"""What newcomers are given, on which terms, and by what they are known again."""

from decimal import Decimal
from pathlib import Path

import django.contrib.postgres.fields
import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

import core.ids

SQL = Path(__file__).resolve().parent.parent / "sql"


class Migration(migrations.Migration):
    dependencies = [
        ("referrals", "0001_initial"),
        ("accounts", "0005_referrer_changes"),
        ("wallets", "0004_credit"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="BonusPolicy",
            fields=[
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
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
                ("version", models.PositiveBigIntegerField()),
                ("is_offered", models.BooleanField(help_text="Off: nobody gets one while this version is in force.")),
                ("amount", models.DecimalField(decimal_places=8, max_digits=20)),
                (
                    "deposit_min",
                    models.DecimalField(
                        decimal_places=8,
                        help_text="What must have been deposited, and be in the account, when it is claimed.",
                        max_digits=20,
                    ),
                ),
                ("days_valid", models.PositiveIntegerField(help_text="What is left of it then is taken back.")),
                (
                    "jurisdictions_barred",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=16), blank=True, default=list, size=None
                    ),
                ),
                (
                    "countries_barred",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=2), blank=True, default=list, size=None
                    ),
                ),
                ("valid_from", models.DateTimeField()),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
            ],
            options={
                "verbose_name_plural": "bonus policies",
                "constraints": [
                    models.UniqueConstraint(fields=("currency", "version"), name="bonuspolicy_version"),
                    models.CheckConstraint(
                        condition=models.Q(("version__gte", 1)), name="bonuspolicy_version_positive"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("amount__gt", Decimal("0")), ("amount__lte", Decimal("999999999999.99999999"))
                        ),
                        name="bonuspolicy_amount_positive",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("deposit_min__gte", Decimal("0")), ("deposit_min__lte", Decimal("999999999999.99999999"))
                        ),
                        name="bonuspolicy_deposit_not_negative",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("days_valid__gte", 1), ("days_valid__lte", 3650)),
                        name="bonuspolicy_days_in_range",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="SignupBonus",
            fields=[
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
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
                        choices=[("ACTIVE", "Active"), ("EXPIRED", "Expired")], default="ACTIVE", max_length=8
                    ),
                ),
                (
                    "removed",
                    models.DecimalField(
                        decimal_places=8,
                        help_text="What was left of it and taken back when it ended.",
                        max_digits=20,
                        null=True,
                    ),
                ),
                ("idempotency_digest", models.BinaryField(max_length=32)),
                ("granted_at", models.DateTimeField()),
                ("expires_at", models.DateTimeField()),
                ("ended_at", models.DateTimeField(null=True)),
                (
                    "account",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="signup_bonuses",
                        to="accounts.tradingaccount",
                    ),
                ),
                (
                    "owner",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="signup_bonuses",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "policy",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="referrals.bonuspolicy",
                    ),
                ),
                (
                    "removal",
                    models.OneToOneField(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="signup_bonus_removed",
                        to="wallets.ledgertransaction",
                    ),
                ),
                (
                    "transaction",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="signup_bonus",
                        to="wallets.ledgertransaction",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "sign-up bonuses",
            },
        ),
        migrations.CreateModel(
            name="BonusIdentity",
            fields=[
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("PERSON", "Person"),
                            ("PHONE", "Phone"),
                            ("MAILBOX", "Mailbox"),
                            ("BANK_ACCOUNT", "Bank Account"),
                        ],
                        max_length=12,
                    ),
                ),
                ("digest", models.BinaryField(max_length=32)),
                (
                    "owner",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "bonus",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="identities",
                        to="referrals.signupbonus",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "bonus identities",
            },
        ),
        migrations.AddIndex(
            model_name="signupbonus",
            index=models.Index(
                condition=models.Q(("status", "ACTIVE")), fields=["expires_at", "id"], name="signupbonus_active"
            ),
        ),
        migrations.AddConstraint(
            model_name="signupbonus",
            constraint=models.UniqueConstraint(fields=("owner",), name="signupbonus_one_a_person"),
        ),
        migrations.AddConstraint(
            model_name="signupbonus",
            constraint=models.UniqueConstraint(
                fields=("owner", "idempotency_digest"), name="signupbonus_idempotency_digest"
            ),
        ),
        migrations.AddConstraint(
            model_name="signupbonus",
            constraint=models.CheckConstraint(
                condition=models.Q(("amount__gt", Decimal("0")), ("amount__lte", Decimal("999999999999.99999999"))),
                name="signupbonus_amount_positive",
            ),
        ),
        migrations.AddConstraint(
            model_name="signupbonus",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("removed__isnull", True),
                    models.Q(("removed__gte", Decimal("0")), ("removed__lte", models.F("amount"))),
                    _connector="OR",
                ),
                name="signupbonus_no_more_is_removed_than_given",
            ),
        ),
        migrations.AddConstraint(
            model_name="signupbonus",
            constraint=models.CheckConstraint(
                condition=models.Q(("expires_at__gt", models.F("granted_at"))), name="signupbonus_ends_after_it_began"
            ),
        ),
        migrations.AddConstraint(
            model_name="signupbonus",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("ended_at__isnull", True),
                        ("removal__isnull", True),
                        ("removed__isnull", True),
                        ("status", "ACTIVE"),
                    ),
                    models.Q(
                        ("ended_at__gte", models.F("expires_at")),
                        ("ended_at__isnull", False),
                        ("removed__isnull", False),
                        ("status", "EXPIRED"),
                        models.Q(
                            models.Q(("removal__isnull", True), ("removed", 0)),
                            models.Q(("removal__isnull", False), ("removed__gt", 0)),
                            _connector="OR",
                        ),
                    ),
                    _connector="OR",
                ),
                name="signupbonus_state_has_its_facts",
            ),
        ),
        migrations.AddConstraint(
            model_name="bonusidentity",
            constraint=models.UniqueConstraint(fields=("digest",), name="bonusidentity_digest"),
        ),
        migrations.RunSQL((SQL / "bonus_guards.sql").read_text(), (SQL / "bonus_guards_drop.sql").read_text()),
    ]
