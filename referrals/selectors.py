"""What can be asked of rewards, without changing any of them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from core.money import show
from referrals.models import BonusIdentity, BonusPolicy, SignupBonus

# --- Sign-up bonus --------------------------------------------------------------------------------------------------


def bonus_policy(currency: str, moment: datetime) -> BonusPolicy | None:
    """The policy that is in force for a currency: of those that have begun, the newest version."""
    begun = BonusPolicy.objects.filter(currency=currency, valid_from__lte=moment)
    return begun.order_by("-version").first()


def bonuses(owner: UUID) -> QuerySet[SignupBonus]:
    """A client's bonus, with its account and the wallet that has what is left of it."""
    return SignupBonus.objects.filter(owner_id=owner).select_related("account__wallet")


def is_known(digests: Iterable[bytes]) -> bool:
    """Whether somebody with one of these had a bonus."""
    return BonusIdentity.objects.filter(digest__in=list(digests)).exists()


def bonuses_due(now: datetime) -> QuerySet[SignupBonus]:
    """Bonuses of all clients whose time was over at `now`, and which have not been taken back yet; longest first."""
    return SignupBonus.objects.filter(status=SignupBonus.Status.ACTIVE, expires_at__lte=now).order_by(
        "expires_at", "id"
    )


def bonus_document(bonus: SignupBonus, *, account: str, remaining: Decimal) -> dict[str, Any]:
    """A bonus as its owner sees it; `remaining` is what is left of it now."""
    return {
        "id": bonus.id,
        "account": account,
        "amount": show(bonus.amount, bonus.currency),
        "remaining": show(remaining, bonus.currency),
        "currency": bonus.currency,
        "status": bonus.status,
        "transaction": bonus.transaction_id,
        "granted_at": bonus.granted_at,
        "expires_at": bonus.expires_at,
        "ended_at": bonus.ended_at,
    }


def remaining(bonus: SignupBonus) -> Decimal:
    """What is left of a bonus: the account's credit, and nothing once it has ended."""
    if bonus.status != SignupBonus.Status.ACTIVE:
        return Decimal(0)
    left: Decimal = min(bonus.amount, bonus.account.wallet.credit)
    return left
