"""A PgBouncer of the tests' own, set up as `deploy/pgbouncer.ini` has it, that lends the tests' server's sessions."""

from __future__ import annotations

import configparser
import contextlib
import os
import pwd
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import quote

import psycopg
import pytest
from psycopg import sql

from bench.load import processes
from scripts import environment
from scripts.embedded_postgres import SUPERUSER, Cluster
from scripts.pgbouncer import PGBOUNCER

INSTALLATION = environment.ROOT / "deploy" / "pgbouncer.ini"
#: A superuser, as the tests' own is: it owns no table, and what tests do to the ledger is open to nobody else.
ROLE = "desk_pooled"
START_SECONDS_MAX = 10.0

OTHER_ROLE = "who lends sessions here logs in as a superuser, and not as the desk"

#: What there is no promise for when sessions are lent, and why; tests by file, or by file and name.
NEEDS_A_SESSION = {
    "tests/back_office/test_alerts_raising.py::test_the_horizon_is_no_younger_than_the_oldest_transaction": OTHER_ROLE,
    "tests/core/test_connection.py::test_one_plan_serves_whatever_the_values_are": "nothing is prepared by name",
    "tests/config/test_database_roles.py::test_only_the_owner_gives_rights": OTHER_ROLE,
    "tests/config/test_database_roles.py::test_an_installation_whose_desk_may_rewrite_history_is_warned": OTHER_ROLE,
    "tests/core/test_migrate.py": "migrations go past PgBouncer, which passes on no options of a session's start",
}


def skip_what_needs_a_session(items: list[pytest.Item]) -> None:
    for item in items:
        name = item.nodeid.partition("[")[0]
        if reason := NEEDS_A_SESSION.get(name) or NEEDS_A_SESSION.get(name.partition("::")[0]):
            item.add_marker(pytest.mark.skip(reason=reason))


@dataclass(frozen=True)
class Pooler:
    """Where its socket is, and where it says what it does."""

    directory: Path

    @classmethod
    @contextlib.contextmanager
    def serve(cls, cluster: Cluster, *, size: int, options: Mapping[str, str]) -> Iterator[Self]:
        """
        Lend `size` sessions of each of the cluster's databases, for the length of the block.

        `options` is what the desk would say at the start of a session; here it is said by the role.
        """
        program = PGBOUNCER.fetch()
        assert program is not None, PGBOUNCER.missing
        _make_role(cluster, options)
        with tempfile.TemporaryDirectory(prefix="desk-pgbouncer-") as scratch:
            if cluster.uid is not None:
                os.chown(scratch, cluster.uid, -1)
            pooler = cls(Path(scratch))
            pooler._write(cluster, size)
            command = [sys.executable, "-m", "scripts.leash", "--", program, str(pooler.configuration)]
            settings = PGBOUNCER.environment | {"DESK_SUPERVISOR": str(os.getpid())}
            with processes.running(command, settings, pooler.log) as leash:
                pooler._wait_until_it_lends(leash)
                yield pooler

    @property
    def configuration(self) -> Path:
        return self.directory / "pgbouncer.ini"

    @property
    def log(self) -> Path:
        return self.directory / "pgbouncer.log"

    def url(self, database: str) -> str:
        return f"postgresql://{SUPERUSER}@/{quote(database, safe='')}?host={quote(str(self.directory))}"

    def _write(self, cluster: Cluster, size: int) -> None:
        """The installation's settings, but for what is particular to a machine."""
        settings = configparser.ConfigParser(interpolation=None)
        settings.read(INSTALLATION)
        settings["databases"] = {"*": f"host={cluster.sockets} user={ROLE}"}
        here = settings["pgbouncer"]
        del here["auth_file"]
        here.update(
            listen_addr="",
            listen_port="5432",  # part of the socket's name
            unix_socket_dir=str(self.directory),
            auth_type="any",
            default_pool_size=str(size),
        )
        if cluster.uid is not None:  # root may not run it, and nobody but the server's user reaches the server's socket
            here["user"] = pwd.getpwuid(cluster.uid).pw_name
        with self.configuration.open("w") as file:
            settings.write(file)

    def _wait_until_it_lends(self, leash: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_SECONDS_MAX
        while True:
            with contextlib.suppress(psycopg.OperationalError), psycopg.connect(self.url(SUPERUSER)):
                return
            if leash.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"PgBouncer did not start:\n{self.log.read_text(errors='replace')[-4000:]}")
            time.sleep(0.05)


def _make_role(cluster: Cluster, options: Mapping[str, str]) -> None:
    role = sql.Identifier(ROLE)
    with psycopg.connect(cluster.url(SUPERUSER), autocommit=True) as session:
        with contextlib.suppress(psycopg.errors.DuplicateObject):
            session.execute(sql.SQL("CREATE ROLE {} LOGIN SUPERUSER").format(role))
        for name, value in options.items():
            session.execute(sql.SQL("ALTER ROLE {} SET {} = {}").format(role, sql.Identifier(name), sql.Literal(value)))
