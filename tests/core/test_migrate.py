"""Migrations may take their time, and nothing after them may."""

from __future__ import annotations

from io import StringIO

from django.core.management import call_command
from django.db import connection
from django.db.backends.signals import connection_created

from tests.database import Clone


def limit() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SHOW statement_timeout")
        ((value,),) = cursor.fetchall()
    return str(value)


def test_only_migrations_run_without_a_limit_on_statements(committed_db: Clone) -> None:
    seen: list[str] = []

    def look(**_: object) -> None:
        seen.append(limit())

    connection_created.connect(look)
    try:
        call_command("migrate", verbosity=0, interactive=False, stdout=StringIO())
        assert set(seen) == {"0"}
        assert limit() == "5s"
    finally:
        connection_created.disconnect(look)
