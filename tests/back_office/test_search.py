"""One box finds whatever staff have in their hands, tells nobody more than they may know, and survives all typing."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import pytest
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts import rules
from accounts.models import ApiToken, Freeze, TradingAccount, User, Verification
from config.back_office.cells import place
from config.back_office.clients import search
from config.back_office.clients.looks import client_url
from core.ids import HOUSE, uuid7
from core.models import AuditEvent
from referrals.models import Commission
from tests import cast, factories
from tests.accounts.test_back_office import office
from tests.back_office.people import LOOK, pair, staff, superuser, text_of
from tests.cast import CastMember
from tests.trading import prices
from tests.wallets.calls import IBAN, bank_account
from trading.models import Deal, Order, Position
from wallets import bank
from wallets.models import BankAccount, Deposit, Entry, LedgerTransaction, Transfer, Wallet, Withdrawal

#: Session, user, device, permissions; and a handful of look-ups.
QUERIES_MAX = 30


def find(client: Client, typed: str) -> Any:
    return client.get(f"{reverse('admin:find')}?{urlencode({'q': typed})}")


def found(client: Client, typed: str) -> str:
    """Where the one hit leads to."""
    response = find(client, typed)
    assert response.status_code == 302, text_of(response)
    return str(response.headers["Location"])


def url_of(row: Any) -> str:
    found = place(row)
    assert found is not None
    return found.url


@pytest.fixture
def desk(db: None) -> Client:
    return superuser()


# --- What is found ----------------------------------------------------------------------------------------------------


def test_a_client_is_found_by_whatever_they_say(desk: Client) -> None:
    alice = cast.make_client(
        email="alice@example.com", name="Alice Archer", phone="+442079460101", referral_code=rules.new_referral_code()
    )
    cast.bob()
    user, code = alice.user, alice.user.referral_code
    assert user.number is not None
    assert code is not None
    spellings = (
        user.number, user.number.lower(), f"{user.number[0]} {user.number[1:4]}-{user.number[4:]}", f"  {user.number} ",
        "alice@example.com", "Alice@Example.COM", "+442079460101", "+44 (20) 7946-0101", "0044 20 7946 0101",
        "442079460101", code, code.lower(), f"{code[:4]}-{code[4:]}", str(user.pk), str(user.pk).upper(),
        user.pk.hex, "alice", "ALICE ARCH", "Alice Archer", alice.account.number,
    )  # fmt: skip
    for typed in spellings:
        assert found(desk, typed) == client_url(user.pk), typed
    assert found(desk, alice.cash.number) == client_url(user.pk, "wallets", wallet=alice.cash.number)
    assert found(desk, "".join(chr(ord(c) + 0xFEE0) for c in user.number)) == client_url(user.pk)  # full width


def test_a_thing_is_found_by_its_number_or_id(desk: Client) -> None:
    prices.open_market()
    alice, _ = pair()
    owner = alice.user
    models: list[Any] = [Deposit, Withdrawal, Transfer, Order, Position, Deal, LedgerTransaction, Entry, TradingAccount]
    models += [Wallet, BankAccount, Verification, Freeze, Commission, ApiToken]
    for model in models:
        row = model.objects.filter(owner=owner).latest("pk")
        assert found(desk, str(row.pk)) == url_of(row), model
    event = AuditEvent.objects.filter(owner=owner.pk).latest("pk")
    assert found(desk, str(event.pk)) == url_of(event)
    position = Position.objects.filter(owner=owner).latest("pk")
    for typed in (str(position.number), f"#{position.number}"):
        assert found(desk, typed) == url_of(position)
    token = ApiToken.objects.filter(owner=owner).latest("pk")
    assert found(desk, token.prefix) == client_url(owner.pk, "access")
    assert found(desk, alice.token) == client_url(owner.pk, "access")


def test_every_row_of_a_client_can_be_found_by_id() -> None:
    assert {LedgerTransaction, Deposit, Withdrawal, Order, Deal, Position} <= set(search.OBJECTS)
    for model in search.OBJECTS:
        assert isinstance(model._meta.pk.to_python(str(uuid7())), UUID)
        assert model._meta.get_field("owner")


def test_staff_and_the_house_are_no_clients(desk: Client) -> None:
    clerk = factories.Staff.create(email="clerk@desk.example", name="Clara Clerk")
    assert found(desk, "clerk@desk.example") == url_of(clerk)
    assert found(desk, str(HOUSE)) == url_of(User.objects.get(pk=HOUSE))
    assert find(desk, "Clara Clerk").status_code == 200


def test_several_are_listed_with_who_they_are(desk: Client) -> None:
    people = [factories.Person.create(name=f"Smith{end}") for end in ("", "son", " Jane")]
    factories.Person.create(name="Smart")
    response = find(desk, "smith")
    text = text_of(response)
    assert response.status_code == 200
    for person in people:
        assert f"Client {person.number} {person.name} {person.email}" in text
        assert f'href="{client_url(person.pk)}"' in response.content.decode()
    assert "Smart" not in text


def test_a_number_can_be_two_things(desk: Client) -> None:
    phone = factories.Person.create(phone="+1000001")
    account = cast.alice().account
    TradingAccount.objects.filter(pk=account.pk).update(number="1000001")
    text = text_of(find(desk, "1000001"))
    assert "Trading account 1000001 (LIVE)" in text
    assert str(phone.number) in text


@pytest.mark.parametrize(
    "typed,kind",
    [
        ("C99999999", "a client number; there is no such client"),
        ("W99999999", "a wallet number; there is no such wallet"),
        ("99999999", "a trading account's number; there is no such account"),
        ("99999999", "a position's number; there is no such position"),
        ("nobody@example.com", "an email address; nobody has it"),
        ("+15550000000", "a phone number; nobody has it"),
        ("00000000-0000-0000-0000-000000000000", "an id; nothing that you may look at has it"),
        ("dd_AAAAAAAA", "a token's beginning; no token begins like this"),
        ("GB82 WEST 1234 5698 7654 32", "a bank account; nobody has it on file"),
        ("Zebedee", "the beginning of a name; no client's name begins like this"),
    ],
)
def test_what_is_not_there_is_told_with_what_was_understood(desk: Client, typed: str, kind: str) -> None:
    assert f"Looks like {kind}" in text_of(find(desk, typed))


# --- Bank accounts ----------------------------------------------------------------------------------------------------


def test_an_iban_finds_whoever_has_it_on_file_and_leaves_a_trace(desk: Client) -> None:
    alice, bob = cast.alice(), cast.bob()
    row = bank_account(alice)
    for typed in (IBAN, "DE89 3704 0044 0532 0130 00", IBAN.lower()):
        assert found(desk, typed) == client_url(alice.user.pk)
    events = AuditEvent.objects.filter(action="clients.search.by_bank_account")
    assert [(event.owner, event.object_id) for event in events] == [(alice.user.pk, str(row.pk))] * 3
    assert {event.actor_kind for event in events} == {"STAFF"}
    assert IBAN not in str(list(events.values()))

    bank_account(bob)
    text = text_of(find(desk, IBAN))
    assert str(alice.user.number) in text
    assert str(bob.user.number) in text
    assert IBAN not in text.replace(f'value="{IBAN}"', "")


def test_a_search_that_finds_nobody_leaves_a_trace_too(desk: Client) -> None:
    find(desk, IBAN)
    event = AuditEvent.objects.get(action="clients.search.by_bank_account")
    assert (event.owner, event.after) == (HOUSE, {"last_four": "3000", "found": 0})
    assert event.object_id == str(event.actor_id)


@pytest.mark.parametrize(
    "code_type,code,number,typed",
    [
        ("ABA", "021000021", "12345678", "021000021 12345678"),
        ("SORT", "401234", "12345678", "40-12-34 12345678"),
        ("IFSC", "HDFC0001234", "50100012345678", "hdfc0001234 50100012345678"),
        ("BIC", "DEUTDEFF", "1234567", "DEUTDEFF 1234567"),
    ],
)
def test_other_accounts_are_found_by_the_banks_code_and_the_number(
    desk: Client, code_type: str, code: str, number: str, typed: str
) -> None:
    alice = cast.alice()
    with transaction.atomic():
        bank.store_bank_account(
            owner=alice.user.pk, holder="A", bank_name="B", branch="", code_type=code_type, code=code, number=number
        )
    assert found(desk, typed) == client_url(alice.user.pk)


def test_what_is_no_bank_account_is_not_put_on_record(desk: Client) -> None:
    for typed in ("Jonathan Smith", "DE00370400440532013000", "C10000001", "442079460101", "Alice 123"):
        find(desk, typed)
    assert not AuditEvent.objects.filter(action="clients.search.by_bank_account").exists()


# --- What is typed to do harm -----------------------------------------------------------------------------------------

HOSTILE = (
    "",
    " ",
    "\x00",
    "C9999\x009999",
    "' OR 1=1 --",
    "'; DROP TABLE accounts_user; --",
    "%",
    "%%%%",
    "___",
    "\\",
    "<script>alert(1)</script>",
    "\u202eecila",
    "\u202e1000000C",
    "a" * 10_240,
    "9" * 10_240,
    "9" * 18,
    "9" * 19,
    "W" + "9" * 18,
    "+" + "9" * 16,
    "-" * 200,
    "@" * 200,
    "a@" + "b" * 198,
    "DE" + "8" * 32,
    "ﬃ" * 100,
    "\U0010ffff" * 50,
    "\ud7ff\ue000",
    "{" + "0" * 32 + "}",
    "dd_" + "A" * 8 + "_" + "x" * 180,
    "０" * 8,
    "٣" * 8,
    "ΑΒΓΔΕ",
    "I" * 8,
)


def test_nothing_that_is_typed_breaks_it(desk: Client) -> None:
    alice = cast.alice()
    for typed in HOSTILE:
        with CaptureQueriesContext(connection) as queries:
            response = find(desk, typed)
        assert response.status_code == 200, typed[:40]
        text = response.content.decode()
        assert "<script>alert" not in text
        assert str(alice.user.number) not in text, typed[:40]
        assert len(text) < 80_000
        assert len(queries) <= QUERIES_MAX, typed[:40]
    assert User.objects.filter(pk=alice.user.pk).exists()


def test_marks_of_direction_are_not_searched_for(desk: Client) -> None:
    alice = cast.alice()
    assert found(desk, f"\u202e{alice.user.number}\u202c") == client_url(alice.user.pk)
    assert found(desk, f"\ufeff{alice.user.email}\x00") == client_url(alice.user.pk)
    assert "\u202e" not in find(desk, "\u202eevil").content.decode()


def test_what_is_too_long_is_not_looked_for(desk: Client) -> None:
    with CaptureQueriesContext(connection) as queries:
        text = text_of(find(desk, "alice " * 2_000))
    assert "longer than anything" in text
    assert not [query for query in queries if "accounts_user" in query["sql"] and "LOWER" in query["sql"]]


def test_a_percent_sign_is_a_character(desk: Client) -> None:
    factories.Person.create(name="Percy")
    cent = factories.Person.create(name="Per%cent")
    assert found(desk, "per%") == client_url(cent.pk)
    assert find(desk, "p%y").status_code == 200


# --- By index, or not at all ------------------------------------------------------------------------------------------


def test_every_look_up_is_by_index(desk: Client) -> None:
    alice = cast.alice()
    bank_account(alice)
    User.objects.bulk_create([factories.Person.build() for _ in range(1_000)])
    position = "70000001"
    typed = [
        alice.user.number, alice.user.email, alice.user.phone, alice.cash.number, alice.account.number, position, IBAN,
        str(uuid7()), "dd_AAAAAAAA", "alice", "00000000",
    ]  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE accounts_user")
        cursor.execute("SET LOCAL enable_seqscan = off")  # a table of ten rows is read whole where that is allowed
    with CaptureQueriesContext(connection) as queries:
        for text in typed:
            find(desk, str(text))
    looked = [query["sql"] for query in queries if query["sql"].startswith("SELECT") and "django_" not in query["sql"]]
    assert len(looked) > 30
    scans = []
    with connection.cursor() as cursor:
        for sql in looked:
            cursor.execute(f"EXPLAIN {sql}")
            plan = "\n".join(line for (line,) in cursor.fetchall())
            if "Seq Scan" in plan and "otp_totp" not in plan and "auth_" not in plan:
                scans.append(plan)
            if "folded" in sql or 'LOWER("accounts_user"."name")' in sql:
                assert "user_name" in plan
                assert "Sort" not in plan
    assert scans == []


# --- Who may ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", rules.ROLES)
def test_the_box_is_on_every_page_of_every_role(db: None, role: str) -> None:
    client = office(role)
    action = f'action="{reverse("admin:find")}"'
    for url in ("/admin/", "/admin/accounts/user/", reverse("admin:find")):
        assert action in client.get(url).content.decode()
    assert action not in Client().get("/admin/login/").content.decode()


def test_the_results_are_masked_for_those_who_need_not_know(db: None) -> None:
    for name in ("Smith One", "Smith Two"):
        factories.Person.create(name=name, email=f"{name[-3:].lower()}@example.com")
    text = text_of(find(staff(LOOK), "Smith"))
    assert "o***@example.com" in text
    assert "one@example.com" not in text
    assert "two@example.com" in text_of(find(superuser(), "Smith"))


def test_nobody_finds_what_they_may_not_look_at(db: None) -> None:
    alice = cast.alice()
    bank_account(alice)
    row = LedgerTransaction.objects.filter(owner=alice.user).latest("pk")
    people_only = staff(LOOK)
    for typed in (alice.cash.number, alice.account.number, IBAN, str(row.pk), str(alice.cash.pk), alice.token):
        response = find(people_only, typed)
        assert response.status_code == 200
        assert str(alice.user.number) not in response.content.decode()
    assert not AuditEvent.objects.filter(action="clients.search.by_bank_account").exists()
    assert found(people_only, alice.user.email) == client_url(alice.user.pk)
    assert found(staff(LOOK, "wallets.view_wallet"), str(alice.cash.pk)) == url_of(alice.cash)


def test_who_may_not_look_at_people_finds_nobody(db: None) -> None:
    alice: CastMember = cast.alice()
    client = staff("wallets.view_wallet")
    assert find(client, str(alice.user.number)).status_code == 403
    assert reverse("admin:find") not in client.get("/admin/").content.decode()
