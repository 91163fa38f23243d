"""Databases for measurements: migrated like any other, on a server of their own, and dropped afterwards."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator

import psycopg
from psycopg import sql

from scripts import embedded_postgres, environment

CLUSTER = environment.VAR / "postgres-bench"

SETTINGS = {"DJANGO_SETTINGS_MODULE": "config.settings", "INSECURE_HTTP": "true", "LOG_LEVEL": "ERROR"}


@contextlib.contextmanager
def server() -> Iterator[str]:
    """A PostgreSQL with durable commits and Django set up to use it; the superuser's URL."""
    environment.install(environment.fresh_secrets())
    for name, value in (environment.DEMO | SETTINGS).items():
        os.environ.setdefault(name, value)
    with embedded_postgres.use(CLUSTER, durable=True) as hold:
        environment.install({"DATABASE_URL": hold.url(embedded_postgres.SUPERUSER)})
        import django

        django.setup()
        yield hold.url(embedded_postgres.SUPERUSER)


@contextlib.contextmanager
def database(server_url: str, label: str) -> Iterator[str]:
    """An empty, migrated database that Django talks to inside the block; its name."""
    from django.core.management import call_command
    from django.db import connection

    name = f"bench_{os.getpid()}_{secrets.token_hex(3)}_{label}"
    with psycopg.connect(server_url, autocommit=True) as session:
        session.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
    try:
        with connected_to(name):
            call_command("migrate", verbosity=0, interactive=False)
            yield name
    finally:
        connection.close()
        with psycopg.connect(server_url, autocommit=True) as session:
            session.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@contextlib.contextmanager
def connected_to(name: str) -> Iterator[None]:
    """Django's connection is to this database inside the block."""
    from django.db import connection

    connection.close()
    before, connection.settings_dict["NAME"] = connection.settings_dict["NAME"], name
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict["NAME"] = before
