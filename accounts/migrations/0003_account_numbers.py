"""Account numbers come from one sequence per environment, so that a demo number is never mistaken for a live one."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("accounts", "0002_links_to_wallets")]

    operations = [
        migrations.RunSQL(
            "CREATE SEQUENCE accounts_number_live_seq AS bigint START 1000001;"
            "CREATE SEQUENCE accounts_number_demo_seq AS bigint START 5000001;",
            "DROP SEQUENCE accounts_number_live_seq; DROP SEQUENCE accounts_number_demo_seq;",
        )
    ]
