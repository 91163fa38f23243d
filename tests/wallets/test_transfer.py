"""A transfer moves money wholly or not at all, and says why not."""

from __future__ import annotations

from decimal import Decimal

import pytest

from core.models import IdempotencyKey
from tests import cast
from tests.cast import CastMember
from tests.wallets.calls import balances, books, get, key, post, refused, transfer
from wallets.models import Entry, LedgerTransaction, Transfer, Wallet


def test_moves_money_to_another_clients_cash_wallet(alice: CastMember, bob: CastMember) -> None:
    response = transfer(alice, bob.cash, "12.50")
    assert response.status_code == 201, response.content
    assert balances(alice) == (Decimal("987.50"), Decimal(0))
    assert balances(bob) == (Decimal("1012.50"), Decimal(0))


def test_answers_with_a_receipt(alice: CastMember, bob: CastMember) -> None:
    body = transfer(alice, bob.cash, "12.5").json()
    made = Transfer.objects.get()
    assert body == {
        "id": str(made.pk),
        "transaction": str(made.transaction_id),
        "source": alice.cash.number,
        "target": bob.cash.number,
        "amount": "12.50",
        "currency": "USD",
        "status": "COMPLETED",
        "source_balance": "987.50",
        "source_available": "987.50",
        "created_at": body["created_at"],
    }


def test_is_one_transaction_with_two_legs(alice: CastMember, bob: CastMember) -> None:
    posted = LedgerTransaction.objects.get(pk=transfer(alice, bob.cash, "12.50").json()["transaction"])
    legs = Entry.objects.filter(transaction=posted)
    assert {(leg.wallet_id, leg.amount, leg.reason) for leg in legs} == {
        (alice.cash.pk, Decimal("-12.50"), "TRANSFER"),
        (bob.cash.pk, Decimal("12.50"), "TRANSFER"),
    }
    assert (posted.type, posted.owner_id, posted.actor_id, posted.actor_kind) == (
        "TRANSFER",
        alice.user.pk,
        alice.user.pk,
        "CLIENT",
    )


def test_carries_the_requests_id_into_the_ledger(alice: CastMember, bob: CastMember) -> None:
    body = {"source": alice.cash.number, "target": bob.cash.number, "amount": "1.00"}
    headers = {"Idempotency-Key": key(), "X-Request-ID": "req-0123456789"}
    response = alice.api.post("/api/v1/transfers", body, headers=headers)
    assert LedgerTransaction.objects.get(pk=response.json()["transaction"]).request_id == "req-0123456789"


def test_moves_money_into_an_own_margin_wallet(alice: CastMember) -> None:
    assert transfer(alice, alice.margin, "1000.00").status_code == 201
    alice.margin.refresh_from_db()
    assert (balances(alice)[0], alice.margin.balance) == (Decimal(0), Decimal("1000.00"))


def test_refuses_the_margin_wallet_of_somebody_else(alice: CastMember, bob: CastMember) -> None:
    before = books()
    assert refused(transfer(alice, bob.margin, "1.00"), 422, "TARGET_NOT_ALLOWED")
    assert books() == before


def test_refuses_a_margin_source_and_says_where_to_go(bob: CastMember) -> None:
    rich = cast.make_client(margin=Decimal("500.00"))
    before = books()
    response = transfer(rich, bob.cash, "1.00", source=rich.margin)
    assert refused(response, 422, "MARGIN_SOURCE_REFUSED")
    assert "POST /api/v1/trading-accounts/{number}/release" in response.json()["detail"]
    assert books() == before


def test_refuses_what_the_source_does_not_cover_with_the_numbers(alice: CastMember, bob: CastMember) -> None:
    before = books()
    response = transfer(alice, bob.cash, "1000.01")
    assert refused(response, 422, "INSUFFICIENT_FUNDS")
    assert response.json()["context"] == {
        "required": "1000.01",
        "available": "1000.00",
        "shortfall": "0.01",
        "currency": "USD",
    }
    assert books() == before


def test_refuses_what_is_promised_to_a_withdrawal(alice: CastMember, bob: CastMember) -> None:
    from tests.wallets.calls import bank_account, withdraw

    bank_account(alice)
    withdraw(alice, "990.00")
    before = books()
    response = transfer(alice, bob.cash, "10.01")
    assert refused(response, 422, "INSUFFICIENT_FUNDS")
    assert response.json()["context"]["available"] == "10.00"
    assert books() == before
    assert transfer(alice, bob.cash, "10.00").json()["source_available"] == "0.00"


def test_refuses_one_wallet_as_both_ends(alice: CastMember) -> None:
    before = books()
    response = transfer(alice, alice.cash, "1.00")
    assert refused(response, 400, "SAME_WALLET")
    assert response.json()["errors"][0]["field"] == "target"
    assert books() == before
    assert not IdempotencyKey.objects.exists()


@pytest.mark.parametrize("amount", ["1.001", "0.00000001", "1.000"])
def test_refuses_more_decimals_than_the_currency_has(alice: CastMember, bob: CastMember, amount: str) -> None:
    before = books()
    response = transfer(alice, bob.cash, amount)
    assert refused(response, 400, "PRECISION_EXCEEDED")
    assert (response.json()["errors"][0]["field"], response.json()["context"]["digits"]) == ("amount", 2)
    assert books() == before


def test_keeps_to_the_digits_of_each_currency(db: None) -> None:
    tokyo, kuwait = cast.make_client(currency="JPY", balance=Decimal(900)), cast.make_client(currency="KWD")
    to_tokyo, to_kuwait = cast.make_client(currency="JPY"), cast.make_client(currency="KWD")
    assert refused(transfer(tokyo, to_tokyo.cash, "1.5"), 400, "PRECISION_EXCEEDED")
    assert transfer(tokyo, to_tokyo.cash, "1").json()["source_balance"] == "899"
    assert transfer(kuwait, to_kuwait.cash, "0.001").json()["source_balance"] == "999.999"


def test_refuses_another_currency(alice: CastMember) -> None:
    euro = cast.make_client(currency="EUR")
    before = books()
    assert refused(transfer(alice, euro.cash, "1.00"), 422, "CURRENCY_MISMATCH")
    assert books() == before


def test_somebody_elses_source_does_not_exist(alice: CastMember, bob: CastMember) -> None:
    before = books()
    stolen = transfer(alice, alice.cash, "1.00", source=bob.cash)
    unknown = post(alice, "transfers", {"source": "W99999999", "target": alice.cash.number, "amount": "1.00"})
    assert refused(stolen, 404, "WALLET_NOT_FOUND")
    assert refused(unknown, 404, "WALLET_NOT_FOUND")
    assert stolen.json()["detail"].replace(bob.cash.number, "W99999999") == unknown.json()["detail"]
    assert books() == before
    assert not IdempotencyKey.objects.exists()


@pytest.mark.parametrize("end", ["source", "target"])
def test_the_houses_wallets_do_not_exist_for_clients(alice: CastMember, end: str) -> None:
    house = Wallet.objects.get(kind="HOUSE_COMMISSION", currency="USD", environment="LIVE")
    ends = {"source": alice.cash.number, "target": alice.cash.number, end: house.number}
    before = books()
    response = post(alice, "transfers", {**ends, "amount": "1.00"})
    assert response.status_code in {400, 404}, response.content
    assert books() == before


@pytest.mark.parametrize(
    "change,code",
    [
        ({"status": "FROZEN"}, "WALLET_NOT_ACTIVE"),
        ({"status": "CLOSED"}, "WALLET_NOT_ACTIVE"),
        ({"withdrawals_enabled": False}, "WITHDRAWALS_FROZEN"),
        ({"verified": False}, "VERIFICATION_REQUIRED"),
    ],
)
def test_refuses_a_source_whose_money_may_not_leave(
    alice: CastMember, bob: CastMember, change: dict[str, object], code: str
) -> None:
    Wallet.objects.filter(pk=alice.cash.pk).update(**change)
    before = books()
    assert refused(transfer(alice, bob.cash, "1.00"), 422, code)
    assert books() == before


def test_refuses_a_target_that_is_closed(alice: CastMember, bob: CastMember) -> None:
    Wallet.objects.filter(pk=bob.cash.pk).update(status="CLOSED")
    before = books()
    assert refused(transfer(alice, bob.cash, "1.00"), 422, "WALLET_NOT_ACTIVE")
    assert books() == before


def test_needs_the_transfer_scope(bob: CastMember) -> None:
    reader = cast.make_client(scopes=["read", "withdraw", "trade"])
    before = books()
    assert refused(transfer(reader, bob.cash, "1.00"), 403, "SCOPE_MISSING")
    assert books() == before
    assert not IdempotencyKey.objects.exists()


def test_is_listed_for_its_sender_alone(alice: CastMember, bob: CastMember) -> None:
    sent = transfer(alice, bob.cash, "1.00").json()
    (listed,) = get(alice, "transfers").json()["results"]
    assert listed == {name: value for name, value in sent.items() if not name.startswith("source_")}
    assert get(alice, f"transfers/{sent['id']}").json() == listed
    assert get(bob, "transfers").json()["results"] == []


def test_somebody_elses_transfer_does_not_exist(alice: CastMember, bob: CastMember) -> None:
    sent = transfer(alice, bob.cash, "1.00").json()["id"]
    stolen, unknown = get(bob, f"transfers/{sent}"), get(bob, f"transfers/{key()}")
    assert refused(stolen, 404, "NOT_FOUND")
    assert _anonymous(stolen.json()) == _anonymous(unknown.json())


def _anonymous(problem: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in problem.items() if name not in {"instance", "request_id"}}
