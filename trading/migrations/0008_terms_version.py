"""A change of the terms says so, in its own transaction, to every process that keeps them."""

import django.contrib.postgres.functions
from django.db import migrations, models

TABLES = ("instrument", "tradingsession", "holiday", "leveragecap")

# Random and not counted: a number that a rollback gives back would name two different states.
FUNCTION = """
CREATE FUNCTION trading_note_terms() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE trading_priceclock SET terms_version = gen_random_uuid() WHERE id = 1;
    RETURN NULL;
END
$$;
"""
TRIGGER = """
CREATE TRIGGER {name}_is_noted AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON trading_{name}
    FOR EACH STATEMENT EXECUTE FUNCTION trading_note_terms();
"""


class Migration(migrations.Migration):
    dependencies = [("trading", "0007_staff_lists")]

    operations = [
        migrations.AddField(
            model_name="priceclock",
            name="terms_version",
            field=models.UUIDField(db_default=django.contrib.postgres.functions.RandomUUID(), editable=False),
        ),
        migrations.RunSQL(
            FUNCTION + "".join(TRIGGER.format(name=name) for name in TABLES),
            "".join(f"DROP TRIGGER {name}_is_noted ON trading_{name};" for name in TABLES)
            + "DROP FUNCTION trading_note_terms();",
        ),
    ]
