"""A break is taken by somebody, and explained by somebody; both stay on record."""

from __future__ import annotations

from functools import partial
from uuid import UUID

import structlog
from django.db import transaction
from django.utils import timezone

from config.back_office.reconciliation.models import Break
from core import audit
from core.audit import Actor, ActorKind
from core.db import retry_on_conflict
from core.errors import DomainError
from core.ids import HOUSE
from wallets.rules import require_reason

logger = structlog.get_logger(__name__)

Status = Break.Status


class BreakNotFound(DomainError):
    code = "BREAK_NOT_FOUND"
    message = "There is no such break."
    status = 404


class BreakIsResolved(DomainError):
    code = "BREAK_IS_RESOLVED"
    message = "The break is resolved; it opens again if the difference is seen again."
    status = 409


class ResolutionUnknown(DomainError):
    code = "RESOLUTION_UNKNOWN"
    message = "Say how the break was resolved: one of {known}."
    status = 400


@retry_on_conflict
@transaction.atomic(durable=True)
def assign_break(*, break_id: UUID, actor: Actor) -> Break:
    """
    Take a break: the actor looks after it from now on, whoever did before.

    :raises BreakNotFound: if there is none
    :raises BreakIsResolved: if it is resolved
    """
    row = _lock(break_id, actor)
    if row.assignee_id == actor.id:
        return row
    before = {"status": row.status, "assignee": row.assignee_id}
    row.status, row.assignee_id = Status.ASSIGNED, actor.id
    row.save(update_fields=["status", "assignee"])
    after = {"status": row.status, "assignee": row.assignee_id}
    audit.record("reconciliation.break.assigned", actor=actor, owner=HOUSE, subject=row, before=before, after=after)
    transaction.on_commit(partial(logger.info, "config.break.assigned", break_id=str(row.id)), robust=True)
    return row


@retry_on_conflict
@transaction.atomic(durable=True)
def resolve_break(*, break_id: UUID, resolution: str, note: str, actor: Actor) -> Break:
    """
    Say what explains a break, and close it; the actor is its owner then. Nothing in the books is changed by it.

    :raises ReasonRequired: without a note
    :raises ResolutionUnknown: if it is none of the known ones
    :raises BreakNotFound: if there is none
    :raises BreakIsResolved: if it is resolved
    """
    require_reason(note)
    if resolution not in Break.Resolution.values:
        raise ResolutionUnknown(known=", ".join(Break.Resolution.values))
    row = _lock(break_id, actor)
    before = {"status": row.status, "assignee": row.assignee_id}
    row.status, row.assignee_id, row.resolution, row.note = Status.RESOLVED, actor.id, resolution, note
    row.resolved_at = timezone.now()
    row.save(update_fields=["status", "assignee", "resolution", "note", "resolved_at"])
    audit.record(
        "reconciliation.break.resolved",
        actor=actor,
        owner=HOUSE,
        subject=row,
        before=before,
        after={"status": row.status, "assignee": row.assignee_id, "resolution": row.resolution},
        reason=note,
    )
    transaction.on_commit(partial(logger.info, "config.break.resolved", break_id=str(row.id)), robust=True)
    return row


def _lock(break_id: UUID, actor: Actor) -> Break:
    assert actor.kind == ActorKind.STAFF
    row = Break.objects.select_for_update(no_key=True).order_by("pk").filter(pk=break_id).first()
    if row is None:
        raise BreakNotFound
    if row.status == Status.RESOLVED:
        raise BreakIsResolved
    return row
