"""A migrated desk for one measurement: its own database on the tests' server, gone afterwards."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from scripts import environment
from tests import database


@contextmanager
def desk(label: str) -> Iterator[database.Clone]:
    """Set Django up on a fresh database, and let commands that are started from here find it too."""
    with tempfile.TemporaryDirectory(prefix="desk-bench-") as scratch:
        environment.install(environment.fresh_secrets())
        environment.install(
            {
                "DJANGO_SETTINGS_MODULE": "config.settings",
                "INSECURE_HTTP": "true",
                "PAYMENT_PROVIDER": "sandbox",
                "LOG_LEVEL": "ERROR",
                "ALLOWED_HOSTS": "testserver",
                "LEDGER_SEAL_DIR": scratch,
            }
        )
        hold = database.start_cluster()
        os.environ["DATABASE_URL"] = hold.url("desk")
        try:
            clone = _set_up(label)
            try:
                yield clone
            finally:
                _close_connections()
                clone.drop()
        finally:
            hold.release()


def _set_up(label: str) -> database.Clone:
    import django
    from django.core.management import call_command
    from django.db import connection

    django.setup()

    def migrate(name: str) -> None:
        connection.settings_dict["NAME"] = name
        call_command("migrate", verbosity=0, interactive=False)
        connection.close()

    clone = database.clone_template(os.environ["DATABASE_URL"], migrate, label=label, rebuild=False)
    connection.settings_dict["NAME"] = clone.name
    os.environ["DATABASE_URL"] = clone.url
    return clone


def _close_connections() -> None:
    from django.db import connections

    connections.close_all()
