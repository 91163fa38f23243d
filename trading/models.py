"""Money at risk: what can be traded, at what price, and what each client has open."""

from __future__ import annotations

from datetime import time
from decimal import Decimal
from typing import Any

from django.conf import settings
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
    leverage_max = models.PositiveIntegerField(null=True)
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
    One row, with the number of the last price batch.

    Whoever records prices holds it from before the first look at the last prices until the commit, so batches are
    numbered in the order in which they become visible, and a batch that is rolled back gives its number back.
    """

    id = models.SmallIntegerField(primary_key=True, default=1)
    number = models.BigIntegerField(default=0)

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
        indexes = (models.Index(fields=["instrument", "id"], name="quote_tick_history"),)

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
    """What a client asked for, and what became of it; a refused order is kept with its reason and numbers."""

    class Type(models.TextChoices):
        MARKET = "MARKET"

    class Status(models.TextChoices):
        NEW = "NEW"
        REJECTED = "REJECTED"
        FILLED = "FILLED"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="orders", db_index=False)
    account = models.ForeignKey(TradingAccount, on_delete=models.PROTECT, related_name="orders", db_index=False)
    instrument = models.ForeignKey(
        Instrument, on_delete=models.PROTECT, related_name="orders", db_column="symbol", db_index=False
    )
    side = models.CharField(max_length=4, choices=SIDES)
    type = models.CharField(max_length=8, choices=Type)
    volume = volume_field()
    client_order_id = models.CharField(max_length=64, null=True)  # noqa: DJ001  # NULL: none given, exempt from UNIQUE
    status = models.CharField(max_length=12, choices=Status)
    reject_code = models.CharField(max_length=64, blank=True)
    reject_context = models.JSONField(null=True)
    price_expected = price_field(null=True, help_text="What the client saw; given together with `deviation_max`.")
    deviation_max = models.PositiveIntegerField(null=True, help_text="Points the fill may be worse than expected.")
    price_filled = price_field(null=True)
    idempotency_digest = models.BinaryField(max_length=32)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = (
            models.CheckConstraint(condition=positive("volume", VOLUME_MAX), name="order_volume_positive"),
            models.CheckConstraint(condition=positive("price_filled"), name="order_price_positive"),
            models.CheckConstraint(condition=positive("price_expected"), name="order_expected_price_positive"),
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
        )

    def __str__(self) -> str:
        return f"{self.side} {self.volume} {self.instrument_id} {self.status}"


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
                condition=bounded("profit") & bounded("commission"), name="position_results_bounded"
            ),
            models.CheckConstraint(condition=bounded("swap"), name="position_swap_bounded"),
        )
        indexes = (
            models.Index(fields=["owner", "id"], name="position_owner"),
            models.Index(fields=["account", "id"], condition=Q(status="OPEN"), name="position_open_by_account"),
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

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="deals", db_index=False)
    account = models.ForeignKey(TradingAccount, on_delete=models.PROTECT, related_name="deals", db_index=False)
    position = models.ForeignKey(Position, on_delete=models.PROTECT, related_name="deals")
    order = models.ForeignKey(Order, on_delete=models.PROTECT, null=True, related_name="deals", db_index=False)
    instrument = models.ForeignKey(
        Instrument, on_delete=models.PROTECT, related_name="deals", db_column="symbol", db_index=False
    )
    entry = models.CharField(max_length=4, choices=Entry)
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
        )
        indexes = (
            models.Index(fields=["owner", "id"], name="deal_owner"),
            models.Index(fields=["account", "id"], name="deal_account"),
        )

    def __str__(self) -> str:
        return f"{self.entry} {self.side} {self.volume} {self.instrument_id} at {self.price}"


class Swap(models.Model):
    """
    What one position was charged (negative) or paid for one night, with every input of its arithmetic; append-only.

    `nights` is 3 on the day that carries the weekend. An amount that rounds to nothing has no transaction.
    """

    class PriceBasis(models.TextChoices):
        AT_ROLLOVER = "AT_ROLLOVER"  # the last price before the trading day ended
        LAST_KNOWN = "LAST_KNOWN"  # a later one: the last that was known when the night was charged

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
        )

    def __str__(self) -> str:
        return f"{self.night} {self.amount}"
