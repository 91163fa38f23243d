"""A freeze and a withdrawal meet at the wallet's lock: one of them comes first, and the other one sees it."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from uuid import UUID

import structlog
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts import credentials, gates
from accounts.models import Freeze, User
from core import audit, db
from core.audit import Actor, ActorKind
from core.db import retry_on_conflict
from core.errors import DomainError, NotFound
from wallets.ledger import LockedWallet
from wallets.rules import ApprovalOfOneself, require_reason

logger = structlog.get_logger(__name__)

Scope = Freeze.Scope


class FreezeInForce(DomainError):
    code = "FREEZE_IN_FORCE"
    message = "{scope} is frozen for this client."
    status = 409


class FreezeLifted(DomainError):
    code = "FREEZE_LIFTED"
    message = "This freeze has been lifted."
    status = 409


class ExpiryPassed(DomainError):
    code = "EXPIRY_PASSED"
    message = "A freeze ends at a time to come, or when somebody lifts it."
    status = 400


class PlacerLifts(DomainError):
    code = "PLACER_LIFTS"
    message = "Whoever placed a freeze does not lift it; somebody else has to."


class FreezeNotFound(DomainError):
    code = "FREEZE_NOT_FOUND"
    message = "There is no such freeze."
    status = 404


@retry_on_conflict
@transaction.atomic(durable=True)
def place_freeze(*, owner: UUID, scope: str, reason: str, actor: Actor, expires_at: datetime | None = None) -> Freeze:
    """
    Stop one thing for a client at once: their wallets' flag is cleared under its lock, or all their tokens end.

    It stays until it is lifted; with `expires_at` the desk lifts it soon after that time.

    :raises ReasonRequired: without a reason
    :raises ExpiryPassed: if `expires_at` has passed
    :raises NotFound: if there is no such client
    :raises FreezeInForce: if it is frozen already
    """
    assert actor.kind != ActorKind.CLIENT
    require_reason(reason)
    now = timezone.now()
    if expires_at is not None and expires_at <= now:
        raise ExpiryPassed
    if not User.objects.filter(pk=owner).exists():
        raise NotFound
    wallets = _lock(owner, scope)
    if Freeze.objects.filter(owner_id=owner, scope=scope, lifted_at__isnull=True).exists():
        raise FreezeInForce(scope=scope)
    freeze = Freeze(
        owner_id=owner,
        scope=scope,
        reason=reason,
        placed_by=actor.id,
        placed_at=now,
        expires_at=expires_at,
    )
    try:
        freeze.save(force_insert=True)
    except IntegrityError as error:
        if db.constraint(error) == "freeze_one_in_force":  # a client without wallets has no lock to queue at
            raise FreezeInForce(scope=scope) from error
        raise
    gates.close_gates(wallets, [scope])
    after: dict[str, object] = {"scope": scope, "expires_at": expires_at}
    if scope == Scope.LOGIN:
        after["tokens_revoked"] = credentials.revoke_tokens(owner=owner, now=freeze.placed_at)
    audit.record("accounts.freeze.placed", actor=actor, owner=owner, subject=freeze, after=after, reason=reason)
    _log_on_commit("accounts.freeze.placed", freeze)
    return freeze


@retry_on_conflict
@transaction.atomic(durable=True)
def lift_freeze(*, freeze_id: UUID, reason: str, actor: Actor) -> Freeze:
    """
    Let a client do again what was frozen: by somebody other than who placed it, or by the desk when its time is over.

    :raises ReasonRequired: without a reason
    :raises FreezeNotFound: if there is none with this id
    :raises ApprovalOfOneself: if it is the actor who was frozen
    :raises PlacerLifts: if a member of staff has placed it themselves
    :raises FreezeLifted: if it has been lifted
    """
    assert actor.kind != ActorKind.CLIENT
    require_reason(reason)
    known = Freeze.objects.filter(pk=freeze_id).values_list("owner_id", "scope", "placed_by").first()
    if known is None:
        raise FreezeNotFound
    owner, scope, placed_by = known
    if owner == actor.id:
        raise ApprovalOfOneself
    if placed_by == actor.id and actor.kind != ActorKind.SYSTEM:
        raise PlacerLifts
    wallets = _lock(owner, scope)
    freeze = Freeze.objects.select_for_update(no_key=True).order_by("pk").get(pk=freeze_id)
    if freeze.lifted_at is not None:
        raise FreezeLifted
    freeze.lifted_by, freeze.lifted_at, freeze.lift_reason = actor.id, timezone.now(), reason
    freeze.save(update_fields=["lifted_by", "lifted_at", "lift_reason"])
    gates.open_gate(wallets, scope)
    audit.record(
        "accounts.freeze.lifted", actor=actor, owner=owner, subject=freeze, after={"scope": scope}, reason=reason
    )
    _log_on_commit("accounts.freeze.lifted", freeze)
    return freeze


def _lock(owner: UUID, scope: str) -> tuple[LockedWallet, ...]:
    """The wallets a freeze is written on; for LOGIN the person, whose row every log-in locks."""
    if scope != Scope.LOGIN:
        return gates.lock_wallets_of(owner)
    User.objects.select_for_update(no_key=True).order_by("pk").get(pk=owner)
    return ()


def _log_on_commit(event: str, freeze: Freeze) -> None:
    transaction.on_commit(
        partial(logger.info, event, freeze_id=str(freeze.pk), user_id=str(freeze.owner_id), scope=freeze.scope),
        robust=True,
    )
