"""A guess costs an attacker 19 MiB and two passes over them, and we never carry more of them at once than we can."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from django.conf import settings
from django.contrib.auth.hashers import Argon2PasswordHasher

from core import db
from core.errors import Unavailable

#: How long a request waits for its turn to hash before it is told to come back.
HASH_WAIT_SECONDS_MAX = 2.0

#: One gate per process.
_gate = threading.BoundedSemaphore(settings.PASSWORD_HASHES_AT_ONCE)


class DeskArgon2(Argon2PasswordHasher):
    """
    Argon2id at OWASP's m=19456 KiB, t=2, p=1, at most `settings.PASSWORD_HASHES_AT_ONCE` of them at a time.

    Each hash holds its 19 MiB and a core until it is done; without the gate, fifty log-ins at once would hold them all.

    :raises Unavailable: if no place in the gate came free in time
    """

    time_cost = 2
    memory_cost = 19_456
    parallelism = 1

    def encode(self, password: str, salt: str) -> str:
        with _place():
            encoded: str = super().encode(password, salt)
        return encoded

    def verify(self, password: str, encoded: str) -> bool:
        with _place():
            return bool(super().verify(password, encoded))


@contextlib.contextmanager
def _place() -> Iterator[None]:
    left = db.remaining_ms()
    wait = HASH_WAIT_SECONDS_MAX if left is None else min(HASH_WAIT_SECONDS_MAX, left / 1000)
    if not _gate.acquire(timeout=wait):
        raise Unavailable
    try:
        yield
    finally:
        _gate.release()
