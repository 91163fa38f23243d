"""Every check of `verify_audit`, proven by breaking exactly what it guards."""

from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from accounts.models import Freeze, Verification
from accounts.services import freezes, referrers, switches, verifications
from core import verification
from core.audit import Actor
from core.ids import uuid7
from referrals.models import Commission
from referrals.services import approvals, reversals
from tests import database
from tests.accounts.test_back_office import enlist
from tests.back_office.test_alerts_workflow import assign, make_alert
from tests.cast import CastMember, alice, bob, carol_staff
from tests.referrals import newcomers
from tests.referrals.deals import closed, lineage, plan, run
from tests.trading import prices
from wallets.models import Adjustment, Deposit, Withdrawal
from wallets.services import adjustments, deposits, withdrawals


@pytest.fixture
def told(db: None, settings: Any) -> CastMember:
    """A client about whom staff have decided everything that can be decided, each time leaving word."""
    settings.PAYMENT_PROVIDER = "manual"
    who, carol, dora = alice(), carol_staff().actor, carol_staff(email="dora@example.com").actor
    bank = {
        "holder": "Alice Archer",
        "bank_name": "Commerzbank",
        "code_type": "IBAN",
        "number": "DE89370400440532013000",
    }
    assert who.api.post("/api/v1/me/bank-accounts", bank, headers=fresh_key()).status_code == 201
    money = {"wallet": who.cash.number, "amount": "20.00"}
    assert who.api.post("/api/v1/deposits", money, headers=fresh_key()).status_code == 201
    assert who.api.post("/api/v1/withdrawals", money, headers=fresh_key()).status_code == 201
    deposits.approve_deposit(deposit_id=Deposit.objects.get().pk, reason="Seen on our account", actor=carol)
    leaving = Withdrawal.objects.get().pk
    withdrawals.start_review(withdrawal_id=leaving, reason="Next in line", actor=carol)
    withdrawals.approve_withdrawal(withdrawal_id=leaving, reason="Name matches", actor=dora)
    Verification.objects.create(owner=who.user)
    documents = [{"kind": "PASSPORT", "reference": "C01X00T47"}]
    verifications.submit_verification(owner=who.user.pk, documents=documents, actor=who.actor)
    submitted = Verification.objects.get().pk
    for outcome in (Verification.Status.IN_REVIEW, Verification.Status.APPROVED):
        verifications.review_verification(
            verification_id=submitted, outcome=outcome, reason="Passport seen", actor=carol
        )
    freeze = freezes.place_freeze(owner=who.user.pk, scope=Freeze.Scope.TRADING, reason="Odd orders", actor=carol)
    freezes.lift_freeze(freeze_id=freeze.pk, reason="Explained", actor=dora)
    reward_and_regret(carol)
    switches.throw_kill_switch(scope="WITHDRAWALS", reason="Drill", actor=carol)
    correct(who, maker=carol, checker=dora)
    change = referrers.propose_referrer(
        client_id=who.user.pk, referrer_id=bob().user.pk, reason="His letter", actor=carol
    )
    referrers.approve_referrer(change_id=change.pk, reason="Her letter", actor=dora)
    settings.PAYMENT_PROVIDER = "sandbox"
    assign(make_alert(who.user), enlist("kyc"))
    newcomers.offer()
    assert newcomers.claim(newcomers.newcomer()).status_code == 201
    return who


def correct(who: CastMember, *, maker: Actor, checker: Actor) -> None:
    """Two adjustments, of which one is approved and one taken back."""
    for key in ("one", "two"):
        terms: Any = {"wallet": who.cash.number, "direction": "CREDIT", "amount": Decimal("1.00"), "key": key}
        proposed = adjustments.propose_adjustment(**terms, reason="Fee refunded", actor=maker)
    adjustments.withdraw_adjustment(adjustment_id=proposed.pk, reason="Twice", actor=maker)
    remaining = Adjustment.objects.get(status="PROPOSED").pk
    adjustments.approve_adjustment(adjustment_id=remaining, reason="Agreed", actor=checker)


def reward_and_regret(actor: Actor) -> None:
    """A deal that two people are rewarded for, of which one is approved by hand and one reversed."""
    prices.open_market()
    plan()
    client, _ = lineage(2)
    closed(client)
    run("accrue_commissions")
    first, second = Commission.objects.order_by("level")
    approvals.approve_commission(commission_id=first.pk, reason="A known partner", actor=actor)
    reversals.reverse_commission(commission_id=second.pk, reason="Wash trading", actor=actor)


def fresh_key() -> dict[str, str]:
    return {"Idempotency-Key": str(uuid7())}


def found() -> Counter[str]:
    return Counter(one.check for one in verification.verify_audit())


def corrupt(sql: str) -> None:
    """Change what nobody may change, as only a superuser can."""
    with database.unguarded() as cursor:
        cursor.execute(sql)


def test_finds_nothing_where_everything_was_told(told: CastMember) -> None:
    assert verification.verify_audit() == []


CORRUPTIONS = {
    "alerts_are_guarded": "DROP TRIGGER alert_keeps_what_was_found ON alerts_alert",
    "alerts_are_told": "UPDATE alerts_alert SET status = 'OPEN', assignee_id = NULL",
    "trail_is_guarded": "ALTER TABLE core_auditevent DISABLE TRIGGER auditevent_is_append_only",
    "ledger_is_guarded": "DROP TRIGGER entry_is_judged ON wallets_entry",
    "bonuses_are_guarded": "DROP TRIGGER signupbonus_only_ends ON referrals_signupbonus",
    "bonuses_are_posted": "UPDATE referrals_signupbonus SET amount = amount + 1",
    "deals_are_guarded": "ALTER TABLE trading_deal DISABLE TRIGGER deal_is_append_only",
    "events_are_as_old_as_their_ids": (
        "UPDATE core_auditevent SET created_at = created_at - interval '1 day' WHERE action = 'core.kill_switch.thrown'"
    ),
    "actors_are_people": (
        "UPDATE core_auditevent SET actor_id = gen_random_uuid() WHERE action = 'core.kill_switch.thrown'"
    ),
    "freezes_are_told": "DELETE FROM core_auditevent WHERE action = 'accounts.freeze.lifted'",
    "reviews_are_told": "UPDATE accounts_verification SET status = 'REJECTED'",
    "referrers_are_told": "UPDATE accounts_user SET referred_by_id = NULL",
    "switches_are_told": "UPDATE core_killswitch SET engaged = false",
    "adjustments_are_told": (
        "DELETE FROM core_auditevent WHERE action = 'wallets.adjustment.proposed'"
        " AND object_id = (SELECT id::text FROM wallets_adjustment WHERE status = 'APPROVED')"
    ),
    "withdrawals_are_told": "UPDATE wallets_withdrawal SET status = 'SENT'",
    "commission_decisions_are_told": "DELETE FROM core_auditevent WHERE action = 'referrals.commission.reversed'",
    "referrals_are_guarded": "ALTER TABLE trading_deal DISABLE TRIGGER deal_awaits_accrual",
    "deposit_reviews_are_told": "DELETE FROM core_auditevent WHERE action = 'wallets.deposit.approved'",
}


@pytest.mark.parametrize("check", CORRUPTIONS)
def test_notices(told: CastMember, check: str) -> None:
    corrupt(CORRUPTIONS[check])
    assert found() == {check: 1}


def test_notices_an_approval_that_was_put_in_by_hand(told: CastMember) -> None:
    other = carol_staff(email="eve@example.com").user.pk
    corrupt(f"UPDATE wallets_withdrawal SET second_approved_by_id = '{other}'")
    assert found() == {"withdrawals_are_told": 1}


def test_notices_a_bonus_that_nobody_gave(told: CastMember) -> None:
    corrupt("DELETE FROM referrals_bonusidentity")
    corrupt("DELETE FROM referrals_signupbonus")
    assert found() == {"bonuses_are_posted": 1}


def test_notices_a_proposal_that_was_approved_by_hand(told: CastMember) -> None:
    corrupt("DELETE FROM core_auditevent WHERE action = 'accounts.referrer_change.approved'")
    assert found() == {"referrers_are_told": 1}


def test_every_check_has_its_corruption() -> None:
    assert set(verification.checks()) == set(CORRUPTIONS)


def test_the_command_fails_on_a_break_and_names_it(committed_db: object) -> None:
    switches.throw_kill_switch(scope="TRADING", reason="Drill", actor=Actor.system("drill"))
    clean = StringIO()
    call_command("verify_audit", as_json=True, stdout=clean)
    assert json.loads(clean.getvalue())["breaks"] == []
    with connection.cursor() as cursor:
        cursor.execute("UPDATE core_killswitch SET engaged = false")
    broken = StringIO()
    with pytest.raises(CommandError):
        call_command("verify_audit", as_json=True, stdout=broken)
    (one,) = json.loads(broken.getvalue())["breaks"]
    assert (one["check"], one["subject"]) == ("switches_are_told", "TRADING")
