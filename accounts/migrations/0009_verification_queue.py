"""The verifications that wait are found without reading those that are decided."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("accounts", "0008_freezes_lifted_by_others")]

    operations = [
        AddIndexConcurrently(
            model_name="verification",
            index=models.Index(
                condition=models.Q(("status__in", ["SUBMITTED", "IN_REVIEW"])),
                fields=["submitted_at", "id"],
                name="verification_waiting",
            ),
        ),
    ]
