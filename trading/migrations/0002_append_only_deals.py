"""Deals can only be added; position numbers come from one sequence."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("trading", "0001_initial"), ("core", "0002_append_only_audit")]

    operations = [
        migrations.RunSQL(
            "CREATE TRIGGER deal_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON trading_deal"
            " FOR EACH STATEMENT EXECUTE FUNCTION desk_refuse_change();"
            "CREATE SEQUENCE trading_position_number_seq AS bigint START 70000001;",
            "DROP TRIGGER deal_is_append_only ON trading_deal; DROP SEQUENCE trading_position_number_seq;",
        )
    ]
