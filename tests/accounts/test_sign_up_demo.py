"""A demo sign-up gives everything a newcomer needs, once per email address and once per key."""

from __future__ import annotations

from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from django.conf import settings as desk_settings
from django.contrib.auth.hashers import check_password
from pytest_django import Settings

from accounts import rules
from accounts.models import TradingAccount, User, Verification
from core.ids import derived_uuid7
from core.models import AuditEvent, IdempotencyKey
from tests import cast, factories
from tests.accounts import bodies
from tests.accounts.crowd import together
from tests.accounts.problems import body, fields, outcome
from tests.database import Clone
from wallets.models import GATED_KINDS, Entry, LedgerTransaction, Wallet

URL = "/api/v1/signup/demo"


def sign_up(form: dict[str, Any], **headers: Any) -> Any:
    return cast.api_client().post(URL, form, **(headers or bodies.key()))


def clients() -> int:
    """People without the house."""
    return User.objects.filter(is_active=True).count()


def test_gives_person_account_wallet_and_code(db: None) -> None:
    form = bodies.demo(name="Zoë Ångström", currency="EUR", leverage=100)
    response = sign_up(form)
    assert outcome(response) == (201, "")
    assert response.headers["Idempotent-Replayed"] == "false"
    answer = body(response)

    user = User.objects.get(email=form["email"])
    account = TradingAccount.objects.get(owner=user)
    wallet = Wallet.objects.get(owner=user)
    assert check_password(form["password"], user.password)
    assert user.password.startswith("argon2$argon2id$v=19$m=19456,t=2,p=1$")
    assert answer["user"] == {
        "id": str(user.id),
        "number": user.number,
        "email": form["email"],
        "email_confirmed": False,
        "name": "Zoë Ångström",
        "phone": form["phone"],
        "country": "GB",
        "date_of_birth": None,
        "address": None,
        "referral_code": user.referral_code,
        "created_at": answer["user"]["created_at"],
    }
    assert answer["trading_account"] | {"created_at": ""} == {
        "number": account.number,
        "environment": "DEMO",
        "currency": "EUR",
        "leverage": 100,
        "jurisdiction": "FCA",
        "is_self_trading": True,
        "wallet": wallet.number,
        "created_at": "",
    }
    assert [(w["number"], w["kind"], w["environment"], w["balance"]) for w in answer["wallets"]] == [
        (wallet.number, "MARGIN", "DEMO", "10000.00")
    ]
    assert answer["referral_code"] == user.referral_code
    assert rules.read_referral_code(answer["referral_code"]) == user.referral_code
    assert int(account.number) >= 5_000_001


def test_funds_by_a_real_posting(db: None) -> None:
    user = User.objects.get(pk=body(sign_up(bodies.demo()))["user"]["id"])
    posting = LedgerTransaction.objects.get(owner=user)
    assert (posting.type, posting.environment, posting.actor_id) == ("SIGN_UP", "DEMO", user.pk)
    legs = Entry.objects.filter(transaction=posting).order_by("amount")
    assert [(leg.amount, leg.reason, leg.balance_after) for leg in legs] == [
        (Decimal("-10000"), "DEMO_FUNDING", None),
        (Decimal("10000"), "DEMO_FUNDING", Decimal("10000")),
    ]
    wallet = Wallet.objects.get(owner=user)
    assert (wallet.balance, wallet.version, wallet.verified) == (Decimal("10000"), 1, True)
    assert AuditEvent.objects.filter(owner=user.pk).values_list("action", flat=True).get() == (
        "accounts.trading_account.opened"
    )
    assert not Verification.objects.exists()


def test_funds_at_the_currencys_own_precision(db: None, settings: Settings) -> None:
    settings.DEMO_FUNDING = Decimal("1234567.89")
    balances = {
        currency: body(sign_up(bodies.demo(currency=currency)))["wallets"][0]["balance"]
        for currency in ("JPY", "KWD", "USD")
    }
    assert balances == {"JPY": "1234568", "KWD": "1234567.890", "USD": "1234567.89"}


def test_defaults_to_dollars_and_the_usual_leverage(db: None) -> None:
    account = body(sign_up(bodies.demo()))["trading_account"]
    assert (account["currency"], account["leverage"]) == ("USD", desk_settings.LEVERAGE_DEFAULT)


# --- Keys -----------------------------------------------------------------------------------------------------------


def test_repeats_the_same_bytes_for_the_same_key(db: None) -> None:
    form, header = bodies.demo(), bodies.key()
    first, second = sign_up(form, **header), sign_up(form, **header)
    assert (second.status_code, second.content) == (201, first.content)
    assert second.headers["Idempotent-Replayed"] == "true"
    assert (clients(), Wallet.objects.filter(kind__in=GATED_KINDS).count()) == (1, 1)


def test_owns_its_key_by_the_email_address_in_lower_case(db: None) -> None:
    form, header = bodies.demo(), bodies.key()
    first = sign_up(form | {"email": form["email"].upper()}, **header)
    assert sign_up(form, **header).content == first.content
    assert IdempotencyKey.objects.get().owner == derived_uuid7("sign-up", form["email"])


def test_stores_no_secret_with_its_answer(db: None) -> None:
    form = bodies.demo()
    response = sign_up(form)
    stored = bytes(IdempotencyKey.objects.get().response_body or b"")
    assert stored == response.content
    for secret in (form["password"], "dd_", User.objects.get(email=form["email"]).password):
        assert secret.encode() not in stored


def test_refuses_a_key_that_stands_for_another_request(db: None) -> None:
    form, header = bodies.demo(), bodies.key()
    sign_up(form, **header)
    assert outcome(sign_up(form | {"password": "another-otter-in-june"}, **header)) == (422, "IDEMPOTENCY_KEY_REUSED")
    assert clients() == 1


def test_refuses_to_go_without_a_key(db: None) -> None:
    response = cast.api_client().post(URL, bodies.demo())
    assert outcome(response) == (400, "IDEMPOTENCY_KEY_REQUIRED")
    assert (clients(), IdempotencyKey.objects.count()) == (0, 0)


# --- One person, one address, one phone -----------------------------------------------------------------------------


def test_refuses_a_taken_email_address_in_any_case(db: None) -> None:
    factories.Person.create(email="taken@example.com")
    response = sign_up(bodies.demo(email="Taken@Example.COM"))
    assert (outcome(response), fields(response)) == ((409, "EMAIL_TAKEN"), ["email"])
    assert (clients(), TradingAccount.objects.count()) == (1, 0)


def test_refuses_a_taken_phone_number_and_leaves_the_key_free(committed_db: Clone) -> None:
    taken = factories.Person.create()
    form, header = bodies.demo(phone=taken.phone), bodies.key()
    response = sign_up(form, **header)
    assert (outcome(response), fields(response)) == ((409, "PHONE_TAKEN"), ["phone"])
    assert (clients(), IdempotencyKey.objects.count()) == (1, 0)
    assert outcome(sign_up(form | {"phone": "+442079999999"}, **header)) == (201, "")


def test_makes_one_person_of_one_address_sent_with_many_keys(committed_db: Clone) -> None:
    form = bodies.demo()
    forms = [form | {"phone": f"+4420794{number:05}"} for number in range(90_000, 90_008)]
    responses = together([lambda form=form: sign_up(form) for form in forms])  # type: ignore[misc]
    assert sorted(map(outcome, responses)) == [(201, ""), *[(409, "EMAIL_TAKEN")] * 7]
    assert clients() == 1
    assert TradingAccount.objects.count() == LedgerTransaction.objects.count() == 1
    assert Wallet.objects.filter(kind__in=GATED_KINDS).count() == 1


def test_makes_one_person_of_one_key_sent_many_times(committed_db: Clone) -> None:
    form, header = bodies.demo(), bodies.key()
    responses = together([lambda: sign_up(form, **header)] * 8)
    done = {response.content for response in responses if response.status_code == 201}
    assert len(done) == 1
    assert {outcome(response) for response in responses} <= {(201, ""), (409, "IDEMPOTENCY_IN_PROGRESS")}
    assert (clients(), LedgerTransaction.objects.count()) == (1, 1)


# --- Referral -------------------------------------------------------------------------------------------------------


def test_remembers_who_referred_the_newcomer(db: None) -> None:
    code = body(sign_up(bodies.demo()))["referral_code"]
    typed = f"{code[:4]}-{code[4:]}".lower()
    newcomer = User.objects.get(pk=body(sign_up(bodies.demo(referral_code=typed)))["user"]["id"])
    assert newcomer.referred_by is not None
    assert (newcomer.referred_by.referral_code, newcomer.referral_code_entered) == (code, typed)


def test_draws_another_code_when_the_first_is_taken(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = iter("0000000" + "0000000" + "0000001")
    monkeypatch.setattr(rules, "secrets", SimpleNamespace(choice=lambda _: next(drawn)))
    codes = [body(sign_up(bodies.demo()))["referral_code"] for _ in range(2)]
    assert [code[:7] for code in codes] == ["0000000", "0000001"]


# --- What is refused ------------------------------------------------------------------------------------------------

HOSTILE: dict[str, list[Any]] = {
    "email": [
        *["", "x", "a@", "@b.c", "a b@c.de", "ö@example.com", "a@exämple.com", " a@b.co", "a@b.co\n", "a\u202e@b.co"],
        *[None, 5, True, [], {}, "a" * 250 + "@b.co"],
    ],
    "password": ["", None, 5, True, [], {}, "x" * 129, "a-quiet\u0000otter"],
    "name": ["", None, 5, True, [], {}, "x" * 141, "A\u0000", "A\u202eB", " A", "A\n", "\u200b"],
    "phone": [
        *["", None, 5, True, "123", "+", "+1", "00442079460018", "+44 2079460018", "+４４2079460018"],
        *["+44207946001812345", "+442079460018\n", "+4402079460018", "+442079460a18", "tel:+442079460018"],
    ],
    "country": ["", None, "gb", "GBR", "XX", "G", 44, "ＧＢ"],
    "referral_code": [None, 5, "x" * 17, "A\u0000", []],
    "currency": ["", None, "usd", "XXX", 5],
    "leverage": [0, -1, 10_001, 501, "30", 30.5, True, None, 10**30],
    **{extra: [True] for extra in ("is_staff", "is_superuser", "balance", "id", "verified", "referred_by")},
}


@pytest.mark.parametrize("field,bad", [(field, bad) for field, bads in HOSTILE.items() for bad in bads])
def test_refuses_by_name_what_cannot_be(db: None, field: str, bad: Any) -> None:
    response = sign_up(bodies.demo(**{field: bad}))
    assert response.status_code == 400
    # A NUL is refused by the parser, which names the field as well.
    assert fields(response) == [field]
    assert (clients(), IdempotencyKey.objects.count(), TradingAccount.objects.count()) == (0, 0, 0)


@pytest.mark.parametrize("field", ["email", "password", "name", "phone", "country"])
def test_names_what_is_missing(db: None, field: str) -> None:
    form = bodies.demo()
    del form[field]
    response = sign_up(form)
    assert (outcome(response), fields(response)) == ((400, "VALIDATION_FAILED"), [field])
    assert clients() == 0


@pytest.mark.parametrize("password", ["short", "password123", "1234567890", "Grace.Hopper-1"])
def test_refuses_a_password_that_is_easy_to_guess(db: None, password: str) -> None:
    response = sign_up(bodies.demo(password=password, name="Grace Hopper", email="grace.hopper@example.com"))
    assert outcome(response) == (400, "PASSWORD_TOO_WEAK")
    assert set(fields(response)) == {"password"}
    assert (clients(), IdempotencyKey.objects.count()) == (0, 0)


def test_counts_sign_ups_from_one_address(db: None, settings: Settings) -> None:
    settings.THROTTLES = settings.THROTTLES | {"signup": "3/m"}
    assert [sign_up({}).status_code for _ in range(4)] == [400, 400, 400, 429]
    response = sign_up(bodies.demo())
    assert outcome(response) == (429, "RATE_LIMITED")
    assert int(response.headers["Retry-After"]) >= 1
    assert clients() == 0
