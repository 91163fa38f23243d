"""A live sign-up takes what the law and the bank ask for, and a demo user becomes live as the same person."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
import time_machine

from accounts.models import Freeze, TradingAccount, User, Verification
from accounts.services import freezes
from core.models import AuditEvent, IdempotencyKey
from tests import cast, factories
from tests.accounts import bodies
from tests.accounts.crowd import together
from tests.accounts.problems import body, fields, outcome
from tests.database import Clone
from wallets import bank
from wallets.models import GATED_KINDS, BankAccount, LedgerTransaction, Wallet

URL = "/api/v1/signup/live"
IBAN = bodies.IBAN


def sign_up(form: dict[str, Any], token: str | None = None, **headers: Any) -> Any:
    return cast.api_client(token).post(URL, form, **(headers or bodies.key()))


def demo_user(**changes: Any) -> tuple[User, str]:
    """Somebody who signed up for a demo, and a token of theirs."""
    answer = body(cast.api_client().post("/api/v1/signup/demo", bodies.demo(**changes), **bodies.key()))
    user = User.objects.get(pk=answer["user"]["id"])
    return user, cast.issue_token(user)


def clients() -> int:
    return User.objects.filter(is_active=True).count()


def gated() -> int:
    return Wallet.objects.filter(kind__in=GATED_KINDS).count()


def test_opens_wallets_account_bank_account_and_verification(db: None) -> None:
    form = bodies.live(currency="GBP")
    response = sign_up(form)
    assert outcome(response) == (201, "")
    answer = body(response)
    user = User.objects.get(email=form["email"])
    cash, margin = Wallet.objects.filter(owner=user).order_by("kind")
    account = TradingAccount.objects.get(owner=user)

    assert (cash.kind, margin.kind, account.wallet_id) == ("CASH", "MARGIN", margin.pk)
    for wallet in (cash, margin):
        assert (wallet.environment, wallet.currency, wallet.balance, wallet.verified) == ("LIVE", "GBP", 0, False)
    assert [wallet["number"] for wallet in answer["wallets"]] == [cash.number, margin.number]
    assert (answer["trading_account"]["number"], answer["trading_account"]["wallet"]) == (account.number, margin.number)
    assert 1_000_001 <= int(account.number) < 5_000_000
    assert (user.date_of_birth, user.address and user.address["city"]) == (date(1990, 5, 17), "London")
    assert answer["verification"]["status"] == Verification.objects.get(owner=user).status == "PENDING"
    assert answer["bank_account"]["number_last_four"] == IBAN[-4:]
    assert answer["bank_account"]["is_default"] is True
    assert not LedgerTransaction.objects.exists()


def test_keeps_the_bank_number_out_of_every_stored_text(db: None) -> None:
    form = bodies.live()
    response = sign_up(form)
    row = BankAccount.objects.get()
    assert bank.read_number(row) == IBAN
    texts = [response.content, bytes(IdempotencyKey.objects.get().response_body or b""), bytes(row.number_encrypted)]
    texts += [str(list(AuditEvent.objects.values())).encode()]
    for text in texts:
        assert IBAN.encode() not in text
        assert form["password"].encode() not in text


def test_repeats_the_same_bytes_for_the_same_key(db: None) -> None:
    form, header = bodies.live(), bodies.key()
    first, second = sign_up(form, **header), sign_up(form, **header)
    assert (second.content, second.headers["Idempotent-Replayed"]) == (first.content, "true")
    other = form | {"bank": form["bank"] | {"number": "GB94BARC10201530093459"}}
    assert outcome(sign_up(other, **header)) == (422, "IDEMPOTENCY_KEY_REUSED")
    assert (clients(), gated(), BankAccount.objects.count()) == (1, 2, 1)


def test_makes_one_person_of_one_address_sent_with_many_keys(committed_db: Clone) -> None:
    form = bodies.live()
    forms = [form | {"phone": f"+4420794{number:05}"} for number in range(80_000, 80_006)]
    responses = together([lambda form=form: sign_up(form) for form in forms])  # type: ignore[misc]
    assert sorted(map(outcome, responses)) == [(201, ""), *[(409, "EMAIL_TAKEN")] * 5]
    assert (clients(), gated(), BankAccount.objects.count(), Verification.objects.count()) == (1, 2, 1, 1)


# --- Age ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "today,born,expected",
    [
        ("2026-06-15", "2008-06-15", (201, "")),
        ("2026-06-15", "2008-06-16", (422, "UNDER_AGE")),
        ("2026-06-15", "2026-06-15", (422, "UNDER_AGE")),
        ("2026-06-15", "2030-01-01", (422, "UNDER_AGE")),
        ("2026-02-28", "2008-02-29", (422, "UNDER_AGE")),
        ("2026-03-01", "2008-02-29", (201, "")),
        ("2026-06-15", "1900-01-01", (201, "")),
        ("2026-06-15", "1899-12-31", (400, "VALIDATION_FAILED")),
    ],
)
def test_takes_clients_from_their_eighteenth_birthday(
    db: None, today: str, born: str, expected: tuple[int, str]
) -> None:
    with time_machine.travel(f"{today}T12:00:00Z"):
        response = sign_up(bodies.live(date_of_birth=born))
    assert outcome(response) == expected
    if expected[0] != 201:
        assert fields(response) == ["date_of_birth"]
        assert (clients(), gated()) == (0, 0)


def test_an_age_that_was_refused_stays_refused_under_its_key(db: None) -> None:
    form, header = bodies.live(date_of_birth="2015-01-01"), bodies.key()
    first, second = sign_up(form, **header), sign_up(form, **header)
    assert outcome(second) == (422, "UNDER_AGE")
    assert (second.content, second.headers["Idempotent-Replayed"]) == (first.content, "true")
    assert body(second)["context"] == {"min": 18}


# --- What is refused ------------------------------------------------------------------------------------------------

ADDRESS = bodies.live()["address"]
BANK = bodies.live()["bank"]
SHAPES: dict[str, list[Any]] = {
    "date_of_birth": ["", None, "17.05.1990", "1990-13-01", "1990-02-30", 19900517, "１９９０-05-17"],
    "address": [None, "", [], "1 Test Street", 5],
    "bank": [None, "", [], IBAN],
}
HOSTILE: list[tuple[str, str, Any]] = [
    *[(field, field, bad) for field, bads in SHAPES.items() for bad in bads],
    ("address", "address.line1", ADDRESS | {"line1": ""}),
    ("address", "address.city", ADDRESS | {"city": 5}),
    ("address", "address.country", ADDRESS | {"country": "Britain"}),
    ("address", "address.line3", ADDRESS | {"line3": "x"}),
    ("address", "address.postal_code", {key: value for key, value in ADDRESS.items() if key != "postal_code"}),
    ("bank", "bank.holder", BANK | {"holder": "A\u202eB"}),
    ("bank", "bank.code_type", BANK | {"code_type": "SWIFT"}),
    ("bank", "bank.number", BANK | {"number": "GB33BUKB20201555555556"}),
    ("bank", "bank.number", BANK | {"number": "GB33"}),
    ("bank", "bank.number", BANK | {"number": None}),
    ("bank", "bank.number", BANK | {"number": {}}),
    ("bank", "bank.code", BANK | {"code_type": "ABA", "code": "021000022", "number": "12345678"}),
    ("bank", "bank.code", BANK | {"code_type": "SORT", "code": "12345", "number": "12345678"}),
    ("bank", "bank.code", BANK | {"code_type": "BIC", "code": "NOTABIC", "number": "12345678"}),
    ("bank", "bank.swift", BANK | {"swift": "x"}),
    ("is_staff", "is_staff", True),
    ("verification", "verification", {"status": "APPROVED"}),
]


@pytest.mark.parametrize("field,named,bad", HOSTILE)
def test_refuses_by_name_what_cannot_be(db: None, field: str, named: str, bad: Any) -> None:
    response = sign_up(bodies.live(**{field: bad}))
    assert (response.status_code, fields(response)) == (400, [named])
    assert IBAN not in response.content.decode()
    assert (clients(), gated(), IdempotencyKey.objects.count()) == (0, 0, 0)


@pytest.mark.parametrize("field", ["email", "password", "name", "phone", "country", "date_of_birth", "address", "bank"])
def test_names_what_is_missing(db: None, field: str) -> None:
    form = bodies.live()
    del form[field]
    response = sign_up(form)
    assert (outcome(response), fields(response)) == ((400, "VALIDATION_FAILED"), [field])
    assert clients() == 0


def test_takes_every_scheme_of_bank_details(db: None) -> None:
    schemes = [
        {"code_type": "IBAN", "number": "de89 3704 0044 0532 0130 00"},
        {"code_type": "ABA", "code": "021000021", "number": "123456789"},
        {"code_type": "SORT", "code": "20-20-15", "number": "55555555"},
        {"code_type": "IFSC", "code": "SBIN0005943", "number": "00000012345678"},
        {"code_type": "BIC", "code": "DEUTDEFF", "number": "0532013000", "branch": "Frankfurt"},
    ]
    for scheme in schemes:
        assert outcome(sign_up(bodies.live(bank={"holder": "A", "bank_name": "B"} | scheme))) == (201, "")
    assert BankAccount.objects.count() == len(schemes)


# --- From demo to live ----------------------------------------------------------------------------------------------


def test_a_demo_user_goes_live_as_the_same_person(db: None) -> None:
    referrer, _ = demo_user()
    user, token = demo_user(referral_code=referrer.referral_code)
    form = bodies.live(name="Full Legal Name")
    for name in ("email", "password", "phone", "country"):
        del form[name]
    response = sign_up(form, token)
    assert outcome(response) == (201, "")
    assert body(response)["user"]["id"] == str(user.pk)
    before = (user.email, user.password, user.phone, user.referral_code, user.referred_by_id)
    user.refresh_from_db()
    assert (user.email, user.password, user.phone, user.referral_code, user.referred_by_id) == before
    assert (user.name, user.date_of_birth, user.referred_by_id) == ("Full Legal Name", date(1990, 5, 17), referrer.pk)
    accounts = TradingAccount.objects.filter(owner=user).order_by("pk")
    assert [account.environment for account in accounts] == ["DEMO", "LIVE"]
    assert sorted(Wallet.objects.filter(owner=user).values_list("environment", "kind", "balance")) == [
        ("DEMO", "MARGIN", Decimal("10000")),
        ("LIVE", "CASH", Decimal(0)),
        ("LIVE", "MARGIN", Decimal(0)),
    ]
    event = AuditEvent.objects.get(owner=user.pk, action="accounts.person.completed")
    assert event.after is not None
    assert event.after["name"] == "Full Legal Name"


def test_a_demo_user_may_send_the_whole_form(db: None) -> None:
    form = bodies.demo()
    answer = body(cast.api_client().post("/api/v1/signup/demo", form, **bodies.key()))
    token = cast.issue_token(User.objects.get(pk=answer["user"]["id"]))
    assert outcome(sign_up(bodies.live() | form, token)) == (201, "")
    assert clients() == 1


def test_a_wrong_password_in_the_form_is_refused(db: None) -> None:
    user, token = demo_user()
    form = bodies.live(email=user.email, phone=user.phone, password="not-my-password-9")
    assert outcome(sign_up(form, token)) == (401, "INVALID_CREDENTIALS")
    assert TradingAccount.objects.count() == 1


@pytest.mark.parametrize(
    "change,code",
    [
        ({"email": "somebody@example.com"}, (409, "NOT_YOUR_EMAIL")),
        ({"referral_code": "LATERON"}, (422, "ATTRIBUTION_FIXED")),
        ({"phone": "+12025550000"}, (409, "PHONE_TAKEN")),
        ({"date_of_birth": "2020-01-01"}, (422, "UNDER_AGE")),
    ],
)
def test_a_demo_user_cannot_become_somebody_else(committed_db: Clone, change: dict[str, Any], code: Any) -> None:
    factories.Person.create(phone="+12025550000")
    user, token = demo_user()
    form = {key: value for key, value in bodies.live().items() if key not in {"email", "password", "phone"}}
    assert outcome(sign_up(form | change, token)) == code
    assert (TradingAccount.objects.count(), gated(), BankAccount.objects.count()) == (1, 1, 0)
    stored = User.objects.get(pk=user.pk)
    assert (stored.email, stored.phone, stored.date_of_birth) == (user.email, user.phone, None)


def test_a_person_goes_live_once(committed_db: Clone) -> None:
    _, token = demo_user()
    form = {key: value for key, value in bodies.live().items() if key not in {"email", "password", "phone"}}
    numbers = ["GB33BUKB20201555555555", "DE89370400440532013000", "GB94BARC10201530093459"]
    forms = [form | {"bank": form["bank"] | {"number": number}} for number in numbers]
    responses = together([lambda form=form: sign_up(form, token) for form in forms])  # type: ignore[misc]
    assert sorted(map(outcome, responses)) == [(201, ""), *[(409, "LIVE_ACCOUNT_EXISTS")] * 2]
    assert (TradingAccount.objects.filter(environment="LIVE").count(), BankAccount.objects.count()) == (1, 1)


def test_what_is_frozen_stays_frozen_on_the_new_wallets(db: None) -> None:
    user, token = demo_user()
    staff = cast.carol_staff()
    for scope in (Freeze.Scope.WITHDRAWALS, Freeze.Scope.TRADING):
        freezes.place_freeze(owner=user.pk, scope=scope, reason="Looked odd", actor=staff.actor)
    form = {key: value for key, value in bodies.live().items() if key not in {"email", "password", "phone"}}
    assert outcome(sign_up(form, token)) == (201, "")
    flags = Wallet.objects.filter(owner=user, environment="LIVE").values_list(
        "withdrawals_enabled", "trading_enabled", "deposits_enabled"
    )
    assert list(flags) == [(False, False, True)] * 2


def test_a_lesser_token_cannot_open_an_account(db: None) -> None:
    user, _ = demo_user()
    token = cast.issue_token(user, scopes=["read", "trade", "transfer"])
    assert outcome(sign_up(bodies.live(email=user.email), token)) == (403, "SCOPE_MISSING")
    assert TradingAccount.objects.count() == 1


def test_a_dead_token_is_not_taken_for_a_newcomer(db: None) -> None:
    assert outcome(sign_up(bodies.live(), "dd_aaaaaaaa_" + "x" * 43)) == (401, "TOKEN_INVALID")
    assert clients() == 0
