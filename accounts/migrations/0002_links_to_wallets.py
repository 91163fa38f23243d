import django.db.models.deletion
import django.db.models.functions.text
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("accounts", "0001_initial"),
        ("wallets", "0001_initial"),
    ]

    operations = [
        migrations.AddField(
            model_name="tradingaccount",
            name="wallet",
            field=models.OneToOneField(
                on_delete=django.db.models.deletion.PROTECT, related_name="trading_account", to="wallets.wallet"
            ),
        ),
        migrations.AddField(
            model_name="verification",
            name="owner",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="verifications", to=settings.AUTH_USER_MODEL
            ),
        ),
        migrations.AddField(
            model_name="verification",
            name="reviewed_by",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddConstraint(
            model_name="user",
            constraint=models.UniqueConstraint(django.db.models.functions.text.Lower("email"), name="user_email"),
        ),
        migrations.AddConstraint(
            model_name="user",
            constraint=models.UniqueConstraint(fields=("phone",), name="user_phone"),
        ),
        migrations.AddConstraint(
            model_name="user",
            constraint=models.UniqueConstraint(fields=("referral_code",), name="user_referral_code"),
        ),
        migrations.AddConstraint(
            model_name="user",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("referred_by__isnull", True),
                    models.Q(("referred_by", models.F("id")), _negated=True),
                    _connector="OR",
                ),
                name="user_does_not_refer_themselves",
            ),
        ),
        migrations.AddIndex(
            model_name="apitoken",
            index=models.Index(fields=["owner", "id"], name="apitoken_owner"),
        ),
        migrations.AddConstraint(
            model_name="freeze",
            constraint=models.UniqueConstraint(
                condition=models.Q(("lifted_at__isnull", True)), fields=("owner", "scope"), name="freeze_one_in_force"
            ),
        ),
        migrations.AddConstraint(
            model_name="freeze",
            constraint=models.CheckConstraint(
                condition=models.Q(("reason", ""), _negated=True), name="freeze_has_a_reason"
            ),
        ),
        migrations.AddIndex(
            model_name="tradingaccount",
            index=models.Index(fields=["owner", "id"], name="tradingaccount_owner"),
        ),
        migrations.AddConstraint(
            model_name="tradingaccount",
            constraint=models.CheckConstraint(
                condition=models.Q(("leverage__gte", 1), ("leverage__lte", 10000)),
                name="tradingaccount_leverage_within_limits",
            ),
        ),
        migrations.AddIndex(
            model_name="verification",
            index=models.Index(fields=["owner", "id"], name="verification_owner"),
        ),
        migrations.AddConstraint(
            model_name="verification",
            constraint=models.UniqueConstraint(
                condition=models.Q(("status__in", ["PENDING", "SUBMITTED", "IN_REVIEW", "ACTION_REQUIRED"])),
                fields=("owner",),
                name="verification_one_open_per_client",
            ),
        ),
        migrations.AddConstraint(
            model_name="verification",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("status__in", ["APPROVED", "REJECTED", "ACTION_REQUIRED"]), _negated=True),
                    ("reviewed_by__isnull", False),
                    _connector="OR",
                ),
                name="verification_decided_by_someone",
            ),
        ),
        migrations.AddConstraint(
            model_name="verification",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("reviewed_by__isnull", True),
                    models.Q(("reviewed_by", models.F("owner")), _negated=True),
                    _connector="OR",
                ),
                name="verification_reviewer_is_not_its_owner",
            ),
        ),
    ]
