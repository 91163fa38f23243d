"""What is known about people: every answer is scoped to one owner, or is for staff and the desk itself."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone
from django_otp.plugins.otp_static.models import StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice

from accounts.models import ApiToken, Freeze, ReferrerChange, StaffSession, TradingAccount, User, Verification
from core import db
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


# --- Staff ----------------------------------------------------------------------------------------------------------


def staff_members() -> QuerySet[User]:
    """Whoever works here or did, with their roles and `has_second_factor`; those who do come first."""
    device = TOTPDevice.objects.filter(user_id=OuterRef("pk"), confirmed=True)
    members = User.objects.filter(is_staff=True).prefetch_related("groups")
    return members.annotate(has_second_factor=Exists(device)).order_by("-is_active", "email")


def staff_session(digest: bytes) -> StaffSession | None:
    """The session that has this key."""
    return StaffSession.objects.filter(digest=digest).first()


def staff_sessions() -> QuerySet[StaffSession]:
    """Everybody's sessions in the back office, newest first."""
    return StaffSession.objects.select_related("owner", "ended_by").order_by("-id")


def recovery_codes_left(owner: UUID) -> int:
    left: int = StaticToken.objects.filter(device__user_id=owner, device__confirmed=True).count()
    return left


# --- Who referred whom ----------------------------------------------------------------------------------------------
# The user's row has the referrer of now. What was before a change is in the change: the first one after a moment knows
# who it replaced. Two clients who share a bank account are one person to us, and nobody refers themselves: from the
# moment both have it on file, nothing is owed for it. That is read off the bank accounts, which are never deleted, so
# no later step can forget it.

_REFERRER_AT = """
SELECT f.referrer
  FROM (SELECT CASE WHEN h.id IS NULL THEN u.referred_by_id ELSE h.previous_id END AS referrer
          FROM accounts_user u
          LEFT JOIN LATERAL (SELECT c.id, c.previous_id FROM accounts_referrerchange c
                              WHERE c.owner_id = u.id AND c.status = 'APPROVED' AND c.effective_from > {moment}
                              ORDER BY c.effective_from LIMIT 1) h ON true
         WHERE u.id = {client}) f
 WHERE f.referrer IS NOT NULL
   AND NOT EXISTS (SELECT FROM wallets_bankaccount a
                     JOIN wallets_bankaccount b ON b.number_hash = a.number_hash AND b.owner_id = f.referrer
                    WHERE a.owner_id = {client} AND greatest(a.created_at, b.created_at) <= {moment})
"""
_CHAINS_SQL = f"""
SELECT asked.place, upline.level, upline.id
  FROM unnest(%(clients)s::uuid[], %(moments)s::timestamptz[]) WITH ORDINALITY AS asked (client, moment, place)
 CROSS JOIN LATERAL (
       WITH RECURSIVE chain AS (
           SELECT 0 AS level, asked.client AS id
           UNION ALL
           SELECT chain.level + 1, above.referrer
             FROM chain
            CROSS JOIN LATERAL ({_REFERRER_AT.format(client="chain.id", moment="asked.moment")}) above
            WHERE chain.level < %(levels)s::int
       )
       SELECT chain.level, chain.id
         FROM chain
        WHERE chain.level > 0
          AND NOT EXISTS (SELECT FROM wallets_bankaccount a
                            JOIN wallets_bankaccount b ON b.number_hash = a.number_hash AND b.owner_id = chain.id
                           WHERE a.owner_id = asked.client
                             AND greatest(a.created_at, b.created_at) <= asked.moment)
       ) upline
 ORDER BY asked.place, upline.level
"""  # noqa: S608 - put together from our own text
_UPLINE_SQL = """
WITH RECURSIVE upline AS (
    SELECT u.id, u.referred_by_id FROM accounts_user u WHERE u.id = %(client)s::uuid
    UNION
    SELECT u.id, u.referred_by_id FROM accounts_user u JOIN upline ON u.id = upline.referred_by_id
)
SELECT id FROM upline
"""


class Upline(NamedTuple):
    """One of those above a client: level 1 referred them, level 2 referred level 1, and so on."""

    level: int
    referrer: UUID


def referrer(code: str | None) -> User | None:
    """Who gave out this referral code."""
    if code is None:
        return None
    return User.objects.filter(referral_code=code, is_active=True).first()


def referrer_at(client: UUID, moment: datetime) -> UUID | None:
    """Who referred a client, as it stood at a moment; None for nobody, and for one who is the same person."""
    chain = referral_chain(client, moment, levels=1)
    return chain[0].referrer if chain else None


def referral_chain(client: UUID, moment: datetime, *, levels: int = 3) -> list[Upline]:
    """
    Those above a client as it stood at a moment, nearest first, in one query.

    The chain ends where somebody was referred by nobody or by themselves. Who shares a bank account with the client
    is left out, and those above them move no nearer.
    """
    return referral_chains([(client, moment)], levels=levels)[0]


def referral_chains(asked: Sequence[tuple[UUID, datetime]], *, levels: int = 3) -> list[list[Upline]]:
    """The `referral_chain` of each client at each moment that is asked about, in that order, in one query."""
    chains: list[list[Upline]] = [[] for _ in asked]
    clients, moments = [client for client, _ in asked], [moment for _, moment in asked]
    for place, level, id_ in db.fetch_all(_CHAINS_SQL, {"clients": clients, "moments": moments, "levels": levels}):
        chains[place - 1].append(Upline(level, id_))
    return chains


def upline(client: UUID) -> set[UUID]:
    """A client and everybody above them now, however far; whoever is in here cannot be referred by the client."""
    return {id_ for (id_,) in db.fetch_all(_UPLINE_SQL, {"client": client})}


def referrer_changes(owner: UUID) -> QuerySet[ReferrerChange]:
    """What staff proposed about who referred a client, and what became of it."""
    return ReferrerChange.objects.filter(owner_id=owner)


# --- How they are spelled -------------------------------------------------------------------------------------------
# One spelling for the answer that a service stores and for whoever reads the row later.


def person_document(user: User) -> dict[str, Any]:
    """A person as they see themselves."""
    return {
        "id": user.id,
        "number": user.number,
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
