"""Who referred a client is settled at sign-up; only two members of staff together change it, and never for the past."""

from __future__ import annotations

from functools import partial
from uuid import UUID

import structlog
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts import rules, selectors
from accounts.models import ReferrerChange, User
from core import audit, db
from core.audit import Actor, ActorKind
from core.db import retry_on_conflict
from core.errors import DomainError
from wallets.rules import ApprovalOfOneself, ProposerDecides, require_reason

logger = structlog.get_logger(__name__)

Status = ReferrerChange.Status

# Changes are approved one at a time, over all clients. Each looks at everybody above the new referrer, and locks on the
# rows it saw would not keep another approval from growing the chain where this one has stopped looking. A newcomer has
# nobody below them, so sign-ups need no part in it.
_ONE_AT_A_TIME_SQL = "SELECT pg_advisory_xact_lock(hashtextextended('accounts.referrers', 0))"


class ClientNotFound(DomainError):
    code = "CLIENT_NOT_FOUND"
    message = "There is no such client, or they are not active."
    status = 404


class ReferrerChangeNotFound(DomainError):
    code = "REFERRER_CHANGE_NOT_FOUND"
    message = "There is no such proposal."
    status = 404


class ReferrerUnchanged(DomainError):
    code = "REFERRER_UNCHANGED"
    message = "This is who referred the client already."
    status = 409


class ReferrerChangePending(DomainError):
    code = "REFERRER_CHANGE_PENDING"
    message = "Another change is proposed for this client; decide that one first."
    status = 409


class ReferrerChangeDecided(DomainError):
    code = "REFERRER_CHANGE_DECIDED"
    message = "This proposal is {status} already."
    status = 409


class ReferralCycle(DomainError):
    code = "REFERRAL_CYCLE"
    message = "This client is above the new referrer; nobody can be referred by those whom they referred."


@retry_on_conflict
@transaction.atomic(durable=True)
def propose_referrer(*, client_id: UUID, referrer_id: UUID | None, reason: str, actor: Actor) -> ReferrerChange:
    """
    Propose that a client was referred by somebody else, or by nobody (None), from the approval on.

    :raises ReasonRequired: without a reason
    :raises ClientNotFound: if either of them is no client
    :raises ApprovalOfOneself: if the client is the actor
    :raises SelfReferral, ReferralCycle: if the client is the referrer, or above them
    :raises ReferrerUnchanged: if nothing would change
    :raises ReferrerChangePending: if another change waits for its decision
    """
    assert actor.kind == ActorKind.STAFF, "people decide about people"
    require_reason(reason)
    client = _client(client_id)
    if client_id == actor.id:
        raise ApprovalOfOneself
    _require_possible(client, referrer_id)
    if selectors.referrer_changes(client_id).filter(status=Status.PROPOSED).exists():
        raise ReferrerChangePending
    change = ReferrerChange(
        owner=client,
        previous_id=client.referred_by_id,
        referrer_id=referrer_id,
        reason=reason,
        proposed_by_id=actor.id,
        proposed_at=timezone.now(),
    )
    try:
        change.save(force_insert=True)
    except IntegrityError as error:
        if db.constraint(error) == "referrerchange_one_open_per_client":  # somebody was faster
            raise ReferrerChangePending from error
        raise
    _record("accounts.referrer_change.proposed", change, actor=actor, reason=reason)
    return change


@retry_on_conflict
@transaction.atomic(durable=True)
def approve_referrer(*, change_id: UUID, reason: str, actor: Actor) -> ReferrerChange:
    """
    Put a proposal into effect, from this moment on: what the client did before stays with whom it was.

    :raises ReasonRequired: without a reason
    :raises ReferrerChangeNotFound: if there is no such proposal
    :raises ProposerDecides, ApprovalOfOneself: if it is the actor's own, or about them
    :raises ReferrerChangeDecided: if it is decided already
    :raises SelfReferral, ReferralCycle, ReferrerUnchanged, ClientNotFound: if it has become impossible meanwhile
    """
    db.fetch_all(_ONE_AT_A_TIME_SQL, {})
    change = _lock(change_id, reason, actor)
    client = User.objects.select_for_update(no_key=True).order_by("pk").get(pk=change.owner_id)
    _require_possible(client, change.referrer_id)
    now = timezone.now()
    change.previous_id, change.effective_from = client.referred_by_id, now
    client.referred_by_id, client.updated_at = change.referrer_id, now
    client.save(update_fields=["referred_by", "updated_at"])
    change.status, change.decided_by_id, change.decided_at, change.decision = Status.APPROVED, actor.id, now, reason
    change.save(update_fields=["previous", "status", "decided_by", "decided_at", "decision", "effective_from"])
    _record("accounts.referrer_change.approved", change, actor=actor, reason=reason)
    return change


@retry_on_conflict
@transaction.atomic(durable=True)
def reject_referrer(*, change_id: UUID, reason: str, actor: Actor) -> ReferrerChange:
    """
    Turn a proposal down.

    :raises ReasonRequired, ReferrerChangeNotFound, ProposerDecides, ApprovalOfOneself, ReferrerChangeDecided: as for
        an approval
    """
    change = _lock(change_id, reason, actor)
    now = timezone.now()
    change.status, change.decided_by_id, change.decided_at, change.decision = Status.REJECTED, actor.id, now, reason
    change.save(update_fields=["status", "decided_by", "decided_at", "decision"])
    _record("accounts.referrer_change.rejected", change, actor=actor, reason=reason)
    return change


def _lock(change_id: UUID, reason: str, actor: Actor) -> ReferrerChange:
    """The proposal, locked, if this member of staff may decide about it."""
    assert actor.kind == ActorKind.STAFF, "people decide about people"
    require_reason(reason)
    change = ReferrerChange.objects.select_for_update(no_key=True).filter(pk=change_id).order_by("pk").first()
    if change is None:
        raise ReferrerChangeNotFound
    if change.owner_id == actor.id:
        raise ApprovalOfOneself
    if change.proposed_by_id == actor.id:
        raise ProposerDecides
    if change.status != Status.PROPOSED:
        raise ReferrerChangeDecided(status=change.status)
    return change


def _client(id_: UUID) -> User:
    client = User.objects.filter(pk=id_, is_staff=False, is_active=True).first()
    if client is None:
        raise ClientNotFound
    return client


def _require_possible(client: User, referrer_id: UUID | None) -> None:
    if referrer_id == client.referred_by_id:
        raise ReferrerUnchanged
    if referrer_id is None:
        return
    if referrer_id == client.pk:
        raise rules.SelfReferral
    _client(referrer_id)
    if client.pk in selectors.upline(referrer_id):
        raise ReferralCycle


def _record(action: str, change: ReferrerChange, *, actor: Actor, reason: str) -> None:
    audit.record(
        action,
        actor=actor,
        owner=change.owner_id,
        subject=change,
        before={"referrer": change.previous_id},
        after={"referrer": change.referrer_id, "status": change.status, "effective_from": change.effective_from},
        reason=reason,
    )
    transaction.on_commit(partial(logger.info, action, referrer_change_id=str(change.pk)), robust=True)
