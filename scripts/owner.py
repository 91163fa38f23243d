"""The part of getting ready that is the owner's: migrations, and what the desk may do to what they made."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO

from django.core.management import call_command
from django.db import connection

from config import secret_files
from config.database import roles
from config.database.access import RUNTIME
from scripts import environment


@contextmanager
def at_work() -> Iterator[None]:
    """Django's connection is the owner's for the block, if DATABASE_OWNER_URL names one, and then the desk's again."""
    url = environment.owner_url()
    if url is None:
        yield
        return
    desks = dict(connection.settings_dict)
    owners = secret_files.Env.db_url_config(url)
    names = ("NAME", "USER", "PASSWORD", "HOST", "PORT")
    connection.close()
    connection.settings_dict.update({name: owners[name] for name in names})
    connection.settings_dict["OPTIONS"] = desks["OPTIONS"] | owners.get("OPTIONS", {})
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict.update(desks)


def migrate() -> None:
    with at_work():
        call_command("migrate", interactive=False, verbosity=0)


def define_roles() -> None:
    """Where the desk is the owner, it has no other roles."""
    if environment.owner_url() is not None:
        with at_work():
            call_command("define_database_roles", verbosity=0, stdout=StringIO())


def warning() -> str | None:
    """What somebody who starts a desk should know about its role."""
    role = roles.current_role()
    if not roles.powers_beyond(role):
        return None
    return f"{role} could rewrite the ledger: give DATABASE_OWNER_URL as well, and DATABASE_URL of {RUNTIME}"
