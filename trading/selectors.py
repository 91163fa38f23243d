"""What can be asked about accounts, prices, orders and positions without changing any of them."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.db.models.expressions import RawSQL
from django.utils import timezone

from accounts.models import TradingAccount
from core import db, metrics
from core.ids import uuid7_at
from trading.errors import InstrumentNotFound, PositionNotFound, TradingAccountNotFound
from trading.margin import Side
from trading.market import Market, OpenPosition, Tick
from trading.models import Deal, Instrument, Order, Position, PriceBatch, QuoteTick


def market(now: datetime) -> Market:
    """Every instrument with its latest price, in one query: a price look-up before the locks."""
    ticks, instruments = {}, {}
    for instrument in Instrument.objects.select_related("latest"):
        instruments[instrument.symbol] = instrument
        latest = getattr(instrument, "latest", None)
        if latest is not None:
            ticks[instrument.symbol] = Tick(
                bid=latest.bid,
                ask=latest.ask,
                source=latest.source,
                quoted_at=latest.quoted_at,
                received_at=latest.received_at,
                sequence=latest.sequence,
            )
    return Market(instruments=instruments, ticks=ticks, now=now)


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


def price_batches(*, after: int) -> QuerySet[PriceBatch]:
    """The batches behind a number, in the order in which they became known: see `PriceBatch` for what that promises."""
    return PriceBatch.objects.filter(number__gt=after).order_by("number")


def orders(owner: UUID) -> QuerySet[Order]:
    return Order.objects.select_related("account", "position").filter(owner_id=owner)


def positions(owner: UUID) -> QuerySet[Position]:
    return Position.objects.select_related("account").filter(owner_id=owner)


def position(owner: UUID, position_id: UUID) -> Position:
    """:raises PositionNotFound: if it does not exist or belongs to somebody else"""
    found = positions(owner).select_related("account__wallet").filter(pk=position_id).first()
    if found is None:
        raise PositionNotFound
    return found


def deals(owner: UUID) -> QuerySet[Deal]:
    return Deal.objects.select_related("account", "position").filter(owner_id=owner)


def open_positions(account: UUID) -> list[OpenPosition]:
    """An account's open positions as its arithmetic wants them, in id order."""
    rows = Position.objects.filter(account_id=account, status=Position.Status.OPEN).order_by("id")
    return [OpenPosition.of(row) for row in rows]


def next_position_number() -> int:
    """A public number that no other position has; gaps are normal."""
    (number,) = db.fetch_all("SELECT nextval('trading_position_number_seq')", {})[0]
    return int(number)


# What an account is worth joins three tables; read by one statement, they are of one moment without any lock.
_POSITIONS_NOW = """
(SELECT coalesce(jsonb_agg(jsonb_build_array(p.id, p.number, p.symbol, p.side, p.volume::text, p.price_open::text,
                                             p.margin_locked::text) ORDER BY p.id), '[]')
   FROM trading_position p WHERE p.account_id = accounts_tradingaccount.id AND p.status = 'OPEN')
"""
_TICKS_NOW = """
(SELECT coalesce(jsonb_agg(jsonb_build_array(q.symbol, q.bid::text, q.ask::text, q.source, q.quoted_at, q.received_at,
                                             q.sequence)), '[]')
   FROM trading_quote q)
"""


def valued_accounts(owner: UUID, now: datetime) -> list[tuple[TradingAccount, list[OpenPosition], Market]]:
    """A client's accounts with their wallets, open positions and the market, all of one moment, oldest first."""
    terms = {instrument.symbol: instrument for instrument in Instrument.objects.all()}
    columns = {"positions_now": RawSQL(_POSITIONS_NOW, ()), "ticks_now": RawSQL(_TICKS_NOW, ())}  # noqa: S611 - no input
    rows: Any = (
        TradingAccount.objects.select_related("wallet").filter(owner_id=owner).order_by("id").annotate(**columns)
    )
    return [
        (
            account,
            [_open_position(row) for row in _parsed(account.positions_now)],
            Market(instruments=terms, ticks=dict(_tick(row) for row in _parsed(account.ticks_now)), now=now),
        )
        for account in rows
    ]


def _open_position(row: list[Any]) -> OpenPosition:
    id_, number, symbol, side, volume, price_open, locked = row
    return OpenPosition(UUID(id_), number, symbol, Side(side), Decimal(volume), Decimal(price_open), Decimal(locked))


def _tick(row: list[Any]) -> tuple[str, Tick]:
    symbol, bid, ask, source, quoted_at, received_at, sequence = row
    return symbol, Tick(
        bid=Decimal(bid),
        ask=Decimal(ask),
        source=source,
        quoted_at=datetime.fromisoformat(quoted_at),
        received_at=datetime.fromisoformat(received_at),
        sequence=sequence,
    )


def _parsed(document: Any) -> list[list[Any]]:
    rows: list[list[Any]] = json.loads(document) if isinstance(document, str) else document
    return rows


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
