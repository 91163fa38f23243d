"""Working orders, stops and targets, and what finds by index the accounts that a price touches."""

from decimal import Decimal

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import core.ids

APPEND_ONLY = (
    "CREATE TRIGGER marginevent_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON trading_marginevent"
    " FOR EACH STATEMENT EXECUTE FUNCTION desk_refuse_change()"
)
# A new engine begins with the prices that come after it: what was quoted before nobody was watched for.
CURSOR = "INSERT INTO trading_riskcursor (id, batch) SELECT 1, coalesce(max(number), 0) FROM trading_priceclock"


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0003_account_numbers"),
        ("trading", "0004_sessions_and_swaps"),
        ("wallets", "0003_house_wallets"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="AccountChange",
            fields=[
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("sequence", models.BigIntegerField()),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("ORDER", "Order"),
                            ("POSITION", "Position"),
                            ("DEAL", "Deal"),
                            ("SWAP", "Swap"),
                            ("MARGIN_EVENT", "Margin Event"),
                        ],
                        max_length=12,
                    ),
                ),
                ("subject", models.UUIDField(help_text="The id of the row.")),
                ("changed_at", models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name="AccountWatch",
            fields=[
                (
                    "account",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        primary_key=True,
                        related_name="watch",
                        serialize=False,
                        to="accounts.tradingaccount",
                    ),
                ),
                ("sequence", models.BigIntegerField(default=0, help_text="The number of the account's last change.")),
                ("batch", models.BigIntegerField(help_text="The price batch at which it was last valued.")),
                (
                    "funds",
                    models.DecimalField(
                        decimal_places=8, help_text="Balance and credit that the bands count on.", max_digits=20
                    ),
                ),
                (
                    "held",
                    models.DecimalField(
                        decimal_places=8, help_text="Held margin that the bands count on.", max_digits=20
                    ),
                ),
                ("called_at", models.DateTimeField(help_text="Since when it is in margin call.", null=True)),
                ("updated_at", models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name="MarginEvent",
            fields=[
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("MARGIN_CALL", "Margin Call"),
                            ("MARGIN_CALL_LIFTED", "Margin Call Lifted"),
                            ("STOP_OUT", "Stop Out"),
                        ],
                        max_length=20,
                    ),
                ),
                ("batch", models.BigIntegerField(help_text="The price batch it was decided on.")),
                ("equity", models.DecimalField(decimal_places=8, max_digits=20)),
                ("held", models.DecimalField(decimal_places=8, max_digits=20)),
                ("report", models.JSONField()),
                ("created_at", models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name="PriceBand",
            fields=[
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("low", models.DecimalField(decimal_places=10, max_digits=20)),
                ("high", models.DecimalField(decimal_places=10, max_digits=20)),
                ("spread_max", models.DecimalField(decimal_places=10, max_digits=20)),
            ],
        ),
        migrations.CreateModel(
            name="RiskCursor",
            fields=[
                ("id", models.SmallIntegerField(default=1, primary_key=True, serialize=False)),
                ("batch", models.BigIntegerField(default=0)),
            ],
        ),
        migrations.CreateModel(
            name="RiskTask",
            fields=[
                (
                    "account",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        primary_key=True,
                        related_name="+",
                        serialize=False,
                        to="accounts.tradingaccount",
                    ),
                ),
                ("batch", models.BigIntegerField()),
                ("attempts", models.BigIntegerField(default=0)),
                ("failed_at", models.DateTimeField(null=True)),
                ("error", models.TextField(blank=True)),
                ("created_at", models.DateTimeField()),
            ],
        ),
        migrations.AddField(
            model_name="deal",
            name="batch",
            field=models.BigIntegerField(
                help_text="The price batch that caused it; empty where the client did.", null=True
            ),
        ),
        migrations.AddField(
            model_name="deal",
            name="cause",
            field=models.CharField(
                choices=[
                    ("CLIENT", "Client"),
                    ("ORDER", "Order"),
                    ("STOP_LOSS", "Stop Loss"),
                    ("TAKE_PROFIT", "Take Profit"),
                    ("STOP_OUT", "Stop Out"),
                ],
                db_default="CLIENT",
                default="CLIENT",
                max_length=12,
            ),
        ),
        migrations.AddField(
            model_name="instrument",
            name="stop_distance",
            field=models.PositiveIntegerField(
                db_default=0,
                default=0,
                help_text="Points that a stop, a limit or a target keeps from the price at least.",
            ),
        ),
        migrations.AddField(
            model_name="order",
            name="cancel_reason",
            field=models.CharField(
                blank=True,
                choices=[("CLIENT", "Client"), ("STOP_OUT", "Stop Out")],
                db_default="",
                default="",
                max_length=12,
            ),
        ),
        migrations.AddField(
            model_name="order",
            name="expires_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="order",
            name="margin_reserved",
            field=models.DecimalField(
                db_default=Decimal("0"),
                decimal_places=8,
                default=Decimal("0"),
                help_text="What it would lock if filled at its price, as reckoned when it was set.",
                max_digits=20,
            ),
        ),
        migrations.AddField(
            model_name="order",
            name="price",
            field=models.DecimalField(
                decimal_places=10, help_text="What a limit or stop order waits for.", max_digits=20, null=True
            ),
        ),
        migrations.AddField(
            model_name="order",
            name="stop_loss",
            field=models.DecimalField(
                decimal_places=10, help_text="For the position that it opens.", max_digits=20, null=True
            ),
        ),
        migrations.AddField(
            model_name="order",
            name="take_profit",
            field=models.DecimalField(
                decimal_places=10, help_text="For the position that it opens.", max_digits=20, null=True
            ),
        ),
        migrations.AddField(
            model_name="order",
            name="time_in_force",
            field=models.CharField(
                choices=[("IOC", "Ioc"), ("GTC", "Gtc"), ("GTD", "Gtd")], db_default="IOC", default="IOC", max_length=4
            ),
        ),
        migrations.AddField(
            model_name="order",
            name="watched_after",
            field=models.BigIntegerField(
                db_default=0,
                default=0,
                help_text="The price batch that was known when its price was set: later ones trigger it.",
            ),
        ),
        migrations.AddField(
            model_name="position",
            name="stop_loss",
            field=models.DecimalField(
                decimal_places=10,
                help_text="Closed at the first price that is as bad as this, or worse.",
                max_digits=20,
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="position",
            name="take_profit",
            field=models.DecimalField(
                decimal_places=10,
                help_text="Closed at the first price that is as good as this, or better.",
                max_digits=20,
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="position",
            name="watched_after",
            field=models.BigIntegerField(
                db_default=0,
                default=0,
                help_text="The price batch that was known when its stop and target were set: later ones trigger them.",
            ),
        ),
        migrations.AlterField(
            model_name="order",
            name="status",
            field=models.CharField(
                choices=[
                    ("NEW", "New"),
                    ("REJECTED", "Rejected"),
                    ("FILLED", "Filled"),
                    ("WORKING", "Working"),
                    ("CANCELLED", "Cancelled"),
                    ("EXPIRED", "Expired"),
                ],
                max_length=12,
            ),
        ),
        migrations.AlterField(
            model_name="order",
            name="type",
            field=models.CharField(choices=[("MARKET", "Market"), ("LIMIT", "Limit"), ("STOP", "Stop")], max_length=8),
        ),
        migrations.AddIndex(
            model_name="order",
            index=models.Index(
                condition=models.Q(("status", "WORKING")), fields=["account", "id"], name="order_working_by_account"
            ),
        ),
        migrations.AddIndex(
            model_name="order",
            index=models.Index(
                condition=models.Q(("status", "WORKING")),
                fields=["instrument", "type", "side", "price"],
                name="order_trigger",
            ),
        ),
        migrations.AddIndex(
            model_name="order",
            index=models.Index(
                condition=models.Q(("expires_at__isnull", False), ("status", "WORKING")),
                fields=["expires_at"],
                name="order_expiry",
            ),
        ),
        migrations.AddIndex(
            model_name="position",
            index=models.Index(
                condition=models.Q(("status", "OPEN"), ("stop_loss__isnull", False)),
                fields=["instrument", "side", "stop_loss"],
                name="position_stop_loss",
            ),
        ),
        migrations.AddIndex(
            model_name="position",
            index=models.Index(
                condition=models.Q(("status", "OPEN"), ("take_profit__isnull", False)),
                fields=["instrument", "side", "take_profit"],
                name="position_take_profit",
            ),
        ),
        migrations.AddIndex(
            model_name="quotetick",
            index=models.Index(fields=["instrument", "batch"], name="quote_tick_as_of_batch"),
        ),
        migrations.AddConstraint(
            model_name="deal",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("batch__isnull", True), ("cause", "CLIENT")),
                    models.Q(("batch__isnull", False), ("cause", "ORDER"), ("entry", "IN")),
                    models.Q(
                        ("batch__isnull", False),
                        ("cause__in", ["STOP_LOSS", "TAKE_PROFIT", "STOP_OUT"]),
                        ("entry", "OUT"),
                    ),
                    _connector="OR",
                ),
                name="deal_cause_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="order",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("price__gt", Decimal("0")),
                    ("price__lte", Decimal("9999999999.9999999999")),
                    ("stop_loss__gt", Decimal("0")),
                    ("stop_loss__lte", Decimal("9999999999.9999999999")),
                    ("take_profit__gt", Decimal("0")),
                    ("take_profit__lte", Decimal("9999999999.9999999999")),
                ),
                name="order_prices_positive",
            ),
        ),
        migrations.AddConstraint(
            model_name="order",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("price__isnull", True), ("type", "MARKET")),
                    models.Q(models.Q(("type", "MARKET"), _negated=True), ("price__isnull", False)),
                    _connector="OR",
                ),
                name="order_waits_for_a_price_unless_market",
            ),
        ),
        migrations.AddConstraint(
            model_name="order",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("expires_at__isnull", True), ("time_in_force", "IOC"), ("type", "MARKET")),
                    models.Q(
                        models.Q(("type", "MARKET"), _negated=True),
                        ("expires_at__isnull", True),
                        ("time_in_force", "GTC"),
                    ),
                    models.Q(
                        models.Q(("type", "MARKET"), _negated=True),
                        ("expires_at__isnull", False),
                        ("time_in_force", "GTD"),
                    ),
                    _connector="OR",
                ),
                name="order_lives_as_long_as_it_says",
            ),
        ),
        migrations.AddConstraint(
            model_name="order",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("type", "MARKET"), _negated=True),
                    models.Q(("status__in", ["WORKING", "CANCELLED", "EXPIRED"]), _negated=True),
                    _connector="OR",
                ),
                name="order_at_market_never_waits",
            ),
        ),
        migrations.AddConstraint(
            model_name="order",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("cancel_reason__in", ["CLIENT", "STOP_OUT"]), ("status", "CANCELLED")),
                    models.Q(models.Q(("status", "CANCELLED"), _negated=True), ("cancel_reason", "")),
                    _connector="OR",
                ),
                name="order_says_why_it_was_cancelled",
            ),
        ),
        migrations.AddConstraint(
            model_name="order",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("margin_reserved__gte", Decimal("0")), ("margin_reserved__lte", Decimal("999999999999.99999999"))
                ),
                name="order_reserve_bounded",
            ),
        ),
        migrations.AddConstraint(
            model_name="position",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("stop_loss__gt", Decimal("0")),
                    ("stop_loss__lte", Decimal("9999999999.9999999999")),
                    ("take_profit__gt", Decimal("0")),
                    ("take_profit__lte", Decimal("9999999999.9999999999")),
                ),
                name="position_stops_positive",
            ),
        ),
        migrations.AddField(
            model_name="accountchange",
            name="account",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="changes",
                to="accounts.tradingaccount",
            ),
        ),
        migrations.AddField(
            model_name="accountchange",
            name="owner",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="accountwatch",
            name="owner",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="marginevent",
            name="account",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="margin_events",
                to="accounts.tradingaccount",
            ),
        ),
        migrations.AddField(
            model_name="marginevent",
            name="owner",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="priceband",
            name="account",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="bands",
                to="accounts.tradingaccount",
            ),
        ),
        migrations.AddField(
            model_name="priceband",
            name="instrument",
            field=models.ForeignKey(
                db_column="symbol",
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="trading.instrument",
            ),
        ),
        migrations.AddField(
            model_name="priceband",
            name="owner",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddConstraint(
            model_name="riskcursor",
            constraint=models.CheckConstraint(
                condition=models.Q(("batch__gte", 0), ("id", 1)), name="risk_cursor_is_one"
            ),
        ),
        migrations.AddField(
            model_name="risktask",
            name="owner",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddConstraint(
            model_name="accountchange",
            constraint=models.UniqueConstraint(fields=("account", "sequence", "owner"), name="account_change_sequence"),
        ),
        migrations.AddConstraint(
            model_name="accountchange",
            constraint=models.CheckConstraint(
                condition=models.Q(("sequence__gte", 1)), name="account_change_counts_from_one"
            ),
        ),
        migrations.AddConstraint(
            model_name="accountwatch",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("funds__gte", Decimal("-999999999999.99999999")),
                    ("funds__lte", Decimal("999999999999.99999999")),
                    ("held__gte", Decimal("0")),
                    ("held__lte", Decimal("999999999999.99999999")),
                ),
                name="account_watch_amounts_bounded",
            ),
        ),
        migrations.AddConstraint(
            model_name="accountwatch",
            constraint=models.CheckConstraint(
                condition=models.Q(("batch__gte", 0), ("sequence__gte", 0)), name="account_watch_counts_up"
            ),
        ),
        migrations.AddIndex(
            model_name="marginevent",
            index=models.Index(fields=["owner", "id"], name="margin_event_owner"),
        ),
        migrations.AddIndex(
            model_name="marginevent",
            index=models.Index(fields=["account", "id"], name="margin_event_account"),
        ),
        migrations.AddConstraint(
            model_name="marginevent",
            constraint=models.UniqueConstraint(
                fields=("account", "batch", "kind", "owner"), name="margin_event_once_per_batch"
            ),
        ),
        migrations.AddConstraint(
            model_name="marginevent",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("equity__gte", Decimal("-999999999999.99999999")),
                    ("equity__lte", Decimal("999999999999.99999999")),
                    ("held__gte", Decimal("0")),
                    ("held__lte", Decimal("999999999999.99999999")),
                ),
                name="margin_event_amounts_bounded",
            ),
        ),
        migrations.AddIndex(
            model_name="priceband",
            index=models.Index(fields=["instrument", "low"], name="price_band_low"),
        ),
        migrations.AddIndex(
            model_name="priceband",
            index=models.Index(fields=["instrument", "high"], name="price_band_high"),
        ),
        migrations.AddIndex(
            model_name="priceband",
            index=models.Index(fields=["instrument", "spread_max"], name="price_band_spread"),
        ),
        migrations.AddConstraint(
            model_name="priceband",
            constraint=models.UniqueConstraint(
                fields=("account", "instrument", "owner"), name="price_band_once_per_symbol"
            ),
        ),
        migrations.AddConstraint(
            model_name="priceband",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("low__gte", Decimal("0")),
                    ("low__lte", Decimal("9999999999.9999999999")),
                    ("high__gte", Decimal("0")),
                    ("high__lte", Decimal("9999999999.9999999999")),
                    ("spread_max__gte", Decimal("0")),
                    ("spread_max__lte", Decimal("9999999999.9999999999")),
                ),
                name="price_band_bounded",
            ),
        ),
        migrations.AddIndex(
            model_name="risktask",
            index=models.Index(fields=["failed_at", "account"], name="risk_task_next"),
        ),
        migrations.AddConstraint(
            model_name="risktask",
            constraint=models.CheckConstraint(condition=models.Q(("batch__gte", 0)), name="risk_task_batch_known"),
        ),
        migrations.RunSQL(APPEND_ONLY, "DROP TRIGGER marginevent_is_append_only ON trading_marginevent"),
        migrations.RunSQL(CURSOR, migrations.RunSQL.noop),
    ]
