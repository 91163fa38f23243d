"""How volumes, prices and terms are written down: for people to read, and for a deal to be explained by for ever."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from trading.market import Tick
from trading.models import Instrument

ZERO = Decimal(0)


def trimmed(value: Decimal) -> str:
    """A volume or price without trailing zeros, as people write it."""
    return format(value.normalize() if value else ZERO, "f")


def price_text(value: Decimal, instrument: Instrument) -> str:
    """A price with its instrument's digits."""
    return format(value.quantize(Decimal(1).scaleb(-instrument.digits)), "f")


def terms_of(instrument: Instrument) -> dict[str, Any]:
    """The contract terms a deal keeps, so that it can be explained after they have changed."""
    return {
        "symbol": instrument.symbol,
        "base": instrument.base,
        "quote": instrument.quote,
        "margin_currency": instrument.margin_currency,
        "contract_size": trimmed(instrument.contract_size),
        "mode": instrument.calculation,
        "margin_rate": trimmed(instrument.margin_rate),
        "leverage_max": instrument.leverage_max,
        "tick_size": trimmed(instrument.tick_size),
        "digits": instrument.digits,
        "commission_per_lot": trimmed(instrument.commission_per_lot),
        "commission_currency": instrument.commission_currency,
    }


def quote_inputs(tick: Tick) -> dict[str, Any]:
    """The quote a deal was made on, so that it can be shown for ever."""
    return {
        "bid": trimmed(tick.bid),
        "ask": trimmed(tick.ask),
        "source": tick.source,
        "sequence": tick.sequence,
        "quoted_at": tick.quoted_at.isoformat(),
        "received_at": tick.received_at.isoformat(),
    }
