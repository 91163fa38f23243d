"""Markets keep hours and holidays, and nights are charged or paid for, once each."""

from datetime import time
from decimal import Decimal

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import core.ids

APPEND_ONLY = (
    "CREATE TRIGGER swap_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON trading_swap"
    " FOR EACH STATEMENT EXECUTE FUNCTION desk_refuse_change()"
)


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0003_account_numbers"),
        ("trading", "0003_quote_history"),
        ("wallets", "0003_house_wallets"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Holiday",
            fields=[
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("calendar", models.CharField(max_length=16)),
                ("day", models.DateField()),
                ("closes", models.TimeField(help_text="Closed from here on; from midnight if not given.", null=True)),
                (
                    "reopens",
                    models.TimeField(help_text="Open again from here on; not on that day if not given.", null=True),
                ),
                ("name", models.CharField(blank=True, max_length=64)),
            ],
        ),
        migrations.CreateModel(
            name="Swap",
            fields=[
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("night", models.DateField(help_text="The trading day that ended, by the instrument's wall clock.")),
                ("rollover_at", models.DateTimeField(help_text="When it ended.")),
                ("nights", models.PositiveSmallIntegerField()),
                ("side", models.CharField(choices=[("BUY", "BUY"), ("SELL", "SELL")], max_length=4)),
                ("volume", models.DecimalField(decimal_places=4, help_text="What was open then.", max_digits=18)),
                (
                    "mode",
                    models.CharField(
                        choices=[("POINTS", "POINTS"), ("ANNUAL_360", "ANNUAL_360"), ("ANNUAL_365", "ANNUAL_365")],
                        max_length=12,
                    ),
                ),
                ("rate", models.DecimalField(decimal_places=12, max_digits=20)),
                ("price", models.DecimalField(decimal_places=10, max_digits=20)),
                (
                    "price_basis",
                    models.CharField(
                        choices=[("AT_ROLLOVER", "At Rollover"), ("LAST_KNOWN", "Last Known")], max_length=12
                    ),
                ),
                ("amount", models.DecimalField(decimal_places=8, max_digits=20)),
                (
                    "compensation",
                    models.DecimalField(
                        decimal_places=8,
                        default=Decimal("0"),
                        help_text="Paid by the house so that the client owes nothing.",
                        max_digits=20,
                    ),
                ),
                ("inputs", models.JSONField(help_text="Terms, quote and conversion path.")),
                ("charged_at", models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name="TradingSession",
            fields=[
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("weekday", models.PositiveSmallIntegerField(help_text="On which it opens; Monday is 0.")),
                ("opens", models.TimeField()),
                ("closes", models.TimeField()),
            ],
        ),
        migrations.AddField(
            model_name="instrument",
            name="calendar",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="Whose holidays it keeps; none if empty.",
                max_length=16,
            ),
        ),
        migrations.AddField(
            model_name="instrument",
            name="rollover_at",
            field=models.TimeField(
                db_default=time(17),
                default=time(17),
                help_text="When its trading day ends: what is open then is charged or paid for the night.",
            ),
        ),
        migrations.AddField(
            model_name="instrument",
            name="swap_long",
            field=models.DecimalField(
                db_default=Decimal("0"),
                decimal_places=12,
                default=Decimal("0"),
                help_text="Per night; negative where holding costs.",
                max_digits=20,
            ),
        ),
        migrations.AddField(
            model_name="instrument",
            name="swap_mode",
            field=models.CharField(
                choices=[("POINTS", "Points"), ("ANNUAL", "Annual")],
                db_default="POINTS",
                default="POINTS",
                max_length=8,
            ),
        ),
        migrations.AddField(
            model_name="instrument",
            name="swap_short",
            field=models.DecimalField(db_default=Decimal("0"), decimal_places=12, default=Decimal("0"), max_digits=20),
        ),
        migrations.AddField(
            model_name="instrument",
            name="swap_triple_weekday",
            field=models.PositiveSmallIntegerField(
                help_text="Monday is 0. The weekend is charged on that day; without one every day is charged.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="instrument",
            name="time_zone",
            field=models.CharField(db_default="America/New_York", default="America/New_York", max_length=64),
        ),
        migrations.AddField(
            model_name="position",
            name="rollover_due_at",
            field=models.DateTimeField(
                help_text="The first end of a trading day that no sweep has looked at; not known yet if empty.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="position",
            name="swap",
            field=models.DecimalField(
                db_default=Decimal("0"),
                decimal_places=8,
                default=Decimal("0"),
                help_text="Of all nights so far; negative where holding cost.",
                max_digits=20,
            ),
        ),
        migrations.AddIndex(
            model_name="position",
            index=models.Index(
                condition=models.Q(
                    ("closed_at__isnull", True),
                    ("rollover_due_at__isnull", True),
                    ("closed_at__gte", models.F("rollover_due_at")),
                    _connector="OR",
                ),
                fields=["rollover_due_at", "account"],
                name="position_rollover_due",
            ),
        ),
        migrations.AddConstraint(
            model_name="instrument",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("swap_long__gte", Decimal("-99999999.999999999999")),
                    ("swap_long__lte", Decimal("99999999.999999999999")),
                    ("swap_short__gte", Decimal("-99999999.999999999999")),
                    ("swap_short__lte", Decimal("99999999.999999999999")),
                ),
                name="instrument_swaps_bounded",
            ),
        ),
        migrations.AddConstraint(
            model_name="instrument",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("swap_triple_weekday__isnull", True), ("swap_triple_weekday__lte", 4), _connector="OR"
                ),
                name="instrument_weekend_is_charged_on_a_working_day",
            ),
        ),
        migrations.AddConstraint(
            model_name="position",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("swap__gte", Decimal("-999999999999.99999999")), ("swap__lte", Decimal("999999999999.99999999"))
                ),
                name="position_swap_bounded",
            ),
        ),
        migrations.AddConstraint(
            model_name="holiday",
            constraint=models.UniqueConstraint(fields=("calendar", "day"), name="holiday_calendar_day"),
        ),
        migrations.AddConstraint(
            model_name="holiday",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("closes__isnull", True),
                    ("reopens__isnull", True),
                    ("reopens__gt", models.F("closes")),
                    _connector="OR",
                ),
                name="holiday_hours_in_order",
            ),
        ),
        migrations.AddField(
            model_name="swap",
            name="account",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="swaps",
                to="accounts.tradingaccount",
            ),
        ),
        migrations.AddField(
            model_name="swap",
            name="instrument",
            field=models.ForeignKey(
                db_column="symbol",
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="swaps",
                to="trading.instrument",
            ),
        ),
        migrations.AddField(
            model_name="swap",
            name="owner",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="swaps",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="swap",
            name="position",
            field=models.ForeignKey(
                db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name="swaps", to="trading.position"
            ),
        ),
        migrations.AddField(
            model_name="swap",
            name="transaction",
            field=models.OneToOneField(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="swap",
                to="wallets.ledgertransaction",
            ),
        ),
        migrations.AddField(
            model_name="tradingsession",
            name="instrument",
            field=models.ForeignKey(
                db_column="symbol",
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="sessions",
                to="trading.instrument",
            ),
        ),
        migrations.AddIndex(
            model_name="swap",
            index=models.Index(fields=["owner", "id"], name="swap_owner"),
        ),
        migrations.AddIndex(
            model_name="swap",
            index=models.Index(fields=["position", "id"], name="swap_position"),
        ),
        migrations.AddConstraint(
            model_name="swap",
            constraint=models.UniqueConstraint(fields=("owner", "position", "night"), name="swap_once_a_night"),
        ),
        migrations.AddConstraint(
            model_name="swap",
            constraint=models.CheckConstraint(
                condition=models.Q(("nights__gte", 1), ("nights__lte", 3)), name="swap_nights_known"
            ),
        ),
        migrations.AddConstraint(
            model_name="swap",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("volume__gt", Decimal("0")),
                    ("volume__lte", Decimal("99999999999999.9999")),
                    ("price__gt", Decimal("0")),
                    ("price__lte", Decimal("9999999999.9999999999")),
                    ("rate__gte", Decimal("-99999999.999999999999")),
                    ("rate__lte", Decimal("99999999.999999999999")),
                ),
                name="swap_figures_bounded",
            ),
        ),
        migrations.AddConstraint(
            model_name="swap",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("amount__gte", Decimal("-999999999999.99999999")),
                    ("amount__lte", Decimal("999999999999.99999999")),
                    ("compensation__gte", Decimal("0")),
                    ("compensation__lte", Decimal("999999999999.99999999")),
                ),
                name="swap_amounts_bounded",
            ),
        ),
        migrations.AddConstraint(
            model_name="swap",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("amount", Decimal("0")), ("compensation", Decimal("0")), ("transaction__isnull", True)),
                    models.Q(models.Q(("amount", Decimal("0")), _negated=True), ("transaction__isnull", False)),
                    _connector="OR",
                ),
                name="swap_is_posted_when_it_moves_something",
            ),
        ),
        migrations.AddConstraint(
            model_name="tradingsession",
            constraint=models.CheckConstraint(
                condition=models.Q(("weekday__lte", 6)), name="tradingsession_weekday_known"
            ),
        ),
        migrations.AddConstraint(
            model_name="tradingsession",
            constraint=models.UniqueConstraint(
                fields=("instrument", "weekday", "opens"), name="tradingsession_opens_once"
            ),
        ),
        migrations.RunSQL(APPEND_ONLY, "DROP TRIGGER swap_is_append_only ON trading_swap"),
    ]
