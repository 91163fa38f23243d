"""Prices and positions as the arithmetic sees them: read once, then only numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from trading import sessions
from trading.errors import MarketClosed, QuoteStale, QuoteUnavailable
from trading.margin import Price, Rates, Side
from trading.models import Instrument, Position
from trading.sessions import Schedule


@dataclass(frozen=True, slots=True)
class NewQuote:
    """A price as its source sent it, believed by nobody yet; `quoted_at` is the market's clock."""

    symbol: str
    bid: Decimal
    ask: Decimal
    quoted_at: datetime


@dataclass(frozen=True, slots=True)
class Tick:
    """One instrument's latest price, where it came from and when we got it."""

    bid: Decimal
    ask: Decimal
    source: str
    quoted_at: datetime
    received_at: datetime
    sequence: int

    @property
    def price(self) -> Price:
        return Price(self.bid, self.ask)


@dataclass(frozen=True, slots=True)
class Market:
    """All instruments and prices at one moment; `schedules` only where trading hours are asked for."""

    instruments: dict[str, Instrument]
    ticks: dict[str, Tick]
    now: datetime
    schedules: Mapping[str, Schedule] = field(default_factory=dict)

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

    def rates(self, *, fresh_only: bool) -> Rates:
        """
        Prices by currency pair, to convert with.

        Money is booked on fresh ones only. What is merely shown (a floating profit) may use the last known price.
        """
        rates = {}
        for symbol, tick in self.ticks.items():
            instrument = self.instruments[symbol]
            age_seconds = (self.now - tick.received_at).total_seconds()
            if not fresh_only or age_seconds <= instrument.quote_age_seconds_max:
                rates[instrument.base + instrument.quote] = tick.price
        return rates


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
