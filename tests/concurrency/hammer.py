"""Many clients at once over real sockets: each on a connection of its own, all let go in the same moment."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email.message import Message
from threading import Barrier
from typing import Any, TypeVar
from urllib.parse import urlsplit

from django.db import connection

from core.ids import uuid7
from tests.live_desk import LiveDesk

R = TypeVar("R")

SECONDS_MAX = 60


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back, byte for byte."""

    status: int
    headers: Message
    body: bytes

    @property
    def code(self) -> str:
        """The refusal's code; empty if it is none."""
        return json.loads(self.body).get("code", "") if self.status >= 400 else ""


class Client:
    """One app: a connection that is kept, and a token if it has logged in."""

    def __init__(self, desk: LiveDesk, token: str | None) -> None:
        self._token = token
        self._connection = http.client.HTTPConnection(urlsplit(desk.url).netloc, timeout=SECONDS_MAX)

    def connect(self) -> None:
        self._connection.connect()

    def close(self) -> None:
        self._connection.close()

    def post(
        self, path: str, body: bytes | dict[str, Any], *, key: str | None = None, headers: dict[str, str] | None = None
    ) -> Reply:
        """
        POST to the API, under a fresh key unless one is given; bytes go out as they are.

        Told that the key is being worked on, it asks again, as every client should.
        """
        sent = {"Content-Type": "application/json", "Idempotency-Key": key or str(uuid7())} | (headers or {})
        if self._token is not None:
            sent["Authorization"] = f"Bearer {self._token}"
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        end = time.monotonic() + SECONDS_MAX
        while True:
            self._connection.request("POST", f"/api/v1/{path}", data, sent)
            answer = self._connection.getresponse()
            reply = Reply(answer.status, answer.headers, answer.read())
            if reply.code != "IDEMPOTENCY_IN_PROGRESS" or time.monotonic() > end:
                return reply
            time.sleep(0.05)  # `Retry-After` says a second, which nobody here has


def at_once(desk: LiveDesk, tokens: Sequence[str | None], act: Callable[[Client, int], R]) -> list[R]:
    """Let one client per token act at the same moment; what each act returned, in the order of the tokens."""
    together = Barrier(len(tokens))

    def run(place: int) -> R:
        client = Client(desk, tokens[place])
        try:
            client.connect()
            together.wait(SECONDS_MAX)
            return act(client, place)
        finally:
            client.close()

    with ThreadPoolExecutor(len(tokens)) as pool:
        return list(pool.map(run, range(len(tokens))))


def deadlocks() -> int:
    """How many deadlocks this database has seen, once its sessions have had time to say so."""
    time.sleep(1.1)  # a session reports what it has counted at most once a second
    with connection.cursor() as cursor:
        cursor.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        (count,) = cursor.fetchone() or (0,)
    return int(count)
