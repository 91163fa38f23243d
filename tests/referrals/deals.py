"""Referred clients and what they closed, through the real API; only how long a position was held is made up."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal
from io import StringIO
from typing import Any
from uuid import UUID

from django.core.management import call_command
from django.utils import timezone

from core.audit import Actor
from referrals import verification
from referrals.models import Accrual, Commission, CommissionPlan
from referrals.services import plans
from tests.cast import CastMember, make_client
from tests.trading.calls import close, place
from trading.models import Deal, Position

#: The plan everybody knows: 5.00, 1.00 and 0.50 dollars a lot.
STANDARD: dict[str, Any] = {
    "code": "standard",
    "version": 1,
    "kind": "PER_LOT",
    "currency": "USD",
    "rates": ["5.00", "1.00", "0.50"],
    "valid_from": "2021-01-01T00:00:00+00:00",
}


def plan(**terms: Any) -> CommissionPlan:
    """Put a plan in force; the standard one but for these terms."""
    document = STANDARD | terms
    assert plans.load_plan(document=document, actor=Actor.system("test"))
    return CommissionPlan.objects.get(code=document["code"], version=document["version"])


def lineage(levels: int = 3, **client: Any) -> tuple[CastMember, list[CastMember]]:
    """A client and those who referred them, nearest first."""
    chain: list[CastMember] = []
    for _ in range(levels):
        chain.insert(0, make_client(balance=Decimal(0), referred_by=chain[0].user if chain else None))
    client = {"margin": Decimal("50000.00"), "balance": Decimal(0)} | client
    return make_client(referred_by=chain[0].user if chain else None, **client), chain


def closed(who: CastMember, *, held: timedelta = timedelta(hours=1), volume: str = "1", **order: Any) -> UUID:
    """The deal that closed a position which was held for so long."""
    position = opened(who, held=held, volume=volume, **order)
    return close_part(who, position, "ALL")


def opened(who: CastMember, *, held: timedelta = timedelta(hours=1), **order: Any) -> UUID:
    response = place(who, **order)
    assert response.status_code == 201, response.json()
    position = UUID(response.json()["position"]["id"])
    Position.objects.filter(pk=position).update(opened_at=timezone.now() - held)
    return position


def close_part(who: CastMember, position: UUID, volume: str) -> UUID:
    response = close(who, str(position), volume=volume)
    assert response.status_code == 201, response.json()
    return Deal.objects.filter(position_id=position, entry="OUT").latest("id").pk


def run(command: str, **options: Any) -> dict[str, Any]:
    """Run one of the room's commands, and read what it counted."""
    out = StringIO()
    call_command(command, as_json=True, stdout=out, **options)
    counts: dict[str, Any] = json.loads(out.getvalue())
    return counts


def outcome(deal: UUID) -> str:
    return Accrual.objects.get(pk=deal).outcome


def rewards(deal: UUID) -> list[tuple[int, UUID, Decimal]]:
    """What a deal pays: level, referrer and amount."""
    rows = Commission.objects.filter(deal=deal).order_by("level")
    return list(rows.values_list("level", "owner_id", "amount"))


def cash(who: CastMember) -> Decimal:
    who.cash.refresh_from_db()
    now: Decimal = who.cash.balance
    return now


def pay(**options: Any) -> dict[str, Any]:
    """Accrue what waits and pay it, without a hold unless one is asked for."""
    run("accrue_commissions")
    return run("pay_commissions", **({"hold_days": 0} | options))


def books_are_clean() -> None:
    """Rewards against deals and ledger, and the ledger against itself, as they were committed or are about to be."""
    found = verification.verify_commissions()
    assert found.is_clean, found.breaks
