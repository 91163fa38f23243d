"""What clients' keys came to: each answer is stored with its effect or with its refusal, and none is left between."""

from __future__ import annotations

from collections import Counter
from uuid import UUID

from django.apps import apps
from django.db import connection

from config.back_office.cells import Row
from core.idempotency import OPERATIONS
from core.models import IdempotencyKey

#: A key lives for an hour. This many of the newest are counted, which is one walk along an index that keys have anyway:
#: one by state would make every operation of every client write to it twice.
NEWEST = 10_000
SHOWN = 100

Status = IdempotencyKey.Status

#: Their stored answers can be long, and are the client's.
_SHOWN_COLUMNS = ("id", "operation", "owner", "status", "response_status", "effect_id", "created_at", "expires_at")


# Counted and chosen in the database, behind the limit: one walk along the index by expiry, of NEWEST rows.
_COUNTS_SQL = """
SELECT status, operation, count(*)
  FROM (SELECT status, operation FROM core_idempotencykey ORDER BY expires_at DESC LIMIT %(newest)s) k
 GROUP BY status, operation
"""
_OF_STATE_SQL = """
SELECT k.id
  FROM (SELECT id, status, expires_at FROM core_idempotencykey ORDER BY expires_at DESC LIMIT %(newest)s) k
 WHERE k.status = %(status)s
 ORDER BY k.expires_at DESC LIMIT %(shown)s
"""


def by_state() -> tuple[dict[str, int], Counter[str]]:
    """How many of the newest keys are in each state, and how many there are of each operation."""
    states, operations = dict.fromkeys(Status.values, 0), Counter[str]()
    with connection.cursor() as cursor:
        cursor.execute(_COUNTS_SQL, {"newest": NEWEST})
        for status, operation, count in cursor.fetchall():
            states[status] += count
            operations[operation] += count
    return states, operations


def newest(*, status: str = "", owner: UUID | None = None) -> list[IdempotencyKey]:
    """The newest keys, all or of one state, or one client's; never with what was answered."""
    rows = IdempotencyKey.objects.only(*_SHOWN_COLUMNS)
    if status:
        with connection.cursor() as cursor:
            cursor.execute(_OF_STATE_SQL, {"newest": NEWEST, "status": status, "shown": SHOWN})
            rows = rows.filter(pk__in=[id_ for (id_,) in cursor.fetchall()])
    if owner is not None:
        rows = rows.filter(owner=owner)
    return list(rows.order_by("-expires_at")[:SHOWN])


def effect(key: IdempotencyKey) -> Row | None:
    """What a completed key brought about, by the table that its operation declares."""
    operation = OPERATIONS.get(key.operation)
    if key.effect_id is None or operation is None or operation.effect_table is None:
        return None
    tables = {model._meta.db_table: model for model in apps.get_models()}
    return Row(tables[operation.effect_table]._meta.label_lower, key.effect_id)
