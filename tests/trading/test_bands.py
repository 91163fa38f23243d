"""Bands must never let a margin call or a stop-out pass unseen, and should not wake an account for nothing."""

from __future__ import annotations

import decimal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_FLOOR, Decimal

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from trading import margin
from trading.margin import AccountState, Band, Contract, Holding, Mode, Price, RateUnavailable, Side
from trading.margin.bands import PRICE_MAX, PRICE_MIN

#: No time limit on an example: cores are shared, and slowness is not what these tests look for.
unhurried = settings(deadline=None, max_examples=300)

BUY, SELL = Side.BUY, Side.SELL
DIGITS = {"USD": 2, "EUR": 2, "GBP": 2, "JPY": 0}


def pair(base: str, quote: str, digits: int = 5) -> Contract:
    return Contract(
        symbol=base + quote,
        base=base,
        quote=quote,
        margin_currency=base,
        contract_size=Decimal(100000),
        mode=Mode.FOREX,
        margin_rate=Decimal(1),
        leverage_max=30,
        tick_size=Decimal(1).scaleb(-digits),
        digits=digits,
    )


CONTRACTS = {
    contract.symbol: contract
    for contract in (
        pair("EUR", "USD"),
        pair("GBP", "USD"),
        pair("USD", "JPY", 3),
        pair("GBP", "JPY", 3),
        pair("EUR", "GBP"),
        replace(pair("BTC", "USD", 2), mode=Mode.CFD, margin_currency="USD", contract_size=Decimal(1), leverage_max=2),
        replace(
            pair("DAX", "EUR", 1), mode=Mode.CFD, margin_currency="EUR", contract_size=Decimal(25), leverage_max=None
        ),
    )
}
MARKET = {
    "EURUSD": Price(Decimal("1.20000"), Decimal("1.20010")),
    "GBPUSD": Price(Decimal("1.39000"), Decimal("1.39012")),
    "USDJPY": Price(Decimal("109.100"), Decimal("109.110")),
    "GBPJPY": Price(Decimal("151.800"), Decimal("151.824")),
    "EURGBP": Price(Decimal("0.86500"), Decimal("0.86508")),
    "BTCUSD": Price(Decimal("57000.00"), Decimal("57020.00")),
    "DAXEUR": Price(Decimal("15000.0"), Decimal("15001.0")),
}


@dataclass(frozen=True)
class Account:
    """All that bands ask of an account, so that its true level can be reckoned beside them."""

    holdings: Sequence[Holding]
    funds: Decimal
    held: Decimal
    currency: str = "USD"
    floor: Decimal = Decimal(50)
    ceiling: Decimal | None = None

    def bands(self, prices: dict[str, Price], pairs: dict[str, str] | None = None) -> dict[str, Band]:
        found = margin.price_bands(
            self.holdings,
            funds=self.funds,
            held=self.held,
            floor=self.floor,
            ceiling=self.ceiling,
            prices=prices,
            pairs=pairs or {symbol: symbol for symbol in prices},
            account_currency=self.currency,
            currency_digits=DIGITS[self.currency],
        )
        return {band.symbol: band for band in found}

    def equity(self, prices: dict[str, Price]) -> Decimal:
        """What the account is worth by the arithmetic that everything else uses."""
        return self._state(prices).equity

    def is_touched(self, prices: dict[str, Price]) -> bool:
        """Whether the risk engine has something to do at these prices."""
        level = self._state(prices).margin_level
        assert level is not None
        return level < self.floor or (self.ceiling is not None and level >= self.ceiling)

    def _state(self, prices: dict[str, Price]) -> AccountState:
        floating = sum(
            (
                margin.floating(
                    one.contract,
                    side=one.side,
                    volume=one.volume,
                    price_open=one.price_open,
                    price=prices[one.contract.symbol],
                    account_currency=self.currency,
                    rates=prices,
                    currency_digits=DIGITS[self.currency],
                ).amount
                for one in self.holdings
            ),
            start=Decimal(0),
        )
        return AccountState(balance=self.funds, credit=Decimal(0), floating=floating, held=self.held)


def holding(symbol: str, side: Side, volume: str, price_open: str | None = None) -> Holding:
    """An open position, opened at the market unless said otherwise."""
    opened = MARKET[symbol].to_open(side) if price_open is None else Decimal(price_open)
    return Holding(CONTRACTS[symbol], side, Decimal(volume), opened)


def account(
    *holdings: Holding, funds: str, held: str, currency: str = "USD", floor: int = 50, ceiling: int | None = None
) -> Account:
    return Account(
        holdings,
        Decimal(funds),
        Decimal(held),
        currency,
        Decimal(floor),
        None if ceiling is None else Decimal(ceiling),
    )


# --- Never miss -------------------------------------------------------------------------------------------------------


def decimals(low: str, high: str, places: int) -> st.SearchStrategy[Decimal]:
    return st.decimals(min_value=Decimal(low), max_value=Decimal(high), places=places, allow_nan=False)


@st.composite
def markets(draw: st.DrawFn) -> dict[str, Price]:
    """Prices a few percent around the usual ones, spreads from none to wide; at times a pair both ways round."""
    prices = {}
    for symbol, usual in MARKET.items():
        bid = (usual.bid * draw(decimals("0.95", "1.05", 4))).quantize(Decimal("0.00001"))
        prices[symbol] = Price(bid, bid + ((usual.ask - usual.bid) * draw(decimals("0", "5", 1))))
    if draw(st.booleans()):
        prices["USDEUR"] = Price(Decimal("0.83310"), Decimal("0.83340"))
    return prices


@st.composite
def accounts(draw: st.DrawFn, prices: dict[str, Price]) -> Account:
    """
    A book of a few positions, in profit or at a loss, hedged or not, with funds that leave it near its limits or far.

    Its funds are set by the level it shall have, so that most of what is drawn is an account worth watching.
    """
    holdings = [
        Holding(
            CONTRACTS[symbol],
            draw(st.sampled_from(Side)),
            draw(decimals("0.01", "20", 2)),
            (prices[symbol].bid * draw(decimals("0.9", "1.1", 4))).quantize(Decimal("0.00001")),
        )
        for symbol in draw(st.lists(st.sampled_from(sorted(CONTRACTS)), min_size=1, max_size=8))
    ]
    held = draw(decimals("10", "1000000", 2))
    floor, ceiling = draw(st.sampled_from([(50, None), (100, None), (50, 100)]))
    drawn = Account(
        holdings,
        Decimal(0),
        held,
        draw(st.sampled_from(sorted(DIGITS))),
        Decimal(floor),
        None if ceiling is None else Decimal(ceiling),
    )
    level = draw(st.integers(50, 100) if ceiling else st.integers(floor - 5, 2000))
    return replace(drawn, funds=(held * level / 100 - drawn.equity(prices)).quantize(Decimal("0.01")))


def quotes_inside(band: Band) -> list[Price]:
    """The corners of a band: what its bid and ask may be when they go as far as they can, together or apart."""
    assert band.low <= band.high
    assert band.spread_max >= 0
    widest = min(band.low + band.spread_max, band.high), max(band.high - band.spread_max, band.low)
    return [
        Price(band.low, band.low),
        Price(band.low, widest[0]),
        Price(widest[1], band.high),
        Price(band.high, band.high),
    ]


def pushed(
    prices: dict[str, Price], bands: dict[str, Band], worse: Callable[[dict[str, Price]], Decimal]
) -> dict[str, Price]:
    """An adversary's prices: symbol by symbol the corner that is worst for the account, and round again."""
    for _ in range(2):
        for symbol, band in bands.items():
            candidates = ({**prices, symbol: quote} for quote in quotes_inside(band))
            prices = min(candidates, key=worse)
    return prices


@unhurried
@given(st.data())
def test_no_prices_inside_their_bands_touch_an_account(data: st.DataObject) -> None:
    prices = data.draw(markets())
    watched = data.draw(accounts(prices))
    bands = watched.bands(prices)
    assume(all(band.low <= band.high for band in bands.values()))
    assert all(band.holds(prices[symbol]) for symbol, band in bands.items())

    def inside(symbol: str) -> Price:
        """Anywhere in the band, by preference where it ends."""
        band = bands[symbol]
        if data.draw(st.booleans()):
            return data.draw(st.sampled_from(quotes_inside(band)))
        low, high = max(band.low, prices[symbol].bid / 3), min(band.high, prices[symbol].ask * 3)
        bid = (low + (high - low) * data.draw(decimals("0", "1", 3))).quantize(PRICE_MIN, rounding=ROUND_FLOOR)
        room = min(band.spread_max, high - bid) * data.draw(st.sampled_from([Decimal(0), Decimal("0.5"), Decimal(1)]))
        return Price(bid, bid + room.quantize(PRICE_MIN, rounding=ROUND_FLOOR))

    drawn = {**prices, **{symbol: inside(symbol) for symbol in bands}}
    assert all(band.holds(drawn[symbol]) for symbol, band in bands.items())
    assert not watched.is_touched(drawn)
    assert not watched.is_touched(pushed(drawn, bands, watched.equity))
    assert not watched.is_touched(pushed(drawn, bands, lambda those: -watched.equity(those)))


@unhurried
@given(st.data())
def test_bands_hold_the_current_prices_unless_these_touch_the_account(data: st.DataObject) -> None:
    prices = data.draw(markets())
    watched = replace(data.draw(accounts(prices)), ceiling=None)
    to_spare = watched.equity(prices) - watched.held * watched.floor / 100
    roundings = (len(watched.holdings) + 1) * Decimal(1).scaleb(-DIGITS[watched.currency])
    assume(to_spare < 0 or to_spare >= roundings)
    assert all(band.holds(prices[one]) is (to_spare >= 0) for one, band in watched.bands(prices).items())


@unhurried
@given(st.data())
def test_bands_fit_the_columns_they_are_stored_in(data: st.DataObject) -> None:
    prices = data.draw(markets())
    bands = data.draw(accounts(prices)).bands(prices)
    for band in bands.values():
        for figure in (band.low, band.high, band.spread_max):
            assert 0 <= figure <= PRICE_MAX
            assert figure == figure.quantize(PRICE_MIN)
    assert list(bands) == sorted(bands)


# --- And not for nothing ----------------------------------------------------------------------------------------------


def room(watched: Account, symbol: str, prices: dict[str, Price], *, fall: bool) -> Decimal:
    """How far one price alone may really fall or rise before the account is touched, by halving, from below."""

    def is_touched_at(move: Decimal) -> bool:
        by = -move if fall else move
        usual = prices[symbol]
        return watched.is_touched({**prices, symbol: Price(usual.bid + by, usual.ask + by)})

    safe, touched = Decimal(0), prices[symbol].bid * (Decimal("0.9999") if fall else 10)
    assert not is_touched_at(safe)
    assert is_touched_at(touched)
    for _ in range(50):
        middle = (safe + touched) / 2
        safe, touched = (safe, middle) if is_touched_at(middle) else (middle, touched)
    return safe


@pytest.mark.parametrize(
    "watched, symbol, fall, share",
    [
        (account(holding("EURUSD", BUY, "1"), funds="10000", held="4000"), "EURUSD", True, "0.99"),
        (account(holding("EURUSD", SELL, "1"), funds="10000", held="4000"), "EURUSD", False, "0.99"),
        (account(holding("EURUSD", BUY, "1"), funds="2100", held="4000"), "EURUSD", True, "0.99"),
        (account(holding("EURUSD", BUY, "1"), funds="10000", held="4000", currency="EUR"), "EURUSD", True, "0.99"),
        (account(holding("USDJPY", SELL, "1"), funds="10000", held="4000"), "USDJPY", False, "0.99"),
        (account(holding("USDJPY", BUY, "1"), funds="1000000", held="400000", currency="JPY"), "USDJPY", True, "0.99"),
        (account(holding("GBPJPY", BUY, "1"), funds="10000", held="4600"), "GBPJPY", True, "0.93"),
        (account(holding("GBPJPY", BUY, "1"), funds="2500", held="4600"), "GBPJPY", True, "0.99"),
        (account(holding("GBPJPY", SELL, "1"), funds="8000", held="3900", currency="EUR"), "GBPJPY", False, "0.88"),
        (account(holding("EURGBP", SELL, "1"), funds="10000", held="4000"), "EURGBP", False, "0.9"),
        (account(holding("BTCUSD", BUY, "0.5"), funds="20000", held="14000"), "BTCUSD", True, "0.99"),
        (account(holding("DAXEUR", BUY, "0.1"), funds="5000", held="2500"), "DAXEUR", True, "0.9"),
        (
            account(holding("EURUSD", BUY, "1"), holding("EURUSD", SELL, "0.5"), funds="10000", held="4000"),
            "EURUSD",
            True,
            "0.94",
        ),
        (
            account(holding("EURUSD", BUY, "0.5"), holding("EURUSD", SELL, "1"), funds="10000", held="4000"),
            "EURUSD",
            False,
            "0.94",
        ),
        (account(holding("EURGBP", BUY, "1", "0.8"), funds="-5000", held="4000"), "EURGBP", True, "0.8"),
        (
            account(holding("EURUSD", BUY, "1", "1.3"), holding("EURUSD", BUY, "2", "1.1"), funds="0", held="4000"),
            "EURUSD",
            True,
            "0.99",
        ),
        (
            account(holding("EURUSD", BUY, "1"), funds="3000", held="4000", ceiling=100),
            "EURUSD",
            True,
            "0.95",
        ),
    ],
)
def test_one_price_may_go_nearly_as_far_as_the_account_can_bear(
    watched: Account, symbol: str, fall: bool, share: str
) -> None:
    band, now = watched.bands(MARKET)[symbol], MARKET[symbol]
    allowed = now.bid - band.low if fall else band.high - now.ask
    truth = room(watched, symbol, MARKET, fall=fall)
    assert Decimal(share) <= allowed / truth <= 1


def test_the_harmless_side_is_open() -> None:
    watched = account(
        holding("EURUSD", BUY, "1"),
        holding("GBPUSD", SELL, "1"),
        holding("USDJPY", BUY, "1"),
        funds="10000",
        held="12000",
    )
    bands = watched.bands(MARKET)
    assert (bands["EURUSD"].high, bands["EURUSD"].spread_max) == (PRICE_MAX, PRICE_MAX)
    assert (bands["GBPUSD"].low, bands["GBPUSD"].spread_max) == (PRICE_MIN, PRICE_MAX)
    assert (bands["USDJPY"].high, bands["USDJPY"].spread_max) == (PRICE_MAX, PRICE_MAX)
    assert bands["EURUSD"].low > 1
    assert bands["GBPUSD"].high < 2
    assert bands["USDJPY"].low > 100


def test_an_account_that_nothing_can_hurt_is_never_looked_at() -> None:
    bands = account(holding("EURUSD", BUY, "0.01"), funds="100000", held="40").bands(MARKET)
    assert bands == {"EURUSD": Band("EURUSD", PRICE_MIN, PRICE_MAX, PRICE_MAX)}


def test_a_perfect_hedge_is_only_afraid_of_the_spread() -> None:
    hedged = holding("EURUSD", BUY, "1"), holding("EURUSD", SELL, "1")
    (band,) = account(*hedged, funds="10000", held="4000").bands(MARKET).values()
    assert (band.low, band.high) == (PRICE_MIN, PRICE_MAX)
    assert Decimal("0.99") <= band.spread_max / Decimal("0.08") <= 1  # 8,000 to lose on 100,000 euros


def test_a_perfect_hedge_that_converts_its_halves_apart_may_still_move_far() -> None:
    hedged = holding("EURUSD", BUY, "1"), holding("EURUSD", SELL, "1")
    band = account(*hedged, funds="1000000", held="400000", currency="JPY").bands(MARKET)["EURUSD"]
    assert band.low < Decimal("0.9")
    assert band.high > Decimal("1.6")


def test_what_moves_more_may_move_further() -> None:
    watched = account(holding("EURUSD", BUY, "1"), holding("BTCUSD", BUY, "0.1"), funds="10000", held="7000")
    falls = {symbol: 1 - band.low / MARKET[symbol].bid for symbol, band in watched.bands(MARKET).items()}
    assert falls["BTCUSD"] > 3 * falls["EURUSD"]


def test_a_call_waits_for_recovery_as_well_as_for_stop_out() -> None:
    called = account(holding("EURUSD", BUY, "1"), funds="3000", held="4000", ceiling=100)
    (band,) = called.bands(MARKET).values()
    assert not called.is_touched(MARKET)
    # It is at 74.75 %: 990 dollars above stop-out, 1,010 below recovery, 10 a pip.
    assert Decimal("1.1901") <= band.low < Decimal("1.1903")
    assert Decimal("1.2099") < band.high <= Decimal("1.2101")


# --- Which symbols ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "symbol, currency, expected",
    [
        ("EURUSD", "USD", ["EURUSD"]),
        ("EURUSD", "EUR", ["EURUSD"]),  # its own closing price converts
        ("EURUSD", "GBP", ["EURUSD", "GBPUSD"]),
        ("USDJPY", "GBP", ["GBPJPY", "USDJPY"]),
        ("GBPJPY", "EUR", ["EURUSD", "GBPJPY", "USDJPY"]),  # through the dollar
    ],
)
def test_every_symbol_that_the_equity_depends_on_has_a_band(symbol: str, currency: str, expected: list[str]) -> None:
    assert (
        list(account(holding(symbol, BUY, "1"), funds="900000", held="4000", currency=currency).bands(MARKET))
        == expected
    )


def test_nothing_held_needs_no_bands() -> None:
    assert account(holding("EURUSD", BUY, "1"), funds="0", held="0").bands(MARKET) == {}


def test_a_pair_may_be_quoted_by_a_symbol_of_another_name() -> None:
    prices = {"EURUSD": MARKET["EURUSD"], "cable": MARKET["GBPUSD"]}
    watched = account(holding("EURUSD", BUY, "1"), funds="10000", held="4000", currency="GBP")
    named = watched.bands(prices, {"EURUSD": "EURUSD", "GBPUSD": "cable"})
    plain = watched.bands(MARKET)
    assert list(named) == ["EURUSD", "cable"]
    assert named["EURUSD"] == plain["EURUSD"]
    assert replace(named["cable"], symbol="GBPUSD") == plain["GBPUSD"]


def test_a_profit_that_cannot_be_converted_has_no_bands() -> None:
    with pytest.raises(RateUnavailable):
        account(holding("EURUSD", BUY, "1"), funds="1", held="1", currency="GBP").bands({"EURUSD": MARKET["EURUSD"]})


def test_the_first_price_of_a_shorter_way_to_convert_wakes_the_account() -> None:
    prices = {symbol: price for symbol, price in MARKET.items() if symbol != "GBPJPY"}
    watched = account(holding("USDJPY", BUY, "1"), funds="10000", held="4000", currency="GBP")
    bands = watched.bands(prices, {symbol: symbol for symbol in MARKET})
    assert list(bands) == ["GBPJPY", "GBPUSD", "USDJPY"]
    assert not bands["GBPJPY"].holds(MARKET["GBPJPY"])
    assert bands["USDJPY"].holds(MARKET["USDJPY"])


# --- Already touched --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "watched",
    [
        account(holding("EURUSD", BUY, "1"), funds="2007.10", held="4000", currency="GBP"),
        account(holding("EURUSD", BUY, "1"), funds="1000", held="4000"),
        account(holding("EURUSD", BUY, "1"), funds="-99999", held="4000"),
        account(holding("EURUSD", BUY, "1"), funds="4010", held="4000", ceiling=100),
        account(holding("EURUSD", BUY, "1"), funds="9000", held="4000", ceiling=100),
    ],
)
def test_no_price_fits_the_bands_of_an_account_that_is_touched_already(watched: Account) -> None:
    bands = watched.bands(MARKET)
    anywhere = [MARKET["EURUSD"], Price(PRICE_MIN, PRICE_MIN), Price(PRICE_MAX, PRICE_MAX), Price(PRICE_MIN, PRICE_MAX)]
    assert "EURUSD" in bands
    assert not any(band.holds(price) for band in bands.values() for price in anywhere)


@pytest.mark.parametrize("sizes", [["1"], ["0.5", "0.5"]])
def test_the_bands_end_where_the_floor_is_reached(sizes: list[str]) -> None:
    """Half a cent is what one profit's rounding may hide, and half a cent is kept for the arithmetic."""
    hidden = Decimal("0.005") * (len(sizes) + 1)
    at_the_floor = account(*(holding("EURUSD", BUY, size) for size in sizes), funds="2010", held="4000")
    for funds, is_watched in [
        (Decimal(0), False),
        (hidden - Decimal("0.005"), False),
        (hidden, True),
        (Decimal("0.02"), True),
    ]:
        watched = replace(at_the_floor, funds=at_the_floor.funds + funds)
        assert watched.bands(MARKET)["EURUSD"].holds(MARKET["EURUSD"]) is is_watched, funds


def test_the_bands_end_where_recovery_is_reached() -> None:
    """Up to the spread, which may be nothing at the next moment."""
    called = account(holding("EURUSD", BUY, "1"), funds="4000", held="4000", ceiling=100)
    for funds, is_watched in [("0", False), ("-0.005", False), ("-0.01", True), ("-0.02", True)]:
        watched = replace(called, funds=called.funds + Decimal(funds))
        assert watched.bands(MARKET)["EURUSD"].holds(MARKET["EURUSD"]) is is_watched, funds


def test_bands_do_not_depend_on_the_callers_decimal_context() -> None:
    watched = account(
        holding("GBPJPY", BUY, "1"), holding("BTCUSD", SELL, "0.3"), funds="20000", held="9000", currency="EUR"
    )
    usual = watched.bands(MARKET)
    with decimal.localcontext(decimal.Context(prec=4, rounding=decimal.ROUND_UP, traps=[decimal.InvalidOperation])):
        assert watched.bands(MARKET) == usual
