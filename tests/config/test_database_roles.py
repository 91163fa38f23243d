"""The running desk can't touch history, nor give itself the right to; and who only reads sees no secrets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from decimal import Decimal
from io import StringIO

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from config.database import checks, roles
from config.database.access import READER, RUNTIME, SECRET_COLUMNS, SECRET_TABLES, TABLES, Access
from core import audit
from core.audit import Actor
from core.models import JobRun
from tests import database
from tests.cast import make_client
from tests.database import Clone
from tests.trading import prices
from tests.trading.calls import place

DENIED = "42501"
HISTORY = [table for table, access in TABLES.items() if access is Access.APPEND]
PURGED = [table for table, access in TABLES.items() if access is Access.PURGE]
NEVER_DELETED = [table for table, access in TABLES.items() if "DELETE" not in access.privileges]

#: What a thief of the desk's password would try first, to be rid of what stands in the way.
POWERS = (
    "SET session_replication_role = replica",
    "SELECT set_config('session_replication_role', 'replica', false)",
    "SELECT test_seed.restore()",
    "CREATE TABLE public.mine (id int)",
    "CREATE TEMP TABLE mine (id int)",
    "CREATE SCHEMA mine",
    "CREATE FUNCTION public.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE ROLE mine",
    "CREATE DATABASE mine",
    f"ALTER ROLE {RUNTIME} SUPERUSER",
    "ALTER ROLE postgres PASSWORD 'mine'",
    "SET ROLE postgres",
    f"GRANT pg_write_all_data TO {RUNTIME}",
    "CREATE OR REPLACE FUNCTION desk_refuse_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    "DROP FUNCTION public.desk_refuse_change() CASCADE",
    "SELECT setval('wallets_number_seq', 1)",
    "ALTER SEQUENCE wallets_number_seq RESTART",
    "COPY wallets_entry TO PROGRAM 'cat'",
    "SELECT pg_read_file('PG_VERSION')",
)


@pytest.fixture
def installation(committed_db: Clone) -> Iterator[psycopg.Connection]:
    """
    The desk's own log-in to a database with history in it, where nothing has changed in the end.

    It goes past whoever lends sessions: a lender logs in as whom it likes.
    """
    client = make_client(margin=Decimal("1000.00"))
    prices.open_market()
    assert place(client, symbol="EURUSD", side="BUY", volume="0.10").status_code == 201
    with transaction.atomic():
        audit.record("tests.row.written", actor=Actor.system(), owner=client.user.pk, subject=client.cash)
    connection.close()
    with psycopg.connect(committed_db.direct_url, autocommit=True) as superuser:
        # Rights on a database are not copied with it.
        superuser.execute(f"REVOKE TEMPORARY ON DATABASE {committed_db.name} FROM PUBLIC")
        before = fingerprints(superuser)
        assert {"wallets_entry", "wallets_ledgertransaction", "trading_deal", "core_auditevent"} <= before.keys()
        with psycopg.connect(database.with_user(committed_db.direct_url, RUNTIME), autocommit=True) as desk:
            yield desk
        assert fingerprints(superuser) == before


def fingerprints(session: psycopg.Connection) -> dict[str, str]:
    """What every table that holds something holds."""
    found = {}
    for table in TABLES:
        row = session.execute(f"SELECT md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {table} t").fetchone()
        if row is not None and row[0] is not None:
            found[table] = row[0]
    return found


def not_refused(session: psycopg.Connection, statements: Iterable[str]) -> list[str]:
    """The statements that are answered with anything else than a denial."""
    found, tried = [], list(statements)
    assert tried
    for statement in tried:
        try:
            session.execute(statement)
            found.append(statement)
        except psycopg.Error as error:
            if error.sqlstate != DENIED:
                found.append(f"{statement}: {error.sqlstate} {error}")
    return found


def columns(session: psycopg.Connection, table: str) -> list[str]:
    listed = session.execute(
        "SELECT quote_ident(attname) FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0", [table]
    )
    return [name for (name,) in listed]


# --- The table of access ----------------------------------------------------------------------------------------------


def test_every_table_is_classified(db: None) -> None:
    """A table that is new gets its place in `config/database/access.py` with its migration."""
    assert sorted(TABLES) == sorted(connection.introspection.table_names())
    assert set(TABLES) >= SECRET_TABLES | SECRET_COLUMNS.keys()


def test_what_a_trigger_refuses_is_not_given(db: None) -> None:
    """Two locks on one door: neither may be left open because there is the other."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.relname, kind.privilege"
            "  FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_proc p ON p.oid = t.tgfoid"
            "  JOIN (VALUES ('UPDATE', 16), ('DELETE', 8)) AS kind (privilege, bit) ON t.tgtype & kind.bit > 0"
            " WHERE p.proname = 'desk_refuse_change' AND t.tgtype & 1 = 0"
        )
        refused = set(cursor.fetchall())
    assert len(refused) > 20
    assert [(table, privilege) for table, privilege in refused if privilege in TABLES[table].privileges] == []


# --- What the desk may not --------------------------------------------------------------------------------------------


def test_the_desk_cannot_change_history(installation: psycopg.Connection) -> None:
    desk = installation
    updates = [f"UPDATE {table} SET {column} = {column}" for table in HISTORY for column in columns(desk, table)]
    deletes = [f"DELETE FROM {table}" for table in NEVER_DELETED]
    assert not_refused(desk, [*updates, *deletes]) == []


def test_the_desk_only_locks_and_forgets_what_is_kept_for_a_while(installation: psycopg.Connection) -> None:
    desk = installation
    for table in PURGED:
        names = columns(desk, table)
        changed = [name for name in names if not_refused(desk, [f"UPDATE {table} SET {name} = {name} WHERE false"])]
        assert len(changed) == 1, (table, changed)
        desk.execute(f"SELECT FROM {table} FOR UPDATE")


def test_the_desk_cannot_empty_alter_or_drop_a_table(installation: psycopg.Connection) -> None:
    kinds = (
        "TRUNCATE {}",
        "TRUNCATE {} CASCADE",
        "ALTER TABLE {} DISABLE TRIGGER ALL",
        "ALTER TABLE {} ADD COLUMN mine int",
        "ALTER TABLE {} OWNER TO " + RUNTIME,
        "CREATE TRIGGER mine BEFORE INSERT ON {} FOR EACH ROW EXECUTE FUNCTION desk_refuse_change()",
        "CREATE RULE mine AS ON UPDATE TO {} DO INSTEAD NOTHING",
        "DROP TABLE {} CASCADE",
    )
    assert not_refused(installation, [kind.format(table) for table in TABLES for kind in kinds]) == []


def test_the_desk_cannot_get_at_more_rights(installation: psycopg.Connection) -> None:
    assert not_refused(installation, POWERS) == []
    # A right that one does not have can't be given: that is a warning, and nothing else.
    for table in ("wallets_entry", "core_auditevent"):
        installation.execute(f"GRANT ALL ON {table} TO {RUNTIME}")
    assert not_refused(installation, ["UPDATE wallets_entry SET amount = 0", "DELETE FROM core_auditevent"]) == []


def test_the_desk_starts_with_the_options_that_it_cannot_send(installation: psycopg.Connection) -> None:
    """As behind PgBouncer, where a session is somebody else's until it is ours."""
    names = roles.session_options(RUNTIME)
    shown = {name: installation.execute(f"SHOW {name}").fetchone() for name in names}
    with connection.cursor() as cursor:
        sent = {}
        for name in names:
            cursor.execute(f"SHOW {name}")
            sent[name] = cursor.fetchone()
    assert shown == sent


def test_who_reads_sees_no_secrets_and_writes_nothing(installation: psycopg.Connection, committed_db: Clone) -> None:
    with closing(psycopg.connect(database.with_user(committed_db.direct_url, READER), autocommit=True)) as reader:
        assert reader.execute("SELECT count(*) > 0 FROM wallets_entry").fetchone() == (True,)
        assert reader.execute("SELECT count(email) > 0 FROM accounts_user").fetchone() == (True,)
        assert reader.execute("SHOW transaction_read_only").fetchone() == ("on",)
        reader.execute("SET default_transaction_read_only = off")
        secrets = [f"SELECT FROM {table}" for table in SECRET_TABLES]
        secrets += [f"SELECT {name} FROM {table}" for table, names in SECRET_COLUMNS.items() for name in names]
        writes = [f"INSERT INTO {table} DEFAULT VALUES" for table in TABLES]
        writes += [f"DELETE FROM {table}" for table in TABLES] + [f"TRUNCATE {table}" for table in TABLES]
        assert not_refused(reader, [*secrets, *writes, *POWERS]) == []


# --- The command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def owner(db: None) -> Iterator[CursorWrapper]:
    """Somebody who may give rights, in a transaction that nobody else will ever see."""
    with database.as_owner() as cursor:
        yield cursor


def define(**options: object) -> list[str]:
    out = StringIO()
    call_command("define_database_roles", stdout=out, **options)
    return out.getvalue().splitlines()


def test_the_command_takes_back_what_was_given(owner: CursorWrapper) -> None:
    define()
    given = (
        f"GRANT UPDATE, TRUNCATE ON wallets_entry TO {RUNTIME}",
        f"GRANT UPDATE (price) ON trading_deal TO {RUNTIME}",
        f"GRANT SELECT ON wallets_wallet TO {READER} WITH GRANT OPTION",
        f"GRANT UPDATE ON trading_quotetick TO {RUNTIME}",
        "GRANT DELETE ON core_auditevent TO PUBLIC",
        "GRANT CREATE ON SCHEMA public TO PUBLIC",
        f"GRANT UPDATE ON SEQUENCE wallets_number_seq TO {RUNTIME}",
        f"GRANT pg_write_all_data TO {RUNTIME}",
        f"ALTER ROLE {RUNTIME} CREATEROLE",
        f"ALTER ROLE {RUNTIME} SET statement_timeout TO 0",
        f"REVOKE INSERT ON wallets_entry FROM {RUNTIME}",
        f"GRANT pg_monitor TO {READER}",
    )
    for statement in given:
        owner.execute(statement)
    found = roles.powers_beyond(RUNTIME)
    assert {"CREATEROLE", "CREATE in the schema", "UPDATE on wallets_entry", "DELETE on core_auditevent"} <= set(found)
    assert "DELETE on wallets_transfer" in found

    assert "membership in pg_write_all_data" in found

    told = define(dry_run=True)
    assert roles.powers_beyond(RUNTIME) == found
    assert f'ALTER ROLE "{RUNTIME}" SET "statement_timeout" TO \'5000\';' in told
    assert len(told) - 2 == int(told[-2].removeprefix("statements: ")) >= len(given)

    assert define()[0] == f"statements: {len(told) - 1}"  # one more for the column of a table
    assert roles.powers_beyond(RUNTIME) == []
    assert roles.statements() == []
    assert define() == ["statements: 0", "passwords: 0"]
    owner.execute("SELECT pg_has_role(%s, 'pg_monitor', 'MEMBER')", [READER])
    assert owner.fetchone() == (True,)  # which leads to figures about the server, and nowhere else


def test_a_new_table_is_nobodys_until_it_is_classified(owner: CursorWrapper) -> None:
    define()
    owner.execute("CREATE TABLE novel (id int)")
    owner.execute(f"SELECT has_table_privilege('{RUNTIME}', 'novel', 'SELECT')")
    assert owner.fetchone() == (False,)
    assert roles.statements() == []


def test_a_password_reaches_the_server_as_its_verifier(owner: CursorWrapper, settings: object) -> None:
    settings.DATABASE_RUNTIME_PASSWORD = "correct horse battery staple"  # type: ignore[attr-defined]
    said: list[str] = []

    def listen(execute: object, sql: str, params: object, many: bool, context: object) -> object:
        said.append(f"{sql} {params}")
        return execute(sql, params, many, context)  # type: ignore[operator]

    with connection.execute_wrapper(listen):
        assert define()[-1] == "passwords: 1"
    assert [text for text in said if "PASSWORD" in text]
    assert [text for text in said if "correct horse" in text] == []
    owner.execute("SELECT rolpassword FROM pg_authid WHERE rolname = %s", [RUNTIME])
    ((kept,),) = owner.fetchall()
    assert kept.startswith("SCRAM-SHA-256$")


def test_only_the_owner_gives_rights(db: None) -> None:
    with pytest.raises(CommandError, match=f"{RUNTIME} does not own all tables"):
        define()
    assert JobRun.objects.get(name="define_database_roles").status == JobRun.Status.FAILED


def test_an_owner_who_may_not_make_roles_is_told_what_to_do(owner: CursorWrapper) -> None:
    owner.execute("CREATE ROLE plain")
    owner.execute("GRANT postgres TO plain")  # owns what the superuser owns, and is none
    owner.execute(f"ALTER ROLE {RUNTIME} SET statement_timeout TO 0")
    owner.execute("SET ROLE plain")
    with pytest.raises(CommandError, match="an administrator can run what --dry-run prints"):
        define()


# --- An installation is told ------------------------------------------------------------------------------------------


def test_an_installation_whose_desk_may_rewrite_history_is_warned(db: None) -> None:
    check = checks.check_the_desk_is_not_the_owner
    assert check(databases=["default"]) == []
    with database.as_owner():
        (warning,) = check(databases=["default"])
        assert check(databases=None) == []
    assert warning.id == "database.W001"
    assert "which has SUPERUSER" in warning.msg
