"""
An account may be left alone for as long as every price it depends on stays inside a band proven beforehand.

Bands come from interval arithmetic over a box: every quote the bands let in, of every symbol at once. Per symbol that
is a polygon, low <= bid <= ask <= high and ask − bid <= spread_max, and the extremes of equity over all of them lie in
few corners, so that they are found exactly by trying those:

* Equity never falls when a bid rises or an ask falls: longs close at bids and shorts at asks, gains convert at bids and
  losses at asks, and an inverse pair turns that round twice. So it is least where the spread is widest, and greatest
  where there is none.
* Along a line of constant spread it is least at an end. With gains converting at r and losses at R >= r, a position
  brings min(profit × r, profit × R): concave in its symbol's price, and a sum of such is. With gains G and losses L in
  one currency, a conversion brings G × bid − L × ask, linear, or G ÷ ask − L ÷ bid, which first rises, then falls, if
  it turns at all; so do profits divided by their own closing price. Two conversions in a row: one after the other.
* Without a spread, r = R and a profit is linear in each price, or in its inverse, so that equity is greatest at an end.

A symbol that enters twice (traded, and to convert with) is taken at its worst in each place, which only widens the box.
"""

from __future__ import annotations

from bisect import bisect
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from itertools import accumulate, product
from typing import Final

from trading.margin.currencies import INVERSE, VEHICLE_CURRENCY, conversion
from trading.margin.figures import ONE, ZERO, exact
from trading.margin.terms import Contract, Price, Rates, Side

#: The least and the greatest price there is: prices are stored with ten decimals and ten digits before them.
PRICE_MIN: Final = Decimal("0.0000000001")
PRICE_MAX: Final = Decimal("9999999999.9999999999")

#: How much further than its price a symbol's spread is thought to stay: by a thirty-second of the move allowed.
_SPREAD_SHARE: Final = 32

#: No band is wider than to a tenth and to ten times the price, unless that side is proven open.
_MOVE_MAX: Final = Decimal(9)

#: What a major currency pair may be levered by.
_LEVERAGE_MAJOR: Final = Decimal(30)

#: The move allowed is found to one part in so many.
_PRECISION: Final = 256
_STEPS_MAX: Final = 32


@dataclass(frozen=True, slots=True)
class Holding:
    """An open position as its account's bands see it."""

    contract: Contract
    side: Side
    volume: Decimal
    price_open: Decimal


@dataclass(frozen=True, slots=True)
class Band:
    """Where one symbol's price may be: bid from `low`, ask to `high`, and no further apart than `spread_max`."""

    symbol: str
    low: Decimal
    high: Decimal
    spread_max: Decimal

    @classmethod
    def never(cls, symbol: str) -> Band:
        """The band that no price is inside."""
        return cls(symbol, low=PRICE_MAX, high=ZERO, spread_max=ZERO)

    def holds(self, price: Price) -> bool:
        return self.low <= price.bid and price.ask <= self.high and price.ask - price.bid <= self.spread_max


Boxes = dict[str, Band]
Corners = tuple[tuple[Decimal, Decimal], ...]
CornersOf = Callable[[Band], Corners]
Outcomes = list[tuple[Decimal, Decimal]]


@exact
def price_bands(  # noqa: PLR0913 - an account has as many facts, and each is named at the call
    holdings: Iterable[Holding],
    *,
    funds: Decimal,
    held: Decimal,
    floor: Decimal,
    ceiling: Decimal | None,
    prices: Mapping[str, Price],
    pairs: Mapping[str, str],
    account_currency: str,
    currency_digits: int,
) -> tuple[Band, ...]:
    """
    The band of each symbol that an account's equity depends on, traded or to convert with, in order of symbols.

    While all hold, `funds` (balance and credit) with the booked profit of every holding stays at `floor` percent of
    `held` or above, and below `ceiling` percent if there is one. Where that is not so at the current prices, or closer
    than a spread or a rounding, no price fits the bands. `pairs` names the symbol that quotes each currency pair.

    :raises RateUnavailable: if a profit can't be converted into the account's currency
    """
    assert held >= 0, "margin is never owed"
    assert ceiling is None or floor < ceiling, "a level can't be above one and below another that is lower"
    if held == 0:
        return ()
    equity = _Equity(funds, tuple(holdings), account_currency, prices, pairs)
    # Each profit is booked to half a minor unit; one half more, far beyond the fiftieth digit, covers the arithmetic.
    rounding = ONE.scaleb(-currency_digits) / 2 * (equity.count + 1)
    enough = held * floor / 100 + rounding
    too_much = None if ceiling is None else held * ceiling / 100 - rounding

    def slack(boxes: Boxes) -> Decimal:
        """How far equity stays from where it must not be; below zero it may get there."""
        above = equity.least(boxes) - enough
        return above if too_much is None else min(above, too_much - equity.greatest(boxes))

    def around(move: Decimal) -> Boxes:
        return {one: _box(one, prices[one], move * weight) for one, weight in equity.weights.items()}

    if (left := slack(around(ZERO))) < 0:
        boxes = {symbol: Band.never(symbol) for symbol in equity.weights}
    else:
        boxes = around(_furthest(lambda move: slack(around(move)), left))
        _open(boxes, slack)
    unpriced = {symbol: Band.never(symbol) for symbol in equity.unpriced}
    return tuple(band for _, band in sorted((boxes | unpriced).items()))


def _box(symbol: str, price: Price, move: Decimal) -> Band:
    """The band that lets a price move by a factor of 1 + `move` either way, rounded inwards to what is stored."""
    spread = price.ask - price.bid + price.bid * move / _SPREAD_SHARE
    return Band(
        symbol,
        low=(price.bid / (1 + move)).quantize(PRICE_MIN, rounding=ROUND_CEILING),
        high=min(price.ask * (1 + move), PRICE_MAX).quantize(PRICE_MIN, rounding=ROUND_FLOOR),
        spread_max=min(spread, PRICE_MAX).quantize(PRICE_MIN, rounding=ROUND_FLOOR),
    )


def _furthest(slack: Callable[[Decimal], Decimal], left: Decimal) -> Decimal:
    """
    The largest move that leaves slack, from below; without a move `left` is left.

    Regula falsi, Illinois style: what comes out has been tried, so that no shape of `slack` can make it wrong.
    """
    inside, outside, lacking = ZERO, _MOVE_MAX, slack(_MOVE_MAX)
    if lacking >= 0:
        return outside
    side = 0
    for _ in range(_STEPS_MAX):
        if not left or outside - inside <= inside / _PRECISION:
            break
        move = inside + (outside - inside) * left / (left - lacking)
        found = slack(move)
        if found >= 0:
            inside, left = move, found
            lacking, side = (lacking / 2, 1) if side == 1 else (lacking, 1)
        else:
            outside, lacking = move, found
            left, side = (left / 2, -1) if side == -1 else (left, -1)
    return inside


_OPEN_SIDES: Final[tuple[Callable[[Band], Band], ...]] = (
    lambda box: Band(box.symbol, low=box.low, high=PRICE_MAX, spread_max=box.spread_max),
    lambda box: Band(box.symbol, low=PRICE_MIN, high=box.high, spread_max=box.spread_max),
    lambda box: Band(box.symbol, low=box.low, high=box.high, spread_max=PRICE_MAX),
)


def _open(boxes: Boxes, slack: Callable[[Boxes], Decimal]) -> None:
    """Open every side of every band that can do no harm however far it goes, so that nobody watches it."""
    for symbol, open_side in product(boxes, _OPEN_SIDES):
        box = boxes[symbol]
        boxes[symbol] = open_side(box)
        if slack(boxes) < 0:
            boxes[symbol] = box


# --- What an account is worth inside a box ----------------------------------------------------------------------------


class _Leg:
    """One side of a symbol by opening price, with running sums: the holdings a price has passed, and the others."""

    __slots__ = ("_opened", "_sizes", "_values")

    def __init__(self, entries: Sequence[tuple[Decimal, Decimal]]) -> None:
        entries = sorted(entries)
        self._opened = [opened for opened, _ in entries]
        self._sizes = list(accumulate((size for _, size in entries), initial=ZERO))
        self._values = list(accumulate((opened * size for opened, size in entries), initial=ZERO))

    def apart(self, price: Decimal) -> tuple[Decimal, Decimal]:
        """Size × distance from `price`, of all that was opened below it, and of all that was opened above it."""
        passed = bisect(self._opened, price)
        size, value = self._sizes[passed], self._values[passed]
        return price * size - value, self._values[-1] - value - price * (self._sizes[-1] - size)


class _Book:
    """All holdings of one symbol; `own` where their closing price itself converts their profit."""

    __slots__ = ("_known", "longs", "own", "shorts", "symbol")

    def __init__(self, symbol: str, holdings: Iterable[Holding], *, own: bool) -> None:
        self.symbol, self.own = symbol, own
        sides: dict[Side, list[tuple[Decimal, Decimal]]] = {Side.BUY: [], Side.SELL: []}
        for one in holdings:
            sides[one.side].append((one.price_open, one.volume * one.contract.contract_size))
        self.longs, self.shorts = _Leg(sides[Side.BUY]), _Leg(sides[Side.SELL])
        self._known: dict[CornersOf, tuple[Band, Outcomes]] = {}

    def outcomes(self, box: Band, corners_of: CornersOf) -> Outcomes:
        """What the holdings gain and lose at each corner, kept for the last box: a search turns one box at a time."""
        known = self._known.get(corners_of)
        if known is None or known[0] is not box:
            known = self._known[corners_of] = box, [self._outcome(bid, ask) for bid, ask in corners_of(box)]
        return known[1]

    def _outcome(self, bid: Decimal, ask: Decimal) -> tuple[Decimal, Decimal]:
        """What those that gain would gain at these prices, and what those that lose would lose."""
        long_gains, long_losses = self.longs.apart(bid)
        short_losses, short_gains = self.shorts.apart(ask)
        if self.own:
            return long_gains / bid + short_gains / ask, long_losses / bid + short_losses / ask
        return long_gains + short_gains, long_losses + short_losses


#: The pairs an amount goes through, by symbol, each with whether it divides.
_Path = tuple[tuple[str, bool], ...]


class _Equity:
    """Funds and holdings, by symbol and by the path their profits take into the account's currency."""

    def __init__(
        self,
        funds: Decimal,
        holdings: Sequence[Holding],
        currency: str,
        prices: Mapping[str, Price],
        pairs: Mapping[str, str],
    ) -> None:
        assert holdings, "margin is held by positions"
        rates = {pair: prices[symbol] for pair, symbol in pairs.items() if symbol in prices}
        traded: dict[str, list[Holding]] = defaultdict(list)
        for one in holdings:
            traded[one.contract.symbol].append(one)
        books: dict[_Path, list[_Book]] = defaultdict(list)
        for symbol, members in traded.items():
            contract = members[0].contract
            own = contract.base == currency
            path = () if own else _path(contract.quote, currency, rates, pairs)
            books[path].append(_Book(symbol, members, own=own))
        self.funds, self.count, self.books = funds, len(holdings), books
        self.weights = {symbol: ONE for path in books for symbol, _ in path}
        self.weights |= {symbol: _restlessness(members[0].contract) for symbol, members in traded.items()}
        # A pair without a price leads nowhere yet; its first price may open a shorter path.
        quoted = {members[0].contract.quote for members in traded.values()}
        names = {a + b for one in quoted for a, b in product((one, currency, VEHICLE_CURRENCY), repeat=2) if a != b}
        self.unpriced = {pairs[name] for name in names & pairs.keys() if name not in rates}

    def least(self, boxes: Boxes) -> Decimal:
        """What the account is worth at the worst prices inside the boxes, before rounding."""
        return self._extreme(boxes, _widest_spread, min)

    def greatest(self, boxes: Boxes) -> Decimal:
        """What the account is worth at the best prices inside the boxes, before rounding."""
        return self._extreme(boxes, _no_spread, max)

    def _extreme(self, boxes: Boxes, corners_of: CornersOf, pick: Callable[[list[Decimal]], Decimal]) -> Decimal:
        total = self.funds
        for path, books in self.books.items():
            outcomes = [book.outcomes(boxes[book.symbol], corners_of) for book in books]
            total += pick([
                sum([pick([gain * sell - loss * buy for gain, loss in each]) for each in outcomes], start=ZERO)
                for sell, buy in _conversions(path, boxes, corners_of)
            ])  # fmt: skip
        return total


def _widest_spread(box: Band) -> Corners:
    """The two corners of a box where what closes at bids and asks brings least."""
    low, high, spread = box.low, box.high, box.spread_max
    return (low, min(low + spread, high)), (max(high - spread, low), high)


def _no_spread(box: Band) -> Corners:
    """The two corners of a box where what closes at bids and asks brings most."""
    return (box.low, box.low), (box.high, box.high)


def _conversions(path: _Path, boxes: Boxes, corners_of: CornersOf) -> Outcomes:
    """What gains and what losses are multiplied by along a path, in every combination of corners."""
    found = [(ONE, ONE)]
    for symbol, inverse in path:
        steps = [(1 / ask, 1 / bid) if inverse else (bid, ask) for bid, ask in corners_of(boxes[symbol])]
        found = [(gain * sell, loss * buy) for gain, loss in found for sell, buy in steps]
    return found


def _restlessness(contract: Contract) -> Decimal:
    """
    How much further than a major currency pair an instrument may move: by the root of how much less it may be levered.

    Leverage is capped by how much a class of instruments moves, at 30 for major pairs and at 2 for crypto. Equal moves
    for all would have the restless ones break the bands of everybody.
    """
    return ONE if contract.leverage_max is None else (_LEVERAGE_MAJOR / contract.leverage_max).sqrt()


def _path(source: str, target: str, rates: Rates, pairs: Mapping[str, str]) -> _Path:
    """Which pairs `conversion` takes; that depends neither on the side nor on how their prices move."""
    steps = conversion(source, target, side=Side.SELL, rates=rates).path
    return tuple((pairs[step.removeprefix(INVERSE).split(" ", 1)[0]], step.startswith(INVERSE)) for step in steps)
