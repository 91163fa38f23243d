"""Each formula of the trading arithmetic, one behaviour at a time."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal, FloatOperation, getcontext, localcontext
from fractions import Fraction

import pytest

from trading import margin
from trading.margin import (
    AccountState,
    Contract,
    Conversion,
    Line,
    Mode,
    Price,
    RateUnavailable,
    Side,
    SwapMode,
    SwapRate,
)

BUY, SELL = Side.BUY, Side.SELL

EURUSD = Contract(
    symbol="EURUSD",
    base="EUR",
    quote="USD",
    margin_currency="EUR",
    contract_size=Decimal(100000),
    mode=Mode.FOREX,
    margin_rate=Decimal(1),
    leverage_max=None,
    tick_size=Decimal("0.00001"),
    digits=5,
)
USDJPY = replace(
    EURUSD, symbol="USDJPY", base="USD", quote="JPY", margin_currency="USD", tick_size=Decimal("0.001"), digits=3
)
EURJPY = replace(USDJPY, symbol="EURJPY", base="EUR", margin_currency="EUR")
GOLD = replace(
    EURUSD,
    symbol="XAUUSD",
    base="XAU",
    margin_currency="USD",
    contract_size=Decimal(100),
    mode=Mode.CFD,
    margin_rate=Decimal("0.05"),
    tick_size=Decimal("0.01"),
    digits=2,
)

RATES = {
    "EURUSD": Price(Decimal("1.2789"), Decimal("1.2790")),
    "USDJPY": Price(Decimal("108.40"), Decimal("108.50")),
    "GBPUSD": Price(Decimal("1.4000"), Decimal("1.4002")),
}


def locked(contract: Contract = EURUSD, **changes: object) -> margin.Margin:
    terms: dict[str, object] = {
        "side": BUY,
        "volume": Decimal(1),
        "price": Decimal("1.2790"),
        "leverage": 100,
        "account_currency": "USD",
        "rates": RATES,
        "currency_digits": 2,
    }
    return margin.required_margin(contract, **{**terms, **changes})  # type: ignore[arg-type]  # one dict of terms


def exposed(**changes: Decimal) -> Decimal:
    terms = {"volume": Decimal(1), "price": Decimal("1.2790"), **changes}
    return margin.exposure(EURUSD, side=BUY, account_currency="USD", rates=RATES, currency_digits=2, **terms)


def earned(contract: Contract = EURUSD, **changes: object) -> margin.Profit:
    terms: dict[str, object] = {
        "side": BUY,
        "volume": Decimal(1),
        "price_open": Decimal("1.2790"),
        "price_close": Decimal("1.2820"),
        "account_currency": "USD",
        "rates": RATES,
        "currency_digits": 2,
    }
    return margin.profit(contract, **{**terms, **changes})  # type: ignore[arg-type]  # one dict of terms


# --- Sides and prices ---------------------------------------------------------------------------------------------


def test_sides_are_each_others_opposite_and_sign() -> None:
    assert (BUY.opposite, SELL.opposite) == (SELL, BUY)
    assert BUY.sign == -SELL.sign == 1


def test_longs_open_at_the_ask_and_close_at_the_bid_and_shorts_the_reverse() -> None:
    price = RATES["EURUSD"]
    assert (price.to_open(BUY), price.to_close(BUY)) == (price.ask, price.bid)
    assert (price.to_open(SELL), price.to_close(SELL)) == (price.bid, price.ask)
    assert price.mid == Decimal("1.27895")


@pytest.mark.parametrize(
    "bid, ask", [("0", "1"), ("-1", "1"), ("1.1", "1"), ("NaN", "1"), ("1", "NaN"), ("1", "Infinity")]
)
def test_price_that_is_no_price_is_a_bug_of_the_caller(bid: str, ask: str) -> None:
    with pytest.raises(AssertionError):
        Price(Decimal(bid), Decimal(ask))


def test_point_is_the_last_digit_and_not_a_pip() -> None:
    assert (EURUSD.point, USDJPY.point) == (Decimal("0.00001"), Decimal("0.001"))


@pytest.mark.parametrize("contract, wrong", [(EURUSD, "USD"), (GOLD, "XAU")])
def test_margin_currency_that_does_not_fit_the_mode_is_a_bug_of_the_caller(contract: Contract, wrong: str) -> None:
    with pytest.raises(AssertionError, match="margin of"):
        replace(contract, margin_currency=wrong)


# --- Conversion ---------------------------------------------------------------------------------------------------


def test_conversion_into_the_same_currency_needs_no_price() -> None:
    same = margin.conversion("KWD", "KWD", side=BUY, rates={})
    assert same.rate == 1
    assert same.path == ()


def test_conversion_buys_at_the_ask_and_sells_at_the_bid() -> None:
    bought = margin.conversion("EUR", "USD", side=BUY, rates=RATES)
    sold = margin.conversion("EUR", "USD", side=SELL, rates=RATES)
    assert (bought.rate, bought.path) == (Decimal("1.2790"), ("EURUSD ask 1.279",))
    assert (sold.rate, sold.path) == (Decimal("1.2789"), ("EURUSD bid 1.2789",))


def test_conversion_by_the_inverse_pair_takes_the_other_side_of_the_quote() -> None:
    bought = margin.conversion("JPY", "USD", side=BUY, rates=RATES)
    sold = margin.conversion("JPY", "USD", side=SELL, rates=RATES)
    assert (bought.path, sold.path) == (("1 / USDJPY bid 108.4",), ("1 / USDJPY ask 108.5",))
    assert bought.rate > sold.rate, "buying always costs at least what selling brings"


def test_conversion_without_a_common_pair_goes_through_the_dollar() -> None:
    crossed = margin.conversion("EUR", "GBP", side=BUY, rates=RATES)
    assert crossed.path == ("EURUSD ask 1.279", "1 / GBPUSD bid 1.4")
    assert crossed.of(Decimal(1400)) == 1279


def test_conversion_prefers_the_pair_that_is_quoted_that_way_round() -> None:
    both = {"EURGBP": Price(Decimal("0.9"), Decimal("0.9")), "GBPEUR": Price(Decimal(2), Decimal(2)), **RATES}
    assert margin.conversion("EUR", "GBP", side=BUY, rates=both).path == ("EURGBP ask 0.9",)


@pytest.mark.parametrize(
    "source, target", [("CHF", "USD"), ("USD", "CHF"), ("EUR", "CHF"), ("CHF", "EUR"), ("AUD", "CHF")]
)
def test_conversion_without_a_price_is_refused_and_never_one(source: str, target: str) -> None:
    with pytest.raises(RateUnavailable) as refused:
        margin.conversion(source, target, side=BUY, rates=RATES)
    assert (refused.value.source, refused.value.target) == (source, target)
    assert str(refused.value) == f"no fresh price leads from {source} to {target}"


def test_conversion_divides_once_so_that_ties_round_as_they_should() -> None:
    thirds = Conversion.along(("1 / USDJPY bid 3",))
    assert thirds.of(Decimal("4.5")) == Decimal("1.5"), "4.5 times 0.333… is 1.4999…, which would book 1 and not 2"
    assert margin.booked(thirds.of(Decimal("4.5")), 0) == 2


@pytest.mark.parametrize("step", ["EURUSD ask -1", "EURUSD ask 0", "EURUSD ask NaN"])
def test_conversion_along_a_path_without_a_price_is_a_bug_of_the_caller(step: str) -> None:
    with pytest.raises(AssertionError):
        Conversion.along((step,))


def test_gains_are_sold_at_the_bid_and_losses_bought_at_the_ask() -> None:
    gain = earned(account_currency="JPY", currency_digits=0)
    loss = earned(account_currency="JPY", currency_digits=0, price_close=Decimal("1.2760"))
    assert (gain.conversion.path, gain.amount) == (("USDJPY bid 108.4",), Decimal(32520))
    assert (loss.conversion.path, loss.amount) == (("USDJPY ask 108.5",), Decimal(-32550))


def test_account_in_the_base_currency_converts_at_the_closing_price_alone() -> None:
    result = earned(USDJPY, price_open=Decimal("108.183"), price_close=Decimal("108.483"), rates={})
    assert result.conversion.path == ("1 / USDJPY close 108.483",)
    assert result.amount == Decimal("276.54")


# --- Margin -------------------------------------------------------------------------------------------------------


def test_leverage_is_the_strictest_of_the_limits_that_are_set() -> None:
    assert margin.effective_leverage(500, None, 30) == 30
    assert margin.effective_leverage(100) == 100


@pytest.mark.parametrize("limits", [(), (None,), (0,), (100, -1)])
def test_leverage_without_a_limit_or_below_one_is_a_bug_of_the_caller(limits: tuple[int | None, ...]) -> None:
    with pytest.raises(AssertionError):
        margin.effective_leverage(*limits)


def test_forex_margin_has_no_price_in_it() -> None:
    rates = {**RATES, "EURJPY": Price(Decimal("138.7"), Decimal("138.8"))}
    assert locked(EURUSD).amount == locked(EURJPY, price=Decimal("138.8"), rates=rates).amount == Decimal("1279.00")


def test_forex_margin_converts_at_the_ask_for_buys_and_the_bid_for_sells() -> None:
    assert locked(side=BUY).amount == Decimal("1279.00")
    assert locked(side=SELL).amount == Decimal("1278.90")


def test_cfd_margin_follows_price_and_rate_and_ignores_leverage() -> None:
    assert locked(GOLD, price=Decimal(1940), leverage=1).amount == Decimal("9700.00")
    assert locked(GOLD, price=Decimal(1940), leverage=500).amount == Decimal("9700.00")


def test_leveraged_cfd_margin_divides_by_leverage_as_well() -> None:
    leveraged = replace(GOLD, mode=Mode.CFD_LEVERAGE)
    assert locked(leveraged, price=Decimal(1940), leverage=20).amount == Decimal("485.00")


def test_instruments_own_leverage_cap_applies_whatever_the_account_allows() -> None:
    capped = locked(replace(EURUSD, leverage_max=30), leverage=500)
    assert capped.leverage == 30
    assert capped.amount == Decimal("4263.33")


def test_margin_keeps_every_step_of_its_way() -> None:
    result = locked(replace(EURUSD, margin_rate=Decimal("1.15")), account_currency="JPY", currency_digits=0)
    assert result.in_margin_currency == 1150
    assert result.conversion.path == ("EURUSD ask 1.279", "USDJPY ask 108.5")
    assert result.unrounded == Decimal("159587.225")
    assert result.amount == 159587


def test_margin_is_booked_half_even() -> None:
    assert locked(EURUSD, volume=Decimal("0.0005"), leverage=8, account_currency="EUR").unrounded == Decimal("6.25")
    to_even = {"account_currency": "EUR", "currency_digits": 1, "leverage": 8}
    assert locked(EURUSD, volume=Decimal("0.0005"), **to_even).amount == Decimal("6.2")
    assert locked(EURUSD, volume=Decimal("0.0007"), **to_even).amount == Decimal("8.8")


@pytest.mark.parametrize("volume", ["0", "-1", "NaN", "Infinity"])
def test_margin_of_no_volume_is_a_bug_of_the_caller(volume: str) -> None:
    with pytest.raises(AssertionError):
        locked(volume=Decimal(volume))


NOTHING = Decimal(0)


@pytest.mark.parametrize(
    "reckon",
    [
        lambda: margin.base_margin(EURUSD, volume=NOTHING, price=Decimal(1), leverage=30),
        lambda: margin.base_margin(EURUSD, volume=Decimal(1), price=-Decimal(1), leverage=30),
        lambda: exposed(volume=NOTHING),
        lambda: exposed(price=NOTHING),
        lambda: earned(volume=NOTHING),
        lambda: earned(price_open=NOTHING),
        lambda: earned(price_close=NOTHING),
        lambda: charged(EURUSD, "-7", SwapMode.POINTS, volume=NOTHING),
        lambda: charged(EURUSD, "-7", SwapMode.POINTS, price=NOTHING),
        lambda: margin.commission(
            volume=NOTHING, rate=Decimal(1), rate_currency="USD", account_currency="USD", rates={}, currency_digits=2
        ),
        lambda: margin.rate_per_lot(EURUSD, price=NOTHING, rate_per_million=Decimal(50)),
        lambda: margin.closing_conversion(
            "EUR", "USD", base="EUR", quote="USD", close_price=NOTHING, gain=True, rates=RATES
        ),
        lambda: largest("1000", low="0"),
        lambda: largest("1000", high="0"),
        lambda: largest("1000", step="-0.01"),
        lambda: replace(EURUSD, contract_size=NOTHING),
        lambda: replace(EURUSD, margin_rate=NOTHING),
        lambda: replace(EURUSD, tick_size=NOTHING),
    ],
)
def test_what_is_no_volume_price_or_size_is_a_bug_of_the_caller(reckon: Callable[[], object]) -> None:
    with pytest.raises(AssertionError, match="is positive"):
        reckon()


def test_float_in_the_arithmetic_raises_instead_of_spreading() -> None:
    with pytest.raises((TypeError, FloatOperation, AttributeError)):
        locked(volume=0.1).amount  # noqa: B018  # reading it reckons it


# --- Profit -------------------------------------------------------------------------------------------------------


def test_profit_follows_the_side_of_the_position() -> None:
    assert earned(side=BUY).amount == Decimal("300.00")
    assert earned(side=SELL).amount == Decimal("-300.00")


def test_profit_keeps_every_step_of_its_way() -> None:
    result = earned(EURJPY, price_open=Decimal("138.700"), price_close=Decimal("138.711"), volume=Decimal("0.5"))
    assert (result.move, result.in_quote) == (Decimal("0.011"), Decimal(550))
    assert result.conversion.path == ("1 / USDJPY ask 108.5",)
    assert round(result.unrounded, 6) == Decimal("5.069124")
    assert result.amount == Decimal("5.07")


def test_position_closed_where_it_opened_earns_nothing_and_is_called_a_profit() -> None:
    result = earned(price_close=Decimal("1.2790"), account_currency="JPY", currency_digits=0)
    assert result.conversion.path == ("USDJPY bid 108.4",)
    assert result.amount == 0
    assert margin.explain_profit(result)[-1]["label"] == "Profit, in JPY, rounded half-even to 0 decimals"


def test_profit_is_refused_when_its_currency_cannot_be_converted() -> None:
    with pytest.raises(RateUnavailable):
        earned(account_currency="CHF")


def test_new_position_floats_at_the_cost_of_its_spread() -> None:
    for side in Side:
        price = RATES["EURUSD"]
        result = margin.floating(
            EURUSD,
            side=side,
            volume=Decimal(1),
            price_open=price.to_open(side),
            price=price,
            account_currency="USD",
            rates=RATES,
            currency_digits=2,
        )
        assert result.amount == Decimal("-10.00")


# --- The account --------------------------------------------------------------------------------------------------


def test_equity_counts_credit_and_floating_and_free_margin_leaves_out_what_is_held() -> None:
    state = AccountState(balance=Decimal(1000), credit=Decimal(200), floating=Decimal(-150), held=Decimal(400))
    assert (state.equity, state.free_margin, state.margin_level) == (Decimal(1050), Decimal(650), Decimal("262.5"))


def test_margin_level_is_unknown_when_nothing_is_held() -> None:
    state = AccountState(balance=Decimal(1000), credit=Decimal(0), floating=Decimal(0), held=Decimal(0))
    assert state.margin_level is None
    assert margin.shown_level(state.margin_level) is None


def test_margin_level_is_rounded_for_display_only() -> None:
    state = AccountState(balance=Decimal("49.999"), credit=Decimal(0), floating=Decimal(0), held=Decimal(100))
    assert state.margin_level == Decimal("49.999")
    assert margin.shown_level(state.margin_level) == Decimal("50.00")


@pytest.mark.parametrize(
    "field, value", [("balance", "NaN"), ("credit", "-1"), ("held", "-1"), ("floating", "Infinity")]
)
def test_account_with_impossible_figures_is_a_bug_of_the_caller(field: str, value: str) -> None:
    figures = {"balance": "1", "credit": "0", "floating": "0", "held": "0", field: value}
    with pytest.raises(AssertionError):
        AccountState(**{name: Decimal(figure) for name, figure in figures.items()})


def test_hedge_holds_its_larger_leg_symbol_by_symbol() -> None:
    legs = [
        ("EURUSD", BUY, Decimal(100)),
        ("EURUSD", BUY, Decimal(50)),
        ("EURUSD", SELL, Decimal(120)),
        ("GBPUSD", SELL, Decimal(70)),
    ]
    assert margin.held(legs) == 150 + 70


def test_partial_close_releases_its_share_of_what_was_locked_at_the_opening() -> None:
    assert margin.released(
        locked_initial=Decimal("1279.00"),
        locked_remaining=Decimal("856.93"),
        volume_initial=Decimal(1),
        volume_remaining=Decimal("0.67"),
        volume_closed=Decimal("0.33"),
        currency_digits=2,
    ) == Decimal("422.07")


def test_last_close_releases_exactly_what_is_left() -> None:
    assert margin.released(
        locked_initial=Decimal("1279.00"),
        locked_remaining=Decimal("434.86"),
        volume_initial=Decimal(1),
        volume_remaining=Decimal("0.34"),
        volume_closed=Decimal("0.34"),
        currency_digits=2,
    ) == Decimal("434.86")


def test_partial_close_releases_in_proportion_to_the_volume_that_was_opened() -> None:
    assert margin.released(
        locked_initial=Decimal("1000.00"),
        locked_remaining=Decimal("750.00"),
        volume_initial=Decimal(4),
        volume_remaining=Decimal(3),
        volume_closed=Decimal("0.5"),
        currency_digits=2,
    ) == Decimal("125.00")


def test_partial_close_never_releases_more_than_is_left() -> None:
    assert margin.released(
        locked_initial=Decimal("0.03"),
        locked_remaining=Decimal("0.01"),
        volume_initial=Decimal(3),
        volume_remaining=Decimal(2),
        volume_closed=Decimal("1.6"),
        currency_digits=2,
    ) == Decimal("0.01")


@pytest.mark.parametrize("remaining, closed", [("0.5", "0.6"), ("0.5", "0"), ("2", "1")])
def test_closing_more_than_is_open_is_a_bug_of_the_caller(remaining: str, closed: str) -> None:
    with pytest.raises(AssertionError):
        margin.released(
            locked_initial=Decimal(100),
            locked_remaining=Decimal(50),
            volume_initial=Decimal(1),
            volume_remaining=Decimal(remaining),
            volume_closed=Decimal(closed),
            currency_digits=2,
        )


@pytest.mark.parametrize("balance, expected", [("-137.98", "137.98"), ("0", "0"), ("12.34", "0")])
def test_negative_balance_is_compensated_to_zero_and_no_further(balance: str, expected: str) -> None:
    assert margin.negative_balance_compensation(Decimal(balance)) == Decimal(expected)


# --- The largest volume -------------------------------------------------------------------------------------------


def largest(
    free_margin: str, per_lot: str = "1279.00", low: str = "0.01", high: str = "50", step: str = "0.01"
) -> Decimal:
    return margin.max_volume(
        free_margin=Decimal(free_margin),
        required=lambda volume: margin.booked(volume * Decimal(per_lot), 2),
        volume_min=Decimal(low),
        volume_max=Decimal(high),
        volume_step=Decimal(step),
    )


def test_largest_volume_is_free_margin_over_margin_per_lot_floored_to_the_step() -> None:
    assert largest("10000") == Decimal("7.81")
    assert largest("10000", step="0.1", low="0.1") == Decimal("7.8")


def test_largest_volume_may_take_the_last_cent() -> None:
    assert largest("1279.00") == 1
    assert largest("1278.99") == Decimal("0.99")
    assert largest("12.79") == Decimal("0.01")


def test_largest_volume_stops_at_the_instruments_maximum() -> None:
    assert largest("1000000") == 50
    assert largest("1000000", low="50") == 50


def test_largest_volume_is_nothing_when_the_smallest_does_not_fit() -> None:
    assert largest("12.78") == 0
    assert largest("-5") == 0
    assert largest("10000", low="2", high="1") == 0


def test_largest_volume_keeps_to_the_grid_when_the_limits_lie_off_it() -> None:
    assert largest("1000000", low="0.25", high="0.99", step="0.1") == Decimal("0.9")
    assert largest("400", low="0.25", step="0.1") == Decimal("0.3")
    assert largest("300", low="0.25", step="0.1") == 0


# --- Swaps and commissions ----------------------------------------------------------------------------------------


def charged(contract: Contract, value: str, mode: SwapMode, **changes: object) -> margin.Swap:
    terms: dict[str, object] = {
        "volume": Decimal(1),
        "price": Decimal("1.2800"),
        "nights": 1,
        "account_currency": "USD",
        "rates": RATES,
        "currency_digits": 2,
    }
    return margin.swap(contract, rate=SwapRate(Decimal(value), mode), **{**terms, **changes})  # type: ignore[arg-type]


def test_swap_in_points_counts_the_last_digit_of_the_price() -> None:
    assert charged(EURUSD, "-7", SwapMode.POINTS).amount == Decimal("-7.00")


def test_swap_in_percent_divides_by_its_own_year() -> None:
    assert charged(EURUSD, "-3.6", SwapMode.ANNUAL_360).amount == Decimal("-12.80")
    assert charged(EURUSD, "3.65", SwapMode.ANNUAL_365).amount == Decimal("12.80")


def test_swap_received_is_sold_at_the_bid_and_swap_paid_bought_at_the_ask() -> None:
    yen = {"account_currency": "JPY", "currency_digits": 0}
    assert charged(EURUSD, "100", SwapMode.POINTS, **yen).conversion.path == ("USDJPY bid 108.4",)
    assert charged(EURUSD, "-100", SwapMode.POINTS, **yen).conversion.path == ("USDJPY ask 108.5",)


def test_swap_on_an_account_in_the_base_currency_uses_the_instruments_price() -> None:
    result = charged(USDJPY, "-10", SwapMode.POINTS, price=Decimal(125), rates={})
    assert (result.in_quote, result.amount) == (Decimal(-1000), Decimal("-8.00"))


def test_swap_rate_of_zero_converts_like_a_gain_and_books_nothing() -> None:
    result = charged(EURUSD, "0", SwapMode.POINTS, account_currency="JPY", currency_digits=0)
    assert result.conversion.path == ("USDJPY bid 108.4",)
    assert result.amount == 0


def test_swap_over_no_night_is_nothing() -> None:
    assert charged(EURUSD, "-7", SwapMode.POINTS, nights=0).amount == 0


def test_sterling_counts_365_days_and_the_others_360() -> None:
    assert margin.annual_mode("GBP") is SwapMode.ANNUAL_365
    assert margin.annual_mode("USD") is SwapMode.ANNUAL_360


@pytest.mark.parametrize("triple_weekday", [None, 0, 1, 2, 3, 4])
def test_week_charges_seven_nights_whatever_day_is_triple(triple_weekday: int | None) -> None:
    nights = [margin.swap_nights(weekday=day, triple_weekday=triple_weekday) for day in range(7)]
    assert sum(nights) == 7
    if triple_weekday is not None:
        assert nights[triple_weekday] == 3
        assert nights[5:] == [0, 0]


@pytest.mark.parametrize("weekday, triple_weekday", [(7, 2), (-1, 2), (0, 5)])
def test_weekday_that_does_not_exist_is_a_bug_of_the_caller(weekday: int, triple_weekday: int) -> None:
    with pytest.raises(AssertionError):
        margin.swap_nights(weekday=weekday, triple_weekday=triple_weekday)


def test_commission_is_lots_times_rate_bought_in_its_own_currency() -> None:
    def pay(rate: str, account_currency: str) -> margin.Charge:
        return margin.commission(
            volume=Decimal("0.3"),
            rate=Decimal(rate),
            rate_currency="USD",
            account_currency=account_currency,
            rates=RATES,
            currency_digits=2,
        )

    assert pay("3.50", "USD").amount == Decimal("1.05")
    assert pay("3.50", "EUR").conversion.path == ("1 / EURUSD bid 1.2789",)
    assert pay("3.50", "EUR").in_currency == Decimal("1.05")
    assert pay("0", "USD").amount == 0
    with pytest.raises(AssertionError):
        pay("-1", "USD")


def test_rate_per_million_becomes_a_rate_per_lot_to_the_last_digit() -> None:
    rate = margin.rate_per_lot(EURUSD, price=Decimal("1.23457"), rate_per_million=Decimal("27.5"))
    assert rate == Decimal("3.395067500")


# --- Explanations -------------------------------------------------------------------------------------------------


def on_a_calculator(formula: str) -> Fraction:
    """Type the formula in from left to right, as its reader would."""
    first, *rest = formula.split(" ")
    result = Fraction(first)
    for sign, number in zip(rest[::2], rest[1::2], strict=True):
        value = Fraction(number)
        result = {"×": result * value, "÷": result / value, "−": result - value}[sign]
    return result


def assert_recomputes(lines: list[Line], amount: Decimal) -> None:
    for line in lines[:-1]:
        assert abs(on_a_calculator(line["formula"]) - Fraction(line["value"])) <= Fraction(1, 2 * 10**12), line
    assert Decimal(lines[-1]["value"]) == amount
    assert abs(on_a_calculator(lines[-1]["formula"]) - Fraction(amount)) <= Fraction(1, 2)


def test_explained_margin_recomputes_line_by_line() -> None:
    result = locked(
        replace(EURUSD, margin_rate=Decimal("1.15")), leverage=30, account_currency="JPY", currency_digits=0
    )
    lines = margin.explain_margin(result)
    assert_recomputes(lines, result.amount)
    assert [line["label"] for line in lines] == [
        "Lots × contract size ÷ leverage, in EUR",
        "The same × margin rate, in EUR",
        "EURUSD ask, to multiply by",
        "USDJPY ask, to multiply by",
        "Converted, in JPY",
        "Margin locked, in JPY, rounded half-even to 0 decimals",
    ]
    assert lines[-2]["formula"] == "1 × 100000 ÷ 30 × 1.15 × 1.279 × 108.5"


def test_explained_cfd_margin_names_its_price_and_no_leverage_it_did_not_use() -> None:
    result = locked(GOLD, price=Decimal("1940.00"))
    lines = margin.explain_margin(result)
    assert_recomputes(lines, result.amount)
    assert [(line["label"], line["formula"], line["value"]) for line in lines] == [
        ("Lots × contract size × opening price, in USD", "1 × 100 × 1940", "194000"),
        ("The same × margin rate, in USD", "1 × 100 × 1940 × 0.05", "9700"),
        ("Margin locked, in USD, rounded half-even to 2 decimals", "9700", "9700.00"),
    ]


def test_explained_profit_recomputes_line_by_line() -> None:
    for side, price_close in [(BUY, "108.483"), (SELL, "108.483"), (SELL, "107.879")]:
        result = earned(USDJPY, side=side, price_open=Decimal("108.183"), price_close=Decimal(price_close))
        lines = margin.explain_profit(result)
        assert_recomputes(lines, result.amount)
        assert lines[-1]["label"].startswith("Profit" if result.amount > 0 else "Loss")
    assert [(line["label"], line["formula"], line["value"]) for line in lines] == [
        ("Opening price − closing price", "108.183 − 107.879", "0.304"),
        ("Price difference × contract size × lots, in JPY", "0.304 × 100000 × 1", "30400"),
        ("USDJPY close, to divide by", "107.879", "107.879"),
        ("Converted, in USD", "30400 ÷ 107.879", "281.797198713373"),
        ("Profit, in USD, rounded half-even to 2 decimals", "281.797198713373", "281.80"),
    ]
    assert margin.explain_profit(earned(side=BUY))[0]["label"] == "Closing price − opening price"


def test_explained_swap_in_points_and_in_percent_recomputes_line_by_line() -> None:
    points = charged(EURUSD, "-7", SwapMode.POINTS, nights=3)
    lines = margin.explain_swap(points)
    assert_recomputes(lines, points.amount)
    assert [(line["label"], line["formula"], line["value"]) for line in lines] == [
        ("Lots × contract size × point × points × nights, in USD", "1 × 100000 × 0.00001 × -7 × 3", "-21"),
        ("Swap, in USD, rounded half-even to 2 decimals", "-21", "-21.00"),
    ]
    percent = charged(EURUSD, "-3.6", SwapMode.ANNUAL_360, nights=3)
    lines = margin.explain_swap(percent)
    assert_recomputes(lines, percent.amount)
    assert [(line["label"], line["formula"], line["value"]) for line in lines] == [
        (
            "Lots × contract size × price × percent a year ÷ 100 ÷ days × nights, in USD",
            "1 × 100000 × 1.28 × -3.6 ÷ 100 ÷ 360 × 3",
            "-38.4",
        ),
        ("Swap, in USD, rounded half-even to 2 decimals", "-38.4", "-38.40"),
    ]


def test_explained_figures_can_be_rebuilt_from_a_stored_path() -> None:
    result = earned(EURJPY, price_open=Decimal("138.700"), price_close=Decimal("138.711"), account_currency="GBP")
    assert replace(result, conversion=Conversion.along(list(result.conversion.path))) == result


@pytest.mark.parametrize(
    "number, shown", [("1E+3", "1000"), ("0.10", "0.1"), ("100", "100"), ("-0.00000001", "-0.00000001"), ("0.00", "0")]
)
def test_numbers_are_written_as_people_write_them(number: str, shown: str) -> None:
    assert margin.plain(Decimal(number)) == shown


def test_amount_that_rounds_to_nothing_is_shown_without_a_minus() -> None:
    assert str(margin.booked(Decimal("-0.001"), 2)) == "0.00"


def test_no_amount_is_written_with_an_exponent() -> None:
    nothing = charged(EURUSD, "0", SwapMode.POINTS, currency_digits=8)
    assert margin.explain_swap(nothing)[-1]["value"] == "0.00000000"


def test_the_callers_decimal_context_is_there_again_afterwards() -> None:
    with localcontext(prec=7) as own:
        locked().amount  # noqa: B018  # reading it reckons it
        assert getcontext() is own
        with pytest.raises(AssertionError):
            locked(volume=NOTHING)
        assert getcontext() is own


# --- The module itself --------------------------------------------------------------------------------------------


def test_arithmetic_needs_nothing_but_the_standard_library() -> None:
    script = "import sys, trading.margin; sys.exit(any(name.split('.')[0] == 'django' for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_every_name_the_arithmetic_offers_exists() -> None:
    assert all(hasattr(margin, name) for name in margin.__all__)
