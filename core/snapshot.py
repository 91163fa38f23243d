"""A figure that is checked against another must be read at the same moment: one transaction, one view of everything."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection, transaction

from core import db

#: Rows fetched at once; enough to hide the round trip, few enough to stay small in memory.
STREAM_ROWS = 5_000
#: How long the reader may think between two fetches before the server takes it for dead.
IDLE_SECONDS_MAX = 600

_READ_ONLY_SQL = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"
_READ_WRITE_SQL = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ WRITE"

_names = itertools.count(1)


@contextmanager
def of_one_moment() -> Iterator[None]:
    """
    Let the short reads of one request see one moment, whatever is committed between them; nothing waits for them.

    Its limits stay as they are. Inside a transaction it is that transaction's isolation that counts.
    """
    is_outermost = not connection.in_atomic_block
    with transaction.atomic():
        if is_outermost:
            # On the driver's own cursor: whatever watches statements may put one of its own first, and then it is late.
            with connection.cursor() as cursor, connection.wrap_database_errors:
                cursor.cursor.execute(_READ_ONLY_SQL)
        yield


def take(*, read_only: bool = True) -> None:
    """
    Let the caller's transaction see the database as it is now, however long it reads; before its first query.

    The limits that protect clients from each other are lifted for this transaction alone: reading a whole ledger takes
    longer than any request may, and it locks nothing that a request wants. Whole tables are compared by hashing or
    sorting them: where a table was analysed while it was being filled, the planner takes it for empty and would read
    one whole table for each row of another.
    """
    db.require_transaction()
    with connection.cursor() as cursor:
        cursor.execute(_READ_ONLY_SQL if read_only else _READ_WRITE_SQL)
        cursor.execute(
            "SELECT set_config('statement_timeout', '0', true),"
            " set_config('idle_in_transaction_session_timeout', %s, true),"
            " set_config('enable_seqscan', 'on', true),"
            " set_config('enable_nestloop', 'off', true)",
            [f"{IDLE_SECONDS_MAX}s"],
        )


def stream(sql: str, params: list[Any] | None = None) -> Iterator[tuple[Any, ...]]:
    """
    The rows of a query, fetched in portions through a cursor on the server that ends with the caller's transaction.

    Any number of streams may be read at once.
    """
    db.require_transaction()
    # Declared by hand: unlike a driver's named cursor it goes through Django's execute wrappers and query log.
    name = f"stream_{next(_names)}"
    with connection.cursor() as cursor:
        cursor.execute(f"DECLARE {name} NO SCROLL CURSOR FOR {sql}", params)
        while True:
            cursor.execute(f"FETCH {STREAM_ROWS} FROM {name}")
            rows = cursor.fetchall()
            yield from rows
            if len(rows) < STREAM_ROWS:
                break
        cursor.execute(f"CLOSE {name}")
