"""What can be asked of money at rest, and how each answer is spelled, without changing any of it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import QuerySet, Sum

from core.errors import NotFound
from core.money import book, show
from wallets.models import (
    HOUSE_KINDS,
    ZERO,
    Adjustment,
    BankAccount,
    Deposit,
    Entry,
    Environment,
    Transfer,
    Wallet,
    Withdrawal,
)

STATEMENT_COLUMNS = (
    "number",
    "posted_at",
    "type",
    "reason",
    "moves",
    "amount",
    "balance_after",
    "currency",
    "reference",
    "transaction",
    "id",
)


def wallets(owner: UUID) -> QuerySet[Wallet]:
    """A client's wallets."""
    return Wallet.objects.filter(owner_id=owner).exclude(kind__in=HOUSE_KINDS)


def wallet(owner: UUID, number: str) -> Wallet:
    """:raises NotFound: if there is none with this number, or it is somebody else's"""
    found = wallets(owner).filter(number=number).first()
    if found is None:
        raise NotFound
    return found


def live_wallet_numbers(owner: UUID) -> list[str]:
    """The numbers of a client's live wallets, read without a lock."""
    return list(wallets(owner).filter(environment=Environment.LIVE).values_list("number", flat=True))


def entries(wallet: Wallet) -> QuerySet[Entry]:
    """A wallet's statement; `wallet_version` numbers its lines without gaps."""
    return Entry.objects.select_related("transaction").filter(wallet=wallet, owner_id=wallet.owner_id)


def statement_lines(entries: QuerySet[Entry], *, rows_per_read: int) -> Iterator[tuple[object, ...]]:
    """
    A statement's cells, newest first, in the order of STATEMENT_COLUMNS.

    Read in batches that each start where the last one ended: no cursor is kept open on the server, and what is posted
    meanwhile is not in it.
    """
    newest_first, batch = entries.order_by("-wallet_version"), list[Entry]()
    while batch := list(
        (newest_first.filter(wallet_version__lt=batch[-1].wallet_version) if batch else newest_first)[:rows_per_read]
    ):
        yield from map(_statement_line, batch)


def _statement_line(entry: Entry) -> tuple[object, ...]:
    document = entry_document(entry) | {
        "amount": book(entry.amount, entry.currency),
        "balance_after": book(entry.balance_after or ZERO, entry.currency),
        "posted_at": entry.posted_at,
    }
    return tuple(document[column] for column in STATEMENT_COLUMNS)


def deposits(owner: UUID) -> QuerySet[Deposit]:
    return Deposit.objects.select_related("wallet").filter(owner_id=owner)


def deposited(owner: UUID, currency: str) -> Decimal:
    """What a client has brought in of real money, in one currency, less what was taken back."""
    completed = Deposit.objects.filter(
        owner_id=owner, currency=currency, status=Deposit.Status.COMPLETED, wallet__environment=Environment.LIVE
    )
    total: Decimal | None = completed.aggregate(total=Sum("amount"))["total"]
    return total or ZERO


def overdue_deposits(now: datetime) -> QuerySet[Deposit]:
    """Pending deposits whose time ran out before `now`, of all clients."""
    return Deposit.objects.filter(status=Deposit.Status.PENDING, expires_at__lt=now)


def withdrawals(owner: UUID) -> QuerySet[Withdrawal]:
    return Withdrawal.objects.select_related("wallet", "bank_account").filter(owner_id=owner)


def transfers(owner: UUID) -> QuerySet[Transfer]:
    """The transfers a client has sent; what they have received stands in the statements of their wallets."""
    return Transfer.objects.select_related("source", "target").filter(owner_id=owner)


def adjustments(owner: UUID) -> QuerySet[Adjustment]:
    """What staff have proposed to put right in a client's wallets, whatever became of it; for staff alone."""
    return Adjustment.objects.select_related("wallet").filter(owner_id=owner)


def bank_accounts(owner: UUID) -> QuerySet[BankAccount]:
    return BankAccount.objects.filter(owner_id=owner)


# --- How they are spelled -------------------------------------------------------------------------------------------
# One spelling for the answer that a service stores and for whoever reads the row later.


def wallet_document(wallet: Wallet) -> dict[str, Any]:
    """A wallet as its owner sees it; amounts with the currency's decimals."""
    currency = wallet.currency
    return {
        "number": wallet.number,
        "kind": wallet.kind,
        "environment": wallet.environment,
        "currency": currency,
        "balance": show(wallet.balance, currency),
        "held": show(wallet.held, currency),
        "available": show(wallet.balance - wallet.held, currency),
        "credit": show(wallet.credit, currency),
        "realized_profit": show(wallet.realized_profit, currency),
        "status": wallet.status,
        "created_at": wallet.created_at,
    }


def deposit_document(deposit: Deposit, *, wallet: str) -> dict[str, Any]:
    """A deposit as its owner sees it; `wallet` is the wallet's number."""
    return {
        "id": deposit.id,
        "wallet": wallet,
        "amount": show(deposit.amount, deposit.currency),
        "currency": deposit.currency,
        "status": deposit.status,
        "provider": deposit.provider,
        "transaction": deposit.transaction_id,
        "created_at": deposit.created_at,
        "expires_at": deposit.expires_at,
        "completed_at": deposit.completed_at,
    }


def withdrawal_document(withdrawal: Withdrawal, *, wallet: str, bank_account: BankAccount) -> dict[str, Any]:
    """A withdrawal as its owner sees it: who decided and why stays inside, since a reason can be a suspicion."""
    return {
        "id": withdrawal.id,
        "wallet": wallet,
        "bank_account": withdrawal.bank_account_id,
        "bank_account_last_four": bank_account.number_last_four,
        "amount": show(withdrawal.amount, withdrawal.currency),
        "currency": withdrawal.currency,
        "status": withdrawal.status,
        "transaction": withdrawal.transaction_id,
        "created_at": withdrawal.created_at,
        "updated_at": withdrawal.updated_at,
        "completed_at": withdrawal.completed_at,
    }


def transfer_document(transfer: Transfer, *, source: str, target: str) -> dict[str, Any]:
    """A transfer as its sender sees it."""
    return {
        "id": transfer.id,
        "transaction": transfer.transaction_id,
        "source": source,
        "target": target,
        "amount": show(transfer.amount, transfer.currency),
        "currency": transfer.currency,
        "status": "COMPLETED",
        "created_at": transfer.created_at,
    }


def bank_account_document(account: BankAccount) -> dict[str, Any]:
    """A bank account as its owner sees it: the number by its last four."""
    return {
        "id": account.id,
        "holder": account.holder,
        "bank_name": account.bank_name,
        "branch": account.branch,
        "code_type": account.code_type,
        "code": account.code,
        "number_last_four": account.number_last_four,
        "is_default": account.is_default,
        "created_at": account.created_at,
    }


def entry_document(entry: Entry) -> dict[str, Any]:
    """One line of a statement, with the balance after it; `moves` says whether it moved that, or the credit."""
    assert entry.balance_after is not None, "a statement is a gated wallet's"
    return {
        "id": entry.id,
        "number": entry.wallet_version,
        "transaction": entry.transaction_id,
        "type": entry.transaction.type,
        "reason": entry.reason,
        "moves": "CREDIT" if entry.reason in {Entry.Reason.CREDIT_IN, Entry.Reason.CREDIT_OUT} else "BALANCE",
        "amount": show(entry.amount, entry.currency),
        "currency": entry.currency,
        "balance_after": show(entry.balance_after, entry.currency),
        "reference": entry.transaction.reference,
        "posted_at": entry.posted_at,
    }
