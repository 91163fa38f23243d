"""A client's first deposit is rewarded once it was traded with, and once the desk has earned what the reward costs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from django.db.models import Q, Sum

from core import db
from core.ids import uuid7
from core.money import CURRENCIES
from referrals import arithmetic, selectors
from referrals.models import Accrual, Commission, CommissionPlan
from referrals.reckoning import Facts
from wallets.models import Deposit

Outcome = Accrual.Outcome
ZERO = Decimal(0)

#: Deals whose lots say nothing about whether a deposit was traded with.
LOTS_NOT_COUNTED = (Outcome.HELD_TOO_SHORT, Outcome.COUNTRY_BARRED, Outcome.UNREADABLE)

# Who adds up a client's deals waits for whoever is adding them up: between two that do not see each other's, neither
# might see enough.
_CLIENT_SQL = "SELECT pg_advisory_xact_lock(hashtextextended('referrals.first_deposit:' || %(client)s::text, 0))"


def reward(accruals: Sequence[Accrual], facts: Facts, *, now: datetime) -> list[Commission]:
    """
    Write the commissions of every first deposit whose conditions the `accruals` have fulfilled.

    Only trading can fulfil the last of them, so whoever decides about a deal asks; each client is rewarded for once.
    A deposit in another currency than the plan's earns nothing: nobody has quoted a rate for it.
    """
    db.require_transaction()
    if not any(plan.kind == CommissionPlan.Kind.FIRST_DEPOSIT for plan in facts.plans):
        return []
    last = {accrual.owner_id: accrual for accrual in accruals}
    open_ = last.keys() - selectors.clients_rewarded_for_a_deposit(last)
    deposits = selectors.first_deposits(open_)
    written: list[Commission] = []
    for client, deposit in sorted(deposits.items()):
        assert deposit.completed_at is not None
        plan = facts.plan_at(deposit.completed_at, for_deposits=True)
        if plan is None or not _is_enough(deposit, plan):
            continue
        db.fetch_all(_CLIENT_SQL, {"client": client})
        if selectors.clients_rewarded_for_a_deposit([client]):
            continue
        written += _reward(last[client], deposit, plan, facts, now=now)
    return written


def _is_enough(deposit: Deposit, plan: CommissionPlan) -> bool:
    assert plan.deposit_min is not None
    return deposit.currency == plan.currency and deposit.amount >= plan.deposit_min


def _reward(
    accrual: Accrual, deposit: Deposit, plan: CommissionPlan, facts: Facts, *, now: datetime
) -> list[Commission]:
    client = accrual.owner_id
    if facts.lives_where_it_is_barred(client, plan):
        return []
    unit = CURRENCIES[plan.currency].unit
    entitled = facts.entitled(accrual, plan)
    wanted = [plan.rates[level - 1] for level, _ in entitled]
    total = sum(wanted, start=ZERO)
    if not total or total > room(client, plan):
        return []
    amounts = arithmetic.shares(wanted, pool=total, unit=unit)
    rows = [
        Commission(
            id=uuid7(),
            owner_id=referrer,
            client_id=client,
            deposit=deposit,
            level=level,
            plan=plan,
            amount=amount,
            currency=plan.currency,
            created_at=now,
        )
        for (level, referrer), amount in zip(entitled, amounts, strict=True)
        if amount
    ]
    return Commission.objects.bulk_create(rows)


def room(client: UUID, plan: CommissionPlan) -> Decimal:
    """
    What a first deposit may cost by now: the pool of all that the client has earned the desk, less what was rewarded.

    Nothing before enough lots were closed. So even with its reward a client never costs more than the plan's part of
    what they brought in, and a deposit that is withdrawn again after a token trade earns nobody anything.
    """
    deals = Accrual.objects.filter(owner_id=client, currency=plan.currency, revenue__isnull=False)
    sums = deals.aggregate(revenue=Sum("revenue"), lots=Sum("volume", filter=~Q(outcome__in=LOTS_NOT_COUNTED)))
    assert plan.lots_min is not None
    if (sums["lots"] or ZERO) < plan.lots_min:
        return ZERO
    rewarded = Commission.objects.filter(client_id=client, currency=plan.currency).aggregate(sum=Sum("amount"))["sum"]
    unit = CURRENCIES[plan.currency].unit
    pool = arithmetic.pool(sums["revenue"] or ZERO, cap_percent=plan.cap_percent, unit=unit)
    return max(ZERO, pool - (rewarded or ZERO))
