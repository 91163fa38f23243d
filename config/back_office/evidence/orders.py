"""An order from the moment it was asked for to the last thing that came of it, in the order in which it happened."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Model, Q, QuerySet
from django.utils import timezone

from core import snapshot
from core.errors import NotFound
from core.models import AuditEvent, IdempotencyKey
from trading.explain import explain, explain_swap
from trading.margin import Line, plain
from trading.models import AccountChange, AccountWatch, Deal, MarginEvent, Order, Position, QuoteTick, Swap

#: Of each kind of row; a position that was closed in more parts, or held for more nights, says that there is more.
ROWS_MAX = 200
#: Changes are numbered by account and have no index by row, so this many of the account's last ones are looked through.
CHANGES_SEARCHED = 10_000

Fact = tuple[str, object]


@dataclass(frozen=True, slots=True)
class Section:
    """One figure of a deal: how it was computed, line by line, and whether it comes out as booked."""

    name: str
    lines: list[Line]
    agrees: bool


@dataclass(frozen=True, slots=True)
class Moment:
    """One thing that happened; `rows` are those it is told by."""

    at: datetime
    title: str
    variant: str
    facts: list[Fact] = field(default_factory=list)
    sections: list[Section] = field(default_factory=list)
    steps: list[dict[str, Any]] = field(default_factory=list)
    row: Model | None = None
    transaction: UUID | None = None


@dataclass(frozen=True, slots=True)
class Story:
    """An order and everything that came of it."""

    order: Order
    position: Position | None
    moments: list[Moment]
    key: IdempotencyKey | None
    is_whole: bool


def story(order_id: UUID) -> Story:
    """:raises NotFound: if there is no such order"""
    with snapshot.of_one_moment():
        order = Order.objects.select_related("account", "instrument", "owner").filter(pk=order_id).first()
        if order is None:
            raise NotFound
        position = Position.objects.filter(order=order).first()
        rows = _Rows.of(order, position)
        # Asked first, whatever the clock says: a deal can bear the time at which its prices were looked up.
        moments = [_asked(order), *sorted(_moments(order, rows), key=lambda moment: moment.at)]
        return Story(
            order=order,
            position=position,
            moments=moments,
            key=IdempotencyKey.objects.filter(owner=order.owner_id, digest=order.idempotency_digest).first(),
            is_whole=rows.are_whole,
        )


@dataclass(frozen=True, slots=True)
class _Rows:
    """What is read of an order, a bounded number of each kind."""

    deals: list[Deal]
    swaps: list[Swap]
    events: list[MarginEvent]
    changes: list[AccountChange]
    ticks: dict[int, QuoteTick]
    audit: list[AuditEvent]

    @classmethod
    def of(cls, order: Order, position: Position | None) -> _Rows:
        deals = _some(Deal.objects.filter(position=position)) if position else []
        swaps = _some(Swap.objects.filter(position=position)) if position else []
        subjects = [str(row.pk) for row in (order, position, *deals) if row is not None]
        named = Q()
        for label in {row._meta.label_lower for row in (order, position, *deals) if row is not None}:
            named |= Q(object_type=label, object_id__in=subjects)
        batches = {deal.batch for deal in deals if deal.batch is not None}
        ticks = QuoteTick.objects.filter(batch__in=batches, instrument=order.instrument_id) if batches else ()
        return cls(
            deals=deals,
            swaps=swaps,
            events=_some(_events(order, position)),
            changes=_some(_changes(order, position)),
            ticks={tick.batch_id: tick for tick in ticks},
            audit=_some(AuditEvent.objects.filter(named)),
        )

    @property
    def are_whole(self) -> bool:
        return all(len(rows) < ROWS_MAX for rows in (self.deals, self.swaps, self.events, self.changes, self.audit))


def _some(rows: QuerySet[Any]) -> list[Any]:
    return list(rows.order_by("pk")[:ROWS_MAX])


def _events(order: Order, position: Position | None) -> QuerySet[MarginEvent]:
    """What the account was told while the order waited and its position was open."""
    if position is not None:
        until = position.closed_at or timezone.now()
    else:
        until = timezone.now() if order.status == Order.Status.WORKING else order.updated_at
    return MarginEvent.objects.filter(account=order.account_id, created_at__range=(order.created_at, until))


def _changes(order: Order, position: Position | None) -> QuerySet[AccountChange]:
    latest = AccountWatch.objects.filter(pk=order.account_id).values_list("sequence", flat=True).first() or 0
    subjects = [order.pk] if position is None else [order.pk, position.pk]
    return AccountChange.objects.filter(
        account=order.account_id, sequence__gt=latest - CHANGES_SEARCHED, subject__in=subjects
    )


# --- What happened --------------------------------------------------------------------------------------------------


def _moments(order: Order, rows: _Rows) -> Iterator[Moment]:
    if order.status in {Order.Status.REJECTED, Order.Status.CANCELLED, Order.Status.EXPIRED}:
        yield _ended(order)
    for deal in rows.deals:
        yield _deal(deal, rows.ticks.get(deal.batch or 0))
    for swap in rows.swaps:
        yield _swap(swap)
    for event in rows.events:
        yield _margin_event(event)
    for change in rows.changes:
        title = f"{change.get_kind_display()} made or changed"
        yield Moment(change.changed_at, title, "default", [("Change of the account", change.sequence)])
    for told in rows.audit:
        facts: list[Fact] = [("Reason", told.reason)] if told.reason else []
        yield Moment(told.created_at, told.action, "default", facts, row=told)


def _asked(order: Order) -> Moment:
    wanted: list[Fact] = [
        ("Type", f"{order.type} {order.side} {plain(order.volume)} {order.instrument_id}"),
        ("Price", _price(order.price)),
        ("Expected price", _price(order.price_expected)),
        ("Stop loss", _price(order.stop_loss)),
        ("Take profit", _price(order.take_profit)),
        ("In force", f"{order.time_in_force} {order.expires_at or ''}".strip()),
    ]
    return Moment(order.created_at, "Asked for", "info", [fact for fact in wanted if fact[1]])


def _ended(order: Order) -> Moment:
    if order.status == Order.Status.REJECTED:
        numbers = [(name.replace("_", " "), value) for name, value in (order.reject_context or {}).items()]
        return Moment(order.updated_at, "Refused", "danger", [("Code", order.reject_code), *numbers])
    facts: list[Fact] = [("By", order.cancel_reason)] if order.cancel_reason else []
    return Moment(order.updated_at, str(order.get_status_display()).capitalize(), "warning", facts)


def _deal(deal: Deal, tick: QuoteTick | None) -> Moment:
    explained = explain(deal)
    quote, currency = explained["quote"], explained["currency"]
    facts: list[Fact] = [
        ("Price", plain(deal.price)),
        ("Volume", plain(deal.volume)),
        ("Quote it was made on", f"{quote['bid']} / {quote['ask']} from {quote['source']}, {quote['received_at']}"),
        ("Currency", currency),
    ]
    if deal.batch is not None:
        kept = "no longer kept" if tick is None else f"{plain(tick.bid)} / {plain(tick.ask)} from {tick.source}"
        facts.append((f"Price batch {deal.batch}", kept))
    sections = [
        Section(section["name"].replace("_", " "), section["lines"], section["booked"] == section["recomputed"])
        for section in explained["sections"]
    ]
    opened = deal.entry == Deal.Entry.IN
    title = f"{'Opened' if opened else 'Closed'} by {str(deal.get_cause_display()).replace('_', ' ').lower()}"
    variant = "danger" if deal.cause == Deal.Cause.STOP_OUT else "success"
    return Moment(deal.executed_at, title, variant, facts, sections, row=deal, transaction=deal.transaction_id)


def _swap(swap: Swap) -> Moment:
    lines, agrees = explain_swap(swap)
    facts: list[Fact] = [("Trading day", swap.night), ("Nights", swap.nights), ("Price", plain(swap.price))]
    section = Section("swap", lines, agrees)
    return Moment(
        swap.charged_at, "Held over night", "default", facts, [section], row=swap, transaction=swap.transaction_id
    )


def _margin_event(event: MarginEvent) -> Moment:
    report = event.report
    facts: list[Fact] = [("Price batch", event.batch), ("Equity", event.equity), ("Held", event.held)]
    for when in ("before", "after"):
        facts += [(f"{name.replace('_', ' ')} {when}", value) for name, value in report.get(when, {}).items()]
    title = str(event.get_kind_display()).replace("_", " ").capitalize()
    variant = "danger" if event.kind == MarginEvent.Kind.STOP_OUT else "warning"
    return Moment(event.created_at, title, variant, facts, steps=report.get("steps", []), row=event)


def _price(value: Any) -> str:
    return "" if value is None else plain(value)
