"""Prices and positions as the arithmetic sees them: read once, then only numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from uuid import UUID

from trading import margin, sessions
from trading.errors import MarketClosed, QuoteStale, QuoteUnavailable
from trading.margin import Price, Rates, Side
from trading.models import Instrument, Order, Position
from trading.sessions import Schedule


@dataclass(frozen=True, slots=True)
class NewQuote:
    """A price as its source sent it, believed by nobody yet; `quoted_at` is the market's clock."""

    symbol: str
    bid: Decimal
    ask: Decimal
    quoted_at: datetime


@dataclass(frozen=True)
class Tick:
    """
    One instrument's latest price, where it came from and when we got it.

    `batch` is the number of the price batch that it came in, 0 where nobody asked.
    """

    bid: Decimal
    ask: Decimal
    source: str
    quoted_at: datetime
    received_at: datetime
    sequence: int
    batch: int = 0

    @cached_property
    def price(self) -> Price:
        return Price(self.bid, self.ask)


@dataclass(frozen=True)
class Market:
    """
    All instruments and prices at one moment; `schedules` and `leverage_caps` only where something may be opened.

    `batch` is the number of the last price batch that these prices know.
    """

    instruments: Mapping[str, Instrument]
    ticks: dict[str, Tick]
    now: datetime
    batch: int = 0
    schedules: Mapping[str, Schedule] = field(default_factory=dict)
    #: By symbol, then by jurisdiction; one that sets no cap is not there.
    leverage_caps: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def require_open(self, symbol: str) -> None:
        """
        Outside its hours an instrument has no price to trade at, however fresh the last one looks.

        :raises MarketClosed: with the moment it opens at, or null if that is not in sight
        """
        schedule = self.schedules[symbol]
        if not sessions.is_open(schedule, self.now):
            raise MarketClosed(symbol=symbol, opens_at=sessions.next_open(schedule, self.now))

    def fresh(self, symbol: str) -> Tick:
        """
        The price that may be traded on.

        :raises QuoteUnavailable: if the instrument never had one
        :raises QuoteStale: if it is older than the instrument allows
        """
        tick = self.ticks.get(symbol)
        if tick is None:
            raise QuoteUnavailable(symbol=symbol)
        age_seconds_max = self.instruments[symbol].quote_age_seconds_max
        age_seconds = (self.now - tick.received_at).total_seconds()
        if age_seconds > age_seconds_max:
            raise QuoteStale(symbol=symbol, age_seconds=int(age_seconds), age_seconds_max=age_seconds_max)
        return tick

    @cached_property
    def pairs(self) -> dict[str, str]:
        """Which symbol converts between two currencies, by base and quote; of two, the one that `rates` takes."""
        symbols = [symbol for symbol in self.instruments if symbol not in self.ticks] + list(self.ticks)
        return {self.instruments[symbol].base + self.instruments[symbol].quote: symbol for symbol in symbols}

    def rates(self, *, fresh_only: bool) -> Rates:
        """
        Prices by currency pair, to convert with.

        Money is booked on fresh ones only. What is merely shown (a floating profit) may use the last known price.
        """
        return self._fresh_rates if fresh_only else self._last_rates

    @cached_property
    def _fresh_rates(self) -> Rates:
        rates = {}
        for symbol, tick in self.ticks.items():
            instrument = self.instruments[symbol]
            if (self.now - tick.received_at).total_seconds() <= instrument.quote_age_seconds_max:
                rates[instrument.base + instrument.quote] = tick.price
        return rates

    @cached_property
    def _last_rates(self) -> Rates:
        return {
            self.instruments[symbol].base + self.instruments[symbol].quote: tick.price
            for symbol, tick in self.ticks.items()
        }


@dataclass(frozen=True, slots=True)
class OpenPosition:
    """What an account's arithmetic needs to know of one open position."""

    id: UUID
    number: int
    symbol: str
    side: Side
    volume: Decimal
    price_open: Decimal
    margin_locked: Decimal

    @classmethod
    def of(cls, row: Position) -> OpenPosition:
        return cls(
            id=row.id,
            number=row.number,
            symbol=row.instrument_id,
            side=Side(row.side),
            volume=row.volume,
            price_open=row.price_open,
            margin_locked=row.margin_locked,
        )

    @property
    def leg(self) -> tuple[str, Side, Decimal]:
        return self.symbol, self.side, self.margin_locked


@dataclass(frozen=True, slots=True)
class WorkingOrder:
    """What an account's arithmetic needs to know of one order that waits for its price."""

    id: UUID
    symbol: str
    side: Side
    volume: Decimal
    margin_reserved: Decimal

    @classmethod
    def of(cls, row: Order) -> WorkingOrder:
        return cls(row.id, row.instrument_id, Side(row.side), row.volume, row.margin_reserved)

    @property
    def leg(self) -> tuple[str, Side, Decimal]:
        return self.symbol, self.side, self.margin_reserved


@dataclass(frozen=True, slots=True)
class Book:
    """
    Everything of one account that a price can do something to, in id order; `called_at` is since its margin call.

    `sequence` is the number of the account's last change.
    """

    positions: tuple[OpenPosition, ...] = ()
    orders: tuple[WorkingOrder, ...] = ()
    called_at: datetime | None = None
    sequence: int = 0

    @property
    def held(self) -> Decimal:
        """What the open positions lock together: per symbol the larger leg."""
        return margin.held(position.leg for position in self.positions)

    @property
    def reserved(self) -> Decimal:
        """What would be locked more if every working order were filled: free margin that is spoken for, not held."""
        return self.held_with() - self.held

    def held_with(self, *more: tuple[str, Side, Decimal]) -> Decimal:
        """What would be locked if every working order were filled, and `more` legs besides."""
        legs = [position.leg for position in self.positions] + [order.leg for order in self.orders]
        return margin.held([*legs, *more])

    def with_position(self, position: OpenPosition) -> Book:
        """This book with a position added, or put in the place of the one with its id."""
        others = [one for one in self.positions if one.id != position.id]
        return replace(self, positions=tuple(sorted([*others, position], key=lambda one: one.id)))

    def without_position(self, id_: UUID) -> Book:
        return replace(self, positions=tuple(one for one in self.positions if one.id != id_))

    def with_order(self, order: WorkingOrder) -> Book:
        """This book with a working order added, or put in the place of the one with its id."""
        others = [one for one in self.orders if one.id != order.id]
        return replace(self, orders=tuple(sorted([*others, order], key=lambda one: one.id)))

    def without_order(self, id_: UUID) -> Book:
        return replace(self, orders=tuple(one for one in self.orders if one.id != id_))
