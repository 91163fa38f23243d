"""What was found and said stays; and every stream has its place, at the beginning."""

from pathlib import Path
from uuid import UUID

from django.db import migrations

SQL = Path(__file__).resolve().parent.parent / "sql"
STREAMS = ("DEPOSITS", "WITHDRAWALS", "LIVE_WALLETS", "BANK_ACCOUNTS", "ADDRESSES", "TRANSFERS")


def open_streams(apps, schema_editor):
    AlertCursor = apps.get_model("alerts", "AlertCursor")
    AlertCursor.objects.bulk_create([AlertCursor(stream=stream, position=UUID(int=0)) for stream in STREAMS])


class Migration(migrations.Migration):
    dependencies = [("alerts", "0001_initial"), ("core", "0004_client_addresses"), ("wallets", "0006_live_deposits")]

    operations = [
        migrations.RunPython(open_streams, migrations.RunPython.noop),
        migrations.RunSQL((SQL / "guards.sql").read_text(), (SQL / "guards_drop.sql").read_text()),
    ]
