"""A commission that should not have been is reversed: stopped if it was not paid yet, and otherwise taken back."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from functools import partial
from uuid import UUID

import structlog
from django.db import transaction
from django.utils import timezone

from core import audit
from core.audit import Actor, ActorKind
from core.db import retry_on_conflict
from core.errors import Contended
from core.idempotency import system_digest
from core.ids import uuid7
from referrals import selectors
from referrals.models import Commission, Debt
from referrals.rules import CommissionNotFound, CommissionStateRefused
from wallets import ledger
from wallets.ledger import Leg, LockedWallet, Reason, Type
from wallets.models import Kind
from wallets.rules import ApprovalOfOneself, require_reason

logger = structlog.get_logger(__name__)

Status = Commission.Status


@retry_on_conflict
@transaction.atomic(durable=True)
def reverse_commission(*, commission_id: UUID, reason: str, actor: Actor) -> Commission:
    """
    Reverse a commission, once, for ever.

    What was paid is taken back out of the wallet it went into, as far as that has it available; what it lacks becomes a
    debt, and is withheld from the referrer's next payouts. The wallet never goes below zero, and freezes do not stop
    it, since it takes money that was never theirs.

    :raises ReasonRequired: without a reason
    :raises CommissionNotFound: if there is no such commission
    :raises ApprovalOfOneself: if it is the actor's own
    :raises CommissionStateRefused: if it is reversed already
    :raises Contended: if it was paid at this very moment; try again
    """
    assert actor.kind == ActorKind.STAFF
    require_reason(reason)
    seen = Commission.objects.filter(pk=commission_id).first()
    if seen is None:
        raise CommissionNotFound
    if actor.id == seen.owner_id:
        raise ApprovalOfOneself
    wallet = None
    if seen.transaction_id is not None:
        (wallet,) = ledger.lock_wallets_by_id(selectors.wallet_paid_into(seen))
    row = Commission.objects.select_for_update(no_key=True).order_by("pk").get(pk=commission_id)
    if row.status == Status.REVERSED:
        raise CommissionStateRefused(status=row.status)
    if row.transaction_id != seen.transaction_id:
        raise Contended
    before, now = row.status, timezone.now()
    taken, owed = Decimal(0), Decimal(0)
    if wallet is not None:
        taken = min(row.amount, wallet.available)
        owed = row.amount - taken
        row.reversal_id = _take_back(row, wallet, taken, reason=reason, actor=actor, now=now)
    row.status, row.reason, row.reversed_at, row.reversed_by = Status.REVERSED, reason, now, actor.id
    row.save(update_fields=["status", "reason", "reversal", "reversed_at", "reversed_by"])
    if owed:
        Debt.objects.create(
            id=uuid7(), owner_id=row.owner_id, commission=row, currency=row.currency, amount=owed, created_at=now
        )
    audit.record(
        "referrals.commission.reversed",
        actor=actor,
        owner=row.owner_id,
        subject=row,
        before={"status": before},
        after={"status": row.status, "taken_back": taken, "owed": owed},
        reason=reason,
    )
    event = partial(logger.info, "referrals.commission.reversed", commission_id=str(row.id))
    transaction.on_commit(event, robust=True)
    return row


def _take_back(
    row: Commission, wallet: LockedWallet, amount: Decimal, *, reason: str, actor: Actor, now: datetime
) -> UUID | None:
    """
    Post what comes back.

    Not as a REVERSAL, which undoes a whole posting: the payout paid other commissions as well.
    """
    if not amount:
        return None
    expense = ledger.house(Kind.HOUSE_REFERRAL_EXPENSE, wallet.currency, wallet.environment)
    return ledger.post(
        [Leg(wallet, -amount, Reason.REVERSAL), Leg(expense, amount, Reason.REVERSAL)],
        type=Type.REFERRAL,
        owner=wallet.owner,
        actor=actor,
        now=now,
        digest=system_digest("reverse-commission", str(row.id)),
        reason=reason,
        reference=f"commission {row.id}",
    ).id
