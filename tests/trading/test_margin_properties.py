"""What holds for every trade, not only for the examples: the arithmetic against exact fractions and against itself."""

from __future__ import annotations

import decimal
import itertools
from decimal import ROUND_UP, Decimal
from fractions import Fraction
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from trading import margin
from trading.margin import AccountState, Contract, Conversion, Mode, Price, Rates, Side, SwapMode, SwapRate

#: No time limit on an example: cores are shared, and slowness is not what these tests look for.
unhurried = settings(deadline=None)

CURRENCIES = ["USD", "EUR", "GBP", "JPY"]


def decimals(low: str, high: str, places: int) -> st.SearchStrategy[Decimal]:
    return st.decimals(min_value=Decimal(low), max_value=Decimal(high), places=places, allow_nan=False)


sides = st.sampled_from(Side)
volumes = decimals("0.0001", "1000", 4)
pair_prices = decimals("0.00001", "200000", 5)
digits = st.sampled_from([0, 2, 3, 8])
leverages = st.integers(min_value=1, max_value=3000)


@st.composite
def prices(draw: st.DrawFn) -> Price:
    bid, spread = draw(pair_prices), draw(decimals("0", "1", 5))
    return Price(bid, bid + spread)


@st.composite
def markets(draw: st.DrawFn) -> dict[str, Price]:
    """Every currency against the dollar, each pair whichever way round."""
    return {draw(st.sampled_from([f"{one}USD", f"USD{one}"])): draw(prices()) for one in CURRENCIES if one != "USD"}


@st.composite
def contracts(draw: st.DrawFn) -> Contract:
    base, quote = draw(st.permutations(CURRENCIES))[:2]
    mode = draw(st.sampled_from(Mode))
    return Contract(
        symbol=base + quote,
        base=base,
        quote=quote,
        margin_currency=base if mode is Mode.FOREX else quote,
        contract_size=draw(st.sampled_from([Decimal(1), Decimal(100), Decimal(100000)])),
        mode=mode,
        margin_rate=draw(decimals("0.0001", "10", 12)),
        leverage_max=draw(st.none() | leverages),
        tick_size=Decimal("0.00001"),
        digits=5,
    )


def required(contract: Contract, side: Side, volume: Decimal, price: Decimal, leverage: int, rates: Rates) -> Decimal:
    return margin.required_margin(
        contract,
        side=side,
        volume=volume,
        price=price,
        leverage=leverage,
        account_currency="USD",
        rates=rates,
        currency_digits=2,
    ).amount


def earned(
    contract: Contract, side: Side, volume: Decimal, opened: Decimal, closed: Decimal, rates: Rates, places: int = 2
) -> margin.Profit:
    return margin.profit(
        contract,
        side=side,
        volume=volume,
        price_open=opened,
        price_close=closed,
        account_currency="USD",
        rates=rates,
        currency_digits=places,
    )


# --- An independent reckoning in fractions, which never round ---------------------------------------------------------


def worth(source: str, *, bought: bool, rates: Rates) -> Fraction:
    """Dollars per unit of `source`: what it costs when bought, what it brings when sold."""
    if source == "USD":
        return Fraction(1)
    if f"{source}USD" in rates:
        pair = rates[f"{source}USD"]
        return Fraction(pair.ask if bought else pair.bid)
    pair = rates[f"USD{source}"]
    return 1 / Fraction(pair.bid if bought else pair.ask)


def half_even(exact: Fraction, places: int) -> Fraction:
    return Fraction(round(exact * 10**places), 10**places)  # `round` of a fraction is half-even


@unhurried
@given(contracts(), sides, volumes, pair_prices, leverages, markets(), digits)
def test_margin_equals_the_exact_fraction_rounded_once(
    contract: Contract, side: Side, volume: Decimal, price: Decimal, leverage: int, rates: Rates, places: int
) -> None:
    size = Fraction(volume) * Fraction(contract.contract_size) * Fraction(contract.margin_rate)
    if contract.mode is not Mode.FOREX:
        size *= Fraction(price)
    if contract.mode is not Mode.CFD:
        size /= min(leverage, contract.leverage_max or leverage)
    exact = size * worth(contract.margin_currency, bought=side is Side.BUY, rates=rates)
    amount = margin.required_margin(
        contract,
        side=side,
        volume=volume,
        price=price,
        leverage=leverage,
        account_currency="USD",
        rates=rates,
        currency_digits=places,
    ).amount
    assert Fraction(amount) == half_even(exact, places)


@unhurried
@given(contracts(), sides, volumes, pair_prices, pair_prices, markets(), digits)
def test_profit_equals_the_exact_fraction_rounded_once(
    contract: Contract, side: Side, volume: Decimal, opened: Decimal, closed: Decimal, rates: Rates, places: int
) -> None:
    in_quote = (Fraction(closed) - Fraction(opened)) * Fraction(contract.contract_size) * Fraction(volume)
    in_quote = in_quote if side is Side.BUY else -in_quote
    if contract.base == "USD":
        exact = in_quote / Fraction(closed)
    else:
        exact = in_quote * worth(contract.quote, bought=in_quote < 0, rates=rates)
    result = earned(contract, side, volume, opened, closed, rates, places)
    assert Fraction(result.amount) == half_even(exact, places)


# --- Sides and spreads ------------------------------------------------------------------------------------------------


@unhurried
@given(contracts(), volumes, pair_prices, pair_prices, markets())
def test_long_and_short_earn_opposite_amounts_where_there_is_no_spread(
    contract: Contract, volume: Decimal, opened: Decimal, closed: Decimal, rates: dict[str, Price]
) -> None:
    no_spread = {symbol: Price(price.bid, price.bid) for symbol, price in rates.items()}
    long, short = (earned(contract, side, volume, opened, closed, no_spread).amount for side in Side)
    assert long == -short


@unhurried
@given(contracts(), volumes, prices(), prices(), markets())
def test_long_and_short_together_never_earn_where_there_is_a_spread(
    contract: Contract, volume: Decimal, opened: Price, closed: Price, rates: Rates
) -> None:
    def moved(side: Side) -> Decimal:
        return earned(contract, side, volume, opened.to_open(side), closed.to_close(side), rates).in_quote

    assert moved(Side.BUY) + moved(Side.SELL) <= 0


@unhurried
@given(contracts(), sides, volumes, prices(), markets())
def test_new_position_never_floats_above_zero(
    contract: Contract, side: Side, volume: Decimal, price: Price, rates: Rates
) -> None:
    result = margin.floating(
        contract,
        side=side,
        volume=volume,
        price_open=price.to_open(side),
        price=price,
        account_currency="USD",
        rates=rates,
        currency_digits=2,
    )
    assert result.amount <= 0


# --- Conversion -------------------------------------------------------------------------------------------------------


@unhurried
@given(st.sampled_from(CURRENCIES), st.sampled_from(CURRENCIES), sides, markets(), decimals("0.01", "1000000", 2))
def test_conversion_there_and_back_on_one_price_gives_the_amount_again(
    source: str, target: str, side: Side, rates: Rates, amount: Decimal
) -> None:
    there = margin.conversion(source, target, side=side, rates=rates)
    back = margin.conversion(target, source, side=side.opposite, rates=rates)
    assert margin.booked(back.of(there.of(amount)), 20) == amount


@unhurried
@given(st.sampled_from(CURRENCIES), st.sampled_from(CURRENCIES), markets())
def test_buying_a_currency_never_costs_less_than_selling_it_brings(source: str, target: str, rates: Rates) -> None:
    bought, sold = (margin.conversion(source, target, side=side, rates=rates) for side in Side)
    assert bought.rate >= sold.rate


@unhurried
@given(st.sampled_from(CURRENCIES), st.sampled_from(CURRENCIES), sides, markets())
def test_stored_path_gives_back_the_very_same_conversion(source: str, target: str, side: Side, rates: Rates) -> None:
    used = margin.conversion(source, target, side=side, rates=rates)
    assert Conversion.along(used.path) == used
    assert len(used.path) <= 2


# --- Partial closes ---------------------------------------------------------------------------------------------------


@unhurried
@given(
    st.lists(st.integers(min_value=1, max_value=5000), min_size=1, max_size=12),
    decimals("0", "1000000", 2),
    st.sampled_from([0, 2]),
)
def test_parts_of_a_position_release_the_whole_margin_however_it_is_split(
    parts: list[int], locked: Decimal, places: int
) -> None:
    locked = margin.booked(locked, places)
    volume = sum(parts)
    remaining_volume, remaining_locked = volume, locked
    for part in parts:
        freed = margin.released(
            locked_initial=locked,
            locked_remaining=remaining_locked,
            volume_initial=Decimal(volume).scaleb(-2),
            volume_remaining=Decimal(remaining_volume).scaleb(-2),
            volume_closed=Decimal(part).scaleb(-2),
            currency_digits=places,
        )
        assert 0 <= freed <= remaining_locked
        if part < remaining_volume:
            share = half_even(Fraction(locked) * part / volume, places)
            assert Fraction(freed) == min(share, Fraction(remaining_locked))
        assert freed == margin.booked(freed, places), "what is released can be booked"
        remaining_volume, remaining_locked = remaining_volume - part, remaining_locked - freed
    assert remaining_volume == remaining_locked == 0


# --- Held margin ------------------------------------------------------------------------------------------------------

legs_of_positions = st.lists(
    st.tuples(st.sampled_from(["EURUSD", "GBPUSD", "USDJPY"]), sides, decimals("0", "100000", 2)), max_size=10
)


def test_nothing_is_held_when_nothing_is_open() -> None:
    assert margin.held([]) == 0


@unhurried
@given(legs_of_positions, st.randoms(use_true_random=False))
def test_held_margin_does_not_depend_on_the_order_of_positions(
    legs: list[tuple[str, Side, Decimal]], random: Random
) -> None:
    shuffled = list(legs)
    random.shuffle(shuffled)
    assert margin.held(shuffled) == margin.held(legs)


@unhurried
@given(legs_of_positions)
def test_held_margin_lies_between_half_of_what_is_locked_and_all_of_it(legs: list[tuple[str, Side, Decimal]]) -> None:
    gross = sum((locked for _, _, locked in legs), start=Decimal(0))
    held = margin.held(legs)
    assert held <= gross <= 2 * held
    for symbol, side in itertools.product({symbol for symbol, _, _ in legs}, Side):
        leg = sum((locked for s, d, locked in legs if (s, d) == (symbol, side)), start=Decimal(0))
        assert held >= leg


@unhurried
@given(legs_of_positions, st.tuples(st.just("EURUSD"), sides, decimals("0", "100000", 2)))
def test_held_margin_never_falls_when_a_position_opens(
    legs: list[tuple[str, Side, Decimal]], opened: tuple[str, Side, Decimal]
) -> None:
    assert margin.held(legs) <= margin.held([*legs, opened]) <= margin.held(legs) + opened[2]


# --- The account ------------------------------------------------------------------------------------------------------


@unhurried
@given(*[decimals("0", "1000000", 2)] * 2, decimals("-1000000", "1000000", 2), decimals("0.01", "1000000", 2))
def test_margin_level_is_a_hundred_exactly_when_nothing_is_free(
    balance: Decimal, credit: Decimal, floating: Decimal, held: Decimal
) -> None:
    state = AccountState(balance=balance, credit=credit, floating=floating, held=held)
    assert state.margin_level is not None
    assert (state.margin_level > 100, state.margin_level < 100) == (state.free_margin > 0, state.free_margin < 0)
    at_the_edge = AccountState(balance=held, credit=Decimal(0), floating=Decimal(0), held=held)
    assert at_the_edge.margin_level == 100
    assert at_the_edge.free_margin == 0


# --- The largest volume -----------------------------------------------------------------------------------------------


@unhurried
@given(
    contracts(), sides, pair_prices, leverages, markets(), decimals("-1000", "1000000", 2),
    st.sampled_from(["0.0001", "0.01", "0.1", "1"]), st.integers(min_value=1, max_value=50),
    st.integers(min_value=0, max_value=100000), legs_of_positions,
)  # fmt: skip
def test_largest_volume_really_fits_and_one_more_step_does_not(
    contract: Contract,
    side: Side,
    price: Decimal,
    leverage: int,
    rates: Rates,
    free: Decimal,
    step_text: str,
    first: int,
    span: int,
    legs: list[tuple[str, Side, Decimal]],
) -> None:
    step = Decimal(step_text)
    low, high = first * step, (first + span) * step

    def more(volume: Decimal) -> Decimal:
        """What the position adds to the margin held beside others, hedges included."""
        locked = required(contract, side, volume, price, leverage, rates)
        return margin.held([*legs, (contract.symbol, side, locked)]) - margin.held(legs)

    volume = margin.max_volume(free_margin=free, required=more, volume_min=low, volume_max=high, volume_step=step)
    if volume == 0:
        assert more(low) > free
        return
    assert low <= volume <= high
    assert volume % step == 0
    assert more(volume) <= free
    assert volume == high or more(volume + step) > free


@unhurried
@given(decimals("0", "1000000", 2), decimals("0.01", "100000", 2))
def test_largest_volume_is_the_plain_division_where_margin_is_in_proportion(free: Decimal, per_lot: Decimal) -> None:
    volume = margin.max_volume(
        free_margin=free,
        required=lambda lots: lots * per_lot,
        volume_min=Decimal("0.01"),
        volume_max=Decimal(100000000),
        volume_step=Decimal("0.01"),
    )
    assert volume == Decimal(Fraction(free) / Fraction(per_lot) * 100 // 1) / 100


# --- Exactness --------------------------------------------------------------------------------------------------------


@unhurried
@given(
    contracts(), sides, volumes, pair_prices, pair_prices, leverages, markets(), st.integers(min_value=2, max_value=12)
)
def test_results_do_not_depend_on_the_callers_decimal_context(
    contract: Contract,
    side: Side,
    volume: Decimal,
    opened: Decimal,
    closed: Decimal,
    leverage: int,
    rates: Rates,
    precision: int,
) -> None:
    price, overdrawn = Price(opened, opened + Decimal("0.00001")), -opened

    def everything() -> list[object]:
        result = earned(contract, side, volume, opened, closed, rates)
        locked = margin.required_margin(
            contract,
            side=side,
            volume=volume,
            price=opened,
            leverage=leverage,
            account_currency="USD",
            rates=rates,
            currency_digits=2,
        )
        swap = margin.swap(
            contract,
            rate=SwapRate(closed, SwapMode.ANNUAL_365),
            volume=volume,
            price=opened,
            nights=3,
            account_currency="USD",
            rates=rates,
            currency_digits=2,
        )
        charge = margin.commission(
            volume=volume,
            rate=margin.rate_per_lot(contract, price=opened, rate_per_million=closed),
            rate_currency=contract.quote,
            account_currency="USD",
            rates=rates,
            currency_digits=2,
        )
        state = AccountState(balance=opened, credit=volume, floating=result.amount, held=locked.amount)
        return [
            (swap.dividend, swap.in_quote, swap.amount, charge.dividend, charge.in_currency, charge.amount),
            (freed(locked.amount), largest()),
            (result.in_quote, result.unrounded, result.amount, result.conversion.rate),
            (locked.in_margin_currency, locked.unrounded, locked.amount),
            (state.equity, state.free_margin, state.margin_level, margin.shown_level(state.margin_level)),
            (margin.held([("A", side, locked.amount), ("B", side, opened)]), price.mid, contract.point),
            (margin.negative_balance_compensation(overdrawn), margin.booked(opened, 4), margin.plain(opened, 4)),
            (margin.explain_margin(locked), margin.explain_profit(result)),
        ]

    def freed(initial: Decimal) -> Decimal:
        return margin.released(
            locked_initial=initial,
            locked_remaining=initial,
            volume_initial=three_parts,
            volume_remaining=three_parts,
            volume_closed=volume,
            currency_digits=2,
        )

    def largest() -> Decimal:
        return margin.max_volume(
            free_margin=opened,
            required=lambda lots: lots,
            volume_min=Decimal("0.0001"),
            volume_max=Decimal(1000000),
            volume_step=Decimal("0.0001"),
        )

    three_parts = 3 * volume
    usual = everything()
    with decimal.localcontext(decimal.Context(prec=precision, rounding=ROUND_UP, traps=[decimal.InvalidOperation])):
        assert everything() == usual
