"""
A desk as it looks after a year of business, to see whether pages and queries that are quick on ten rows stay quick.

    python -m bench.big_desk --entries 3000000 --orders 1000000

A twentieth as many clients as orders: five of them with twenty thousand entries each, some with thousands, most with a
few. It is a database of its own on the tests' server, filled set by set in minutes, and kept for the next measurement
until `make clean`; one that is there already is only brought up to date by its migrations, unless `--fresh` is given.
The ledger in it is whole: `verify_ledger` finds nothing to complain about. Nobody there really traded, so the deals'
arithmetic cannot be recomputed.
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.types.json import Jsonb

from bench import throwaway
from tests import database

ENTRIES, ORDERS = 3_000_000, 1_000_000
ORDERS_PER_CLIENT = 20
#: Staff whose names the script gives to what was decided.
DECIDERS = ("kyc", "finance", "admin")
SCRIPT = Path(__file__).with_suffix(".sql")
_STEP = re.compile(r"^-- \* (.+)$", re.MULTILINE)
_INSERT = re.compile(r"INSERT INTO ([a-z]+_[a-z]+)\s+\(([^)]+)\)")
#: As a replica the session fires no trigger and checks no foreign key; the server is a throw-away.
SESSION = "-c session_replication_role=replica -c statement_timeout=0 -c work_mem=256MB -c temp_buffers=256MB"


class Sizes(NamedTuple):
    """How many rows there are to be."""

    entries: int
    orders: int

    @property
    def clients(self) -> int:
        return self.orders // ORDERS_PER_CLIENT

    @property
    def trades(self) -> int:
        """
        Orders that are filled: each posts its opening and, but for one in a hundred, its end.

        A client's first deposit and transfer come before, and what is missing then is made up by withdrawals.
        """
        return int((self.entries / 2 - 2.4 * self.clients) / 1.989)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.big_desk", description=(__doc__ or "").split("\n")[1])
    add_sizes(parser)
    chosen = parser.parse_args()
    with desk(Sizes(chosen.entries, chosen.orders), fresh=chosen.fresh) as made:
        for table in ("wallets_entry", "trading_order", "trading_deal", "core_auditevent", "accounts_user"):
            print(f"{_count(made.url, table):>12,} {table}")
    return 0


def add_sizes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--entries", type=int, default=ENTRIES)
    parser.add_argument("--orders", type=int, default=ORDERS)
    parser.add_argument("--fresh", action="store_true", help="Make it anew, even if there is one of these sizes.")


@contextmanager
def desk(sizes: Sizes, *, fresh: bool = False) -> Iterator[database.Clone]:
    """Set Django up on a big desk of these sizes, which is made first if there is none."""
    from django.core.management import call_command
    from django.db import connections

    from config.database import roles

    with throwaway.server() as server_url:
        made = database.Clone(server_url, f"big_desk_{sizes.entries}_{sizes.orders}")
        if fresh:
            made.drop()
        if not _exists(server_url, made.name):
            _make(server_url, made, sizes)
        throwaway.turn_to(made)
        try:
            call_command("migrate", verbosity=0, interactive=False)
            roles.define()
            yield made
        finally:
            connections.close_all()


def _make(server_url: str, made: database.Clone, sizes: Sizes) -> None:
    """Fill a clone of the tests' template, which gets the name it is found by when it is whole."""
    from django.db import connections

    print(f"Making a desk of {sizes.entries:,} ledger entries and {sizes.orders:,} orders", flush=True)
    with throwaway.clone(server_url, "big") as unfinished:
        fill(unfinished.url, sizes)
        connections.close_all()
        with _maintenance(server_url) as server:
            rename = sql.SQL("ALTER DATABASE {} RENAME TO {}")
            server.execute(rename.format(sql.Identifier(unfinished.name), sql.Identifier(made.name)))


def fill(url: str, sizes: Sizes) -> None:
    """
    Write the year into the migrated database at `url`, which Django is connected to.

    :raises LookupError: if a table has a column that the script does not fill and that has no value by itself
    """
    require_every_column(SCRIPT.read_text())
    inputs = _prepare()
    with psycopg.connect(make_conninfo(url, options=SESSION), autocommit=True) as session:
        session.execute(
            "CREATE TEMP TABLE wanted"
            " (clients bigint, orders bigint, trades bigint, entries bigint, inputs_in jsonb, inputs_out jsonb)"
        )
        session.execute(
            "INSERT INTO wanted VALUES (%s, %s, %s, %s, %s, %s)",
            [sizes.clients, sizes.orders, sizes.trades, sizes.entries, *map(Jsonb, inputs)],
        )
        for title, script in steps():
            began = time.monotonic()
            print(f"  {title:<28}", end="", flush=True)
            session.execute(script.encode())
            print(f"{time.monotonic() - began:6.1f} s", flush=True)
        print("  Statistics", flush=True)
        session.execute("VACUUM ANALYZE")


def steps() -> list[tuple[str, str]]:
    """The script's parts and what each is called."""
    _, *parts = _STEP.split(SCRIPT.read_text())
    return list(zip(parts[::2], parts[1::2], strict=True))


def require_every_column(script: str) -> None:
    """:raises LookupError: as `fill` says, before minutes are spent on finding out"""
    from django.apps import apps
    from django.db.models import NOT_PROVIDED, AutoField

    fields = {model._meta.db_table: model._meta.local_concrete_fields for model in apps.get_models()}
    for table, columns in _INSERT.findall(script):
        wanted = {
            field.column
            for field in fields[table]
            if field.column and not (field.null or isinstance(field, AutoField) or field.db_default is not NOT_PROVIDED)
        }
        missing = wanted - set(re.split(r",\s*", columns.strip()))
        if missing:
            raise LookupError(f"big_desk.sql does not fill {', '.join(sorted(missing))} of {table}")


def _prepare() -> list[Any]:
    """What the script builds on: terms, prices, staff; and what a real deal keeps of its arithmetic, in and out."""
    from datetime import UTC, datetime
    from decimal import Decimal

    from django.core.management import call_command
    from django.utils import timezone

    from accounts.credentials import PasswordHash
    from accounts.services import staff
    from core.audit import Actor
    from tests import cast, factories
    from tests.trading.calls import close, place
    from trading.feeds import ReplayFeed
    from trading.models import Deal, Instrument
    from trading.services import quotes

    for command in ("load_instruments", "load_plans", "load_bonus_policies"):
        call_command(command, verbosity=0, stdout=StringIO())
    feed = ReplayFeed(instruments=Instrument.objects.in_bulk(), start=datetime(2021, 5, 19, tzinfo=UTC), loop=False)
    quotes.record_quotes(quotes=next(feed.batches()), source=feed.source, now=timezone.now(), rewinds=True)
    staff.define_roles()
    for role in DECIDERS:
        staff.enlist_staff(
            email=f"{role}@desk.example",
            name=role.title(),
            role=role,
            password=PasswordHash(factories.password_hash()),
            totp_key=bytes(20),
            actor=Actor.system("big_desk"),
        )
    trader = cast.make_client(margin=Decimal("1000.00"))
    opened = place(trader).json()
    closed = close(trader, opened["position"]["id"], volume="ALL")
    assert closed.status_code == 201, closed.content
    return list(Deal.objects.order_by("pk").values_list("inputs", flat=True))


def _exists(server_url: str, name: str) -> bool:
    with _maintenance(server_url) as server:
        return bool(server.execute("SELECT FROM pg_database WHERE datname = %s", [name]).fetchall())


def _count(url: str, table: str) -> int:
    with psycopg.connect(url) as session:
        (count,) = session.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))).fetchone() or (0,)
    return int(count)


@contextmanager
def _maintenance(server_url: str) -> Iterator[psycopg.Connection]:
    """A session of the server itself, in none of the databases that come and go."""
    with psycopg.connect(make_conninfo(server_url, dbname="postgres"), autocommit=True) as session:
        yield session


if __name__ == "__main__":
    raise SystemExit(main())
