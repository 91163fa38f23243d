"""Plans, what became of each closing deal, commissions and debts; and the triggers that keep them."""

from decimal import Decimal
from pathlib import Path

import django.contrib.postgres.constraints
import django.contrib.postgres.fields
import django.contrib.postgres.fields.ranges
import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

import core.ids

SQL = Path(__file__).resolve().parent.parent / "sql"


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("accounts", "0003_account_numbers"),
        ("core", "0002_append_only_audit"),
        ("trading", "0005_margin_engine"),
        ("wallets", "0003_house_wallets"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="CommissionPlan",
            fields=[
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("code", models.CharField(max_length=32)),
                ("version", models.PositiveIntegerField()),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("PER_LOT", "Per Lot"),
                            ("PERCENT_OF_COMMISSION", "Percent Of Commission"),
                            ("FIRST_DEPOSIT", "First Deposit"),
                        ],
                        max_length=24,
                    ),
                ),
                (
                    "currency",
                    models.CharField(blank=True, help_text="Of its amounts; percentages have none.", max_length=4),
                ),
                (
                    "rates",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.DecimalField(decimal_places=8, max_digits=20),
                        help_text="Per level: an amount a lot, a percentage, or an amount a client.",
                        size=3,
                    ),
                ),
                (
                    "weights",
                    models.JSONField(
                        blank=True,
                        default=dict,
                        help_text="By symbol, what a lot of it counts for; 1 if it is not here.",
                    ),
                ),
                (
                    "cap_percent",
                    models.DecimalField(
                        decimal_places=2,
                        default=Decimal("60"),
                        help_text="The most that all levels together get of what the broker earned.",
                        max_digits=5,
                    ),
                ),
                (
                    "seconds_held_min",
                    models.PositiveIntegerField(default=180, help_text="A position closed sooner pays nothing."),
                ),
                (
                    "countries_barred",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=2),
                        blank=True,
                        default=list,
                        help_text="Neither client nor referrer may live here.",
                        size=None,
                    ),
                ),
                ("deposit_min", models.DecimalField(decimal_places=8, max_digits=20, null=True)),
                (
                    "lots_min",
                    models.DecimalField(
                        decimal_places=4,
                        help_text="Lots closed before a first deposit counts.",
                        max_digits=18,
                        null=True,
                    ),
                ),
                ("valid_from", models.DateTimeField()),
                ("valid_to", models.DateTimeField(help_text="Not in force from here on; no end if empty.", null=True)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("code", "version"), name="commissionplan_version"),
                    models.CheckConstraint(
                        condition=models.Q(("kind__in", ["PER_LOT", "PERCENT_OF_COMMISSION", "FIRST_DEPOSIT"])),
                        name="commissionplan_kind_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("version__gte", 1)), name="commissionplan_version_positive"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("rates__len__gte", 1), ("rates__len__lte", 3)),
                        name="commissionplan_levels_in_range",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("cap_percent__gt", Decimal("0")), ("cap_percent__lte", 100)),
                        name="commissionplan_cap_in_range",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("currency", ""), ("kind", "PERCENT_OF_COMMISSION")),
                            models.Q(
                                models.Q(("kind", "PERCENT_OF_COMMISSION"), _negated=True),
                                models.Q(("currency", ""), _negated=True),
                            ),
                            _connector="OR",
                        ),
                        name="commissionplan_amounts_have_a_currency",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("deposit_min__isnull", False),
                                ("kind", "FIRST_DEPOSIT"),
                                ("lots_min__isnull", False),
                                ("deposit_min__gt", Decimal("0")),
                                ("deposit_min__lte", Decimal("999999999999.99999999")),
                                ("lots_min__gt", Decimal("0")),
                                ("lots_min__lte", Decimal("99999999999999.9999")),
                            ),
                            models.Q(
                                models.Q(("kind", "FIRST_DEPOSIT"), _negated=True),
                                ("deposit_min__isnull", True),
                                ("lots_min__isnull", True),
                            ),
                            _connector="OR",
                        ),
                        name="commissionplan_first_deposit_has_conditions",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("valid_to__isnull", True), ("valid_to__gt", models.F("valid_from")), _connector="OR"
                        ),
                        name="commissionplan_ends_after_its_beginning",
                    ),
                    django.contrib.postgres.constraints.ExclusionConstraint(
                        condition=models.Q(("kind", "FIRST_DEPOSIT"), _negated=True),
                        expressions=[
                            (
                                models.Func(
                                    "valid_from",
                                    "valid_to",
                                    function="TSTZRANGE",
                                    output_field=django.contrib.postgres.fields.ranges.DateTimeRangeField(),
                                ),
                                "&&",
                            )
                        ],
                        name="commissionplan_one_for_deals",
                    ),
                    django.contrib.postgres.constraints.ExclusionConstraint(
                        condition=models.Q(("kind", "FIRST_DEPOSIT")),
                        expressions=[
                            (
                                models.Func(
                                    "valid_from",
                                    "valid_to",
                                    function="TSTZRANGE",
                                    output_field=django.contrib.postgres.fields.ranges.DateTimeRangeField(),
                                ),
                                "&&",
                            )
                        ],
                        name="commissionplan_one_for_deposits",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Commission",
            fields=[
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("level", models.PositiveSmallIntegerField()),
                (
                    "volume",
                    models.DecimalField(
                        decimal_places=4,
                        help_text="Lots that were closed; a deposit has none.",
                        max_digits=18,
                        null=True,
                    ),
                ),
                ("amount", models.DecimalField(decimal_places=8, max_digits=20)),
                ("currency", models.CharField(max_length=4)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("PENDING", "Pending"),
                            ("APPROVED", "Approved"),
                            ("PAID", "Paid"),
                            ("REVERSED", "Reversed"),
                        ],
                        default="PENDING",
                        max_length=8,
                    ),
                ),
                (
                    "reason",
                    models.CharField(blank=True, help_text="Why it was reversed, or approved by hand.", max_length=500),
                ),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("approved_at", models.DateTimeField(null=True)),
                (
                    "approved_by",
                    models.UUIDField(help_text="A member of staff; empty where the hold ran out.", null=True),
                ),
                ("paid_at", models.DateTimeField(null=True)),
                ("reversed_at", models.DateTimeField(null=True)),
                ("reversed_by", models.UUIDField(null=True)),
                (
                    "client",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "deal",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="commissions",
                        to="trading.deal",
                    ),
                ),
                (
                    "deposit",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="wallets.deposit",
                    ),
                ),
                (
                    "owner",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="commissions",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "reversal",
                    models.OneToOneField(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="commission_reversed",
                        to="wallets.ledgertransaction",
                    ),
                ),
                (
                    "transaction",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="commissions_paid",
                        to="wallets.ledgertransaction",
                    ),
                ),
                (
                    "plan",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="referrals.commissionplan",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Accrual",
            fields=[
                (
                    "deal",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        primary_key=True,
                        related_name="accrual",
                        serialize=False,
                        to="trading.deal",
                    ),
                ),
                (
                    "chain",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.UUIDField(), help_text="Who referred the client, and who them.", size=3
                    ),
                ),
                (
                    "outcome",
                    models.CharField(
                        choices=[
                            ("PENDING", "Pending"),
                            ("ACCRUED", "Accrued"),
                            ("UNREFERRED", "Unreferred"),
                            ("NO_PLAN", "No Plan"),
                            ("COUNTRY_BARRED", "Country Barred"),
                            ("HELD_TOO_SHORT", "Held Too Short"),
                            ("NO_RATE", "No Rate"),
                            ("NOBODY_ENTITLED", "Nobody Entitled"),
                            ("NOTHING_LEFT", "Nothing Left"),
                            ("UNREADABLE", "Unreadable"),
                        ],
                        default="PENDING",
                        max_length=16,
                    ),
                ),
                (
                    "levels",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.PositiveSmallIntegerField(),
                        db_default=[],
                        default=list,
                        help_text="Who was entitled.",
                        size=3,
                    ),
                ),
                ("currency", models.CharField(blank=True, db_default="", max_length=4)),
                ("volume", models.DecimalField(decimal_places=4, max_digits=18, null=True)),
                (
                    "commission",
                    models.DecimalField(
                        decimal_places=8,
                        help_text="What the deal was charged, its part of the opening included.",
                        max_digits=20,
                        null=True,
                    ),
                ),
                ("spread", models.DecimalField(decimal_places=8, max_digits=20, null=True)),
                ("compensation", models.DecimalField(decimal_places=8, max_digits=20, null=True)),
                (
                    "revenue",
                    models.DecimalField(
                        decimal_places=8,
                        help_text="Commission and spread, less compensation.",
                        max_digits=20,
                        null=True,
                    ),
                ),
                (
                    "pool",
                    models.DecimalField(
                        decimal_places=8,
                        help_text="The most that all levels together may get.",
                        max_digits=20,
                        null=True,
                    ),
                ),
                ("executed_at", models.DateTimeField()),
                ("accrued_at", models.DateTimeField(null=True)),
                (
                    "owner",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "plan",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="referrals.commissionplan",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Debt",
            fields=[
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("currency", models.CharField(max_length=4)),
                ("amount", models.DecimalField(decimal_places=8, max_digits=20)),
                ("settled", models.DecimalField(decimal_places=8, default=Decimal("0"), max_digits=20)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("settled_at", models.DateTimeField(null=True)),
                (
                    "commission",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT, related_name="debt", to="referrals.commission"
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
        ),
        migrations.CreateModel(
            name="DebtSettlement",
            fields=[
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("amount", models.DecimalField(decimal_places=8, max_digits=20)),
                ("settled_at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "debt",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="settlements",
                        to="referrals.debt",
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
                (
                    "transaction",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="wallets.ledgertransaction"
                    ),
                ),
            ],
        ),
        migrations.AddIndex(
            model_name="commission",
            index=models.Index(fields=["owner", "id"], name="commission_owner"),
        ),
        migrations.AddIndex(
            model_name="commission",
            index=models.Index(
                condition=models.Q(("status", "PENDING")), fields=["created_at", "id"], name="commission_on_hold"
            ),
        ),
        migrations.AddIndex(
            model_name="commission",
            index=models.Index(
                condition=models.Q(("status", "APPROVED")), fields=["owner", "id"], name="commission_to_pay"
            ),
        ),
        migrations.AddIndex(
            model_name="commission",
            index=models.Index(fields=["client", "deposit"], name="commission_client"),
        ),
        migrations.AddConstraint(
            model_name="commission",
            constraint=models.UniqueConstraint(fields=("deal", "level"), name="commission_deal_level"),
        ),
        migrations.AddConstraint(
            model_name="commission",
            constraint=models.UniqueConstraint(fields=("deposit", "level"), name="commission_deposit_level"),
        ),
        migrations.AddConstraint(
            model_name="commission",
            constraint=models.UniqueConstraint(
                condition=models.Q(("deposit__isnull", False)),
                fields=("client", "level"),
                name="commission_one_deposit_a_client",
            ),
        ),
        migrations.AddConstraint(
            model_name="commission",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("deal__isnull", False), ("deposit__isnull", True), ("volume__isnull", False)),
                    models.Q(("deal__isnull", True), ("deposit__isnull", False), ("volume__isnull", True)),
                    _connector="OR",
                ),
                name="commission_is_for_a_deal_or_a_deposit",
            ),
        ),
        migrations.AddConstraint(
            model_name="commission",
            constraint=models.CheckConstraint(
                condition=models.Q(("level__gte", 1), ("level__lte", 3)), name="commission_level_in_range"
            ),
        ),
        migrations.AddConstraint(
            model_name="commission",
            constraint=models.CheckConstraint(
                condition=models.Q(("amount__gt", Decimal("0")), ("amount__lte", Decimal("999999999999.99999999"))),
                name="commission_amount_positive",
            ),
        ),
        migrations.AddConstraint(
            model_name="commission",
            constraint=models.CheckConstraint(
                condition=models.Q(("owner", models.F("client")), _negated=True),
                name="commission_nobody_refers_themselves",
            ),
        ),
        migrations.AddConstraint(
            model_name="commission",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("approved_at__isnull", True),
                        ("paid_at__isnull", True),
                        ("reversal__isnull", True),
                        ("reversed_at__isnull", True),
                        ("status", "PENDING"),
                        ("transaction__isnull", True),
                    ),
                    models.Q(
                        ("approved_at__isnull", False),
                        ("paid_at__isnull", True),
                        ("reversal__isnull", True),
                        ("reversed_at__isnull", True),
                        ("status", "APPROVED"),
                        ("transaction__isnull", True),
                    ),
                    models.Q(
                        ("approved_at__isnull", False),
                        ("paid_at__isnull", False),
                        ("reversal__isnull", True),
                        ("reversed_at__isnull", True),
                        ("status", "PAID"),
                        ("transaction__isnull", False),
                    ),
                    models.Q(
                        ("reversed_at__isnull", False),
                        ("reversed_by__isnull", False),
                        ("status", "REVERSED"),
                        models.Q(("reason", ""), _negated=True),
                        models.Q(
                            models.Q(("paid_at__isnull", False), ("transaction__isnull", False)),
                            models.Q(
                                ("paid_at__isnull", True), ("reversal__isnull", True), ("transaction__isnull", True)
                            ),
                            _connector="OR",
                        ),
                    ),
                    _connector="OR",
                ),
                name="commission_state_has_its_facts",
            ),
        ),
        migrations.AddIndex(
            model_name="accrual",
            index=models.Index(condition=models.Q(("outcome", "PENDING")), fields=["deal"], name="accrual_waiting"),
        ),
        migrations.AddIndex(
            model_name="accrual",
            index=models.Index(fields=["owner", "deal"], name="accrual_owner"),
        ),
        migrations.AddConstraint(
            model_name="accrual",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("accrued_at__isnull", True), ("outcome", "PENDING")),
                    models.Q(models.Q(("outcome", "PENDING"), _negated=True), ("accrued_at__isnull", False)),
                    _connector="OR",
                ),
                name="accrual_waits_or_is_decided",
            ),
        ),
        migrations.AddConstraint(
            model_name="accrual",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("outcome", "ACCRUED"), _negated=True),
                    models.Q(
                        ("plan__isnull", False),
                        ("pool__isnull", False),
                        ("revenue__isnull", False),
                        ("volume__isnull", False),
                    ),
                    _connector="OR",
                ),
                name="accrual_keeps_what_it_was_reckoned_from",
            ),
        ),
        migrations.AddConstraint(
            model_name="accrual",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("commission__gte", Decimal("0")),
                    ("commission__lte", Decimal("999999999999.99999999")),
                    ("spread__gte", Decimal("0")),
                    ("spread__lte", Decimal("999999999999.99999999")),
                    ("compensation__gte", Decimal("0")),
                    ("compensation__lte", Decimal("999999999999.99999999")),
                    ("revenue__gte", Decimal("0")),
                    ("revenue__lte", Decimal("999999999999.99999999")),
                ),
                name="accrual_revenue_not_negative",
            ),
        ),
        migrations.AddConstraint(
            model_name="accrual",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("pool__isnull", True),
                    models.Q(("pool__gte", Decimal("0")), ("pool__lte", models.F("revenue"))),
                    _connector="OR",
                ),
                name="accrual_pool_within_the_revenue",
            ),
        ),
        migrations.AddIndex(
            model_name="debt",
            index=models.Index(
                condition=models.Q(("settled_at__isnull", True)), fields=["owner", "id"], name="debt_open"
            ),
        ),
        migrations.AddConstraint(
            model_name="debt",
            constraint=models.CheckConstraint(
                condition=models.Q(("amount__gt", Decimal("0")), ("amount__lte", Decimal("999999999999.99999999"))),
                name="debt_amount_positive",
            ),
        ),
        migrations.AddConstraint(
            model_name="debt",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("settled__gte", Decimal("0")),
                        ("settled__lt", models.F("amount")),
                        ("settled_at__isnull", True),
                    ),
                    models.Q(("settled", models.F("amount")), ("settled_at__isnull", False)),
                    _connector="OR",
                ),
                name="debt_is_settled_when_all_of_it_is",
            ),
        ),
        migrations.AddConstraint(
            model_name="debtsettlement",
            constraint=models.UniqueConstraint(
                fields=("owner", "debt", "transaction"), name="debtsettlement_once_a_payout"
            ),
        ),
        migrations.AddConstraint(
            model_name="debtsettlement",
            constraint=models.CheckConstraint(
                condition=models.Q(("amount__gt", Decimal("0")), ("amount__lte", Decimal("999999999999.99999999"))),
                name="debtsettlement_amount_positive",
            ),
        ),
        migrations.AddConstraint(
            model_name="accrual",
            constraint=models.CheckConstraint(
                condition=models.Q(("volume__gt", Decimal("0")), ("volume__lte", Decimal("99999999999999.9999"))),
                name="accrual_volume_positive",
            ),
        ),
        migrations.AddConstraint(
            model_name="debt",
            constraint=models.CheckConstraint(
                condition=models.Q(("settled__gte", Decimal("0")), ("settled__lte", Decimal("999999999999.99999999"))),
                name="debt_settled_not_negative",
            ),
        ),
        migrations.RunSQL((SQL / "guards.sql").read_text(), (SQL / "guards_drop.sql").read_text()),
    ]
