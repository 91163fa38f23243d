"""What a provider says is kept, whatever becomes of it; and what a request posted is found by the request."""

from decimal import Decimal

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models

import core.ids


class Migration(migrations.Migration):
    atomic = False  # for the index, which is built while money moves
    dependencies = [("wallets", "0006_live_deposits")]

    operations = [
        migrations.CreateModel(
            name="PaymentReport",
            fields=[
                (
                    "id",
                    models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False),
                ),
                ("provider", models.CharField(max_length=16)),
                ("reference", models.CharField(max_length=128)),
                ("deposit_ref", models.UUIDField(help_text="The deposit it is said to be for.")),
                ("succeeded", models.BooleanField()),
                ("amount", models.DecimalField(decimal_places=8, max_digits=20)),
                ("currency", models.CharField(max_length=4)),
                ("first_received_at", models.DateTimeField()),
                ("last_received_at", models.DateTimeField()),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("provider", "reference", "deposit_ref", "succeeded", "amount", "currency"),
                        name="paymentreport_said_once",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("amount__gt", Decimal(0)), ("amount__lte", Decimal("999999999999.99999999"))
                        ),
                        name="paymentreport_amount_positive",
                    ),
                ],
            },
        ),
        AddIndexConcurrently(
            model_name="ledgertransaction",
            index=models.Index(
                fields=["request_id"],
                condition=models.Q(("request_id", ""), _negated=True),
                name="ledgertransaction_request_id",
            ),
        ),
    ]
