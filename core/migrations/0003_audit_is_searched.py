"""The trail is found by request, by action and by kind of actor; it is written to while its indexes are built."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("core", "0002_append_only_audit")]

    operations = [
        AddIndexConcurrently(
            model_name="auditevent",
            index=models.Index(
                fields=["request_id"],
                condition=models.Q(("request_id", ""), _negated=True),
                name="auditevent_request_id",
            ),
        ),
        AddIndexConcurrently(
            model_name="auditevent",
            index=models.Index(
                fields=["action", "id"], name="auditevent_action", opclasses=["varchar_pattern_ops", "uuid_ops"]
            ),
        ),
        AddIndexConcurrently(
            model_name="auditevent",
            index=models.Index(fields=["actor_kind", "id"], name="auditevent_actor_kind"),
        ),
    ]
