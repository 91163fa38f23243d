"""A day's books, made by the real services; and the tools of somebody who gets past every guard to change them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from core.audit import Actor, ActorKind
from core.idempotency import Claim, Operation
from core.ids import uuid7
from core.models import IdempotencyKey
from scripts import environment
from tests import database, ledger_cast
from tests.database import Clone
from wallets import ledger, verification
from wallets.ledger import Leg, Reason, Type
from wallets.models import Adjustment, BankAccount, Deposit, Kind, LedgerTransaction, Transfer, Wallet, Withdrawal
from wallets.services import adjustments, deposits, withdrawals

Corruption = Any


@dataclass(slots=True)
class Books:
    """Alice and Bob have cash; Alice trades; money came in, went out, moved and was moved back."""

    alice: Wallet
    bob: Wallet
    margin: Wallet
    demo: Wallet
    deposit: Deposit
    reversed_deposit: Deposit
    pending: Withdrawal
    paid: Withdrawal
    transfer: Transfer
    adjustment: LedgerTransaction
    reversal: LedgerTransaction
    correction: Adjustment
    refused_key: IdempotencyKey

    def posting(self, wallet: Wallet, version: int) -> UUID:
        """The transaction behind a wallet's n-th entry."""
        (found,) = query(
            "SELECT transaction_id FROM wallets_entry WHERE wallet_id = %s AND wallet_version = %s", wallet, version
        )
        return found[0]  # type: ignore[no-any-return]


def keep() -> Books:
    """Do a day's business through the services, all of it committed."""
    alice, bob = ledger_cast.wallet("1000"), ledger_cast.wallet("500")
    margin = ledger_cast.wallet("200", owner=alice.owner_id, kind=Kind.MARGIN)
    demo = ledger_cast.wallet("10000", owner=bob.owner_id, kind=Kind.MARGIN, environment="DEMO")
    _trade(margin)
    for credit in ("50.00", "-12.50", "20.00"):
        ledger_cast.give_credit(margin, credit)
    staff = Actor(id=ledger_cast.person(), kind=ActorKind.STAFF)
    deposit, reversed_deposit = _deposit(alice, "250.00"), _deposit(alice, "40.00")
    deposits.reverse_deposit(deposit_id=reversed_deposit.pk, reason="sent twice", actor=staff)
    pending, paid = _withdrawal(alice, "60.00"), _withdrawal(alice, "75.00")
    for step in (
        withdrawals.start_review,
        withdrawals.approve_withdrawal,
        withdrawals.mark_sent,
        withdrawals.complete_withdrawal,
    ):
        step(withdrawal_id=paid.pk, reason="checked", actor=staff)
    ledger_cast.transfer(alice, bob, "12.34")
    ledger_cast.transfer(alice, bob, "1000000.00")
    adjustment = LedgerTransaction.objects.filter(owner=bob.owner_id, environment="LIVE", type="ADJUSTMENT").get()
    reversal = _reverse(bob, adjustment, "500.00")
    correction = _correct(bob, "8.00", staff)
    for row in (alice, bob, margin, demo, reversed_deposit, paid):
        row.refresh_from_db()
    return Books(
        alice=alice,
        bob=bob,
        margin=margin,
        demo=demo,
        deposit=deposit,
        reversed_deposit=reversed_deposit,
        pending=pending,
        paid=paid,
        transfer=Transfer.objects.get(),
        adjustment=adjustment,
        reversal=reversal,
        correction=correction,
        refused_key=IdempotencyKey.objects.get(status="FAILED"),
    )


def _trade(margin: Wallet) -> None:
    with transaction.atomic():
        (locked,) = ledger.lock_wallets(margin.number)
        legs = [
            Leg(locked, Decimal("31.00"), Reason.TRADE_PNL),
            Leg(ledger_cast.house(Kind.HOUSE_TRADING_PNL, locked), Decimal("-31.00"), Reason.TRADE_PNL),
            Leg(locked, Decimal("-7.00"), Reason.COMMISSION),
            Leg(ledger_cast.house(Kind.HOUSE_COMMISSION, locked), Decimal("7.00"), Reason.COMMISSION),
        ]
        ledger_cast.post(legs, type=Type.CLOSE, owner=locked.owner)


def _deposit(wallet: Wallet, amount: str) -> Deposit:
    terms = {"wallet": wallet.number, "amount": Decimal(amount)}
    claim = _claim(deposits.CREATE_DEPOSIT, wallet.owner_id, terms)
    answer = deposits.create_deposit(**terms, claim=claim, actor=Actor(wallet.owner_id, ActorKind.CLIENT))  # type: ignore[arg-type]
    return Deposit.objects.get(pk=answer.document["id"])


def _withdrawal(wallet: Wallet, amount: str) -> Withdrawal:
    account, _ = BankAccount.objects.get_or_create(
        owner_id=wallet.owner_id,
        defaults={
            "holder": "Alice",
            "bank_name": "Bank",
            "code_type": "IBAN",
            "number_encrypted": b"-",
            "number_hash": bytes(32),
            "number_last_four": "3000",
        },
    )
    terms = {"wallet": wallet.number, "amount": Decimal(amount), "bank_account": account.pk}
    claim = _claim(withdrawals.REQUEST_WITHDRAWAL, wallet.owner_id, terms)
    answer = withdrawals.request_withdrawal(**terms, claim=claim, actor=Actor(wallet.owner_id, ActorKind.CLIENT))  # type: ignore[arg-type]
    return Withdrawal.objects.get(pk=answer.document["id"])


def _claim(operation: Operation, owner: UUID, terms: dict[str, Any]) -> Claim:
    return Claim.make(operation=operation, owner=owner, key=f"books:{uuid7()}", request=terms)


def _reverse(wallet: Wallet, original: LedgerTransaction, amount: str) -> LedgerTransaction:
    with transaction.atomic():
        (locked,) = ledger.lock_wallets(wallet.number)
        house = ledger_cast.house(Kind.HOUSE_ADJUSTMENT, locked)
        legs = [Leg(locked, -Decimal(amount), Reason.REVERSAL), Leg(house, Decimal(amount), Reason.REVERSAL)]
        posted = ledger_cast.post(legs, type=Type.REVERSAL, owner=locked.owner, reverses=original.pk)
    return LedgerTransaction.objects.get(pk=posted.id)


def _correct(wallet: Wallet, amount: str, maker: Actor) -> Adjustment:
    terms: Any = {"wallet": wallet.number, "direction": "CREDIT", "amount": Decimal(amount), "reason": "a fee too many"}
    proposed = adjustments.propose_adjustment(**terms, actor=maker, key="books")
    checker = Actor(id=ledger_cast.person(), kind=ActorKind.STAFF)
    return adjustments.approve_adjustment(adjustment_id=proposed.pk, reason="agreed", actor=checker)


# --- Getting past the guards ----------------------------------------------------------------------------------------


def query(sql: str, *params: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, [getattr(param, "pk", param) for param in params])
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows


def corrupt(sql: str, *params: Any) -> None:
    """Change a row as only a superuser can: with every trigger and foreign key asleep. It has to change something."""
    with transaction.atomic(), database.unguarded() as cursor:
        cursor.execute(sql, [getattr(param, "pk", param) for param in params])
        assert cursor.rowcount > 0, "nothing was corrupted"


def rechain(wallet: Wallet) -> None:
    """Compute a wallet's whole chain again from what its entries say now: what a careful forger would do."""
    digest = bytes(32)
    rows = query(
        "SELECT id, wallet_version, transaction_id, amount, balance_after, posted_at FROM wallets_entry"
        " WHERE wallet_id = %s ORDER BY wallet_version",
        wallet,
    )
    for id_, version, posting, amount, balance_after, posted_at in rows:
        digest = ledger.link(
            digest,
            wallet=wallet.pk,
            version=version,
            transaction=posting,
            amount=amount,
            balance_after=balance_after,
            posted_at=posted_at,
        )
        corrupt("UPDATE wallets_entry SET digest = %s WHERE id = %s", digest, id_)
    corrupt("UPDATE wallets_wallet SET head = %s WHERE id = %s", digest, wallet)


@contextmanager
def without_constraint(clone: Clone, table: str, name: str) -> Iterator[None]:
    """Take a constraint away for the block; afterwards all rows go, so that it can come back."""
    ((definition,),) = query("SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = %s", name)
    query_none(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
    try:
        yield
    finally:
        clone.restore()
        query_none(f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}")


def query_none(sql: str) -> None:
    with database.as_owner() as cursor:
        cursor.execute(sql)


# --- Looking --------------------------------------------------------------------------------------------------------


def breaks() -> dict[str, int]:
    """The checks that fire on what is committed, and how often."""
    return dict(verification.verify_ledger().found)


def manage(clone: Clone, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a management command as cron would: a process of its own, judged by its exit status."""
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=environment.ROOT,
        env=os.environ | {"DATABASE_URL": clone.desks_url} | settings,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
