"""A first deposit is rewarded once, when it was traded with and has earned what the reward costs."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from core.audit import Actor, ActorKind
from referrals.models import Commission
from tests.cast import CastMember, carol_staff, make_client
from tests.referrals.deals import closed, lineage, plan, run
from tests.trading.calls import key
from tests.trading.prices import Push
from wallets.models import Deposit
from wallets.services import deposits

D = Decimal
WELCOME: dict[str, Any] = {
    "code": "welcome",
    "kind": "FIRST_DEPOSIT",
    "rates": ["25.00", "5.00"],
    "deposit_min": "100.00",
    "lots_min": "3",
}


def deposit(who: CastMember, amount: str = "100.00") -> UUID:
    body = {"wallet": who.cash.number, "amount": amount}
    response = who.api.post("/api/v1/deposits", body, headers={"Idempotency-Key": key()})
    assert response.status_code == 201, response.json()
    assert response.json()["status"] == "COMPLETED"
    return UUID(response.json()["id"])


def rewards() -> list[tuple[int, Any, Decimal]]:
    rows = Commission.objects.filter(deposit__isnull=False).order_by("level")
    return list(rows.values_list("level", "owner_id", "amount"))


@pytest.fixture
def family(market: Push) -> tuple[CastMember, list[CastMember]]:
    plan(**WELCOME)
    return lineage(2)


def trade(who: CastMember, lots: int = 1, **how: Any) -> None:
    for _ in range(lots):
        closed(who, **how)
    run("accrue_commissions")


def test_pays_when_deposit_lots_and_revenue_are_there(family: tuple[CastMember, list[CastMember]]) -> None:
    client, chain = family
    first = deposit(client)
    trade(client, 2)
    assert rewards() == []  # 60 % of 34.00 would cover 20.40 of 30.00, and a lot is missing
    trade(client, 1)
    assert rewards() == [(1, chain[0].id, 25), (2, chain[1].id, 5)]
    assert {row.deposit_id for row in Commission.objects.all()} == {first}


def test_pays_once_whatever_is_deposited_and_traded_after(family: tuple[CastMember, list[CastMember]]) -> None:
    client, _ = family
    deposit(client)
    trade(client, 3)
    deposit(client)
    trade(client, 6)
    assert len(rewards()) == 2


def test_a_second_deposit_is_no_first_one(family: tuple[CastMember, list[CastMember]]) -> None:
    client, _ = family
    deposit(client, "99.99")
    deposit(client, "5000.00")
    trade(client, 3)
    assert rewards() == []


def test_a_first_deposit_that_was_taken_back_has_no_successor(family: tuple[CastMember, list[CastMember]]) -> None:
    client, _ = family
    first = deposit(client)
    deposit(client)
    staff = Actor(id=carol_staff().user.pk, kind=ActorKind.STAFF)
    deposits.reverse_deposit(deposit_id=first, reason="charged back", actor=staff)
    assert Deposit.objects.get(pk=first).status == "REVERSED"
    trade(client, 3)
    assert rewards() == []


def test_lots_that_were_held_too_short_do_not_count(family: tuple[CastMember, list[CastMember]]) -> None:
    client, _ = family
    plan(rates=["0.01"])  # what is held too short is said by the plan for deals
    deposit(client)
    trade(client, 3, held=timedelta(seconds=10))
    assert rewards() == []
    trade(client, 3)
    assert len(rewards()) == 2


def test_waits_until_the_revenue_covers_it_beside_what_the_deals_paid(market: Push) -> None:
    plan(**WELCOME)
    plan()  # 6.00 of every lot's 10.20 goes to two levels already, which leaves 4.20
    client, _ = lineage(2)
    deposit(client)
    trade(client, 7)
    assert rewards() == []
    trade(client, 1)  # 8 · 4.20 = 33.60
    assert len(rewards()) == 2
    total = sum(Commission.objects.values_list("amount", flat=True))
    assert total <= 8 * D("10.20")


def test_a_deposit_in_another_currency_than_the_plans_earns_nothing(market: Push) -> None:
    plan(**WELCOME)
    client, _ = lineage(2, currency="EUR")
    deposit(client)
    trade(client, 4)
    assert rewards() == []


def test_a_client_nobody_referred_earns_nobody_anything(market: Push) -> None:
    plan(**WELCOME)
    client = make_client(margin=D("50000.00"))
    deposit(client)
    trade(client, 3)
    assert rewards() == []
