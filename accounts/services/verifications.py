"""Compliance decides about a person once, and the decision stands on their wallets before anyone can act on it."""

from __future__ import annotations

from functools import partial
from typing import Any
from uuid import UUID

import structlog
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts import gates
from accounts.models import Verification
from core import audit, db
from core.audit import Actor, ActorKind
from core.db import retry_on_conflict
from core.errors import DomainError, plain
from wallets import ledger
from wallets.models import Environment
from wallets.rules import ApprovalOfOneself, require_reason

logger = structlog.get_logger(__name__)

Status = Verification.Status

#: Documents kept of one verification, over all its submissions.
DOCUMENTS_MAX = 50

#: What a review may turn each state into. A client's submission leads into SUBMITTED.
REVIEWS: dict[str, frozenset[str]] = {
    Status.SUBMITTED: frozenset({Status.IN_REVIEW}),
    Status.IN_REVIEW: frozenset({Status.APPROVED, Status.REJECTED, Status.ACTION_REQUIRED}),
}
SUBMITTABLE = frozenset({Status.PENDING, Status.ACTION_REQUIRED})


class VerificationNotFound(DomainError):
    code = "VERIFICATION_NOT_FOUND"
    message = "There is no such verification."
    status = 404


class NothingToVerify(DomainError):
    code = "NOTHING_TO_VERIFY"
    message = "Only live accounts are verified, and you have none yet; open one first."
    status = 409


class VerificationStateRefused(DomainError):
    code = "VERIFICATION_STATE_REFUSED"
    message = "The verification is {status}; from there it cannot become {wanted}."
    status = 409


class TooManyDocuments(DomainError):
    code = "TOO_MANY_DOCUMENTS"
    message = "At most {max} documents are kept; contact support."


@retry_on_conflict
@transaction.atomic(durable=True)
def submit_verification(*, owner: UUID, documents: list[dict[str, str]], actor: Actor) -> Verification:
    """
    Hand in documents, each with `kind` and `reference`: for the first time, for what was missing, or after a rejection.

    :raises NothingToVerify: if the client has no live account
    :raises VerificationStateRefused: if documents are being looked at, or have been approved
    :raises TooManyDocuments: if too many have been handed in
    """
    assert documents, "serializers refuse empty submissions"
    row = Verification.objects.select_for_update(no_key=True).filter(owner_id=owner).order_by("-pk").first()
    if row is None:
        raise NothingToVerify
    now, before = timezone.now(), row.status
    is_new = row.status == Status.REJECTED
    if is_new:
        row = Verification(owner_id=owner, created_at=now)
    elif row.status not in SUBMITTABLE:
        raise VerificationStateRefused(status=row.status, wanted=Status.SUBMITTED)
    if len(row.documents) + len(documents) > DOCUMENTS_MAX:
        raise TooManyDocuments(max=DOCUMENTS_MAX)
    row.status, row.submitted_at, row.reason = Status.SUBMITTED, now, ""
    row.documents = [*row.documents, *({**document, "submitted_at": plain(now)} for document in documents)]
    _store(row, is_new=is_new)
    _record("accounts.verification.submitted", row, before=before, actor=actor)
    return row


@retry_on_conflict
@transaction.atomic(durable=True)
def review_verification(*, verification_id: UUID, outcome: str, reason: str, actor: Actor) -> Verification:
    """
    Take a submission into review, or decide it; APPROVED opens the client's live wallets under their locks.

    With ACTION_REQUIRED the client gets to read `reason`; a rejection's stays inside.

    :raises VerificationNotFound: if there is none with this id
    :raises ReasonRequired: without a reason
    :raises ApprovalOfOneself: if the reviewer is the client
    :raises VerificationStateRefused: if it cannot become `outcome` from where it is
    """
    assert actor.kind == ActorKind.STAFF, "people decide about people"
    require_reason(reason)
    owner = Verification.objects.filter(pk=verification_id).values_list("owner_id", flat=True).first()
    if owner is None:
        raise VerificationNotFound
    if owner == actor.id:
        raise ApprovalOfOneself
    wallets = gates.lock_wallets_of(owner) if outcome == Status.APPROVED else ()
    row = Verification.objects.select_for_update(no_key=True).order_by("pk").get(pk=verification_id)
    if outcome not in REVIEWS.get(row.status, ()):
        raise VerificationStateRefused(status=row.status, wanted=outcome)
    before = row.status
    row.status, row.reviewed_by_id, row.reviewed_at, row.reason = outcome, actor.id, timezone.now(), reason
    row.save(update_fields=["status", "reviewed_by", "reviewed_at", "reason"])
    live = [wallet for wallet in wallets if wallet.environment == Environment.LIVE]
    if live:
        ledger.set_gates(live, verified=True)
    _record("accounts.verification.reviewed", row, before=before, actor=actor, reason=reason)
    return row


def _store(row: Verification, *, is_new: bool) -> None:
    if not is_new:
        row.save(update_fields=["status", "submitted_at", "reason", "documents"])
        return
    try:
        row.save(force_insert=True)
    except IntegrityError as error:
        if db.constraint(error) == "verification_one_open_per_client":  # somebody was faster after a rejection
            raise VerificationStateRefused(status=row.status, wanted=row.status) from error
        raise


def _record(action: str, row: Verification, *, before: str, actor: Actor, reason: str = "") -> None:
    after: dict[str, Any] = {"status": row.status}
    if row.status == Status.SUBMITTED:
        after["documents"] = len(row.documents)
    audit.record(
        action, actor=actor, owner=row.owner_id, subject=row, before={"status": before}, after=after, reason=reason
    )
    transaction.on_commit(partial(logger.info, action, verification_id=str(row.pk), status=row.status), robust=True)
