"""What can be asked about accounts, prices, orders and positions without changing any of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet
from django.db.models.expressions import RawSQL
from django.utils import timezone

from accounts.models import TradingAccount
from core import db, metrics, rows
from core.ids import uuid7_at
from trading import prices
from trading.errors import (
    InstrumentNotFound,
    OrderNotFound,
    PositionNotFound,
    SequenceUnknown,
    TradingAccountNotFound,
)
from trading.margin import Side
from trading.market import Book, Market, OpenPosition, Tick, WorkingOrder
from trading.models import (
    OWES_NIGHTS,
    AccountChange,
    AccountWatch,
    Deal,
    Instrument,
    MarginEvent,
    Order,
    Position,
    PriceBatch,
    QuoteTick,
    Swap,
)
from trading.terms import terms

_BATCH_NOW = "(SELECT c.number FROM trading_priceclock c WHERE c.id = 1)"
_PRICES_AT_SQL = """
SELECT i.symbol, t.bid, t.ask, t.source, t.quoted_at, t.received_at, t.sequence, t.batch
  FROM trading_instrument i
 CROSS JOIN LATERAL (
       SELECT * FROM trading_quotetick q
        WHERE q.symbol = i.symbol AND q.batch <= %(batch)s::bigint ORDER BY q.batch DESC LIMIT 1) t
"""
# A batch that was purged is as old as whatever came next.
_RECEIVED_AT_SQL = """
SELECT coalesce((SELECT b.received_at FROM trading_pricebatch b WHERE b.number = %(batch)s::bigint),
                (SELECT min(b.received_at) FROM trading_pricebatch b WHERE b.number > %(batch)s::bigint),
                (SELECT max(q.received_at) FROM trading_quote q))
"""


def market(now: datetime, stamp: prices.Stamp | None = None) -> Market:
    """Every instrument with its hours, leverage caps and latest price; `stamp` as it was read meanwhile, if it was."""
    latest = prices.latest(stamp)
    return _market(latest.stamp.terms, latest.ticks, now=now, batch=latest.stamp.batch)


def market_at(batch: int) -> Market:
    """
    The market as it was when a price batch had just become known; its `now` is when that batch was received.

    An instrument whose price of that time is purged, or that had none yet, has its latest one, which is of no batch.
    """
    ((now,),) = db.fetch_all(_RECEIVED_AT_SQL, {"batch": batch})
    stamp, ticks = prices.latest()
    then = {symbol: Tick(*tick) for symbol, *tick in db.fetch_all(_PRICES_AT_SQL, {"batch": batch})}
    return _market(stamp.terms, {**ticks, **then}, now=now, batch=batch)


def _market(version: UUID, ticks: Mapping[str, Tick], *, now: datetime, batch: int) -> Market:
    known = terms(version, now)
    return Market(
        instruments=known.instruments,
        ticks={symbol: tick for symbol, tick in ticks.items() if symbol in known.instruments},
        now=now,
        batch=batch,
        schedules=known.schedules,
        leverage_caps=known.leverage_caps,
    )


def trading_account(owner: UUID, number: str) -> TradingAccount:
    """:raises TradingAccountNotFound: if it does not exist or belongs to somebody else"""
    account = TradingAccount.objects.select_related("wallet").filter(owner_id=owner, number=number).first()
    if account is None:
        raise TradingAccountNotFound(number=number)
    return account


def instruments() -> QuerySet[Instrument]:
    return Instrument.objects.select_related("latest")


def instrument(symbol: str) -> Instrument:
    """:raises InstrumentNotFound: if there is none"""
    found = instruments().filter(symbol=symbol).first()
    if found is None:
        raise InstrumentNotFound(symbol=symbol)
    return found


def quote_history(symbol: str) -> QuerySet[QuoteTick]:
    """Every price the desk had of an instrument, as far back as they are kept."""
    return QuoteTick.objects.filter(instrument_id=symbol)


def price_at(symbol: str, moment: datetime) -> Tick | None:
    """
    The price that was the latest of an instrument at a moment of our clock; None if it had none, or it is purged.

    How old it was then is the caller's to judge: a market that was closed has its last price from before.
    """
    behind = uuid7_at(moment + timedelta(microseconds=1), 0)
    row = QuoteTick.objects.filter(instrument_id=symbol, id__lt=behind).order_by("-id").first()
    return None if row is None else Tick(row.bid, row.ask, row.source, row.quoted_at, row.received_at, row.sequence)


# Compared as pairs, so that the one index to walk is the one by symbol: by id alone, a symbol without prices would have
# all of history read in vain. The pair before a symbol's first price is another symbol's, and is no answer.
_TICKS_AT = """
SELECT t.symbol, t.bid, t.ask, t.source, t.quoted_at, t.received_at, t.sequence
  FROM trading_instrument i
 CROSS JOIN LATERAL (
       SELECT * FROM trading_quotetick q
        WHERE (q.symbol, q.id) < (i.symbol, %(behind)s::uuid) ORDER BY q.symbol DESC, q.id DESC LIMIT 1) t
 WHERE t.symbol = i.symbol
"""


def ticks_at(moment: datetime) -> dict[str, Tick]:
    """`price_at` for every instrument, in one query; those that had no price then are not there."""
    behind = uuid7_at(moment + timedelta(microseconds=1), 0)
    return {symbol: Tick(*tick) for symbol, *tick in db.fetch_all(_TICKS_AT, {"behind": behind})}


def price_batches(*, after: int) -> QuerySet[PriceBatch]:
    """The batches behind a number, in the order in which they became known: see `PriceBatch` for what that promises."""
    return PriceBatch.objects.filter(number__gt=after).order_by("number")


def orders(owner: UUID) -> QuerySet[Order]:
    return Order.objects.select_related("account", "position").filter(owner_id=owner)


def order(owner: UUID, order_id: UUID) -> Order:
    """:raises OrderNotFound: if it does not exist or belongs to somebody else"""
    found = orders(owner).filter(pk=order_id).first()
    if found is None:
        raise OrderNotFound
    return found


def positions(owner: UUID) -> QuerySet[Position]:
    return Position.objects.select_related("account").filter(owner_id=owner)


def position(owner: UUID, position_id: UUID) -> Position:
    """:raises PositionNotFound: if it does not exist or belongs to somebody else"""
    found = positions(owner).select_related("account__wallet").filter(pk=position_id).first()
    if found is None:
        raise PositionNotFound
    return found


def swaps(owner: UUID, position_id: UUID) -> QuerySet[Swap]:
    """:raises PositionNotFound: if there is no such position for this client"""
    return Swap.objects.select_related("account").filter(owner_id=owner, position=position(owner, position_id))


def deals(owner: UUID) -> QuerySet[Deal]:
    return Deal.objects.select_related("account", "position").filter(owner_id=owner)


def margin_events(owner: UUID) -> QuerySet[MarginEvent]:
    return MarginEvent.objects.select_related("account").filter(owner_id=owner)


def accounts_owing_nights(until: datetime) -> QuerySet[Position, UUID]:
    """The accounts with positions that may owe a night up to this moment, each once, by id."""
    ids = Position.objects.filter(_owing_nights(until)).values_list("account_id", flat=True)
    return ids.distinct().order_by("account_id")


def positions_owing_nights(account: UUID, until: datetime) -> QuerySet[Position]:
    """An account's positions that may owe a night up to this moment."""
    return Position.objects.filter(_owing_nights(until), account_id=account)


def _owing_nights(until: datetime) -> Q:
    return OWES_NIGHTS & (Q(rollover_due_at__isnull=True) | Q(rollover_due_at__lte=until))


def reductions(positions: Sequence[Position]) -> dict[UUID, list[tuple[datetime, Decimal]]]:
    """What was closed of each of these positions and when; one that is still whole is not asked about."""
    touched = [position.id for position in positions if position.volume != position.volume_initial]
    rows = Deal.objects.filter(position_id__in=touched, entry=Deal.Entry.OUT).order_by("executed_at", "id")
    parts: dict[UUID, list[tuple[datetime, Decimal]]] = {}
    for position_id, executed_at, volume in rows.values_list("position_id", "executed_at", "volume"):
        parts.setdefault(position_id, []).append((executed_at, volume))
    return parts


def nights_charged(positions: Sequence[Position]) -> dict[UUID, set[date]]:
    """The nights that each of these positions has been charged for, of those that a sweep may look at again."""
    if not positions:
        return {}
    oldest = min(position.rollover_due_at or position.opened_at for position in positions)
    rows = Swap.objects.filter(position__in=positions, night__gte=(oldest - timedelta(days=2)).date())
    nights: dict[UUID, set[date]] = {}
    for position_id, night in rows.values_list("position_id", "night"):
        nights.setdefault(position_id, set()).add(night)
    return nights


# A book is read by one statement, so that it is of one moment even without the lock under which it is usually read.
_POSITIONS = """
(SELECT coalesce(jsonb_agg(jsonb_build_array(p.id, p.number, p.symbol, p.side, p.volume::text, p.price_open::text,
                                             p.margin_locked::text) ORDER BY p.id), '[]')
   FROM trading_position p WHERE p.account_id = {account} AND p.status = 'OPEN')
"""
_ORDERS = """
(SELECT coalesce(jsonb_agg(jsonb_build_array(o.id, o.symbol, o.side, o.volume::text, o.margin_reserved::text)
                           ORDER BY o.id), '[]')
   FROM trading_order o WHERE o.account_id = {account} AND o.status = 'WORKING')
"""
_CALLED_AT = "(SELECT w.called_at FROM trading_accountwatch w WHERE w.account_id = {account})"
_SEQUENCE = "(SELECT w.sequence FROM trading_accountwatch w WHERE w.account_id = {account})"
_NUMBER = "nextval('trading_position_number_seq')"
_BOOK = f"{_POSITIONS}, {_ORDERS}, {_CALLED_AT}, {_SEQUENCE}".format(account="%(account)s::uuid")
_BOOK_SQL = f"SELECT {_BOOK}"
_BOOK_TO_OPEN_IN_SQL = f"{_BOOK_SQL}, {_NUMBER}"


def book(account: UUID) -> Book:
    """What an account has open and waiting."""
    return _book(*db.fetch_all(_BOOK_SQL, {"account": account})[0])


def book_to_open_in(account: UUID) -> tuple[Book, int]:
    """The book, and the number of the position that is opened next: a round trip less than asking for each."""
    *book, number = db.fetch_all(_BOOK_TO_OPEN_IN_SQL, {"account": account})[0]
    return _book(*book), number


def locked_position_and_book(position_id: UUID, account: UUID) -> tuple[Position, Book]:
    """
    A position whose wallet the caller has locked, locked as well, and the book that it is in, as they are now.

    :raises PositionNotFound: if it is in another account
    """
    where = "t.id = %(id)s::uuid AND t.account_id = %(account)s::uuid ORDER BY t.id FOR NO KEY UPDATE"
    found = rows.select_with(Position, where, also=_BOOK, id=position_id, account=account)
    if found is None:
        raise PositionNotFound
    position, columns = found
    return position, _book(*columns)


def next_position_number() -> int:
    """A public number that no other position has; gaps are normal."""
    ((number,),) = db.fetch_all(f"SELECT {_NUMBER}", {})
    return int(number)


# What an account is worth joins more tables yet; read by one statement, they are of one moment without any lock.
_COLUMN = "accounts_tradingaccount.id"
_TICKS_NOW = """
(SELECT coalesce(jsonb_agg(jsonb_build_array(q.symbol, q.bid::text, q.ask::text, q.source, q.quoted_at, q.received_at,
                                             q.sequence)), '[]')
   FROM trading_quote q)
"""


def valued_accounts(owner: UUID, now: datetime) -> list[tuple[TradingAccount, Book, Market]]:
    """A client's accounts with their wallets, books and the market, all of one moment, oldest first."""
    known = {instrument.symbol: instrument for instrument in Instrument.objects.all()}
    parts = {
        "positions_now": _POSITIONS,
        "orders_now": _ORDERS,
        "called_now": _CALLED_AT,
        "sequence_now": _SEQUENCE,
        "ticks_now": _TICKS_NOW,
        "batch_now": _BATCH_NOW,
    }
    columns = {name: RawSQL(sql.format(account=_COLUMN), ()) for name, sql in parts.items()}  # noqa: S611 - no input
    rows: Any = (
        TradingAccount.objects.select_related("wallet").filter(owner_id=owner).order_by("id").annotate(**columns)
    )
    return [
        (
            account,
            _book(account.positions_now, account.orders_now, account.called_now, account.sequence_now),
            Market(
                instruments=known,
                ticks=dict(_tick(row) for row in _parsed(account.ticks_now)),
                now=now,
                batch=account.batch_now,
            ),
        )
        for account in rows
    ]


def _book(positions: Any, orders: Any, called_at: datetime | None, sequence: int | None) -> Book:
    return Book(
        positions=tuple(
            OpenPosition(UUID(id_), number, symbol, Side(side), Decimal(volume), Decimal(price_open), Decimal(locked))
            for id_, number, symbol, side, volume, price_open, locked in _parsed(positions)
        ),
        orders=tuple(
            WorkingOrder(UUID(id_), symbol, Side(side), Decimal(volume), Decimal(reserved))
            for id_, symbol, side, volume, reserved in _parsed(orders)
        ),
        called_at=called_at,
        sequence=sequence or 0,
    )


def _tick(row: list[Any]) -> tuple[str, Tick]:
    symbol, bid, ask, source, quoted_at, received_at, sequence, *batch = row
    return symbol, Tick(
        bid=Decimal(bid),
        ask=Decimal(ask),
        source=source,
        quoted_at=datetime.fromisoformat(quoted_at),
        received_at=datetime.fromisoformat(received_at),
        sequence=sequence,
        batch=batch[0] if batch else 0,
    )


def _parsed(document: Any) -> Any:
    return json.loads(document) if isinstance(document, str) else document


@dataclass(frozen=True, slots=True)
class Changes:
    """
    The rows of an account that changed behind a number, up to `sequence`; `latest` is the number of its last change.

    Each row is there once, as it is now, in the order of its last change up to `sequence`.
    """

    account: TradingAccount
    since: int
    sequence: int
    latest: int
    rows: Mapping[AccountChange.Kind, Sequence[Any]]


def changes(account: TradingAccount, *, since: int, limit: int) -> Changes:
    """
    What changed of an account behind the number `since`: at most `limit` changes, gapless.

    Call it inside `snapshot.of_one_moment`, or what it returns is of several.

    :raises SequenceUnknown: if the account never came to that number, or what follows on it was purged
    """
    numbered = AccountChange.objects.filter(account=account)
    latest = AccountWatch.objects.filter(account=account).values_list("sequence", flat=True).first() or 0
    rows = numbered.filter(sequence__gt=since).order_by("sequence").values_list("sequence", "kind", "subject")
    # Purgers side by side, or web servers whose clocks differ, can leave older rows behind newer holes.
    found = [row for place, row in enumerate(rows[:limit], start=1) if row[0] == since + place]
    if since > latest or (since < latest and not found):
        earliest = numbered.order_by("sequence").values_list("sequence", flat=True).first() or latest + 1
        raise SequenceUnknown(number=account.number, since=since, earliest=earliest - 1, latest=latest)
    ids: dict[AccountChange.Kind, dict[UUID, None]] = {kind: {} for kind in AccountChange.Kind}
    for _, kind, subject in found:
        in_order = ids[AccountChange.Kind(kind)]
        in_order.pop(subject, None)  # its last change counts
        in_order[subject] = None
    return Changes(
        account=account,
        since=since,
        sequence=since + len(found),
        latest=latest,
        rows={kind: _rows(account.owner_id, kind, list(of_kind)) for kind, of_kind in ids.items()},
    )


def _rows(owner: UUID, kind: AccountChange.Kind, ids: list[UUID]) -> list[Any]:
    if not ids:
        return []
    queries: dict[AccountChange.Kind, QuerySet[Any]] = {
        AccountChange.Kind.ORDER: orders(owner),
        AccountChange.Kind.POSITION: positions(owner),
        AccountChange.Kind.DEAL: deals(owner),
        AccountChange.Kind.SWAP: Swap.objects.select_related("account").filter(owner_id=owner),
        AccountChange.Kind.MARGIN_EVENT: margin_events(owner),
    }
    known = queries[kind].in_bulk(ids)
    return [known[id_] for id_ in ids]


def quote_ages() -> dict[str, Any]:
    """How old the freshest and the stalest of the latest prices are, for operators."""
    now = timezone.now()
    ticks = market(now).ticks
    ages = sorted((now - tick.received_at).total_seconds() for tick in ticks.values())
    if ages:
        metrics.FEED_AGE_SECONDS.set(ages[0])
    return {
        "quoted": len(ages),
        "newest_seconds": round(ages[0], 1) if ages else None,
        "oldest_seconds": round(ages[-1], 1) if ages else None,
    }
