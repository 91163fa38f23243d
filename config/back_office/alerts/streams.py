"""
Rows are looked at in the order of their ids, and a place is left for good only once nothing can appear before it.

An id is made inside the transaction that inserts its row, so a row that a look cannot see yet belongs to a transaction
that is still under way, and its id is not older than that transaction. Everything up to the oldest one that writes
(`horizon`) is therefore complete; what lies behind it is looked at again next time, and finding it twice raises nothing
twice.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection

from config.back_office.alerts.models import AlertCursor
from core.ids import uuid7_at

Stream = AlertCursor.Stream

#: Before every row there is.
BEGINNING = UUID(int=0)

#: How far the clocks of two nodes, and a row's id and the moment it states, may lie apart.
SLACK = timedelta(minutes=5)

_SQL = {
    Stream.DEPOSITS: """
        SELECT id, owner_id, posted_at FROM wallets_ledgertransaction
         WHERE type = 'DEPOSIT' AND environment = 'LIVE' AND id > %(after)s ORDER BY id LIMIT %(limit)s""",
    Stream.WITHDRAWALS: """
        SELECT id, owner_id, created_at FROM wallets_withdrawal
         WHERE id > %(after)s ORDER BY id LIMIT %(limit)s""",
    Stream.LIVE_WALLETS: """
        SELECT id, owner_id, created_at FROM wallets_wallet
         WHERE environment = 'LIVE' AND kind IN ('CASH', 'MARGIN') AND id > %(after)s ORDER BY id LIMIT %(limit)s""",
    Stream.BANK_ACCOUNTS: """
        SELECT id, owner_id, created_at FROM wallets_bankaccount
         WHERE id > %(after)s ORDER BY id LIMIT %(limit)s""",
    Stream.ADDRESSES: """
        SELECT id, owner, created_at FROM core_auditevent
         WHERE actor_kind = 'CLIENT' AND address IS NOT NULL AND id > %(after)s ORDER BY id LIMIT %(limit)s""",
    Stream.TRANSFERS: """
        SELECT id, owner_id, created_at FROM wallets_transfer
         WHERE id > %(after)s ORDER BY id LIMIT %(limit)s""",
}

# Who has written nothing yet has no transaction number, and made no id longer ago than SLACK. When a transaction of
# another role began is hidden from ours, and only that there is one shows.
_HORIZON_SQL = """
SELECT count(*) > count(xact_start),
       least(min(xact_start), (SELECT min(prepared) FROM pg_prepared_xacts WHERE database = current_database()))
  FROM pg_stat_activity
 WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_xid IS NOT NULL
"""


class Row(NamedTuple):
    """Something new: its id, whose it is and when it happened."""

    id: UUID
    owner: UUID
    at: datetime


def read(stream: str, *, after: UUID, limit: int) -> list[Row]:
    """The next rows of a stream, in the order of their ids."""
    return [Row(*row) for row in fetch(_SQL[Stream(stream)], {"after": after, "limit": limit})]


def horizon(now: datetime) -> UUID:
    """Above every id that no transaction can add to any more; asked for before the rows are read."""
    ((is_one_hidden, oldest),) = fetch(_HORIZON_SQL, {})
    if is_one_hidden:
        return BEGINNING  # the owner migrates, or an administrator mends something: however long that has taken
    return uuid7_at((now if oldest is None else min(now, oldest)) - SLACK, 0)


def ids_from(moment: datetime) -> UUID:
    """Below every id of a row that states this moment or a later one."""
    return uuid7_at(moment - SLACK, 0)


def fetch(sql: str, params: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Planned each time: a plan that a job made while a table was young would read all of it for ever."""
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows
