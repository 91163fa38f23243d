"""The triggers that make the ledger append-only, zero-sum and whole."""

from pathlib import Path

from django.db import migrations

SQL = Path(__file__).resolve().parent.parent / "sql"


class Migration(migrations.Migration):
    dependencies = [("wallets", "0001_initial"), ("core", "0002_append_only_audit")]

    operations = [
        migrations.RunSQL(
            (SQL / "judge_entries.sql").read_text() + (SQL / "guards.sql").read_text(),
            (SQL / "guards_drop.sql").read_text(),
        )
    ]
