"""A statement adds up on its own: what was there, everything that moved, what is there now."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from django.db.models import QuerySet, Sum

from accounts.models import TradingAccount, User
from config.back_office.exports.periods import Period
from core import snapshot
from core.errors import DomainError, NotFound
from core.money import book
from wallets import selectors
from wallets.models import HOUSE_KINDS, ZERO, Entry, Wallet

#: About 180 pages; nobody reads more of them, and a file with more figures is a table.
LINES_MAX = 10_000

#: What moves a wallet's credit and leaves its balance as it was.
CREDITING = (Entry.Reason.CREDIT_IN, Entry.Reason.CREDIT_OUT)


class StatementTooLong(DomainError):
    code = "STATEMENT_TOO_LONG"
    message = "This period has more than {max} lines; choose a shorter one, or export the client, which has no limit."


class Line(NamedTuple):
    """One posting, with the balance after it; `balance` and `amount` at the currency's minor unit."""

    number: int
    posted_at: datetime
    type: str
    reason: str
    amount: Decimal
    balance: Decimal


class Total(NamedTuple):
    """What all lines of one reason come to."""

    reason: str
    lines: int
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Statement:
    """One wallet over one period; `closing` is `opening` and the amount of every line that moves the balance."""

    wallet: Wallet
    client: User
    account: TradingAccount | None
    period: Period
    opening: Decimal
    lines: tuple[Line, ...]
    closing: Decimal

    def totals(self) -> list[Total]:
        """By reason, in alphabetical order."""
        amounts: dict[str, list[Decimal]] = defaultdict(list)
        for line in self.lines:
            amounts[line.reason].append(line.amount)
        return [Total(reason, len(found), sum(found, ZERO)) for reason, found in sorted(amounts.items())]


def statement(number: str, period: Period) -> Statement:
    """
    A client's wallet over a period, all of it seen at one moment.

    Lines come in the order in which they were posted. The balance after each is reckoned from the opening one, so the
    figures add up in every period: at its very edge two postings may carry times that are not in that order.

    :raises NotFound: if no client has a wallet of this number
    :raises StatementTooLong: if it has more than LINES_MAX lines
    """
    with snapshot.of_one_moment():
        wallet = Wallet.objects.select_related("owner").filter(number=number).exclude(kind__in=HOUSE_KINDS).first()
        if wallet is None:
            raise NotFound
        entries = selectors.entries(wallet)
        within = entries.filter(posted_at__gte=period.start, posted_at__lt=period.end).order_by("wallet_version")
        found = list(within[: LINES_MAX + 1])
        if len(found) > LINES_MAX:
            raise StatementTooLong(max=LINES_MAX)
        opening = _balance(entries.filter(posted_at__lt=period.start), wallet.currency)
        account = TradingAccount.objects.filter(wallet=wallet).first()
    lines = tuple(_lines(found, opening))
    closing = lines[-1].balance if lines else opening
    return Statement(wallet, wallet.owner, account, period, opening, lines, closing)


def _balance(entries: QuerySet[Entry], currency: str) -> Decimal:
    total: Decimal | None = entries.exclude(reason__in=CREDITING).aggregate(total=Sum("amount"))["total"]
    return book(total or ZERO, currency)


def _lines(entries: Iterable[Entry], opening: Decimal) -> Iterable[Line]:
    balance = opening
    for entry in entries:
        amount = book(entry.amount, entry.currency)
        balance += ZERO if entry.reason in CREDITING else amount
        yield Line(
            number=entry.wallet_version or 0,
            posted_at=entry.posted_at,
            type=entry.transaction.type,
            reason=entry.reason,
            amount=amount,
            balance=balance,
        )
