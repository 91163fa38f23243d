"""Trading as staff see it: everything, and nothing to change here."""

from __future__ import annotations

from django.contrib import admin

from core.admin import ReadOnlyAdmin
from trading.models import (
    AccountWatch,
    Deal,
    Holiday,
    Instrument,
    LeverageCap,
    MarginEvent,
    Order,
    Position,
    PriceBand,
    PriceBatch,
    PriceClock,
    Quote,
    QuoteAlert,
    QuoteTick,
    RiskTask,
    Swap,
    TradingSession,
)


@admin.register(Instrument)
class InstrumentAdmin(ReadOnlyAdmin):
    list_display = ("symbol", "name", "asset_class", "leverage_class", "leverage_max", "trade_mode", "updated_at")
    list_filter = ("asset_class", "leverage_class", "trade_mode")
    search_fields = ("symbol", "name")
    ordering = ("symbol",)


@admin.register(LeverageCap)
class LeverageCapAdmin(ReadOnlyAdmin):
    list_display = ("jurisdiction", "leverage_class", "leverage_max")
    list_filter = ("leverage_class",)
    search_fields = ("=jurisdiction",)
    search_help_text = "A jurisdiction"
    ordering = ("id",)


@admin.register(TradingSession)
class TradingSessionAdmin(ReadOnlyAdmin):
    list_display = ("instrument", "weekday", "opens", "closes")
    list_filter = ("weekday",)
    search_fields = ("=instrument__symbol",)
    ordering = ("id",)


@admin.register(Holiday)
class HolidayAdmin(ReadOnlyAdmin):
    list_display = ("calendar", "day", "closes", "reopens", "name")
    list_filter = ("calendar",)
    ordering = ("day",)


@admin.register(Quote)
class QuoteAdmin(ReadOnlyAdmin):
    list_display = ("instrument", "bid", "ask", "source", "quoted_at", "received_at", "sequence")
    list_filter = ("source",)
    ordering = ("instrument",)


@admin.register(QuoteAlert)
class QuoteAlertAdmin(ReadOnlyAdmin):
    list_display = ("raised_at", "symbol", "source", "kind", "figures", "quoted_at")
    list_filter = ("kind",)
    search_fields = ("=symbol", "=source")
    search_help_text = "A symbol or a source"


@admin.register(QuoteTick)
class QuoteTickAdmin(ReadOnlyAdmin):
    list_display = ("received_at", "instrument", "bid", "ask", "source", "quoted_at", "sequence", "batch")
    list_select_related = ("instrument", "batch")
    search_fields = ("=instrument__symbol", "=batch__number")
    search_help_text = "A symbol, or a batch's number"


@admin.register(PriceBatch)
class PriceBatchAdmin(ReadOnlyAdmin):
    list_display = ("number", "received_at", "source", "size")
    search_fields = ("=number",)


@admin.register(PriceClock)
class PriceClockAdmin(ReadOnlyAdmin):
    list_display = ("number",)


@admin.register(Order)
class OrderAdmin(ReadOnlyAdmin):
    list_display = (
        "created_at", "account", "instrument", "type", "side", "volume", "price", "status", "price_filled",
        "reject_code",
    )  # fmt: skip
    list_filter = ("status", "type", "side")
    list_select_related = ("account", "instrument")
    search_fields = ("=id", "=account__number", "=client_order_id")
    search_help_text = "An order's id, an account's number, or a client_order_id"
    exclude = ("idempotency_digest",)


@admin.register(Position)
class PositionAdmin(ReadOnlyAdmin):
    list_display = (
        "number", "account", "instrument", "side", "volume", "price_open", "stop_loss", "take_profit", "margin_locked",
        "status",
    )  # fmt: skip
    list_filter = ("status", "side")
    list_select_related = ("account", "instrument")
    search_fields = ("=number", "=account__number")
    search_help_text = "A position's number, or an account's"


@admin.register(Deal)
class DealAdmin(ReadOnlyAdmin):
    list_display = ("executed_at", "account", "instrument", "entry", "cause", "side", "volume", "price", "profit")
    list_filter = ("entry", "cause", "side")
    list_select_related = ("account", "instrument")
    search_fields = ("=id", "=account__number", "=position__number")
    search_help_text = "A deal's id, a position's number, or an account's"
    exclude = ("idempotency_digest",)


@admin.register(Swap)
class SwapAdmin(ReadOnlyAdmin):
    list_display = ("night", "account", "position", "side", "volume", "nights", "rate", "amount", "compensation")
    list_filter = ("mode", "price_basis", "side")
    list_select_related = ("account", "position")
    search_fields = ("=id", "=account__number", "=position__number")
    search_help_text = "A swap's id, a position's number, or an account's"


@admin.register(MarginEvent)
class MarginEventAdmin(ReadOnlyAdmin):
    list_display = ("created_at", "account", "kind", "batch", "equity", "held")
    list_filter = ("kind",)
    list_select_related = ("account",)
    search_fields = ("=id", "=account__number")
    search_help_text = "An event's id, or an account's number"


@admin.register(AccountWatch)
class AccountWatchAdmin(ReadOnlyAdmin):
    list_display = ("account", "sequence", "batch", "funds", "held", "called_at", "updated_at")
    list_select_related = ("account",)
    search_fields = ("=account__number",)


@admin.register(PriceBand)
class PriceBandAdmin(ReadOnlyAdmin):
    list_display = ("account", "instrument", "low", "high", "spread_max")
    list_select_related = ("account", "instrument")
    search_fields = ("=account__number",)


@admin.register(RiskTask)
class RiskTaskAdmin(ReadOnlyAdmin):
    list_display = ("account", "batch", "attempts", "failed_at", "error", "created_at")
    list_select_related = ("account",)
    search_fields = ("=account__number",)
