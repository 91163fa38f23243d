"""What can be asked about accounts, prices, orders and positions without changing any of them."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from django.db import connection
from django.db.models import QuerySet

from accounts.models import TradingAccount
from core import db
from trading.errors import InstrumentNotFound, PositionNotFound, TradingAccountNotFound
from trading.market import Market, OpenPosition, Tick
from trading.models import Deal, Instrument, Order, Position


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


def trading_accounts(owner: UUID) -> QuerySet[TradingAccount]:
    return TradingAccount.objects.select_related("wallet").filter(owner_id=owner)


def instruments() -> QuerySet[Instrument]:
    return Instrument.objects.select_related("latest")


def instrument(symbol: str) -> Instrument:
    """:raises InstrumentNotFound: if there is none"""
    found = instruments().filter(symbol=symbol).first()
    if found is None:
        raise InstrumentNotFound(symbol=symbol)
    return found


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


def fix_snapshot() -> None:
    """Make everything the current transaction reads come from one moment; the transaction's first statement."""
    db.require_transaction()
    with connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
