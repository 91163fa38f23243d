"""What goes over the wire to the database, as libpq itself traces it."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from django.db import connection
from psycopg.pq import Trace


def round_trips(act: Callable[[], Any]) -> int:
    """How often the client waited for the server: there is one Sync or one simple Query for each."""
    sent = _sent(act)
    return sent[b"Sync"] + sent[b"Query"]


def statements(act: Callable[[], Any]) -> int:
    """How many statements the server was asked to execute."""
    sent = _sent(act)
    return sent[b"Bind"] + sent[b"Query"]


def _sent(act: Callable[[], Any]) -> Counter[bytes]:
    """How many messages of each kind went to the server."""
    connection.ensure_connection()
    connection.asked_at = time.monotonic()  # type: ignore[attr-defined]  # our backend: it is not asked in the middle
    wire = connection.connection.pgconn
    with tempfile.TemporaryFile() as file:
        wire.trace(file.fileno())
        wire.set_trace_flags(Trace.SUPPRESS_TIMESTAMPS)
        try:
            act()
        finally:
            wire.untrace()
        file.seek(0)
        messages = [line.split(b"\t") for line in file.read().splitlines()]
    return Counter(message[2] for message in messages if message[0] == b"F")
