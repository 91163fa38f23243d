"""
Alerts are raised behind the client's back in both senses: long after their request, and so that they never notice.

* A batch reads rows behind a stream's cursor, and what it raises commits with the cursor's new place: a crash leaves
  both as they were.
* The cursor's row is locked for the batch. A job that meets it locked leaves the stream to whoever has it in hand.
* What was raised before is recognised by the database (`alert_is_raised_once`), so looking twice is free of charge.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import UUID

import structlog
from django.db import connection, transaction
from django.utils import timezone

from config.back_office.alerts import detection, rules, streams
from config.back_office.alerts.detection import Candidate
from config.back_office.alerts.models import Alert, AlertCursor
from core import audit
from core.audit import Actor
from core.db import retry_on_conflict
from core.errors import plain
from core.ids import uuid7

logger = structlog.get_logger(__name__)

#: Rows looked at in one transaction.
BATCH = 500

_RAISE_SQL = """
INSERT INTO alerts_alert (id, owner_id, rule_id, code, severity, fingerprint, facts, status, raised_at, escalated_to,
                          outcome, reason, updated_at)
SELECT s.id, s.owner_id, s.rule_id, s.code, s.severity, s.fingerprint, s.facts, 'OPEN', %(now)s::timestamptz, '',
       '', '', %(now)s::timestamptz
  FROM jsonb_to_recordset(%(found)s::jsonb)
       AS s (id uuid, owner_id uuid, rule_id uuid, code text, severity text, fingerprint text, facts jsonb)
 ORDER BY s.owner_id, s.code, s.fingerprint
    ON CONFLICT (owner_id, code, fingerprint) DO NOTHING
RETURNING id
"""


@dataclass(slots=True)
class Looked:
    """What one batch did: how many rows it saw, what it raised by code, and where the next one starts, if there is."""

    rows: int = 0
    raised: Counter[str] = field(default_factory=Counter)
    last: UUID | None = None


@retry_on_conflict
@transaction.atomic(durable=True)
def raise_batch(*, stream: str, after: UUID | None = None, limit: int = BATCH) -> Looked:
    """
    Look at the next rows of a stream, at most `limit`, and raise what the rules find.

    `after` is where the batch before ended, or where a look back begins; None: where the stream was left. The place it
    is left at moves only over what was looked at without a gap.
    """
    assert limit > 0
    cursor = (
        AlertCursor.objects.select_for_update(no_key=True, skip_locked=True).order_by("pk").filter(pk=stream).first()
    )
    if cursor is None:
        return Looked()
    now = timezone.now()
    horizon = streams.horizon(now)
    start = cursor.position if after is None else after
    rows = streams.read(stream, after=start, limit=limit)
    raised = _raise(detection.look(stream, rows, rules.in_force()))
    is_full = len(rows) == limit
    complete = min(rows[-1].id, horizon) if is_full else horizon
    if start <= cursor.position < complete:
        cursor.position, cursor.moved_at = complete, now
        cursor.save(update_fields=["position", "moved_at"])
    return Looked(len(rows), Counter(candidate.code for candidate in raised), rows[-1].id if is_full else None)


def preview_batch(*, stream: str, after: UUID | None = None, limit: int = BATCH) -> Looked:
    """What `raise_batch` would raise if this batch were the only one, by the same rules, without a lock or a trace."""
    cursor = AlertCursor.objects.filter(pk=stream).first()
    start = after or (streams.BEGINNING if cursor is None else cursor.position)
    rows = streams.read(stream, after=start, limit=limit)
    found = {
        (candidate.owner, candidate.code, candidate.fingerprint)
        for candidate in detection.look(stream, rows, rules.in_force())
    }
    known = Alert.objects.filter(owner__in={owner for owner, _, _ in found})
    new = found - set(known.values_list("owner_id", "code", "fingerprint"))
    return Looked(len(rows), Counter(code for _, code, _ in new), rows[-1].id if len(rows) == limit else None)


def _raise(found: list[Candidate]) -> list[Candidate]:
    """Write what nobody has raised yet, and say what that was."""
    if not found:
        return []
    by_id = {str(uuid7()): candidate for candidate in found}
    with connection.cursor() as cursor:
        documents = [_document(id_, candidate) for id_, candidate in by_id.items()]
        cursor.execute(_RAISE_SQL, {"found": json.dumps(plain(documents)), "now": timezone.now()})
        new = [UUID(str(id_)) for (id_,) in cursor.fetchall()]
    for id_ in sorted(new):
        candidate = by_id[str(id_)]
        audit.record(
            "config.alert.raised",
            actor=Actor.system("raise_alerts"),
            owner=candidate.owner,
            subject=Alert(pk=id_),
            after={"status": Alert.Status.OPEN, "rule": str(candidate.rule.row)},
        )
        transaction.on_commit(
            partial(logger.info, "config.alert.raised", alert_id=str(id_), code=candidate.code), robust=True
        )
    return [by_id[str(id_)] for id_ in sorted(new)]


def _document(id_: str, candidate: Candidate) -> dict[str, Any]:
    row = candidate.rule.row
    return {
        "id": id_,
        "owner_id": candidate.owner,
        "rule_id": row.pk,
        "code": row.code,
        "severity": row.severity,
        "fingerprint": candidate.fingerprint,
        "facts": candidate.facts,
    }
