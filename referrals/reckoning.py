"""What a closing deal pays is decided from what the deal keeps, so it comes out the same whenever it is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from accounts.models import User
from accounts.selectors import Upline, referral_chains
from core.money import CURRENCIES
from referrals import arithmetic, selectors
from referrals.arithmetic import Execution, Revenue
from referrals.models import Accrual, CommissionPlan
from trading.margin import Conversion
from trading.models import Deal

Kind = CommissionPlan.Kind
Outcome = Accrual.Outcome
ZERO = Decimal(0)

#: What reading a deal raises that does not keep what reckoning takes.
UNREADABLE = (LookupError, TypeError, ValueError, ArithmeticError)


@dataclass(frozen=True, slots=True)
class Share:
    """What one referrer gets."""

    level: int
    referrer: UUID
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Earned:
    """What the broker earned on one closing deal, and by which prices the deal turned other currencies into its own."""

    deal: Deal
    currency: str
    revenue: Revenue
    kept: dict[str, list[str]]

    @classmethod
    def on(cls, deal: Deal, opening: Deal) -> Earned:
        """:raises LookupError, TypeError, ValueError, ArithmeticError: if the deals do not keep what it takes"""
        return cls(deal, deal.inputs["currency"], _revenue(deal, opening), _kept_paths(deal))


@dataclass(frozen=True, slots=True)
class Reward:
    """What a plan pays for one deal to everybody entitled; a share that rounds to nothing is none."""

    pool: Decimal
    shares: list[Share]


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of one closing deal, before any of it is written."""

    outcome: Accrual.Outcome
    earned: Earned | None = None
    plan: CommissionPlan | None = None
    levels: list[int] = field(default_factory=list)
    reward: Reward | None = None

    @property
    def shares(self) -> list[Share]:
        return [] if self.reward is None else self.reward.shares


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that a batch of decisions is made from, read at once."""

    plans: list[CommissionPlan]
    deals: Mapping[UUID, Deal]
    openings: Mapping[UUID, Deal]
    people: Mapping[UUID, User]
    uplines: Mapping[UUID, list[Upline]]

    @classmethod
    def about(cls, accruals: Sequence[Accrual]) -> Facts:
        deals = selectors.closing_deals(accrual.deal_id for accrual in accruals)
        involved = {id_ for accrual in accruals for id_ in (accrual.owner_id, *accrual.chain)}
        readable = [accrual for accrual in accruals if accrual.deal_id in deals]
        chains = referral_chains([(one.owner_id, deals[one.deal_id].executed_at) for one in readable])
        return cls(
            plans=selectors.plans(),
            deals=deals,
            openings=selectors.opening_deals(deal.position_id for deal in deals.values()),
            people=selectors.people(involved),
            uplines={accrual.deal_id: chain for accrual, chain in zip(readable, chains, strict=True)},
        )

    def plan_at(self, moment: datetime, *, for_deposits: bool = False) -> CommissionPlan | None:
        """The one plan in force then; the database keeps two from being so at once."""
        for plan in self.plans:
            is_for_deposits = plan.kind == Kind.FIRST_DEPOSIT
            if is_for_deposits == for_deposits and plan.valid_from <= moment and not _is_over(plan, moment):
                return plan
        return None

    def entitled(self, accrual: Accrual, plan: CommissionPlan) -> list[tuple[int, UUID]]:
        """
        Who of those who had referred a client by a deal is paid, with their level.

        The accrual's chain was written with the deal; whoever turned out by then to be the same person as the client,
        by a bank account that both have, is left out. Whoever is passed over leaves their level empty: nobody moves up.
        """
        written = dict(enumerate(accrual.chain, start=1))
        return [
            (level, id_)
            for level, id_ in self.uplines[accrual.deal_id]
            if level <= len(plan.rates)
            and id_ == written.get(level) != accrual.owner_id
            and self._may_be_paid(id_, plan)
        ]

    def lives_where_it_is_barred(self, person: UUID, plan: CommissionPlan) -> bool:
        return self.people[person].country in plan.countries_barred

    def _may_be_paid(self, person: UUID, plan: CommissionPlan) -> bool:
        return self.people[person].is_active and not self.lives_where_it_is_barred(person, plan)


def decide(accrual: Accrual, facts: Facts) -> Decision:
    """
    Reckon what a closing deal of a referred client pays.

    By the plan that was in force when it was made, to those who had referred the client by then. A deal that cannot be
    read is decided as such, so that it holds nobody else's up.
    """
    try:
        deal = facts.deals[accrual.deal_id]
        earned = Earned.on(deal, facts.openings[deal.position_id])
    except UNREADABLE:
        return Decision(Outcome.UNREADABLE)
    plan = facts.plan_at(deal.executed_at)
    if plan is None:
        return Decision(Outcome.NO_PLAN, earned)
    if facts.lives_where_it_is_barred(accrual.owner_id, plan):
        return Decision(Outcome.COUNTRY_BARRED, earned, plan)
    if (deal.executed_at - deal.position.opened_at).total_seconds() < plan.seconds_held_min:
        return Decision(Outcome.HELD_TOO_SHORT, earned, plan)
    entitled = facts.entitled(accrual, plan)
    if not entitled:
        return Decision(Outcome.NOBODY_ENTITLED, earned, plan)
    levels = [level for level, _ in entitled]
    reward = reward_for(earned, plan, entitled)
    if reward is None:
        return Decision(Outcome.NO_RATE, earned, plan, levels)
    return Decision(Outcome.ACCRUED if reward.shares else Outcome.NOTHING_LEFT, earned, plan, levels, reward)


def reward_for(earned: Earned, plan: CommissionPlan, entitled: list[tuple[int, UUID]]) -> Reward | None:
    """What a plan pays for a deal; None if its currency cannot be had by a price that the deal was booked with."""
    currency, revenue, deal = earned.currency, earned.revenue, earned.deal
    conversion = arithmetic.kept_conversion(plan.currency or currency, currency, kept=earned.kept)
    if conversion is None:
        return None
    unit = CURRENCIES[currency].unit
    rates = [plan.rates[level - 1] for level, _ in entitled]
    if plan.kind == Kind.PERCENT_OF_COMMISSION:
        wanted = arithmetic.wanted_of_commission(rates, commission=revenue.commission)
    else:
        weight = Decimal(plan.weights.get(deal.instrument_id, 1))
        wanted = arithmetic.wanted_per_lot(rates, lots=deal.volume, weight=weight, conversion=conversion)
    pool = arithmetic.pool(revenue.total, cap_percent=plan.cap_percent, unit=unit)
    amounts = arithmetic.shares(wanted, pool=pool, unit=unit)
    paid = zip(entitled, amounts, strict=True)
    return Reward(pool, [Share(level, referrer, amount) for (level, referrer), amount in paid if amount])


def _revenue(closing: Deal, opening: Deal) -> Revenue:
    return arithmetic.revenue(
        _execution(opening),
        _execution(closing),
        contract_size=Decimal(closing.inputs["terms"]["contract_size"]),
        conversion=Conversion.along(closing.inputs["profit_path"]),
        compensation=closing.compensation,
    )


def _execution(deal: Deal) -> Execution:
    quote = deal.inputs["quote"]
    return Execution(deal.volume, deal.commission, Decimal(quote["bid"]), Decimal(quote["ask"]))


def _kept_paths(deal: Deal) -> dict[str, list[str]]:
    """By which prices the deal itself turned other currencies into its account's."""
    terms = deal.inputs["terms"]
    return {
        terms["quote"]: deal.inputs["profit_path"],
        terms["commission_currency"]: deal.inputs["commission_path"],
    }


def _is_over(plan: CommissionPlan, moment: datetime) -> bool:
    return plan.valid_to is not None and plan.valid_to <= moment
