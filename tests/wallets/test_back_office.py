"""Staff decide about money through services, each with a reason, and nobody edits a row."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.test import Client
from django_otp import DEVICE_ID_SESSION_KEY
from django_otp.plugins.otp_totp.models import TOTPDevice
from pytest_django import Settings

from accounts.services import staff
from core.ids import uuid7
from core.models import AuditEvent
from tests import cast
from tests.cast import CastMember, StaffMember
from tests.wallets.calls import IBAN, balances, bank_account, books, deposit, transfer, withdraw
from wallets.models import Adjustment, Deposit, Entry, Wallet, Withdrawal
from wallets.services import adjustments, deposits

MODELS = [model._meta.model_name for model in apps.get_app_config("wallets").get_models()]


def signed_in(member: StaffMember) -> Client:
    """Past the front door, which has tests of its own: signed in, with the second factor given."""
    client = Client()
    client.force_login(member.user)
    session = client.session
    session[DEVICE_ID_SESSION_KEY] = TOTPDevice.objects.create(user=member.user, name="test").persistent_id
    session.save()
    return client


@pytest.fixture
def office(carol: StaffMember) -> Client:
    return signed_in(carol)


def act(office: Client, model: str, action: str, *rows: Any, reason: str = "as agreed") -> Any:
    form = {"action": action, "_selected_action": [str(row.pk) for row in rows], "index": "0", "reason": reason}
    return office.post(f"/admin/wallets/{model}/", form, follow=True)


def propose(who: CastMember) -> Adjustment:
    maker = cast.carol_staff(email="maker@example.com")
    terms: Any = {"wallet": who.cash.number, "direction": "DEBIT", "amount": Decimal("5.00"), "key": "one form"}
    return adjustments.propose_adjustment(**terms, reason="credited twice", actor=maker.actor)


@pytest.mark.parametrize("model", MODELS)
def test_every_list_and_every_row_can_be_looked_at(
    alice: CastMember, bob: CastMember, office: Client, model: str
) -> None:
    bank_account(alice)
    for made in (transfer(alice, bob.cash, "1.00"), deposit(alice, "1.00"), withdraw(alice, "1.00")):
        assert made.status_code == 201
    propose(alice)
    deposits.keep_report(deposit_id=uuid7(), reference="pay_1", succeeded=True, amount=Decimal(1), currency="USD")
    assert office.get(f"/admin/wallets/{model}/").status_code == 200
    assert office.get(f"/admin/wallets/{model}/?q=nothing-has-this").status_code == 200
    row = apps.get_model("wallets", model)._default_manager.first()
    if model != "seal":
        assert row is not None
        page = office.get(f"/admin/wallets/{model}/{row.pk}/change/")
        assert page.status_code == 200
        assert b'name="_save"' not in page.content


@pytest.mark.parametrize("model", MODELS)
def test_nobody_adds_changes_or_deletes_a_row(alice: CastMember, office: Client, model: str) -> None:
    bank_account(alice)
    propose(alice)
    row = apps.get_model("wallets", model)._default_manager.first()
    before = books()
    assert office.get(f"/admin/wallets/{model}/add/").status_code == 403
    if row is not None:
        assert office.post(f"/admin/wallets/{model}/{row.pk}/change/", {"balance": "1"}).status_code == 403
        assert office.post(f"/admin/wallets/{model}/{row.pk}/delete/", {"post": "yes"}).status_code == 403
        act(office, model, "delete_selected", row)
    assert books() == before


@pytest.mark.parametrize("model", MODELS)
def test_every_model_is_shown_read_only(model: str) -> None:
    from core.admin import ReadOnlyAdmin

    assert isinstance(admin.site._registry[apps.get_model("wallets", model)], ReadOnlyAdmin)


def test_a_deposit_is_approved_with_a_reason(alice: CastMember, office: Client, settings: Settings) -> None:
    settings.PAYMENT_PROVIDER = "manual"
    made = Deposit.objects.get(pk=deposit(alice, "250.00").json()["id"])
    page = act(office, "deposit", "approve", made, reason="")
    assert "Say why" in page.content.decode()
    assert balances(alice)[0] == Decimal("1000.00")
    act(office, "deposit", "approve", made)
    assert balances(alice)[0] == Decimal("1250.00")
    assert AuditEvent.objects.get(action="wallets.deposit.approved").reason == "as agreed"
    page = act(office, "deposit", "reject", made)
    assert "can&#x27;t become REJECTED" in page.content.decode()
    act(office, "deposit", "reverse", made, reason="charged back")
    assert balances(alice)[0] == Decimal("1000.00")


def test_an_adjustment_is_approved_from_the_list_by_somebody_else(alice: CastMember, office: Client) -> None:
    row = propose(alice)
    page = act(office, "adjustment", "withdraw", row)
    assert "Only whoever proposed an adjustment withdraws it" in page.content.decode()
    act(signed_in(StaffMember(row.proposed_by)), "adjustment", "approve", row)
    assert balances(alice)[0] == Decimal("1000.00")
    act(office, "adjustment", "approve", row)
    assert balances(alice)[0] == Decimal("995.00")
    page = act(office, "adjustment", "reject", row)
    assert "already" in page.content.decode()


def test_a_withdrawal_goes_its_way_from_the_list(alice: CastMember, office: Client) -> None:
    bank_account(alice)
    first, second, third = (Withdrawal.objects.get(pk=withdraw(alice, "10.00").json()["id"]) for _ in range(3))
    for action in ("start_review", "approve", "mark_sent"):
        act(office, "withdrawal", action, first, second)
    act(office, "withdrawal", "complete", first)
    act(office, "withdrawal", "fail", second, reason="account closed")
    act(office, "withdrawal", "reject", third, reason="no documents")
    statuses = [Withdrawal.objects.get(pk=row.pk).status for row in (first, second, third)]
    assert statuses == ["COMPLETED", "FAILED", "REJECTED"]
    assert balances(alice) == (Decimal("990.00"), Decimal(0))


@pytest.mark.parametrize("role", ["support", "kyc", "auditor"])
def test_other_roles_look_and_do_not_decide(alice: CastMember, settings: Settings, role: str) -> None:
    settings.PAYMENT_PROVIDER = "manual"
    bank_account(alice)
    made = Deposit.objects.get(pk=deposit(alice, "250.00").json()["id"])
    asked = Withdrawal.objects.get(pk=withdraw(alice, "10.00").json()["id"])
    staff.define_roles()
    office = signed_in(_in_role(role))
    before = books()
    assert office.get("/admin/wallets/deposit/").status_code == 200
    act(office, "deposit", "approve", made)
    act(office, "withdrawal", "start_review", asked)
    act(office, "bankaccount", "reveal", asked.bank_account)
    assert books() == before


def test_finance_decides(alice: CastMember) -> None:
    bank_account(alice)
    asked = Withdrawal.objects.get(pk=withdraw(alice, "10.00").json()["id"])
    staff.define_roles()
    act(signed_in(_in_role("finance")), "withdrawal", "start_review", asked)
    asked.refresh_from_db()
    assert asked.status == "IN_REVIEW"


def _in_role(role: str) -> StaffMember:
    from django.contrib.auth.models import Group

    member = cast.carol_staff(email=f"{role}@example.com", superuser=False)
    member.user.groups.add(Group.objects.get(name=role))
    return member


def test_a_number_is_revealed_once_for_a_reason(alice: CastMember, office: Client, carol: StaffMember) -> None:
    account = bank_account(alice)
    for page in ("/admin/wallets/bankaccount/", f"/admin/wallets/bankaccount/{account.pk}/change/"):
        assert IBAN not in office.get(page).content.decode()
    refused = act(office, "bankaccount", "reveal", account, reason=" ")
    assert IBAN not in refused.content.decode()
    assert not AuditEvent.objects.filter(action="wallets.bank_account.revealed").exists()
    page = act(office, "bankaccount", "reveal", account, reason="the bank asks for it")
    assert IBAN in page.content.decode()
    assert "no-store" in page.headers["Cache-Control"]
    event = AuditEvent.objects.get(action="wallets.bank_account.revealed")
    assert (event.actor_id, event.reason) == (carol.user.pk, "the bank asks for it")
    assert IBAN not in office.get("/admin/wallets/bankaccount/").content.decode()


def test_numbers_are_revealed_one_at_a_time(alice: CastMember, bob: CastMember, office: Client) -> None:
    before = [bank_account(alice), bank_account(bob)]
    page = act(office, "bankaccount", "reveal", *before)
    assert IBAN not in page.content.decode()
    assert not AuditEvent.objects.exists()


def test_entries_are_found_by_the_number_of_a_clients_wallet(alice: CastMember, office: Client) -> None:
    def found(typed: str) -> set[Any]:
        return {row.pk for row in office.get("/admin/wallets/entry/", {"q": typed}).context["cl"].result_list}

    own = {row.pk for row in Entry.objects.filter(wallet=alice.cash)}
    assert own
    assert found(alice.cash.number) == found(f" {alice.cash.number.lower()} ") == own
    house = Wallet.objects.get(kind="HOUSE_ADJUSTMENT", currency="USD", environment="LIVE")
    assert Entry.objects.filter(wallet=house).exists()
    assert found(house.number) == set()
