"""The arithmetic agrees with what brokers and platforms publish, to the last digit they print."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Any

import pytest

from trading import margin
from trading.margin import AccountState, Contract, Mode, Price, Rates, Side, SwapMode, SwapRate

CASES_FILE = Path(__file__).parent / "cases" / "trading.json"

Case = dict[str, Any]
Figures = dict[str, Decimal]

#: Kinds that are no business of this module: bonuses and referrals are paid by other rooms.
ELSEWHERE = {"bonus_removal", "referral"}

#: All accounts of the file are kept in dollars or pounds.
CURRENCY_DIGITS = 2


def read_cases() -> list[Case]:
    cases: list[Case] = json.loads(CASES_FILE.read_text(encoding="utf-8"))["cases"]
    return cases


def single_cases() -> Iterator[Case]:
    """Cases with what they inherit ("like") filled in, and those that hold several taken apart."""
    by_id = {case["id"]: case for case in read_cases()}
    for case in by_id.values():
        if "like" in case:
            yield {**by_id[case["like"]], **case}
        elif "cases" in case:
            for number, part in enumerate(case["cases"], start=1):
                yield {**case, **part, "id": f"{case['id']}.{number}"}
        else:
            yield case


# --- From the file's words to ours ----------------------------------------------------------------------------------


def decimal(case: Case, name: str, default: str = "1") -> Decimal:
    return Decimal(case.get(name, default))


def side_of(case: Case) -> Side:
    return Side(case.get("side", "BUY"))


def volume_of(case: Case) -> Decimal:
    """A size in units is so many lots of one unit."""
    return Decimal(case["units"] if "units" in case else case["volume"])


def contract_of(case: Case) -> Contract:
    """Where a case names no symbol its account is kept in the quote currency, so any dollar pair will do."""
    symbol = case.get("symbol", "EURUSD")
    base, quote = symbol[:3], symbol[3:]
    mode = mode_of(case)
    point = decimal(case, "point", "0.00001")
    return Contract(
        symbol=symbol,
        base=base,
        quote=quote,
        margin_currency=base if mode is Mode.FOREX else quote,
        contract_size=decimal(case, "contract_size"),
        mode=mode,
        margin_rate=decimal(case, "margin_fraction") if "margin_fraction" in case else decimal(case, "margin_rate"),
        leverage_max=None,
        tick_size=point,
        digits=-int(point.as_tuple().exponent),
    )


def mode_of(case: Case) -> Mode:
    """Swap and commission cases have modes of their own, which say nothing about margin."""
    if case["kind"] == "cfd":
        return Mode.CFD
    return Mode(case["mode"]) if case["kind"] == "margin" else Mode.FOREX


def account_currency_of(case: Case) -> str:
    currency: str = case.get("account_currency", contract_of(case).quote)
    return currency


def rates_of(case: Case) -> Rates:
    """The quotes of the case; without any, the instrument's own opening price."""
    if "quotes" in case:
        return {symbol: Price(Decimal(bid), Decimal(ask)) for symbol, (bid, ask) in case["quotes"].items()}
    opened = decimal(case, "open_price")
    return {contract_of(case).symbol: Price(opened, opened)}


def margin_of(case: Case) -> margin.Margin:
    return margin.required_margin(
        contract_of(case),
        side=side_of(case),
        volume=volume_of(case),
        price=decimal(case, "price") if "price" in case else rates_of(case)[case["symbol"]].to_open(side_of(case)),
        leverage=case.get("leverage", 1),
        account_currency=account_currency_of(case),
        rates=rates_of(case),
        currency_digits=CURRENCY_DIGITS,
    )


def profit_of(case: Case, close_price: str | None = None) -> margin.Profit:
    """Points are counted back from the closing price; a fee in price worsens the opening price."""
    side = side_of(case)
    closed = Decimal(close_price) if close_price else decimal(case, "close_price")
    if "points" in case:
        opened = closed - side.sign * case["points"] * decimal(case, "point")
    else:
        opened = decimal(case, "open_price") + side.sign * decimal(case, "fee_in_price", "0")
    return margin.profit(
        contract_of(case),
        side=side,
        volume=volume_of(case),
        price_open=opened,
        price_close=closed,
        account_currency=account_currency_of(case),
        rates=rates_of(case),
        currency_digits=CURRENCY_DIGITS,
    )


# --- What each kind of case reckons ---------------------------------------------------------------------------------


def reckon_margin(case: Case) -> Figures:
    if "legs" in case:
        return reckon_legs(case)
    locked = margin_of(case)
    base = margin.base_margin(locked.contract, volume=locked.volume, price=locked.price, leverage=locked.leverage)
    return {
        "base_margin": base,
        "margin_before_rate": margin_of({**case, "margin_rate": "1"}).amount,
        "margin": locked.amount,
    }


def reckon_legs(case: Case) -> Figures:
    """Openings in one direction add up, and a single one at their average price locks the same."""
    legs = [margin_of({**case, **leg}) for leg in case["legs"]]
    total = margin.held((leg.contract.symbol, leg.side, leg.amount) for leg in legs)
    volume = sum((leg.volume for leg in legs), start=Decimal(0))
    average = sum((leg.volume * leg.price for leg in legs), start=Decimal(0)) / volume
    assert margin_of({**case, "volume": volume, "price": average}).amount == total
    return {"vwap": total * case["leverage"] / (legs[0].contract.contract_size * volume), "margin": total}


def reckon_profit(case: Case) -> Figures:
    result = profit_of(case)
    figures = {"": result.amount, "profit_unrounded": result.unrounded, "1dp": result.unrounded}
    if "leverage" in case:
        figures["margin"] = margin_of(case).amount
    return figures


def reckon_cfd(case: Case) -> Figures:
    at = {f"profit_at {price}": profit_of(case, price).amount for price in case["expect"]["profit_at"]}
    return {"margin": margin_of(case).amount, **at}


def reckon_account(case: Case) -> Figures:
    """An account as stated, or one that holds just the position the case describes."""
    if "symbol" in case:
        bid = decimal(case, "bid")
        floating = margin.floating(
            contract_of(case),
            side=side_of(case),
            volume=volume_of(case),
            price_open=decimal(case, "open_price"),
            price=Price(bid, bid),
            account_currency=account_currency_of(case),
            rates=rates_of(case),
            currency_digits=CURRENCY_DIGITS,
        ).amount
        held = margin.held([(case["symbol"], side_of(case), margin_of(case).amount)])
    else:
        floating, held = decimal(case, "floating"), decimal(case, "held")
    state = AccountState(balance=decimal(case, "balance"), credit=Decimal(0), floating=floating, held=held)
    assert state.margin_level is not None
    return {
        "margin": held,
        "floating": floating,
        "equity": state.equity,
        "free_margin": state.free_margin,
        "margin_level": state.margin_level,
    }


def reckon_partial_close(case: Case) -> Figures:
    locked = initial = decimal(case, "locked")
    volume = decimal(case, "volume")
    figures = {}
    for number, closed in enumerate(map(Decimal, case["closes"])):
        freed = margin.released(
            locked_initial=initial,
            locked_remaining=locked,
            volume_initial=decimal(case, "volume"),
            volume_remaining=volume,
            volume_closed=closed,
            currency_digits=CURRENCY_DIGITS,
        )
        locked, volume = locked - freed, volume - closed
        figures[f"{number}"] = freed
    assert locked == volume == 0
    return figures


def reckon_swap(case: Case) -> Figures:
    mode = SwapMode(case["mode"])
    rate = SwapRate(Decimal(case["points"] if mode is SwapMode.POINTS else case["rate_percent"]), mode)

    def over(nights: int) -> Decimal:
        return margin.swap(
            contract_of(case),
            rate=rate,
            volume=volume_of(case),
            price=decimal(case, "price"),
            nights=nights,
            account_currency=account_currency_of(case),
            rates={},
            currency_digits=CURRENCY_DIGITS,
        ).amount

    wednesday = 2
    return {
        "": over(case["nights"]),
        "triple_day": over(margin.swap_nights(weekday=wednesday, triple_weekday=wednesday)),
    }


def reckon_commission(case: Case) -> Figures:
    assert case["mode"] == "PER_MILLION_USD"
    rate = margin.rate_per_lot(contract_of(case), price=decimal(case, "price"), rate_per_million=decimal(case, "rate"))
    charge = margin.commission(
        volume=volume_of(case),
        rate=rate,
        rate_currency=contract_of(case).quote,
        account_currency=account_currency_of(case),
        rates={},
        currency_digits=CURRENCY_DIGITS,
    )
    return {"": charge.amount}


def reckon_negative_balance(case: Case) -> Figures:
    balance = decimal(case, "balance_after_stop_out")
    compensation = margin.negative_balance_compensation(balance)
    return {"compensation": compensation, "balance": balance + compensation}


RECKON: dict[str, Callable[[Case], Figures]] = {
    "margin": reckon_margin,
    "profit": reckon_profit,
    "cfd": reckon_cfd,
    "account": reckon_account,
    "partial_close": reckon_partial_close,
    "swap": reckon_swap,
    "commission": reckon_commission,
    "negative_balance": reckon_negative_balance,
}


# --- The tests ------------------------------------------------------------------------------------------------------


def expectations_of(case: Case) -> dict[str, str]:
    """Every figure the case prints, flat and by name; a case's only figure has no name."""
    expected: dict[str, str] = {"1dp": case["expect_1dp"]} if "expect_1dp" in case else {}
    stated = case.get("expect", {})
    if isinstance(stated, str):
        expected[""] = stated
    elif isinstance(stated, list):
        expected.update({f"{number}": figure for number, figure in enumerate(stated)})
    else:
        for name, figure in stated.items():
            expected.update(
                {f"{name} {key}": value for key, value in figure.items()}
                if isinstance(figure, dict)
                else {name: figure}
            )
    if "triple_day" in case:
        expected["triple_day"] = case["triple_day"]
    return expected


def printed_like(figure: Decimal, published: str) -> Decimal:
    return figure.quantize(Decimal(published), rounding=ROUND_HALF_EVEN)


@pytest.mark.parametrize(
    "case", [case for case in single_cases() if case["kind"] in RECKON], ids=lambda case: case["id"]
)
def test_published_example_comes_out_to_the_last_digit_printed(case: Case) -> None:
    expected = expectations_of(case)
    assert expected, "a case without a figure would prove nothing"
    figures = RECKON[case["kind"]](case)
    assert {name: printed_like(figures[name], published) for name, published in expected.items()} == {
        name: Decimal(published) for name, published in expected.items()
    }


def test_every_kind_of_case_is_reckoned_here_or_named_as_someone_elses() -> None:
    assert {case["kind"] for case in read_cases()} == set(RECKON) | ELSEWHERE


def test_every_case_names_a_source_that_the_file_explains() -> None:
    sources = json.loads(CASES_FILE.read_text(encoding="utf-8"))["sources"]
    assert {case["source"] for case in read_cases()} <= set(sources)
