"""One trading account as its formulas say it should be: what it opens, closes, owes, and loses to a stop-out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import ROUND_CEILING, ROUND_DOWN, Context, Decimal, localcontext
from zoneinfo import ZoneInfo

from tests.trading.programs import TERMS, ZERO, Holding, Judged, Parted, Reckoning

#: What a night costs or earns a long and a short: points on every weekday, thrice on Wednesday; or percent a year of
#: the value, every night.
POINTS, PERCENT = "POINTS", "ANNUAL"
SWAPS = {
    "EURUSD": (POINTS, {"BUY": Decimal("-6.5"), "SELL": Decimal("2.1")}),
    "USDJPY": (POINTS, {"BUY": ZERO, "SELL": Decimal("-3.3")}),
    "ETHUSD": (PERCENT, {"BUY": Decimal(-20), "SELL": Decimal(-5)}),
}
WEDNESDAY, SATURDAY = 2, 5

DOWN = Context(prec=60, rounding=ROUND_DOWN)
CENT, STEP = Decimal("0.01"), Decimal("0.00000001")
NEW_YORK = ZoneInfo("America/New_York")
BEFORE = datetime.min.replace(tzinfo=UTC)


@dataclass(slots=True)
class Position(Holding):
    """An open position, with what its later figures come from."""

    opened_at: datetime = BEFORE
    spread: Decimal = ZERO
    commission: Decimal = ZERO
    swap: Decimal = ZERO
    stop_loss: Decimal | None = None
    take_profit: Decimal | None = None

    def is_stopped_at(self, price: Decimal) -> bool:
        sign = 1 if self.side == "BUY" else -1
        is_lost = self.stop_loss is not None and (price - self.stop_loss) * sign <= 0
        is_won = self.take_profit is not None and (price - self.take_profit) * sign >= 0
        return is_lost or is_won


@dataclass(slots=True)
class Resting(Holding):
    """An order that waits for `price_open`; `locked` is what it reserves."""

    kind: str = "LIMIT"
    expires_at: datetime | None = None

    @property
    def waits_below(self) -> bool:
        """Whether its price lies below the market's: where one buys cheaper, or sells before it gets worse."""
        return (self.kind == "LIMIT") == (self.side == "BUY")

    def is_triggered_at(self, price: Decimal) -> bool:
        return price <= self.price_open if self.waits_below else price >= self.price_open


@dataclass(frozen=True, slots=True)
class Closed:
    """What closing some of a position did, and what the desk earned on it."""

    name: int
    volume: Decimal
    parted: Parted
    held: timedelta
    revenue: Decimal


@dataclass(slots=True)
class Account(Reckoning):
    """A trading account's wallet, book and credit. Positions and orders go by the serial number of their order."""

    credit: Decimal = ZERO
    positions: dict[int, Position] = field(default_factory=dict)  # type: ignore[assignment]  # narrower than a reckoning's
    orders: dict[int, Resting] = field(default_factory=dict)  # type: ignore[assignment]
    stopped_out_at: int = -1

    @property
    def equity(self) -> Decimal:
        return self.balance + self.credit + self.floating

    @property
    def is_to_be_stopped_out(self) -> bool:
        """Whether the margin level is below fifty percent."""
        return self.equity * 2 < self.held

    @property
    def available(self) -> Decimal:
        """What may be taken out: free margin without credit and without what orders reserve, never a floating gain."""
        return max(min(self.balance, self.equity - self.locked(is_reserving=True) - self.credit), ZERO)

    def credit_lost_with(self, amount: Decimal) -> Decimal:
        return (self.credit * amount / self.balance).quantize(CENT, rounding=ROUND_CEILING)

    # Opening.

    def judged(self, symbol: str, side: str, volume: Decimal, *, at: Decimal | None = None) -> Judged:
        """An order at the market, or as if its own price `at` were the market's; the account is worth what it is."""
        bid, ask = self.prices[symbol]
        if at is not None:
            bid, ask = (at - (ask - bid), at) if side == "BUY" else (at, at + (ask - bid))
        there = replace(self, prices=self.prices | {symbol: (bid, ask)})
        price = there.price(symbol, side, is_opening=True)
        new = Holding(symbol, side, volume, price, there.margin(symbol, side, volume))
        commission = there.commission(symbol, volume)
        spoken_for = self.locked(is_reserving=True)
        more = self.locked(new, is_reserving=True) - spoken_for
        return Judged(
            price, new.locked, commission, more + commission - there.floating_of(new), self.equity - spoken_for
        )

    def opens(self, name: int, symbol: str, side: str, volume: Decimal, judged: Judged, now: datetime) -> None:
        bid, ask = self.prices[symbol]
        self.balance -= judged.commission
        self.positions[name] = Position(
            symbol,
            side,
            volume,
            judged.price,
            judged.margin,
            volume_initial=volume,
            locked_initial=judged.margin,
            opened_at=now,
            spread=ask - bid,
            commission=judged.commission,
        )

    # Closing.

    def closes(self, name: int, volume: Decimal, now: datetime) -> Closed:
        one = self.positions[name]
        revenue = self._revenue(one, volume)
        parted = self.close(name, volume)
        if parted.compensation:
            self.credit = ZERO
        earned = max(ZERO, revenue - parted.compensation)
        return Closed(name, volume, parted, now - one.opened_at, earned)

    def _revenue(self, one: Position, volume: Decimal) -> Decimal:
        """Both commissions and half of each spread, for as much as is closed; every step is cut off."""
        closed = self.price(one.symbol, one.side, is_opening=False)
        bid, ask = self.prices[one.symbol]
        is_loss = closed < one.price_open if one.side == "BUY" else closed > one.price_open
        up, down = self.rate_of_gain(one.symbol, closed, is_loss=is_loss)
        with localcontext(DOWN):
            shared = one.commission * volume / one.volume_initial
            commission = (self.commission(one.symbol, volume) + shared).quantize(STEP)
            half_spreads = (one.spread + ask - bid) / 2
            return commission + (half_spreads * TERMS[one.symbol].contract_size * volume * up / down).quantize(STEP)

    # What prices do.

    def stopped(self) -> Iterator[int]:
        """The positions whose stop or target the price has reached, oldest first."""
        for name, one in list(self.positions.items()):
            if one.is_stopped_at(self.price(one.symbol, one.side, is_opening=False)):
                yield name

    def triggered(self) -> Iterator[tuple[int, Resting]]:
        """The orders whose price has come, oldest first; they wait no more."""
        for name, order in list(self.orders.items()):
            if order.is_triggered_at(self.price(order.symbol, order.side, is_opening=True)):
                yield name, self.orders.pop(name)

    def worst_first(self) -> Iterator[int]:
        """What a stop-out closes, as long as it is still called for; its orders are gone by then."""
        self.orders.clear()
        for name in sorted(self.positions, key=lambda name: self.floating_of(self.positions[name])):
            if not self.is_to_be_stopped_out:
                return
            yield name

    # What nights do.

    def night(self, one: Position, day: datetime) -> Decimal:
        """What holding a position over the end of this day costs or earns."""
        mode, rates = SWAPS[one.symbol]
        value, closed = rates[one.side], self.price(one.symbol, one.side, is_opening=False)
        terms, nights = TERMS[one.symbol], 1
        size = one.volume * terms.contract_size * value
        up, down = self.rate_of_gain(one.symbol, closed, is_loss=value < 0)
        if mode == PERCENT:
            return self.booked(size * closed, (up, down * 36_000))
        if day.weekday() >= SATURDAY:
            return ZERO
        if day.weekday() == WEDNESDAY:
            nights = 3
        return self.booked(size * Decimal(1).scaleb(-terms.digits) * nights, (up, down))


def nights(since: datetime, until: datetime) -> Iterator[datetime]:
    """The ends of trading days, five in the afternoon in New York, after one moment and up to another."""
    end = since.astimezone(NEW_YORK).replace(hour=17, minute=0, second=0, microsecond=0)
    while end.astimezone(UTC) <= until:
        if end.astimezone(UTC) > since:
            yield end
        end += timedelta(days=1)
