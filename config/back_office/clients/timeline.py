"""What happened to a client and what they did, of whatever kind, newest first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple
from uuid import UUID

from django.db.models import Model, QuerySet

from config.back_office.clients.looks import (
    ROWS,
    Look,
    Table,
    environment_label,
    listed,
    may_look_at,
    moment,
    money,
    number,
)
from config.back_office.clients.models import ClientNote
from config.back_office.clients.people import staff_names
from core.models import AuditEvent
from trading import selectors as trading
from trading.models import MarginEvent, Order
from wallets import selectors
from wallets.models import Deposit, Transfer, Withdrawal

CLIENT = "the client"

#: What is told of a change with its value; of everything else only that it was changed.
TOLD = ("status", "scope", "amount", "currency", "expires_at", "leverage", "environment")
#: Told by the note itself, which has a line of its own.
NOTED = "clients.note.added"


class Happening(NamedTuple):
    """One line: the row it comes from, when, what, and who it was by: an id of staff, or words."""

    row: Any
    at: Any
    what: str
    details: str
    who: UUID | str
    environment: str = ""


def _audit_event(row: AuditEvent) -> Happening:
    """What was changed may be personal; it stands on the event's own page, for those who may look at that."""
    after = {**dict.fromkeys(row.before or {}), **(row.after or {})}
    changed = listed(
        f"{name}: {value}" if name in TOLD and value is not None else name for name, value in sorted(after.items())
    )
    details = "; ".join(filter(None, (changed, row.reason)))
    by_client = row.actor_id is None or row.actor_id == row.owner
    return Happening(row, row.created_at, row.action, details, CLIENT if by_client else row.actor_id or "")


def _order(row: Order) -> Happening:
    details = f"{row.side} {number(row.volume)} {row.instrument_id}, {row.status} {row.reject_code}".rstrip()
    return Happening(row, row.created_at, f"{row.type} order", details, CLIENT, row.account.environment)


def _margin_event(row: MarginEvent) -> Happening:
    details = f"equity {money(row.equity, row.account.currency)}"
    return Happening(row, row.created_at, row.kind, details, "the desk", row.account.environment)


def _deposit(row: Deposit) -> Happening:
    details = f"{money(row.amount, row.currency)} into {row.wallet.number}, {row.status}"
    return Happening(row, row.created_at, "Deposit", details, CLIENT, row.wallet.environment)


def _withdrawal(row: Withdrawal) -> Happening:
    details = f"{money(row.amount, row.currency)} from {row.wallet.number} to {row.bank_account}, {row.status}"
    return Happening(row, row.created_at, "Withdrawal", details, CLIENT, row.wallet.environment)


def _transfer(row: Transfer) -> Happening:
    details = f"{money(row.amount, row.currency)} from {row.source.number} to {row.target.number}"
    return Happening(row, row.created_at, "Transfer", details, CLIENT, row.source.environment)


def _note(row: ClientNote) -> Happening:
    return Happening(row, row.created_at, "Note", row.text, row.author.name)


class Source(NamedTuple):
    """Where lines come from: a table whose rows have an owner, an index by owner and id, and an id that tells time."""

    model: type[Model]
    rows: Callable[[UUID], QuerySet[Any]]
    tell: Callable[[Any], Happening]


SOURCES = (
    Source(AuditEvent, lambda owner: AuditEvent.objects.filter(owner=owner), _audit_event),
    Source(Order, trading.orders, _order),
    Source(MarginEvent, trading.margin_events, _margin_event),
    Source(Deposit, selectors.deposits, _deposit),
    Source(Withdrawal, selectors.withdrawals, _withdrawal),
    Source(Transfer, selectors.transfers, _transfer),
    Source(ClientNote, lambda owner: ClientNote.objects.select_related("author").filter(owner_id=owner), _note),
)


def timeline(look: Look) -> list[Table]:
    """
    The newest lines of everything this member of staff may see, or those before the id that the request names.

    An id carries the moment it was made in, so one id says where every list goes on. Each gives at most as many rows
    as the page has, and one that tells whether there are more.
    """
    happenings = [
        source.tell(row)
        for source in SOURCES
        if may_look_at(look.request, source.model)
        for row in look.before("before", source.rows(look.client.pk))[: ROWS + 1]
    ]
    happenings.sort(key=lambda one: one.row.pk, reverse=True)
    shown = happenings[:ROWS]
    has_notes = look.may("clients.view_clientnote")
    told = [one for one in shown if not (has_notes and one.what == NOTED)]
    names = staff_names(one.who for one in told if isinstance(one.who, UUID))
    return [
        Table(
            "Timeline",
            ("Time", "What", "Environment", "Details", "Who"),
            [
                [
                    moment(one.at),
                    look.to(one.row, one.what),
                    environment_label(one.environment) if one.environment else "",
                    one.details,
                    names.get(one.who, str(one.who)) if isinstance(one.who, UUID) else one.who,
                ]
                for one in told
            ],
            older=look.link("timeline", before=shown[-1].row.pk) if len(happenings) > ROWS else "",
            newest=look.link("timeline") if "before" in look.request.GET else "",
        )
    ]
