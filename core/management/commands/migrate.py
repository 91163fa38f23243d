"""Django's own, but for the time a statement may take: an index on millions of rows takes longer than a request may."""

from __future__ import annotations

from typing import Any

from django.core.management.commands import migrate
from django.db import connections


class Command(migrate.Command):
    def handle(self, *args: Any, database: str, **options: Any) -> None:
        """
        Migrate without a limit on statements; that on waiting for locks stays, so that nobody queues up behind.

        The limit is lifted as the session starts. Behind PgBouncer, which passes no such options on, it is the role's.
        """
        connection = connections[database]
        session = connection.settings_dict["OPTIONS"]
        before = session.get("options")
        if before is None:
            super().handle(*args, database=database, **options)
            return
        connection.close()
        session["options"] = f"{before} -c statement_timeout=0"
        try:
            super().handle(*args, database=database, **options)
        finally:
            session["options"] = before
            connection.close()
