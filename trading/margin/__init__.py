"""
Every figure a trader is shown comes from one short formula, and each formula is written here once, in exact decimals.

Nothing here knows a database, a request or a clock: prices, rates and limits come in, numbers go out, and the same
inputs give the same numbers on every machine and in every decimal context. Two habits keep the arithmetic exact:

* Multiply first, divide once. 4.5 ÷ 3 is 1.5, but 4.5 × 0.333… is 1.4999…, and a half-even rounding behind it would
  book another amount. So a result is one product divided by another, never a product of rounded quotients.
* Round once, last, half-even, at the account currency's minor unit. Results carry both `unrounded` and `amount`.

Results keep their inputs and derive the rest, so a stored deal can be rebuilt and explained, and no record can
disagree with itself. Violated preconditions are bugs of the caller and assert; the one refusal is `RateUnavailable`.

Read in this order: `figures` (exactness), `terms` (side, price, contract), `currencies` (converting), `locking`
(margin), `results` (profit), `state` (the account), `bands` (how far prices may move before anybody has to look at it
again), `costs` (swap, commission), `words` (explanations).
"""

from trading.margin.bands import Band, Holding, price_bands
from trading.margin.costs import (
    Charge,
    Swap,
    SwapMode,
    SwapRate,
    annual_mode,
    commission,
    rate_per_lot,
    swap,
    swap_nights,
)
from trading.margin.currencies import INVERSE, Booked, Conversion, RateUnavailable, closing_conversion, conversion
from trading.margin.figures import booked, exact, plain
from trading.margin.locking import (
    Margin,
    base_margin,
    effective_leverage,
    exposure,
    held,
    max_volume,
    released,
    required_margin,
)
from trading.margin.results import Profit, floating, profit
from trading.margin.state import AccountState, negative_balance_compensation, shown_level
from trading.margin.terms import Contract, Mode, Price, Rates, Side
from trading.margin.words import Line, explain_margin, explain_profit, explain_swap

__all__ = [
    "INVERSE",
    "AccountState",
    "Band",
    "Booked",
    "Charge",
    "Contract",
    "Conversion",
    "Holding",
    "Line",
    "Margin",
    "Mode",
    "Price",
    "Profit",
    "RateUnavailable",
    "Rates",
    "Side",
    "Swap",
    "SwapMode",
    "SwapRate",
    "annual_mode",
    "base_margin",
    "booked",
    "closing_conversion",
    "commission",
    "conversion",
    "effective_leverage",
    "exact",
    "explain_margin",
    "explain_profit",
    "explain_swap",
    "exposure",
    "floating",
    "held",
    "max_volume",
    "negative_balance_compensation",
    "plain",
    "price_bands",
    "profit",
    "rate_per_lot",
    "released",
    "required_margin",
    "shown_level",
    "swap",
    "swap_nights",
]
