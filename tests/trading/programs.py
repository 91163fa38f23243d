"""
Random programs of prices, orders and closes, and a plain reckoning of what each of them should do.

The reckoning knows the formulas and nothing of the code under test: decimals of sixty digits, rounded once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext
from random import Random

ZERO = Decimal(0)
EXACT = Context(prec=60, rounding=ROUND_HALF_EVEN)
DIGITS = {"USD": 2, "EUR": 2, "GBP": 2, "JPY": 0}

#: A coarse grid: looking for the largest volume that is carried is most of what judging an order takes.
VOLUME_STEP, VOLUME_MAX = Decimal("0.1"), Decimal("0.8")


@dataclass(frozen=True, slots=True)
class Terms:
    """What one instrument's arithmetic depends on."""

    base: str
    quote: str
    mode: str
    contract_size: Decimal
    margin_rate: Decimal
    leverage_max: int
    commission_per_lot: Decimal
    digits: int
    start: Decimal


TERMS = {
    "EURUSD": Terms("EUR", "USD", "FOREX", Decimal(100_000), Decimal(1), 20, Decimal("3.50"), 5, Decimal("1.2")),
    "GBPUSD": Terms("GBP", "USD", "FOREX", Decimal(100_000), Decimal("1.5"), 20, Decimal("3.50"), 5, Decimal("1.39")),
    "USDJPY": Terms("USD", "JPY", "FOREX", Decimal(100_000), Decimal(1), 20, Decimal("3.50"), 3, Decimal("109.2")),
    "GBPJPY": Terms("GBP", "JPY", "FOREX", Decimal(100_000), Decimal(1), 10, Decimal("3.50"), 3, Decimal("151.8")),
    "BTCUSD": Terms("BTC", "USD", "CFD_LEVERAGE", Decimal(1), Decimal(1), 2, ZERO, 2, Decimal(50_000)),
    "ETHUSD": Terms("ETH", "USD", "CFD", Decimal(10), Decimal("0.125"), 2, Decimal("1.25"), 2, Decimal(3_000)),
}

STEPS, WEIGHTS = ("quote", "crash", "open", "close", "rest", "cancel"), (15, 3, 8, 10, 2, 2)

Prices = dict[str, tuple[Decimal, Decimal]]


# --- Programs -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Quote:
    """New prices of some symbols, bid and ask."""

    prices: Prices


@dataclass(frozen=True, slots=True)
class Open:
    """A market order, which may be more than the account carries."""

    symbol: str
    side: str
    volume: Decimal


@dataclass(frozen=True, slots=True)
class Close:
    """Closing the `pick`th open position, counted round, or `share` hundredths of it, on the grid."""

    pick: int
    share: int


@dataclass(frozen=True, slots=True)
class Rest:
    """An order that waits; what it would lock has to be left free by the others."""

    symbol: str
    side: str
    volume: Decimal


@dataclass(frozen=True, slots=True)
class Cancel:
    """Taking back the `pick`th waiting order, counted round."""

    pick: int


Step = Quote | Open | Close | Rest | Cancel


@dataclass(frozen=True, slots=True)
class Program:
    """One account, the prices it starts at, and what happens to it."""

    seed: int
    currency: str
    leverage: int
    funds: Decimal
    start: Prices
    steps: tuple[Step, ...]


def program(seed: int) -> Program:
    """The program of a seed, always the same: 5 to 15 steps over a few symbols."""
    chance = Random(f"program {seed}")
    symbols = chance.sample(sorted(TERMS), chance.randint(1, 3))
    mids = {symbol: terms.start for symbol, terms in TERMS.items()}
    currency = chance.choice(sorted(DIGITS))
    start = {symbol: _quote(symbol, mid, chance) for symbol, mid in mids.items()}
    steps: list[Step] = []
    for _ in range(chance.randint(5, 15)):
        steps.append(_step(symbols, mids, chance, is_first=not steps))
    funds = Decimal(chance.randint(200, 20_000)) * (100 if currency == "JPY" else 1)
    return Program(seed, currency, chance.choice([1, 5, 10, 20]), funds, start, tuple(steps))


def _step(symbols: list[str], mids: dict[str, Decimal], chance: Random, *, is_first: bool) -> Step:
    kind = "open" if is_first else chance.choices(STEPS, WEIGHTS)[0]
    if kind in {"quote", "crash"}:
        # Any symbol may move: those that are not traded convert.
        moved = chance.sample(sorted(TERMS), chance.randint(1, 3))
        low, high = (0, 300) if kind == "quote" else (1_000, 5_000)
        for symbol in moved:
            mids[symbol] *= 1 + Decimal(chance.randint(low, high) * chance.choice([1, -1])) / 10_000
        return Quote({symbol: _quote(symbol, mids[symbol], chance) for symbol in moved})
    if kind == "close":
        return Close(chance.randrange(6), chance.choice([100, 100, 50, 30, 70]))
    if kind == "cancel":
        return Cancel(chance.randrange(6))
    volume = VOLUME_STEP * chance.choice([1, 1, 1, 2, 2, 3, 5, 8])
    made = Open if kind == "open" else Rest
    return made(chance.choice(symbols), chance.choice(["BUY", "SELL"]), volume)


def _quote(symbol: str, mid: Decimal, chance: Random) -> tuple[Decimal, Decimal]:
    point = Decimal(1).scaleb(-TERMS[symbol].digits)
    bid = mid.quantize(point)
    return bid, bid + point * chance.randint(0, 40)


# --- The reckoning --------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Holding:
    """A position or a waiting order, with what it locks or would lock."""

    symbol: str
    side: str
    volume: Decimal
    price_open: Decimal
    locked: Decimal
    volume_initial: Decimal = ZERO
    locked_initial: Decimal = ZERO
    released: Decimal = ZERO


@dataclass(frozen=True, slots=True)
class Judged:
    """An order as it should be judged: what it locks and costs, and whether the free margin carries it."""

    price: Decimal
    margin: Decimal
    commission: Decimal
    required: Decimal
    available: Decimal

    @property
    def is_carried(self) -> bool:
        return self.required <= self.available


@dataclass(frozen=True, slots=True)
class Parted:
    """What closing some of a position should bring, release and cost."""

    profit: Decimal
    commission: Decimal
    released: Decimal
    compensation: Decimal


@dataclass(slots=True)
class Reckoning:
    """An account as it should be, by the formulas alone; holdings by whatever name the caller has for them."""

    currency: str
    leverage: int
    balance: Decimal
    prices: Prices
    positions: dict[object, Holding] = field(default_factory=dict)
    orders: dict[object, Holding] = field(default_factory=dict)

    # What an amount is worth.

    def rate(self, source: str, target: str, *, is_bought: bool) -> tuple[Decimal, Decimal]:
        """Multiplier and divisor of one unit of `source`: bought at what it costs, sold at what it brings."""
        if source == target:
            return Decimal(1), Decimal(1)
        if (pair := self.prices.get(source + target)) is not None:
            return pair[is_bought], Decimal(1)
        if (pair := self.prices.get(target + source)) is not None:
            return Decimal(1), pair[not is_bought]
        up, down = self.rate(source, "USD", is_bought=is_bought)
        further_up, further_down = self.rate("USD", target, is_bought=is_bought)
        return up * further_up, down * further_down

    def booked(self, amount: Decimal, rate: tuple[Decimal, Decimal]) -> Decimal:
        with localcontext(EXACT):
            return (amount * rate[0] / rate[1]).quantize(Decimal(1).scaleb(-DIGITS[self.currency]))

    def price(self, symbol: str, side: str, *, is_opening: bool) -> Decimal:
        return self.prices[symbol][(side == "BUY") == is_opening]

    def margin(self, symbol: str, side: str, volume: Decimal) -> Decimal:
        terms = TERMS[symbol]
        size = volume * terms.contract_size * terms.margin_rate
        currency = terms.base
        if terms.mode != "FOREX":
            size, currency = size * self.price(symbol, side, is_opening=True), terms.quote
        up, down = self.rate(currency, self.currency, is_bought=side == "BUY")
        return self.booked(size, (up, down if terms.mode == "CFD" else down * min(self.leverage, terms.leverage_max)))

    def commission(self, symbol: str, volume: Decimal) -> Decimal:
        rate = self.rate("USD", self.currency, is_bought=True)
        return self.booked(volume * TERMS[symbol].commission_per_lot, rate)

    def profit(self, symbol: str, side: str, volume: Decimal, opened: Decimal, closed: Decimal) -> Decimal:
        move = closed - opened if side == "BUY" else opened - closed
        rate = self.rate_of_gain(symbol, closed, is_loss=move < 0)
        return self.booked(move * volume * TERMS[symbol].contract_size, rate)

    def rate_of_gain(self, symbol: str, price: Decimal, *, is_loss: bool) -> tuple[Decimal, Decimal]:
        """How what is earned in a symbol's quote currency becomes money: the base currency divides by the price."""
        terms = TERMS[symbol]
        if terms.base == self.currency:
            return Decimal(1), price
        return self.rate(terms.quote, self.currency, is_bought=is_loss)

    # What the account is worth.

    def locked(self, *more: Holding, is_reserving: bool = False) -> Decimal:
        """Per symbol the larger leg, of positions and, if asked for, of waiting orders."""
        legs: dict[str, dict[str, Decimal]] = {}
        for one in [*self.positions.values(), *(self.orders.values() if is_reserving else ()), *more]:
            sides = legs.setdefault(one.symbol, {"BUY": ZERO, "SELL": ZERO})
            sides[one.side] += one.locked
        return sum((max(sides.values()) for sides in legs.values()), start=ZERO)

    @property
    def held(self) -> Decimal:
        return self.locked()

    @property
    def floating(self) -> Decimal:
        return sum((self.floating_of(one) for one in self.positions.values()), start=ZERO)

    def floating_of(self, one: Holding) -> Decimal:
        now = self.price(one.symbol, one.side, is_opening=False)
        return self.profit(one.symbol, one.side, one.volume, one.price_open, now)

    @property
    def equity(self) -> Decimal:
        return self.balance + self.floating

    # What happens to it.

    def judge(self, symbol: str, side: str, volume: Decimal) -> Judged:
        price = self.price(symbol, side, is_opening=True)
        new = Holding(symbol, side, volume, price, self.margin(symbol, side, volume))
        commission = self.commission(symbol, volume)
        spoken_for = self.locked(is_reserving=True)
        more = self.locked(new, is_reserving=True) - spoken_for
        required = more + commission - self.floating_of(new)
        return Judged(price, new.locked, commission, required, self.equity - spoken_for)

    def open(self, name: object, order: Open, judged: Judged) -> None:
        self.balance -= judged.commission
        self.positions[name] = Holding(
            order.symbol,
            order.side,
            order.volume,
            judged.price,
            judged.margin,
            volume_initial=order.volume,
            locked_initial=judged.margin,
        )

    def part(self, name: object, volume: Decimal) -> Parted:
        """What closing so many lots would do now, without doing it."""
        one = self.positions[name]
        closed = self.price(one.symbol, one.side, is_opening=False)
        profit = self.profit(one.symbol, one.side, volume, one.price_open, closed)
        commission = self.commission(one.symbol, volume)
        released = one.locked
        if volume != one.volume:
            released = min(one.locked, self.booked(one.locked_initial * volume, (Decimal(1), one.volume_initial)))
        is_last = volume == one.volume and len(self.positions) == 1
        compensation = max(ZERO, -(self.balance + profit - commission)) if is_last else ZERO
        return Parted(profit, commission, released, compensation)

    def close(self, name: object, volume: Decimal) -> Parted:
        one, parted = self.positions[name], self.part(name, volume)
        self.balance += parted.profit - parted.commission + parted.compensation
        one.volume -= volume
        one.locked -= parted.released
        one.released += parted.released
        if not one.volume:
            assert (one.locked, one.released) == (0, one.locked_initial)
            del self.positions[name]
        return parted

    # What a step means here.

    def picked(self, close: Close) -> tuple[object, Decimal] | None:
        """Which position a step closes and how many lots of it, if anything is open."""
        if not self.positions:
            return None
        name = list(self.positions)[close.pick % len(self.positions)]
        left = self.positions[name].volume
        part = (left * close.share / 100 // VOLUME_STEP) * VOLUME_STEP
        return name, part if part and close.share < 100 else left
