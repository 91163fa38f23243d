"""What compliance and finance do all day, by mouse and keyboard."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from django.utils import timezone

from tests import cast
from tests.browser.visit import SignIn, Visit
from tests.cast import CastMember
from tests.wallets.calls import IBAN, bank_account, deposit, withdraw
from wallets.models import Entry, LedgerTransaction, Withdrawal

LARGE = "12000.00"


def asked_for(amount: str) -> tuple[CastMember, Withdrawal]:
    """A client with enough, who asks for so much of it."""
    client = cast.make_client(email="alice@example.com", name="Alice Archer", balance=Decimal("20000.00"))
    bank_account(client)
    assert withdraw(client, amount).status_code == 201
    return client, Withdrawal.objects.get(owner=client.user)


def decide(office: Visit, withdrawal: Withdrawal, step: str, reason: str) -> str:
    """Open the withdrawal from the queue, say why, and press the button; what the page says then."""
    office.open("/admin/queues/withdrawals/")
    office.page.click(f"a[href$='/{withdrawal.pk}/']")
    office.page.wait_for_load_state()
    office.page.fill("[name=reason]", reason)
    office.press(step)
    return office.text()


def test_a_large_withdrawal_takes_two_people(sign_in: SignIn) -> None:
    _, withdrawal = asked_for(LARGE)
    first, second = sign_in("finance", 1), sign_in("finance", 2)
    decide(first, withdrawal, "Take into review", "Looks right")
    decide(first, withdrawal, "Approve", "Name matches")
    said = decide(first, withdrawal, "Approve", "Once more")
    assert "approved by two different people, and you are the first" in said
    withdrawal.refresh_from_db()
    assert (withdrawal.status, withdrawal.second_approved_by) == ("IN_REVIEW", None)
    decide(second, withdrawal, "Approve", "Called the client")
    withdrawal.refresh_from_db()
    assert withdrawal.status == "APPROVED"
    assert withdrawal.approved_by != withdrawal.second_approved_by


def test_a_decision_without_a_reason_is_refused(sign_in: SignIn) -> None:
    _, withdrawal = asked_for("100.00")
    decide(sign_in("finance"), withdrawal, "Take into review", "")  # the browser itself keeps the form back
    withdrawal.refresh_from_db()
    assert withdrawal.status == "REQUESTED"


def test_a_client_is_found_by_iban(sign_in: SignIn) -> None:
    client, _ = asked_for("100.00")
    office = sign_in("kyc")
    office.open("/admin/find/")
    office.page.locator("input[name=q]:visible").last.fill(IBAN)
    office.page.keyboard.press("Enter")
    office.page.wait_for_url(f"**/{client.id}/**")
    assert str(client.id) in office.page.url
    assert "Alice Archer" in office.text()
    assert client.user.email in office.text()


def test_a_ledger_transaction_is_read_with_both_its_sides(sign_in: SignIn) -> None:
    client = cast.make_client(email="alice@example.com", name="Alice Archer")
    assert deposit(client, "250.00").status_code == 201
    posted = LedgerTransaction.objects.get(type="DEPOSIT")
    office = sign_in("auditor")
    said = office.open(f"/admin/ledger/{posted.pk}/")
    for entry in Entry.objects.filter(transaction=posted).select_related("wallet"):
        assert entry.wallet.number in said
    assert "250.00" in said.replace(",", "")
    assert str(posted.pk) in said


def test_a_client_is_exported(sign_in: SignIn) -> None:
    client, _ = asked_for("100.00")
    office = sign_in("auditor")
    office.open(f"/admin/clients/{client.id}/export/")
    today = timezone.now().date()
    office.page.fill("[name=from]", str(today))
    office.page.fill("[name=to]", str(today + timedelta(days=1)))
    office.page.fill("[name=reason]", "Asked for by the ombudsman")
    with office.page.expect_download() as download:
        office.page.click("#export-form [type=submit]")
    name = download.value.suggested_filename
    assert name.endswith(".zip"), name
    assert download.value.path().read_bytes()[:2] == b"PK"
