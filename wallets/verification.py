"""A ledger that is not checked is only a promise: every figure is computed again from what it stands on."""

from __future__ import annotations

import importlib
import itertools
import pkgutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from importlib.util import find_spec
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

from django.apps import apps
from django.db import transaction

from core import snapshot
from core.idempotency import OPERATIONS
from wallets import seals
from wallets.ledger import CREDITING, link
from wallets.models import Seal

#: Breaks of one check that are told in full; the rest are counted. A million broken rows have one cause, not a million.
BREAKS_TOLD_MAX = 100

#: Checks that are one query each: every row it returns is a break (what, and what is wrong with it).
QUERIES = {path.stem: path.read_text() for path in sorted((Path(__file__).parent / "sql" / "verify").glob("*.sql"))}

#: Checks that walk every client wallet's chain, link by link.
GAPLESS, RUNNING, DIGESTS, HEADS = "versions_gapless", "balance_after_chain", "digest_chain", "head_matches"
KEYS = "keys_completed_have_their_effect"
CHECKS = (*QUERIES, GAPLESS, RUNNING, DIGESTS, HEADS, KEYS, seals.GENUINE, seals.STANDING)

Progress = Callable[[str, int, int], None]


class Break(NamedTuple):
    """One figure that does not follow from what it stands on; `check` names the rule and never changes."""

    check: str
    subject: str
    detail: str


@dataclass(slots=True)
class Report:
    """What a verification looked at and what it found."""

    checked: dict[str, int] = field(default_factory=dict)
    found: Counter[str] = field(default_factory=Counter)
    breaks: list[Break] = field(default_factory=list)
    seal: str | None = None
    seconds: Decimal = Decimal(0)

    def add(self, check: str, subject: str, detail: str) -> None:
        assert check in CHECKS
        self.found[check] += 1
        if self.found[check] <= BREAKS_TOLD_MAX:
            self.breaks.append(Break(check, subject, detail))

    @property
    def rate(self) -> int:
        """Entries per second."""
        return int(self.checked["entries"] / self.seconds) if self.seconds else 0

    def document(self) -> dict[str, Any]:
        """The report as JSON may carry it."""
        return {
            "checked": self.checked,
            "seconds": format(self.seconds, "f"),
            "rate": self.rate,
            "seal": self.seal,
            "checks": {check: self.found[check] for check in CHECKS},
            "breaks": [found._asdict() for found in self.breaks],
        }


def verify_ledger(*, on_progress: Progress = lambda _step, _done, _total: None) -> Report:
    """
    Check the whole ledger as of one moment, without locking anything.

    `on_progress` is told what is being done, how many chained entries have been walked, and how many there are.
    """
    report, started = Report(), time.monotonic()
    newest = seals.newest_export()
    with transaction.atomic(durable=True):
        snapshot.take()
        report.checked = _count()
        ((total,),) = snapshot.stream(_CHAINED_SQL)
        for check, query in QUERIES.items():
            on_progress(check, 0, total)
            for subject, detail in snapshot.stream(query):
                report.add(check, subject, detail)
        on_progress(KEYS, 0, total)
        _check_keys(report)
        on_progress("chains", 0, total)
        _check_chains(report, lambda done: on_progress("chains", done, total))
        on_progress("seals", total, total)
        _check_seals(report, newest)
    report.seconds = Decimal(time.monotonic() - started).quantize(Decimal("0.001"))
    return report


# --- Counting -------------------------------------------------------------------------------------------------------

_COUNTED = {
    "wallets": "wallets_wallet",
    "transactions": "wallets_ledgertransaction",
    "entries": "wallets_entry",
    "unfolded_legs": "wallets_unfoldedleg",
    "deposits": "wallets_deposit",
    "withdrawals": "wallets_withdrawal",
    "transfers": "wallets_transfer",
    "adjustments": "wallets_adjustment",
    "keys": "core_idempotencykey",
    "seals": "wallets_seal",
}


def _count() -> dict[str, int]:
    counts = ", ".join(f"(SELECT count(*) FROM {table})" for table in _COUNTED.values())  # noqa: S608 - constants
    (row,) = snapshot.stream(f"SELECT {counts}")
    return dict(zip(_COUNTED, row, strict=True))


# --- Chains ---------------------------------------------------------------------------------------------------------

_CHAINED_SQL = "SELECT coalesce(sum(version), 0)::bigint FROM wallets_wallet"
_WALLETS_SQL = """
SELECT id, number, version, head FROM wallets_wallet WHERE kind IN ('CASH', 'MARGIN') ORDER BY id
"""
_ENTRIES_SQL = """
SELECT wallet_id, wallet_version, transaction_id, reason, amount, balance_after, digest, posted_at
  FROM wallets_entry
 WHERE wallet_version IS NOT NULL AND balance_after IS NOT NULL AND digest IS NOT NULL
 ORDER BY wallet_id, wallet_version
"""


class Link(NamedTuple):
    """An entry of a gated wallet, as its chain sees it."""

    wallet: UUID
    version: int
    transaction: UUID
    reason: str
    amount: Decimal
    balance_after: Decimal
    digest: bytes
    posted_at: datetime


_NO_CHAIN: tuple[UUID | None, Iterator[Link]] = (None, iter(()))


def _check_chains(report: Report, on_walked: Callable[[int], None]) -> None:
    """Walk wallets and entries side by side, both in order of wallet id: nothing is kept but the wallet at hand."""
    done = 0
    chains = itertools.groupby(map(Link._make, snapshot.stream(_ENTRIES_SQL)), key=attrgetter("wallet"))
    chained, links = next(chains, _NO_CHAIN)
    for wallet, number, version, head in snapshot.stream(_WALLETS_SQL):
        while chained is not None and chained < wallet:  # not a client's wallet: `entries_fit_their_wallets` tells
            chained, links = next(chains, _NO_CHAIN)
        done += _walk(report, f"wallet {number}", links if chained == wallet else iter(()), version, head)
        on_walked(done)


def _walk(report: Report, subject: str, links: Iterator[Link], version: int, head: bytes) -> int:
    """Follow one chain from its beginning; a wrong link is told once, since everything after it rests on it."""
    walked, balance, digest = 0, Decimal(0), bytes(32)
    is_gapless = is_intact = True
    for entry in links:
        walked += 1
        if is_gapless and entry.version != walked:
            is_gapless = False
            report.add(GAPLESS, subject, f"its entry number {walked} has version {entry.version}")
        if not balance_follows(entry, balance):
            detail = (
                f"{balance} and {entry.amount} ({entry.reason}) make {entry.balance_after} at version {entry.version}"
            )
            report.add(RUNNING, subject, detail)
        if is_intact and not digest_follows(entry, digest):
            is_intact = False
            report.add(DIGESTS, subject, f"its link at version {entry.version} does not follow from the one before")
        balance, digest = entry.balance_after, entry.digest
    if is_gapless and version != walked:
        report.add(GAPLESS, subject, f"it is at version {version} and has {walked} entries")
    if head != digest:
        report.add(HEADS, subject, f"its head is {head.hex()[:16]}…, its last link {digest.hex()[:16]}…")
    return walked


def balance_follows(entry: Link, balance: Decimal) -> bool:
    """
    Whether the balance after an entry is what was there before and what the entry moved.

    Whether an entry moved the balance is part of the chain, by the balance after it: a reason that is changed into
    credit, or out of it, shows here.
    """
    return entry.balance_after == (balance if entry.reason in CREDITING else balance + entry.amount)


def digest_follows(entry: Link, digest: bytes) -> bool:
    """Whether an entry's digest is that of its own facts and of the digest before it."""
    return entry.digest == link(
        digest,
        wallet=entry.wallet,
        version=entry.version,
        transaction=entry.transaction,
        amount=entry.amount,
        balance_after=entry.balance_after,
        posted_at=entry.posted_at,
    )


# --- Keys -----------------------------------------------------------------------------------------------------------

_OPEN_KEYS_SQL = "SELECT id, status FROM core_idempotencykey WHERE status NOT IN ('COMPLETED', 'FAILED')"
_REFUSED_KEYS_SQL = """
SELECT k.id, t.id
  FROM core_idempotencykey k
  JOIN wallets_ledgertransaction t ON t.owner_id = k.owner AND t.idempotency_digest = k.digest
 WHERE k.status = 'FAILED'
"""
_OPERATIONS_SQL = "SELECT DISTINCT operation FROM core_idempotencykey WHERE status = 'COMPLETED'"
_EFFECTS_SQL = """
SELECT k.id, k.effect_id, e.id
  FROM core_idempotencykey k
  LEFT JOIN {table} e ON e.owner_id = k.owner AND e.idempotency_digest = k.digest
 WHERE k.status = 'COMPLETED' AND k.operation = %s AND (e.id IS NULL OR k.effect_id IS DISTINCT FROM e.id)
"""


def _check_keys(report: Report) -> None:
    """A completed key did what it says, a refused one moved nothing, and none was committed half-way."""
    for key, status in snapshot.stream(_OPEN_KEYS_SQL):
        report.add(KEYS, f"key {key}", f"committed as {status}")
    for key, posted in snapshot.stream(_REFUSED_KEYS_SQL):
        report.add(KEYS, f"key {key}", f"refused, yet transaction {posted} was posted for it")
    _load_operations()
    for (name,) in list(snapshot.stream(_OPERATIONS_SQL)):
        operation = OPERATIONS.get(name)
        if operation is None:
            report.add(KEYS, f"operation {name}", "no service declares it")
        elif operation.effect_table is not None:
            # The table's name is one of our own constants, never input.
            for key, named, effect in snapshot.stream(_EFFECTS_SQL.format(table=operation.effect_table), [name]):
                found = "there is none" if effect is None else f"its effect is {effect}"
                report.add(KEYS, f"key {key}", f"{name} completed with effect {named}, but {found}")


def _load_operations() -> None:
    """Import every service, so that what each declares is known; the rooms above this one stay unnamed."""
    for config in apps.get_app_configs():
        name = f"{config.name}.services"
        if find_spec(name) is None:
            continue
        package = importlib.import_module(name)
        for module in pkgutil.iter_modules(getattr(package, "__path__", ()), prefix=f"{name}."):
            importlib.import_module(module.name)


# --- Seals ----------------------------------------------------------------------------------------------------------


def _check_seals(report: Report, newest: Path | None) -> None:
    seal = Seal.objects.order_by("sealed_at", "id").last()
    report.seal = str(seal.id) if seal is not None else None
    for flaw in seals.examine(seal, newest, key=seals.public_key()):
        report.add(*flaw)
