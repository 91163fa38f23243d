"""A transaction with everything that makes it up, what caused it and what vouches for it, read as of one moment."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import ForeignObjectRel, Model, QuerySet

from config.back_office.evidence.chains import Standing, standings
from core import snapshot
from core.audit import ActorKind
from core.errors import NotFound
from core.models import AuditEvent
from wallets.ledger import CREDITING
from wallets.models import Entry, LedgerTransaction, UnfoldedLeg

#: A posting has a handful of legs; a payout to a referrer has no more.
ENTRIES_MAX = 200
#: What names a transaction: one row as a rule, a payout's commissions at most.
CAUSES_MAX = 50
EVENTS_MAX = 50


@dataclass(frozen=True, slots=True)
class Side:
    """One entry as an auditor reads it."""

    entry: Entry
    balance_before: Decimal | None
    standing: Standing | None  # legs of the house have none
    is_unfolded: bool

    @property
    def is_house(self) -> bool:
        return self.entry.wallet_version is None


@dataclass(frozen=True, slots=True)
class Evidence:
    """A transaction and what belongs to it."""

    transaction: LedgerTransaction
    sides: list[Side]
    sums: dict[str, Decimal]
    causes: list[tuple[str, Model]]
    events: list[AuditEvent]
    reversed_by: UUID | None

    @property
    def is_balanced(self) -> bool:
        return len(self.sides) >= 2 and not any(self.sums.values())


def evidence(transaction_id: UUID) -> Evidence:
    """:raises NotFound: if there is no such transaction"""
    with snapshot.of_one_moment():
        posted = LedgerTransaction.objects.filter(pk=transaction_id).select_related("owner").first()
        if posted is None:
            raise NotFound
        entries = list(
            Entry.objects.filter(transaction=posted)
            .select_related("wallet", "wallet__owner")
            .order_by("id")[:ENTRIES_MAX]
        )
        standing = standings(entries)
        unfolded = set(
            UnfoldedLeg.objects.filter(pk__in=[entry.pk for entry in entries]).values_list("entry_id", flat=True)
        )
        sums: dict[str, Decimal] = defaultdict(Decimal)
        for entry in entries:
            sums[entry.currency] += entry.amount
        return Evidence(
            transaction=posted,
            sides=[
                Side(entry, _balance_before(entry), standing.get(entry.pk), entry.pk in unfolded) for entry in entries
            ],
            sums=dict(sums),
            causes=list(_causes(posted)),
            events=list(_events(posted)),
            reversed_by=LedgerTransaction.objects.filter(reverses=posted).values_list("pk", flat=True).first(),
        )


def _balance_before(entry: Entry) -> Decimal | None:
    if entry.balance_after is None:
        return None
    after: Decimal = entry.balance_after
    return after if entry.reason in CREDITING else after - entry.amount


def _causes(posted: LedgerTransaction) -> list[tuple[str, Model]]:
    """
    Whatever names the transaction as its own, in whichever room: a deposit, a deal, a swap, commissions, a bonus.

    Asked of the models, so that what is added later is found as well. Each is found by its key's own index.
    """
    found: list[tuple[str, Model]] = []
    for field in _references():
        model: Any = field.model
        rows: QuerySet[Any] = model.objects.filter(**{field.name: posted.pk}).order_by("pk")
        found += [(_role(field), row) for row in rows[:CAUSES_MAX]]
    return found


def _references() -> Iterator[Any]:
    """Every column that can name a transaction, and has an index to be found by."""
    for relation in LedgerTransaction._meta.get_fields(include_hidden=True):
        if not isinstance(relation, ForeignObjectRel):
            continue
        field: Any = relation.field
        if field.model not in {Entry, LedgerTransaction} and (field.db_index or field.unique):
            yield field


def _role(field: Any) -> str:
    kind = str(field.model._meta.verbose_name).capitalize()
    return kind if field.name == "transaction" else f"{kind}, its {field.verbose_name}"


def _events(posted: LedgerTransaction) -> QuerySet[AuditEvent]:
    """What was told under the same request; a command's name stands for all its runs, and tells nothing here."""
    if not posted.request_id or posted.actor_kind == ActorKind.SYSTEM:
        return AuditEvent.objects.none()
    return AuditEvent.objects.filter(request_id=posted.request_id).order_by("-id")[:EVENTS_MAX]
