"""Migrated desks for measurements: databases of their own on the tests' server, gone afterwards."""

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
    with server() as url, clone(url, label) as made:
        yield made


@contextmanager
def server() -> Iterator[str]:
    """Set Django up for databases on the tests' server, whose URL this is."""
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
            import django

            django.setup()
            yield os.environ["DATABASE_URL"]
        finally:
            hold.release()


@contextmanager
def clone(server_url: str, label: str) -> Iterator[database.Clone]:
    """A migrated database that Django and everything started from here talks to, until the next one or the end."""
    from django.db import connection

    connection.close()
    made = database.clone_template(server_url, label=label)
    try:
        turn_to(made)
        yield made
    finally:
        _close_connections()
        made.drop()


def turn_to(made: database.Clone) -> None:
    """Let Django, and what is started from here, talk to this database from now on."""
    from django.db import connection

    connection.close()
    connection.settings_dict["NAME"] = made.name
    os.environ["DATABASE_URL"] = made.desks_url


def _close_connections() -> None:
    from django.db import connections

    connections.close_all()
