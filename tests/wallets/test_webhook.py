"""A provider's message counts only if it is signed, fresh and about the payment it says, and counts once."""

from __future__ import annotations

import json
from decimal import Decimal
from time import time
from typing import Any

import pytest
from pytest_django import Settings
from rest_framework.test import APIClient

from core.ids import uuid7
from tests.cast import CastMember
from tests.wallets.calls import balances, books, deposit, refused, report
from wallets import payments
from wallets.models import Deposit, LedgerTransaction, Wallet


@pytest.fixture(autouse=True)
def webhook(settings: Settings, db: None) -> None:
    settings.PAYMENT_PROVIDER = "webhook"


@pytest.fixture
def api() -> APIClient:
    """A provider has no token."""
    return APIClient()


def pending(who: CastMember, amount: str = "100.00") -> dict[str, Any]:
    """A deposit that waits for the provider, as the message that completes it."""
    body = deposit(who, amount).json()
    assert body["status"] == "PENDING"
    return {
        "deposit": body["id"],
        "reference": "pay_0001",
        "status": "COMPLETED",
        "amount": amount,
        "currency": "USD",
    }


def now() -> int:
    return int(time())


def test_a_signed_message_credits_the_deposit(alice: CastMember, api: APIClient) -> None:
    message = pending(alice)
    response = report(api, message, timestamp=now())
    assert response.status_code == 200, response.content
    assert response.json() == {"deposit": message["deposit"], "reference": "pay_0001", "status": "COMPLETED"}
    assert balances(alice)[0] == Decimal("1100.00")
    posted = LedgerTransaction.objects.get(type="DEPOSIT")
    assert (posted.actor_kind, posted.reference) == ("PROVIDER", "pay_0001")


def test_the_same_message_again_credits_nothing_and_gets_the_same_answer(alice: CastMember, api: APIClient) -> None:
    message = pending(alice)
    first = report(api, message, timestamp=now())
    before = books()
    again = report(api, message, timestamp=now() - 1)
    assert (again.status_code, again.content) == (200, first.content)
    assert books() == before


def test_a_failed_payment_rejects_the_deposit(alice: CastMember, api: APIClient) -> None:
    message = pending(alice) | {"status": "FAILED"}
    assert report(api, message, timestamp=now()).json()["status"] == "REJECTED"
    before = books()
    assert report(api, message, timestamp=now()).status_code == 200
    assert refused(report(api, message | {"status": "COMPLETED"}, timestamp=now()), 422, "DEPOSIT_STATE_REFUSED")
    assert books() == before
    assert balances(alice)[0] == Decimal("1000.00")


def test_one_payment_credits_one_deposit(alice: CastMember, bob: CastMember, api: APIClient) -> None:
    first, second = pending(alice), pending(bob)
    assert report(api, first, timestamp=now()).status_code == 200
    before = books()
    assert refused(report(api, second, timestamp=now()), 422, "PAYMENT_REFERENCE_TAKEN")
    assert books() == before
    assert Deposit.objects.get(pk=second["deposit"]).status == "PENDING"


def test_two_payments_do_not_credit_one_deposit(alice: CastMember, api: APIClient) -> None:
    message = pending(alice)
    report(api, message, timestamp=now())
    before = books()
    assert refused(report(api, message | {"reference": "pay_0002"}, timestamp=now()), 422, "DEPOSIT_STATE_REFUSED")
    assert books() == before


@pytest.mark.parametrize("change", [{"amount": "100.01"}, {"amount": "1.00"}, {"currency": "EUR"}])
def test_another_amount_is_another_payment(alice: CastMember, api: APIClient, change: dict[str, str]) -> None:
    message = pending(alice)
    before = books()
    assert refused(report(api, message | change, timestamp=now()), 422, "PAYMENT_MISMATCH")
    assert books() == before


def test_an_unknown_deposit_is_not_found(api: APIClient, alice: CastMember) -> None:
    message = pending(alice) | {"deposit": str(uuid7())}
    before = books()
    assert refused(report(api, message, timestamp=now()), 404, "DEPOSIT_NOT_FOUND")
    assert books() == before


def test_a_closed_wallet_takes_nothing(alice: CastMember, api: APIClient) -> None:
    message = pending(alice)
    Wallet.objects.filter(pk=alice.cash.pk).update(status="CLOSED")
    before = books()
    assert refused(report(api, message, timestamp=now()), 422, "WALLET_NOT_ACTIVE")
    assert books() == before


# --- Who says so ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "forge",
    [
        lambda body, at: "",
        lambda body, at: "v1=",
        lambda body, at: "v1=" + "0" * 64,
        lambda body, at: payments.sign(body, timestamp=at).upper(),
        lambda body, at: payments.sign(body, timestamp=at).removeprefix("v1="),
        lambda body, at: payments.sign(body, timestamp=at) + "0",
        lambda body, at: payments.sign(body + b" ", timestamp=at),
        lambda body, at: payments.sign(body, timestamp=str(int(at) + 1)),
        lambda body, at: "v1=é" + "0" * 63,
    ],
    ids=["none", "empty", "zeros", "upper case", "no version", "longer", "other body", "other time", "not ascii"],
)
def test_refuses_a_forged_signature(alice: CastMember, api: APIClient, forge: Any) -> None:
    body, at = json.dumps(pending(alice)).encode(), now()
    before = books()
    assert refused(report(api, body, timestamp=at, signature=forge(body, str(at))), 403, "WEBHOOK_SIGNATURE_INVALID")
    assert books() == before


def test_another_secret_does_not_sign(alice: CastMember, api: APIClient, settings: Settings) -> None:
    body, at = json.dumps(pending(alice)).encode(), now()
    right, settings.PAYMENT_WEBHOOK_SECRET = settings.PAYMENT_WEBHOOK_SECRET, "x" * 40
    forged = payments.sign(body, timestamp=str(at))
    settings.PAYMENT_WEBHOOK_SECRET = right
    before = books()
    assert refused(report(api, body, timestamp=at, signature=forged), 403, "WEBHOOK_SIGNATURE_INVALID")
    assert books() == before


@pytest.mark.parametrize("age", [301, 86_400, -302])
def test_refuses_what_was_not_signed_lately(alice: CastMember, api: APIClient, age: int) -> None:
    message = pending(alice)
    before = books()
    response = report(api, message, timestamp=now() - age)
    assert refused(response, 403, "WEBHOOK_TIMESTAMP_REFUSED")
    assert response.json()["context"] == {"tolerance_seconds": 300}
    assert books() == before


def test_accepts_a_clock_that_is_a_little_off(alice: CastMember, api: APIClient) -> None:
    assert report(api, pending(alice), timestamp=now() - 290).status_code == 200


@pytest.mark.parametrize("timestamp", ["", "-1", "1e9", "١٢٣", "9" * 13, " 1767225600"])
def test_refuses_a_timestamp_that_is_none(alice: CastMember, api: APIClient, timestamp: str) -> None:
    body = json.dumps(pending(alice)).encode()
    headers = {
        payments.TIMESTAMP_HEADER: timestamp,
        payments.SIGNATURE_HEADER: payments.sign(body, timestamp=timestamp),
    }
    before = books()
    response = api.post("/api/v1/payments/webhook", data=body, content_type="application/json", headers=headers)
    assert refused(response, 403, "WEBHOOK_SIGNATURE_INVALID")
    assert books() == before


def test_a_clients_token_is_no_signature(alice: CastMember) -> None:
    message = pending(alice)
    before = books()
    assert refused(alice.api.post("/api/v1/payments/webhook", message), 403, "WEBHOOK_SIGNATURE_INVALID")
    assert books() == before


@pytest.mark.parametrize(
    "change,field",
    [
        ({"deposit": "1"}, "deposit"),
        ({"deposit": None}, "deposit"),
        ({"reference": ""}, "reference"),
        ({"reference": "x" * 129}, "reference"),
        ({"status": "completed"}, "status"),
        ({"amount": 100}, "amount"),
        ({"amount": "1e2"}, "amount"),
        ({"currency": "XXX"}, "currency"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_signed_message_is_still_checked(
    alice: CastMember, api: APIClient, change: dict[str, Any], field: str
) -> None:
    message = pending(alice)
    before = books()
    response = report(api, message | change, timestamp=now())
    assert response.status_code == 400, response.content
    assert [error["field"] for error in response.json()["errors"]] == [field]
    assert books() == before


def test_a_message_that_is_no_json_is_refused(api: APIClient, alice: CastMember) -> None:
    before = books()
    assert refused(report(api, b'{"deposit": ', timestamp=now()), 400, "MALFORMED_JSON")
    assert books() == before
