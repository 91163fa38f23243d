"""A client has a number to say on the telephone; whoever is inserted from here on gets theirs with the row."""

from django.db import migrations, models

import accounts.models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0009_verification_queue"),
        ("wallets", "0003_house_wallets"),  # the house is there before numbers are given out, and gets none
    ]

    operations = [
        migrations.RunSQL(
            "CREATE SEQUENCE accounts_client_number_seq AS bigint START 10000001;",
            "DROP SEQUENCE accounts_client_number_seq;",
        ),
        # In two steps: a column that is added with its default is computed for every row there is, under a lock.
        migrations.AddField(
            model_name="user",
            name="number",
            field=models.CharField(max_length=20, null=True, help_text="What a client says on the telephone."),
        ),
        migrations.AlterField(
            model_name="user",
            name="number",
            field=models.CharField(
                db_default=accounts.models.NextClientNumber(),
                help_text="What a client says on the telephone.",
                max_length=20,
                null=True,
            ),
        ),
    ]
