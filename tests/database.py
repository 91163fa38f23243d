"""
The tests' databases: one template, migrated once and kept, and one clone of it per test process.

A test that commits is cleaned up after by `Clone.restore`, which puts back the rows that migrations inserted. Only a
superuser may run it: the append-only triggers refuse everybody else's DELETE and TRUNCATE.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
from django.db.backends.utils import CursorWrapper
from psycopg import sql
from psycopg.conninfo import make_conninfo

from config.database.access import RUNTIME
from scripts import embedded_postgres

ROOT = Path(__file__).resolve().parent.parent
CLUSTER = ROOT / "var" / "postgres-test"
SESSIONS_END_SECONDS_MAX = 2.0  # what a request may still need to finish after its test

SNAPSHOT = """
CREATE SCHEMA test_seed;

-- Of each table: the rows to put back, how many they are, and the last transaction that may have made one of them.
CREATE TABLE test_seed.tables AS
SELECT c.oid::regclass AS name,
       NULL::text AS seed,
       0::bigint AS rows,
       pg_current_xact_id()::xid::text::bigint AS made_by,
       (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum)
          FROM pg_attribute a
         WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '') AS columns
  FROM pg_class c
 WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace
   AND c.relname NOT IN ('django_migrations', 'django_content_type', 'auth_permission');

CREATE TABLE test_seed.sequences AS
SELECT c.oid::regclass AS name, pg_sequence_last_value(c.oid) AS value, s.seqstart AS start
  FROM pg_class c JOIN pg_sequence s ON s.seqrelid = c.oid
 WHERE c.relnamespace = 'public'::regnamespace
   AND NOT EXISTS (SELECT FROM pg_depend d
                    WHERE d.objid = c.oid AND d.refobjid IN (SELECT t.oid FROM pg_class t WHERE t.relname IN
                          ('django_migrations', 'django_content_type', 'auth_permission')));

DO $$
DECLARE
    t record;
    count bigint;
BEGIN
    FOR t IN SELECT name, columns FROM test_seed.tables LOOP
        EXECUTE format('SELECT count(*) FROM %s', t.name) INTO count;
        IF count > 0 THEN
            EXECUTE format('CREATE TABLE test_seed.%I AS SELECT %s FROM %s', 'copy_' || t.name::oid, t.columns, t.name);
            UPDATE test_seed.tables SET seed = format('test_seed.%I', 'copy_' || t.name::oid), rows = count
             WHERE name = t.name;
        END IF;
    END LOOP;
END $$;

-- As a replica a session fires no ordinary trigger: neither the append-only ones nor those of foreign keys.
CREATE FUNCTION test_seed.restore() RETURNS void LANGUAGE plpgsql SET session_replication_role = replica AS $$
DECLARE
    t record;
    is_changed boolean;
    changed regclass[] := '{}';
    large text[] := '{}';
BEGIN
    -- A table with as many rows as it had, none of them made since, is as it was. Of a small one only what was made
    -- since is deleted; a large one is truncated.
    FOR t IN SELECT name, rows, made_by FROM test_seed.tables LOOP
        IF pg_relation_size(t.name) > 256 * 1024 THEN
            EXECUTE format('SELECT EXISTS (SELECT FROM %s)', t.name) INTO is_changed;
            IF is_changed THEN
                large := large || t.name::text;
            END IF;
        ELSE
            EXECUTE format('SELECT count(*) <> $1 OR max(xmin::text::bigint) > $2 FROM %s', t.name)
               INTO is_changed USING t.rows, t.made_by;
            IF is_changed THEN
                EXECUTE format('DELETE FROM %s WHERE xmin::text::bigint > $1', t.name) USING t.made_by;
                changed := changed || t.name;
            END IF;
        END IF;
    END LOOP;
    IF large <> '{}' THEN
        EXECUTE format('TRUNCATE %s CASCADE', array_to_string(large, ', '));
        FOR t IN SELECT name FROM test_seed.tables WHERE seed IS NOT NULL AND name <> ALL (changed) LOOP
            EXECUTE format('SELECT NOT EXISTS (SELECT FROM %s)', t.name) INTO is_changed;
            IF is_changed THEN
                changed := changed || t.name;
            END IF;
        END LOOP;
    END IF;
    FOR t IN SELECT name, seed, columns FROM test_seed.tables WHERE seed IS NOT NULL AND name = ANY (changed) LOOP
        EXECUTE format('INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE SELECT %s FROM %s ON CONFLICT DO NOTHING',
                       t.name, t.columns, t.columns, t.seed);
    END LOOP;
    UPDATE test_seed.tables SET made_by = pg_current_xact_id()::xid::text::bigint WHERE name = ANY (changed);
    PERFORM setval(s.name, coalesce(s.value, s.start), s.value IS NOT NULL)
       FROM test_seed.sequences s
      WHERE pg_sequence_last_value(s.name) IS DISTINCT FROM s.value;
END $$;
"""


class Clone:
    """One test process's own database: how tests reach it, and how to go past what lends them its sessions."""

    def __init__(self, server_url: str, name: str) -> None:
        self.name = name
        self.url = self.direct_url = with_database(server_url, name)  # for tests and their tools, who may do everything
        self.desks_url = with_user(self.url, RUNTIME)  # for processes that are the desk; the server asks no password
        self._server_url = server_url
        self._session: psycopg.Connection | None = None

    def restore(self) -> None:
        """
        Make the database what it was after the migrations.

        :raises AssertionError: if the test left a session in the middle of something; it is ended first
        """
        if self._session is None:
            self._session = psycopg.connect(self.direct_url, autocommit=True, application_name="test restore")
        busy = self._end_busy_sessions(self._session)
        self._session.execute("SELECT test_seed.restore()")
        assert not busy, f"the test left sessions at work: {busy}"

    @contextlib.contextmanager
    def kept(self) -> Iterator[Callable[[], None]]:
        """Keep what is committed now; what is yielded makes the database that again, as often as it is called."""
        with psycopg.connect(self.direct_url, autocommit=True, application_name="test restore") as session:
            session.execute(SNAPSHOT.replace("test_seed", "test_kept"))

            def restore() -> None:
                session.execute("SELECT test_kept.restore()")

            try:
                yield restore
            finally:
                session.execute("DROP SCHEMA test_kept CASCADE")

    def drop(self) -> None:
        if self._session is not None:
            self._session.close()
        with _maintenance(self._server_url) as server:
            server.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(self.name)))

    @staticmethod
    def _end_busy_sessions(session: psycopg.Connection) -> list[tuple[str, str]]:
        others = """
              FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid()
               AND backend_type = 'client backend' AND state <> 'idle'
        """
        deadline = time.monotonic() + SESSIONS_END_SECONDS_MAX
        while busy := session.execute(f"SELECT state, query {others}").fetchall():
            if time.monotonic() > deadline:
                session.execute(f"SELECT pg_terminate_backend(pid, 1000) {others}")
                return busy
            time.sleep(0.01)
        return []


def clone_template(server_url: str, *, label: str, rebuild: bool = False) -> Clone:
    """Clone the template for this process; make it first if the schema's sources changed since it was made."""
    template = f"template_{_schema_hash()}"
    clone = Clone(server_url, f"test_{os.getpid()}_{secrets.token_hex(3)}_{label}")
    CLUSTER.parent.mkdir(exist_ok=True)
    with (CLUSTER.parent / "test-template.lock").open("w") as lock, _maintenance(server_url) as server:
        fcntl.flock(lock, fcntl.LOCK_EX)
        names = {name for (name,) in server.execute("SELECT datname FROM pg_database").fetchall()}
        for name in sorted(names):
            if _is_abandoned(name):
                server.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        if rebuild or template not in names:
            _build_template(server, server_url, template)
        server.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(clone.name), sql.Identifier(template))
        )
    return clone


def become_the_desk() -> None:
    """
    Give Django's sessions from now on the rights of the running desk, and no more.

    It logs in as it did and lays its own rights down, so that a test which has to break what the desk can't break may
    take them up again within its transaction: see `as_owner`.
    """
    from django.db import connection

    connection.close()
    connection.settings_dict["OPTIONS"]["assume_role"] = RUNTIME


@contextlib.contextmanager
def as_owner() -> Iterator[CursorWrapper]:
    """Give Django's session back for the block what it laid down: for what only a superuser can do."""
    from django.db import connection

    laid_down = "assume_role" in connection.settings_dict["OPTIONS"]
    with connection.cursor() as cursor:
        if laid_down:
            cursor.execute("SET ROLE NONE")
        yield cursor
        if laid_down:
            cursor.execute(f"SET ROLE {RUNTIME}")  # after an error the rollback has done it


@contextlib.contextmanager
def unguarded() -> Iterator[CursorWrapper]:
    """As `as_owner`, with every trigger and foreign key asleep: for rows that the desk can't have."""
    with as_owner() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # what still has to be checked is checked before they sleep
        cursor.execute("SET session_replication_role = replica")
        yield cursor
        cursor.execute("SET session_replication_role = origin")


def with_database(url: str, name: str) -> str:
    """The same server's URL for another database."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def with_user(url: str, user: str) -> str:
    """The same database's URL for somebody else, who needs no password."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{user}@{parts.netloc.rpartition('@')[2]}"))


def _build_template(server: psycopg.Connection, server_url: str, template: str) -> None:
    for (name,) in server.execute("SELECT datname FROM pg_database WHERE datname LIKE 'template\\__%'").fetchall():
        if name not in {"template0", "template1"}:
            server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
    # Built under another name, so that a killed build is never taken for a template.
    building = f"template_building_{os.getpid()}"
    server.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(building)))
    _migrate(building)
    with psycopg.connect(with_database(server_url, building), autocommit=True) as session:
        session.execute(SNAPSHOT)
        session.execute("VACUUM ANALYZE")
    server.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(building), sql.Identifier(template)))


def _migrate(name: str) -> None:
    from django.core.management import call_command
    from django.db import connection

    from config.database import roles

    connection.settings_dict["NAME"] = name
    call_command("migrate", verbosity=0, interactive=False)
    roles.define()
    connection.close()


@contextlib.contextmanager
def _maintenance(server_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(make_conninfo(server_url, dbname="postgres"), autocommit=True) as connection:
        yield connection


def _is_abandoned(name: str) -> bool:
    """Whether a test database's process is gone; asked only of our own cluster, whose users are all on this machine."""
    kind, _, rest = name.partition("_")
    pid = rest.partition("_")[0]
    if kind != "test" or not pid.isdigit() or not (CLUSTER / "PG_VERSION").exists():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _schema_hash() -> str:
    """Changes with everything that a migrated database depends on."""
    sources = [ROOT / "requirements.txt", Path(__file__), ROOT / "config" / "settings.py"]
    sources += [ROOT / "config" / "database" / name for name in ("access.py", "roles.py")]
    for app in sorted(path.parent for room in ("*", "config/back_office/*") for path in ROOT.glob(f"{room}/apps.py")):
        for pattern in ("migrations/*.py", "**/*.sql", "models.py", "models/*.py"):
            sources += sorted(app.glob(pattern))
    digest = hashlib.sha256()
    for source in sources:
        content = source.read_bytes()
        digest.update(f"{source.relative_to(ROOT)} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()[:16]


def start_cluster() -> embedded_postgres.Hold:
    """The tests' own server; a commit there need not survive a power cut."""
    return embedded_postgres.use(CLUSTER, durable=False)
