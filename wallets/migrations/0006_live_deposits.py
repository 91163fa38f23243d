"""Live deposits are found among all postings without reading them."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("wallets", "0005_adjustments")]

    operations = [
        AddIndexConcurrently(
            "ledgertransaction",
            models.Index(
                fields=["id"],
                condition=models.Q(type="DEPOSIT", environment="LIVE"),
                name="ledgertransaction_live_deposit",
            ),
        ),
    ]
