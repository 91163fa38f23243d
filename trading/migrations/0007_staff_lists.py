"""Staff filter the longest lists by what is rare in them; the tables are written to while the indexes are built."""

from django.conf import settings
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ("accounts", "0005_referrer_changes"),
        ("trading", "0006_leverage_caps"),
        ("wallets", "0009_staff_lists"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        AddIndexConcurrently(
            model_name="deal",
            index=models.Index(
                condition=models.Q(("cause", "CLIENT"), _negated=True), fields=["cause", "id"], name="deal_cause"
            ),
        ),
        AddIndexConcurrently(
            model_name="order",
            index=models.Index(
                condition=models.Q(("status__in", ["FILLED", "WORKING"]), _negated=True),
                fields=["status", "id"],
                name="order_status",
            ),
        ),
        AddIndexConcurrently(
            model_name="order",
            index=models.Index(
                condition=models.Q(("type", "MARKET"), _negated=True), fields=["type", "id"], name="order_type"
            ),
        ),
        AddIndexConcurrently(
            model_name="order",
            index=models.Index(
                condition=models.Q(("client_order_id__isnull", False)),
                fields=["client_order_id"],
                name="order_client_chosen_id",
            ),
        ),
        AddIndexConcurrently(model_name="swap", index=models.Index(fields=["account", "id"], name="swap_account")),
    ]
