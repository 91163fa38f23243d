"""What a system uses while it is under load: connections to its database, memory; and a word now and then."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

import psycopg

from bench.load.front_door import Door
from bench.load.systems import Server
from scripts import embedded_postgres

LOOK_SECONDS = 0.5
TELL_SECONDS = 30.0
_CLIENTS = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND backend_type = 'client backend'"


class Watch:
    """Looks for the length of the block, over a connection of its own to another database."""

    def __init__(self, server: Server, door: Door) -> None:
        self.server, self.door = server, door
        self.connections: list[int] = []
        self.memory: dict[str, int] = {}
        self.is_over = threading.Event()
        self.thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.is_over.set()
        self.thread.join(timeout=10)

    @property
    def connections_max(self) -> int:
        """:raises RuntimeError: if nobody looked: then nobody knows"""
        if not self.connections:
            raise RuntimeError("the connections to the database were never counted")
        return max(self.connections)

    def _look(self) -> None:
        waited = 0.0
        with psycopg.connect(self.server.url(embedded_postgres.SUPERUSER), autocommit=True) as session:
            while not self.is_over.wait(LOOK_SECONDS):
                row = session.execute(_CLIENTS, [self.door.database_name]).fetchone()
                assert row is not None
                self.connections.append(int(row[0]))
                waited += LOOK_SECONDS
                if waited % TELL_SECONDS == 0:
                    self.memory = self.door.memory_bytes()
                    used = ", ".join(f"{name} {size / 1e6:.0f} MB" for name, size in self.memory.items())
                    print(f"    {waited:.0f} s: {self.connections[-1]} database connections; {used}", flush=True)
