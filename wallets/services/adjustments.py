"""What no operation can put right, two members of staff put right together: one proposes it, another one decides."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from functools import partial
from uuid import UUID

import structlog
from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from core import audit, db
from core.audit import Actor, ActorKind
from core.db import retry_on_conflict
from core.errors import DomainError
from core.idempotency import system_digest
from core.money import require_precision, show
from wallets import ledger
from wallets.ledger import Leg, LockedWallet, Reason, Type, WalletNotFound
from wallets.models import HOUSE_KINDS, Adjustment, Kind, Wallet
from wallets.rules import (
    ApprovalOfOneself,
    ProposerDecides,
    WalletNotActive,
    require_available,
    require_reason,
)

logger = structlog.get_logger(__name__)

Direction = Adjustment.Direction
Status = Adjustment.Status


class AdjustmentNotFound(DomainError):
    code = "ADJUSTMENT_NOT_FOUND"
    message = "There is no such adjustment."
    status = 404


class CashWalletRequired(DomainError):
    code = "CASH_WALLET_REQUIRED"
    message = (
        "Wallet {number} carries a trading account, and only cash wallets are adjusted; the client moves money between"
        " the two by a transfer and a release."
    )


class AdjustmentTooLarge(DomainError):
    code = "ADJUSTMENT_TOO_LARGE"
    message = "One adjustment moves at most {max} {currency}."


class AdjustmentSentAlready(DomainError):
    code = "ADJUSTMENT_SENT_ALREADY"
    message = "This form has been sent, and its adjustment is proposed; open a new form for another one."
    status = 409


class AdjustmentDecided(DomainError):
    code = "ADJUSTMENT_DECIDED"
    message = "This adjustment is {status} already."
    status = 409


class NotItsProposer(DomainError):
    code = "NOT_ITS_PROPOSER"
    message = "Only whoever proposed an adjustment withdraws it; you can reject it."


@retry_on_conflict
@transaction.atomic(durable=True)
def propose_adjustment(
    *, wallet: str, direction: str, amount: Decimal, reason: str, actor: Actor, key: str, reference: str = ""
) -> Adjustment:
    """
    Propose to credit or debit a client's CASH wallet; nothing moves until somebody else approves.

    `wallet` is its number; `amount` is in its currency, at minor-unit precision. `key` names the filled-in form, so
    that sending it twice proposes once. `reference` is for the client's statement, `reason` for the file.

    :raises ReasonRequired: without a reason
    :raises WalletNotFound: if there is no client's wallet of this number
    :raises ApprovalOfOneself: if it is the actor's own
    :raises CashWalletRequired: if it carries a trading account, whose equity trading alone may move
    :raises PrecisionExceeded: if the amount has more decimals than the currency
    :raises AdjustmentTooLarge: above ADJUSTMENT_MAX
    :raises AdjustmentSentAlready: if this form has been sent before
    """
    assert actor.kind == ActorKind.STAFF, "people decide about money"
    assert amount > 0, "forms refuse amounts that are not positive"
    require_reason(reason)
    row = Wallet.objects.filter(number=wallet).exclude(kind__in=HOUSE_KINDS).first()
    if row is None:
        raise WalletNotFound(number=wallet)
    _require_adjustable(row, amount, actor)
    adjustment = Adjustment(
        owner_id=row.owner_id,
        wallet=row,
        direction=Direction(direction),
        amount=amount,
        currency=row.currency,
        reason=reason,
        reference=reference,
        idempotency_digest=system_digest("propose-adjustment", str(actor.id), key),
        proposed_by_id=actor.id,
        proposed_at=timezone.now(),
    )
    try:
        adjustment.save(force_insert=True)
    except IntegrityError as error:
        if db.constraint(error) == "adjustment_idempotency_digest":
            raise AdjustmentSentAlready from error
        raise
    _record("wallets.adjustment.proposed", adjustment, actor=actor, reason=reason)
    return adjustment


def _require_adjustable(wallet: Wallet, amount: Decimal, actor: Actor) -> None:
    if wallet.owner_id == actor.id:
        raise ApprovalOfOneself
    if wallet.kind != Kind.CASH:
        raise CashWalletRequired(number=wallet.number)
    require_precision(amount, wallet.currency)
    if amount > settings.ADJUSTMENT_MAX:
        raise AdjustmentTooLarge(max=show(settings.ADJUSTMENT_MAX, wallet.currency), currency=wallet.currency)


@retry_on_conflict
@transaction.atomic(durable=True)
def approve_adjustment(*, adjustment_id: UUID, reason: str, actor: Actor) -> Adjustment:
    """
    Post a proposed adjustment, once, for ever. Freezes do not stop it: the desk puts its own books right.

    A debit takes what is available and never overdraws: what withdrawals hold stays held.

    :raises ReasonRequired: without a reason
    :raises AdjustmentNotFound: if there is no such adjustment
    :raises ApprovalOfOneself, ProposerDecides: if the wallet or the proposal is the actor's own
    :raises AdjustmentDecided: if it is approved, rejected or withdrawn
    :raises WalletNotActive: if the wallet is closed
    :raises InsufficientFunds: if a debit finds less available
    """
    wallet, adjustment = _lock_for_checker(adjustment_id, reason, actor)
    if wallet.status == Wallet.Status.CLOSED:
        raise WalletNotActive(number=wallet.number, status=wallet.status)
    amount = adjustment.amount
    if adjustment.direction == Direction.DEBIT:
        require_available(wallet, amount)
        amount = -amount
    house = ledger.house(Kind.HOUSE_ADJUSTMENT, wallet.currency, wallet.environment)
    now = timezone.now()
    posted = ledger.post(
        [Leg(wallet, amount, Reason.ADJUSTMENT), Leg(house, -amount, Reason.ADJUSTMENT)],
        type=Type.ADJUSTMENT,
        owner=wallet.owner,
        actor=actor,
        now=now,
        digest=system_digest("adjustment", str(adjustment.id)),
        reason=adjustment.reason,
        reference=adjustment.reference,
    )
    adjustment.transaction_id = posted.id
    _decide(adjustment, Status.APPROVED, reason=reason, actor=actor, now=now)
    _record("wallets.adjustment.approved", adjustment, actor=actor, reason=reason)
    return adjustment


@retry_on_conflict
@transaction.atomic(durable=True)
def reject_adjustment(*, adjustment_id: UUID, reason: str, actor: Actor) -> Adjustment:
    """
    Turn a proposed adjustment down; nothing is posted.

    :raises ReasonRequired, AdjustmentNotFound, ApprovalOfOneself, ProposerDecides, AdjustmentDecided: as for an
        approval
    """
    _, adjustment = _lock_for_checker(adjustment_id, reason, actor)
    _decide(adjustment, Status.REJECTED, reason=reason, actor=actor, now=timezone.now())
    _record("wallets.adjustment.rejected", adjustment, actor=actor, reason=reason)
    return adjustment


@retry_on_conflict
@transaction.atomic(durable=True)
def withdraw_adjustment(*, adjustment_id: UUID, reason: str, actor: Actor) -> Adjustment:
    """
    Take back what one has proposed oneself, before anybody has decided about it.

    :raises ReasonRequired, AdjustmentNotFound, AdjustmentDecided: as for an approval
    :raises NotItsProposer: if somebody else has proposed it
    """
    _, adjustment = _lock(adjustment_id, reason, actor)
    if adjustment.proposed_by_id != actor.id:
        raise NotItsProposer
    _require_open(adjustment)
    _decide(adjustment, Status.WITHDRAWN, reason=reason, actor=actor, now=timezone.now())
    _record("wallets.adjustment.withdrawn", adjustment, actor=actor, reason=reason)
    return adjustment


# --- Steps they share -----------------------------------------------------------------------------------------------


def _lock(adjustment_id: UUID, reason: str, actor: Actor) -> tuple[LockedWallet, Adjustment]:
    """The wallet first, then the proposal: read without a lock to learn the wallet, read again under both."""
    assert actor.kind == ActorKind.STAFF, "people decide about money"
    require_reason(reason)
    wallet_id = Adjustment.objects.filter(pk=adjustment_id).values_list("wallet_id", flat=True).first()
    if wallet_id is None:
        raise AdjustmentNotFound
    (wallet,) = ledger.lock_wallets_by_id(wallet_id)
    return wallet, Adjustment.objects.select_for_update(no_key=True).order_by("pk").get(pk=adjustment_id)


def _lock_for_checker(adjustment_id: UUID, reason: str, actor: Actor) -> tuple[LockedWallet, Adjustment]:
    """Lock for somebody who is neither the client nor the proposer."""
    wallet, adjustment = _lock(adjustment_id, reason, actor)
    if adjustment.owner_id == actor.id:
        raise ApprovalOfOneself
    if adjustment.proposed_by_id == actor.id:
        raise ProposerDecides
    _require_open(adjustment)
    return wallet, adjustment


def _require_open(adjustment: Adjustment) -> None:
    if adjustment.status != Status.PROPOSED:
        raise AdjustmentDecided(status=adjustment.status)


def _decide(adjustment: Adjustment, outcome: Status, *, reason: str, actor: Actor, now: datetime) -> None:
    adjustment.status, adjustment.decided_by_id, adjustment.decided_at = outcome, actor.id, now
    adjustment.decision = reason
    adjustment.save(update_fields=["status", "transaction", "decided_by", "decided_at", "decision"])


def _record(action: str, adjustment: Adjustment, *, actor: Actor, reason: str) -> None:
    audit.record(
        action,
        actor=actor,
        owner=adjustment.owner_id,
        subject=adjustment,
        before=None if adjustment.status == Status.PROPOSED else {"status": Status.PROPOSED},
        after={
            "status": adjustment.status,
            "direction": adjustment.direction,
            "amount": adjustment.amount,
            "transaction": adjustment.transaction_id,
        },
        reason=reason,
    )
    transaction.on_commit(partial(logger.info, action, adjustment_id=str(adjustment.id)), robust=True)
