"""Who answers the telephone reads no address, number or date of birth: not on a page, and not out of its order."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from django.test import Client

from accounts.models import Freeze, User
from accounts.services import freezes
from config.back_office import masking
from core.audit import Actor
from tests import cast
from tests.accounts.test_back_office import noon, office  # noqa: F401  # a fixture
from tests.wallets.calls import bank_account, deposit, withdraw
from wallets.models import BankAccount

USERS = "/admin/accounts/user/"
EMAIL, PHONE, BORN, STREET = "alice@example.com", "+442079460101", date(1990, 5, 17), "17 Acacia Avenue"
SECRETS = (EMAIL, PHONE, "1990", "17 May", "Acacia")


@pytest.fixture
def alice(db: None) -> cast.CastMember:
    member = cast.make_client(
        email=EMAIL, name="Alice Archer", phone=PHONE, date_of_birth=BORN, address={"line1": STREET, "city": "Leeds"}
    )
    bank_account(member)
    BankAccount.objects.update(branch="Acacia branch", code="ACACIAGB")
    for made in (deposit(member, "1.00"), withdraw(member, "1.00")):
        assert made.status_code == 201
    freezes.place_freeze(owner=member.user.pk, scope=Freeze.Scope.TRADING, reason="Alert 7", actor=Actor.system())
    return member


@pytest.fixture
def sam(alice: cast.CastMember) -> Client:
    return office("support")


def text(client: Client, path: str, **query: Any) -> str:
    page = client.get(path, query)
    assert page.status_code == 200
    return page.content.decode()


def told(shown: str) -> list[str]:
    return [secret for secret in SECRETS if secret in shown]


def test_masks_leave_what_recognises_and_nothing_else() -> None:
    assert masking.masked_email("alice@example.com") == "a***@example.com"
    assert masking.masked_phone("+442079460101") == "•••••••0101"
    assert [masking.masked_email(None), masking.masked_email(""), masking.masked_email("nobody")] == [""] * 3
    assert [masking.masked_phone(None), masking.masked_phone("0101")] == [""] * 2


def test_support_recognises_a_client_and_reads_no_more(alice: cast.CastMember, sam: Client) -> None:
    for path in (USERS, f"{USERS}{alice.user.pk}/change/"):
        shown = text(sam, path)
        assert "Alice Archer" in shown
        assert told(shown) == []
    assert "•••••••0101" in text(sam, f"{USERS}{alice.user.pk}/change/")
    assert "a***@example.com" in text(sam, USERS)


@pytest.mark.parametrize("words", [EMAIL, PHONE])
def test_support_finds_who_says_their_address_and_does_not_read_it_back(sam: Client, words: str) -> None:
    shown = text(sam, USERS, q=words)
    assert "Alice Archer" in shown
    assert [secret for secret in told(shown.replace(f'value="{words}"', "")) if secret != words] == []


@pytest.mark.parametrize(
    "model",
    ["wallets/wallet", "wallets/deposit", "wallets/withdrawal", "wallets/bankaccount", "accounts/freeze"],
)
def test_whose_a_row_is_does_not_tell_their_address(alice: cast.CastMember, sam: Client, model: str) -> None:
    shown = text(sam, f"/admin/{model}/")
    assert "Alice Archer" in shown
    assert told(shown) == []
    room, name = model.split("/")
    rows: Any = alice.user._meta.apps.get_model(room, name)._default_manager.filter(owner=alice.user)
    for row in rows:
        assert told(text(sam, f"/admin/{model}/{row.pk}/change/")) == []


@pytest.mark.parametrize(
    "query",
    [
        {"email__startswith": "a"},
        {"phone__startswith": "+44"},
        {"date_of_birth__year": "1990"},
        {"address__icontains": "Acacia"},
        {"password__startswith": "argon2"},
        {"api_tokens__digest__gt": "a"},
        {"totpdevice__key__startswith": "0"},
    ],
)
def test_nothing_is_found_out_by_filtering(sam: Client, query: dict[str, str]) -> None:
    assert sam.get(USERS, query).status_code == 400


def test_nobody_filters_for_secrets_who_may_read_everything_else(alice: cast.CastMember) -> None:
    auditor = office("auditor")
    assert auditor.get(USERS, {"email__startswith": "a"}).status_code == 200
    assert auditor.get(USERS, {"password__startswith": "argon2"}).status_code == 400
    assert auditor.get("/admin/wallets/bankaccount/", {"number_hash": "00"}).status_code == 400


def test_nothing_is_found_out_by_sorting(sam: Client) -> None:
    by_address = [row.pk for row in User.objects.order_by("email")]
    assert by_address != [row.pk for row in User.objects.order_by("-pk")]
    for column in ("0", "1", "2", "-1"):  # whichever the column of addresses is
        shown = sam.get(USERS, {"o": column}).context["cl"].result_list
        assert [row.pk for row in shown] == [row.pk for row in User.objects.order_by("-pk")]


@pytest.mark.parametrize("role", ["kyc", "finance", "auditor"])
def test_who_needs_it_reads_it(alice: cast.CastMember, role: str) -> None:
    client = office(role)
    shown = text(client, f"{USERS}{alice.user.pk}/change/")
    assert (EMAIL in shown, PHONE in shown, STREET in shown) == (True, True, True)
    assert EMAIL in text(client, USERS)
    assert "Acacia branch" in text(client, f"/admin/wallets/bankaccount/{BankAccount.objects.get().pk}/change/")


def test_what_was_submitted_is_for_compliance(sam: Client) -> None:
    client = cast.make_client(name="Bob Bennett", verified=False)
    row: Any = client.user.verifications.create(documents=[{"kind": "PASSPORT", "reference": "X-4711"}])
    path = f"/admin/accounts/verification/{row.pk}/change/"
    assert "X-4711" not in text(sam, path)
    assert "X-4711" in text(office("kyc"), path)
