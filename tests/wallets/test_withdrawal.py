"""A withdrawal's money is held from the first moment, and either leaves once or is the client's again."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from itertools import product
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from core.audit import Actor, ActorKind
from core.errors import DomainError
from core.idempotency import Claim
from core.ids import uuid7
from core.models import AuditEvent, IdempotencyKey, KillSwitch
from tests import cast
from tests.cast import CastMember, StaffMember
from tests.wallets.calls import balances, bank_account, books, cancel, get, key, post, refused, withdraw
from wallets import ledger
from wallets.models import Entry, Environment, Kind, LedgerTransaction, Wallet, Withdrawal
from wallets.rules import ApprovalOfOneself
from wallets.services import withdrawals
from wallets.services.withdrawals import Step

Status = Withdrawal.Status
REASON = "checked against the file"
HUNDRED = Decimal("100.00")

Decide = Callable[..., Withdrawal]


@pytest.fixture
def payable(alice: CastMember) -> CastMember:
    """Alice, with a bank account on file."""
    bank_account(alice)
    return alice


def request(who: CastMember, amount: str = "100.00") -> Withdrawal:
    response = withdraw(who, amount)
    assert response.status_code == 201, response.content
    return Withdrawal.objects.get(pk=response.json()["id"])


def make_withdrawal_in(status: str, who: CastMember, staff: StaffMember) -> Withdrawal:
    """A withdrawal that came to its status by the steps that lead there."""
    made = request(who)
    terms: Any = {"withdrawal_id": made.pk, "reason": REASON, "actor": staff.actor}
    way: dict[str, tuple[Decide, ...]] = {
        Status.REQUESTED: (),
        Status.IN_REVIEW: (withdrawals.start_review,),
        Status.APPROVED: (withdrawals.start_review, withdrawals.approve_withdrawal),
        Status.REJECTED: (withdrawals.reject_withdrawal,),
        Status.CANCELLED: (),
        Status.SENT: (withdrawals.start_review, withdrawals.approve_withdrawal, withdrawals.mark_sent),
    }
    sent = way[Status.SENT]
    way |= {
        Status.COMPLETED: (*sent, withdrawals.complete_withdrawal),
        Status.FAILED: (*sent, withdrawals.fail_withdrawal),
    }
    for decide in way[status]:
        decide(**terms)
    if status == Status.CANCELLED:
        assert cancel(who, made.pk).status_code == 200
    made.refresh_from_db()
    assert made.status == status
    return made


# --- Asking ---------------------------------------------------------------------------------------------------------


def test_holds_the_money_at_once(payable: CastMember) -> None:
    response = withdraw(payable, "100.00")
    assert response.status_code == 201, response.content
    assert balances(payable) == (Decimal("1000.00"), HUNDRED)
    made = Withdrawal.objects.get()
    assert response.json() == get(payable, f"withdrawals/{made.pk}").json()
    assert response.json() == {
        "id": str(made.pk),
        "wallet": payable.cash.number,
        "bank_account": str(made.bank_account_id),
        "bank_account_last_four": "3000",
        "amount": "100.00",
        "currency": "USD",
        "status": "REQUESTED",
        "transaction": None,
        "created_at": response.json()["created_at"],
        "updated_at": response.json()["created_at"],
        "completed_at": None,
    }
    assert not LedgerTransaction.objects.filter(type="WITHDRAWAL").exists()


def test_goes_to_the_default_bank_account_unless_told_otherwise(payable: CastMember) -> None:
    other = bank_account(payable, number="GB82WEST12345698765432")
    assert withdraw(payable, "1.00").json()["bank_account_last_four"] == "3000"
    assert withdraw(payable, "1.00", bank_account=str(other.pk)).json()["bank_account_last_four"] == "5432"


def test_leaves_a_record_of_who_asked(payable: CastMember) -> None:
    made = request(payable)
    event = AuditEvent.objects.get(action="wallets.withdrawal.requested")
    assert (event.object_id, event.actor_id, event.actor_kind) == (str(made.pk), payable.user.pk, "CLIENT")


def test_refuses_what_is_promised_already(payable: CastMember) -> None:
    request(payable, "600.00")
    before = books()
    response = withdraw(payable, "400.01")
    assert refused(response, 422, "INSUFFICIENT_FUNDS")
    assert response.json()["context"] == {
        "required": "400.01",
        "available": "400.00",
        "shortfall": "0.01",
        "currency": "USD",
    }
    assert books() == before


def test_refuses_a_margin_wallet_and_says_where_to_go(db: None) -> None:
    rich = cast.make_client(margin=Decimal("500.00"))
    bank_account(rich)
    before = books()
    response = withdraw(rich, "1.00", wallet=rich.margin)
    assert refused(response, 422, "MARGIN_SOURCE_REFUSED")
    assert "/release" in response.json()["detail"]
    assert books() == before


def test_refuses_demo_money(db: None) -> None:
    client = cast.make_client(environment=Environment.DEMO)
    bank_account(client)
    before = books()
    assert refused(withdraw(client, "1.00"), 422, "DEMO_MONEY_REFUSED")
    assert books() == before


def test_refuses_too_little(payable: CastMember) -> None:
    before = books()
    response = withdraw(payable, "0.99")
    assert refused(response, 422, "WITHDRAWAL_BELOW_MINIMUM")
    assert response.json()["context"] == {"min": "1.00", "currency": "USD"}
    assert books() == before


def test_refuses_more_decimals_than_the_currency_has(payable: CastMember) -> None:
    before = books()
    assert refused(withdraw(payable, "1.001"), 400, "PRECISION_EXCEEDED")
    assert books() == before


def test_needs_a_bank_account(alice: CastMember) -> None:
    before = books()
    assert refused(withdraw(alice, "1.00"), 422, "BANK_ACCOUNT_REQUIRED")
    assert books() == before


def test_somebody_elses_bank_account_does_not_exist(payable: CastMember, bob: CastMember) -> None:
    stolen = bank_account(bob, number="GB82WEST12345698765432")
    before = books()
    assert refused(withdraw(payable, "1.00", bank_account=str(stolen.pk)), 404, "BANK_ACCOUNT_NOT_FOUND")
    assert refused(withdraw(payable, "1.00", bank_account=key()), 404, "BANK_ACCOUNT_NOT_FOUND")
    assert books() == before
    assert not IdempotencyKey.objects.exists()


def test_somebody_elses_wallet_does_not_exist(payable: CastMember, bob: CastMember) -> None:
    before = books()
    assert refused(withdraw(payable, "1.00", wallet=bob.cash), 404, "WALLET_NOT_FOUND")
    assert refused(post(payable, "withdrawals", {"wallet": "W99", "amount": "1.00"}), 404, "WALLET_NOT_FOUND")
    assert books() == before


GATES: list[tuple[dict[str, Any], str]] = [
    ({"status": "FROZEN"}, "WALLET_NOT_ACTIVE"),
    ({"status": "CLOSED"}, "WALLET_NOT_ACTIVE"),
    ({"withdrawals_enabled": False}, "WITHDRAWALS_FROZEN"),
    ({"verified": False}, "VERIFICATION_REQUIRED"),
]


@pytest.mark.parametrize("change,code", GATES)
def test_refuses_money_that_may_not_leave(payable: CastMember, change: dict[str, Any], code: str) -> None:
    Wallet.objects.filter(pk=payable.cash.pk).update(**change)
    before = books()
    assert refused(withdraw(payable, "1.00"), 422, code)
    assert books() == before


def test_the_switch_stops_everybody(payable: CastMember) -> None:
    KillSwitch.objects.create(scope="WITHDRAWALS", engaged=True, reason="incident")
    before = books()
    assert refused(withdraw(payable, "1.00"), 422, "WITHDRAWALS_HALTED")
    assert books() == before
    KillSwitch.objects.update(engaged=False)
    assert withdraw(payable, "1.00").status_code == 201


def test_another_switch_does_not(payable: CastMember) -> None:
    KillSwitch.objects.create(scope="TRADING", engaged=True, reason="incident")
    assert withdraw(payable, "1.00").status_code == 201


def test_needs_the_withdraw_scope(db: None) -> None:
    trader = cast.make_client(scopes=["read", "trade", "transfer"])
    bank_account(trader)
    before = books()
    assert refused(withdraw(trader, "1.00"), 403, "SCOPE_MISSING")
    assert refused(cancel(trader, uuid7()), 403, "SCOPE_MISSING")
    assert books() == before


# --- Cancelling -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [Status.REQUESTED, Status.IN_REVIEW])
def test_cancelling_releases_the_hold(payable: CastMember, carol: StaffMember, status: str) -> None:
    made = make_withdrawal_in(status, payable, carol)
    response = cancel(payable, made.pk)
    assert (response.status_code, response.json()["status"]) == (200, "CANCELLED")
    assert balances(payable) == (Decimal("1000.00"), Decimal(0))
    assert AuditEvent.objects.get(action="wallets.withdrawal.cancelled").actor_id == payable.user.pk


@pytest.mark.parametrize("status", [status for status in Status if status not in {"REQUESTED", "IN_REVIEW"}])
def test_cannot_be_cancelled_once_decided(payable: CastMember, carol: StaffMember, status: str) -> None:
    made = make_withdrawal_in(status, payable, carol)
    before = books()
    response = cancel(payable, made.pk)
    assert refused(response, 422, "WITHDRAWAL_STATE_REFUSED")
    assert response.json()["context"] == {
        "status": status,
        "step": "CANCEL",
        "possible_from": "REQUESTED or IN_REVIEW",
    }
    made.refresh_from_db()
    assert (made.status, books()) == (status, before)


def test_a_repeated_cancellation_gets_the_same_answer(payable: CastMember) -> None:
    made, again = request(payable), key()
    first, second = (cancel(payable, made.pk, key=again) for _ in range(2))
    assert (first.status_code, first.content) == (second.status_code, second.content)
    assert second.headers["Idempotent-Replayed"] == "true"
    assert balances(payable)[1] == 0


def test_somebody_elses_withdrawal_does_not_exist(payable: CastMember, bob: CastMember) -> None:
    made = request(payable)
    before = books()
    assert refused(cancel(bob, made.pk), 404, "WITHDRAWAL_NOT_FOUND")
    assert refused(cancel(bob, uuid7()), 404, "WITHDRAWAL_NOT_FOUND")
    assert refused(get(bob, f"withdrawals/{made.pk}"), 404, "NOT_FOUND")
    assert get(bob, "withdrawals").json()["results"] == []
    assert books() == before


# --- Deciding -------------------------------------------------------------------------------------------------------


def test_a_whole_life_ends_with_the_money_gone_and_nothing_held(payable: CastMember, carol: StaffMember) -> None:
    made = make_withdrawal_in(Status.SENT, payable, carol)
    assert balances(payable) == (Decimal("1000.00"), HUNDRED)
    withdrawals.complete_withdrawal(
        withdrawal_id=made.pk, reason="debited", bank_reference="MT940-9", actor=carol.actor
    )
    made.refresh_from_db()
    assert balances(payable) == (Decimal("900.00"), Decimal(0))
    assert (made.status, made.bank_reference) == ("COMPLETED", "MT940-9")
    assert None not in {made.approved_at, made.sent_at, made.completed_at}
    assert made.transaction is not None
    posted = made.transaction
    assert (posted.type, posted.reference, posted.actor_kind) == ("WITHDRAWAL", "MT940-9", "STAFF")
    clearing = ledger.house(Kind.HOUSE_WITHDRAWAL_CLEARING, "USD", Environment.LIVE)
    assert {(leg.wallet_id, leg.amount, leg.reason) for leg in Entry.objects.filter(transaction=posted)} == {
        (payable.cash.pk, Decimal("-100.00"), "WITHDRAWAL"),
        (clearing.id, HUNDRED, "WITHDRAWAL"),
    }


def test_the_whole_balance_can_go(payable: CastMember, carol: StaffMember) -> None:
    made = request(payable, "1000.00")
    for decide in (
        withdrawals.start_review,
        withdrawals.approve_withdrawal,
        withdrawals.mark_sent,
        withdrawals.complete_withdrawal,
    ):
        decide(withdrawal_id=made.pk, reason=REASON, actor=carol.actor)
    assert balances(payable) == (Decimal(0), Decimal(0))


@pytest.mark.parametrize("status,decide", [("APPROVED", "reject_withdrawal"), ("SENT", "fail_withdrawal")])
def test_what_does_not_leave_is_the_clients_again(
    payable: CastMember, carol: StaffMember, status: str, decide: str
) -> None:
    made = make_withdrawal_in(status, payable, carol)
    getattr(withdrawals, decide)(withdrawal_id=made.pk, reason="account closed", actor=carol.actor)
    made.refresh_from_db()
    assert balances(payable) == (Decimal("1000.00"), Decimal(0))
    assert made.reason == "account closed"
    assert "account closed" not in str(get(payable, f"withdrawals/{made.pk}").json())


def test_every_step_of_staff_leaves_a_record(payable: CastMember, carol: StaffMember) -> None:
    make_withdrawal_in(Status.COMPLETED, payable, carol)
    events = AuditEvent.objects.filter(actor_id=carol.user.pk).order_by("created_at", "id")
    assert [(event.action, event.before, (event.after or {})["status"], event.reason) for event in events] == [
        ("wallets.withdrawal.review_started", {"status": "REQUESTED"}, "IN_REVIEW", REASON),
        ("wallets.withdrawal.approved", {"status": "IN_REVIEW"}, "APPROVED", REASON),
        ("wallets.withdrawal.sent", {"status": "APPROVED"}, "SENT", REASON),
        ("wallets.withdrawal.completed", {"status": "SENT"}, "COMPLETED", REASON),
    ]


@pytest.mark.parametrize("decide", ["approve_withdrawal", "mark_sent"])
@pytest.mark.parametrize("change,code", GATES)
def test_a_freeze_placed_meanwhile_counts(
    payable: CastMember, carol: StaffMember, decide: str, change: dict[str, Any], code: str
) -> None:
    status = {"approve_withdrawal": Status.IN_REVIEW, "mark_sent": Status.APPROVED}[decide]
    made = make_withdrawal_in(status, payable, carol)
    Wallet.objects.filter(pk=payable.cash.pk).update(**change)
    before = books()
    with pytest.raises(DomainError) as refusal:
        getattr(withdrawals, decide)(withdrawal_id=made.pk, reason=REASON, actor=carol.actor)
    made.refresh_from_db()
    assert (refusal.value.code, made.status, books()) == (code, status, before)


@pytest.mark.parametrize("decide", ["approve_withdrawal", "mark_sent"])
def test_the_switch_thrown_meanwhile_counts(payable: CastMember, carol: StaffMember, decide: str) -> None:
    status = {"approve_withdrawal": Status.IN_REVIEW, "mark_sent": Status.APPROVED}[decide]
    made = make_withdrawal_in(status, payable, carol)
    KillSwitch.objects.create(scope="WITHDRAWALS", engaged=True, reason="incident")
    before = books()
    with pytest.raises(DomainError, match="stopped for everyone"):
        getattr(withdrawals, decide)(withdrawal_id=made.pk, reason=REASON, actor=carol.actor)
    assert books() == before


def test_money_that_is_gone_is_booked_whatever_is_frozen(payable: CastMember, carol: StaffMember) -> None:
    made = make_withdrawal_in(Status.SENT, payable, carol)
    Wallet.objects.filter(pk=payable.cash.pk).update(status="FROZEN", withdrawals_enabled=False)
    withdrawals.complete_withdrawal(withdrawal_id=made.pk, reason=REASON, actor=carol.actor)
    assert balances(payable) == (Decimal("900.00"), Decimal(0))


# --- Two people -----------------------------------------------------------------------------------------------------


@pytest.fixture
def large(db: None) -> Withdrawal:
    """A withdrawal large enough for two approvers, in review."""
    rich = cast.make_client(balance=Decimal("20000.00"))
    bank_account(rich)
    made = request(rich, "10000.00")
    erin = cast.carol_staff(email="erin@example.com")
    withdrawals.start_review(withdrawal_id=made.pk, reason=REASON, actor=erin.actor)
    return made


def test_just_below_the_limit_one_person_is_enough(db: None, carol: StaffMember) -> None:
    rich = cast.make_client(balance=Decimal("20000.00"))
    bank_account(rich)
    assert not request(rich, "9999.99").two_person


def test_the_first_of_two_approvals_is_not_enough(large: Withdrawal, carol: StaffMember) -> None:
    withdrawals.approve_withdrawal(withdrawal_id=large.pk, reason=REASON, actor=carol.actor)
    large.refresh_from_db()
    assert (large.status, large.approved_by_id, large.approved_at) == ("IN_REVIEW", carol.user.pk, None)
    with pytest.raises(withdrawals.WithdrawalStateRefused):
        withdrawals.mark_sent(withdrawal_id=large.pk, reason=REASON, actor=carol.actor)


def test_the_same_person_is_not_two(large: Withdrawal, carol: StaffMember) -> None:
    withdrawals.approve_withdrawal(withdrawal_id=large.pk, reason=REASON, actor=carol.actor)
    before = books()
    with pytest.raises(withdrawals.SecondApproverRequired):
        withdrawals.approve_withdrawal(withdrawal_id=large.pk, reason=REASON, actor=carol.actor)
    large.refresh_from_db()
    assert (large.status, large.second_approved_by_id, books()) == ("IN_REVIEW", None, before)


def test_two_people_approve_it(large: Withdrawal, carol: StaffMember, dan: StaffMember) -> None:
    for person in (carol, dan):
        withdrawals.approve_withdrawal(withdrawal_id=large.pk, reason=REASON, actor=person.actor)
    large.refresh_from_db()
    assert (large.status, large.approved_by_id, large.second_approved_by_id) == (
        "APPROVED",
        carol.user.pk,
        dan.user.pk,
    )


@pytest.mark.parametrize(
    "change,constraint",
    [
        ("second_approved_by_id = approved_by_id, status = 'APPROVED'", "withdrawal_approvers_are_two_people"),
        ("second_approved_by_id = owner_id, status = 'APPROVED'", "withdrawal_approvers_are_two_people"),
        ("approved_by_id = owner_id", "withdrawal_approver_is_not_its_owner"),
        ("status = 'APPROVED'", "withdrawal_is_approved_before_it_leaves"),
        ("status = 'SENT'", "withdrawal_is_approved_before_it_leaves"),
        ("status = 'COMPLETED'", "withdrawal_is"),
    ],
)
def test_the_database_insists_on_two_people(
    large: Withdrawal, carol: StaffMember, change: str, constraint: str
) -> None:
    from django.db import connection

    withdrawals.approve_withdrawal(withdrawal_id=large.pk, reason=REASON, actor=carol.actor)
    with pytest.raises(IntegrityError, match=constraint), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"UPDATE wallets_withdrawal SET {change} WHERE id = %s", [large.pk])


# --- Every way a withdrawal can go ----------------------------------------------------------------------------------

SERVICES: dict[Step, Decide] = {
    Step.REVIEW: withdrawals.start_review,
    Step.APPROVE: withdrawals.approve_withdrawal,
    Step.REJECT: withdrawals.reject_withdrawal,
    Step.SEND: withdrawals.mark_sent,
    Step.COMPLETE: withdrawals.complete_withdrawal,
    Step.FAIL: withdrawals.fail_withdrawal,
}


def test_every_step_has_its_service() -> None:
    assert set(withdrawals.TRANSITIONS) == {*SERVICES, Step.CANCEL} == set(Step)


@pytest.mark.parametrize("status,step", list(product(Status, SERVICES)))
def test_goes_only_where_the_table_says(payable: CastMember, carol: StaffMember, status: str, step: Step) -> None:
    made, before = make_withdrawal_in(status, payable, carol), books()
    way = withdrawals.TRANSITIONS[step]
    if status in way.sources:
        SERVICES[step](withdrawal_id=made.pk, reason=REASON, actor=carol.actor)
        made.refresh_from_db()
        assert made.status == way.target
        held = HUNDRED if way.target in Withdrawal.HOLDING else Decimal(0)
        assert balances(payable) == (Decimal("900.00" if step == Step.COMPLETE else "1000.00"), held)
        return
    with pytest.raises(withdrawals.WithdrawalStateRefused) as refusal:
        SERVICES[step](withdrawal_id=made.pk, reason=REASON, actor=carol.actor)
    made.refresh_from_db()
    assert (refusal.value.code, made.status, books()) == ("WITHDRAWAL_STATE_REFUSED", status, before)


@pytest.mark.parametrize("step", list(SERVICES))
@pytest.mark.parametrize("reason", ["", " \t", "x" * 501])
def test_staff_give_a_reason(payable: CastMember, carol: StaffMember, step: Step, reason: str) -> None:
    made, before = request(payable), books()
    with pytest.raises(DomainError, match="Say why"):
        SERVICES[step](withdrawal_id=made.pk, reason=reason, actor=carol.actor)
    assert books() == before


@pytest.mark.parametrize("step", list(SERVICES))
def test_nobody_decides_about_their_own_money(payable: CastMember, step: Step) -> None:
    made, before = request(payable), books()
    themselves = Actor(id=payable.user.pk, kind=ActorKind.STAFF)
    with pytest.raises(ApprovalOfOneself):
        SERVICES[step](withdrawal_id=made.pk, reason=REASON, actor=themselves)
    assert books() == before


@pytest.mark.parametrize("step", list(SERVICES))
def test_clients_cannot_take_the_steps_of_staff(payable: CastMember, bob: CastMember, step: Step) -> None:
    made, before = request(payable), books()
    with pytest.raises(AssertionError):
        SERVICES[step](withdrawal_id=made.pk, reason=REASON, actor=bob.actor)
    assert books() == before


@pytest.mark.parametrize("step", list(SERVICES))
def test_nobody_decides_about_what_is_not_there(carol: StaffMember, step: Step) -> None:
    with pytest.raises(withdrawals.WithdrawalNotFound):
        SERVICES[step](withdrawal_id=uuid7(), reason=REASON, actor=carol.actor)


def test_one_cancellation_of_two_keys_is_carried_out(payable: CastMember) -> None:
    made = request(payable)
    assert cancel(payable, made.pk).status_code == 200
    before = books()
    assert refused(cancel(payable, made.pk), 422, "WITHDRAWAL_STATE_REFUSED")
    assert books() == before


def test_a_purged_key_cannot_withdraw_twice(payable: CastMember) -> None:
    used = key()
    made = withdraw(payable, "100.00", key=used).json()["id"]
    IdempotencyKey.objects.all().delete()
    before = books()
    response = withdraw(payable, "100.00", key=used)
    assert refused(response, 409, "IDEMPOTENCY_KEY_EXPIRED")
    assert response.json()["context"] == {"transaction_id": made}
    assert books() == before


def test_the_service_refuses_a_claim_of_another_operation(payable: CastMember) -> None:
    claim = Claim.make(operation=withdrawals.CANCEL_WITHDRAWAL, owner=payable.user.pk, key=key(), request={})
    with pytest.raises(AssertionError):
        withdrawals.request_withdrawal(wallet=payable.cash.number, amount=HUNDRED, claim=claim, actor=payable.actor)
