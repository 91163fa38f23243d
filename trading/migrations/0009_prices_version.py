"""A change of the latest prices says so, in its own transaction, to every process that keeps them."""

import django.contrib.postgres.functions
from django.db import migrations, models

# Random and not counted, as the terms' version is; and of its own, since corrections of a price are no batches.
FORWARDS = """
CREATE FUNCTION trading_note_prices() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE trading_priceclock SET prices_version = gen_random_uuid() WHERE id = 1;
    RETURN NULL;
END
$$;
CREATE TRIGGER quote_is_noted AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON trading_quote
    FOR EACH STATEMENT EXECUTE FUNCTION trading_note_prices();
"""
BACKWARDS = "DROP TRIGGER quote_is_noted ON trading_quote; DROP FUNCTION trading_note_prices();"


class Migration(migrations.Migration):
    dependencies = [("trading", "0008_terms_version")]

    operations = [
        migrations.AddField(
            model_name="priceclock",
            name="prices_version",
            field=models.UUIDField(db_default=django.contrib.postgres.functions.RandomUUID(), editable=False),
        ),
        migrations.RunSQL(FORWARDS, BACKWARDS),
    ]
