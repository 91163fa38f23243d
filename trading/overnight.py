"""
Whoever holds a position while a trading day ends is charged or paid for the night, on what was open at that moment.

A position is held over the end of a day if it was opened before it and not closed by then; what happens at the very
moment belongs to the new day. So an opening at 17:00:00 sharp owes nothing for the night that begins, and a close at
17:00:00 sharp does.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from core.money import CURRENCIES
from trading import engine, margin, selectors, sessions
from trading.errors import ConversionRateUnavailable, QuoteUnavailable
from trading.margin import Side
from trading.market import Market, Tick
from trading.models import Instrument, Position, Swap

#: A part of a position that was closed: when, and how much.
Reduction = tuple[datetime, Decimal]


@dataclass(frozen=True, slots=True)
class Night:
    """One position over the end of one trading day: how many nights that counts for, and what was open."""

    position: Position
    instrument: Instrument
    day: date
    rollover_at: datetime
    nights: int
    volume: Decimal


@dataclass(slots=True)
class Past:
    """The market as it was at the ends of trading days, each read once, however many accounts a sweep looks at."""

    _markets: dict[datetime, Market] = field(default_factory=dict)

    def at(self, moment: datetime, market: Market) -> Market:
        """What was known at a moment before `market`, as far as prices are kept; what has not changed is known."""
        if moment not in self._markets:
            ticks = selectors.ticks_at(moment)
            ticks |= {symbol: tick for symbol, tick in market.ticks.items() if tick.received_at <= moment}
            known = {symbol: tick for symbol, tick in ticks.items() if symbol in market.instruments}
            self._markets[moment] = replace(market, ticks=known, now=moment)
        return self._markets[moment]


@dataclass(frozen=True, slots=True)
class NightCharge:
    """What a night costs or earns, before any of it is written."""

    night: Night
    swap: margin.Swap
    price_basis: Swap.PriceBasis
    inputs: dict[str, Any]

    @property
    def amount(self) -> Decimal:
        return self.swap.amount


def nights_owed(
    position: Position,
    instrument: Instrument,
    *,
    reductions: Sequence[Reduction],
    charged: Collection[date],
    until: datetime,
) -> Iterator[Night]:
    """
    The nights up to a moment that a position owes and was not charged for, oldest first.

    Days that charge nothing are left out: the weekend where another day carries it, and every day of an instrument
    without a swap on this side. Terms are today's: a rate that changed since a missed night is not remembered.
    """
    if not instrument.swap_rate(Side(position.side)).value:
        return
    start = position.rollover_due_at or position.opened_at
    zone, at = instrument.time_zone, instrument.rollover_at
    first = sessions.day_ending(zone, at, by=start)
    for day, rollover_at in sessions.rollovers(zone, at, first=first, until=until):
        if position.closed_at is not None and position.closed_at < rollover_at:
            return
        nights = margin.swap_nights(weekday=day.weekday(), triple_weekday=instrument.swap_triple_weekday)
        if not nights or day in charged or position.opened_at >= rollover_at:
            continue
        closed = sum((volume for executed_at, volume in reductions if executed_at < rollover_at), start=Decimal(0))
        yield Night(position, instrument, day, rollover_at, nights, position.volume_initial - closed)


def evaluate_night(night: Night, *, currency: str, market: Market, past: Past) -> NightCharge:
    """
    Reckon what one night costs or earns in the account's currency, at the prices that were the last when it began.

    However late it is charged, that is the same; only where one of them is no longer kept, or there was none yet, all
    are the last known ones of `market`, and the charge says so in `price_basis`. An annual rate applies to what the
    position would have been closed at.

    :raises QuoteUnavailable: if the instrument has no price at all
    :raises ConversionRateUnavailable: if no price was ever known to convert with
    """
    try:
        return _charge(night, currency, past.at(night.rollover_at, market), Swap.PriceBasis.AT_ROLLOVER)
    except (QuoteUnavailable, ConversionRateUnavailable):
        return _charge(night, currency, market, Swap.PriceBasis.LAST_KNOWN)


def _charge(night: Night, currency: str, market: Market, basis: Swap.PriceBasis) -> NightCharge:
    tick, side = market.ticks.get(night.instrument.symbol), Side(night.position.side)
    if tick is None:
        raise QuoteUnavailable(symbol=night.instrument.symbol)
    try:
        swap = margin.swap(
            night.instrument.contract(),
            rate=night.instrument.swap_rate(side),
            volume=night.volume,
            price=tick.price.to_close(side),
            nights=night.nights,
            account_currency=currency,
            rates=market.rates(fresh_only=False),
            currency_digits=CURRENCIES[currency].digits,
        )
    except margin.RateUnavailable as missing:
        raise ConversionRateUnavailable(source=missing.source, target=missing.target) from missing
    return NightCharge(night, swap, basis, _inputs(night, swap, tick))


def _inputs(night: Night, swap: margin.Swap, tick: Tick) -> dict[str, Any]:
    """Everything a charge's figures came from, besides its own columns."""
    instrument = night.instrument
    triple = instrument.swap_triple_weekday
    return {
        "terms": engine.terms_of(instrument)
        | {
            "swap_mode": instrument.swap_mode,
            "swap_triple_weekday": None if triple is None else sessions.WEEKDAYS[triple],
            "time_zone": instrument.time_zone,
            "rollover_at": instrument.rollover_at.isoformat(),
        },
        "quote": engine.quote_inputs(tick),
        "currency": swap.account_currency,
        "conversion_path": list(swap.conversion.path),
    }
