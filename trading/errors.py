"""Every reason why the desk does not trade, each with the numbers that would have made it a yes."""

from __future__ import annotations

from core.errors import DomainError


class TradingAccountNotFound(DomainError):
    code = "TRADING_ACCOUNT_NOT_FOUND"
    message = "There is no trading account {number}, or it is not yours."
    status = 404


class InstrumentNotFound(DomainError):
    code = "INSTRUMENT_NOT_FOUND"
    message = "There is no instrument {symbol}; GET /api/v1/instruments lists what can be traded."
    status = 404


class PositionNotFound(DomainError):
    code = "POSITION_NOT_FOUND"
    message = "There is no such position, or it is not yours."
    status = 404


class SelfTradingDisabled(DomainError):
    code = "SELF_TRADING_DISABLED"
    message = "Account {number} is traded for you; you may close its positions but not open new ones."


class TradingFrozen(DomainError):
    code = "TRADING_FROZEN"
    message = "Opening positions on account {number} is stopped; contact support. Closing stays possible."


class TradingHalted(DomainError):
    code = "TRADING_HALTED"
    message = "Opening positions in {scope} is stopped for everyone right now. Closing stays possible."


class InstrumentNotTradable(DomainError):
    code = "INSTRUMENT_NOT_TRADABLE"
    message = "{symbol} is {trade_mode}: a {side} cannot be opened in it."


class MarketClosed(DomainError):
    code = "MARKET_CLOSED"
    message = "{symbol} does not trade at this hour; it opens at {opens_at}."


class QuoteStale(DomainError):
    code = "QUOTE_STALE"
    message = "The last price of {symbol} is {age_seconds} s old; at most {age_seconds_max} s are traded on."


class QuoteUnavailable(DomainError):
    code = "QUOTE_UNAVAILABLE"
    message = "{symbol} has no price yet."


class ConversionRateUnavailable(DomainError):
    code = "CONVERSION_RATE_UNAVAILABLE"
    message = "No fresh price leads from {source} to {target}, so the amount cannot be known. Try again shortly."


class VolumeInvalid(DomainError):
    code = "VOLUME_INVALID"
    message = "{volume} lots of {symbol} cannot be traded: {min} to {max} in steps of {step}. The nearest is {nearest}."


class VolumeTooSmall(DomainError):
    code = "VOLUME_TOO_SMALL"
    message = "{volume} lots of {symbol} would lock no margin in {currency}; from {min} lots on there is some."


class PositionsLimitReached(DomainError):
    code = "POSITIONS_LIMIT_REACHED"
    message = "The account has {count} open positions and may have {max}; close one first."


class WorkingOrdersLimitReached(DomainError):
    code = "WORKING_ORDERS_LIMIT_REACHED"
    message = "The account has {count} working orders and may have {max}; cancel one first."


class VolumeLimitReached(DomainError):
    code = "VOLUME_LIMIT_REACHED"
    message = "The account may hold {max} lots of {symbol} {side}; it holds {current}, so {available} are left."


class ExposureLimitReached(DomainError):
    code = "EXPOSURE_LIMIT_REACHED"
    message = (
        "Open positions of an account may be worth {max} {currency} together; they are worth {current}, and {available}"
        " {currency} does not cover the {required} of this order."
    )


class DeviationExceeded(DomainError):
    code = "DEVIATION_EXCEEDED"
    message = (
        "{symbol} trades at {price}, {deviation} points worse than the expected {expected}; at most {max_deviation} are"
        " accepted."
    )


class OrderPriceInvalid(DomainError):
    code = "ORDER_PRICE_INVALID"
    message = (
        "A {side} {type} order of {symbol} waits {where} {reference}, at least {stop_distance} points from it;"
        " {price} is not there. The nearest is {nearest}."
    )


class StopLossInvalid(DomainError):
    code = "STOP_LOSS_INVALID"
    message = (
        "The stop loss of a {side} of {symbol} is {where} {reference}, at least {stop_distance} points from it;"
        " {stop_loss} is not there. The nearest is {nearest}."
    )


class TakeProfitInvalid(DomainError):
    code = "TAKE_PROFIT_INVALID"
    message = (
        "The take profit of a {side} of {symbol} is {where} {reference}, at least {stop_distance} points from it;"
        " {take_profit} is not there. The nearest is {nearest}."
    )


class ExpiryInvalid(DomainError):
    code = "EXPIRY_INVALID"
    message = "An order expires in the future; {expires_at} is not after {now}."


class MarginInsufficient(DomainError):
    code = "MARGIN_INSUFFICIENT"
    message = "Margin, commission and spread need {required} {currency}; {available} {currency} is free."


class ClientOrderIdTaken(DomainError):
    code = "CLIENT_ORDER_ID_TAKEN"
    message = "client_order_id {client_order_id} names order {order} of this account; a new order needs a new one."
    status = 409


class OrderNotFound(DomainError):
    code = "ORDER_NOT_FOUND"
    message = "There is no such order, or it is not yours."
    status = 404


class OrderNotWorking(DomainError):
    code = "ORDER_NOT_WORKING"
    message = "The order is {status} and waits no more, so nothing about it can be changed."
    status = 409


class PositionClosed(DomainError):
    code = "POSITION_CLOSED"
    message = "Position {number} is closed already."


class FreeMarginInsufficient(DomainError):
    code = "FREE_MARGIN_INSUFFICIENT"
    message = "{required} {currency} is asked for and {available} {currency} can be released from account {number}."


class ReleaseTargetNotAllowed(DomainError):
    code = "RELEASE_TARGET_NOT_ALLOWED"
    message = "Margin is released into another wallet of your own; transfer it from there."


class DemoOnly(DomainError):
    code = "DEMO_ONLY"
    message = "Account {number} holds real money; only a demo account can be reset."


class PositionsOpen(DomainError):
    code = "POSITIONS_OPEN"
    message = (
        "Account {number} has {count} open positions and working orders; close and cancel them before resetting it."
    )


class SequenceUnknown(DomainError):
    code = "SEQUENCE_UNKNOWN"
    message = (
        "Account {number} cannot be followed from change {since}, only from {earliest} to {latest}."
        " Read the account, its orders and its positions anew, and go on from the sequence that the account had."
    )
    status = 409


#: What the API document names beside each operation.
OPENING: tuple[type[DomainError], ...] = (
    TradingAccountNotFound,
    InstrumentNotFound,
    ClientOrderIdTaken,
    SelfTradingDisabled,
    TradingFrozen,
    TradingHalted,
    InstrumentNotTradable,
    MarketClosed,
    QuoteUnavailable,
    QuoteStale,
    VolumeInvalid,
    VolumeTooSmall,
    PositionsLimitReached,
    WorkingOrdersLimitReached,
    OrderPriceInvalid,
    StopLossInvalid,
    TakeProfitInvalid,
    ExpiryInvalid,
    VolumeLimitReached,
    ConversionRateUnavailable,
    ExposureLimitReached,
    MarginInsufficient,
    DeviationExceeded,
)
MODIFYING: tuple[type[DomainError], ...] = (
    OrderNotFound,
    OrderNotWorking,
    *(refusal for refusal in OPENING[3:] if refusal not in {PositionsLimitReached, DeviationExceeded}),
)
CLOSING: tuple[type[DomainError], ...] = (
    PositionNotFound,
    PositionClosed,
    VolumeInvalid,
    MarketClosed,
    QuoteUnavailable,
    QuoteStale,
    ConversionRateUnavailable,
)
STOPPING: tuple[type[DomainError], ...] = (
    PositionNotFound,
    PositionClosed,
    StopLossInvalid,
    TakeProfitInvalid,
    MarketClosed,
    QuoteUnavailable,
    QuoteStale,
)
