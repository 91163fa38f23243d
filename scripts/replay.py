"""
The body of `make replay`: clients trade at random over real bars, and then every figure is checked.

    python -m scripts.replay [--accounts 100] [--days 4|all] [--actions 15] [--seed 1]

It has a database of its own, made for it and thrown away, on the server that the tests use: the demo's is not touched.
Exit status 1 if anything does not hold.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import secrets
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from config.database.access import RUNTIME
from scripts import desk, embedded_postgres, environment

if TYPE_CHECKING:  # both know models, which cannot be imported before the settings are made
    from scripts.floor import Floor
    from scripts.floor_audit import Audit

#: The days in which bitcoin lost a third, and took it back, and lost it again.
START = datetime(2021, 5, 18, tzinfo=UTC)
DAYS = 3

SETTINGS = {
    "EMAIL_BACKEND": "django.core.mail.backends.dummy.EmailBackend",
    "LOG_LEVEL": "CRITICAL",
    "ALLOWED_HOSTS": "testserver",
}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m scripts.replay", description="Trade over the real bars.")
    parser.add_argument("--accounts", type=int, default=100, help="Clients (default 100).")
    parser.add_argument("--days", default=str(DAYS), help=f"From {START:%Y-%m-%d} on, or `all` (default {DAYS}).")
    parser.add_argument("--actions", type=int, default=15, help="Of all clients, per price batch (default 15).")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args(arguments)
    environment.install(environment.fresh_secrets() | environment.DEMO | SETTINGS)
    (environment.VAR / "static").mkdir(parents=True, exist_ok=True)  # the web application looks for it
    with scratch_database():
        import django

        django.setup()
        from django.db import connections

        from scripts import floor, floor_audit, owner

        owner.migrate()
        owner.define_roles()
        begun = time.monotonic()
        plan = floor.Plan(chosen.accounts, chosen.actions, chosen.seed, **_span(chosen.days))
        opened = floor.Floor.open(plan)
        try:
            opened.run(shows_progress=sys.stderr.isatty())
            found = floor_audit.audit(opened)
        finally:
            connections.close_all()
    for line in told(opened, found, time.monotonic() - begun):
        print(line)
    return 1 if found.problems else 0


def _span(days: str) -> dict[str, Any]:
    return {} if days == "all" else {"start": START, "end": START + timedelta(days=int(days))}


@contextlib.contextmanager
def scratch_database() -> Iterator[None]:
    """An empty database for the block, named by DATABASE_OWNER_URL, and by DATABASE_URL for the desk."""
    name = f"replay_{os.getpid()}_{secrets.token_hex(3)}"
    with (
        embedded_postgres.use(desk.TEST_POSTGRES, durable=False) as hold,
        psycopg.connect(hold.url(embedded_postgres.SUPERUSER), autocommit=True) as server,
    ):
        server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        environment.install({"DATABASE_URL": hold.url(name, RUNTIME), "DATABASE_OWNER_URL": hold.url(name)})
        try:
            yield
        finally:
            server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def told(floor: Floor, found: Audit, seconds: float) -> Iterator[str]:
    """The summary, line by line."""

    def line(name: str, counts: dict[str, int]) -> str:
        return f"  {name:<14}" + ", ".join(
            f"{count:,} {what.lower().replace('_', ' ')}" for what, count in counts.items()
        )

    yield f"{len(floor.traders)} accounts, seed {floor.plan.seed}, {seconds:.0f} s"
    yield line("tape", {name: floor.counts[name] for name in ("batches", "prices", "prices refused")})
    yield line("clients", {"actions": floor.counts["actions"]})
    yield line("refused", dict(floor.refused.most_common()))
    yield line("orders", found.orders)
    yield line("deals", found.deals)
    yield line("margin", found.events | {"negative balances made good": found.compensated})
    yield line("engine", dict(floor.risk))
    for one in found.mirrors:
        sign = "=" if one.is_true else "≠"
        yield f"  {one.currency:<14}clients {one.clients:,.2f} {sign} deals {one.booked:,.2f}, house {one.house:,.2f}"
    yield from (f"  PROBLEM  {problem}" for problem in found.problems)
    yield "Every figure agrees." if not found.problems else f"{len(found.problems)} problems."


if __name__ == "__main__":
    sys.exit(main())
