"""What should not have been paid is taken back, as far as it is there; the rest is owed, and nobody goes below zero."""

from __future__ import annotations

from decimal import Decimal
from uuid import UUID

import pytest
from django.db import transaction

from core.audit import Actor, ActorKind
from core.models import AuditEvent
from referrals.models import Commission, Debt, DebtSettlement
from referrals.rules import CommissionNotFound, CommissionStateRefused
from referrals.services import reversals
from tests.cast import CastMember, bob, carol_staff
from tests.referrals.deals import books_are_clean, cash, closed, lineage, pay, plan, run
from tests.trading.calls import key
from tests.trading.prices import Push
from wallets.models import Entry, LedgerTransaction
from wallets.rules import ApprovalOfOneself, ReasonRequired

D = Decimal


@pytest.fixture
def family(market: Push) -> tuple[CastMember, CastMember]:
    """A client and their one referrer."""
    plan()
    client, (referrer,) = lineage(1)
    return client, referrer


@pytest.fixture
def actor(db: None) -> Actor:
    return carol_staff().actor


def spend(who: CastMember, amount: str) -> None:
    body = {"source": who.cash.number, "target": bob().cash.number, "amount": amount}
    response = who.api.post("/api/v1/transfers", body, headers={"Idempotency-Key": key()})
    assert response.status_code == 201, response.json()


def reverse(deal: UUID, actor: Actor) -> Commission:
    row = Commission.objects.get(deal=deal)
    return reversals.reverse_commission(commission_id=row.pk, reason="wash trading", actor=actor)


def test_takes_back_what_was_paid(family: tuple[CastMember, CastMember], actor: Actor) -> None:
    client, referrer = family
    deal, other = closed(client), closed(client)
    pay()
    row = reverse(deal, actor)
    assert cash(referrer) == 5
    assert (row.status, row.reversed_by, row.reason) == ("REVERSED", actor.id, "wash trading")
    legs = Entry.objects.filter(transaction=row.reversal).order_by("amount")
    assert [(leg.wallet.kind, leg.amount, leg.reason) for leg in legs] == [
        ("CASH", -5, "REVERSAL"),
        ("HOUSE_REFERRAL_EXPENSE", 5, "REVERSAL"),
    ]
    assert Commission.objects.get(deal=other).status == "PAID"
    assert not Debt.objects.exists()
    told = AuditEvent.objects.get(action="referrals.commission.reversed")
    assert (told.actor_id, told.before, told.reason) == (actor.id, {"status": "PAID"}, "wash trading")
    books_are_clean()


def test_stops_what_was_not_paid_yet(family: tuple[CastMember, CastMember], actor: Actor) -> None:
    client, referrer = family
    deal = closed(client)
    run("accrue_commissions")
    row = reverse(deal, actor)
    pay()
    assert (row.status, row.transaction_id, row.reversal_id, cash(referrer)) == ("REVERSED", None, None, 0)
    assert not LedgerTransaction.objects.filter(type="REFERRAL").exists()
    books_are_clean()


def test_what_is_spent_is_owed_and_withheld_from_what_comes_next(
    family: tuple[CastMember, CastMember], actor: Actor
) -> None:
    client, referrer = family
    deal = closed(client, volume="2")
    pay()
    spend(referrer, "7.00")
    reverse(deal, actor)
    assert cash(referrer) == 0
    debt = Debt.objects.get()
    assert (debt.owner_id, debt.amount, debt.settled, debt.currency) == (referrer.id, 7, 0, "USD")
    books_are_clean()

    closed(client)
    counts = pay()
    debt.refresh_from_db()
    assert (cash(referrer), debt.settled, debt.settled_at) == (0, 5, None)
    assert D(counts["withheld"]["USD"]) == 5
    books_are_clean()

    closed(client)
    pay()
    debt.refresh_from_db()
    assert (cash(referrer), debt.settled) == (3, 7)
    assert debt.settled_at is not None
    assert [row.amount for row in DebtSettlement.objects.order_by("id")] == [5, 2]
    books_are_clean()

    closed(client)
    pay()
    assert cash(referrer) == 8
    books_are_clean()


def test_a_payout_that_settles_a_debt_shows_both_sides(family: tuple[CastMember, CastMember], actor: Actor) -> None:
    client, referrer = family
    deal = closed(client)
    pay()
    spend(referrer, "3.00")
    reverse(deal, actor)
    again = closed(client)
    pay()
    posting = Commission.objects.get(deal=again).transaction
    legs = Entry.objects.filter(transaction=posting, wallet=referrer.cash).order_by("wallet_version")
    assert [(leg.amount, leg.reason, leg.balance_after) for leg in legs] == [
        (5, "REFERRAL_COMMISSION", 5),
        (-3, "REVERSAL", 2),
    ]


def test_an_empty_wallet_owes_everything(family: tuple[CastMember, CastMember], actor: Actor) -> None:
    client, referrer = family
    deal = closed(client)
    pay()
    spend(referrer, "5.00")
    row = reverse(deal, actor)
    assert (row.reversal_id, Debt.objects.get().amount, cash(referrer)) == (None, 5, 0)
    books_are_clean()


def test_what_a_withdrawal_holds_is_left_alone(family: tuple[CastMember, CastMember], actor: Actor) -> None:
    from wallets import ledger

    client, referrer = family
    deal = closed(client)
    pay()
    with transaction.atomic():
        (wallet,) = ledger.lock_wallets_by_id(referrer.cash.pk)
        ledger.hold(wallet, D("4.00"))
    reverse(deal, actor)
    assert (cash(referrer), Debt.objects.get().amount) == (4, 4)


def test_a_commission_is_reversed_once(family: tuple[CastMember, CastMember], actor: Actor) -> None:
    client, referrer = family
    deal = closed(client)
    closed(client)
    pay()
    reverse(deal, actor)
    with pytest.raises(CommissionStateRefused):
        reverse(deal, actor)
    assert cash(referrer) == 5


def test_a_reversal_needs_a_reason_somebody_else_and_a_commission(
    family: tuple[CastMember, CastMember], actor: Actor
) -> None:
    client, referrer = family
    deal = closed(client)
    pay()
    row = Commission.objects.get(deal=deal)
    with pytest.raises(ReasonRequired):
        reversals.reverse_commission(commission_id=row.pk, reason="", actor=actor)
    own = Actor(id=referrer.user.pk, kind=ActorKind.STAFF)
    with pytest.raises(ApprovalOfOneself):
        reversals.reverse_commission(commission_id=row.pk, reason="mine", actor=own)
    with pytest.raises(CommissionNotFound):
        reversals.reverse_commission(commission_id=actor.id, reason="which", actor=actor)
    row.refresh_from_db()
    assert (row.status, cash(referrer)) == ("PAID", 5)
    assert not AuditEvent.objects.filter(action="referrals.commission.reversed").exists()
