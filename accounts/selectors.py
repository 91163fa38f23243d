"""What is known about people: every answer is scoped to one owner, or is for staff and the desk itself."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.utils import timezone

from accounts.models import ApiToken, Freeze, TradingAccount, User, Verification
from wallets.models import GATED_KINDS, Environment, Wallet


def person(owner: UUID) -> User:
    """The person's own row; :raises User.DoesNotExist: for an id that came from nowhere"""
    return User.objects.get(pk=owner)


def trading_accounts(owner: UUID) -> QuerySet[TradingAccount]:
    """A client's trading accounts with their margin wallets, oldest first."""
    return TradingAccount.objects.filter(owner_id=owner).select_related("wallet").order_by("id")


def wallet_ids(owner: UUID) -> list[UUID]:
    """A client's gated wallets in the order in which they are locked."""
    return list(Wallet.objects.filter(owner_id=owner, kind__in=GATED_KINDS).order_by("id").values_list("id", flat=True))


def has_live_account(owner: UUID) -> bool:
    return TradingAccount.objects.filter(owner_id=owner, environment=Environment.LIVE).exists()


def tokens_in_force(owner: UUID) -> QuerySet[ApiToken]:
    """A client's tokens that are neither revoked nor past their end."""
    return ApiToken.objects.filter(owner_id=owner, revoked_at__isnull=True, expires_at__gt=timezone.now())


def verification(owner: UUID) -> Verification | None:
    """Where a client stands with compliance: the newest row counts, and a demo client has none."""
    return Verification.objects.filter(owner_id=owner).order_by("-id").first()


def scopes_frozen(owner: UUID) -> list[str]:
    """What is frozen for a client right now."""
    return list(
        Freeze.objects.filter(owner_id=owner, lifted_at__isnull=True).order_by("scope").values_list("scope", flat=True)
    )


def freezes_due(now: datetime) -> QuerySet[Freeze]:
    """Freezes in force whose time is over."""
    return Freeze.objects.filter(lifted_at__isnull=True, expires_at__lte=now).order_by("expires_at", "id")


def referrer(code: str | None) -> UUID | None:
    """Who gave out this referral code."""
    if code is None:
        return None
    return User.objects.filter(referral_code=code, is_active=True).values_list("id", flat=True).first()


# --- How they are spelled -------------------------------------------------------------------------------------------
# One spelling for the answer that a service stores and for whoever reads the row later.


def person_document(user: User) -> dict[str, Any]:
    """A person as they see themselves."""
    return {
        "id": user.id,
        "email": user.email,
        "email_confirmed": user.email_confirmed_at is not None,
        "name": user.name,
        "phone": user.phone,
        "country": user.country,
        "date_of_birth": None if user.date_of_birth is None else user.date_of_birth.isoformat(),
        "address": user.address,
        "referral_code": user.referral_code,
        "created_at": user.created_at,
    }


def profile_document(user: User) -> dict[str, Any]:
    """A person with where they stand: their verification, what is frozen, and what they trade through."""
    newest = verification(user.pk)
    return person_document(user) | {
        "verification": None if newest is None else verification_document(newest),
        "frozen": scopes_frozen(user.pk),
        "trading_accounts": [
            trading_account_document(account, wallet=account.wallet.number) for account in trading_accounts(user.pk)
        ],
    }


def trading_account_document(account: TradingAccount, *, wallet: str) -> dict[str, Any]:
    """A trading account's own facts; `wallet` is the number of its margin wallet."""
    return {
        "number": account.number,
        "environment": account.environment,
        "currency": account.currency,
        "leverage": account.leverage,
        "jurisdiction": account.jurisdiction,
        "is_self_trading": account.is_self_trading,
        "wallet": wallet,
        "created_at": account.created_at,
    }


def verification_document(row: Verification) -> dict[str, Any]:
    """
    A verification as its client sees it.

    What an approval or a rejection was based on stays inside; what is still missing is said.
    """
    is_waiting_for_client = row.status == Verification.Status.ACTION_REQUIRED
    return {
        "id": row.id,
        "status": row.status,
        "documents": row.documents,
        "action_required": row.reason if is_waiting_for_client else "",
        "submitted_at": row.submitted_at,
        "reviewed_at": row.reviewed_at,
    }
