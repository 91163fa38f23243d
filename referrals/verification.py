"""What only referrals know of the books: every closing deal was decided about once, and every reward has its money."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db import connection

from core import db, snapshot
from referrals import reckoning
from referrals.models import Accrual, Commission, CommissionPlan
from referrals.reckoning import Earned, Facts

#: What one referrer got for a deal: level, referrer, amount.
Paid = tuple[Any, ...]

#: How many breaks of one check are listed; all are counted.
BREAKS_SHOWN = 20
#: Deals reckoned anew at once.
CHUNK = 1_000

# Every check is a query for what breaks it, over one snapshot.
CHECKS: dict[str, str] = {
    "closing_deals_have_their_accrual": """
        SELECT d.id, 'a live closing deal nobody was told of'
          FROM trading_deal d
          JOIN accounts_tradingaccount t ON t.id = d.account_id
          LEFT JOIN referrals_accrual a ON a.deal_id = d.id
         WHERE d.entry = 'OUT' AND t.environment = 'LIVE' AND a.deal_id IS NULL
    """,
    "accruals_are_of_live_closing_deals": """
        SELECT a.deal_id, d.entry, t.environment
          FROM referrals_accrual a
          LEFT JOIN trading_deal d ON d.id = a.deal_id
          LEFT JOIN accounts_tradingaccount t ON t.id = d.account_id
         WHERE (d.entry, t.environment, d.owner_id, d.executed_at)
               IS DISTINCT FROM ('OUT', 'LIVE', a.owner_id, a.executed_at)
    """,
    "levels_are_paid_once": """
        SELECT coalesce(c.deal_id, c.deposit_id), c.level, count(*)
          FROM referrals_commission c
         GROUP BY coalesce(c.deal_id, c.deposit_id), c.level
        HAVING count(*) > 1
    """,
    "pools_are_within_the_cap": """
        SELECT a.deal_id, a.pool, a.revenue, p.cap_percent
          FROM referrals_accrual a
          JOIN referrals_commissionplan p ON p.id = a.plan_id
         WHERE a.pool > a.revenue * p.cap_percent / 100
            OR a.revenue <> greatest(0, a.commission + a.spread - a.compensation)
    """,
    "commissions_are_within_the_pool": """
        SELECT a.deal_id, a.outcome, a.pool, sum(c.amount)
          FROM referrals_accrual a
          JOIN referrals_commission c ON c.deal_id = a.deal_id
         GROUP BY a.deal_id, a.outcome, a.pool
        HAVING sum(c.amount) > coalesce(a.pool, 0) OR a.outcome <> 'ACCRUED'
    """,
    "deposits_cost_no_more_than_was_earned": """
        SELECT c.client_id, c.currency, c.amount, a.revenue
          FROM (SELECT r.client_id, r.currency, sum(r.amount) AS amount, max(p.cap_percent) AS cap_percent,
                       bool_or(r.deposit_id IS NOT NULL) AS for_deposit
                  FROM referrals_commission r JOIN referrals_commissionplan p ON p.id = r.plan_id
                 GROUP BY r.client_id, r.currency) c
          LEFT JOIN (SELECT owner_id, currency, sum(revenue) AS revenue
                       FROM referrals_accrual GROUP BY owner_id, currency) a
                 ON a.owner_id = c.client_id AND a.currency = c.currency
         WHERE c.for_deposit AND c.amount > coalesce(a.revenue, 0) * c.cap_percent / 100
    """,
    "commissions_fit_what_they_are_for": """
        SELECT c.id, c.client_id, c.currency
          FROM referrals_commission c
          LEFT JOIN referrals_accrual a ON a.deal_id = c.deal_id
          LEFT JOIN trading_deal d ON d.id = c.deal_id
          LEFT JOIN wallets_deposit p ON p.id = c.deposit_id
          LEFT JOIN wallets_wallet w ON w.id = p.wallet_id
         WHERE (c.deal_id IS NOT NULL
                AND (a.owner_id, a.currency, a.plan_id, a.chain[c.level], d.volume)
                    IS DISTINCT FROM (c.client_id, c.currency, c.plan_id, c.owner_id, c.volume))
            OR (c.deposit_id IS NOT NULL
                AND (p.owner_id, p.currency, w.environment) IS DISTINCT FROM (c.client_id, c.currency, 'LIVE'))
    """,
    "plans_were_in_force_and_kept": """
        SELECT a.deal_id, p.code, p.version
          FROM referrals_accrual a
          JOIN referrals_commissionplan p ON p.id = a.plan_id
          JOIN trading_deal d ON d.id = a.deal_id
          JOIN trading_position o ON o.id = d.position_id
         WHERE a.outcome = 'ACCRUED'
           AND (d.executed_at < p.valid_from OR d.executed_at >= p.valid_to
                OR d.executed_at - o.opened_at < make_interval(secs => p.seconds_held_min))
    """,
    "nobody_refers_themselves": """
        SELECT c.id, c.owner_id
          FROM referrals_commission c
         WHERE c.owner_id = c.client_id
    """,
    "states_have_their_facts": """
        SELECT c.id, c.status
          FROM referrals_commission c
         WHERE NOT CASE c.status
               WHEN 'PENDING' THEN c.approved_at IS NULL AND c.transaction_id IS NULL AND c.reversed_at IS NULL
               WHEN 'APPROVED' THEN c.approved_at IS NOT NULL AND c.transaction_id IS NULL AND c.reversed_at IS NULL
               WHEN 'PAID' THEN c.paid_at IS NOT NULL AND c.transaction_id IS NOT NULL AND c.reversed_at IS NULL
               WHEN 'REVERSED' THEN c.reversed_at IS NOT NULL
                                    AND (c.transaction_id IS NOT NULL OR c.reversal_id IS NULL)
               ELSE false END
    """,
    "payouts_are_the_sum_of_their_commissions": """
        SELECT coalesce(c.transaction_id, x.transaction_id), c.amount, x.amount
          FROM (SELECT transaction_id, owner_id, currency, sum(amount) AS amount
                  FROM referrals_commission
                 WHERE transaction_id IS NOT NULL GROUP BY transaction_id, owner_id, currency) c
          FULL JOIN (SELECT e.transaction_id, e.owner_id, e.currency, sum(e.amount) AS amount
                       FROM wallets_entry e
                       JOIN wallets_wallet w ON w.id = e.wallet_id
                       JOIN wallets_ledgertransaction t ON t.id = e.transaction_id
                      WHERE e.reason = 'REFERRAL_COMMISSION' AND w.kind = 'CASH' AND w.environment = 'LIVE'
                        AND t.type = 'REFERRAL' AND t.environment = 'LIVE' AND t.owner_id = e.owner_id
                      GROUP BY e.transaction_id, e.owner_id, e.currency) x
                 ON (x.transaction_id, x.owner_id, x.currency) = (c.transaction_id, c.owner_id, c.currency)
         WHERE c.amount IS DISTINCT FROM x.amount
    """,
    "reversals_took_back_what_was_paid": """
        SELECT c.id, c.amount, coalesce(x.amount, 0), coalesce(d.amount, 0)
          FROM referrals_commission c
          LEFT JOIN referrals_debt d ON d.commission_id = c.id
          LEFT JOIN LATERAL (
              SELECT -sum(e.amount) AS amount
                FROM wallets_entry e
               WHERE e.transaction_id = c.reversal_id AND e.owner_id = c.owner_id AND e.wallet_version IS NOT NULL
                 AND e.reason = 'REVERSAL' AND e.currency = c.currency
          ) x ON true
         WHERE CASE WHEN c.status = 'REVERSED' AND c.transaction_id IS NOT NULL THEN c.amount ELSE 0 END
               <> coalesce(x.amount, 0) + coalesce(d.amount, 0)
    """,
    "debts_are_the_sum_of_their_settlements": """
        SELECT d.id, d.settled, coalesce(s.amount, 0)
          FROM referrals_debt d
          JOIN referrals_commission c ON c.id = d.commission_id
          LEFT JOIN (SELECT debt_id, sum(amount) AS amount FROM referrals_debtsettlement GROUP BY debt_id) s
                 ON s.debt_id = d.id
         WHERE d.settled <> coalesce(s.amount, 0) OR (d.owner_id, d.currency) <> (c.owner_id, c.currency)
    """,
    "payouts_withheld_what_was_settled": """
        SELECT coalesce(s.transaction_id, x.transaction_id), s.amount, x.amount
          FROM (SELECT transaction_id, sum(amount) AS amount FROM referrals_debtsettlement GROUP BY transaction_id) s
          FULL JOIN (SELECT e.transaction_id, -sum(e.amount) AS amount
                       FROM wallets_entry e
                      WHERE e.reason = 'REVERSAL' AND e.wallet_version IS NOT NULL
                        AND EXISTS (SELECT FROM referrals_commission c WHERE c.transaction_id = e.transaction_id)
                      GROUP BY e.transaction_id) x ON x.transaction_id = s.transaction_id
         WHERE s.amount IS DISTINCT FROM x.amount
    """,
    "referral_postings_have_their_commission": """
        SELECT t.id, t.type
          FROM wallets_ledgertransaction t
         WHERE t.type = 'REFERRAL'
           AND NOT EXISTS (SELECT FROM referrals_commission c WHERE c.transaction_id = t.id)
           AND NOT EXISTS (SELECT FROM referrals_commission c WHERE c.reversal_id = t.id)
    """,
}

#: The one check that is no query: every deal is reckoned anew, by the arithmetic that decided about it.
RECKONED = "rewards_follow_from_their_deal"
NAMES = (*CHECKS, RECKONED)


@dataclass(frozen=True, slots=True)
class Break:
    """One row that should not be."""

    check: str
    facts: tuple[str, ...]


@dataclass(slots=True)
class Report:
    """How many rows break each check, and the first of them; `deals` is how many were reckoned anew."""

    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(NAMES, 0))
    breaks: list[Break] = field(default_factory=list)
    deals: int = 0

    @property
    def is_clean(self) -> bool:
        return not any(self.counts.values())

    def add(self, check: str, *facts: object) -> None:
        self.counts[check] += 1
        if self.counts[check] <= BREAKS_SHOWN:
            self.breaks.append(Break(check, tuple(str(fact) for fact in facts)))


def verify_commissions(on_check: Callable[[], object] | None = None) -> Report:
    """Run every check inside the caller's transaction, which has fixed its snapshot; `on_check` is called per check."""
    db.require_transaction()
    report = Report()
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('statement_timeout', '0', true)")
    for name, sql in CHECKS.items():
        for row in snapshot.stream(sql):
            report.add(name, *row)
        if on_check is not None:
            on_check()
    for ids in _chunks(snapshot.stream("SELECT deal_id FROM referrals_accrual WHERE outcome = 'ACCRUED'")):
        _reckon_anew(ids, report)
    if on_check is not None:
        on_check()
    return report


def _chunks(rows: Iterator[tuple[Any, ...]]) -> Iterator[list[UUID]]:
    while chunk := [id_ for (id_,) in itertools.islice(rows, CHUNK)]:
        yield chunk


def _reckon_anew(ids: list[UUID], report: Report) -> None:
    accruals = list(Accrual.objects.filter(pk__in=ids).order_by("deal_id"))
    paid: dict[UUID, list[Paid]] = {id_: [] for id_ in ids}
    rows = Commission.objects.filter(deal_id__in=ids).order_by("deal_id", "level")
    for deal, *share in rows.values_list("deal_id", "level", "owner_id", "amount"):
        paid[deal].append(tuple(share))
    facts = Facts.about(accruals)
    plans = {plan.id: plan for plan in facts.plans}
    for accrual in accruals:
        report.deals += 1
        _compare(accrual, paid[accrual.deal_id], facts, plans, report)


def _compare(
    accrual: Accrual, paid: list[Paid], facts: Facts, plans: dict[UUID, CommissionPlan], report: Report
) -> None:
    """
    Whether a deal's figures come out as they were written.

    Who was entitled is not judged again: a referrer who was active then may not be now, or have moved.
    """
    earned = Earned.on(facts.deals[accrual.deal_id], facts.openings[facts.deals[accrual.deal_id].position_id])
    assert accrual.plan_id is not None, "by a CHECK"
    entitled = [(level, accrual.chain[level - 1]) for level in accrual.levels]
    reward = reckoning.reward_for(earned, plans[accrual.plan_id], entitled)
    revenue = earned.revenue
    figures = [revenue.commission, revenue.spread, revenue.compensation, revenue.total, reward and reward.pool]
    written = [accrual.commission, accrual.spread, accrual.compensation, accrual.revenue, accrual.pool]
    shares = [] if reward is None else [(share.level, share.referrer, share.amount) for share in reward.shares]
    if (figures, shares) != (written, paid):
        report.add(RECKONED, accrual.deal_id, f"wrote {written} and {paid}", f"comes to {figures} and {shares}")
