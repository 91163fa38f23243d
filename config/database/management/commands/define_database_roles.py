"""Make the database's roles what the table of access says; to be run by the owner after every migration."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import ProgrammingError

from config.database import roles
from config.database.access import READER, RUNTIME
from core import db
from core.commands import DeskCommand, JobFailed

INSUFFICIENT_PRIVILEGE = "42501"


class Command(DeskCommand):
    help = (
        f"Give {RUNTIME} and {READER} what they need and take back everything else, as the owner of the tables;"
        " --dry-run prints the SQL instead. DATABASE_RUNTIME_PASSWORD and DATABASE_READER_PASSWORD, or files that hold"
        " them, become the roles' passwords."
    )
    has_dry_run = True

    def run(self, *, dry_run: bool, **_: Any) -> dict[str, Any]:
        try:
            return self._preview() if dry_run else self._define()
        except roles.NotTheOwner as error:
            raise JobFailed(str(error)) from error
        except ProgrammingError as error:
            if db.sqlstate(error) != INSUFFICIENT_PRIVILEGE:
                raise
            said = str(error).splitlines()[0]
            raise JobFailed(
                f"{said}: an administrator can run what --dry-run prints, or give this role CREATEROLE"
            ) from error

    def _preview(self) -> dict[str, Any]:
        missing = roles.statements()
        for statement in missing:
            self.stdout.write(f"{statement};")
        return {"statements": len(missing), "passwords": 0}

    def _define(self) -> dict[str, Any]:
        done = roles.define()
        passwords = {RUNTIME: settings.DATABASE_RUNTIME_PASSWORD, READER: settings.DATABASE_READER_PASSWORD}
        given = {role: password for role, password in passwords.items() if password}
        for role, password in given.items():
            roles.set_password(role, password)
        counts = {"statements": len(done), "passwords": len(given)}
        if left := roles.statements():
            # The server only warns of what somebody else has given, and what is therefore theirs to take back.
            raise JobFailed(f"{len(left)} statements had no effect, such as {left[0]}", counts)
        return counts
