"""Fifty clients at once, over real sockets and with real commits: no money is lost, doubled or half-moved."""

from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal
from threading import Barrier, Thread
from time import time

import psycopg
import pytest
from django.db.models import Sum
from pytest_django import Settings

from core.ids import uuid7
from tests import cast
from tests.cast import CastMember
from tests.concurrency.hammer import Client, Reply, at_once, deadlocks
from tests.database import Clone
from tests.live_desk import LiveDesk
from tests.wallets.calls import balances, bank_account, deposit, withdraw
from wallets import ledger, payments
from wallets.models import Deposit, Entry, Environment, Kind, LedgerTransaction, Transfer, Wallet, Withdrawal

pytestmark = pytest.mark.usefixtures("committed_db")

FIFTY = 50
ZERO = Decimal(0)


def books_balance() -> None:
    """Every gated wallet is the sum of its entries, and all that ever moved sums to zero."""
    for wallet in Wallet.objects.filter(kind__in=["CASH", "MARGIN"]):
        total = Entry.objects.filter(wallet=wallet).aggregate(total=Sum("amount"))["total"] or ZERO
        assert wallet.balance == total, wallet
    assert Entry.objects.aggregate(total=Sum("amount"))["total"] == 0


def test_the_whole_balance_is_withdrawn_once(live_desk: LiveDesk) -> None:
    alice = cast.alice()
    bank_account(alice)
    terms = {"wallet": alice.cash.number, "amount": "1000.00"}
    replies = at_once(live_desk, [alice.token] * FIFTY, lambda client, _: client.post("withdrawals", terms))
    assert Counter((reply.status, reply.code) for reply in replies) == {
        (201, ""): 1,
        (422, "INSUFFICIENT_FUNDS"): FIFTY - 1,
    }
    assert balances(alice) == (Decimal("1000.00"), Decimal("1000.00"))
    assert Withdrawal.objects.count() == 1
    books_balance()


def test_the_whole_balance_is_transferred_once(live_desk: LiveDesk) -> None:
    alice, bob = cast.alice(), cast.bob()
    terms = {"source": alice.cash.number, "target": bob.cash.number, "amount": "1000.00"}
    replies = at_once(live_desk, [alice.token] * FIFTY, lambda client, _: client.post("transfers", terms))
    assert Counter(reply.status for reply in replies) == {201: 1, 422: FIFTY - 1}
    assert (balances(alice), balances(bob)) == ((ZERO, ZERO), (Decimal("2000.00"), ZERO))
    assert Transfer.objects.count() == 1
    books_balance()


@pytest.mark.parametrize("path", ["transfers", "deposits", "withdrawals"])
def test_one_key_has_one_effect_and_one_answer(live_desk: LiveDesk, path: str) -> None:
    alice, bob = cast.alice(), cast.bob()
    bank_account(alice)
    terms = {"wallet": alice.cash.number, "amount": "10.00"}
    if path == "transfers":
        terms = {"source": alice.cash.number, "target": bob.cash.number, "amount": "10.00"}
    used, before = str(uuid7()), LedgerTransaction.objects.count()
    replies = at_once(live_desk, [alice.token] * FIFTY, lambda client, _: client.post(path, terms, key=used))
    assert {(reply.status, reply.body) for reply in replies} == {(201, replies[0].body)}
    assert Counter(reply.headers["Idempotent-Replayed"] for reply in replies) == {"false": 1, "true": FIFTY - 1}
    rows = {"transfers": Transfer, "deposits": Deposit, "withdrawals": Withdrawal}[path].objects.count()  # type: ignore[attr-defined]
    assert (rows, LedgerTransaction.objects.count() - before) == (1, 0 if path == "withdrawals" else 1)
    books_balance()


def test_there_and_back_keeps_the_total_without_a_deadlock(live_desk: LiveDesk) -> None:
    alice, bob = cast.alice(), cast.bob()
    before = deadlocks()
    each, clients = 50, 20

    def back_and_forth(client: Client, place: int) -> list[int]:
        source, target = (alice, bob) if place % 2 else (bob, alice)
        terms = {"source": source.cash.number, "target": target.cash.number, "amount": "1.00"}
        return [client.post("transfers", terms).status for _ in range(each)]

    tokens = [(alice if place % 2 else bob).token for place in range(clients)]
    statuses = [status for done in at_once(live_desk, tokens, back_and_forth) for status in done]
    assert (len(statuses), set(statuses)) == (1_000, {201})
    assert balances(alice)[0] == balances(bob)[0] == Decimal("1000.00")
    assert Transfer.objects.count() == 1_000
    assert deadlocks() == before
    assert "40P01" not in live_desk.log.read_text()
    books_balance()


def test_a_deadlock_would_have_been_seen(committed_db: Clone) -> None:
    """Else the figure above could not fail."""
    alice, bob = cast.alice(), cast.bob()
    before, together = deadlocks(), Barrier(2)

    def lock(first: Wallet, second: Wallet) -> None:
        with psycopg.connect(committed_db.direct_url) as session:
            session.execute("SELECT FROM wallets_wallet WHERE id = %s FOR UPDATE", [first.pk])
            together.wait(10)
            try:
                session.execute("SELECT FROM wallets_wallet WHERE id = %s FOR UPDATE", [second.pk])
            except psycopg.errors.DeadlockDetected:
                session.rollback()

    threads = [Thread(target=lock, args=pair) for pair in ((alice.cash, bob.cash), (bob.cash, alice.cash))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert deadlocks() == before + 1


def test_one_payment_reported_fifty_times_is_one_credit(live_desk: LiveDesk, settings: Settings) -> None:
    settings.PAYMENT_PROVIDER = "webhook"  # for the intent alone, which is made here; the desk takes the report
    alice = cast.alice()
    made = deposit(alice, "250.00").json()["id"]
    report = {"deposit": made, "reference": "pay-1", "status": "COMPLETED", "amount": "250.00", "currency": "USD"}

    replies = at_once(live_desk, [None] * FIFTY, lambda client, _: _report(client, report))
    assert {(reply.status, reply.body) for reply in replies} == {(200, replies[0].body)}
    assert json.loads(replies[0].body) == {"deposit": made, "reference": "pay-1", "status": "COMPLETED"}
    assert balances(alice) == (Decimal("1250.00"), ZERO)
    assert LedgerTransaction.objects.filter(type="DEPOSIT").count() == 1
    assert ledger.house_balance(Kind.HOUSE_PAYMENT_CLEARING, "USD", Environment.LIVE) == Decimal("-250.00")
    books_balance()


def test_one_payment_reported_for_fifty_deposits_is_one_credit(live_desk: LiveDesk, settings: Settings) -> None:
    settings.PAYMENT_PROVIDER = "webhook"
    clients = [cast.make_client() for _ in range(10)]
    reports = [
        {
            "deposit": deposit(who, "250.00").json()["id"],
            "reference": "pay-1",
            "status": "COMPLETED",
            "amount": "250.00",
            "currency": "USD",
        }
        for who in clients
        for _ in range(5)
    ]
    replies = at_once(live_desk, [None] * FIFTY, lambda client, place: _report(client, reports[place]))
    assert Counter((reply.status, reply.code) for reply in replies) == {
        (200, ""): 1,
        (422, "PAYMENT_REFERENCE_TAKEN"): FIFTY - 1,
    }
    assert Counter(Deposit.objects.values_list("status", flat=True)) == {"COMPLETED": 1, "PENDING": FIFTY - 1}
    assert LedgerTransaction.objects.filter(type="DEPOSIT").count() == 1
    books_balance()


def _report(client: Client, report: dict[str, str]) -> Reply:
    body, at = json.dumps(report).encode(), str(int(time()))
    headers = {payments.TIMESTAMP_HEADER: at, payments.SIGNATURE_HEADER: payments.sign(body, timestamp=at)}
    return client.post("payments/webhook", body, headers=headers)


def test_one_withdrawal_is_cancelled_once(live_desk: LiveDesk) -> None:
    alice = cast.alice()
    bank_account(alice)
    made = withdraw(alice, "400.00").json()["id"]
    withdraw(alice, "100.00")
    replies = at_once(live_desk, [alice.token] * FIFTY, lambda client, _: client.post(f"withdrawals/{made}/cancel", {}))
    assert Counter((reply.status, reply.code) for reply in replies) == {
        (200, ""): 1,
        (422, "WITHDRAWAL_STATE_REFUSED"): FIFTY - 1,
    }
    assert balances(alice) == (Decimal("1000.00"), Decimal("100.00"))


def test_no_unverified_client_gets_past_the_limit(live_desk: LiveDesk) -> None:
    """Into two wallets at once: it is their sum that is limited."""
    new: CastMember = cast.make_client(verified=False, balance=ZERO)

    def pay_in(client: Client, place: int) -> Reply:
        wallet = new.margin if place % 2 else new.cash
        return client.post("deposits", {"wallet": wallet.number, "amount": "150.00"})

    replies = at_once(live_desk, [new.token] * FIFTY, pay_in)
    assert Counter((reply.status, reply.code) for reply in replies) == {
        (201, ""): 13,
        (422, "UNVERIFIED_DEPOSIT_LIMIT"): FIFTY - 13,
    }
    assert Deposit.objects.aggregate(total=Sum("amount"))["total"] == Decimal("1950.00")
    books_balance()


def test_withdrawals_and_transfers_share_one_balance(live_desk: LiveDesk) -> None:
    alice, bob = cast.alice(), cast.bob()
    bank_account(alice)

    def take(client: Client, place: int) -> Reply:
        if place % 2:
            return client.post("withdrawals", {"wallet": alice.cash.number, "amount": "100.00"})
        terms = {"source": alice.cash.number, "target": bob.cash.number, "amount": "100.00"}
        return client.post("transfers", terms)

    replies = at_once(live_desk, [alice.token] * FIFTY, take)
    assert Counter(reply.status for reply in replies) == {201: 10, 422: FIFTY - 10}
    balance, held = balances(alice)
    assert balance == held
    assert balance + balances(bob)[0] == Decimal("2000.00")
    books_balance()
