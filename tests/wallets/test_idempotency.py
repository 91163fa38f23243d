"""The wire contract of an Idempotency-Key, kept by everything here that moves money."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import Settings

from core.models import IdempotencyKey
from tests.cast import CastMember
from tests.wallets.calls import bank_account, books, deposit, key, refused, transfer, withdraw
from wallets.models import Deposit, LedgerTransaction, Withdrawal

Call = Callable[..., Any]


@pytest.fixture(params=["transfer", "deposit", "pending deposit", "withdrawal"])
def call(request: pytest.FixtureRequest, alice: CastMember, bob: CastMember, settings: Settings) -> Call:
    """Sends one operation of Alice's: `call(amount, key=…)`."""
    bank_account(alice)
    if request.param == "pending deposit":
        settings.PAYMENT_PROVIDER = "manual"
    calls: dict[str, Call] = {
        "transfer": lambda amount="10.00", **options: transfer(alice, bob.cash, amount, **options),
        "deposit": lambda amount="10.00", **options: deposit(alice, amount, **options),
        "pending deposit": lambda amount="10.00", **options: deposit(alice, amount, **options),
        "withdrawal": lambda amount="10.00", **options: withdraw(alice, amount, **options),
    }
    return calls[request.param]


def effect_of(response: Any) -> str:
    """What a repeated request is told about: the posting of a transfer, the row of a deposit or withdrawal."""
    body = response.json()
    return str(body["transaction"] if "source" in body else body["id"])


PATHS = ("transfers", "deposits", "withdrawals", "me/bank-accounts", "withdrawals/{}/cancel")


@pytest.mark.parametrize("path", PATHS)
def test_a_key_is_required(alice: CastMember, path: str) -> None:
    bodies = {
        "transfers": {"source": alice.cash.number, "target": alice.margin.number, "amount": "1.00"},
        "deposits": {"wallet": alice.cash.number, "amount": "1.00"},
        "withdrawals": {"wallet": alice.cash.number, "amount": "1.00"},
        "me/bank-accounts": {
            "holder": "A",
            "bank_name": "B",
            "code_type": "IBAN",
            "number": "DE89370400440532013000",
        },
    }
    before = books()
    response = alice.api.post(f"/api/v1/{path.format(key())}", bodies.get(path, {}))
    assert refused(response, 400, "IDEMPOTENCY_KEY_REQUIRED")
    assert books() == before


@pytest.mark.parametrize(
    "malformed",
    ["short", "x" * 15, "x" * 129, "has a blank in it", "ümlaut-ümlaut-ümlaut", '"unfinished-quote', "a/b" * 8],
)
def test_a_malformed_key_is_refused(call: Call, malformed: str) -> None:
    before = books()
    assert refused(call(key=malformed), 400, "IDEMPOTENCY_KEY_INVALID")
    assert books() == before
    assert not IdempotencyKey.objects.exists()


@pytest.mark.parametrize("wellformed", ["x" * 16, "x" * 128, "AZaz09._:-AZaz09"])
def test_a_wellformed_key_is_taken(call: Call, wellformed: str) -> None:
    assert call(key=wellformed).status_code == 201


def test_first_use_acts_and_a_repetition_gets_the_same_bytes(call: Call) -> None:
    used = key()
    first = call(key=used)
    before = books()
    again = call(key=f'"{used}"')
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.content == again.content
    assert (first.headers["Idempotent-Replayed"], again.headers["Idempotent-Replayed"]) == ("false", "true")
    assert books() == before


def test_another_spelling_of_the_same_amount_is_the_same_request(call: Call) -> None:
    used = key()
    assert call("10.00", key=used).content == call("10.0", key=used).content == call("10", key=used).content


def test_the_same_key_for_another_request_is_refused(call: Call) -> None:
    used = key()
    call("10.00", key=used)
    before = books()
    assert refused(call("10.01", key=used), 422, "IDEMPOTENCY_KEY_REUSED")
    assert books() == before
    assert call("10.00", key=used).headers["Idempotent-Replayed"] == "true"


def test_one_clients_key_is_not_anothers(alice: CastMember, bob: CastMember) -> None:
    used = key()
    assert transfer(alice, bob.cash, "1.00", key=used).status_code == 201
    assert transfer(bob, alice.cash, "1.00", key=used).headers["Idempotent-Replayed"] == "false"


def test_a_key_belongs_to_one_operation(alice: CastMember, bob: CastMember) -> None:
    used = key()
    transfer(alice, bob.cash, "1.00", key=used)
    before = books()
    assert refused(deposit(alice, "1.00", key=used), 422, "IDEMPOTENCY_KEY_REUSED")
    assert books() == before


def test_a_refusal_stays_a_refusal_after_a_top_up(alice: CastMember, bob: CastMember) -> None:
    used = key()
    first = transfer(alice, bob.cash, "1500.00", key=used)
    assert refused(first, 422, "INSUFFICIENT_FUNDS")
    assert deposit(alice, "1000.00").status_code == 201
    before = books()
    again = transfer(alice, bob.cash, "1500.00", key=used)
    assert (again.status_code, again.content) == (422, first.content)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.headers["Content-Type"] == "application/problem+json"
    assert books() == before
    assert transfer(alice, bob.cash, "1500.00").status_code == 201


@pytest.mark.parametrize(
    "status,code,amount", [(404, "WALLET_NOT_FOUND", "1.00"), (400, "PRECISION_EXCEEDED", "1.001")]
)
def test_what_is_no_answer_leaves_the_key_free(
    alice: CastMember, bob: CastMember, status: int, code: str, amount: str
) -> None:
    used = key()
    source = bob.cash if status == 404 else alice.cash
    assert refused(transfer(alice, alice.margin, amount, source=source, key=used), status, code)
    assert not IdempotencyKey.objects.exists()
    assert transfer(alice, bob.cash, "1.00", key=used).status_code == 201


def test_an_answer_that_ran_out_names_what_it_brought_about(call: Call) -> None:
    used = key()
    first = call(key=used)
    IdempotencyKey.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    before = books()
    again = call(key=used)
    assert refused(again, 409, "IDEMPOTENCY_KEY_EXPIRED")
    assert again.json()["context"] == {"transaction_id": effect_of(first)}
    assert books() == before


def test_an_answer_that_was_purged_is_not_carried_out_again(call: Call) -> None:
    used = key()
    first = call(key=used)
    IdempotencyKey.objects.all().delete()
    before = books()
    for _ in range(2):
        again = call(key=used)
        assert refused(again, 409, "IDEMPOTENCY_KEY_EXPIRED")
        assert again.json()["context"] == {"transaction_id": effect_of(first)}
    assert books() == before
    assert not IdempotencyKey.objects.exists()


def test_a_refusal_that_was_purged_may_be_asked_again(alice: CastMember, bob: CastMember) -> None:
    used = key()
    assert refused(transfer(alice, bob.cash, "1500.00", key=used), 422, "INSUFFICIENT_FUNDS")
    IdempotencyKey.objects.all().delete()
    assert transfer(alice, bob.cash, "1.00", key=used).status_code == 201


def test_the_permanent_digest_stands_behind_the_key(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if the claim did not see the effect: the database refuses a second row with the digest."""
    from core import idempotency

    used = key()
    call(key=used)
    IdempotencyKey.objects.all().delete()
    monkeypatch.setattr(idempotency, "_claim_sql", lambda table: _claim_without_effect())
    counts = (LedgerTransaction.objects.count(), Deposit.objects.count(), Withdrawal.objects.count())
    assert refused(call(key=used), 409, "IDEMPOTENCY_KEY_EXPIRED")
    assert counts == (LedgerTransaction.objects.count(), Deposit.objects.count(), Withdrawal.objects.count())


def _claim_without_effect() -> str:
    from core import idempotency

    return idempotency._CLAIM_SQL.format(effect_id="NULL::uuid", effect_join="")


def test_a_key_ends_with_its_answer_and_its_effect(call: Call) -> None:
    response = call()
    stored = IdempotencyKey.objects.get()
    assert (stored.status, stored.response_status) == ("COMPLETED", 201)
    assert bytes(stored.response_body or b"") == response.content
    assert str(stored.effect_id) == effect_of(response)
    assert stored.expires_at - stored.created_at == timedelta(hours=1)


def test_no_amount_is_rounded_on_its_way_into_the_hash(alice: CastMember, bob: CastMember) -> None:
    used = key()
    transfer(alice, bob.cash, "10.01", key=used)
    assert refused(transfer(alice, bob.cash, "10.02", key=used), 422, "IDEMPOTENCY_KEY_REUSED")
    alice.cash.refresh_from_db()
    assert alice.cash.balance == Decimal("989.99")
