from decimal import Decimal

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
            name="Seal",
            fields=[
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("sealed_at", models.DateTimeField()),
                ("wallets", models.BigIntegerField()),
                ("entries", models.BigIntegerField(help_text="Sum of the sealed versions.")),
                ("digest", models.BinaryField(help_text="SHA-256 of the export.", max_length=32)),
                ("signature", models.BinaryField(help_text="Ed25519 over the digest.", max_length=64)),
                ("public_key", models.BinaryField(max_length=32)),
                ("export", models.CharField(help_text="The export's file name in the seal folder.", max_length=255)),
            ],
        ),
        migrations.CreateModel(
            name="BankAccount",
            fields=[
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("holder", models.CharField(max_length=140)),
                ("bank_name", models.CharField(max_length=140)),
                ("branch", models.CharField(blank=True, max_length=140)),
                (
                    "code_type",
                    models.CharField(
                        choices=[("IBAN", "Iban"), ("BIC", "Bic"), ("IFSC", "Ifsc"), ("ABA", "Aba"), ("SORT", "Sort")],
                        max_length=4,
                    ),
                ),
                (
                    "code",
                    models.CharField(
                        blank=True, help_text="BIC, IFSC, ABA routing number or sort code.", max_length=34
                    ),
                ),
                ("number_encrypted", models.BinaryField()),
                ("number_hash", models.BinaryField(max_length=32)),
                ("number_last_four", models.CharField(max_length=4)),
                ("is_default", models.BooleanField(default=False)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "owner",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="bank_accounts",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="LedgerTransaction",
            fields=[
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                (
                    "type",
                    models.CharField(
                        choices=[
                            ("SIGN_UP", "Sign Up"),
                            ("DEPOSIT", "Deposit"),
                            ("WITHDRAWAL", "Withdrawal"),
                            ("TRANSFER", "Transfer"),
                            ("OPEN", "Open"),
                            ("CLOSE", "Close"),
                            ("STOP_OUT", "Stop Out"),
                            ("SWAP", "Swap"),
                            ("REFERRAL", "Referral"),
                            ("BONUS", "Bonus"),
                            ("ADJUSTMENT", "Adjustment"),
                            ("REVERSAL", "Reversal"),
                        ],
                        max_length=12,
                    ),
                ),
                ("environment", models.CharField(choices=[("DEMO", "Demo"), ("LIVE", "Live")], max_length=4)),
                ("actor_id", models.UUIDField()),
                ("actor_kind", models.CharField(max_length=12)),
                ("reason", models.CharField(blank=True, max_length=500)),
                (
                    "reference",
                    models.CharField(
                        blank=True, help_text="What it belongs to outside: a bank reference.", max_length=128
                    ),
                ),
                ("idempotency_digest", models.BinaryField(max_length=32)),
                ("request_id", models.CharField(blank=True, max_length=64)),
                ("posted_at", models.DateTimeField()),
                ("effective_at", models.DateTimeField()),
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
                    "reverses",
                    models.OneToOneField(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="reversed_by",
                        to="wallets.ledgertransaction",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Wallet",
            fields=[
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("number", models.CharField(max_length=40, unique=True)),
                ("environment", models.CharField(choices=[("DEMO", "Demo"), ("LIVE", "Live")], max_length=4)),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("CASH", "Cash"),
                            ("MARGIN", "Margin"),
                            ("HOUSE_PAYMENT_CLEARING", "House Payment Clearing"),
                            ("HOUSE_WITHDRAWAL_CLEARING", "House Withdrawal Clearing"),
                            ("HOUSE_TRADING_PNL", "House Trading Pnl"),
                            ("HOUSE_COMMISSION", "House Commission"),
                            ("HOUSE_SWAP", "House Swap"),
                            ("HOUSE_REFERRAL_EXPENSE", "House Referral Expense"),
                            ("HOUSE_BONUS_EXPENSE", "House Bonus Expense"),
                            ("HOUSE_NEGATIVE_BALANCE", "House Negative Balance"),
                            ("HOUSE_DEMO_FUNDING", "House Demo Funding"),
                            ("HOUSE_ADJUSTMENT", "House Adjustment"),
                        ],
                        max_length=32,
                    ),
                ),
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
                ("balance", models.DecimalField(decimal_places=8, default=Decimal("0"), max_digits=20)),
                ("held", models.DecimalField(decimal_places=8, default=Decimal("0"), max_digits=20)),
                ("credit", models.DecimalField(decimal_places=8, default=Decimal("0"), max_digits=20)),
                ("realized_profit", models.DecimalField(decimal_places=8, default=Decimal("0"), max_digits=20)),
                (
                    "status",
                    models.CharField(
                        choices=[("ACTIVE", "Active"), ("FROZEN", "Frozen"), ("CLOSED", "Closed")],
                        default="ACTIVE",
                        max_length=8,
                    ),
                ),
                ("deposits_enabled", models.BooleanField(default=True)),
                ("withdrawals_enabled", models.BooleanField(default=True)),
                ("trading_enabled", models.BooleanField(default=True)),
                (
                    "verified",
                    models.BooleanField(
                        default=False, help_text="The owner's verification is approved, or it is demo."
                    ),
                ),
                ("version", models.BigIntegerField(default=0)),
                (
                    "head",
                    models.BinaryField(
                        default=b"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
                        max_length=32,
                    ),
                ),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("updated_at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "owner",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="wallets", to=settings.AUTH_USER_MODEL
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="UnfoldedLeg",
            fields=[
                ("entry_id", models.UUIDField(primary_key=True, serialize=False)),
                ("amount", models.DecimalField(decimal_places=8, max_digits=20)),
                (
                    "wallet",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="wallets.wallet",
                    ),
                ),
            ],
        ),
        migrations.AddConstraint(
            model_name="unfoldedleg",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("amount__gte", Decimal("-999999999999.99999999")),
                    ("amount__lte", Decimal("999999999999.99999999")),
                    models.Q(("amount", 0), _negated=True),
                ),
                name="unfoldedleg_amount_moves_something",
            ),
        ),
        migrations.CreateModel(
            name="Transfer",
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
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "owner",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="transfers",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "transaction",
                    models.OneToOneField(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="transfer",
                        to="wallets.ledgertransaction",
                    ),
                ),
                (
                    "source",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="wallets.wallet",
                    ),
                ),
                (
                    "target",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="wallets.wallet",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Entry",
            fields=[
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("currency", models.CharField(max_length=4)),
                ("amount", models.DecimalField(decimal_places=8, max_digits=20)),
                (
                    "reason",
                    models.CharField(
                        choices=[
                            ("DEPOSIT", "Deposit"),
                            ("WITHDRAWAL", "Withdrawal"),
                            ("TRANSFER", "Transfer"),
                            ("TRADE_PNL", "Trade Pnl"),
                            ("COMMISSION", "Commission"),
                            ("SWAP", "Swap"),
                            ("CREDIT_IN", "Credit In"),
                            ("CREDIT_OUT", "Credit Out"),
                            ("REFERRAL_COMMISSION", "Referral Commission"),
                            ("SIGNUP_BONUS", "Signup Bonus"),
                            ("NEGATIVE_BALANCE_PROTECTION", "Negative Balance Protection"),
                            ("ADJUSTMENT", "Adjustment"),
                            ("REVERSAL", "Reversal"),
                            ("DEMO_FUNDING", "Demo Funding"),
                        ],
                        max_length=32,
                    ),
                ),
                ("balance_after", models.DecimalField(decimal_places=8, max_digits=20, null=True)),
                ("wallet_version", models.BigIntegerField(null=True)),
                ("digest", models.BinaryField(max_length=32, null=True)),
                ("posted_at", models.DateTimeField()),
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
                    "transaction",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="entries",
                        to="wallets.ledgertransaction",
                    ),
                ),
                (
                    "wallet",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="entries",
                        to="wallets.wallet",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "entries",
            },
        ),
        migrations.CreateModel(
            name="Deposit",
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
                        choices=[
                            ("CREATED", "Created"),
                            ("PENDING", "Pending"),
                            ("COMPLETED", "Completed"),
                            ("REJECTED", "Rejected"),
                            ("EXPIRED", "Expired"),
                            ("REVERSED", "Reversed"),
                        ],
                        max_length=12,
                    ),
                ),
                ("provider", models.CharField(max_length=16)),
                ("provider_reference", models.CharField(max_length=128, null=True)),
                ("idempotency_digest", models.BinaryField(max_length=32)),
                ("reason", models.CharField(blank=True, max_length=500)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("updated_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("expires_at", models.DateTimeField()),
                ("completed_at", models.DateTimeField(null=True)),
                (
                    "owner",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="deposits",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "reviewed_by",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
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
                        related_name="deposit",
                        to="wallets.ledgertransaction",
                    ),
                ),
                (
                    "wallet",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="deposits", to="wallets.wallet"
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Withdrawal",
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
                        choices=[
                            ("REQUESTED", "Requested"),
                            ("IN_REVIEW", "In Review"),
                            ("APPROVED", "Approved"),
                            ("SENT", "Sent"),
                            ("COMPLETED", "Completed"),
                            ("REJECTED", "Rejected"),
                            ("CANCELLED", "Cancelled"),
                            ("FAILED", "Failed"),
                        ],
                        max_length=12,
                    ),
                ),
                ("two_person", models.BooleanField(default=False, help_text="Large enough to need a second approver.")),
                ("idempotency_digest", models.BinaryField(max_length=32)),
                ("reason", models.CharField(blank=True, max_length=500)),
                ("bank_reference", models.CharField(blank=True, max_length=128)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("updated_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("approved_at", models.DateTimeField(null=True)),
                ("sent_at", models.DateTimeField(null=True)),
                ("completed_at", models.DateTimeField(null=True)),
                (
                    "approved_by",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "bank_account",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="withdrawals",
                        to="wallets.bankaccount",
                    ),
                ),
                (
                    "owner",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="withdrawals",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "reviewed_by",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "second_approved_by",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
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
                        related_name="withdrawal",
                        to="wallets.ledgertransaction",
                    ),
                ),
                (
                    "wallet",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="withdrawals", to="wallets.wallet"
                    ),
                ),
            ],
        ),
        migrations.AddIndex(
            model_name="bankaccount",
            index=models.Index(fields=["number_hash"], name="bankaccount_number_hash"),
        ),
        migrations.AddConstraint(
            model_name="bankaccount",
            constraint=models.UniqueConstraint(fields=("owner", "number_hash"), name="bankaccount_owner_number"),
        ),
        migrations.AddConstraint(
            model_name="bankaccount",
            constraint=models.UniqueConstraint(
                condition=models.Q(("is_default", True)), fields=("owner",), name="bankaccount_owner_has_one_default"
            ),
        ),
        migrations.AddConstraint(
            model_name="ledgertransaction",
            constraint=models.UniqueConstraint(
                fields=("owner", "idempotency_digest"), name="ledgertransaction_idempotency_digest"
            ),
        ),
        migrations.AddConstraint(
            model_name="ledgertransaction",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("type", "REVERSAL"), ("reverses__isnull", False)),
                    models.Q(models.Q(("type", "REVERSAL"), _negated=True), ("reverses__isnull", True)),
                    _connector="OR",
                ),
                name="ledgertransaction_reversal_names_its_original",
            ),
        ),
        migrations.AddConstraint(
            model_name="wallet",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("balance__gte", Decimal("-999999999999.99999999")),
                    ("balance__lte", Decimal("999999999999.99999999")),
                ),
                name="wallet_balance_bounded",
            ),
        ),
        migrations.AddConstraint(
            model_name="wallet",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("kind__in", ("CASH", "MARGIN")), _negated=True),
                    ("balance__gte", 0),
                    models.Q(("held__gt", 0), ("kind", "MARGIN")),
                    _connector="OR",
                ),
                name="wallet_balance_not_negative",
            ),
        ),
        migrations.AddConstraint(
            model_name="wallet",
            constraint=models.CheckConstraint(
                condition=models.Q(("held__gte", Decimal("0")), ("held__lte", Decimal("999999999999.99999999"))),
                name="wallet_held_not_negative",
            ),
        ),
        migrations.AddConstraint(
            model_name="wallet",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("kind", "CASH"), _negated=True), ("balance__gte", models.F("held")), _connector="OR"
                ),
                name="wallet_cash_covers_its_holds",
            ),
        ),
        migrations.AddConstraint(
            model_name="wallet",
            constraint=models.CheckConstraint(
                condition=models.Q(("credit__gte", Decimal("0")), ("credit__lte", Decimal("999999999999.99999999"))),
                name="wallet_credit_not_negative",
            ),
        ),
        migrations.AddConstraint(
            model_name="wallet",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("realized_profit__gte", Decimal("-999999999999.99999999")),
                    ("realized_profit__lte", Decimal("999999999999.99999999")),
                ),
                name="wallet_realized_profit_bounded",
            ),
        ),
        migrations.AddConstraint(
            model_name="wallet",
            constraint=models.CheckConstraint(
                condition=models.Q(("version__gte", 0)), name="wallet_version_not_negative"
            ),
        ),
        migrations.AddConstraint(
            model_name="wallet",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("currency__in", ["USD", "EUR", "GBP", "CHF", "CAD", "AUD", "JPY", "KWD", "BTC", "ETH"])
                ),
                name="wallet_currency_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="wallet",
            constraint=models.CheckConstraint(
                condition=models.Q(("environment__in", ["DEMO", "LIVE"])), name="wallet_environment_known"
            ),
        ),
        migrations.AddConstraint(
            model_name="wallet",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "kind__in",
                        [
                            "CASH",
                            "MARGIN",
                            "HOUSE_PAYMENT_CLEARING",
                            "HOUSE_WITHDRAWAL_CLEARING",
                            "HOUSE_TRADING_PNL",
                            "HOUSE_COMMISSION",
                            "HOUSE_SWAP",
                            "HOUSE_REFERRAL_EXPENSE",
                            "HOUSE_BONUS_EXPENSE",
                            "HOUSE_NEGATIVE_BALANCE",
                            "HOUSE_DEMO_FUNDING",
                            "HOUSE_ADJUSTMENT",
                        ],
                    )
                ),
                name="wallet_kind_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="wallet",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("kind__in", ("CASH", "MARGIN")),
                    models.Q(("credit", 0), ("held", 0), ("version", 0)),
                    _connector="OR",
                ),
                name="wallet_house_is_append_only",
            ),
        ),
        migrations.AddConstraint(
            model_name="wallet",
            constraint=models.UniqueConstraint(
                condition=models.Q(
                    (
                        "kind__in",
                        (
                            "HOUSE_PAYMENT_CLEARING",
                            "HOUSE_WITHDRAWAL_CLEARING",
                            "HOUSE_TRADING_PNL",
                            "HOUSE_COMMISSION",
                            "HOUSE_SWAP",
                            "HOUSE_REFERRAL_EXPENSE",
                            "HOUSE_BONUS_EXPENSE",
                            "HOUSE_NEGATIVE_BALANCE",
                            "HOUSE_DEMO_FUNDING",
                            "HOUSE_ADJUSTMENT",
                        ),
                    )
                ),
                fields=("owner", "kind", "currency", "environment"),
                name="wallet_house_exists_once",
            ),
        ),
        migrations.AddIndex(
            model_name="transfer",
            index=models.Index(fields=["owner", "id"], name="transfer_owner"),
        ),
        migrations.AddConstraint(
            model_name="transfer",
            constraint=models.CheckConstraint(
                condition=models.Q(("amount__gt", Decimal("0")), ("amount__lte", Decimal("999999999999.99999999"))),
                name="transfer_amount_positive",
            ),
        ),
        migrations.AddConstraint(
            model_name="transfer",
            constraint=models.CheckConstraint(
                condition=models.Q(("source", models.F("target")), _negated=True), name="transfer_wallets_differ"
            ),
        ),
        migrations.AddIndex(
            model_name="entry",
            index=models.Index(fields=["owner", "id"], name="entry_owner"),
        ),
        migrations.AddConstraint(
            model_name="entry",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("amount__gte", Decimal("-999999999999.99999999")),
                    ("amount__lte", Decimal("999999999999.99999999")),
                    models.Q(("amount", 0), _negated=True),
                ),
                name="entry_amount_moves_something",
            ),
        ),
        migrations.AddConstraint(
            model_name="entry",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("balance_after__isnull", True), ("digest__isnull", True), ("wallet_version__isnull", True)
                    ),
                    models.Q(
                        ("balance_after__gte", Decimal("-999999999999.99999999")),
                        ("balance_after__lte", Decimal("999999999999.99999999")),
                        ("balance_after__isnull", False),
                        ("digest__isnull", False),
                        ("wallet_version__isnull", False),
                        ("wallet_version__gte", 1),
                    ),
                    _connector="OR",
                ),
                name="entry_is_chained_or_house",
            ),
        ),
        migrations.AddConstraint(
            model_name="entry",
            constraint=models.UniqueConstraint(
                fields=("wallet", "owner", "wallet_version"), name="entry_wallet_version"
            ),
        ),
        migrations.AddIndex(
            model_name="deposit",
            index=models.Index(fields=["owner", "id"], name="deposit_owner"),
        ),
        migrations.AddIndex(
            model_name="deposit",
            index=models.Index(
                condition=models.Q(("status__in", ["CREATED", "PENDING"])),
                fields=["status", "expires_at"],
                name="deposit_open",
            ),
        ),
        migrations.AddConstraint(
            model_name="deposit",
            constraint=models.CheckConstraint(
                condition=models.Q(("amount__gt", Decimal("0")), ("amount__lte", Decimal("999999999999.99999999"))),
                name="deposit_amount_positive",
            ),
        ),
        migrations.AddConstraint(
            model_name="deposit",
            constraint=models.UniqueConstraint(
                fields=("owner", "idempotency_digest"), name="deposit_idempotency_digest"
            ),
        ),
        migrations.AddConstraint(
            model_name="deposit",
            constraint=models.UniqueConstraint(
                fields=("provider", "provider_reference"), name="deposit_provider_reference"
            ),
        ),
        migrations.AddConstraint(
            model_name="deposit",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("status__in", ["COMPLETED", "REVERSED"]), ("transaction__isnull", False)),
                    models.Q(
                        models.Q(("status__in", ["COMPLETED", "REVERSED"]), _negated=True),
                        ("transaction__isnull", True),
                    ),
                    _connector="OR",
                ),
                name="deposit_is_posted_when_completed",
            ),
        ),
        migrations.AddIndex(
            model_name="withdrawal",
            index=models.Index(fields=["owner", "id"], name="withdrawal_owner"),
        ),
        migrations.AddIndex(
            model_name="withdrawal",
            index=models.Index(
                condition=models.Q(("status__in", ["REQUESTED", "IN_REVIEW", "APPROVED", "SENT"])),
                fields=["status", "created_at"],
                name="withdrawal_open",
            ),
        ),
        migrations.AddConstraint(
            model_name="withdrawal",
            constraint=models.CheckConstraint(
                condition=models.Q(("amount__gt", Decimal("0")), ("amount__lte", Decimal("999999999999.99999999"))),
                name="withdrawal_amount_positive",
            ),
        ),
        migrations.AddConstraint(
            model_name="withdrawal",
            constraint=models.UniqueConstraint(
                fields=("owner", "idempotency_digest"), name="withdrawal_idempotency_digest"
            ),
        ),
        migrations.AddConstraint(
            model_name="withdrawal",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("approved_by__isnull", True),
                    models.Q(("approved_by", models.F("owner")), _negated=True),
                    _connector="OR",
                ),
                name="withdrawal_approver_is_not_its_owner",
            ),
        ),
        migrations.AddConstraint(
            model_name="withdrawal",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("second_approved_by__isnull", True),
                    models.Q(
                        ("approved_by__isnull", False),
                        models.Q(("second_approved_by", models.F("approved_by")), _negated=True),
                        models.Q(("second_approved_by", models.F("owner")), _negated=True),
                    ),
                    _connector="OR",
                ),
                name="withdrawal_approvers_are_two_people",
            ),
        ),
        migrations.AddConstraint(
            model_name="withdrawal",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("status__in", ["APPROVED", "SENT", "COMPLETED"]), _negated=True),
                    models.Q(
                        ("approved_by__isnull", False),
                        models.Q(("two_person", False), ("second_approved_by__isnull", False), _connector="OR"),
                    ),
                    _connector="OR",
                ),
                name="withdrawal_is_approved_before_it_leaves",
            ),
        ),
        migrations.AddConstraint(
            model_name="withdrawal",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("status", "COMPLETED"), ("transaction__isnull", False)),
                    models.Q(models.Q(("status", "COMPLETED"), _negated=True), ("transaction__isnull", True)),
                    _connector="OR",
                ),
                name="withdrawal_is_posted_when_completed",
            ),
        ),
    ]
