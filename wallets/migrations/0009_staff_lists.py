"""Staff filter the longest lists by what is rare in them; the tables are written to while the indexes are built."""

from django.conf import settings
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ("wallets", "0008_entry_posted_at"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        AddIndexConcurrently(
            model_name="entry",
            index=models.Index(
                condition=models.Q(("reason__in", ["TRADE_PNL", "COMMISSION"]), _negated=True),
                fields=["reason", "id"],
                name="entry_reason",
            ),
        ),
        AddIndexConcurrently(
            model_name="ledgertransaction",
            index=models.Index(
                condition=models.Q(("type__in", ["OPEN", "CLOSE"]), _negated=True),
                fields=["type", "id"],
                name="ledgertransaction_type",
            ),
        ),
        AddIndexConcurrently(
            model_name="ledgertransaction",
            index=models.Index(
                condition=models.Q(("actor_kind", "CLIENT"), _negated=True),
                fields=["actor_kind", "id"],
                name="ledgertransaction_actor_kind",
            ),
        ),
    ]
