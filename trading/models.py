"""Money at risk: what can be traded, at what price, and what each client has open."""

from __future__ import annotations

from datetime import time
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.contrib.postgres.functions import RandomUUID
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from accounts.models import TradingAccount
from core.ids import uuid7
from trading import margin
from wallets.models import LedgerTransaction, bounded, money_field

ZERO = Decimal(0)
RATE_MAX = Decimal("99999999.999999999999")
PRICE_MAX = Decimal("9999999999.9999999999")
VOLUME_MAX = Decimal("99999999999999.9999")
SIDES = [(side.value, side.value) for side in margin.Side]


def price_field(**options: Any) -> models.DecimalField:  # type: ignore[type-arg]  # stubs want both types spelled out
    return models.DecimalField(max_digits=20, decimal_places=10, **options)


def volume_field(**options: Any) -> models.DecimalField:  # type: ignore[type-arg]  # as above
    return models.DecimalField(max_digits=18, decimal_places=4, **options)


def rate_field(**options: Any) -> models.DecimalField:  # type: ignore[type-arg]  # as above
    return models.DecimalField(max_digits=20, decimal_places=12, **options)


def positive(field: str, maximum: Decimal = PRICE_MAX) -> Q:
    """Above zero and within its column; the upper bound is what refuses NaN."""
    return Q(**{f"{field}__gt": ZERO, f"{field}__lte": maximum})


class Instrument(models.Model):
    """
    The terms of one tradable symbol. A lot is `contract_size` units of the base.

    Its sessions, its holidays and the end of its trading day are all told by the wall clock of `time_zone`.
    """

    class AssetClass(models.TextChoices):
        FOREX = "FOREX"
        CRYPTO = "CRYPTO"
        METAL = "METAL"
        INDEX = "INDEX"
        SHARE = "SHARE"

    class LeverageClass(models.TextChoices):
        """The groups in which regulators cap leverage, as ESMA drew them first."""

        FX_MAJOR = "FX_MAJOR"  # any two of USD, EUR, JPY, GBP, CAD, CHF
        FX_MINOR = "FX_MINOR"  # every other pair
        GOLD = "GOLD"
        INDEX_MAJOR = "INDEX_MAJOR"
        INDEX_MINOR = "INDEX_MINOR"
        COMMODITY = "COMMODITY"  # but gold
        SHARE = "SHARE"  # and whatever has no group of its own
        CRYPTO = "CRYPTO"

    class Mode(models.TextChoices):
        FOREX = "FOREX"
        CFD = "CFD"
        CFD_LEVERAGE = "CFD_LEVERAGE"

    class TradeMode(models.TextChoices):
        FULL = "FULL"
        LONG_ONLY = "LONG_ONLY"
        SHORT_ONLY = "SHORT_ONLY"
        CLOSE_ONLY = "CLOSE_ONLY"
        DISABLED = "DISABLED"

    class SwapMode(models.TextChoices):
        POINTS = "POINTS"  # of price, per lot and night
        ANNUAL = "ANNUAL"  # percent a year of the position's value

    symbol = models.CharField(primary_key=True, max_length=16)
    name = models.CharField(max_length=64)
    asset_class = models.CharField(max_length=8, choices=AssetClass)
    base = models.CharField(max_length=8, help_text="What a lot is made of.")
    quote = models.CharField(max_length=4, help_text="The currency its price and its profit are in.")
    margin_currency = models.CharField(max_length=8)
    digits = models.PositiveSmallIntegerField()
    tick_size = price_field()
    pip_size = price_field()
    contract_size = models.DecimalField(max_digits=18, decimal_places=4)
    volume_min = volume_field()
    volume_max = volume_field()
    volume_step = volume_field()
    calculation = models.CharField(max_length=12, choices=Mode)
    margin_rate = models.DecimalField(max_digits=20, decimal_places=12, default=Decimal(1))
    leverage_class = models.CharField(
        max_length=16,
        choices=LeverageClass,
        default=LeverageClass.SHARE,
        db_default=LeverageClass.SHARE.value,
        help_text="The group that a regulator's cap is looked up by.",
    )
    leverage_max = models.PositiveIntegerField(
        null=True, help_text="The desk's own cap, for everybody; empty: none but the desk's for all instruments."
    )
    commission_per_lot = money_field(default=ZERO, help_text="Per side, in `commission_currency`.")
    commission_currency = models.CharField(max_length=4, default="USD")
    trade_mode = models.CharField(max_length=12, choices=TradeMode, default=TradeMode.FULL)
    quote_age_seconds_max = models.PositiveIntegerField(default=60)
    replay_spread_points = models.PositiveIntegerField(
        default=10, help_text="Bars carry one price; a replay quotes this many points around it."
    )
    volume_limit = volume_field(
        null=True, help_text="Most lots one account may hold open in one direction; empty: no limit."
    )
    stop_distance = models.PositiveIntegerField(
        default=0, db_default=0, help_text="Points that a stop, a limit or a target keeps from the price at least."
    )
    tick_jump_max = models.DecimalField(
        max_digits=6,
        decimal_places=4,
        default=Decimal("0.5"),
        db_default=Decimal("0.5"),
        help_text="A price further from the last one than this fraction is believed when a second confirms it.",
    )
    time_zone = models.CharField(max_length=64, default="America/New_York", db_default="America/New_York")
    calendar = models.CharField(
        max_length=16, blank=True, default="", db_default="", help_text="Whose holidays it keeps; none if empty."
    )
    rollover_at = models.TimeField(
        default=time(17),
        db_default=time(17),
        help_text="When its trading day ends: what is open then is charged or paid for the night.",
    )
    swap_mode = models.CharField(
        max_length=8, choices=SwapMode, default=SwapMode.POINTS, db_default=SwapMode.POINTS.value
    )
    swap_long = rate_field(default=ZERO, db_default=ZERO, help_text="Per night; negative where holding costs.")
    swap_short = rate_field(default=ZERO, db_default=ZERO)
    swap_triple_weekday = models.PositiveSmallIntegerField(
        null=True, help_text="Monday is 0. The weekend is charged on that day; without one every day is charged."
    )
    updated_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = (
            models.CheckConstraint(condition=positive("tick_jump_max", Decimal(10)), name="instrument_jump_positive"),
            models.CheckConstraint(
                condition=positive("volume_limit", VOLUME_MAX), name="instrument_volume_limit_positive"
            ),
            models.CheckConstraint(
                condition=positive("volume_min", VOLUME_MAX)
                & positive("volume_step", VOLUME_MAX)
                & positive("volume_max", VOLUME_MAX)
                & Q(volume_max__gte=F("volume_min")),
                name="instrument_volumes_in_order",
            ),
            models.CheckConstraint(
                condition=positive("contract_size", VOLUME_MAX) & positive("margin_rate", Decimal(1000)),
                name="instrument_sizes_positive",
            ),
            models.CheckConstraint(
                condition=positive("tick_size") & positive("pip_size"), name="instrument_ticks_positive"
            ),
            models.CheckConstraint(
                condition=Q(leverage_max__isnull=True) | Q(leverage_max__gte=1), name="instrument_leverage_positive"
            ),
            models.CheckConstraint(
                condition=bounded("commission_per_lot", low=ZERO), name="instrument_commission_not_negative"
            ),
            # A forex margin is an amount of base, a CFD's is an amount of quote: see `margin.Contract`.
            models.CheckConstraint(
                condition=Q(calculation="FOREX", margin_currency=F("base"))
                | (~Q(calculation="FOREX") & Q(margin_currency=F("quote"))),
                name="instrument_margin_currency_fits_its_calculation",
            ),
            models.CheckConstraint(
                condition=Q(swap_long__gte=-RATE_MAX, swap_long__lte=RATE_MAX)
                & Q(swap_short__gte=-RATE_MAX, swap_short__lte=RATE_MAX),
                name="instrument_swaps_bounded",
            ),
            models.CheckConstraint(
                condition=Q(swap_triple_weekday__isnull=True) | Q(swap_triple_weekday__lte=4),
                name="instrument_weekend_is_charged_on_a_working_day",
            ),
        )

    def __str__(self) -> str:
        return self.symbol

    def contract(self) -> margin.Contract:
        """The terms as the arithmetic wants them."""
        return margin.Contract(
            symbol=self.symbol,
            base=self.base,
            quote=self.quote,
            margin_currency=self.margin_currency,
            contract_size=self.contract_size,
            mode=margin.Mode(self.calculation),
            margin_rate=self.margin_rate,
            leverage_max=self.leverage_max,
            tick_size=self.tick_size,
            digits=self.digits,
        )

    def swap_rate(self, side: margin.Side) -> margin.SwapRate:
        """What a night costs (negative) or earns on this side; an annual rate keeps the quote currency's year."""
        mode = margin.SwapMode.POINTS
        if self.swap_mode == self.SwapMode.ANNUAL:
            mode = margin.annual_mode(self.quote)
        return margin.SwapRate(self.swap_long if side is margin.Side.BUY else self.swap_short, mode)


class LeverageCap(models.Model):
    """The most leverage that a jurisdiction allows its retail clients in a group of instruments. Reference data."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    jurisdiction = models.CharField(max_length=16)
    leverage_class = models.CharField(max_length=16, choices=Instrument.LeverageClass)
    leverage_max = models.PositiveIntegerField()

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["jurisdiction", "leverage_class"], name="leveragecap_once"),
            models.CheckConstraint(condition=Q(leverage_max__gte=1), name="leveragecap_positive"),
        )

    def __str__(self) -> str:
        return f"{self.jurisdiction} {self.leverage_class} {self.leverage_max}:1"


class TradingSession(models.Model):
    """
    Hours that an instrument trades every week, by its own wall clock; without any it never closes.

    A close at or before the opening is on the next day, so a session lasts a day at most. Reference data for all
    clients, like the instrument itself.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    instrument = models.ForeignKey(
        Instrument, on_delete=models.CASCADE, related_name="sessions", db_column="symbol", db_index=False
    )
    weekday = models.PositiveSmallIntegerField(help_text="On which it opens; Monday is 0.")
    opens = models.TimeField()
    closes = models.TimeField()

    class Meta:
        constraints = (
            models.CheckConstraint(condition=Q(weekday__lte=6), name="tradingsession_weekday_known"),
            models.UniqueConstraint(fields=["instrument", "weekday", "opens"], name="tradingsession_opens_once"),
        )

    def __str__(self) -> str:
        return f"{self.instrument_id} {self.weekday} {self.opens:%H:%M}-{self.closes:%H:%M}"


class Holiday(models.Model):
    """A day with other hours for every instrument of a calendar, each by its own wall clock. Reference data too."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    calendar = models.CharField(max_length=16)
    day = models.DateField()
    closes = models.TimeField(null=True, help_text="Closed from here on; from midnight if not given.")
    reopens = models.TimeField(null=True, help_text="Open again from here on; not on that day if not given.")
    name = models.CharField(max_length=64, blank=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["calendar", "day"], name="holiday_calendar_day"),
            models.CheckConstraint(
                condition=Q(closes__isnull=True) | Q(reopens__isnull=True) | Q(reopens__gt=F("closes")),
                name="holiday_hours_in_order",
            ),
        )

    def __str__(self) -> str:
        return f"{self.calendar} {self.day}"


class Quote(models.Model):
    """The latest price of one instrument; `quoted_at` is the market's clock, `received_at` is ours."""

    instrument = models.OneToOneField(
        Instrument, primary_key=True, on_delete=models.PROTECT, related_name="latest", db_column="symbol"
    )
    bid = price_field()
    ask = price_field()
    source = models.CharField(max_length=16)
    quoted_at = models.DateTimeField()
    received_at = models.DateTimeField()
    sequence = models.BigIntegerField(default=1)

    class Meta:
        constraints = (
            models.CheckConstraint(
                condition=positive("bid") & positive("ask") & Q(ask__gte=F("bid")), name="quote_is_not_crossed"
            ),
        )

    def __str__(self) -> str:
        return f"{self.instrument_id} {self.bid}/{self.ask}"


class PriceClock(models.Model):
    """
    One row, with the number of the last price batch and the versions of what processes keep (see `trading.terms` and
    `trading.prices`).

    Whoever records prices holds it from before the first look at the last prices until the commit, so batches are
    numbered in the order in which they become visible, and a batch that is rolled back gives its number back.
    """

    id = models.SmallIntegerField(primary_key=True, default=1)
    number = models.BigIntegerField(default=0)
    terms_version = models.UUIDField(db_default=RandomUUID(), editable=False)
    prices_version = models.UUIDField(db_default=RandomUUID(), editable=False)

    class Meta:
        constraints = (models.CheckConstraint(condition=Q(id=1, number__gte=0), name="price_clock_is_one"),)

    def __str__(self) -> str:
        return f"batch {self.number}"


class PriceBatch(models.Model):
    """
    Prices that became known together, and the order in which that happened.

    What a consumer may rely on: `number` is gapless from 1, and when a batch can be seen, every batch with a lower
    number can be seen too, whole. So it may remember the last number it has worked off, read what is above in order of
    number, and has missed nothing: there are no late commits, because the next number is only given out once the last
    one is visible. Time is no such guide: `received_at` is the recording process's clock, and two of them may differ.
    Purging takes old batches away, lowest numbers first; a consumer that was away for longer starts at the first left.
    """

    number = models.BigIntegerField(primary_key=True)
    source = models.CharField(max_length=16)
    received_at = models.DateTimeField()
    size = models.PositiveIntegerField(help_text="How many prices it has.")

    class Meta:
        verbose_name_plural = "price batches"
        constraints = (models.CheckConstraint(condition=Q(size__gt=0), name="price_batch_has_prices"),)
        indexes = (models.Index(fields=["received_at"], name="price_batch_received"),)

    def __str__(self) -> str:
        return f"batch {self.number} of {self.source}"


class QuoteTick(models.Model):
    """
    A price as it was once the latest: the desk has traded on these and on no others.

    `id` is a version 7 UUID of `received_at`, then batch, so that history is read and purged by its key alone.
    """

    id = models.UUIDField(primary_key=True, editable=False)
    instrument = models.ForeignKey(
        Instrument, on_delete=models.PROTECT, related_name="ticks", db_column="symbol", db_index=False
    )
    batch = models.ForeignKey(
        PriceBatch, on_delete=models.PROTECT, related_name="ticks", db_column="batch", db_index=False
    )
    bid = price_field()
    ask = price_field()
    source = models.CharField(max_length=16)
    quoted_at = models.DateTimeField()
    received_at = models.DateTimeField()
    sequence = models.BigIntegerField(help_text="The instrument's own count, the same as its latest price had.")

    class Meta:
        constraints = (
            models.CheckConstraint(
                condition=positive("bid") & positive("ask") & Q(ask__gte=F("bid")), name="quote_tick_is_not_crossed"
            ),
            models.UniqueConstraint(fields=["batch", "instrument"], name="quote_tick_once_per_batch"),
        )
        indexes = (
            models.Index(fields=["instrument", "id"], name="quote_tick_history"),
            models.Index(fields=["instrument", "batch"], name="quote_tick_as_of_batch"),
        )

    def __str__(self) -> str:
        return f"{self.instrument_id} {self.bid}/{self.ask} #{self.batch_id}"


class QuoteAlert(models.Model):
    """A price that was not believed, and why; it was never the latest, so nothing was traded on it."""

    class Kind(models.TextChoices):
        # What cannot be true of any market.
        INSTRUMENT_NOT_FOUND = "INSTRUMENT_NOT_FOUND"
        DUPLICATE = "DUPLICATE"
        NOT_A_NUMBER = "NOT_A_NUMBER"
        NOT_POSITIVE = "NOT_POSITIVE"
        TOO_LARGE = "TOO_LARGE"
        PRECISION_EXCEEDED = "PRECISION_EXCEEDED"
        CROSSED = "CROSSED"
        # What could be, and is not believed as it stands.
        STALE = "STALE"
        AHEAD = "AHEAD"
        JUMP = "JUMP"

    symbol = models.CharField(max_length=64, help_text="As it was sent: there may be no such instrument.")
    source = models.CharField(max_length=16)
    kind = models.CharField(max_length=24, choices=Kind)
    figures = models.JSONField(help_text="The prices as they were sent, and those they were compared with.")
    quoted_at = models.DateTimeField()
    after_sequence = models.BigIntegerField(null=True, help_text="The sequence of the last good price at that time.")
    raised_at = models.DateTimeField()

    class Meta:
        indexes = (
            models.Index(fields=["raised_at"], name="quote_alert_raised"),
            models.Index(
                fields=["symbol", "source", "after_sequence", "id"],
                condition=Q(kind="JUMP"),
                name="quote_alert_suspect",
            ),
        )

    def __str__(self) -> str:
        return f"{self.kind} {self.symbol} from {self.source}"


class Order(models.Model):
    """
    What a client asked for, and what became of it; a refused order is kept with its reason and numbers.

    A market order is filled or refused at once. A limit or stop order is WORKING until its price comes, and reserves
    no money: `margin_reserved` is what it would lock, which other orders then have to leave free.
    """

    class Type(models.TextChoices):
        MARKET = "MARKET"
        LIMIT = "LIMIT"  # at its price or better
        STOP = "STOP"  # at the market, once it has come to its price

    class TimeInForce(models.TextChoices):
        IOC = "IOC"  # now or not at all
        GTC = "GTC"  # until it is cancelled
        GTD = "GTD"  # until `expires_at`

    class Status(models.TextChoices):
        NEW = "NEW"
        REJECTED = "REJECTED"
        FILLED = "FILLED"
        WORKING = "WORKING"
        CANCELLED = "CANCELLED"
        EXPIRED = "EXPIRED"

    class CancelReason(models.TextChoices):
        CLIENT = "CLIENT"
        STOP_OUT = "STOP_OUT"

    #: Every way of an order: NEW exists only inside the transaction that decides.
    TRANSITIONS = {
        Status.NEW: {Status.REJECTED, Status.FILLED, Status.WORKING},
        Status.WORKING: {Status.FILLED, Status.CANCELLED, Status.EXPIRED, Status.REJECTED},
        Status.REJECTED: set(),
        Status.FILLED: set(),
        Status.CANCELLED: set(),
        Status.EXPIRED: set(),
    }

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="orders", db_index=False)
    account = models.ForeignKey(TradingAccount, on_delete=models.PROTECT, related_name="orders", db_index=False)
    instrument = models.ForeignKey(
        Instrument, on_delete=models.PROTECT, related_name="orders", db_column="symbol", db_index=False
    )
    side = models.CharField(max_length=4, choices=SIDES)
    type = models.CharField(max_length=8, choices=Type)
    volume = volume_field()
    price = price_field(null=True, help_text="What a limit or stop order waits for.")
    stop_loss = price_field(null=True, help_text="For the position that it opens.")
    take_profit = price_field(null=True, help_text="For the position that it opens.")
    time_in_force = models.CharField(
        max_length=4, choices=TimeInForce, default=TimeInForce.IOC, db_default=TimeInForce.IOC.value
    )
    expires_at = models.DateTimeField(null=True)
    client_order_id = models.CharField(max_length=64, null=True)  # noqa: DJ001  # NULL: none given, exempt from UNIQUE
    status = models.CharField(max_length=12, choices=Status)
    reject_code = models.CharField(max_length=64, blank=True)
    reject_context = models.JSONField(null=True)
    cancel_reason = models.CharField(max_length=12, choices=CancelReason, blank=True, default="", db_default="")
    price_expected = price_field(null=True, help_text="What the client saw; given together with `deviation_max`.")
    deviation_max = models.PositiveIntegerField(null=True, help_text="Points the fill may be worse than expected.")
    price_filled = price_field(null=True)
    margin_reserved = money_field(
        default=ZERO,
        db_default=ZERO,
        help_text="What it would lock if filled at its price, as reckoned when it was set.",
    )
    watched_after = models.BigIntegerField(
        default=0,
        db_default=0,
        help_text="The price batch that was known when its price was set: later ones trigger it.",
    )
    idempotency_digest = models.BinaryField(max_length=32)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = (
            models.CheckConstraint(condition=positive("volume", VOLUME_MAX), name="order_volume_positive"),
            models.CheckConstraint(condition=positive("price_filled"), name="order_price_positive"),
            models.CheckConstraint(condition=positive("price_expected"), name="order_expected_price_positive"),
            models.CheckConstraint(
                condition=positive("price") & positive("stop_loss") & positive("take_profit"),
                name="order_prices_positive",
            ),
            models.CheckConstraint(
                condition=Q(type="MARKET", price__isnull=True) | (~Q(type="MARKET") & Q(price__isnull=False)),
                name="order_waits_for_a_price_unless_market",
            ),
            models.CheckConstraint(
                condition=Q(type="MARKET", time_in_force="IOC", expires_at__isnull=True)
                | (~Q(type="MARKET") & Q(time_in_force="GTC", expires_at__isnull=True))
                | (~Q(type="MARKET") & Q(time_in_force="GTD", expires_at__isnull=False)),
                name="order_lives_as_long_as_it_says",
            ),
            models.CheckConstraint(
                condition=~Q(type="MARKET") | ~Q(status__in=["WORKING", "CANCELLED", "EXPIRED"]),
                name="order_at_market_never_waits",
            ),
            models.CheckConstraint(
                condition=Q(status="CANCELLED", cancel_reason__in=["CLIENT", "STOP_OUT"])
                | (~Q(status="CANCELLED") & Q(cancel_reason="")),
                name="order_says_why_it_was_cancelled",
            ),
            models.CheckConstraint(condition=bounded("margin_reserved", low=ZERO), name="order_reserve_bounded"),
            models.CheckConstraint(
                condition=Q(price_expected__isnull=True, deviation_max__isnull=True)
                | Q(price_expected__isnull=False, deviation_max__isnull=False),
                name="order_expects_a_price_with_a_deviation",
            ),
            models.UniqueConstraint(fields=["owner", "idempotency_digest"], name="order_idempotency_digest"),
            models.UniqueConstraint(fields=["owner", "account", "client_order_id"], name="order_client_order_id"),
            models.CheckConstraint(
                condition=(Q(status="REJECTED") & ~Q(reject_code="")) | (~Q(status="REJECTED") & Q(reject_code="")),
                name="order_says_why_it_was_rejected",
            ),
            models.CheckConstraint(
                condition=Q(price_filled__isnull=False, status="FILLED")
                | (Q(price_filled__isnull=True) & ~Q(status="FILLED")),
                name="order_has_a_price_when_filled",
            ),
        )
        indexes = (
            models.Index(fields=["owner", "id"], name="order_owner"),
            models.Index(fields=["account", "id"], name="order_account"),
            # What a batch of prices looks into: only what still waits, by the price it waits for.
            models.Index(fields=["account", "id"], condition=Q(status="WORKING"), name="order_working_by_account"),
            models.Index(
                fields=["instrument", "type", "side", "price"], condition=Q(status="WORKING"), name="order_trigger"
            ),
            models.Index(
                fields=["expires_at"], condition=Q(status="WORKING", expires_at__isnull=False), name="order_expiry"
            ),
            # For the list of staff: what is rarer than a market order that was filled.
            models.Index(fields=["status", "id"], condition=~Q(status__in=["FILLED", "WORKING"]), name="order_status"),
            models.Index(fields=["type", "id"], condition=~Q(type="MARKET"), name="order_type"),
            models.Index(
                fields=["client_order_id"], condition=Q(client_order_id__isnull=False), name="order_client_chosen_id"
            ),
        )

    def __str__(self) -> str:
        return f"{self.side} {self.volume} {self.instrument_id} {self.status}"

    def move_to(self, status: Order.Status) -> None:
        """Set the next status, which has to be one that TRANSITIONS knows from here; the caller saves it."""
        assert status in self.TRANSITIONS[self.Status(self.status)], (
            f"an order never goes from {self.status} to {status}"
        )
        self.status = status


#: A position that was closed owes nights as long as it was open at the first one not looked at.
OWES_NIGHTS = Q(closed_at__isnull=True) | Q(rollover_due_at__isnull=True) | Q(closed_at__gte=F("rollover_due_at"))


class Position(models.Model):
    """
    One opened order that is not wholly closed: hedging accounts keep each apart.

    `margin_locked` is what the rest of it locks; it was fixed at the opening price and only partial closes lower it.
    """

    class Status(models.TextChoices):
        OPEN = "OPEN"
        CLOSED = "CLOSED"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    number = models.BigIntegerField(unique=True)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="positions", db_index=False
    )
    account = models.ForeignKey(TradingAccount, on_delete=models.PROTECT, related_name="positions", db_index=False)
    instrument = models.ForeignKey(
        Instrument, on_delete=models.PROTECT, related_name="positions", db_column="symbol", db_index=False
    )
    order = models.OneToOneField(Order, on_delete=models.PROTECT, related_name="position")
    side = models.CharField(max_length=4, choices=SIDES)
    status = models.CharField(max_length=8, choices=Status, default=Status.OPEN)
    volume_initial = volume_field()
    volume = volume_field(help_text="What is still open.")
    price_open = price_field()
    stop_loss = price_field(null=True, help_text="Closed at the first price that is as bad as this, or worse.")
    take_profit = price_field(null=True, help_text="Closed at the first price that is as good as this, or better.")
    watched_after = models.BigIntegerField(
        default=0,
        db_default=0,
        help_text="The price batch that was known when its stop and target were set: later ones trigger them.",
    )
    leverage = models.PositiveIntegerField()
    margin_initial = money_field()
    margin_locked = money_field()
    profit = money_field(default=ZERO, help_text="Realised by its closing deals, in the account's currency.")
    commission = money_field(default=ZERO, help_text="Paid so far, as a positive amount.")
    swap = money_field(default=ZERO, db_default=ZERO, help_text="Of all nights so far; negative where holding cost.")
    rollover_due_at = models.DateTimeField(
        null=True, help_text="The first end of a trading day that no sweep has looked at; not known yet if empty."
    )
    opened_at = models.DateTimeField(default=timezone.now)
    closed_at = models.DateTimeField(null=True)
    updated_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = (
            models.CheckConstraint(
                condition=positive("volume_initial", VOLUME_MAX) & Q(volume__gte=ZERO, volume__lte=F("volume_initial")),
                name="position_volume_within_what_was_opened",
            ),
            models.CheckConstraint(
                condition=bounded("margin_initial", low=ZERO)
                & Q(margin_locked__gte=ZERO, margin_locked__lte=F("margin_initial")),
                name="position_margin_within_what_was_locked",
            ),
            models.CheckConstraint(
                condition=Q(status="OPEN", volume__gt=ZERO, closed_at__isnull=True)
                | Q(status="CLOSED", volume=ZERO, margin_locked=ZERO, closed_at__isnull=False),
                name="position_is_closed_when_nothing_is_left",
            ),
            models.CheckConstraint(condition=positive("price_open"), name="position_price_positive"),
            models.CheckConstraint(
                condition=positive("stop_loss") & positive("take_profit"), name="position_stops_positive"
            ),
            models.CheckConstraint(
                condition=bounded("profit") & bounded("commission"), name="position_results_bounded"
            ),
            models.CheckConstraint(condition=bounded("swap"), name="position_swap_bounded"),
        )
        indexes = (
            models.Index(fields=["owner", "id"], name="position_owner"),
            models.Index(fields=["account", "id"], condition=Q(status="OPEN"), name="position_open_by_account"),
            models.Index(
                fields=["instrument", "side", "stop_loss"],
                condition=Q(status="OPEN", stop_loss__isnull=False),
                name="position_stop_loss",
            ),
            models.Index(
                fields=["instrument", "side", "take_profit"],
                condition=Q(status="OPEN", take_profit__isnull=False),
                name="position_take_profit",
            ),
            # Only what may still owe a night is in it, so a sweep costs what is due and not what was ever traded.
            models.Index(fields=["rollover_due_at", "account"], condition=OWES_NIGHTS, name="position_rollover_due"),
        )

    def __str__(self) -> str:
        return f"#{self.number} {self.side} {self.volume} {self.instrument_id}"


class Deal(models.Model):
    """
    One execution, with every input of its arithmetic; append-only.

    IN opens a position, OUT closes all or part of it. `side` is the position's, not the trade's.
    """

    class Entry(models.TextChoices):
        IN = "IN"
        OUT = "OUT"

    class Cause(models.TextChoices):
        CLIENT = "CLIENT"
        ORDER = "ORDER"  # a limit or stop order whose price came
        STOP_LOSS = "STOP_LOSS"
        TAKE_PROFIT = "TAKE_PROFIT"
        STOP_OUT = "STOP_OUT"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="deals", db_index=False)
    account = models.ForeignKey(TradingAccount, on_delete=models.PROTECT, related_name="deals", db_index=False)
    position = models.ForeignKey(Position, on_delete=models.PROTECT, related_name="deals")
    order = models.ForeignKey(Order, on_delete=models.PROTECT, null=True, related_name="deals", db_index=False)
    instrument = models.ForeignKey(
        Instrument, on_delete=models.PROTECT, related_name="deals", db_column="symbol", db_index=False
    )
    entry = models.CharField(max_length=4, choices=Entry)
    cause = models.CharField(max_length=12, choices=Cause, default=Cause.CLIENT, db_default=Cause.CLIENT.value)
    batch = models.BigIntegerField(null=True, help_text="The price batch that caused it; empty where the client did.")
    side = models.CharField(max_length=4, choices=SIDES)
    volume = volume_field()
    price = price_field()
    price_open = price_field(help_text="The position's; equal to `price` on the way in.")
    margin = money_field(help_text="Locked on the way in, released on the way out.")
    profit = money_field(default=ZERO)
    commission = money_field(default=ZERO)
    compensation = money_field(default=ZERO, help_text="Paid by the house so that the client owes nothing.")
    inputs = models.JSONField(help_text="Terms, quote and conversion paths: what the explanation recomputes from.")
    transaction = models.OneToOneField(LedgerTransaction, on_delete=models.PROTECT, null=True, related_name="deal")
    idempotency_digest = models.BinaryField(max_length=32)
    executed_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["owner", "idempotency_digest"], name="deal_idempotency_digest"),
            models.CheckConstraint(
                condition=positive("volume", VOLUME_MAX) & positive("price") & positive("price_open"),
                name="deal_figures_positive",
            ),
            models.CheckConstraint(
                condition=bounded("margin", low=ZERO)
                & bounded("profit")
                & bounded("commission", low=ZERO)
                & bounded("compensation", low=ZERO),
                name="deal_amounts_bounded",
            ),
            models.CheckConstraint(
                condition=Q(entry="OUT") | Q(profit=ZERO, compensation=ZERO), name="deal_in_earns_nothing"
            ),
            models.CheckConstraint(
                condition=Q(cause="CLIENT", batch__isnull=True)
                | Q(cause="ORDER", batch__isnull=False, entry="IN")
                | Q(cause__in=["STOP_LOSS", "TAKE_PROFIT", "STOP_OUT"], batch__isnull=False, entry="OUT"),
                name="deal_cause_known",
            ),
        )
        indexes = (
            models.Index(fields=["owner", "id"], name="deal_owner"),
            models.Index(fields=["account", "id"], name="deal_account"),
            # For the list of staff: deals that nobody asked for at that moment.
            models.Index(fields=["cause", "id"], condition=~Q(cause="CLIENT"), name="deal_cause"),
        )

    def __str__(self) -> str:
        return f"{self.entry} {self.side} {self.volume} {self.instrument_id} at {self.price}"


class Swap(models.Model):
    """
    What one position was charged (negative) or paid for one night, with every input of its arithmetic; append-only.

    `nights` is 3 on the day that carries the weekend. An amount that rounds to nothing has no transaction.
    """

    class PriceBasis(models.TextChoices):
        AT_ROLLOVER = "AT_ROLLOVER"  # the last prices when the trading day ended
        LAST_KNOWN = "LAST_KNOWN"  # later ones: those were not kept, so the last when it was charged

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="swaps", db_index=False)
    account = models.ForeignKey(TradingAccount, on_delete=models.PROTECT, related_name="swaps", db_index=False)
    position = models.ForeignKey(Position, on_delete=models.PROTECT, related_name="swaps", db_index=False)
    instrument = models.ForeignKey(
        Instrument, on_delete=models.PROTECT, related_name="swaps", db_column="symbol", db_index=False
    )
    night = models.DateField(help_text="The trading day that ended, by the instrument's wall clock.")
    rollover_at = models.DateTimeField(help_text="When it ended.")
    nights = models.PositiveSmallIntegerField()
    side = models.CharField(max_length=4, choices=SIDES)
    volume = volume_field(help_text="What was open then.")
    mode = models.CharField(max_length=12, choices=[(mode.value, mode.value) for mode in margin.SwapMode])
    rate = rate_field()
    price = price_field()
    price_basis = models.CharField(max_length=12, choices=PriceBasis)
    amount = money_field()
    compensation = money_field(default=ZERO, help_text="Paid by the house so that the client owes nothing.")
    inputs = models.JSONField(help_text="Terms, quote and conversion path.")
    transaction = models.OneToOneField(LedgerTransaction, on_delete=models.PROTECT, null=True, related_name="swap")
    charged_at = models.DateTimeField()

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["owner", "position", "night"], name="swap_once_a_night"),
            models.CheckConstraint(condition=Q(nights__gte=1, nights__lte=3), name="swap_nights_known"),
            models.CheckConstraint(
                condition=positive("volume", VOLUME_MAX)
                & positive("price")
                & Q(rate__gte=-RATE_MAX, rate__lte=RATE_MAX),
                name="swap_figures_bounded",
            ),
            models.CheckConstraint(
                condition=bounded("amount") & bounded("compensation", low=ZERO), name="swap_amounts_bounded"
            ),
            models.CheckConstraint(
                condition=Q(amount=ZERO, compensation=ZERO, transaction__isnull=True)
                | (~Q(amount=ZERO) & Q(transaction__isnull=False)),
                name="swap_is_posted_when_it_moves_something",
            ),
        )
        indexes = (
            models.Index(fields=["owner", "id"], name="swap_owner"),
            models.Index(fields=["position", "id"], name="swap_position"),
            models.Index(fields=["account", "id"], name="swap_account"),
        )

    def __str__(self) -> str:
        return f"{self.night} {self.amount}"


# --- What the risk engine works with --------------------------------------------------------------------------------


def _owner() -> models.ForeignKey[Any, Any]:
    # Rows are written beside one that has the constraint, in the same statement: it is not checked again and again.
    return models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", db_index=False, db_constraint=False
    )


class AccountWatch(models.Model):
    """
    One row per account that ever traded: how far its changes are numbered, and what its price bands were reckoned on.

    Written under the account's wallet lock by everything that changes what prices can do to the account.
    """

    account = models.OneToOneField(TradingAccount, primary_key=True, on_delete=models.PROTECT, related_name="watch")
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", db_index=False)
    sequence = models.BigIntegerField(default=0, help_text="The number of the account's last change.")
    batch = models.BigIntegerField(help_text="The price batch at which it was last valued.")
    funds = money_field(help_text="Balance and credit that the bands count on.")
    held = money_field(help_text="Held margin that the bands count on.")
    called_at = models.DateTimeField(null=True, help_text="Since when it is in margin call.")
    updated_at = models.DateTimeField()

    class Meta:
        constraints = (
            models.CheckConstraint(
                condition=bounded("funds") & bounded("held", low=ZERO), name="account_watch_amounts_bounded"
            ),
            models.CheckConstraint(condition=Q(sequence__gte=0, batch__gte=0), name="account_watch_counts_up"),
        )

    def __str__(self) -> str:
        return f"{self.account_id} at {self.sequence}"


class PriceBand(models.Model):
    """
    While each symbol's quote is inside its band, the account's margin level cannot have come to the next threshold.

    Inside means: bid at least `low`, ask at most `high`, and no further apart than `spread_max`. So a batch of prices
    finds the accounts it may hurt by index, and leaves alone all others however many there are.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    owner = _owner()
    account = models.ForeignKey(
        TradingAccount, on_delete=models.PROTECT, related_name="bands", db_index=False, db_constraint=False
    )
    instrument = models.ForeignKey(
        Instrument, on_delete=models.PROTECT, related_name="+", db_column="symbol", db_index=False
    )
    low = price_field()
    high = price_field()
    spread_max = price_field()

    class Meta:
        constraints = (
            # The owner comes last: whoever asks for a band asks for an account's.
            models.UniqueConstraint(fields=["account", "instrument", "owner"], name="price_band_once_per_symbol"),
            models.CheckConstraint(
                condition=Q(low__gte=ZERO, low__lte=PRICE_MAX)
                & Q(high__gte=ZERO, high__lte=PRICE_MAX)
                & Q(spread_max__gte=ZERO, spread_max__lte=PRICE_MAX),
                name="price_band_bounded",
            ),
        )
        indexes = (
            models.Index(fields=["instrument", "low"], name="price_band_low"),
            models.Index(fields=["instrument", "high"], name="price_band_high"),
            models.Index(fields=["instrument", "spread_max"], name="price_band_spread"),
        )

    def __str__(self) -> str:
        return f"{self.account_id} {self.instrument_id} {self.low} to {self.high}"


class AccountChange(models.Model):
    """One numbered change of an account: which of its rows was made or changed. Gapless per account, from 1."""

    class Kind(models.TextChoices):
        ORDER = "ORDER"
        POSITION = "POSITION"
        DEAL = "DEAL"
        SWAP = "SWAP"
        MARGIN_EVENT = "MARGIN_EVENT"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    owner = _owner()
    account = models.ForeignKey(
        TradingAccount, on_delete=models.PROTECT, related_name="changes", db_index=False, db_constraint=False
    )
    sequence = models.BigIntegerField()
    kind = models.CharField(max_length=12, choices=Kind)
    subject = models.UUIDField(help_text="The id of the row.")
    changed_at = models.DateTimeField()

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["account", "sequence", "owner"], name="account_change_sequence"),
            models.CheckConstraint(condition=Q(sequence__gte=1), name="account_change_counts_from_one"),
        )

    def __str__(self) -> str:
        return f"{self.account_id} #{self.sequence} {self.kind}"


class MarginEvent(models.Model):
    """
    What the desk told or did to an account for its margin level, with the figures it was done on; append-only.

    `report` is for the client to read and for anybody to recompute: the state before and after, and every step.
    """

    class Kind(models.TextChoices):
        MARGIN_CALL = "MARGIN_CALL"
        MARGIN_CALL_LIFTED = "MARGIN_CALL_LIFTED"
        STOP_OUT = "STOP_OUT"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    owner = _owner()
    account = models.ForeignKey(TradingAccount, on_delete=models.PROTECT, related_name="margin_events", db_index=False)
    kind = models.CharField(max_length=20, choices=Kind)
    batch = models.BigIntegerField(help_text="The price batch it was decided on.")
    equity = money_field()
    held = money_field()
    report = models.JSONField()
    created_at = models.DateTimeField()

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["account", "batch", "kind", "owner"], name="margin_event_once_per_batch"),
            models.CheckConstraint(
                condition=bounded("equity") & bounded("held", low=ZERO), name="margin_event_amounts_bounded"
            ),
        )
        indexes = (
            models.Index(fields=["owner", "id"], name="margin_event_owner"),
            models.Index(fields=["account", "id"], name="margin_event_account"),
        )

    def __str__(self) -> str:
        return f"{self.kind} {self.account_id}"


class RiskCursor(models.Model):
    """One row: the last price batch whose touched accounts were put down as tasks."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    batch = models.BigIntegerField(default=0)

    class Meta:
        constraints = (models.CheckConstraint(condition=Q(id=1, batch__gte=0), name="risk_cursor_is_one"),)

    def __str__(self) -> str:
        return f"batch {self.batch}"


class RiskTask(models.Model):
    """
    An account that a price batch touched and that no engine is done with.

    The next batch's tasks are only put down when none of these is left, so side by side engines do what one would do.
    A task that fails is put aside with its error, for the others not to wait for it, and is tried again.
    """

    account = models.OneToOneField(TradingAccount, primary_key=True, on_delete=models.PROTECT, related_name="+")
    owner = _owner()
    batch = models.BigIntegerField()
    attempts = models.BigIntegerField(default=0)
    failed_at = models.DateTimeField(null=True)
    error = models.TextField(blank=True)
    created_at = models.DateTimeField()

    class Meta:
        constraints = (models.CheckConstraint(condition=Q(batch__gte=0), name="risk_task_batch_known"),)
        indexes = (models.Index(fields=["failed_at", "account"], name="risk_task_next"),)

    def __str__(self) -> str:
        return f"{self.account_id} at batch {self.batch}"
