"""Django's own, but for the time a statement may take: an index on millions of rows takes longer than a request may."""

from __future__ import annotations

from typing import Any

from django.core.management.commands import migrate
from django.db import connections

_SET_SQL = "SELECT current_setting('statement_timeout'), set_config('statement_timeout', %s, false)"


class Command(migrate.Command):
    def handle(self, *args: Any, database: str, **options: Any) -> None:
        """Migrate without a limit on statements; that on waiting for locks stays, so that nobody queues up behind."""
        before = self._limit(database, "0")
        try:
            super().handle(*args, database=database, **options)
        finally:
            self._limit(database, before)

    @staticmethod
    def _limit(database: str, milliseconds: str) -> str:
        """Set the session's limit, and return what it was."""
        with connections[database].cursor() as cursor:
            cursor.execute(_SET_SQL, [milliseconds])
            ((before, _),) = cursor.fetchall()
        return str(before)
