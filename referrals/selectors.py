"""What can be asked about referrals without changing any of them; a referrer sees their own, and of others a mask."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models import Case, Count, DateTimeField, Exists, F, OuterRef, Q, QuerySet, Sum, Value, When
from django.db.models.functions import Trunc

from accounts.models import User
from core.money import show
from referrals.models import Accrual, BonusIdentity, BonusPolicy, Commission, CommissionPlan, Debt, SignupBonus
from trading import margin
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


def counts_to_pay(referrer: UUID) -> dict[str, int]:
    """How many approved commissions a referrer has in each currency."""
    rows = commissions_to_pay(referrer).order_by().values_list("currency").annotate(count=Count("pk"))
    return dict(rows)


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


# --- What a referrer sees ---------------------------------------------------------------------------------------------

#: How far a referred person has come; each step implies the one before, or never happened without it.
SIGNED_UP, VERIFIED, FUNDED, TRADED = STEPS = ("SIGNED_UP", "VERIFIED", "FUNDED", "TRADED")


def referred(owner: UUID) -> QuerySet[User]:
    """Whom a client has referred, with the furthest `step` that each has come to."""
    live = Q(environment=Environment.LIVE)
    verified = Wallet.objects.filter(live, owner_id=OuterRef("pk"), verified=True)
    funded = Deposit.objects.filter(
        owner_id=OuterRef("pk"), status=Deposit.Status.COMPLETED, wallet__environment=Environment.LIVE
    )
    traded = Deal.objects.filter(owner_id=OuterRef("pk"), account__environment=Environment.LIVE)
    step = Case(
        When(Exists(traded), then=Value(TRADED)),
        When(Exists(funded), then=Value(FUNDED)),
        When(Exists(verified), then=Value(VERIFIED)),
        default=Value(SIGNED_UP),
    )
    return User.objects.filter(referred_by_id=owner).annotate(step=step)


def commissions(owner: UUID) -> QuerySet[Commission]:
    """A referrer's commissions with what each is for."""
    return Commission.objects.select_related("plan", "deal", "client", "debt").filter(owner_id=owner)


def statistics(owner: UUID, *, since: datetime | None, until: datetime | None, period: str) -> dict[str, Any]:
    """
    What a referrer's clients came to: `since` is included and `until` is not.

    The funnel is of those who signed up in between, the rest is of commissions that came about in between. `period` is
    day, week or month, in UTC.
    """
    joined = between("created_at", since, until)
    people_by_step: Any = referred(owner).filter(joined).order_by()  # `step` is no column, and unknown to its type
    steps = dict(people_by_step.values_list("step").annotate(count=Count("pk")))
    rows = Commission.objects.filter(between("created_at", since, until), owner_id=owner)
    active = rows.aggregate(clients=Count("client_id", distinct=True), lots=Sum("volume"))
    groups = (
        rows.annotate(begins=Trunc("created_at", period, output_field=DateTimeField()))
        .values("begins", "level", "status", "currency")
        .annotate(count=Count("pk"), amount=Sum("amount"))
        .order_by("begins", "level", "status", "currency")
    )
    owed = debts_open(owner).order_by().values_list("currency").annotate(amount=Sum(F("amount") - F("settled")))
    return {
        # Whoever has come further has come this far too.
        "funnel": {
            step.lower(): sum(steps.get(further, 0) for further in STEPS[place:]) for place, step in enumerate(STEPS)
        },
        "active_clients": active["clients"],
        "lots": active["lots"] or Decimal(0),
        "commissions": list(groups),
        "owed": sorted(owed),
    }


def between(column: str, since: datetime | None, until: datetime | None) -> Q:
    found = Q()
    if since is not None:
        found &= Q(**{f"{column}__gte": since})
    if until is not None:
        found &= Q(**{f"{column}__lt": until})
    return found


# --- How they are spelled ---------------------------------------------------------------------------------------------


def masked(name: str) -> str:
    """A name as somebody else may see it: enough to know whom one has invited, too little to know who it is."""
    return " ".join(f"{part[0]}•••" for part in name.split()) or "•••"


def link(code: str) -> str:
    """Where a client sends those they invite."""
    return f"{settings.CLIENT_APP_URL}/signup?referral_code={code}"


def referred_document(person: Any) -> dict[str, Any]:
    return {"name": masked(person.name), "joined_at": person.created_at, "status": person.step}


def commission_document(row: Commission) -> dict[str, Any]:
    """A commission with everything it can be traced by, from the deal to the posting and back."""
    debt = getattr(row, "debt", None)
    deal = None
    if row.deal is not None:
        deal = {
            "id": row.deal.id,
            "symbol": row.deal.instrument_id,
            "volume": margin.plain(row.deal.volume),
            "executed_at": row.deal.executed_at,
        }
    return {
        "id": row.id,
        "status": row.status,
        "level": row.level,
        "amount": show(row.amount, row.currency),
        "currency": row.currency,
        "client": masked(row.client.name),
        "plan": {"code": row.plan.code, "version": row.plan.version, "kind": row.plan.kind},
        "deal": deal,
        "deposit": row.deposit_id,
        "transaction": row.transaction_id,
        "reversal": row.reversal_id,
        "owed": None if debt is None else show(debt.amount - debt.settled, row.currency),
        "created_at": row.created_at,
        "approved_at": row.approved_at,
        "paid_at": row.paid_at,
        "reversed_at": row.reversed_at,
    }


def statistics_document(figures: dict[str, Any]) -> dict[str, Any]:
    return {
        "funnel": figures["funnel"],
        "active_clients": figures["active_clients"],
        "lots": margin.plain(figures["lots"]),
        "commissions": [
            {
                "period": group["begins"].date(),
                "level": group["level"],
                "status": group["status"],
                "currency": group["currency"],
                "count": group["count"],
                "amount": show(group["amount"], group["currency"]),
            }
            for group in figures["commissions"]
        ],
        "owed": {currency: show(amount, currency) for currency, amount in figures["owed"]},
    }


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
