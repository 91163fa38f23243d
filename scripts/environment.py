"""The environment that settings ask for, where nobody has set one: for the demo, for tests and for checks."""

from __future__ import annotations

import base64
import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import psycopg
from psycopg import sql

from config import secret_files
from config.database.access import OWNER, RUNTIME
from scripts import embedded_postgres, locks

ROOT = Path(__file__).resolve().parent.parent
VAR = Path(os.environ.get("DESK_VAR") or ROOT / "var").resolve()  # what a run keeps; tests give it another place
POSTGRES = VAR / "postgres"
SECRETS = VAR / "demo.env"
DATABASE = "desk"

#: A demo that was begun when the server's superuser did everything goes on under its owner; elsewhere it does nothing.
HAND_OVER = f"""
DO $$
DECLARE
    thing text;
BEGIN
    FOR thing IN
        SELECT format('%s %s', CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, c.oid::regclass)
          FROM pg_class c
         WHERE c.relkind IN ('r', 'S') AND c.relnamespace = 'public'::regnamespace
           AND c.relowner <> '{OWNER}'::regrole
           -- A column's own sequence goes with its table.
           AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                                                     AND d.deptype IN ('a', 'i') AND c.relkind = 'S')
         UNION ALL
        SELECT format('FUNCTION %s', p.oid::regprocedure)
          FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace AND p.proowner <> '{OWNER}'::regrole
         UNION ALL
        SELECT format('DATABASE %I', d.datname)
          FROM pg_database d WHERE d.datname = current_database() AND d.datdba <> '{OWNER}'::regrole
    LOOP
        EXECUTE format('ALTER %s OWNER TO {OWNER}', thing);
    END LOOP;
END $$
"""  # noqa: S608 - the name is ours

#: What a demo on one's own machine does differently from an installation: plain HTTP, money that arrives at once,
#: emails that are printed, and limits that let one person at one address play many. Guessing passwords stays slow.
#: Anything set outside wins.
DEMO = {
    "ALLOWED_HOSTS": "localhost,127.0.0.1,[::1]",
    "INSECURE_HTTP": "true",
    "PAYMENT_PROVIDER": "sandbox",
    "EMAIL_BACKEND": "django.core.mail.backends.console.EmailBackend",
    "THROTTLE_SIGNUP": "600/m",
    "THROTTLE_TOKEN": "600/m",
    "THROTTLE_MONEY": "60000/m",
    "DJANGO_SETTINGS_MODULE": "config.settings",
}


def fresh_secrets() -> dict[str, str]:
    """Every secret that settings have no default for."""
    return {
        "SECRET_KEY": secrets.token_urlsafe(48),
        "FIELD_ENCRYPTION_KEYS": base64.urlsafe_b64encode(os.urandom(32)).decode(),
        "FIELD_HASH_KEY": secrets.token_urlsafe(48),
        "PAYMENT_WEBHOOK_SECRET": secrets.token_urlsafe(48),
        "LEDGER_SEAL_KEY": secrets.token_hex(32),
    }


def install(values: dict[str, str]) -> None:
    """Put the values into this process's environment; a `NAME_FILE` beside them would win, so it goes."""
    for name, value in values.items():
        os.environ.pop(f"{name}_FILE", None)
        os.environ[name] = value


def install_demo() -> None:
    """Complete this process's environment for the demo, with secrets that are made once and kept in `var/demo.env`."""
    for name, value in (_kept_secrets() | DEMO).items():
        if f"{name}_FILE" not in os.environ:
            os.environ.setdefault(name, value)


@contextlib.contextmanager
def database() -> Iterator[None]:
    """
    A database for the block: the one that DATABASE_URL names, else the embedded server's, kept up for as long.

    :raises EmbeddedPostgresError: if the embedded server can't be started
    """
    if "DATABASE_URL" in os.environ or "DATABASE_URL_FILE" in os.environ:
        yield
        return
    with embedded_postgres.use(POSTGRES, durable=True) as hold:
        _make_database(hold)
        install(
            {
                "DATABASE_URL": hold.url(DATABASE, RUNTIME),
                "DATABASE_OWNER_URL": hold.url(DATABASE, OWNER),
                "DESK_POSTGRES": str(POSTGRES),
            }
        )
        yield


def owner_url() -> str | None:
    """Where the database is for whoever migrates it; None where the desk itself does."""
    return secret_files.Env().verbatim("DATABASE_OWNER_URL") or None


def _make_database(hold: embedded_postgres.Hold) -> None:
    """Make the database and its owner, who makes the other roles."""
    with psycopg.connect(hold.url(embedded_postgres.SUPERUSER), autocommit=True) as server:
        # Two commands may both find something missing; one of them makes it.
        if not server.execute("SELECT FROM pg_roles WHERE rolname = %s", [OWNER]).fetchall():
            with contextlib.suppress(psycopg.errors.DuplicateObject, psycopg.errors.UniqueViolation):
                server.execute(sql.SQL("CREATE ROLE {} LOGIN CREATEROLE").format(sql.Identifier(OWNER)))
        if not server.execute("SELECT FROM pg_database WHERE datname = %s", [DATABASE]).fetchall():
            with contextlib.suppress(psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
                make = sql.SQL("CREATE DATABASE {} OWNER {}")
                server.execute(make.format(sql.Identifier(DATABASE), sql.Identifier(OWNER)))
    with psycopg.connect(hold.url(DATABASE)) as session:
        session.execute(HAND_OVER)


def _kept_secrets() -> dict[str, str]:
    with locks.held(VAR / "demo.lock", locks.EXCLUSIVE, seconds=30) as is_held:
        assert is_held, "writing a small file takes no half minute"
        kept: dict[str, str] = {}
        if SECRETS.exists():
            lines = [line for line in SECRETS.read_text().splitlines() if line and not line.startswith("#")]
            kept = dict(line.split("=", 1) for line in lines)
        complete = fresh_secrets() | kept
        if complete != kept:
            partial = SECRETS.with_suffix(".partial")
            partial.unlink(missing_ok=True)
            handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "w") as file:
                file.write("# The demo's secrets, made once: without them its encrypted data can't be read.\n")
                file.writelines(f"{name}={value}\n" for name, value in complete.items())
            partial.replace(SECRETS)
        return complete
