"""What is approved is paid by sweeps: once, in one posting per referrer and currency, under one lock."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from accounts.models import User
from core.audit import Actor, ActorKind
from referrals.models import Commission
from referrals.rules import CommissionNotFound, CommissionStateRefused
from referrals.services import approvals
from tests import database
from tests.cast import CastMember, carol_staff
from tests.referrals.deals import books_are_clean, cash, closed, lineage, pay, plan, run
from tests.trading.prices import Push
from wallets.models import Entry, LedgerTransaction, Wallet
from wallets.rules import ApprovalOfOneself, ReasonRequired

D = Decimal


@pytest.fixture
def family(market: Push) -> tuple[CastMember, list[CastMember]]:
    plan()
    return lineage(3)


def statuses() -> dict[str, int]:
    return dict(Counter(Commission.objects.values_list("status", flat=True)))


def test_each_referrer_gets_one_posting_for_everything_due(family: tuple[CastMember, list[CastMember]]) -> None:
    client, chain = family
    for _ in range(4):
        closed(client)
    counts = pay()
    assert [cash(who) for who in chain] == [20, 4, 2]
    assert LedgerTransaction.objects.filter(type="REFERRAL").count() == 3
    assert {key: counts[key] for key in ("approved", "referrers", "payouts", "commissions", "amounts")} == {
        "approved": 12,
        "referrers": 3,
        "payouts": 3,
        "commissions": 12,
        "amounts": {"USD": "26.00"},
    }
    assert statuses() == {"PAID": 12}
    books_are_clean()


def test_the_money_comes_out_of_the_houses_referral_expense(family: tuple[CastMember, list[CastMember]]) -> None:
    client, chain = family
    closed(client)
    pay()
    posting = LedgerTransaction.objects.get(type="REFERRAL", owner=chain[0].user)
    legs = Entry.objects.filter(transaction=posting).order_by("amount")
    assert [(leg.wallet.kind, leg.amount, leg.reason) for leg in legs] == [
        ("HOUSE_REFERRAL_EXPENSE", -5, "REFERRAL_COMMISSION"),
        ("CASH", 5, "REFERRAL_COMMISSION"),
    ]
    assert posting.environment == "LIVE"
    assert Commission.objects.get(owner=chain[0].user).transaction == posting


def test_nothing_is_paid_twice(family: tuple[CastMember, list[CastMember]]) -> None:
    client, chain = family
    closed(client)
    pay()
    assert pay()["payouts"] == 0
    assert cash(chain[0]) == 5


def test_a_sweep_locks_a_referrer_once(family: tuple[CastMember, list[CastMember]]) -> None:
    client, _ = family
    for _ in range(3):
        closed(client)
    run("accrue_commissions")
    locks: list[str] = []

    def watch(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if "wallets_wallet" in sql and "FOR NO KEY UPDATE" in sql:
            locks.append(sql)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(watch):
        run("pay_commissions", hold_days=0)
    assert len(locks) == 3  # one for each of three referrers


def test_what_is_on_hold_is_not_paid(family: tuple[CastMember, list[CastMember]]) -> None:
    client, chain = family
    closed(client)
    assert pay(hold_days=1)["approved"] == 0
    assert statuses() == {"PENDING": 3}
    with database.unguarded() as cursor:
        cursor.execute("UPDATE referrals_commission SET created_at = created_at - interval '25 hours'")
    assert pay(hold_days=1)["approved"] == 3
    assert cash(chain[0]) == 5


def test_a_commission_without_a_wallet_of_its_currency_stays_approved(market: Push) -> None:
    plan()
    client, chain = lineage(1, currency="EUR")
    closed(client)
    counts = pay()
    assert (counts["payouts"], counts["no_wallet"], statuses()) == (0, 1, {"APPROVED": 1})
    assert cash(chain[0]) == 0


def test_a_frozen_wallet_is_paid_when_it_is_active_again(family: tuple[CastMember, list[CastMember]]) -> None:
    client, chain = family
    closed(client)
    Wallet.objects.filter(pk=chain[0].cash.pk).update(status="FROZEN")
    assert pay()["no_wallet"] == 1
    assert cash(chain[0]) == 0
    Wallet.objects.filter(pk=chain[0].cash.pk).update(status="ACTIVE")
    pay()
    assert cash(chain[0]) == 5


def test_somebody_who_is_not_active_is_not_paid(family: tuple[CastMember, list[CastMember]]) -> None:
    client, chain = family
    closed(client)
    run("accrue_commissions")
    User.objects.filter(pk=chain[0].user.pk).update(is_active=False)
    counts = pay()
    assert (counts["not_active"], cash(chain[0]), cash(chain[1])) == (1, 0, 1)


def test_a_dry_run_says_what_is_due_and_pays_nothing(family: tuple[CastMember, list[CastMember]]) -> None:
    client, chain = family
    closed(client)
    run("accrue_commissions")
    assert run("pay_commissions", hold_days=0, dry_run=True)["approved"] == 3
    assert statuses() == {"PENDING": 3}
    approvals.approve_due(created_before=timezone.now())
    shown = run("pay_commissions", hold_days=0, dry_run=True)
    assert (shown["referrers"], shown["commissions"], D(shown["amounts"]["USD"])) == (3, 3, D("6.50"))
    assert statuses() == {"APPROVED": 3}
    assert cash(chain[0]) == 0


# --- By hand ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def pending(family: tuple[CastMember, list[CastMember]]) -> Commission:
    client, _ = family
    closed(client)
    run("accrue_commissions")
    return Commission.objects.get(level=1)


def staff() -> Actor:
    return carol_staff().actor


def test_staff_approve_before_the_hold_is_over(pending: Commission) -> None:
    actor = staff()
    approvals.approve_commission(commission_id=pending.pk, reason="known partner", actor=actor)
    run("pay_commissions", hold_days=1)
    pending.refresh_from_db()
    assert (pending.status, pending.approved_by, pending.reason) == ("PAID", actor.id, "known partner")
    assert statuses() == {"PAID": 1, "PENDING": 2}


def test_nobody_approves_their_own(pending: Commission) -> None:
    own = Actor(id=pending.owner_id, kind=ActorKind.STAFF)
    with pytest.raises(ApprovalOfOneself):
        approvals.approve_commission(commission_id=pending.pk, reason="mine", actor=own)
    assert statuses() == {"PENDING": 3}


def test_an_approval_needs_a_reason_a_commission_and_a_state(pending: Commission) -> None:
    actor = staff()
    with pytest.raises(ReasonRequired):
        approvals.approve_commission(commission_id=pending.pk, reason=" ", actor=actor)
    with pytest.raises(CommissionNotFound):
        approvals.approve_commission(commission_id=actor.id, reason="which", actor=actor)
    approvals.approve_due(created_before=timezone.now() + timedelta(seconds=1))
    with pytest.raises(CommissionStateRefused):
        approvals.approve_commission(commission_id=pending.pk, reason="again", actor=actor)
