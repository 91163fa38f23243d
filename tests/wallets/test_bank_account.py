"""A bank number is checked, encrypted and shown by its last four; whoever sees more leaves a record."""

from __future__ import annotations

import base64
import json
import logging
import os
from io import StringIO
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from core.errors import NotFound
from core.ids import uuid7
from core.models import AuditEvent, IdempotencyKey
from tests import cast
from tests.cast import CastMember, StaffMember
from tests.wallets.calls import IBAN, IBAN_DETAILS, bank_account, books, get, key, post, refused
from wallets import bank
from wallets.apps import check_secrets_and_provider
from wallets.models import BankAccount
from wallets.rules import ReasonRequired
from wallets.services import bank_accounts

VALID: list[dict[str, str]] = [
    {"code_type": "IBAN", "code": "", "number": "DE89370400440532013000"},
    {"code_type": "IBAN", "code": "COBADEFFXXX", "number": "DE89 3704 0044 0532 0130 00"},
    {"code_type": "IBAN", "code": "", "number": "gb82-WEST-1234-5698-7654-32"},
    {"code_type": "BIC", "code": "DEUTDEFF", "number": "0532013000"},
    {"code_type": "IFSC", "code": "SBIN0005943", "number": "30001234567"},
    {"code_type": "ABA", "code": "021000021", "number": "123456789"},
    {"code_type": "SORT", "code": "20-00-00", "number": "55779911"},
]

INVALID: list[tuple[dict[str, str], str]] = [
    ({"code_type": "IBAN", "code": "", "number": "DE89370400440532013001"}, "number"),  # check digits
    ({"code_type": "IBAN", "code": "", "number": "DE8937040044053201300"}, "number"),  # length
    ({"code_type": "IBAN", "code": "", "number": "XX89370400440532013000"}, "number"),  # country
    ({"code_type": "IBAN", "code": "", "number": "DE８９370400440532013000"}, "number"),  # another script's digits
    ({"code_type": "IBAN", "code": "NOTABIC", "number": "DE89370400440532013000"}, "code"),
    ({"code_type": "BIC", "code": "", "number": "0532013000"}, "code"),
    ({"code_type": "BIC", "code": "DEUTXXFF", "number": "0532013000"}, "code"),  # country
    ({"code_type": "BIC", "code": "DEUTDEFF", "number": "123"}, "number"),
    ({"code_type": "IFSC", "code": "SBIN1005943", "number": "30001234567"}, "code"),  # the fifth is a zero
    ({"code_type": "IFSC", "code": "SBIN000594", "number": "30001234567"}, "code"),
    ({"code_type": "IFSC", "code": "SBIN0005943", "number": "12345678"}, "number"),
    ({"code_type": "ABA", "code": "021000022", "number": "123456789"}, "code"),  # check digit
    ({"code_type": "ABA", "code": "000000000", "number": "123456789"}, "code"),
    ({"code_type": "ABA", "code": "02100002", "number": "123456789"}, "code"),
    ({"code_type": "ABA", "code": "021000021", "number": "123456789012345678"}, "number"),
    ({"code_type": "SORT", "code": "20000", "number": "55779911"}, "code"),
    ({"code_type": "SORT", "code": "200000", "number": "5577991"}, "number"),
    ({"code_type": "SORT", "code": "200000", "number": "5577991a"}, "number"),
]


def add(who: CastMember, *, key: str | None = None, **changes: Any) -> Any:
    return post(who, "me/bank-accounts", {**IBAN_DETAILS, **changes}, key=key)


def fernet_key() -> str:
    return base64.urlsafe_b64encode(os.urandom(32)).decode()


# --- What is accepted -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("details", VALID, ids=lambda details: f"{details['code_type']} {details['code']}")
def test_accepts_every_scheme(alice: CastMember, details: dict[str, str]) -> None:
    response = add(alice, **details)
    assert response.status_code == 201, response.content
    assert response.json()["number_last_four"] == details["number"].replace(" ", "").replace("-", "")[-4:]


@pytest.mark.parametrize("details,field", INVALID, ids=str)
def test_refuses_what_cannot_be_right_and_names_the_field(
    alice: CastMember, details: dict[str, str], field: str
) -> None:
    before = books()
    response = add(alice, **details)
    assert refused(response, 400, "BANK_DETAILS_INVALID")
    assert [error["field"] for error in response.json()["errors"]] == [field]
    assert details["number"] not in response.content.decode()
    assert books() == before
    assert not IdempotencyKey.objects.exists()


@pytest.mark.parametrize(
    "change,field",
    [
        ({"code_type": "SWIFT"}, "code_type"),
        ({"code_type": None}, "code_type"),
        ({"number": 12345678}, "number"),
        ({"number": ""}, "number"),
        ({"number": None}, "number"),
        ({"number": "1" * 65}, "number"),
        ({"holder": ""}, "holder"),
        ({"holder": " Alice"}, "holder"),
        ({"holder": "Alice\u202ereverse"}, "holder"),
        ({"holder": "A" * 141}, "holder"),
        ({"bank_name": ["Commerzbank"]}, "bank_name"),
        ({"branch": "a\nb"}, "branch"),
        ({"is_default": True}, "is_default"),
        ({"owner": "somebody"}, "owner"),
    ],
)
def test_refuses_a_malformed_field(alice: CastMember, change: dict[str, Any], field: str) -> None:
    before = books()
    response = add(alice, **change)
    assert response.status_code == 400, response.content
    assert [error["field"] for error in response.json()["errors"]] == [field]
    assert books() == before


def test_the_first_one_is_the_default(alice: CastMember) -> None:
    first = add(alice).json()
    second = add(alice, number="GB82WEST12345698765432").json()
    assert (first["is_default"], second["is_default"]) == (True, False)
    assert [row["id"] for row in get(alice, "me/bank-accounts").json()["results"]] == [second["id"], first["id"]]


def test_refuses_the_same_account_however_it_is_typed(alice: CastMember) -> None:
    add(alice)
    before = books()
    response = add(alice, number="de89 3704 0044 0532 0130 00", code="COBADEFF")
    assert refused(response, 409, "BANK_ACCOUNT_KNOWN")
    assert response.json()["context"] == {"last_four": "3000"}
    assert books() == before


def test_two_people_may_share_one_account(alice: CastMember, bob: CastMember) -> None:
    assert add(alice).status_code == add(bob).status_code == 201
    first, second = BankAccount.objects.all()
    assert bytes(first.number_hash) == bytes(second.number_hash)
    assert bytes(first.number_encrypted) != bytes(second.number_encrypted)


def test_keeps_ten_and_no_more(alice: CastMember) -> None:
    for serial in range(bank.BANK_ACCOUNTS_MAX):
        details = {"code_type": "SORT", "code": "200000", "number": f"5577990{serial}"}
        assert add(alice, **details).status_code == 201
    before = books()
    response = add(alice)
    assert refused(response, 422, "BANK_ACCOUNTS_LIMIT_REACHED")
    assert books() == before


def test_lists_own_accounts_alone(alice: CastMember, bob: CastMember) -> None:
    add(alice)
    assert get(bob, "me/bank-accounts").json()["results"] == []


def test_needs_the_withdraw_scope(db: None) -> None:
    trader = cast.make_client(scopes=["read", "trade", "transfer"])
    before = books()
    assert refused(add(trader), 403, "SCOPE_MISSING")
    assert books() == before


def test_leaves_a_record_without_the_number(alice: CastMember) -> None:
    add(alice)
    event = AuditEvent.objects.get(action="wallets.bank_account.added")
    assert event.after == {"code_type": "IBAN", "last_four": "3000", "holder": "Alice Archer"}


def test_a_repetition_gets_the_same_bytes_and_stores_nothing(alice: CastMember) -> None:
    used = key()
    first, second = add(alice, key=used), add(alice, key=used)
    assert (first.content, second.headers["Idempotent-Replayed"]) == (second.content, "true")
    assert BankAccount.objects.count() == 1
    assert refused(add(alice, key=used, number="GB82WEST12345698765432"), 422, "IDEMPOTENCY_KEY_REUSED")


def test_a_purged_key_does_not_store_twice(alice: CastMember) -> None:
    used = key()
    add(alice, key=used)
    IdempotencyKey.objects.all().delete()
    before = books()
    assert refused(add(alice, key=used), 409, "BANK_ACCOUNT_KNOWN")
    assert books() == before


# --- What is kept ---------------------------------------------------------------------------------------------------


def test_the_number_is_nowhere_in_the_database_in_clear(alice: CastMember) -> None:
    add(alice)
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names():
            cursor.execute(f'SELECT count(*) FROM "{table}" t WHERE t::text LIKE %s', [f"%{IBAN[4:]}%"])
            assert cursor.fetchone() == (0,), table
            # Bytes are shown as hexadecimal.
            cursor.execute(f'SELECT count(*) FROM "{table}" t WHERE t::text LIKE %s', [f"%{IBAN.encode().hex()}%"])
            assert cursor.fetchone() == (0,), table


def test_the_number_is_in_no_statement_log_or_answer(alice: CastMember, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with CaptureQueriesContext(connection) as queries:
        answers = [add(alice), add(alice), get(alice, "me/bank-accounts"), add(alice, code="NOPE")]
    assert [answer.status_code for answer in answers] == [201, 409, 200, 400]
    seen = [answer.content.decode() for answer in answers]
    seen += [query["sql"] for query in queries.captured_queries] + [record.getMessage() for record in caplog.records]
    assert not [text for text in seen if IBAN[4:] in text]


def test_the_details_do_not_show_the_number_in_a_traceback() -> None:
    details = bank.validate_bank_details(code_type="IBAN", code="", number=IBAN)
    assert IBAN not in repr(details)


def test_the_hash_needs_its_key(alice: CastMember, settings: Settings) -> None:
    details = bank.validate_bank_details(code_type="IBAN", code="", number=IBAN)
    first = bank.number_hash(details)
    settings.FIELD_HASH_KEY = "another key, just as long as the first one was"
    assert bank.number_hash(details) != first


def test_one_number_at_two_banks_is_two_accounts() -> None:
    hashes = {
        bank.number_hash(bank.validate_bank_details(code_type="SORT", code=code, number="55779911"))
        for code in ("200000", "200001", "20-00-00")
    }
    assert len(hashes) == 2


@pytest.mark.parametrize("keys", [[], [""], ["abc"], ["bm90IDMyIGJ5dGVz"]])
def test_without_a_usable_key_nothing_is_stored_and_the_start_fails(
    alice: CastMember, settings: Settings, keys: list[str]
) -> None:
    settings.FIELD_ENCRYPTION_KEYS = keys
    before = books()
    with pytest.raises(ImproperlyConfigured, match="FIELD_ENCRYPTION_KEYS"):
        bank_account(alice)
    assert books() == before
    assert [message.id for message in check_secrets_and_provider()] == ["wallets.E001"]


# --- Revealing ------------------------------------------------------------------------------------------------------


def test_a_reveal_is_recorded_with_its_reason(alice: CastMember, carol: StaffMember) -> None:
    account = bank_account(alice)
    number = bank_accounts.reveal_bank_number(
        bank_account_id=account.pk, reason="the bank asks for it", actor=carol.actor
    )
    assert number == IBAN
    event = AuditEvent.objects.get(action="wallets.bank_account.revealed")
    assert (event.actor_id, event.owner, event.object_id, event.reason) == (
        carol.user.pk,
        alice.user.pk,
        str(account.pk),
        "the bank asks for it",
    )
    assert IBAN not in json.dumps([event.before, event.after])


def test_a_reveal_needs_a_reason(alice: CastMember, carol: StaffMember) -> None:
    account = bank_account(alice)
    before = books()
    with pytest.raises(ReasonRequired):
        bank_accounts.reveal_bank_number(bank_account_id=account.pk, reason=" ", actor=carol.actor)
    assert books() == before


def test_a_reveal_of_what_is_not_there_is_refused(carol: StaffMember) -> None:
    with pytest.raises(NotFound):
        bank_accounts.reveal_bank_number(bank_account_id=uuid7(), reason="the bank asks", actor=carol.actor)


def test_a_number_put_in_anothers_place_is_not_shown(alice: CastMember, bob: CastMember, carol: StaffMember) -> None:
    account, other = bank_account(alice), bank_account(bob, number="GB82WEST12345698765432")
    BankAccount.objects.filter(pk=account.pk).update(number_encrypted=other.number_encrypted)
    before = books()
    with pytest.raises(bank.BankNumberUnreadable):
        bank_accounts.reveal_bank_number(bank_account_id=account.pk, reason="the bank asks", actor=carol.actor)
    assert books() == before


# --- Rotating keys --------------------------------------------------------------------------------------------------


def test_rotation_brings_every_number_under_the_newest_key(
    alice: CastMember, bob: CastMember, carol: StaffMember, settings: Settings
) -> None:
    old, new = settings.FIELD_ENCRYPTION_KEYS[0], fernet_key()
    accounts = [bank_account(alice), bank_account(alice, number="GB82WEST12345698765432"), bank_account(bob)]
    settings.FIELD_ENCRYPTION_KEYS = [new, old]
    out = StringIO()
    call_command("reencrypt_bank_numbers", "--batch", "2", "--json", stdout=out)
    assert ('"seen": 3' in out.getvalue(), '"changed": 3' in out.getvalue()) == (True, True)
    settings.FIELD_ENCRYPTION_KEYS = [new]
    shown = [
        bank_accounts.reveal_bank_number(bank_account_id=account.pk, reason="rotation", actor=carol.actor)
        for account in accounts
    ]
    assert shown == [IBAN, "GB82WEST12345698765432", IBAN]
    out = StringIO()
    call_command("reencrypt_bank_numbers", "--json", stdout=out)
    assert '"changed": 0' in out.getvalue()


def test_rotation_stops_at_a_number_that_no_key_opens(alice: CastMember, settings: Settings) -> None:
    account = bank_account(alice)
    before = bytes(account.number_encrypted)
    settings.FIELD_ENCRYPTION_KEYS = [fernet_key()]
    with pytest.raises((CommandError, SystemExit)), transaction.atomic():
        call_command("reencrypt_bank_numbers", "--json", stdout=StringIO(), stderr=StringIO())
    account.refresh_from_db()
    assert bytes(account.number_encrypted) == before
