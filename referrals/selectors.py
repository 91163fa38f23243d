"""What can be asked about referrals without changing any of them; a referrer sees their own, and of others a mask."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from django.db.models import Q, QuerySet

from accounts.models import User
from referrals.models import Accrual, Commission, CommissionPlan, Debt
from trading.models import Deal
from wallets.models import Deposit, Entry, Environment, Kind, Wallet


# --- What the jobs ask ------------------------------------------------------------------------------------------------


def accruals_waiting() -> QuerySet[Accrual]:
    """Closing deals that nobody has decided about yet, oldest first: a partial index, as short as what is due."""
    return Accrual.objects.filter(outcome=Accrual.Outcome.PENDING).order_by("deal_id")


def plans() -> list[CommissionPlan]:
    """Every version of every plan: a handful, read once per batch."""
    return list(CommissionPlan.objects.order_by("valid_from", "id"))


def closing_deals(ids: Iterable[UUID]) -> dict[UUID, Deal]:
    return Deal.objects.select_related("position").in_bulk(list(ids))


def opening_deals(positions: Iterable[UUID]) -> dict[UUID, Deal]:
    """The one deal that opened each position."""
    rows = Deal.objects.filter(position_id__in=list(positions), entry=Deal.Entry.IN)
    return {deal.position_id: deal for deal in rows}


def people(ids: Iterable[UUID]) -> dict[UUID, User]:
    """What is asked of clients and referrers when a deal is rewarded: where they live, and whether they are active."""
    return User.objects.only("id", "country", "is_active").in_bulk(list(ids))


def first_deposits(clients: Iterable[UUID]) -> dict[UUID, Deposit]:
    """
    The first deposit that ever arrived in a live wallet of each client, if it is still there.

    One that was taken back again is followed by no second first one.
    """
    arrived = Q(status__in=[Deposit.Status.COMPLETED, Deposit.Status.REVERSED], wallet__environment=Environment.LIVE)
    rows = (
        Deposit.objects.filter(arrived, owner_id__in=list(clients))
        .order_by("owner_id", "completed_at", "id")
        .distinct("owner_id")
    )
    return {row.owner_id: row for row in rows if row.status == Deposit.Status.COMPLETED}


def clients_rewarded_for_a_deposit(clients: Iterable[UUID]) -> set[UUID]:
    rows = Commission.objects.filter(client_id__in=list(clients), deposit__isnull=False)
    return set(rows.values_list("client_id", flat=True))


def commissions_on_hold(created_before: datetime) -> QuerySet[Commission]:
    """Commissions whose hold is over, oldest first."""
    rows = Commission.objects.filter(status=Commission.Status.PENDING, created_at__lte=created_before)
    return rows.order_by("created_at", "id")


def referrers_to_pay() -> QuerySet[Commission, UUID]:
    """Everybody with an approved commission that is not paid, each once, by id."""
    rows = Commission.objects.filter(status=Commission.Status.APPROVED)
    return rows.values_list("owner_id", flat=True).distinct().order_by("owner_id")


def commissions_to_pay(referrer: UUID) -> QuerySet[Commission]:
    return Commission.objects.filter(owner_id=referrer, status=Commission.Status.APPROVED).order_by("id")


def debts_open(referrer: UUID) -> QuerySet[Debt]:
    return Debt.objects.filter(owner_id=referrer, settled_at__isnull=True).order_by("id")


def payout_wallets(referrer: UUID, currencies: Iterable[str]) -> dict[str, UUID]:
    """The live cash wallet that a referrer is paid into, by currency: their oldest that is active."""
    rows = Wallet.objects.filter(
        owner_id=referrer,
        environment=Environment.LIVE,
        kind=Kind.CASH,
        currency__in=list(currencies),
        status=Wallet.Status.ACTIVE,
    ).order_by("-id")
    return dict(rows.values_list("currency", "id"))


def wallet_paid_into(commission: Commission) -> UUID:
    """The wallet that a paid commission went into."""
    return Entry.objects.values_list("wallet_id", flat=True).get(
        owner_id=commission.owner_id,
        transaction_id=commission.transaction_id,
        reason=Entry.Reason.REFERRAL_COMMISSION,
        wallet_version__isnull=False,
    )
