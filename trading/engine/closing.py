"""What closing a position would mean, before any of it is written."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from core.money import CURRENCIES, show
from trading import margin
from trading.engine.figures import price_text, quote_inputs, terms_of, trimmed
from trading.engine.state import commission_of
from trading.errors import ConversionRateUnavailable
from trading.margin import Charge, Side
from trading.market import Market, OpenPosition
from trading.models import Position


@dataclass(frozen=True, slots=True)
class Closing:
    """What closing part or all of a position means, before any of it is written."""

    volume: Decimal
    price: Decimal
    price_text: str
    price_open_text: str
    profit: margin.Profit
    commission: Charge
    released: Decimal
    inputs: dict[str, Any]

    def rest_of(self, position: Position) -> OpenPosition | None:
        """What stays open of the position: itself with less, or nothing."""
        if self.volume == position.volume:
            return None
        rest = OpenPosition.of(position)
        return replace(rest, volume=rest.volume - self.volume, margin_locked=rest.margin_locked - self.released)


@margin.exact
def evaluate_closing(position: Position, *, volume: Decimal, currency: str, market: Market) -> Closing:
    """
    Reckon the closing of `volume` lots of a position at the current price.

    :raises MarketClosed, QuoteUnavailable, QuoteStale: if there is no price to close at
    :raises ConversionRateUnavailable: if profit or commission cannot be converted
    """
    market.require_open(position.instrument_id)
    tick = market.fresh(position.instrument_id)
    instrument = market.instruments[position.instrument_id]
    side, digits, rates = Side(position.side), CURRENCIES[currency].digits, market.rates(fresh_only=True)
    price = tick.price.to_close(side)
    try:
        profit = margin.profit(
            instrument.contract(),
            side=side,
            volume=volume,
            price_open=position.price_open,
            price_close=price,
            account_currency=currency,
            rates=rates,
            currency_digits=digits,
        )
        commission = commission_of(instrument, volume, currency=currency, rates=rates)
    except margin.RateUnavailable as missing:
        raise ConversionRateUnavailable(source=missing.source, target=missing.target) from missing
    released = margin.released(
        locked_initial=position.margin_initial,
        locked_remaining=position.margin_locked,
        volume_initial=position.volume_initial,
        volume_remaining=position.volume,
        volume_closed=volume,
        currency_digits=digits,
    )
    inputs = {
        "terms": terms_of(instrument),
        "quote": quote_inputs(tick),
        "currency": currency,
        "profit_path": list(profit.conversion.path),
        "commission_path": list(commission.conversion.path),
        "margin_initial": show(position.margin_initial, currency),
        "margin_locked_before": show(position.margin_locked, currency),
        "volume_initial": trimmed(position.volume_initial),
        "volume_before": trimmed(position.volume),
    }
    return Closing(
        volume=volume,
        price=price,
        price_text=price_text(price, instrument),
        price_open_text=price_text(position.price_open, instrument),
        profit=profit,
        commission=commission,
        released=released,
        inputs=inputs,
    )
