"""Notes about clients can be added, and nothing else."""

import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

import core.ids


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        ("core", "0002_append_only_audit"),
    ]

    operations = [
        migrations.CreateModel(
            name="ClientNote",
            fields=[
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("text", models.CharField(max_length=4000)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "author",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "owner",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["owner", "id"], name="clientnote_owner")],
                "constraints": [
                    models.CheckConstraint(condition=models.Q(("text__regex", r"\S")), name="clientnote_says_something")
                ],
            },
        ),
        migrations.RunSQL(
            "CREATE TRIGGER clientnote_is_append_only"
            " BEFORE UPDATE OR DELETE OR TRUNCATE ON clients_clientnote"
            " FOR EACH STATEMENT EXECUTE FUNCTION desk_refuse_change();",
            "DROP TRIGGER clientnote_is_append_only ON clients_clientnote;",
        ),
    ]
