"""What was booked is recomputed from what was kept, line by line, so that nobody has to take our word for it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from core.money import CURRENCIES, show
from trading import margin
from trading.leverage import explain_leverage
from trading.margin import Contract, Conversion, Line, Side
from trading.models import Deal, Swap

ZERO = Decimal(0)


def explain(deal: Deal) -> dict[str, Any]:
    """
    A deal with every line of its arithmetic, and whether the recomputed figures equal the booked ones.

    Opening deals explain margin and commission; closing deals profit, released margin, commission, and what the house
    made good.
    """
    currency = deal.inputs["currency"]
    sections = [_opening_margin(deal), _commission(deal)] if deal.entry == Deal.Entry.IN else _closing(deal)
    return {
        "deal": deal.id,
        "position": deal.position_id,
        "entry": deal.entry,
        "symbol": deal.instrument_id,
        "side": deal.side,
        "volume": margin.plain(deal.volume),
        "price": margin.plain(deal.price),
        "price_open": margin.plain(deal.price_open),
        "currency": currency,
        "quote": deal.inputs["quote"],
        "sections": sections,
        "agrees": all(section["booked"] == section["recomputed"] for section in sections),
        "transaction": deal.transaction_id,
        "executed_at": deal.executed_at,
    }


def explain_swap(swap: Swap) -> tuple[list[Line], bool]:
    """Every line of a night's arithmetic, and whether the recomputed figure equals the booked one."""
    currency = swap.inputs["currency"]
    night = margin.Swap(
        contract=_contract(swap),
        rate=margin.SwapRate(swap.rate, margin.SwapMode(swap.mode)),
        volume=swap.volume,
        price=swap.price,
        nights=swap.nights,
        conversion=Conversion.along(swap.inputs["conversion_path"]),
        account_currency=currency,
        currency_digits=CURRENCIES[currency].digits,
    )
    return margin.explain_swap(night), night.amount == swap.amount


def _contract(booked: Deal | Swap) -> Contract:
    terms = booked.inputs["terms"]
    return Contract(
        symbol=terms["symbol"],
        base=terms["base"],
        quote=terms["quote"],
        margin_currency=terms["margin_currency"],
        contract_size=Decimal(terms["contract_size"]),
        mode=margin.Mode(terms["mode"]),
        margin_rate=Decimal(terms["margin_rate"]),
        leverage_max=terms["leverage_max"],
        tick_size=Decimal(terms["tick_size"]),
        digits=terms["digits"],
    )


def _section(name: str, deal: Deal, booked: Decimal, recomputed: Decimal, lines: list[Line]) -> dict[str, Any]:
    currency = deal.inputs["currency"]
    return {
        "name": name,
        "lines": lines,
        "recomputed": show(recomputed, currency),
        "booked": show(booked, currency),
    }


def _opening_margin(deal: Deal) -> dict[str, Any]:
    currency = deal.inputs["currency"]
    locked = margin.Margin(
        contract=_contract(deal),
        side=Side(deal.side),
        volume=deal.volume,
        price=deal.price,
        leverage=deal.inputs["leverage"],
        conversion=Conversion.along(deal.inputs["margin_path"]),
        account_currency=currency,
        currency_digits=CURRENCIES[currency].digits,
    )
    divides = locked.contract.mode is not margin.Mode.CFD
    lines = [*(explain_leverage(deal.inputs) if divides else ()), *margin.explain_margin(locked)]
    return _section("margin", deal, deal.margin, locked.amount, lines)


def _commission(deal: Deal) -> dict[str, Any]:
    terms, currency = deal.inputs["terms"], deal.inputs["currency"]
    charge = margin.Charge(
        volume=deal.volume,
        rate=Decimal(terms["commission_per_lot"]),
        currency=terms["commission_currency"],
        conversion=Conversion.along(deal.inputs["commission_path"]),
        account_currency=currency,
        currency_digits=CURRENCIES[currency].digits,
    )
    formula = f"{margin.plain(deal.volume)} × {terms['commission_per_lot']}{charge.conversion.formula}"
    line = Line(
        label=f"Lots × commission per lot and side, in {currency}", formula=formula, value=show(charge.amount, currency)
    )
    return _section("commission", deal, deal.commission, charge.amount, [line])


def _closing(deal: Deal) -> list[dict[str, Any]]:
    currency = deal.inputs["currency"]
    digits = CURRENCIES[currency].digits
    earned = margin.Profit(
        contract=_contract(deal),
        side=Side(deal.side),
        volume=deal.volume,
        price_open=deal.price_open,
        price_close=deal.price,
        conversion=Conversion.along(deal.inputs["profit_path"]),
        account_currency=currency,
        currency_digits=digits,
    )
    released = margin.released(
        locked_initial=Decimal(deal.inputs["margin_initial"]),
        locked_remaining=Decimal(deal.inputs["margin_locked_before"]),
        volume_initial=Decimal(deal.inputs["volume_initial"]),
        volume_remaining=Decimal(deal.inputs["volume_before"]),
        volume_closed=deal.volume,
        currency_digits=digits,
    )
    if deal.volume == Decimal(deal.inputs["volume_before"]):
        label, formula = "The last part releases what is left", deal.inputs["margin_locked_before"]
    else:
        label = "Locked at opening × lots closed ÷ lots opened"
        formula = f"{deal.inputs['margin_initial']} × {margin.plain(deal.volume)} ÷ {deal.inputs['volume_initial']}"
    lines = [Line(label=f"{label}, in {currency}", formula=formula, value=show(released, currency))]
    return [
        _section("profit", deal, deal.profit, earned.amount, margin.explain_profit(earned)),
        _section("margin_released", deal, deal.margin, released, lines),
        _commission(deal),
        *_compensation(deal),
    ]


def _compensation(deal: Deal) -> list[dict[str, Any]]:
    """What the client would have owed with nothing left open; left out of deals that did not keep the balance."""
    if "balance_before" not in deal.inputs:
        return []
    currency, before, stays_open = (deal.inputs[name] for name in ("currency", "balance_before", "stays_open"))
    profit, commission = show(abs(deal.profit), currency), show(deal.commission, currency)
    after = Decimal(before) + deal.profit - deal.commission
    compensation = ZERO if stays_open else margin.negative_balance_compensation(after)
    if stays_open:
        label, formula = "Nothing is made good while something stays open", "0"
    elif compensation:
        label, formula = "What is missing to 0 is paid by the house", f"0 − {show(after, currency)}"
    else:
        label, formula = "Nothing is missing to 0", "0"
    lines = [
        Line(
            label=f"Balance before {'+ profit' if deal.profit >= 0 else '− loss'} − commission, in {currency}",
            formula=f"{before} {'+' if deal.profit >= 0 else '−'} {profit} − {commission}",
            value=show(after, currency),
        ),
        Line(label=f"{label}, in {currency}", formula=formula, value=show(compensation, currency)),
    ]
    return [_section("compensation", deal, deal.compensation, compensation, lines)]
