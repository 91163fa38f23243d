"""What one client of the load does: whole requests, built before they are needed."""

from __future__ import annotations

import itertools
import os
import re
from dataclasses import dataclass, field
from random import Random
from typing import Protocol

_POSITION = re.compile(rb'"position":\s*\{?[^{}]*?"id":\s*"([0-9a-f-]{36})"')


class Script(Protocol):
    """One client's requests, in the order it makes them."""

    def next(self, status: int, body: bytes) -> tuple[int, bytes]:
        """Which kind of request comes next, and all its bytes; given the last answer (0 and nothing at first)."""


#: Keys are unique within a run and from one run to the next: a repeated one would be answered from storage.
_KEYS = itertools.count()


def fresh_key() -> bytes:
    return b"load-%d-%016x" % (os.getpid(), next(_KEYS))


def post(path: str, token: str, body: bytes) -> tuple[bytes, bytes]:
    """The request before and after its Idempotency-Key."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nIdempotency-Key: "
    )
    return head.encode(), b"\r\n\r\n" + body


def get(path: str, token: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n\r\n".encode()


@dataclass(slots=True)
class Repeat:
    """The same intent again and again, each time under a key of its own: transfers and deposits."""

    kind: int
    before: bytes
    after: bytes

    def next(self, status: int, body: bytes) -> tuple[int, bytes]:
        return self.kind, self.before + fresh_key() + self.after


@dataclass(slots=True)
class Read:
    """The same question again and again."""

    kind: int
    request: bytes

    def next(self, status: int, body: bytes) -> tuple[int, bytes]:
        return self.kind, self.request


@dataclass(slots=True)
class OpenAndClose:
    """A position is opened, and closed with the next request; a refused close is tried again."""

    open_kind: int
    close_kind: int
    token: str
    order: tuple[bytes, bytes]
    position: str = ""

    def next(self, status: int, body: bytes) -> tuple[int, bytes]:
        if self.position and status in range(200, 300):
            self.position = ""
        elif not self.position and status in range(200, 300):
            found = _POSITION.search(body)
            self.position = found[1].decode() if found else ""
        if self.position:
            before, after = post(f"/api/v1/positions/{self.position}/close", self.token, b'{"volume":"ALL"}')
            return self.close_kind, before + fresh_key() + after
        return self.open_kind, self.order[0] + fresh_key() + self.order[1]


@dataclass(slots=True)
class Mixed:
    """One of several scripts at a time, by weight; each remembers its own last answer."""

    scripts: list[Script]
    weights: list[int]
    chance: Random
    last: int = -1
    answers: dict[int, tuple[int, bytes]] = field(default_factory=dict)

    def next(self, status: int, body: bytes) -> tuple[int, bytes]:
        if self.last >= 0:
            self.answers[self.last] = status, body
        (self.last,) = self.chance.choices(range(len(self.scripts)), self.weights)
        return self.scripts[self.last].next(*self.answers.pop(self.last, (0, b"")))
