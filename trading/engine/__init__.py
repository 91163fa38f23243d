"""What a price does to an account: the one place where opening, closing and previewing reckon alike."""

from trading.engine.closing import Closing, evaluate_closing
from trading.engine.figures import price_text, quote_inputs, terms_of, trimmed
from trading.engine.limits import volume_refusal
from trading.engine.opening import (
    STOP_OUT_LEVEL,
    Opening,
    Tolerance,
    evaluate_opening,
    hold_to,
    opening_document,
    opening_inputs,
    stop_out_price,
)
from trading.engine.state import AccountSummary, account_state, floating_of, largest_loss_first, summarise
from trading.engine.watching import MARGIN_CALL_LEVEL, bands_of, is_called

__all__ = [
    "MARGIN_CALL_LEVEL",
    "STOP_OUT_LEVEL",
    "AccountSummary",
    "Closing",
    "Opening",
    "Tolerance",
    "account_state",
    "bands_of",
    "evaluate_closing",
    "evaluate_opening",
    "floating_of",
    "hold_to",
    "is_called",
    "largest_loss_first",
    "opening_document",
    "opening_inputs",
    "price_text",
    "quote_inputs",
    "stop_out_price",
    "summarise",
    "terms_of",
    "trimmed",
    "volume_refusal",
]
