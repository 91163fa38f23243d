"""
A provider's or a bank's statement against the books: the same payments, each once, with the same amount.

A statement is CSV in UTF-8 with a header, one payment a line:

    reference,amount,currency,booked_on
    pay_0001,100.00,USD,2026-03-02
    out_0007,-75.00,USD,2026-03-03

Money that came in is positive, and is matched with the deposits of that provider by `provider_reference`; money that
went out is negative, and is matched with withdrawals by `bank_reference`.
"""

from __future__ import annotations

import csv
import io
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from hashlib import sha256
from typing import NamedTuple
from uuid import UUID

from django.db import transaction
from django.db.models import Q

from config.back_office.reconciliation.findings import Comparison, Finding, amount
from config.back_office.reconciliation.models import Break
from core import snapshot
from core.errors import DomainError
from core.money import CURRENCIES
from wallets import payments
from wallets.models import Deposit, Withdrawal

Kind = Break.Kind

COLUMNS = ("reference", "amount", "currency", "booked_on")
BYTES_MAX = 50 * 1024 * 1024
LINES_MAX = 500_000
REFERENCE_CHARACTERS_MAX = 128
_AMOUNT = re.compile(r"\A-?[0-9]{1,12}(\.[0-9]{1,8})?\Z", re.ASCII)

#: A payment that was taken back later was there.
POSTED = ("COMPLETED", "REVERSED")

#: A reference, and whether the money came in.
Place = tuple[str, bool]


class StatementUnreadable(DomainError):
    code = "STATEMENT_UNREADABLE"
    message = "The statement cannot be read: {why}."
    status = 400


class Line(NamedTuple):
    """One payment on the statement."""

    reference: str
    amount: Decimal
    currency: str
    booked_on: date


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement as its file has it."""

    provider: str
    file_name: str
    digest: str
    lines: list[Line]


@dataclass(frozen=True, slots=True)
class Booked:
    """A payment in the books: signed like a statement's, what became of it, and where it is."""

    reference: str
    amount: Decimal
    currency: str
    status: str
    about: str
    id: UUID

    @classmethod
    def of(cls, row: Deposit | Withdrawal, reference: str, signed: Decimal) -> Booked:
        return cls(reference, signed, row.currency, row.status, row._meta.label_lower, row.pk)

    @property
    def is_posted(self) -> bool:
        return self.status in POSTED


# --- Reading --------------------------------------------------------------------------------------------------------


def read(content: bytes, *, provider: str, file_name: str) -> Statement:
    """
    A statement, or nothing: a line that cannot be read is no reason to compare the others.

    :raises StatementUnreadable: naming the first line that is not as it should be
    """
    if provider not in payments.PROVIDERS:
        raise StatementUnreadable(why=f"{provider} is none of {', '.join(payments.PROVIDERS)}")
    if len(content) > BYTES_MAX:
        raise StatementUnreadable(why=f"it has more than {BYTES_MAX} bytes")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise StatementUnreadable(why="it is not UTF-8") from error
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    lines: list[Line] = []
    try:
        header = next(rows, [])
        if tuple(name.strip() for name in header) != COLUMNS:
            raise StatementUnreadable(why=f"its columns are not {', '.join(COLUMNS)}")
        for row in rows:
            if row:
                lines.append(_line(row, rows.line_num))
            if len(lines) > LINES_MAX:
                raise StatementUnreadable(why=f"it has more than {LINES_MAX} lines")
    except csv.Error as error:
        raise StatementUnreadable(why=f"line {rows.line_num} is no CSV") from error
    if not lines:
        raise StatementUnreadable(why="it has no lines")
    return Statement(provider, file_name, sha256(content).hexdigest(), lines)


def _line(row: list[str], number: int) -> Line:
    unreadable = StatementUnreadable(why=f"line {number} is no payment")
    try:
        reference, figure, currency, booked_on = (cell.strip() for cell in row)
        day = date.fromisoformat(booked_on)
    except ValueError as error:
        raise unreadable from error
    is_named = 0 < len(reference) <= REFERENCE_CHARACTERS_MAX and "\x00" not in reference
    if not is_named or _AMOUNT.match(figure) is None or not Decimal(figure) or currency not in CURRENCIES:
        raise unreadable
    return Line(reference, Decimal(figure), currency, day)


# --- Comparing ------------------------------------------------------------------------------------------------------


def compare(statement: Statement, *, now: datetime) -> Comparison:
    """Hold a statement against what the books have of its payments, and of its days."""
    days = [line.booked_on for line in statement.lines]
    first, last = min(days), max(days)
    with transaction.atomic(durable=True):
        snapshot.take()
        booked = list(_booked(statement, first, last))
    findings = list(_differences(statement, booked, now))
    return Comparison(
        findings=findings,
        compared={
            "lines": len(statement.lines),
            "booked": len(booked),
            "from": first.isoformat(),
            "until": last.isoformat(),
        },
        provider=statement.provider,
        file_name=statement.file_name,
        file_digest=statement.digest,
    )


def _booked(statement: Statement, first: date, last: date) -> Iterator[Booked]:
    """What the statement names, whatever became of it here, and what was booked here on the statement's days."""
    since, until = (datetime.combine(day, time(), UTC) for day in (first, last + timedelta(days=1)))
    named = {line.reference for line in statement.lines}
    is_of_those_days = Q(status__in=POSTED, completed_at__gte=since, completed_at__lt=until)
    paid_in = Deposit.objects.filter(provider=statement.provider)
    for deposit in paid_in.filter(is_of_those_days | Q(provider_reference__in=named)).order_by("pk"):
        yield Booked.of(deposit, deposit.provider_reference or "", deposit.amount)
    if any(line.amount < 0 for line in statement.lines):
        paid_out = Withdrawal.objects.filter(is_of_those_days | Q(bank_reference__in=named))
        for withdrawal in paid_out.order_by("pk"):
            yield Booked.of(withdrawal, withdrawal.bank_reference, -withdrawal.amount)


def _differences(statement: Statement, booked: list[Booked], now: datetime) -> Iterator[Finding]:
    there: dict[Place, list[Line]] = defaultdict(list)
    here: dict[Place, list[Booked]] = defaultdict(list)
    for line in statement.lines:
        there[line.reference, line.amount > 0].append(line)
    for one in booked:
        here[one.reference or str(one.id), one.amount > 0].append(one)
    for place, lines in there.items():
        yield from _of_one_payment(f"{statement.provider} {place[0]}", lines, here.get(place, []), now)
    for place, rows in here.items():
        if place not in there:
            about, own = rows[0], _total(rows)
            subject, currency = f"{statement.provider} {place[0]}", about.currency
            yield Finding(
                Kind.MISSING_THERE, subject, own, "not on the statement", now, currency, about.about, about.id
            )


def _of_one_payment(subject: str, lines: list[Line], rows: list[Booked], now: datetime) -> Iterator[Finding]:
    """One reference, in one direction: as often there as here, and as much."""
    posted = [row for row in rows if row.is_posted]
    currency, said = lines[0].currency, _total(lines)
    about = (rows[0].about, rows[0].id) if rows else ("", None)
    if len(lines) > max(1, len(posted)):
        times = f"{len(lines)} times, {said} together"
        yield Finding(
            Kind.DUPLICATE, subject, "once" if len(posted) < 2 else f"{len(posted)} times", times, now, currency, *about
        )
    elif posted and _total(posted) != said:
        yield Finding(Kind.AMOUNT_DIFFERS, subject, said, _total(posted), now, currency, *about)
    if not posted:
        found = rows[0].status if rows else "not in the books"
        yield Finding(Kind.MISSING_HERE, subject, said, found, now, currency, *about)


def _total(payments: Sequence[Line] | Sequence[Booked]) -> str:
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for one in payments:
        sums[one.currency] += one.amount
    return " and ".join(amount(sums[currency], currency) for currency in sorted(sums))
