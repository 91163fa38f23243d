"""An account says whose leverage caps apply to it; one that was opened before anybody asked has the strictest."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0003_account_numbers"),
    ]

    operations = [
        migrations.AddField(
            model_name="tradingaccount",
            name="jurisdiction",
            field=models.CharField(
                db_default="ESMA",
                default="ESMA",
                help_text="Whose leverage caps apply, by the country its owner lives in.",
                max_length=16,
            ),
        ),
    ]
