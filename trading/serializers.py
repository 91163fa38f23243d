"""What clients send and see of trading: strict terms in, plain documents out."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any, NoReturn

from rest_framework import serializers

from core.api import (
    AmountField,
    PriceField,
    StrictChoiceField,
    StrictDateTimeField,
    StrictIntegerField,
    Terms,
    TextField,
    VolumeField,
)
from core.errors import plain
from core.money import show
from trading import engine, margin, sessions
from trading.engine import AccountSummary, Instruction, Tolerance
from trading.errors import ConversionRateUnavailable
from trading.explain import explain_swap
from trading.margin import AccountState, Side
from trading.market import Market, OpenPosition
from trading.models import AccountChange, Deal, Instrument, MarginEvent, Order, Position, QuoteTick, Swap
from trading.selectors import Changes
from trading.services.quotes import Recorded
from trading.sessions import Schedule

QUOTES_MAX = 500
#: Points; more than any price has.
DEVIATION_MAX = 2**31 - 1
ZERO = Decimal(0)
#: What `volume` says when everything that is left is to be closed.
ALL = "ALL"


# --- Terms in -------------------------------------------------------------------------------------------------------


class PreviewTerms(Terms):
    account = TextField(max_length=20)
    symbol = TextField(max_length=16)
    side = StrictChoiceField(choices=[side.value for side in Side])
    type = StrictChoiceField(choices=Order.Type.values, default=Order.Type.MARKET)
    volume = VolumeField()
    price = PriceField(
        required=False,
        help_text="What a limit or stop order waits for; of a market order the price that was seen, with"
        " `max_deviation`.",
    )
    stop_loss = PriceField(required=False, allow_null=True, help_text="At which the position is closed at a loss.")
    take_profit = PriceField(required=False, allow_null=True, help_text="At which it is closed at a profit.")
    time_in_force = StrictChoiceField(
        choices=Order.TimeInForce.values,
        required=False,
        help_text="IOC of a market order; of others GTC, or GTD until `expires_at`.",
    )
    expires_at = StrictDateTimeField(required=False, allow_null=True, help_text="Of a GTD order, and of no other.")
    max_deviation = StrictIntegerField(
        required=False,
        min_value=0,
        max_value=DEVIATION_MAX,
        help_text="Points by which the fill may be worse than `price`; a better fill is always taken.",
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        is_market = attrs["type"] == Order.Type.MARKET
        if is_market:
            _go_together(attrs)
        elif "price" not in attrs:
            _refuse("price", "A limit or stop order waits for a price.", "required")
        elif "max_deviation" in attrs:
            _refuse("max_deviation", "Only a market order's fill can deviate from a price.", "not_applicable")
        lasts = attrs.setdefault("time_in_force", Order.TimeInForce.IOC if is_market else Order.TimeInForce.GTC)
        if is_market != (lasts == Order.TimeInForce.IOC):
            _refuse("time_in_force", "A market order is IOC; a limit or stop order GTC or GTD.", "not_applicable")
        if lasts == Order.TimeInForce.GTD and attrs.get("expires_at") is None:
            _refuse("expires_at", "A GTD order says when it expires.", "required")
        if lasts != Order.TimeInForce.GTD and attrs.get("expires_at") is not None:
            _refuse("expires_at", "Only a GTD order expires.", "not_applicable")
        return attrs


def _go_together(attrs: dict[str, Any]) -> None:
    missing = [name for name in ("price", "max_deviation") if name not in attrs]
    if len(missing) == 1:
        _refuse(missing[0], "An expected price and the deviation from it are given together.", "required")


def _refuse(field: str, message: str, code: str) -> NoReturn:
    raise serializers.ValidationError({field: [message]}, code=code)


class OrderTerms(PreviewTerms):
    client_order_id = TextField(max_length=64, required=False, allow_null=True, default=None)


def instruction_of(terms: dict[str, Any]) -> Instruction:
    """What the order asks for; the price of a market order is only what its client saw."""
    price = terms.get("price")
    waits = terms["type"] != Order.Type.MARKET
    return Instruction(
        side=Side(terms["side"]),
        volume=terms["volume"],
        type=Order.Type(terms["type"]),
        price=price if waits else None,
        stop_loss=terms.get("stop_loss"),
        take_profit=terms.get("take_profit"),
        time_in_force=Order.TimeInForce(terms["time_in_force"]),
        expires_at=terms.get("expires_at"),
        tolerance=None if waits or price is None else Tolerance(price, terms["max_deviation"]),
    )


class PositionChangeTerms(Terms):
    """What is left out stays as it is; null is none."""

    stop_loss = PriceField(required=False, allow_null=True)
    take_profit = PriceField(required=False, allow_null=True)


class OrderChangeTerms(PositionChangeTerms):
    """What is left out stays as it is; null is none. The volume of an order cannot be changed: cancel it."""

    price = PriceField(required=False)
    time_in_force = StrictChoiceField(choices=[Order.TimeInForce.GTC, Order.TimeInForce.GTD], required=False)
    expires_at = StrictDateTimeField(required=False, allow_null=True)


class VolumeOrAll(VolumeField):
    """A volume, or ALL for everything that is left."""

    spelling = re.compile(r"\A(ALL|(0|[1-9][0-9]{0,13})(\.[0-9]{1,4})?)\Z", re.ASCII)

    def to_internal_value(self, data: Any) -> Decimal | str:  # type: ignore[override]  # widened on purpose
        return ALL if data == ALL else super().to_internal_value(data)


class CloseTerms(Terms):
    volume = VolumeOrAll(default=ALL)


class ReleaseTerms(Terms):
    amount = AmountField()
    target = TextField(max_length=40)


class NoTerms(Terms):
    """An operation whose path says everything."""


class QuotedPrice(PriceField):
    """A price as a feed may get it wrong: below zero or no number at all reaches the alerts before it is refused."""

    broken = re.compile(r"\A(-(0|[1-9][0-9]{0,9})(\.[0-9]{1,10})?|NaN|-?Infinity)\Z", re.ASCII)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(allow_zero=True, **kwargs)

    def to_internal_value(self, data: Any) -> Decimal:
        if type(data) is str and self.broken.match(data) is not None:
            return Decimal(data)
        return super().to_internal_value(data)


class QuoteTerms(Terms):
    symbol = TextField(max_length=16)
    bid = QuotedPrice()
    ask = QuotedPrice()
    time = StrictDateTimeField(required=False)


class QuotesTerms(Terms):
    quotes = serializers.ListField(child=QuoteTerms(), min_length=1, max_length=QUOTES_MAX)


# --- Documents out --------------------------------------------------------------------------------------------------


class QuoteDocument(serializers.Serializer[Any]):
    symbol = serializers.CharField()
    bid = serializers.CharField()
    ask = serializers.CharField()
    source = serializers.CharField(  # type: ignore[assignment]  # a field of this name, not DRF's own
        help_text="`replay` is a real bar walked again, with a spread added around it."
    )
    time = serializers.DateTimeField(help_text="The market's clock.")
    received_at = serializers.DateTimeField(help_text="Our clock; what the price's age is counted from.")
    sequence = serializers.IntegerField()
    is_fresh = serializers.BooleanField(help_text="Whether it may be traded on now.")


class SessionDocument(serializers.Serializer[Any]):
    weekday = serializers.CharField(help_text="On which it opens: MONDAY to SUNDAY, in the instrument's time zone.")
    opens = serializers.CharField()
    closes = serializers.CharField(help_text="At or before `opens`: on the next day.")


class InstrumentDocument(serializers.Serializer[Any]):
    symbol = serializers.CharField()
    name = serializers.CharField()
    asset_class = serializers.CharField()
    base = serializers.CharField()
    quote_currency = serializers.CharField()
    margin_currency = serializers.CharField()
    digits = serializers.IntegerField()
    tick_size = serializers.CharField()
    pip_size = serializers.CharField()
    contract_size = serializers.CharField()
    volume_min = serializers.CharField()
    volume_max = serializers.CharField()
    volume_step = serializers.CharField()
    calculation = serializers.CharField()
    margin_rate = serializers.CharField()
    leverage_class = serializers.CharField(help_text="The group in which regulators cap leverage.")
    leverage_max = serializers.IntegerField(
        allow_null=True, help_text="The desk's own cap. What an account gets is in its previews: the strictest of all."
    )
    leverage_caps = serializers.DictField(
        child=serializers.IntegerField(), help_text="By jurisdiction; an account says which is its own."
    )
    commission_per_lot = serializers.CharField()
    commission_currency = serializers.CharField()
    trade_mode = serializers.CharField()
    quote_age_seconds_max = serializers.IntegerField()
    volume_limit = serializers.CharField(allow_null=True, help_text="Most lots open in one direction per account.")
    swap_mode = serializers.CharField(
        help_text="POINTS of price per lot and night, or ANNUAL: percent a year of the position's value."
    )
    swap_long = serializers.CharField(help_text="Negative where holding costs.")
    swap_short = serializers.CharField()
    swap_triple_weekday = serializers.CharField(allow_null=True, help_text="The day that carries the weekend.")
    rollover_at = serializers.CharField(help_text="When a night is charged or paid for, in `time_zone`.")
    time_zone = serializers.CharField()
    sessions = SessionDocument(many=True, help_text="Weekly hours; without any it never closes.")
    is_open = serializers.BooleanField()
    next_open = serializers.DateTimeField(allow_null=True, help_text="Null while it is open.")
    next_close = serializers.DateTimeField(allow_null=True, help_text="Null while it is closed, and if it never is.")
    quote = QuoteDocument(allow_null=True)


class WholeList(serializers.Serializer[Any]):
    """A list that is never long, in the shape of those that come in pages."""

    next = serializers.CharField(allow_null=True, help_text="Null: this is the whole list.")
    previous = serializers.CharField(allow_null=True, help_text="Null, too.")


class QuoteList(WholeList):
    results = QuoteDocument(many=True)


class InstrumentList(WholeList):
    results = InstrumentDocument(many=True)


class RefusalDocument(serializers.Serializer[Any]):
    code = serializers.CharField()
    detail = serializers.CharField()
    context = serializers.DictField()  # type: ignore[assignment]  # as above


class ClosesFirstDocument(serializers.Serializer[Any]):
    position = serializers.IntegerField(allow_null=True, help_text="Its number; null: the one this order would open.")
    symbol = serializers.CharField()
    side = serializers.CharField()
    volume = serializers.CharField()
    floating = serializers.CharField(help_text="Its profit or loss at that price.")


class PreviewDocument(serializers.Serializer[Any]):
    account = serializers.CharField()
    symbol = serializers.CharField()
    side = serializers.CharField()
    type = serializers.CharField()
    volume = serializers.CharField()
    price = serializers.CharField(allow_null=True, help_text="At which it is reckoned: its own, if it waits for one.")
    leverage = serializers.IntegerField(help_text="The strictest of account, desk, instrument and jurisdiction.")
    required_margin = serializers.CharField(allow_null=True)
    commission = serializers.CharField(allow_null=True, help_text="For this side; the close costs the same again.")
    spread_cost = serializers.CharField(allow_null=True)
    free_margin_after = serializers.CharField(
        allow_null=True, help_text="Once it is filled: of an order that waits, at its own price."
    )
    margin_level_after = serializers.CharField(allow_null=True)
    max_volume = serializers.CharField(allow_null=True)
    reserved_margin = serializers.CharField(
        allow_null=True, help_text="What it would reserve while it waits; null of a market order."
    )
    stop_out_price = serializers.CharField(allow_null=True, help_text="Bid at which the account would be stopped out.")
    closes_first = ClosesFirstDocument(allow_null=True, help_text="What would be closed first at that price.")
    currency = serializers.CharField()
    would_reject = RefusalDocument(many=True)


class _OrderFields(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    account = serializers.CharField()
    symbol = serializers.CharField()
    side = serializers.CharField()
    type = serializers.CharField()
    volume = serializers.CharField()
    price = serializers.CharField(allow_null=True, help_text="What it waits for; null of a market order.")
    stop_loss = serializers.CharField(allow_null=True)
    take_profit = serializers.CharField(allow_null=True)
    time_in_force = serializers.CharField()
    expires_at = serializers.DateTimeField(allow_null=True)
    client_order_id = serializers.CharField(allow_null=True)
    status = serializers.CharField()
    price_filled = serializers.CharField(allow_null=True)
    position = serializers.DictField(allow_null=True)
    margin_reserved = serializers.CharField(
        allow_null=True, help_text="What it would lock, while it waits: new orders have to leave it free."
    )
    created_at = serializers.DateTimeField()


class OrderDocument(_OrderFields):
    price_expected = serializers.CharField(allow_null=True)
    max_deviation = serializers.IntegerField(allow_null=True)
    reject_code = serializers.CharField(allow_null=True)
    reject_context = serializers.DictField(allow_null=True)
    cancel_reason = serializers.CharField(allow_null=True)
    updated_at = serializers.DateTimeField()


class OrderReceipt(_OrderFields):
    deal = serializers.UUIDField(allow_null=True)
    transaction = serializers.UUIDField(allow_null=True)
    margin = serializers.CharField(allow_null=True, help_text="Locked by the fill; null while it waits.")
    commission = serializers.CharField(allow_null=True)
    balance = serializers.CharField()
    held = serializers.CharField()
    free_margin = serializers.CharField()
    currency = serializers.CharField()


class PositionDocument(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    number = serializers.IntegerField()
    account = serializers.CharField()
    symbol = serializers.CharField()
    side = serializers.CharField()
    status = serializers.CharField()
    volume_initial = serializers.CharField()
    volume = serializers.CharField()
    price_open = serializers.CharField()
    price_current = serializers.CharField(allow_null=True)
    stop_loss = serializers.CharField(allow_null=True)
    take_profit = serializers.CharField(allow_null=True)
    leverage = serializers.IntegerField()
    margin_initial = serializers.CharField()
    margin_locked = serializers.CharField()
    floating = serializers.CharField(allow_null=True)
    profit = serializers.CharField()
    commission = serializers.CharField()
    swap = serializers.CharField(help_text="Of all nights so far; negative where holding cost.")
    currency = serializers.CharField()
    opened_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()
    closed_at = serializers.DateTimeField(allow_null=True)


class SwapDocument(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    position = serializers.UUIDField()
    symbol = serializers.CharField()
    night = serializers.DateField(help_text="The trading day that ended, by the instrument's clock.")
    rollover_at = serializers.DateTimeField()
    nights = serializers.IntegerField(help_text="3 on the day that carries the weekend.")
    side = serializers.CharField()
    volume = serializers.CharField(help_text="What was open then.")
    mode = serializers.CharField()
    rate = serializers.CharField()
    price = serializers.CharField()
    price_basis = serializers.CharField(
        help_text="AT_ROLLOVER: the last prices when the night began. LAST_KNOWN: those were not kept, so the last when"
        " it was charged."
    )
    amount = serializers.CharField(help_text="Negative where the night cost.")
    compensation = serializers.CharField(help_text="Paid by the house so that you owe nothing.")
    currency = serializers.CharField()
    conversion = serializers.ListField(
        child=serializers.CharField(), help_text="From the quote currency to the account's; empty if they are one."
    )
    lines = serializers.ListField(child=serializers.DictField(), help_text="The arithmetic, as on a calculator.")
    agrees = serializers.BooleanField(help_text="Whether the recomputed amount equals the booked one.")
    transaction = serializers.UUIDField(allow_null=True)
    charged_at = serializers.DateTimeField()


class CloseReceipt(serializers.Serializer[Any]):
    deal = serializers.UUIDField()
    transaction = serializers.UUIDField(allow_null=True)
    position = serializers.DictField()
    symbol = serializers.CharField()
    side = serializers.CharField()
    volume = serializers.CharField()
    price = serializers.CharField()
    price_open = serializers.CharField()
    profit = serializers.CharField()
    commission = serializers.CharField()
    compensation = serializers.CharField()
    margin_released = serializers.CharField()
    balance = serializers.CharField()
    held = serializers.CharField()
    currency = serializers.CharField()
    created_at = serializers.DateTimeField()


class DealDocument(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    account = serializers.CharField()
    position = serializers.UUIDField()
    order = serializers.UUIDField(allow_null=True)
    symbol = serializers.CharField()
    entry = serializers.CharField()
    cause = serializers.CharField(help_text="CLIENT, or what a price made the desk do.")
    batch = serializers.IntegerField(allow_null=True, help_text="The price batch that caused it; null of a client's.")
    side = serializers.CharField()
    volume = serializers.CharField()
    price = serializers.CharField()
    price_open = serializers.CharField()
    margin = serializers.CharField()
    profit = serializers.CharField()
    commission = serializers.CharField()
    compensation = serializers.CharField()
    currency = serializers.CharField()
    transaction = serializers.UUIDField(allow_null=True)
    executed_at = serializers.DateTimeField()


class AccountDocument(serializers.Serializer[Any]):
    number = serializers.CharField()
    environment = serializers.CharField()
    currency = serializers.CharField()
    wallet = serializers.CharField()
    leverage = serializers.IntegerField()
    jurisdiction = serializers.CharField(help_text="Whose leverage caps apply: a regulator's, or DESK.")
    is_self_trading = serializers.BooleanField()
    balance = serializers.CharField()
    credit = serializers.CharField()
    floating = serializers.CharField(allow_null=True)
    equity = serializers.CharField(allow_null=True)
    held = serializers.CharField()
    free_margin = serializers.CharField(allow_null=True)
    margin_level = serializers.CharField(allow_null=True, help_text="Percent; null while nothing is held.")
    open_positions = serializers.IntegerField()
    working_orders = serializers.IntegerField()
    reserved = serializers.CharField(help_text="What working orders would lock: new orders have to leave it free.")
    in_margin_call_since = serializers.DateTimeField(allow_null=True)
    sequence = serializers.IntegerField(help_text="The number of its last change: `changes?since=` goes on from here.")
    created_at = serializers.DateTimeField()


class AccountList(WholeList):
    results = AccountDocument(many=True)


class ReleaseReceipt(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    transaction = serializers.UUIDField()
    account = serializers.CharField()
    source = serializers.CharField()  # type: ignore[assignment]  # as above
    target = serializers.CharField()
    amount = serializers.CharField()
    currency = serializers.CharField()
    status = serializers.CharField()
    credit_removed = serializers.CharField()
    balance = serializers.CharField()
    target_balance = serializers.CharField()
    created_at = serializers.DateTimeField()


class ResetReceipt(serializers.Serializer[Any]):
    account = serializers.CharField()
    balance = serializers.CharField()
    currency = serializers.CharField()
    transaction = serializers.UUIDField(allow_null=True)


class QuoteTickDocument(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    symbol = serializers.CharField()
    bid = serializers.CharField()
    ask = serializers.CharField()
    source = serializers.CharField()  # type: ignore[assignment]  # as above
    time = serializers.DateTimeField(help_text="The market's clock.")
    received_at = serializers.DateTimeField(help_text="Our clock: since when it was the latest.")
    sequence = serializers.IntegerField()
    batch = serializers.IntegerField(help_text="Prices of one batch became known together.")


class RefusedQuoteDocument(serializers.Serializer[Any]):
    index = serializers.IntegerField(help_text="Its place in the request, from 0.")
    symbol = serializers.CharField()
    code = serializers.CharField(help_text="STALE, AHEAD, JUMP or OVERTAKEN.")
    detail = serializers.CharField()


class QuotesReceipt(serializers.Serializer[Any]):
    accepted = serializers.IntegerField(help_text="Quotes that are the latest now.")
    received = serializers.IntegerField()
    batch = serializers.IntegerField(allow_null=True, help_text="Null where nothing was accepted.")
    refused = RefusedQuoteDocument(
        many=True, help_text="What could be true and is not believed; all but OVERTAKEN alert."
    )


class ExplanationDocument(serializers.Serializer[Any]):
    deal = serializers.UUIDField()
    position = serializers.UUIDField()
    entry = serializers.CharField()
    symbol = serializers.CharField()
    side = serializers.CharField()
    volume = serializers.CharField()
    price = serializers.CharField()
    price_open = serializers.CharField()
    currency = serializers.CharField()
    quote = serializers.DictField()
    sections = serializers.ListField(child=serializers.DictField())
    agrees = serializers.BooleanField(help_text="Whether every recomputed figure equals the booked one.")
    transaction = serializers.UUIDField(allow_null=True)
    executed_at = serializers.DateTimeField()


class MarginEventDocument(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    account = serializers.CharField()
    kind = serializers.ChoiceField(choices=MarginEvent.Kind.values)
    batch = serializers.IntegerField(help_text="The price batch it was decided on.")
    equity = serializers.CharField()
    held = serializers.CharField()
    margin_level = serializers.CharField(allow_null=True, help_text="Percent; null where nothing was held.")
    currency = serializers.CharField()
    report = serializers.DictField(help_text="The figures it was decided on and, of a stop-out, every step.")
    created_at = serializers.DateTimeField()


class ValuedPositionDocument(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    number = serializers.IntegerField()
    symbol = serializers.CharField()
    price_current = serializers.CharField()
    floating = serializers.CharField(allow_null=True)
    conversion = serializers.ListField(
        child=serializers.CharField(), help_text="From the quote currency to the account's; empty if they are one."
    )


class StateDocument(AccountDocument):
    batch = serializers.IntegerField(help_text="The last price batch that these figures know.")
    positions = ValuedPositionDocument(many=True, help_text="What is open; `floating` is the sum of theirs.")
    quotes = QuoteDocument(many=True, help_text="What the open positions were valued at.")


class ChangesDocument(serializers.Serializer[Any]):
    account = serializers.CharField()
    since = serializers.IntegerField()
    sequence = serializers.IntegerField(help_text="How far this answer goes: the next `since`.")
    latest = serializers.IntegerField(help_text="The number of the account's last change.")
    has_more = serializers.BooleanField()
    orders = OrderDocument(many=True)
    positions = PositionDocument(many=True)
    deals = DealDocument(many=True)
    swaps = SwapDocument(many=True)
    margin_events = MarginEventDocument(many=True)
    state = StateDocument(help_text="The account of this moment, whatever page of the changes is read.")


# --- Rendering ------------------------------------------------------------------------------------------------------


def quote_document(instrument: Instrument, market: Market) -> dict[str, Any] | None:
    """The latest price of an instrument as clients read it; null before there is one."""
    tick = market.ticks.get(instrument.symbol)
    if tick is None:
        return None
    age_seconds = (market.now - tick.received_at).total_seconds()
    return {
        "symbol": instrument.symbol,
        "bid": engine.price_text(tick.bid, instrument),
        "ask": engine.price_text(tick.ask, instrument),
        "source": tick.source,
        "time": plain(tick.quoted_at),
        "received_at": plain(tick.received_at),
        "sequence": tick.sequence,
        "is_fresh": age_seconds <= instrument.quote_age_seconds_max,
    }


def tick_document(row: QuoteTick, instrument: Instrument) -> dict[str, Any]:
    return {
        "id": str(row.id),
        "symbol": row.instrument_id,
        "bid": engine.price_text(row.bid, instrument),
        "ask": engine.price_text(row.ask, instrument),
        "source": row.source,
        "time": plain(row.quoted_at),
        "received_at": plain(row.received_at),
        "sequence": row.sequence,
        "batch": row.batch_id,
    }


def quotes_receipt(recorded: Recorded, *, received: int) -> dict[str, Any]:
    """What a feed reads of its batch; everything that cannot be true was refused before this."""
    return {
        "accepted": recorded.accepted,
        "received": received,
        "batch": recorded.batch,
        "refused": [
            {"index": one.index, "symbol": one.quote.symbol, "code": str(one.kind), "detail": one.message}
            for one in recorded.refused
        ],
    }


def instrument_document(instrument: Instrument, market: Market) -> dict[str, Any]:
    trimmed = engine.trimmed
    schedule, triple = market.schedules[instrument.symbol], instrument.swap_triple_weekday
    is_open = sessions.is_open(schedule, market.now)
    return {
        "symbol": instrument.symbol,
        "name": instrument.name,
        "asset_class": instrument.asset_class,
        "base": instrument.base,
        "quote_currency": instrument.quote,
        "margin_currency": instrument.margin_currency,
        "digits": instrument.digits,
        "tick_size": trimmed(instrument.tick_size),
        "pip_size": trimmed(instrument.pip_size),
        "contract_size": trimmed(instrument.contract_size),
        "volume_min": trimmed(instrument.volume_min),
        "volume_max": trimmed(instrument.volume_max),
        "volume_step": trimmed(instrument.volume_step),
        "calculation": instrument.calculation,
        "margin_rate": trimmed(instrument.margin_rate),
        "leverage_class": instrument.leverage_class,
        "leverage_max": instrument.leverage_max,
        "leverage_caps": market.leverage_caps[instrument.symbol],
        "commission_per_lot": trimmed(instrument.commission_per_lot),
        "commission_currency": instrument.commission_currency,
        "trade_mode": instrument.trade_mode,
        "quote_age_seconds_max": instrument.quote_age_seconds_max,
        "volume_limit": None if instrument.volume_limit is None else trimmed(instrument.volume_limit),
        "swap_mode": instrument.swap_mode,
        "swap_long": trimmed(instrument.swap_long),
        "swap_short": trimmed(instrument.swap_short),
        "swap_triple_weekday": None if triple is None else sessions.WEEKDAYS[triple],
        "rollover_at": instrument.rollover_at.isoformat("minutes"),
        "time_zone": instrument.time_zone,
        "sessions": session_documents(schedule),
        "is_open": is_open,
        "next_open": None if is_open else plain(sessions.next_open(schedule, market.now)),
        "next_close": plain(sessions.next_close(schedule, market.now)) if is_open else None,
        "quote": quote_document(instrument, market),
    }


def session_documents(schedule: Schedule) -> list[dict[str, str]]:
    """Weekly hours as clients read them, on the market's own clock."""
    return [
        {
            "weekday": sessions.WEEKDAYS[session.weekday],
            "opens": session.opens.isoformat("minutes"),
            "closes": session.closes.isoformat("minutes"),
        }
        for session in schedule.sessions
    ]


def order_document(order: Order, market: Market) -> dict[str, Any]:
    instrument, currency = market.instruments[order.instrument_id], order.account.currency
    position = getattr(order, "position", None)
    waits = order.status == Order.Status.WORKING
    return {
        "id": str(order.id),
        "account": order.account.number,
        "symbol": order.instrument_id,
        "side": order.side,
        "type": order.type,
        "volume": engine.trimmed(order.volume),
        "price": _price(order.price, instrument),
        "stop_loss": _price(order.stop_loss, instrument),
        "take_profit": _price(order.take_profit, instrument),
        "time_in_force": order.time_in_force,
        "expires_at": plain(order.expires_at),
        "client_order_id": order.client_order_id,
        "status": order.status,
        "price_filled": _price(order.price_filled, instrument),
        "position": None if position is None else {"id": str(position.id), "number": position.number},
        "margin_reserved": show(order.margin_reserved, currency) if waits else None,
        "price_expected": _price(order.price_expected, instrument),
        "max_deviation": order.deviation_max,
        "reject_code": order.reject_code or None,
        "reject_context": order.reject_context,
        "cancel_reason": order.cancel_reason or None,
        "created_at": plain(order.created_at),
        "updated_at": plain(order.updated_at),
    }


def _price(value: Decimal | None, instrument: Instrument) -> str | None:
    return None if value is None else engine.price_text(value, instrument)


def position_document(position: Position, market: Market) -> dict[str, Any]:
    """A position with its floating profit at the last known price; null where it cannot be converted."""
    instrument, currency = market.instruments[position.instrument_id], position.account.currency
    current = floating = None
    if position.status == Position.Status.OPEN:
        tick = market.ticks[position.instrument_id]
        current = engine.price_text(tick.price.to_close(Side(position.side)), instrument)
        try:
            rates = market.rates(fresh_only=False)
            profit = engine.floating_of(OpenPosition.of(position), market=market, currency=currency, rates=rates)
            floating = show(profit.amount, currency)
        except ConversionRateUnavailable:
            floating = None
    return {
        "id": str(position.id),
        "number": position.number,
        "account": position.account.number,
        "symbol": position.instrument_id,
        "side": position.side,
        "status": position.status,
        "volume_initial": engine.trimmed(position.volume_initial),
        "volume": engine.trimmed(position.volume),
        "price_open": engine.price_text(position.price_open, instrument),
        "price_current": current,
        "stop_loss": _price(position.stop_loss, instrument),
        "take_profit": _price(position.take_profit, instrument),
        "leverage": position.leverage,
        "margin_initial": show(position.margin_initial, currency),
        "margin_locked": show(position.margin_locked, currency),
        "floating": floating,
        "profit": show(position.profit, currency),
        "commission": show(position.commission, currency),
        "swap": show(position.swap, currency),
        "currency": currency,
        "opened_at": plain(position.opened_at),
        "updated_at": plain(position.updated_at),
        "closed_at": plain(position.closed_at),
    }


def swap_document(swap: Swap, market: Market) -> dict[str, Any]:
    instrument, currency = market.instruments[swap.instrument_id], swap.account.currency
    lines, agrees = explain_swap(swap)
    return {
        "id": str(swap.id),
        "position": str(swap.position_id),
        "symbol": swap.instrument_id,
        "night": swap.night.isoformat(),
        "rollover_at": plain(swap.rollover_at),
        "nights": swap.nights,
        "side": swap.side,
        "volume": engine.trimmed(swap.volume),
        "mode": swap.mode,
        "rate": engine.trimmed(swap.rate),
        "price": engine.price_text(swap.price, instrument),
        "price_basis": swap.price_basis,
        "amount": show(swap.amount, currency),
        "compensation": show(swap.compensation, currency),
        "currency": currency,
        "conversion": swap.inputs["conversion_path"],
        "lines": lines,
        "agrees": agrees,
        "transaction": plain(swap.transaction_id),
        "charged_at": plain(swap.charged_at),
    }


def deal_document(deal: Deal, market: Market) -> dict[str, Any]:
    instrument, currency = market.instruments[deal.instrument_id], deal.account.currency
    return {
        "id": str(deal.id),
        "account": deal.account.number,
        "position": str(deal.position_id),
        "order": plain(deal.order_id),
        "symbol": deal.instrument_id,
        "entry": deal.entry,
        "cause": deal.cause,
        "batch": deal.batch,
        "side": deal.side,
        "volume": engine.trimmed(deal.volume),
        "price": engine.price_text(deal.price, instrument),
        "price_open": engine.price_text(deal.price_open, instrument),
        "margin": show(deal.margin, currency),
        "profit": show(deal.profit, currency),
        "commission": show(deal.commission, currency),
        "compensation": show(deal.compensation, currency),
        "currency": currency,
        "transaction": plain(deal.transaction_id),
        "executed_at": plain(deal.executed_at),
    }


def account_document(summary: AccountSummary) -> dict[str, Any]:
    account, state, currency = summary.account, summary.state, summary.account.currency
    wallet = account.wallet
    level = None if state is None else margin.shown_level(state.margin_level)
    return {
        "number": account.number,
        "environment": account.environment,
        "currency": currency,
        "wallet": wallet.number,
        "leverage": account.leverage,
        "jurisdiction": account.jurisdiction,
        "is_self_trading": account.is_self_trading,
        "balance": show(wallet.balance, currency),
        "credit": show(wallet.credit, currency),
        "floating": None if state is None else show(state.floating, currency),
        "equity": None if state is None else show(state.equity, currency),
        "held": show(wallet.held, currency),
        "free_margin": None if state is None else show(state.free_margin, currency),
        "margin_level": None if level is None else format(level, "f"),
        "open_positions": len(summary.book.positions),
        "working_orders": len(summary.book.orders),
        "reserved": show(summary.book.reserved, currency),
        "in_margin_call_since": plain(summary.book.called_at),
        "sequence": summary.book.sequence,
        "created_at": plain(account.created_at),
    }


def margin_event_document(event: MarginEvent) -> dict[str, Any]:
    currency = event.account.currency
    level = margin.shown_level(AccountState(event.equity, ZERO, ZERO, event.held).margin_level)
    return {
        "id": str(event.id),
        "account": event.account.number,
        "kind": event.kind,
        "batch": event.batch,
        "equity": show(event.equity, currency),
        "held": show(event.held, currency),
        "margin_level": None if level is None else format(level, "f"),
        "currency": currency,
        "report": event.report,
        "created_at": plain(event.created_at),
    }


def valued_position_document(position: OpenPosition, market: Market, currency: str) -> dict[str, Any]:
    """What only prices change of an open position; the floating profit is null where it cannot be converted."""
    current = market.ticks[position.symbol].price.to_close(position.side)
    try:
        rates = market.rates(fresh_only=False)
        profit = engine.floating_of(position, market=market, currency=currency, rates=rates)
        floating, conversion = show(profit.amount, currency), list(profit.conversion.path)
    except ConversionRateUnavailable:
        floating, conversion = None, []
    return {
        "id": str(position.id),
        "number": position.number,
        "symbol": position.symbol,
        "price_current": engine.price_text(current, market.instruments[position.symbol]),
        "floating": floating,
        "conversion": conversion,
    }


def state_document(summary: AccountSummary, market: Market) -> dict[str, Any]:
    """An account with everything that prices change without a change of their own."""
    positions, currency = summary.book.positions, summary.account.currency
    symbols = sorted({position.symbol for position in positions})
    return account_document(summary) | {
        "batch": market.batch,
        "positions": [valued_position_document(position, market, currency) for position in positions],
        "quotes": [quote_document(market.instruments[symbol], market) for symbol in symbols],
    }


def changes_document(changes: Changes, summary: AccountSummary, market: Market) -> dict[str, Any]:
    rows, kind = changes.rows, AccountChange.Kind
    return {
        "account": changes.account.number,
        "since": changes.since,
        "sequence": changes.sequence,
        "latest": changes.latest,
        "has_more": changes.sequence < changes.latest,
        "orders": [order_document(row, market) for row in rows[kind.ORDER]],
        "positions": [position_document(row, market) for row in rows[kind.POSITION]],
        "deals": [deal_document(row, market) for row in rows[kind.DEAL]],
        "swaps": [swap_document(row, market) for row in rows[kind.SWAP]],
        "margin_events": [margin_event_document(row) for row in rows[kind.MARGIN_EVENT]],
        "state": state_document(summary, market),
    }
