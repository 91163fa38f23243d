"""What compliance and finance do all day, by mouse and keyboard."""

from __future__ import annotations

from decimal import Decimal

from tests import cast
from tests.browser.visit import SignIn, Visit
from tests.cast import CastMember
from tests.wallets.calls import IBAN, bank_account, deposit, withdraw
from wallets.models import Entry, LedgerTransaction, Withdrawal

LARGE = "12000.00"
WITHDRAWALS = "/admin/wallets/withdrawal/"


def asked_for(amount: str) -> tuple[CastMember, Withdrawal]:
    """A client with enough, who asks for so much of it."""
    client = cast.make_client(email="alice@example.com", name="Alice Archer", balance=Decimal("20000.00"))
    bank_account(client)
    assert withdraw(client, amount).status_code == 201
    return client, Withdrawal.objects.get(owner=client.user)


def decide(office: Visit, action: str, reason: str) -> str:
    """Choose the only withdrawal of the list, say what to do with it and why; what the page says then."""
    office.open(WITHDRAWALS)
    office.page.check("input[name=_selected_action]")
    office.page.select_option("select[name=action]", label=action)
    office.page.fill("input[name=reason]", reason)
    office.press("Run")
    return office.text()


def test_a_large_withdrawal_takes_two_people(sign_in: SignIn) -> None:
    _, withdrawal = asked_for(LARGE)
    first, second = sign_in("finance", 1), sign_in("finance", 2)
    assert "1 taken into review" in decide(first, "Take into review", "Looks right")
    assert "1 approved" in decide(first, "Approve", "Name matches")
    said = decide(first, "Approve", "Once more")
    assert "approved by two different people, and you are the first" in said
    withdrawal.refresh_from_db()
    assert (withdrawal.status, withdrawal.second_approved_by) == ("IN_REVIEW", None)
    assert "1 approved" in decide(second, "Approve", "Called the client")
    withdrawal.refresh_from_db()
    assert withdrawal.status == "APPROVED"
    assert withdrawal.approved_by != withdrawal.second_approved_by


def test_a_decision_without_a_reason_is_refused(sign_in: SignIn) -> None:
    _, withdrawal = asked_for("100.00")
    assert "Say why" in decide(sign_in("finance"), "Take into review", "")
    withdrawal.refresh_from_db()
    assert withdrawal.status == "REQUESTED"


def test_a_client_is_found_by_iban(sign_in: SignIn) -> None:
    client, _ = asked_for("100.00")
    office = sign_in("kyc")
    office.open("/admin/find/")
    office.page.fill("main input[name=q], #content input[name=q]", IBAN)
    office.page.keyboard.press("Enter")
    office.page.wait_for_load_state()
    if "find" in office.page.url:  # a list of what was found, of which there is one
        office.page.click("#content a:has-text('Alice Archer')")
        office.page.wait_for_load_state()
    assert str(client.id) in office.page.url
    assert "Alice Archer" in office.text()
    assert client.cash.number in office.text()


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
    with office.page.expect_download() as download:
        office.page.click("#content form [type=submit]")
    name = download.value.suggested_filename
    assert name.endswith(".zip"), name
    assert download.value.path().read_bytes()[:2] == b"PK"
