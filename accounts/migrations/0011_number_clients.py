"""Clients from before get their numbers in the order in which they came; nobody waits for more than a thousand rows."""

from typing import Any

import django.contrib.postgres.operations
import django.db.models.functions.comparison
import django.db.models.functions.text
from django.db import migrations, models

from core.ids import HOUSE

BATCH = 1_000

# In the order of ids, which is that of sign-ups; behind the last one of the batch before, so nothing is read twice.
NUMBER_SQL = """
WITH unnumbered AS (
    SELECT u.id
      FROM accounts_user u
     WHERE u.number IS NULL AND NOT u.is_staff AND u.id <> %(house)s::uuid AND u.id > %(after)s::uuid
     ORDER BY u.id
     LIMIT %(limit)s
       FOR NO KEY UPDATE
), numbered AS MATERIALIZED (
    SELECT n.id, 'C' || nextval('accounts_client_number_seq') AS number FROM (SELECT id FROM unnumbered ORDER BY id) n
)
UPDATE accounts_user u SET number = numbered.number FROM numbered WHERE u.id = numbered.id RETURNING u.id
"""


def number_clients(apps: Any, schema_editor: Any) -> None:
    """Each batch commits by itself; begun again after an interruption, it goes on with whoever has no number."""
    after = "00000000-0000-0000-0000-000000000000"
    with schema_editor.connection.cursor() as cursor:
        while True:
            cursor.execute(NUMBER_SQL, {"house": HOUSE, "after": after, "limit": BATCH})
            numbered = [id_ for (id_,) in cursor.fetchall()]
            if not numbered:
                return
            after = max(numbered)


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("accounts", "0010_client_numbers")]

    operations = [
        migrations.RunPython(number_clients, migrations.RunPython.noop),
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunSQL(
                    "CREATE UNIQUE INDEX CONCURRENTLY user_number ON accounts_user (number) WHERE number IS NOT NULL",
                    "DROP INDEX CONCURRENTLY user_number",
                )
            ],
            state_operations=[
                migrations.AddConstraint(
                    model_name="user",
                    constraint=models.UniqueConstraint(
                        condition=models.Q(("number__isnull", False)), fields=("number",), name="user_number"
                    ),
                )
            ],
        ),
        django.contrib.postgres.operations.AddConstraintNotValid(
            model_name="user",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("number__isnull", True),
                    models.Q(("is_staff", False), models.Q(("id", HOUSE), _negated=True)),
                    _connector="OR",
                ),
                name="user_number_is_a_clients",
            ),
        ),
        django.contrib.postgres.operations.ValidateConstraint(model_name="user", name="user_number_is_a_clients"),
        django.contrib.postgres.operations.AddIndexConcurrently(
            model_name="user",
            index=models.Index(
                django.db.models.functions.comparison.Collate(django.db.models.functions.text.Lower("name"), "C"),
                models.F("id"),
                name="user_name",
            ),
        ),
        django.contrib.postgres.operations.AddIndexConcurrently(
            model_name="user", index=models.Index(fields=["referred_by", "id"], name="user_referees")
        ),
        django.contrib.postgres.operations.AddIndexConcurrently(
            model_name="apitoken", index=models.Index(fields=["prefix"], name="apitoken_prefix")
        ),
    ]
