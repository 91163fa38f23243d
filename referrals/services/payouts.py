"""
A sweep pays a referrer everything approved at once: one lock on their wallets, one posting per currency.

A posting is named for ever by the first commission in it, and each commission names its posting: none is paid twice. A
referrer who owes, because a reversed commission was spent already, has that withheld in the same posting.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import partial
from uuid import UUID

import structlog
from django.db import transaction
from django.utils import timezone

from core import db
from core.audit import Actor
from core.db import retry_on_conflict
from core.idempotency import system_digest
from core.ids import uuid7
from referrals import selectors
from referrals.models import Commission, Debt, DebtSettlement
from wallets import ledger
from wallets.ledger import Leg, LockedWallet, Reason, Type
from wallets.models import Environment, Kind, Wallet

logger = structlog.get_logger(__name__)

ACTOR = Actor.system("pay_commissions")

#: Commissions in one posting. It keeps the referrer waiting for as long as that takes; what is left comes next.
COMMISSIONS_MAX = 5_000

ZERO = Decimal(0)

# Sweeps side by side share the referrers out: whoever comes second leaves the referrer to the first.
_CLAIM_SQL = "SELECT pg_try_advisory_xact_lock(hashtextextended('referrals.payout:' || %(referrer)s::text, 0))"


@dataclass(slots=True)
class Paid:
    """What one sweep did for one referrer; `left` counts what stays approved, by the reason."""

    payouts: int = 0
    commissions: int = 0
    amounts: dict[str, Decimal] = field(default_factory=dict)
    withheld: dict[str, Decimal] = field(default_factory=dict)
    left: Counter[str] = field(default_factory=Counter)
    is_busy: bool = False
    is_done: bool = True


@retry_on_conflict
@transaction.atomic(durable=True)
def pay_referrer(*, referrer: UUID) -> Paid:
    """
    Pay a referrer's approved commissions into their live cash wallets, one posting per currency.

    At most `COMMISSIONS_MAX` per currency; `is_done` says whether that was all. What has no active wallet of its
    currency stays approved, and so does everything of a referrer who is not active. A referrer another sweep is at is
    left to it (`is_busy`). If the outcome of the commit is unknown, call it again.
    """
    paid = Paid()
    if not db.fetch_all(_CLAIM_SQL, {"referrer": str(referrer)})[0][0]:
        paid.is_busy = True
        return paid
    due = selectors.counts_to_pay(referrer)
    if not selectors.people([referrer])[referrer].is_active:
        paid.left["not_active"] = sum(due.values())
        return paid
    wallets = selectors.payout_wallets(referrer, due)
    paid.left["no_wallet"] = sum(count for currency, count in due.items() if currency not in wallets)
    if not wallets:
        return paid
    now = timezone.now()
    for wallet in ledger.lock_wallets_by_id(*wallets.values()):
        if wallet.status == Wallet.Status.ACTIVE:
            _pay(wallet, paid, now=now)
        else:  # frozen since it was looked up
            paid.left["no_wallet"] += due[wallet.currency]
    return paid


def _pay(wallet: LockedWallet, paid: Paid, *, now: datetime) -> None:
    """One posting of all that is due in a locked wallet's currency, less what its owner owes."""
    assert wallet.environment == Environment.LIVE
    assert wallet.kind == Kind.CASH
    due = selectors.commissions_to_pay(wallet.owner).filter(currency=wallet.currency)
    rows = list(due.select_for_update(no_key=True).order_by("id")[: COMMISSIONS_MAX + 1])
    if not rows:
        return
    paid.is_done = paid.is_done and len(rows) <= COMMISSIONS_MAX
    rows = rows[:COMMISSIONS_MAX]
    gross = sum((row.amount for row in rows), start=ZERO)
    withholdings = _withholdings(wallet, gross)
    withheld = sum((amount for _, amount in withholdings), start=ZERO)
    expense = ledger.house(Kind.HOUSE_REFERRAL_EXPENSE, wallet.currency, wallet.environment)
    posted = ledger.post(
        [
            Leg(wallet, gross, Reason.REFERRAL_COMMISSION),
            Leg(expense, -gross, Reason.REFERRAL_COMMISSION),
            Leg(wallet, -withheld, Reason.REVERSAL),
            Leg(expense, withheld, Reason.REVERSAL),
        ],
        type=Type.REFERRAL,
        owner=wallet.owner,
        actor=ACTOR,
        now=now,
        digest=system_digest("referral-payout", str(rows[0].id)),
        reason=f"{len(rows)} commissions",
    )
    ids = [row.id for row in rows]
    Commission.objects.filter(pk__in=ids).update(status=Commission.Status.PAID, paid_at=now, transaction_id=posted.id)
    _settle(withholdings, posted.id, now=now)
    paid.payouts += 1
    paid.commissions += len(rows)
    paid.amounts[wallet.currency] = gross
    if withheld:
        paid.withheld[wallet.currency] = withheld
    event = partial(logger.info, "referrals.payout.posted", transaction_id=str(posted.id), commissions=len(rows))
    transaction.on_commit(event, robust=True)


def _withholdings(wallet: LockedWallet, gross: Decimal) -> list[tuple[Debt, Decimal]]:
    """How much of each open debt a payout settles, oldest first, and never more than it pays."""
    open_ = selectors.debts_open(wallet.owner).filter(currency=wallet.currency)
    found, rest = [], gross
    for debt in open_.select_for_update(no_key=True).order_by("id"):
        amount = min(rest, debt.amount - debt.settled)
        if amount:
            found.append((debt, amount))
        rest -= amount
    return found


def _settle(withholdings: list[tuple[Debt, Decimal]], transaction_id: UUID, *, now: datetime) -> None:
    for debt, amount in withholdings:
        debt.settled += amount
        debt.settled_at = now if debt.settled == debt.amount else None
        debt.save(update_fields=["settled", "settled_at"])
    DebtSettlement.objects.bulk_create(
        DebtSettlement(
            id=uuid7(), owner_id=debt.owner_id, debt=debt, transaction_id=transaction_id, amount=amount, settled_at=now
        )
        for debt, amount in withholdings
    )
