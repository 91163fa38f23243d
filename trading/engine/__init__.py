"""What a price does to an account: the one place where opening, closing and previewing reckon alike."""

from trading.engine.closing import Closing, evaluate_closing
from trading.engine.figures import price_text, quote_inputs, terms_of, trimmed
from trading.engine.limits import volume_refusal
from trading.engine.opening import (
    STOP_OUT_LEVEL,
    Opening,
    evaluate_opening,
    evaluate_order,
    opening_document,
    opening_inputs,
)
from trading.engine.prices import (
    Instruction,
    Tolerance,
    expiry_refusal,
    require_on_grid,
    stop_refusals,
)
from trading.engine.state import AccountSummary, account_state, floating_of, largest_loss_first, summarise
from trading.engine.stop_out import closes_first, stop_out_price
from trading.engine.watching import MARGIN_CALL_LEVEL, bands_of, is_called

__all__ = [
    "MARGIN_CALL_LEVEL",
    "STOP_OUT_LEVEL",
    "AccountSummary",
    "Closing",
    "Instruction",
    "Opening",
    "Tolerance",
    "account_state",
    "bands_of",
    "closes_first",
    "evaluate_closing",
    "evaluate_opening",
    "evaluate_order",
    "expiry_refusal",
    "floating_of",
    "is_called",
    "largest_loss_first",
    "opening_document",
    "opening_inputs",
    "price_text",
    "quote_inputs",
    "require_on_grid",
    "stop_out_price",
    "stop_refusals",
    "summarise",
    "terms_of",
    "trimmed",
    "volume_refusal",
]
