"""Entries by when they were posted, in an index so small that writing to it is not felt."""

from django.conf import settings
from django.contrib.postgres.indexes import BrinIndex
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ("wallets", "0007_payment_reports"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        AddIndexConcurrently(
            model_name="entry",
            index=BrinIndex(autosummarize=True, fields=["posted_at"], name="entry_posted_at"),
        ),
    ]
