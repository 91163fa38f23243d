"""Plans come from a file that is reviewed like code; what was in force stays as it was."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any

import structlog
from django.db import IntegrityError, transaction
from django.utils import timezone

from core import audit, db
from core.audit import Actor
from core.db import retry_on_conflict
from core.ids import HOUSE
from core.money import CURRENCIES
from referrals.models import CommissionPlan
from referrals.rules import PlanChanged, PlanMalformed

logger = structlog.get_logger(__name__)

Kind = CommissionPlan.Kind

#: What a plan is, besides when it is in force.
TERMS = (
    "kind",
    "currency",
    "rates",
    "weights",
    "cap_percent",
    "seconds_held_min",
    "countries_barred",
    "deposit_min",
    "lots_min",
)


@retry_on_conflict
@transaction.atomic(durable=True)
def load_plan(*, document: dict[str, Any], actor: Actor) -> bool:
    """
    Put a version of a plan in force, if it is not known yet, and end the one that was; False if it is known.

    The first plan of its occasion begins when its `valid_from` says. A later one begins then too, but never before now:
    what was promised for a deal that is made already stays promised.

    :raises PlanChanged: if this version is known with other terms
    :raises PlanMalformed: if the document is no plan
    """
    plan = _read(document)
    known = CommissionPlan.objects.filter(code=plan.code, version=plan.version).first()
    if known is not None:
        differs = [name for name in TERMS if getattr(known, name) != getattr(plan, name)]
        if differs:
            raise PlanChanged(plan=str(plan), differs=", ".join(differs))
        return False
    is_for_deposits = plan.kind == Kind.FIRST_DEPOSIT
    rivals = CommissionPlan.objects.filter(valid_to__isnull=True)
    rivals = rivals.filter(kind=Kind.FIRST_DEPOSIT) if is_for_deposits else rivals.exclude(kind=Kind.FIRST_DEPOSIT)
    before = rivals.select_for_update(no_key=True).order_by("id").first()
    try:
        if before is not None:
            plan.valid_from = max(plan.valid_from, timezone.now())
            before.valid_to = plan.valid_from
            before.save(update_fields=["valid_to"])
        plan.save(force_insert=True)
    except IntegrityError as error:
        raise PlanMalformed(plan=str(plan), flaw=db.constraint(error)) from error
    after = {name: getattr(plan, name) for name in (*TERMS, "valid_from")}
    audit.record("referrals.plan.put_in_force", actor=actor, owner=HOUSE, subject=plan, after=after)
    transaction.on_commit(partial(logger.info, "referrals.plan.put_in_force", plan_id=str(plan.id)), robust=True)
    return True


def _read(document: dict[str, Any]) -> CommissionPlan:
    """The plan as the file spells it, in the types that its columns have."""
    named = f"{document.get('code')} v{document.get('version')}"
    unknown = sorted(document.keys() - {*TERMS, "code", "version", "valid_from"})
    if unknown:
        raise PlanMalformed(plan=named, flaw=f"it has no {', '.join(unknown)}")
    try:
        plan = CommissionPlan(
            code=document["code"],
            version=document["version"],
            kind=Kind(document["kind"]),
            currency=document.get("currency", ""),
            rates=[_number(rate) for rate in document["rates"]],
            weights=document.get("weights", {}),
            cap_percent=_number(document.get("cap_percent", "60")),
            seconds_held_min=document.get("seconds_held_min", 180),
            countries_barred=document.get("countries_barred", []),
            deposit_min=_number(document["deposit_min"]) if "deposit_min" in document else None,
            lots_min=_number(document["lots_min"]) if "lots_min" in document else None,
            valid_from=datetime.fromisoformat(document["valid_from"]),
        )
        weights = [_number(weight) for weight in plan.weights.values()]
    except (LookupError, TypeError, ValueError, ArithmeticError) as error:
        raise PlanMalformed(plan=named, flaw=f"{type(error).__name__} {error}") from error
    if not all(Decimal(0) <= weight <= 1_000 for weight in weights):
        raise PlanMalformed(plan=named, flaw="weights are from 0 to 1,000")
    if plan.currency and plan.currency not in CURRENCIES:
        raise PlanMalformed(plan=named, flaw=f"{plan.currency} is no currency of ours")
    return plan


def _number(text: str) -> Decimal:
    number = Decimal(text)
    if not number.is_finite():
        raise ValueError(f"{text} is no number")
    return number
