"""An explanation is a figure recomputed in steps that anybody can follow on a calculator."""

from __future__ import annotations

from decimal import Decimal
from typing import Final, TypedDict

from trading.margin.costs import Swap, SwapMode
from trading.margin.currencies import INVERSE, Conversion, read_step
from trading.margin.figures import booked, plain
from trading.margin.locking import Margin, base_margin, factors_of
from trading.margin.results import Profit
from trading.margin.terms import Mode, Side

#: Decimals an explanation shows of a number that has more.
EXPLAINED_DECIMALS: Final = 12


class Line(TypedDict):
    """One line of an explanation: what it is, how to get it on a calculator (left to right), and what comes out."""

    label: str
    formula: str
    value: str


def explain_margin(margin: Margin) -> list[Line]:
    """The margin recomputed line by line; every formula can be typed into a calculator from left to right."""
    contract, account, source = margin.contract, margin.account_currency, margin.contract.margin_currency
    formula = " × ".join(map(plain, factors_of(contract, margin.volume, margin.price)))
    label = "Lots × contract size" if contract.mode is Mode.FOREX else "Lots × contract size × opening price"
    if contract.mode is not Mode.CFD:
        formula, label = f"{formula} ÷ {margin.leverage}", f"{label} ÷ leverage"
    base = base_margin(contract, volume=margin.volume, price=margin.price, leverage=margin.leverage)
    rated = f"{formula} × {plain(contract.margin_rate)}"
    return [
        _line(f"{label}, in {source}", formula, base),
        _line(f"The same × margin rate, in {source}", rated, margin.in_margin_currency),
        *_conversion_lines(margin.conversion, account, rated, margin.unrounded),
        _rounding_line(f"Margin locked, in {account}", margin.unrounded, margin.currency_digits),
    ]


def explain_profit(profit: Profit) -> list[Line]:
    """The profit recomputed line by line; every formula can be typed into a calculator from left to right."""
    contract, account = profit.contract, profit.account_currency
    opened, closed = plain(profit.price_open), plain(profit.price_close)
    long = profit.side is Side.BUY
    in_quote = f"{plain(profit.move)} × {plain(contract.contract_size)} × {plain(profit.volume)}"
    return [
        _line(
            "Closing price − opening price" if long else "Opening price − closing price",
            f"{closed} − {opened}" if long else f"{opened} − {closed}",
            profit.move,
        ),
        _line(f"Price difference × contract size × lots, in {contract.quote}", in_quote, profit.in_quote),
        *_conversion_lines(profit.conversion, account, plain(profit.in_quote), profit.unrounded),
        _rounding_line(
            f"{'Profit' if profit.move >= 0 else 'Loss'}, in {account}", profit.unrounded, profit.currency_digits
        ),
    ]


def explain_swap(swap: Swap) -> list[Line]:
    """A night recomputed line by line; every formula can be typed into a calculator from left to right."""
    contract, account = swap.contract, swap.account_currency
    in_points = swap.rate.mode is SwapMode.POINTS
    per_unit = contract.point if in_points else swap.price
    formula = " × ".join(map(plain, (swap.volume, contract.contract_size, per_unit, swap.rate.value)))
    label = "Lots × contract size × " + ("point × points" if in_points else "price × percent a year")
    if not in_points:
        formula, label = f"{formula} ÷ 100 ÷ {swap.divisor // 100}", f"{label} ÷ 100 ÷ days"
    return [
        _line(f"{label} × nights, in {contract.quote}", f"{formula} × {swap.nights}", swap.in_quote),
        *_conversion_lines(swap.conversion, account, plain(swap.in_quote), swap.unrounded),
        _rounding_line(f"Swap, in {account}", swap.unrounded, swap.currency_digits),
    ]


def _conversion_lines(conversion: Conversion, target: str, formula: str, converted: Decimal) -> list[Line]:
    """The prices used and what they make of the amount; nothing where the currency stays the same."""
    if not conversion.path:
        return []
    lines = []
    for step in conversion.path:
        inverse, price = read_step(step)
        named = step.removeprefix(INVERSE).rsplit(" ", 1)[0]
        lines.append(_line(f"{named}, to {'divide' if inverse else 'multiply'} by", plain(price), price))
    return [*lines, _line(f"Converted, in {target}", f"{formula}{conversion.formula}", converted)]


def _rounding_line(label: str, unrounded: Decimal, decimals: int) -> Line:
    rounding = f"rounded half-even to {decimals} decimals"
    return Line(
        label=f"{label}, {rounding}",
        formula=plain(unrounded, EXPLAINED_DECIMALS),
        value=format(booked(unrounded, decimals), "f"),
    )


def _line(label: str, formula: str, value: Decimal) -> Line:
    return Line(label=label, formula=formula, value=plain(value, EXPLAINED_DECIMALS))
