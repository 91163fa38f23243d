"""A primary and the standby that streams from it, and what an operator does with the two."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg import sql

from bench.load import processes
from bench.load.systems import Server
from scripts import embedded_postgres
from scripts.embedded_postgres import SUPERUSER

STREAMS_SECONDS_MAX = 30.0


def copy(source: Server, place: Path, *, follows: bool) -> None:
    """
    Copy a running server's data, to be started as a server like it, or as a standby that follows it.

    :raises RuntimeError: if that fails
    """
    cluster = embedded_postgres.make_room(place)
    options = ["--checkpoint=fast", *(["--write-recovery-conf"] if follows else [])]
    where = f"host={source.hold.cluster.sockets} user={SUPERUSER}"
    command = [str(cluster.binaries / "pg_basebackup"), f"--pgdata={cluster.data}", f"--dbname={where}", *options]
    done = subprocess.run(command, cwd=cluster.data, capture_output=True, text=True, check=False, **cluster.demotion)
    if done.returncode != 0:
        raise RuntimeError(f"pg_basebackup failed:\n{done.stderr}")


@dataclass
class Pair:
    """`primary` takes writes and `standby` follows it; who is which changes."""

    primary: Server
    standby: Server

    @classmethod
    @contextmanager
    def of(cls, primary: Server, place: Path) -> Iterator[Pair]:
        """The primary and a standby that is made in `place`, and gone afterwards."""
        # One that has just lost its line may look only after so long whether it is to take over: after 5 s by default.
        primary.execute("ALTER SYSTEM SET wal_retrieve_retry_interval = '200ms'")
        primary.execute("SELECT pg_reload_conf()")
        copy(primary, place, follows=True)
        pair = cls(primary, Server(place))
        try:
            pair.wait_until_it_streams()
            yield pair
        finally:
            for server in (pair.primary, pair.standby):
                server.hold.release()
            embedded_postgres.reset(place)

    def url(self, database: str) -> str:
        """Both servers, for whoever wants the one that takes writes."""
        hosts = ",".join(quote(str(one.hold.cluster.sockets)) for one in (self.primary, self.standby))
        return f"postgresql://{SUPERUSER}@/{quote(database)}?host={hosts}&target_session_attrs=read-write"

    def wait_until_it_streams(self) -> None:
        streams = "SELECT FROM pg_stat_replication WHERE state = 'streaming'"
        processes.wait_for(lambda: self.asked(streams), STREAMS_SECONDS_MAX, "the standby")

    def asked(self, statement: str) -> int:
        """How many rows the primary answers with."""
        with psycopg.connect(self.primary.url(SUPERUSER), autocommit=True) as session:
            return session.execute(statement).rowcount

    def answer_for(self, *, both: bool) -> None:
        """Let a commit be acknowledged when it is on the disks of both, or already when it is on the primary's."""
        self.wait_for_commits_at(f'"{self.standby.hold.cluster.name}"' if both else "")
        state = "sync" if both else "async"
        has_it = f"SELECT FROM pg_stat_replication WHERE sync_state = '{state}'"
        processes.wait_for(lambda: self.asked(has_it), STREAMS_SECONDS_MAX, f"{state} replication")

    def wait_for_commits_at(self, names: str) -> None:
        """The standbys that have to have a commit before it is acknowledged; none lets go what is waiting."""
        set_names = sql.SQL("ALTER SYSTEM SET synchronous_standby_names = {}").format(sql.Literal(names))
        self.primary.execute(set_names)
        self.primary.execute("SELECT pg_reload_conf()")

    @contextmanager
    def stream_held(self) -> Iterator[None]:
        """For the length of the block nothing arrives at the standby, and what was under way is lost at its end."""
        ((receiver,),) = self.standby.execute("SELECT pid FROM pg_stat_wal_receiver")
        os.kill(receiver, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(receiver, signal.SIGTERM)  # it ends before it reads what is waiting for it
            os.kill(receiver, signal.SIGCONT)

    def lose_primary(self) -> None:
        """kill -9 of every process of the server."""
        processes.kill(self.primary.pid)

    def promote(self) -> None:
        """Let the standby take writes from here on; each is what the other was."""
        self.standby.execute("SELECT pg_promote()")
        self.primary, self.standby = self.standby, self.primary

    def let_it_follow(self) -> None:
        """
        Make the former primary, which is down, a standby of the new one.

        From a new copy: what it had and had not passed on is gone with the old one. (`pg_rewind` copies less. It cannot
        here: it wants to read every file of a data directory, and ours have a socket among them.)
        """
        place = self.standby.hold.cluster.asked
        self.standby.hold.release()
        copy(self.primary, place, follows=True)
        self.standby = Server(place)
        self.wait_until_it_streams()
