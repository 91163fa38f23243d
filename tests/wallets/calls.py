"""The requests a wallet test makes, and the books it compares before and after."""

from __future__ import annotations

import json
from typing import Any

from django.db import models, transaction

from core.audit import Actor, ActorKind
from core.ids import HOUSE, uuid7
from core.models import AuditEvent
from tests.cast import CastMember
from wallets import bank, payments
from wallets.models import BankAccount, Deposit, Entry, LedgerTransaction, Transfer, Wallet, Withdrawal

Response = Any

IBAN = "DE89370400440532013000"
IBAN_DETAILS = {"holder": "Alice Archer", "bank_name": "Commerzbank", "code_type": "IBAN", "number": IBAN}

PROVIDER = Actor(id=HOUSE, kind=ActorKind.PROVIDER)


def key() -> str:
    return str(uuid7())


def post(who: CastMember, path: str, body: Any, *, key: str | None = None) -> Response:
    """POST to the API under a fresh key, unless the test brings its own."""
    return who.api.post(f"/api/v1/{path}", body, headers={"Idempotency-Key": key or str(uuid7())})


def get(who: CastMember, path: str) -> Response:
    return who.api.get(f"/api/v1/{path}")


def transfer(
    who: CastMember, target: Wallet, amount: Any, *, source: Wallet | None = None, key: str | None = None
) -> Response:
    body = {"source": (source or who.cash).number, "target": target.number, "amount": amount}
    return post(who, "transfers", body, key=key)


def deposit(who: CastMember, amount: Any, *, wallet: Wallet | None = None, key: str | None = None) -> Response:
    return post(who, "deposits", {"wallet": (wallet or who.cash).number, "amount": amount}, key=key)


def withdraw(
    who: CastMember, amount: Any, *, wallet: Wallet | None = None, key: str | None = None, **body: Any
) -> Response:
    return post(who, "withdrawals", {"wallet": (wallet or who.cash).number, "amount": amount, **body}, key=key)


def cancel(who: CastMember, withdrawal: object, *, key: str | None = None) -> Response:
    return post(who, f"withdrawals/{withdrawal}/cancel", {}, key=key)


def bank_account(who: CastMember, *, number: str = IBAN) -> BankAccount:
    """A bank account on file, put there without the API."""
    with transaction.atomic():
        return bank.store_bank_account(
            owner=who.user.pk,
            holder=who.user.name,
            bank_name="Commerzbank",
            branch="",
            code_type="IBAN",
            code="",
            number=number,
        )


def report(api: Any, document: dict[str, Any] | bytes, *, timestamp: int, signature: str | None = None) -> Response:
    """A payment provider's message to the webhook, rightly signed unless the test brings its own signature."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    headers = {
        payments.TIMESTAMP_HEADER: str(timestamp),
        payments.SIGNATURE_HEADER: payments.sign(body, timestamp=str(timestamp)) if signature is None else signature,
    }
    return api.post("/api/v1/payments/webhook", data=body, content_type="application/json", headers=headers)


# --- The books ------------------------------------------------------------------------------------------------------

_COUNTED: tuple[type[models.Model], ...] = (
    LedgerTransaction,
    Entry,
    Deposit,
    Withdrawal,
    Transfer,
    BankAccount,
    AuditEvent,
)


def books() -> dict[str, Any]:
    """Every client's balances and holds, and how many rows of each kind there are: equal before and after a refusal."""
    wallets = Wallet.objects.filter(kind__in=["CASH", "MARGIN"])
    rows: dict[str, Any] = {
        wallet.number: (wallet.balance, wallet.held, wallet.version, bytes(wallet.head)) for wallet in wallets
    }
    return rows | {model.__name__: model._default_manager.count() for model in _COUNTED}


def refused(response: Response, status: int, code: str) -> bool:
    """Whether the answer is this refusal; shows the answer where it is not."""
    assert (response.status_code, response.json().get("code")) == (status, code), response.content
    return True


def balances(who: CastMember) -> tuple[Any, Any]:
    """What the cash wallet holds, and what of it is promised."""
    who.cash.refresh_from_db()
    return who.cash.balance, who.cash.held
