"""Who acted from one network address is found without reading the trail."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("core", "0003_audit_is_searched")]

    operations = [
        AddIndexConcurrently(
            "auditevent",
            models.Index(
                fields=["address", "owner", "created_at"],
                condition=models.Q(actor_kind="CLIENT", address__isnull=False),
                name="auditevent_client_address",
            ),
        ),
    ]
