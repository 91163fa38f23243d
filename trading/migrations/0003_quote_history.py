"""Prices are kept as numbered batches, what is not believed as alerts; orders say what price they expected."""

from decimal import Decimal

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("trading", "0002_append_only_deals"),
    ]

    operations = [
        migrations.CreateModel(
            name="PriceBatch",
            fields=[
                ("number", models.BigIntegerField(primary_key=True, serialize=False)),
                ("source", models.CharField(max_length=16)),
                ("received_at", models.DateTimeField()),
                ("size", models.PositiveIntegerField(help_text="How many prices it has.")),
            ],
            options={"verbose_name_plural": "price batches"},
        ),
        migrations.CreateModel(
            name="PriceClock",
            fields=[
                ("id", models.SmallIntegerField(default=1, primary_key=True, serialize=False)),
                ("number", models.BigIntegerField(default=0)),
            ],
        ),
        migrations.CreateModel(
            name="QuoteAlert",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "symbol",
                    models.CharField(help_text="As it was sent: there may be no such instrument.", max_length=64),
                ),
                ("source", models.CharField(max_length=16)),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("INSTRUMENT_NOT_FOUND", "Instrument Not Found"),
                            ("DUPLICATE", "Duplicate"),
                            ("NOT_A_NUMBER", "Not A Number"),
                            ("NOT_POSITIVE", "Not Positive"),
                            ("TOO_LARGE", "Too Large"),
                            ("PRECISION_EXCEEDED", "Precision Exceeded"),
                            ("CROSSED", "Crossed"),
                            ("STALE", "Stale"),
                            ("AHEAD", "Ahead"),
                            ("JUMP", "Jump"),
                        ],
                        max_length=24,
                    ),
                ),
                (
                    "figures",
                    models.JSONField(help_text="The prices as they were sent, and those they were compared with."),
                ),
                ("quoted_at", models.DateTimeField()),
                (
                    "after_sequence",
                    models.BigIntegerField(help_text="The sequence of the last good price at that time.", null=True),
                ),
                ("raised_at", models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name="QuoteTick",
            fields=[
                ("id", models.UUIDField(editable=False, primary_key=True, serialize=False)),
                ("bid", models.DecimalField(decimal_places=10, max_digits=20)),
                ("ask", models.DecimalField(decimal_places=10, max_digits=20)),
                ("source", models.CharField(max_length=16)),
                ("quoted_at", models.DateTimeField()),
                ("received_at", models.DateTimeField()),
                (
                    "sequence",
                    models.BigIntegerField(help_text="The instrument's own count, the same as its latest price had."),
                ),
            ],
        ),
        migrations.RunSQL(
            "INSERT INTO trading_priceclock (id, number) VALUES (1, 0)", "DELETE FROM trading_priceclock WHERE id = 1"
        ),
        migrations.AddField(
            model_name="instrument",
            name="tick_jump_max",
            field=models.DecimalField(
                db_default=Decimal("0.5"),
                decimal_places=4,
                default=Decimal("0.5"),
                help_text="A price further from the last one than this fraction is believed when a second confirms it.",
                max_digits=6,
            ),
        ),
        migrations.AddField(
            model_name="instrument",
            name="volume_limit",
            field=models.DecimalField(
                decimal_places=4,
                help_text="Most lots one account may hold open in one direction; empty: no limit.",
                max_digits=18,
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="order",
            name="deviation_max",
            field=models.PositiveIntegerField(help_text="Points the fill may be worse than expected.", null=True),
        ),
        migrations.AddField(
            model_name="order",
            name="price_expected",
            field=models.DecimalField(
                decimal_places=10,
                help_text="What the client saw; given together with `deviation_max`.",
                max_digits=20,
                null=True,
            ),
        ),
        migrations.AddConstraint(
            model_name="instrument",
            constraint=models.CheckConstraint(
                condition=models.Q(("tick_jump_max__gt", Decimal("0")), ("tick_jump_max__lte", Decimal("10"))),
                name="instrument_jump_positive",
            ),
        ),
        migrations.AddConstraint(
            model_name="instrument",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("volume_limit__gt", Decimal("0")), ("volume_limit__lte", Decimal("99999999999999.9999"))
                ),
                name="instrument_volume_limit_positive",
            ),
        ),
        migrations.AddIndex(
            model_name="pricebatch",
            index=models.Index(fields=["received_at"], name="price_batch_received"),
        ),
        migrations.AddConstraint(
            model_name="pricebatch",
            constraint=models.CheckConstraint(condition=models.Q(("size__gt", 0)), name="price_batch_has_prices"),
        ),
        migrations.AddConstraint(
            model_name="priceclock",
            constraint=models.CheckConstraint(
                condition=models.Q(("id", 1), ("number__gte", 0)), name="price_clock_is_one"
            ),
        ),
        migrations.AddIndex(
            model_name="quotealert",
            index=models.Index(fields=["raised_at"], name="quote_alert_raised"),
        ),
        migrations.AddIndex(
            model_name="quotealert",
            index=models.Index(
                condition=models.Q(("kind", "JUMP")),
                fields=["symbol", "source", "after_sequence", "id"],
                name="quote_alert_suspect",
            ),
        ),
        migrations.AddField(
            model_name="quotetick",
            name="batch",
            field=models.ForeignKey(
                db_column="batch",
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="ticks",
                to="trading.pricebatch",
            ),
        ),
        migrations.AddField(
            model_name="quotetick",
            name="instrument",
            field=models.ForeignKey(
                db_column="symbol",
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="ticks",
                to="trading.instrument",
            ),
        ),
        migrations.AddIndex(
            model_name="quotetick",
            index=models.Index(fields=["instrument", "id"], name="quote_tick_history"),
        ),
        migrations.AddConstraint(
            model_name="quotetick",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("bid__gt", Decimal("0")),
                    ("bid__lte", Decimal("9999999999.9999999999")),
                    ("ask__gt", Decimal("0")),
                    ("ask__lte", Decimal("9999999999.9999999999")),
                    ("ask__gte", models.F("bid")),
                ),
                name="quote_tick_is_not_crossed",
            ),
        ),
        migrations.AddConstraint(
            model_name="quotetick",
            constraint=models.UniqueConstraint(fields=("batch", "instrument"), name="quote_tick_once_per_batch"),
        ),
        migrations.AddConstraint(
            model_name="order",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("price_expected__gt", Decimal("0")), ("price_expected__lte", Decimal("9999999999.9999999999"))
                ),
                name="order_expected_price_positive",
            ),
        ),
        migrations.AddConstraint(
            model_name="order",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("deviation_max__isnull", True), ("price_expected__isnull", True)),
                    models.Q(("deviation_max__isnull", False), ("price_expected__isnull", False)),
                    _connector="OR",
                ),
                name="order_expects_a_price_with_a_deviation",
            ),
        ),
    ]
