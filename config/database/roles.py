"""The owner migrates; the desk runs as a role that can't touch history, and reports as one that only reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any, NamedTuple

from django.conf import settings
from django.db import connection, transaction
from psycopg import sql

from config.database.access import READER, RUNTIME, SECRET_COLUMNS, SECRET_TABLES, TABLES, Access

PUBLIC = "PUBLIC"
ROLES = (RUNTIME, READER)

#: What makes more of a role than its rights say, in the order in which it is asked for below.
ATTRIBUTES = ("SUPERUSER", "CREATEROLE", "CREATEDB", "REPLICATION", "BYPASSRLS")

#: What everybody has from the start, and may keep: without rights on tables it leads nowhere.
HARMLESS = frozenset({("SCHEMA", "USAGE"), ("DATABASE", "CONNECT")})


class Right(NamedTuple):
    """One privilege of one role on one thing; on one column of it, where that is named."""

    role: str
    kind: str
    on: str
    column: str
    privilege: str
    is_passed_on: bool = False  # with the right to give it to others: never wanted


class NotTheOwner(Exception):
    """Only who owns the tables gives rights on them."""


def define() -> list[str]:
    """
    Give the roles what the table of access says and take back everything else; what was done, as SQL.

    :raises NotTheOwner: if somebody else's tables are in the way
    """
    done = []
    with transaction.atomic(durable=True), connection.cursor() as cursor:
        # Twice, because a right that is taken back on a table is gone from its columns as well.
        for missing in (statements() for _ in range(2)):
            for statement in missing:
                cursor.execute(statement)
                done.append(statement)
    return done


def set_password(role: str, password: str) -> None:
    """Said as its verifier: neither the statement nor the server's log has the password."""
    connection.ensure_connection()
    verifier = connection.connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256")
    statement = sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), sql.Literal(verifier.decode()))
    with connection.cursor() as cursor:
        cursor.execute(_text(statement))


def statements() -> list[str]:
    """
    What has to be said to make the roles what they should be: nothing, where they are.

    :raises NotTheOwner: as `define`
    """
    _require_owner()
    actual, wanted = set(_actual_rights()), set(_wanted_rights())
    composed = [
        *_roles_to_make(),
        *_attributes_to_drop(),
        *_options_to_set(),
        *_said("REVOKE", "FROM", actual - wanted),
        *_said("GRANT", "TO", wanted - actual),
    ]
    return [_text(statement) for statement in composed]


def powers_beyond(role: str) -> list[str]:
    """What a role could do, by whatever way it came to it, that the running desk need not."""
    kept = [
        f"{privilege} on {table}"
        for table, privilege in _rows(
            "SELECT c.relname, p FROM pg_class c, unnest(%s::text[]) p WHERE c.relkind IN ('r', 'p')"
            "   AND c.relnamespace = 'public'::regnamespace AND has_table_privilege(%s, c.oid, p) ORDER BY 1, 2",
            [["INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"], role],
        )
        if privilege not in TABLES.get(table, Access.READ).privileges
    ]
    found = _rows(
        "SELECT r.rolsuper, r.rolcreaterole, has_schema_privilege(r.oid, 'public', 'CREATE'),"
        "       has_database_privilege(r.oid, current_database(), 'CREATE')"
        "  FROM pg_roles r WHERE r.rolname = %s",
        [role],
    )
    names = ("SUPERUSER", "CREATEROLE", "CREATE in the schema", "CREATE in the database")
    powers = [name for row in found for name, may in zip(names, row, strict=True) if may]
    powers += [f"membership in {group}" for group, _ in _rows(_MEMBERSHIPS_SQL, {"roles": [role]})]
    return powers + kept


def current_role() -> str:
    ((name,),) = _rows("SELECT current_user")
    return str(name)


# What is wanted


def _wanted_rights() -> Iterator[Right]:
    keys = dict(_rows(_KEYS_SQL))
    columns = _rows(_COLUMNS_SQL)
    ((database,),) = _rows("SELECT current_database()")
    for role in ROLES:
        yield Right(role, "DATABASE", database, "", "CONNECT")
        yield Right(role, "SCHEMA", "public", "", "USAGE")
    for (sequence,) in _rows(_SEQUENCES_SQL):
        yield Right(RUNTIME, "SEQUENCE", sequence, "", "USAGE")
    for table, access in TABLES.items():
        yield from (Right(RUNTIME, "TABLE", table, "", privilege) for privilege in access.privileges)
        if access is Access.PURGE:
            yield Right(RUNTIME, "TABLE", table, keys[table], "UPDATE")
        if table not in SECRET_TABLES | SECRET_COLUMNS.keys():
            yield Right(READER, "TABLE", table, "", "SELECT")
    for table, column in columns:
        if table in SECRET_COLUMNS and column not in SECRET_COLUMNS[table]:
            yield Right(READER, "TABLE", table, column, "SELECT")


def session_options(role: str) -> dict[str, str]:
    """What the role's sessions start with where the desk can't say it itself: behind PgBouncer."""
    options = dict(settings.SESSION_OPTIONS)
    if role == READER:
        del options["enable_seqscan"]  # reports read whole tables, and take longer than a request may
        options |= {"default_transaction_read_only": "on", "statement_timeout": "60000"}
    return options


# What there is


def _actual_rights() -> Iterator[Right]:
    for row in _rows(_RIGHTS_SQL, {"roles": [*ROLES]}):
        right = Right(*row)
        if right.role != PUBLIC or (right.kind, right.privilege) not in HARMLESS:
            yield right


_RIGHTS_SQL = """
WITH given AS (
     SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END AS kind, c.relname::text AS name, '' AS part, a.*
       FROM pg_class c, aclexplode(c.relacl) a
      WHERE c.relnamespace = 'public'::regnamespace
      UNION ALL
     SELECT 'TABLE', c.relname, t.attname, a.*
       FROM pg_class c JOIN pg_attribute t ON t.attrelid = c.oid, aclexplode(t.attacl) a
      WHERE c.relnamespace = 'public'::regnamespace
      UNION ALL
     SELECT 'SCHEMA', n.nspname, '', a.*
       FROM pg_namespace n, aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a
      WHERE n.nspname = 'public'
      UNION ALL
     SELECT 'DATABASE', d.datname, '', a.*
       FROM pg_database d, aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
      WHERE d.datname = current_database()
)
SELECT coalesce(r.rolname, 'PUBLIC'), g.kind, g.name, g.part, g.privilege_type, g.is_grantable
  FROM given g LEFT JOIN pg_roles r ON r.oid = g.grantee
 WHERE g.grantee = 0 OR r.rolname = ANY (%(roles)s)
"""

# Some lead nowhere and are needed, as to log in by a cloud's identity: those may stay.
_MEMBERSHIPS_SQL = """
SELECT g.rolname, m.rolname
  FROM pg_auth_members a JOIN pg_roles g ON g.oid = a.roleid JOIN pg_roles m ON m.oid = a.member
 WHERE m.rolname = ANY (%(roles)s)
   AND (g.rolsuper OR g.rolcreaterole OR g.rolcreatedb OR g.rolreplication OR g.rolbypassrls
        OR (g.rolname LIKE 'pg\\_%%' AND g.rolname NOT IN ('pg_monitor', 'pg_read_all_settings', 'pg_read_all_stats',
                                                          'pg_stat_scan_tables'))
        OR EXISTS (SELECT FROM pg_class c
                    WHERE c.relkind IN ('r', 'p') AND c.relnamespace = 'public'::regnamespace
                      AND has_table_privilege(g.oid, c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
                      AND NOT has_table_privilege('public', c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')))
 ORDER BY 1, 2
"""

_SEQUENCES_SQL = "SELECT relname FROM pg_class WHERE relkind = 'S' AND relnamespace = 'public'::regnamespace"

_KEYS_SQL = """
SELECT c.relname, a.attname
  FROM pg_index i
  JOIN pg_class c ON c.oid = i.indrelid AND c.relnamespace = 'public'::regnamespace
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]
 WHERE i.indisprimary
"""

_COLUMNS_SQL = """
SELECT c.relname, a.attname
  FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
 WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace AND a.attnum > 0 AND NOT a.attisdropped
"""


def _require_owner() -> None:
    others = _rows(
        "SELECT pg_get_userbyid(c.relowner), count(*) FROM pg_class c"
        " WHERE c.relkind IN ('r', 'p', 'S') AND c.relnamespace = 'public'::regnamespace"
        "   AND NOT pg_has_role(current_user, c.relowner, 'USAGE') GROUP BY 1 ORDER BY 1"
    )
    if others:
        owners = ", ".join(f"{count} are {owner}'s" for owner, count in others)
        raise NotTheOwner(f"{current_role()} does not own all tables and sequences: {owners}")
    absent = set(TABLES) - {table for table, _ in _rows(_COLUMNS_SQL)}
    if absent:
        raise NotTheOwner(f"migrate first: there is no {', '.join(sorted(absent))}")


# What it takes


def _roles_to_make() -> Iterator[sql.Composed]:
    there = {name for (name,) in _rows("SELECT rolname FROM pg_roles")}
    for role in ROLES:
        if role not in there:
            yield sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(role))


def _attributes_to_drop() -> Iterator[sql.Composed]:
    """What would make the rights beside the point."""
    for role, *attributes in _rows(
        "SELECT rolname, rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls"
        "  FROM pg_roles WHERE rolname = ANY (%s)",
        [[*ROLES]],
    ):
        for name, has in zip(ATTRIBUTES, attributes, strict=True):
            if has:
                yield sql.SQL("ALTER ROLE {} {}").format(sql.Identifier(role), sql.SQL(f"NO{name}"))
    for group, role in _rows(_MEMBERSHIPS_SQL, {"roles": [*ROLES]}):
        yield sql.SQL("REVOKE {} FROM {}").format(sql.Identifier(group), sql.Identifier(role))


def _options_to_set() -> Iterator[sql.Composed]:
    kept = _rows(
        "SELECT r.rolname, lower(split_part(option, '=', 1)), split_part(option, '=', 2)"
        "  FROM pg_db_role_setting s JOIN pg_roles r ON r.oid = s.setrole, unnest(s.setconfig) option"
        " WHERE s.setdatabase = 0 AND r.rolname = ANY (%s)",
        [[*ROLES]],
    )
    for role in ROLES:
        for name, value in session_options(role).items():
            if (role, name, value) not in kept:
                alter = sql.SQL("ALTER ROLE {} SET {} TO {}")
                yield alter.format(sql.Identifier(role), sql.Identifier(name), sql.Literal(value))


def _said(verb: str, preposition: str, rights: Iterable[Right]) -> Iterator[sql.Composed]:
    """One statement for all privileges of a role on one thing."""
    for (role, kind, on), group in groupby(sorted(rights), key=lambda right: right[:3]):
        yield sql.SQL("{} {} ON {} {} {} {}").format(
            sql.SQL(verb),
            sql.SQL(", ").join(_privilege(right) for right in group),
            sql.SQL(kind),
            sql.Identifier(on) if kind in {"SCHEMA", "DATABASE"} else sql.Identifier("public", on),
            sql.SQL(preposition),
            sql.SQL(role) if role == PUBLIC else sql.Identifier(role),
        )


def _privilege(right: Right) -> sql.Composed:
    of = sql.SQL(" ({})").format(sql.Identifier(right.column)) if right.column else sql.SQL("")
    return sql.SQL(right.privilege) + of


def _rows(statement: str, params: Any = None) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, params)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows


def _text(statement: sql.Composed) -> str:
    connection.ensure_connection()
    return statement.as_string(connection.connection)
