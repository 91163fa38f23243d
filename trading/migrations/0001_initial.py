from decimal import Decimal

import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

import core.ids


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("accounts", "0003_account_numbers"),
        ("wallets", "0003_house_wallets"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Instrument",
            fields=[
                ("symbol", models.CharField(max_length=16, primary_key=True, serialize=False)),
                ("name", models.CharField(max_length=64)),
                (
                    "asset_class",
                    models.CharField(
                        choices=[
                            ("FOREX", "Forex"),
                            ("CRYPTO", "Crypto"),
                            ("METAL", "Metal"),
                            ("INDEX", "Index"),
                            ("SHARE", "Share"),
                        ],
                        max_length=8,
                    ),
                ),
                ("base", models.CharField(help_text="What a lot is made of.", max_length=8)),
                ("quote", models.CharField(help_text="The currency its price and its profit are in.", max_length=4)),
                ("margin_currency", models.CharField(max_length=8)),
                ("digits", models.PositiveSmallIntegerField()),
                ("tick_size", models.DecimalField(decimal_places=10, max_digits=20)),
                ("pip_size", models.DecimalField(decimal_places=10, max_digits=20)),
                ("contract_size", models.DecimalField(decimal_places=4, max_digits=18)),
                ("volume_min", models.DecimalField(decimal_places=4, max_digits=18)),
                ("volume_max", models.DecimalField(decimal_places=4, max_digits=18)),
                ("volume_step", models.DecimalField(decimal_places=4, max_digits=18)),
                (
                    "calculation",
                    models.CharField(
                        choices=[("FOREX", "Forex"), ("CFD", "Cfd"), ("CFD_LEVERAGE", "Cfd Leverage")], max_length=12
                    ),
                ),
                ("margin_rate", models.DecimalField(decimal_places=12, default=Decimal("1"), max_digits=20)),
                ("leverage_max", models.PositiveIntegerField(null=True)),
                (
                    "commission_per_lot",
                    models.DecimalField(
                        decimal_places=8,
                        default=Decimal("0"),
                        help_text="Per side, in `commission_currency`.",
                        max_digits=20,
                    ),
                ),
                ("commission_currency", models.CharField(default="USD", max_length=4)),
                (
                    "trade_mode",
                    models.CharField(
                        choices=[
                            ("FULL", "Full"),
                            ("LONG_ONLY", "Long Only"),
                            ("SHORT_ONLY", "Short Only"),
                            ("CLOSE_ONLY", "Close Only"),
                            ("DISABLED", "Disabled"),
                        ],
                        default="FULL",
                        max_length=12,
                    ),
                ),
                ("quote_age_seconds_max", models.PositiveIntegerField(default=60)),
                (
                    "replay_spread_points",
                    models.PositiveIntegerField(
                        default=10, help_text="Bars carry one price; a replay quotes this many points around it."
                    ),
                ),
                ("updated_at", models.DateTimeField(default=django.utils.timezone.now)),
            ],
        ),
        migrations.CreateModel(
            name="Order",
            fields=[
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("side", models.CharField(choices=[("BUY", "BUY"), ("SELL", "SELL")], max_length=4)),
                ("type", models.CharField(choices=[("MARKET", "Market")], max_length=8)),
                ("volume", models.DecimalField(decimal_places=4, max_digits=18)),
                ("client_order_id", models.CharField(max_length=64, null=True)),
                (
                    "status",
                    models.CharField(
                        choices=[("NEW", "New"), ("REJECTED", "Rejected"), ("FILLED", "Filled")], max_length=12
                    ),
                ),
                ("reject_code", models.CharField(blank=True, max_length=64)),
                ("reject_context", models.JSONField(null=True)),
                ("price_filled", models.DecimalField(decimal_places=10, max_digits=20, null=True)),
                ("idempotency_digest", models.BinaryField(max_length=32)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("updated_at", models.DateTimeField(default=django.utils.timezone.now)),
            ],
        ),
        migrations.CreateModel(
            name="Position",
            fields=[
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("number", models.BigIntegerField(unique=True)),
                ("side", models.CharField(choices=[("BUY", "BUY"), ("SELL", "SELL")], max_length=4)),
                (
                    "status",
                    models.CharField(choices=[("OPEN", "Open"), ("CLOSED", "Closed")], default="OPEN", max_length=8),
                ),
                ("volume_initial", models.DecimalField(decimal_places=4, max_digits=18)),
                ("volume", models.DecimalField(decimal_places=4, help_text="What is still open.", max_digits=18)),
                ("price_open", models.DecimalField(decimal_places=10, max_digits=20)),
                ("leverage", models.PositiveIntegerField()),
                ("margin_initial", models.DecimalField(decimal_places=8, max_digits=20)),
                ("margin_locked", models.DecimalField(decimal_places=8, max_digits=20)),
                (
                    "profit",
                    models.DecimalField(
                        decimal_places=8,
                        default=Decimal("0"),
                        help_text="Realised by its closing deals, in the account's currency.",
                        max_digits=20,
                    ),
                ),
                (
                    "commission",
                    models.DecimalField(
                        decimal_places=8,
                        default=Decimal("0"),
                        help_text="Paid so far, as a positive amount.",
                        max_digits=20,
                    ),
                ),
                ("opened_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("closed_at", models.DateTimeField(null=True)),
                ("updated_at", models.DateTimeField(default=django.utils.timezone.now)),
            ],
        ),
        migrations.CreateModel(
            name="Deal",
            fields=[
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("entry", models.CharField(choices=[("IN", "In"), ("OUT", "Out")], max_length=4)),
                ("side", models.CharField(choices=[("BUY", "BUY"), ("SELL", "SELL")], max_length=4)),
                ("volume", models.DecimalField(decimal_places=4, max_digits=18)),
                ("price", models.DecimalField(decimal_places=10, max_digits=20)),
                (
                    "price_open",
                    models.DecimalField(
                        decimal_places=10, help_text="The position's; equal to `price` on the way in.", max_digits=20
                    ),
                ),
                (
                    "margin",
                    models.DecimalField(
                        decimal_places=8, help_text="Locked on the way in, released on the way out.", max_digits=20
                    ),
                ),
                ("profit", models.DecimalField(decimal_places=8, default=Decimal("0"), max_digits=20)),
                ("commission", models.DecimalField(decimal_places=8, default=Decimal("0"), max_digits=20)),
                (
                    "compensation",
                    models.DecimalField(
                        decimal_places=8,
                        default=Decimal("0"),
                        help_text="Paid by the house so that the client owes nothing.",
                        max_digits=20,
                    ),
                ),
                (
                    "inputs",
                    models.JSONField(
                        help_text="Terms, quote and conversion paths: what the explanation recomputes from."
                    ),
                ),
                ("idempotency_digest", models.BinaryField(max_length=32)),
                ("executed_at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "account",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="deals",
                        to="accounts.tradingaccount",
                    ),
                ),
                (
                    "owner",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="deals",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "transaction",
                    models.OneToOneField(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="deal",
                        to="wallets.ledgertransaction",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Quote",
            fields=[
                (
                    "instrument",
                    models.OneToOneField(
                        db_column="symbol",
                        on_delete=django.db.models.deletion.PROTECT,
                        primary_key=True,
                        related_name="latest",
                        serialize=False,
                        to="trading.instrument",
                    ),
                ),
                ("bid", models.DecimalField(decimal_places=10, max_digits=20)),
                ("ask", models.DecimalField(decimal_places=10, max_digits=20)),
                ("source", models.CharField(max_length=16)),
                ("quoted_at", models.DateTimeField()),
                ("received_at", models.DateTimeField()),
                ("sequence", models.BigIntegerField(default=1)),
            ],
        ),
        migrations.AddConstraint(
            model_name="instrument",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("volume_min__gt", Decimal("0")),
                    ("volume_min__lte", Decimal("99999999999999.9999")),
                    ("volume_step__gt", Decimal("0")),
                    ("volume_step__lte", Decimal("99999999999999.9999")),
                    ("volume_max__gt", Decimal("0")),
                    ("volume_max__lte", Decimal("99999999999999.9999")),
                    ("volume_max__gte", models.F("volume_min")),
                ),
                name="instrument_volumes_in_order",
            ),
        ),
        migrations.AddConstraint(
            model_name="instrument",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("contract_size__gt", Decimal("0")),
                    ("contract_size__lte", Decimal("99999999999999.9999")),
                    ("margin_rate__gt", Decimal("0")),
                    ("margin_rate__lte", Decimal("1000")),
                ),
                name="instrument_sizes_positive",
            ),
        ),
        migrations.AddConstraint(
            model_name="instrument",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("tick_size__gt", Decimal("0")),
                    ("tick_size__lte", Decimal("9999999999.9999999999")),
                    ("pip_size__gt", Decimal("0")),
                    ("pip_size__lte", Decimal("9999999999.9999999999")),
                ),
                name="instrument_ticks_positive",
            ),
        ),
        migrations.AddConstraint(
            model_name="instrument",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("commission_per_lot__gte", Decimal("0")),
                    ("commission_per_lot__lte", Decimal("999999999999.99999999")),
                ),
                name="instrument_commission_not_negative",
            ),
        ),
        migrations.AddConstraint(
            model_name="instrument",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("calculation", "FOREX"), ("margin_currency", models.F("base"))),
                    models.Q(models.Q(("calculation", "FOREX"), _negated=True), ("margin_currency", models.F("quote"))),
                    _connector="OR",
                ),
                name="instrument_margin_currency_fits_its_calculation",
            ),
        ),
        migrations.AddField(
            model_name="deal",
            name="instrument",
            field=models.ForeignKey(
                db_column="symbol",
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="deals",
                to="trading.instrument",
            ),
        ),
        migrations.AddField(
            model_name="order",
            name="account",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="orders",
                to="accounts.tradingaccount",
            ),
        ),
        migrations.AddField(
            model_name="order",
            name="instrument",
            field=models.ForeignKey(
                db_column="symbol",
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="orders",
                to="trading.instrument",
            ),
        ),
        migrations.AddField(
            model_name="order",
            name="owner",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="orders",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="deal",
            name="order",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="deals",
                to="trading.order",
            ),
        ),
        migrations.AddField(
            model_name="position",
            name="account",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="positions",
                to="accounts.tradingaccount",
            ),
        ),
        migrations.AddField(
            model_name="position",
            name="instrument",
            field=models.ForeignKey(
                db_column="symbol",
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="positions",
                to="trading.instrument",
            ),
        ),
        migrations.AddField(
            model_name="position",
            name="order",
            field=models.OneToOneField(
                on_delete=django.db.models.deletion.PROTECT, related_name="position", to="trading.order"
            ),
        ),
        migrations.AddField(
            model_name="position",
            name="owner",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="positions",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="deal",
            name="position",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="deals", to="trading.position"
            ),
        ),
        migrations.AddConstraint(
            model_name="quote",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("bid__gt", Decimal("0")),
                    ("bid__lte", Decimal("9999999999.9999999999")),
                    ("ask__gt", Decimal("0")),
                    ("ask__lte", Decimal("9999999999.9999999999")),
                    ("ask__gte", models.F("bid")),
                ),
                name="quote_is_not_crossed",
            ),
        ),
        migrations.AddIndex(
            model_name="order",
            index=models.Index(fields=["owner", "id"], name="order_owner"),
        ),
        migrations.AddIndex(
            model_name="order",
            index=models.Index(fields=["account", "id"], name="order_account"),
        ),
        migrations.AddConstraint(
            model_name="order",
            constraint=models.CheckConstraint(
                condition=models.Q(("volume__gt", Decimal("0")), ("volume__lte", Decimal("99999999999999.9999"))),
                name="order_volume_positive",
            ),
        ),
        migrations.AddConstraint(
            model_name="order",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("price_filled__gt", Decimal("0")), ("price_filled__lte", Decimal("9999999999.9999999999"))
                ),
                name="order_price_positive",
            ),
        ),
        migrations.AddConstraint(
            model_name="order",
            constraint=models.UniqueConstraint(fields=("owner", "idempotency_digest"), name="order_idempotency_digest"),
        ),
        migrations.AddConstraint(
            model_name="order",
            constraint=models.UniqueConstraint(
                fields=("owner", "account", "client_order_id"), name="order_client_order_id"
            ),
        ),
        migrations.AddConstraint(
            model_name="order",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("status", "REJECTED"), models.Q(("reject_code", ""), _negated=True)),
                    models.Q(models.Q(("status", "REJECTED"), _negated=True), ("reject_code", "")),
                    _connector="OR",
                ),
                name="order_says_why_it_was_rejected",
            ),
        ),
        migrations.AddConstraint(
            model_name="order",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("price_filled__isnull", False), ("status", "FILLED")),
                    models.Q(("price_filled__isnull", True), models.Q(("status", "FILLED"), _negated=True)),
                    _connector="OR",
                ),
                name="order_has_a_price_when_filled",
            ),
        ),
        migrations.AddIndex(
            model_name="position",
            index=models.Index(fields=["owner", "id"], name="position_owner"),
        ),
        migrations.AddIndex(
            model_name="position",
            index=models.Index(
                condition=models.Q(("status", "OPEN")), fields=["account", "id"], name="position_open_by_account"
            ),
        ),
        migrations.AddConstraint(
            model_name="position",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("volume_initial__gt", Decimal("0")),
                    ("volume_initial__lte", Decimal("99999999999999.9999")),
                    ("volume__gte", Decimal("0")),
                    ("volume__lte", models.F("volume_initial")),
                ),
                name="position_volume_within_what_was_opened",
            ),
        ),
        migrations.AddConstraint(
            model_name="position",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("margin_initial__gte", Decimal("0")),
                    ("margin_initial__lte", Decimal("999999999999.99999999")),
                    ("margin_locked__gte", Decimal("0")),
                    ("margin_locked__lte", models.F("margin_initial")),
                ),
                name="position_margin_within_what_was_locked",
            ),
        ),
        migrations.AddConstraint(
            model_name="position",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("closed_at__isnull", True), ("status", "OPEN"), ("volume__gt", Decimal("0"))),
                    models.Q(
                        ("closed_at__isnull", False),
                        ("margin_locked", Decimal("0")),
                        ("status", "CLOSED"),
                        ("volume", Decimal("0")),
                    ),
                    _connector="OR",
                ),
                name="position_is_closed_when_nothing_is_left",
            ),
        ),
        migrations.AddConstraint(
            model_name="position",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("price_open__gt", Decimal("0")), ("price_open__lte", Decimal("9999999999.9999999999"))
                ),
                name="position_price_positive",
            ),
        ),
        migrations.AddConstraint(
            model_name="position",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("profit__gte", Decimal("-999999999999.99999999")),
                    ("profit__lte", Decimal("999999999999.99999999")),
                    ("commission__gte", Decimal("-999999999999.99999999")),
                    ("commission__lte", Decimal("999999999999.99999999")),
                ),
                name="position_results_bounded",
            ),
        ),
        migrations.AddIndex(
            model_name="deal",
            index=models.Index(fields=["owner", "id"], name="deal_owner"),
        ),
        migrations.AddIndex(
            model_name="deal",
            index=models.Index(fields=["account", "id"], name="deal_account"),
        ),
        migrations.AddConstraint(
            model_name="deal",
            constraint=models.UniqueConstraint(fields=("owner", "idempotency_digest"), name="deal_idempotency_digest"),
        ),
        migrations.AddConstraint(
            model_name="deal",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("volume__gt", Decimal("0")),
                    ("volume__lte", Decimal("99999999999999.9999")),
                    ("price__gt", Decimal("0")),
                    ("price__lte", Decimal("9999999999.9999999999")),
                    ("price_open__gt", Decimal("0")),
                    ("price_open__lte", Decimal("9999999999.9999999999")),
                ),
                name="deal_figures_positive",
            ),
        ),
        migrations.AddConstraint(
            model_name="deal",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("margin__gte", Decimal("0")),
                    ("margin__lte", Decimal("999999999999.99999999")),
                    ("profit__gte", Decimal("-999999999999.99999999")),
                    ("profit__lte", Decimal("999999999999.99999999")),
                    ("commission__gte", Decimal("0")),
                    ("commission__lte", Decimal("999999999999.99999999")),
                    ("compensation__gte", Decimal("0")),
                    ("compensation__lte", Decimal("999999999999.99999999")),
                ),
                name="deal_amounts_bounded",
            ),
        ),
        migrations.AddConstraint(
            model_name="deal",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("entry", "OUT"),
                    models.Q(("compensation", Decimal("0")), ("profit", Decimal("0"))),
                    _connector="OR",
                ),
                name="deal_in_earns_nothing",
            ),
        ),
    ]
