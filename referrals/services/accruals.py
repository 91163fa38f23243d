"""
Rewards are pulled: long after a client's close has been answered, and never under a lock that a client waits for.

* A closing deal waits in a row of its own (`Accrual`), written with it. Jobs side by side claim those rows and skip
  what another has in hand, so they share the work without knowing of each other.
* What a deal pays is written in the transaction that marks its row as decided, so a crash leaves a deal decided or
  waiting. Behind that stands the database: one commission per deal and level.
* No wallet is touched here. What was accrued is paid by `pay_commissions`, with one lock per referrer and sweep.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any

import structlog
from django.db import connection, transaction
from django.utils import timezone

from core.db import retry_on_conflict
from core.errors import plain
from core.ids import uuid7
from referrals import first_deposits, reckoning, selectors
from referrals.models import Accrual, Commission
from referrals.reckoning import Decision, Facts

logger = structlog.get_logger(__name__)

#: Deals decided in one transaction.
BATCH = 200

# One statement for the whole batch: Django's bulk_update would spell a CASE per row and column to say the same.
_DECIDE_SQL = """
UPDATE referrals_accrual a
   SET outcome = s.outcome, plan_id = s.plan_id, levels = s.levels, currency = s.currency, volume = s.volume,
       commission = s.commission, spread = s.spread, compensation = s.compensation, revenue = s.revenue,
       pool = s.pool, accrued_at = %(now)s::timestamptz
  FROM jsonb_to_recordset(%(decisions)s::jsonb)
       AS s (deal_id uuid, outcome text, plan_id uuid, levels smallint[], currency text, volume numeric,
             commission numeric, spread numeric, compensation numeric, revenue numeric, pool numeric)
 WHERE a.deal_id = s.deal_id
"""


@dataclass(slots=True)
class Accrued:
    """What one batch decided: how many deals, with which outcomes, and what it pays by currency."""

    deals: int = 0
    commissions: int = 0
    first_deposits: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    amounts: dict[str, Decimal] = field(default_factory=dict)

    def count(self, outcome: str, rows: Sequence[Commission]) -> None:
        self.deals += 1
        self.outcomes[outcome] += 1
        self.add(rows)

    def add(self, rows: Sequence[Commission]) -> None:
        self.commissions += len(rows)
        for row in rows:
            self.amounts[row.currency] = self.amounts.get(row.currency, Decimal(0)) + row.amount


@retry_on_conflict
@transaction.atomic(durable=True)
def accrue_batch(*, limit: int = BATCH) -> Accrued:
    """
    Decide about at most `limit` closing deals that wait, oldest first, and write what they pay; 0 deals: none waits.

    What another job has in hand is left to it. If the outcome of the commit is unknown, call it again: what was decided
    no longer waits.
    """
    assert limit > 0
    waiting = selectors.accruals_waiting().select_for_update(no_key=True, skip_locked=True).order_by("deal_id")
    accruals = list(waiting[:limit])
    accrued = Accrued()
    if not accruals:
        return accrued
    now, facts = timezone.now(), Facts.about(accruals)
    commissions: list[Commission] = []
    decisions = []
    for accrual in accruals:
        decision = reckoning.decide(accrual, facts)
        rows = _commissions(accrual, decision, now=now)
        accrued.count(decision.outcome, rows)
        commissions += rows
        decisions.append(_row(accrual, decision))
    Commission.objects.bulk_create(commissions)
    _decide(decisions, now=now)
    rewarded = first_deposits.reward(accruals, facts, now=now)
    accrued.add(rewarded)
    accrued.first_deposits = len({row.deposit_id for row in rewarded})
    _log_on_commit(decisions, accrued)
    return accrued


def preview_batch(*, limit: int = BATCH, after: Accrual | None = None) -> tuple[Accrued, Accrual | None]:
    """What the deals behind `after` would pay, by the same reckoning and without a lock; and the last looked at."""
    waiting = selectors.accruals_waiting()
    rows = waiting if after is None else waiting.filter(deal_id__gt=after.deal_id)
    accruals = list(rows[:limit])
    facts, accrued, now = Facts.about(accruals), Accrued(), timezone.now()
    for accrual in accruals:
        decision = reckoning.decide(accrual, facts)
        accrued.count(decision.outcome, _commissions(accrual, decision, now=now))
    return accrued, accruals[-1] if len(accruals) == limit else None


def _commissions(accrual: Accrual, decision: Decision, *, now: datetime) -> list[Commission]:
    earned = decision.earned
    return [
        Commission(
            id=uuid7(),
            owner_id=share.referrer,
            client_id=accrual.owner_id,
            deal_id=accrual.deal_id,
            level=share.level,
            plan=decision.plan,
            volume=earned.deal.volume,
            amount=share.amount,
            currency=earned.currency,
            created_at=now,
        )
        for share in decision.shares
        if earned is not None
    ]


def _row(accrual: Accrual, decision: Decision) -> dict[str, Any]:
    """What the accrual keeps of a decision."""
    earned, plan, reward = decision.earned, decision.plan, decision.reward
    row: dict[str, Any] = {
        "deal_id": accrual.deal_id,
        "outcome": decision.outcome.value,
        "plan_id": None if plan is None else plan.id,
        "levels": decision.levels,
        "currency": "",
        "pool": None if reward is None else reward.pool,
    }
    if earned is not None:
        revenue = earned.revenue
        row |= {
            "currency": earned.currency,
            "volume": earned.deal.volume,
            "commission": revenue.commission,
            "spread": revenue.spread,
            "compensation": revenue.compensation,
            "revenue": revenue.total,
        }
    return row


def _decide(decisions: list[dict[str, Any]], *, now: datetime) -> None:
    # Planned each time: a plan that a job made while the table was young would read all of it for every batch.
    with connection.cursor() as cursor:
        cursor.execute(_DECIDE_SQL, {"decisions": json.dumps(plain(decisions)), "now": now})
        assert cursor.rowcount == len(decisions), "what is locked waits to be decided"


def _log_on_commit(decisions: Sequence[dict[str, Any]], accrued: Accrued) -> None:
    for decision in decisions:
        if decision["outcome"] == Accrual.Outcome.UNREADABLE:
            event = partial(logger.error, "referrals.deal.unreadable", deal_id=str(decision["deal_id"]))
            transaction.on_commit(event, robust=True)
    event = partial(logger.info, "referrals.deals.accrued", deals=accrued.deals, commissions=accrued.commissions)
    transaction.on_commit(event, robust=True)
