"""What was accrued is held for a while before it may be paid, so that what should not be can be stopped."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from uuid import UUID

import structlog
from django.db import transaction
from django.utils import timezone

from core import audit
from core.audit import Actor, ActorKind
from core.db import retry_on_conflict
from referrals import selectors
from referrals.models import Commission
from referrals.rules import CommissionNotFound, CommissionStateRefused
from wallets.rules import ApprovalOfOneself, require_reason

logger = structlog.get_logger(__name__)

#: Commissions approved in one transaction.
BATCH = 1_000

Status = Commission.Status


@retry_on_conflict
@transaction.atomic(durable=True)
def approve_due(*, created_before: datetime, limit: int = BATCH) -> int:
    """
    Approve at most `limit` commissions that were accrued by then and nobody has stopped; 0: none is left.

    Several may run at once. If the outcome of the commit is unknown, call it again.
    """
    assert limit > 0
    on_hold = selectors.commissions_on_hold(created_before).values_list("id", flat=True)
    ids = list(on_hold.select_for_update(no_key=True, skip_locked=True).order_by("created_at", "id")[:limit])
    if ids:
        Commission.objects.filter(pk__in=ids).update(status=Status.APPROVED, approved_at=timezone.now())
        transaction.on_commit(partial(logger.info, "referrals.commissions.approved", count=len(ids)), robust=True)
    return len(ids)


@retry_on_conflict
@transaction.atomic(durable=True)
def approve_commission(*, commission_id: UUID, reason: str, actor: Actor) -> Commission:
    """
    Approve one commission before its hold is over.

    :raises ReasonRequired: without a reason
    :raises CommissionNotFound: if there is no such commission
    :raises ApprovalOfOneself: if it is the actor's own
    :raises CommissionStateRefused: if it is not pending
    """
    assert actor.kind == ActorKind.STAFF
    require_reason(reason)
    row = Commission.objects.select_for_update(no_key=True).order_by("pk").filter(pk=commission_id).first()
    if row is None:
        raise CommissionNotFound
    if actor.id == row.owner_id:
        raise ApprovalOfOneself
    if row.status != Status.PENDING:
        raise CommissionStateRefused(status=row.status)
    row.status, row.approved_at, row.approved_by, row.reason = Status.APPROVED, timezone.now(), actor.id, reason
    row.save(update_fields=["status", "approved_at", "approved_by", "reason"])
    audit.record(
        "referrals.commission.approved",
        actor=actor,
        owner=row.owner_id,
        subject=row,
        before={"status": Status.PENDING},
        after={"status": row.status},
        reason=reason,
    )
    event = partial(logger.info, "referrals.commission.approved", commission_id=str(row.id))
    transaction.on_commit(event, robust=True)
    return row
