"""A deposit credits a wallet once, when the money is there, and can be taken back only whole."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from io import StringIO
from itertools import product
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.utils import timezone
from pytest_django import Settings

from core.audit import Actor, ActorKind
from core.errors import DomainError
from core.ids import uuid7
from core.models import AuditEvent
from tests import cast, ledger_cast
from tests.cast import CastMember, StaffMember
from tests.wallets.books import breaks
from tests.wallets.calls import PROVIDER, balances, bank_account, books, deposit, get, key, post, refused, withdraw
from wallets import ledger, payments
from wallets.apps import check_money_is_real, check_secrets_and_provider
from wallets.models import Deposit, Entry, Environment, Kind, LedgerTransaction, Wallet
from wallets.rules import ApprovalOfOneself, InsufficientFunds, WalletNotActive
from wallets.services import deposits

Status = Deposit.Status
REASON = "found on the statement of 3 March"


@pytest.fixture
def manual(settings: Settings) -> None:
    settings.PAYMENT_PROVIDER = "manual"


@pytest.fixture
def webhook(settings: Settings) -> None:
    settings.PAYMENT_PROVIDER = "webhook"


def make_deposit(who: CastMember, amount: str = "100.00", *, wallet: Wallet | None = None) -> Deposit:
    return Deposit.objects.get(pk=deposit(who, amount, wallet=wallet).json()["id"])


def make_deposit_in(status: str, who: CastMember) -> Deposit:
    """A deposit that came to its status the real way, as far as there is one: nothing is committed as CREATED."""
    made, actor = make_deposit(who), cast.carol_staff(email="maker@example.com").actor
    match status:
        case Status.CREATED:
            Deposit.objects.filter(pk=made.pk).update(status=status)
        case Status.REJECTED:
            deposits.reject_deposit(deposit_id=made.pk, reason=REASON, actor=actor)
        case Status.EXPIRED:
            deposits.expire_deposits(now=made.expires_at + timedelta(seconds=1), limit=1)
        case Status.COMPLETED | Status.REVERSED:
            deposits.approve_deposit(deposit_id=made.pk, reason=REASON, actor=actor)
    if status == Status.REVERSED:
        deposits.reverse_deposit(deposit_id=made.pk, reason=REASON, actor=actor)
    made.refresh_from_db()
    assert made.status == status
    return made


# --- The sandbox ----------------------------------------------------------------------------------------------------


def test_the_sandbox_completes_at_once(alice: CastMember) -> None:
    response = deposit(alice, "250.00")
    assert response.status_code == 201, response.content
    made = Deposit.objects.get()
    assert response.json() == get(alice, f"deposits/{made.pk}").json()
    assert response.json() == {
        "id": str(made.pk),
        "wallet": alice.cash.number,
        "amount": "250.00",
        "currency": "USD",
        "status": "COMPLETED",
        "provider": "sandbox",
        "transaction": str(made.transaction_id),
        "created_at": response.json()["created_at"],
        "expires_at": response.json()["expires_at"],
        "completed_at": response.json()["created_at"],
    }
    assert balances(alice) == (Decimal("1250.00"), Decimal(0))


def test_is_posted_against_payment_clearing(alice: CastMember) -> None:
    posted = LedgerTransaction.objects.get(pk=deposit(alice, "250.00").json()["transaction"])
    clearing = ledger.house(Kind.HOUSE_PAYMENT_CLEARING, "USD", Environment.LIVE)
    legs = Entry.objects.filter(transaction=posted)
    assert {(leg.wallet_id, leg.amount, leg.reason) for leg in legs} == {
        (alice.cash.pk, Decimal("250.00"), "DEPOSIT"),
        (clearing.id, Decimal("-250.00"), "DEPOSIT"),
    }
    assert posted.type == "DEPOSIT"


def test_goes_into_any_own_wallet(alice: CastMember) -> None:
    assert deposit(alice, "250.00", wallet=alice.margin).status_code == 201
    alice.margin.refresh_from_db()
    assert alice.margin.balance == Decimal("250.00")


@pytest.mark.usefixtures("manual")
def test_demo_money_always_comes_from_the_sandbox(db: None) -> None:
    client = cast.make_client(environment=Environment.DEMO)
    assert deposit(client, "250.00").json()["status"] == "COMPLETED"
    posted = LedgerTransaction.objects.get(type="DEPOSIT")
    assert posted.environment == "DEMO"
    clearing = Entry.objects.exclude(wallet=client.cash).get(transaction=posted).wallet
    assert clearing.environment == "DEMO"


# --- Refusals -------------------------------------------------------------------------------------------------------


def test_somebody_elses_wallet_does_not_exist(alice: CastMember, bob: CastMember) -> None:
    before = books()
    assert refused(deposit(alice, "1.00", wallet=bob.cash), 404, "WALLET_NOT_FOUND")
    assert refused(post(alice, "deposits", {"wallet": "W99", "amount": "1.00"}), 404, "WALLET_NOT_FOUND")
    assert books() == before


@pytest.mark.parametrize("amount", ["0.99", "1000000.01"])
def test_refuses_too_little_and_too_much(alice: CastMember, amount: str) -> None:
    before = books()
    response = deposit(alice, amount)
    assert refused(response, 422, "DEPOSIT_OUT_OF_RANGE")
    assert response.json()["context"] == {"min": "1.00", "max": "1000000.00", "currency": "USD"}
    assert books() == before


@pytest.mark.parametrize("amount", ["1.00", "1000000.00"])
def test_accepts_the_limits_themselves(alice: CastMember, amount: str) -> None:
    assert deposit(alice, amount).status_code == 201


def test_refuses_more_decimals_than_the_currency_has(alice: CastMember) -> None:
    before = books()
    assert refused(deposit(alice, "1.001"), 400, "PRECISION_EXCEEDED")
    assert books() == before


@pytest.mark.parametrize(
    "change,code",
    [
        ({"status": "FROZEN"}, "WALLET_NOT_ACTIVE"),
        ({"status": "CLOSED"}, "WALLET_NOT_ACTIVE"),
        ({"deposits_enabled": False}, "DEPOSITS_FROZEN"),
    ],
)
def test_refuses_a_wallet_that_takes_no_money(alice: CastMember, change: dict[str, Any], code: str) -> None:
    Wallet.objects.filter(pk=alice.cash.pk).update(**change)
    before = books()
    assert refused(deposit(alice, "1.00"), 422, code)
    assert books() == before


# --- Before verification --------------------------------------------------------------------------------------------


def test_an_unverified_client_may_pay_in_up_to_a_limit(db: None) -> None:
    new = cast.make_client(verified=False, balance=Decimal(0))
    assert deposit(new, "1500.00").status_code == 201
    before = books()
    response = deposit(new, "500.01")
    assert refused(response, 422, "UNVERIFIED_DEPOSIT_LIMIT")
    assert response.json()["context"] == {
        "max": "2000.00",
        "deposited": "1500.00",
        "available": "500.00",
        "currency": "USD",
    }
    assert books() == before
    assert deposit(new, "500.00").status_code == 201


def test_the_limit_is_for_all_live_wallets_together(db: None) -> None:
    new = cast.make_client(verified=False, balance=Decimal(0))
    deposit(new, "1500.00")
    assert refused(deposit(new, "500.01", wallet=new.margin), 422, "UNVERIFIED_DEPOSIT_LIMIT")


@pytest.mark.usefixtures("manual")
def test_the_limit_counts_what_may_still_come_and_not_what_will_not(carol: StaffMember) -> None:
    new = cast.make_client(verified=False, balance=Decimal(0))
    first = make_deposit(new, "1500.00")
    assert refused(deposit(new, "500.01"), 422, "UNVERIFIED_DEPOSIT_LIMIT")
    deposits.reject_deposit(deposit_id=first.pk, reason=REASON, actor=carol.actor)
    assert deposit(new, "2000.00").status_code == 201


def test_the_limit_is_not_for_demo_wallets(db: None) -> None:
    client = cast.make_client(environment=Environment.DEMO)
    Wallet.objects.filter(owner=client.user).update(verified=False)
    assert deposit(client, "5000.00").status_code == 201


# --- Staff ----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("manual")
def test_a_manual_deposit_waits_and_moves_nothing(alice: CastMember) -> None:
    before = balances(alice)
    body = deposit(alice, "250.00").json()
    assert (body["status"], body["provider"], body["transaction"]) == ("PENDING", "manual", None)
    assert balances(alice) == before
    assert not LedgerTransaction.objects.filter(type="DEPOSIT").exists()


@pytest.mark.usefixtures("manual")
def test_approval_credits_and_leaves_a_record(alice: CastMember, carol: StaffMember) -> None:
    made = make_deposit(alice, "250.00")
    deposits.approve_deposit(deposit_id=made.pk, reason=REASON, reference="MT940-17", actor=carol.actor)
    made.refresh_from_db()
    assert balances(alice) == (Decimal("1250.00"), Decimal(0))
    assert (made.status, made.reviewed_by_id, made.reason) == ("COMPLETED", carol.user.pk, REASON)
    assert made.transaction is not None
    assert (made.transaction.reference, made.transaction.reason) == ("MT940-17", REASON)
    assert made.transaction.actor_kind == "STAFF"
    event = AuditEvent.objects.get(action="wallets.deposit.approved")
    assert (event.actor_id, event.owner, event.reason) == (carol.user.pk, alice.user.pk, REASON)
    assert (event.before, event.after) == (
        {"status": "PENDING"},
        {"status": "COMPLETED", "transaction": str(made.transaction_id)},
    )


@pytest.mark.usefixtures("manual")
def test_a_second_approval_is_refused(alice: CastMember, carol: StaffMember, dan: StaffMember) -> None:
    made = make_deposit(alice)
    deposits.approve_deposit(deposit_id=made.pk, reason=REASON, actor=carol.actor)
    before = books()
    with pytest.raises(deposits.DepositStateRefused):
        deposits.approve_deposit(deposit_id=made.pk, reason=REASON, actor=dan.actor)
    assert books() == before


@pytest.mark.usefixtures("manual")
def test_one_bank_reference_credits_one_deposit(alice: CastMember, bob: CastMember, carol: StaffMember) -> None:
    first, second = make_deposit(alice), make_deposit(bob)
    deposits.approve_deposit(deposit_id=first.pk, reason=REASON, reference="MT940-17", actor=carol.actor)
    before = books()
    with pytest.raises(deposits.PaymentReferenceTaken):
        deposits.approve_deposit(deposit_id=second.pk, reason=REASON, reference="MT940-17", actor=carol.actor)
    assert books() == before


@pytest.mark.usefixtures("manual")
def test_nobody_approves_their_own_deposit(alice: CastMember) -> None:
    made, before = make_deposit(alice), books()
    with pytest.raises(ApprovalOfOneself):
        deposits.approve_deposit(deposit_id=made.pk, reason=REASON, actor=Actor(id=alice.user.pk, kind=ActorKind.STAFF))
    assert books() == before


@pytest.mark.usefixtures("manual")
@pytest.mark.parametrize("decide", [deposits.approve_deposit, deposits.reject_deposit, deposits.reverse_deposit])
@pytest.mark.parametrize("reason", ["", "   ", "x" * 501])
def test_staff_give_a_reason(alice: CastMember, carol: StaffMember, decide: Any, reason: str) -> None:
    made, before = make_deposit(alice), books()
    with pytest.raises(DomainError, match="Say why"):
        decide(deposit_id=made.pk, reason=reason, actor=carol.actor)
    assert books() == before


@pytest.mark.parametrize("decide", [deposits.approve_deposit, deposits.reject_deposit, deposits.reverse_deposit])
def test_staff_cannot_decide_about_what_is_not_there(carol: StaffMember, decide: Any) -> None:
    with pytest.raises(deposits.DepositNotFound):
        decide(deposit_id=uuid7(), reason=REASON, actor=carol.actor)


@pytest.mark.usefixtures("manual")
def test_money_that_came_is_credited_to_a_frozen_wallet_but_not_to_a_closed_one(
    alice: CastMember, carol: StaffMember
) -> None:
    first, second = make_deposit(alice), make_deposit(alice)
    Wallet.objects.filter(pk=alice.cash.pk).update(status="FROZEN", deposits_enabled=False)
    deposits.approve_deposit(deposit_id=first.pk, reason=REASON, actor=carol.actor)
    assert balances(alice)[0] == Decimal("1100.00")
    Wallet.objects.filter(pk=alice.cash.pk).update(status="CLOSED")
    with pytest.raises(WalletNotActive):
        deposits.approve_deposit(deposit_id=second.pk, reason=REASON, actor=carol.actor)
    second.refresh_from_db()
    assert (second.status, balances(alice)[0]) == ("PENDING", Decimal("1100.00"))


# --- Reversal -------------------------------------------------------------------------------------------------------


def test_a_reversal_out_of_a_margin_wallet_takes_credit_along(committed_db: object) -> None:
    alice, carol = cast.alice(), cast.carol_staff()
    mades = [
        Deposit.objects.get(pk=deposit(alice, amount, wallet=alice.margin).json()["id"])
        for amount in ("750.00", "750.00")
    ]
    ledger_cast.give_credit(alice.margin, "1000.00")
    for made, credit in zip(mades, ("500.00", "0.00"), strict=True):
        deposits.reverse_deposit(deposit_id=made.pk, reason="charged back", actor=carol.actor)
        alice.margin.refresh_from_db()
        assert alice.margin.credit == Decimal(credit)
    assert alice.margin.balance == 0
    assert breaks() == {}


def test_a_reversal_names_what_it_reverses(alice: CastMember, carol: StaffMember) -> None:
    made = make_deposit(alice, "250.00")
    deposits.reverse_deposit(deposit_id=made.pk, reason="charged back", actor=carol.actor)
    made.refresh_from_db()
    reversal = LedgerTransaction.objects.get(type="REVERSAL")
    assert (reversal.reverses_id, reversal.reason, made.status) == (made.transaction_id, "charged back", "REVERSED")
    assert {(leg.amount, leg.reason) for leg in Entry.objects.filter(transaction=reversal)} == {
        (Decimal("-250.00"), "REVERSAL"),
        (Decimal("250.00"), "REVERSAL"),
    }
    assert balances(alice) == (Decimal("1000.00"), Decimal(0))
    assert AuditEvent.objects.get(action="wallets.deposit.reversed").after == {
        "status": "REVERSED",
        "reversal": str(reversal.pk),
    }


def test_a_reversal_never_overdraws(carol: StaffMember) -> None:
    poor = cast.make_client(balance=Decimal(0))
    made = make_deposit(poor, "250.00")
    bank_account(poor)
    assert withdraw(poor, "0.01").status_code == 422  # below the minimum
    assert withdraw(poor, "1.00").status_code == 201
    before = books()
    with pytest.raises(InsufficientFunds) as refusal:
        deposits.reverse_deposit(deposit_id=made.pk, reason="charged back", actor=carol.actor)
    assert refusal.value.context["shortfall"] == "1.00"
    made.refresh_from_db()
    assert (books(), made.status) == (before, "COMPLETED")


def test_a_reversal_waits_until_a_margin_wallet_carries_no_risk(alice: CastMember, carol: StaffMember) -> None:
    made = make_deposit(alice, "250.00", wallet=alice.margin)
    Wallet.objects.filter(pk=alice.margin.pk).update(held=Decimal("0.01"))
    before = books()
    with pytest.raises(InsufficientFunds):
        deposits.reverse_deposit(deposit_id=made.pk, reason="charged back", actor=carol.actor)
    assert books() == before
    Wallet.objects.filter(pk=alice.margin.pk).update(held=0)
    deposits.reverse_deposit(deposit_id=made.pk, reason="charged back", actor=carol.actor)
    alice.margin.refresh_from_db()
    assert alice.margin.balance == 0


# --- The clock ------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("manual")
def test_expires_only_what_is_overdue(alice: CastMember) -> None:
    old, young = make_deposit(alice), make_deposit(alice)
    Deposit.objects.filter(pk=old.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    out = StringIO()
    call_command("expire_deposits", "--json", stdout=out)
    assert '"expired": 1' in out.getvalue()
    old.refresh_from_db()
    young.refresh_from_db()
    assert (old.status, young.status) == ("EXPIRED", "PENDING")


@pytest.mark.usefixtures("manual")
def test_a_dry_run_expires_nothing(alice: CastMember) -> None:
    made = make_deposit(alice)
    Deposit.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    out = StringIO()
    call_command("expire_deposits", "--dry-run", "--json", stdout=out)
    made.refresh_from_db()
    assert ('"overdue": 1' in out.getvalue(), made.status) == (True, "PENDING")


# --- Every way a deposit can go -------------------------------------------------------------------------------------

#: What is done to a pending (or whatever) deposit to bring it to a status, and by whom.
STEPS: dict[str, Any] = {
    Status.COMPLETED: lambda made, carol: deposits.approve_deposit(
        deposit_id=made.pk, reason=REASON, actor=carol.actor
    ),
    Status.REJECTED: lambda made, carol: deposits.reject_deposit(deposit_id=made.pk, reason=REASON, actor=carol.actor),
    Status.REVERSED: lambda made, carol: deposits.reverse_deposit(deposit_id=made.pk, reason=REASON, actor=carol.actor),
}


@pytest.mark.usefixtures("manual")
@pytest.mark.parametrize("status,wanted", list(product(Status, STEPS)))
def test_goes_only_where_the_table_says(alice: CastMember, carol: StaffMember, status: str, wanted: str) -> None:
    made, before = make_deposit_in(status, alice), books()
    if wanted in deposits.TRANSITIONS[status]:
        STEPS[wanted](made, carol)
        made.refresh_from_db()
        assert made.status == wanted
        assert books() != before
        return
    with pytest.raises(deposits.DepositStateRefused) as refusal:
        STEPS[wanted](made, carol)
    made.refresh_from_db()
    assert (refusal.value.code, made.status, books()) == ("DEPOSIT_STATE_REFUSED", status, before)


@pytest.mark.usefixtures("manual")
@pytest.mark.parametrize("status", list(Status))
def test_only_what_is_pending_expires(alice: CastMember, status: str) -> None:
    made = make_deposit_in(status, alice)
    expired = deposits.expire_deposits(now=made.expires_at + timedelta(days=1), limit=10)
    made.refresh_from_db()
    assert (expired, made.status) == ((1, "EXPIRED") if status == Status.PENDING else (0, status))


# --- The provider's word (over HTTP in test_webhook.py) -------------------------------------------------------------


def settle(made: Deposit, **changes: Any) -> Deposit:
    terms = {"reference": "pay-1", "succeeded": True, "amount": made.amount, "currency": made.currency} | changes
    return deposits.settle_deposit(deposit_id=made.pk, actor=PROVIDER, **terms)


@pytest.mark.usefixtures("webhook")
@pytest.mark.parametrize("status", [Status.REJECTED, Status.EXPIRED])
def test_a_late_payment_is_refused_and_changes_nothing(alice: CastMember, status: str) -> None:
    made, before = make_deposit_in(status, alice), books()
    with pytest.raises(deposits.DepositStateRefused):
        settle(made)
    assert books() == before


@pytest.mark.usefixtures("webhook")
def test_a_payment_reported_again_after_its_reversal_changes_nothing(alice: CastMember, carol: StaffMember) -> None:
    made = settle(make_deposit(alice))
    deposits.reverse_deposit(deposit_id=made.pk, reason="charged back", actor=carol.actor)
    before = books()
    assert settle(made).status == "REVERSED"
    assert books() == before


@pytest.mark.usefixtures("manual")
def test_a_provider_has_no_say_about_other_providers_deposits(alice: CastMember) -> None:
    made, before = make_deposit(alice), books()
    with pytest.raises(deposits.DepositNotFound):
        settle(made)
    assert books() == before


# --- Reading --------------------------------------------------------------------------------------------------------


def test_lists_own_deposits_newest_first(alice: CastMember, bob: CastMember) -> None:
    made = [deposit(alice, "1.00").json()["id"], deposit(alice, "2.00").json()["id"]]
    deposit(bob, "3.00")
    assert [row["id"] for row in get(alice, "deposits").json()["results"]] == made[::-1]


def test_somebody_elses_deposit_does_not_exist(alice: CastMember, bob: CastMember) -> None:
    made = deposit(alice, "1.00").json()["id"]
    assert refused(get(bob, f"deposits/{made}"), 404, "NOT_FOUND")
    assert refused(get(bob, f"deposits/{key()}"), 404, "NOT_FOUND")


def test_an_unknown_provider_stops_the_start(settings: Settings) -> None:
    settings.PAYMENT_PROVIDER = "sandbx"
    assert [message.id for message in check_secrets_and_provider()] == ["wallets.E002"]
    with pytest.raises(ImproperlyConfigured):
        payments.provider_for(Environment.LIVE)


def test_a_deployment_is_warned_of_the_sandbox(settings: Settings) -> None:
    assert [message.id for message in check_money_is_real()] == ["wallets.W001"]
    settings.PAYMENT_PROVIDER = "manual"
    assert check_money_is_real() == []
