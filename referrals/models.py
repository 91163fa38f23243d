"""Reward for what already happened: a plan says how much, a deal or a deposit what for, and each pays a level once."""

from __future__ import annotations

from decimal import Decimal

from django.conf import settings
from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import ArrayField, DateTimeRangeField, RangeOperators
from django.db import models
from django.db.models import F, Func, Q
from django.utils import timezone

from accounts.models import TradingAccount
from core.ids import uuid7
from referrals.arithmetic import LEVELS_MAX
from trading.models import VOLUME_MAX, Deal, positive, volume_field
from wallets.models import CURRENCY_CHOICES, Deposit, LedgerTransaction, bounded, money_field

ZERO = Decimal(0)
LEVELS = tuple(range(1, LEVELS_MAX + 1))

#: When a plan is in force: from its beginning up to, but not including, its end.
IN_FORCE = Func("valid_from", "valid_to", function="TSTZRANGE", output_field=DateTimeRangeField())


class CommissionPlan(models.Model):
    """
    One version of what referrals pay; at any moment one plan is in force for deals, and one for first deposits.

    A version never changes, since what was paid refers to it: better terms are a new version, and all that is ever
    written on an old one is its end. Terms for everybody, so it belongs to nobody.
    """

    class Kind(models.TextChoices):
        PER_LOT = "PER_LOT"
        PERCENT_OF_COMMISSION = "PERCENT_OF_COMMISSION"
        FIRST_DEPOSIT = "FIRST_DEPOSIT"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    code = models.CharField(max_length=32)
    version = models.PositiveIntegerField()
    kind = models.CharField(max_length=24, choices=Kind)
    currency = models.CharField(max_length=4, blank=True, help_text="Of its amounts; percentages have none.")
    rates = ArrayField(
        money_field(), size=LEVELS_MAX, help_text="Per level: an amount a lot, a percentage, or an amount a client."
    )
    weights = models.JSONField(
        default=dict, blank=True, help_text="By symbol, what a lot of it counts for; 1 if it is not here."
    )
    cap_percent = models.DecimalField(
        max_digits=5,
        decimal_places=2,
        default=Decimal(60),
        help_text="The most that all levels together get of what the broker earned.",
    )
    seconds_held_min = models.PositiveIntegerField(default=180, help_text="A position closed sooner pays nothing.")
    countries_barred = ArrayField(
        models.CharField(max_length=2), default=list, blank=True, help_text="Neither client nor referrer may live here."
    )
    deposit_min = money_field(null=True)
    lots_min = volume_field(null=True, help_text="Lots closed before a first deposit counts.")
    valid_from = models.DateTimeField()
    valid_to = models.DateTimeField(null=True, help_text="Not in force from here on; no end if empty.")
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["code", "version"], name="commissionplan_version"),
            models.CheckConstraint(
                condition=Q(kind__in=["PER_LOT", "PERCENT_OF_COMMISSION", "FIRST_DEPOSIT"]),
                name="commissionplan_kind_known",
            ),
            models.CheckConstraint(condition=Q(version__gte=1), name="commissionplan_version_positive"),
            models.CheckConstraint(
                condition=Q(rates__len__gte=1, rates__len__lte=LEVELS_MAX), name="commissionplan_levels_in_range"
            ),
            models.CheckConstraint(
                condition=Q(cap_percent__gt=ZERO, cap_percent__lte=100), name="commissionplan_cap_in_range"
            ),
            models.CheckConstraint(
                condition=Q(kind="PERCENT_OF_COMMISSION", currency="")
                | (~Q(kind="PERCENT_OF_COMMISSION") & ~Q(currency="")),
                name="commissionplan_amounts_have_a_currency",
            ),
            # A deposit that was never traded with is what a bonus hunter makes: both conditions, or it is no such plan.
            models.CheckConstraint(
                condition=(
                    Q(kind="FIRST_DEPOSIT", deposit_min__isnull=False, lots_min__isnull=False)
                    & bounded("deposit_min", above=ZERO)
                    & positive("lots_min", VOLUME_MAX)
                )
                | (~Q(kind="FIRST_DEPOSIT") & Q(deposit_min__isnull=True, lots_min__isnull=True)),
                name="commissionplan_first_deposit_has_conditions",
            ),
            models.CheckConstraint(
                condition=Q(valid_to__isnull=True) | Q(valid_to__gt=F("valid_from")),
                name="commissionplan_ends_after_its_beginning",
            ),
            ExclusionConstraint(
                name="commissionplan_one_for_deals",
                expressions=[(IN_FORCE, RangeOperators.OVERLAPS)],
                condition=~Q(kind="FIRST_DEPOSIT"),
            ),
            ExclusionConstraint(
                name="commissionplan_one_for_deposits",
                expressions=[(IN_FORCE, RangeOperators.OVERLAPS)],
                condition=Q(kind="FIRST_DEPOSIT"),
            ),
        )

    def __str__(self) -> str:
        return f"{self.code} v{self.version}"


class Accrual(models.Model):
    """
    What became of one closing deal of a live account: one row a deal, there from the moment the deal is.

    A trigger on deals writes it in the deal's own transaction, so none is ever missed, however late it commits; those
    that wait are a partial index, so finding them costs what is due and not what was ever traded. `chain` is who had
    referred the client when the deal was made, nearest first: what changes afterwards changes nothing here.
    """

    class Outcome(models.TextChoices):
        PENDING = "PENDING"
        ACCRUED = "ACCRUED"
        UNREFERRED = "UNREFERRED"
        NO_PLAN = "NO_PLAN"
        COUNTRY_BARRED = "COUNTRY_BARRED"
        HELD_TOO_SHORT = "HELD_TOO_SHORT"
        NO_RATE = "NO_RATE"  # the plan's currency cannot be had by a price that the deal was booked with
        NOBODY_ENTITLED = "NOBODY_ENTITLED"  # whoever referred them is not active, or lives where it is barred
        NOTHING_LEFT = "NOTHING_LEFT"  # the revenue's share rounds to nothing
        UNREADABLE = "UNREADABLE"  # the deal does not keep what reckoning takes

    deal = models.OneToOneField(Deal, on_delete=models.PROTECT, primary_key=True, related_name="accrual")
    # The client. Its deal has the same owner and a key that says so; a second one would cost every close.
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", db_constraint=False, db_index=False
    )
    chain = ArrayField(models.UUIDField(), size=LEVELS_MAX, help_text="Who referred the client, and who them.")
    outcome = models.CharField(max_length=16, choices=Outcome, default=Outcome.PENDING)
    plan = models.ForeignKey(CommissionPlan, on_delete=models.PROTECT, null=True, related_name="+", db_index=False)
    levels = ArrayField(
        models.PositiveSmallIntegerField(), size=LEVELS_MAX, default=list, db_default=[], help_text="Who was entitled."
    )
    currency = models.CharField(max_length=4, blank=True, db_default="")
    volume = volume_field(null=True)
    commission = money_field(null=True, help_text="What the deal was charged, its part of the opening included.")
    spread = money_field(null=True)
    compensation = money_field(null=True)
    revenue = money_field(null=True, help_text="Commission and spread, less compensation.")
    pool = money_field(null=True, help_text="The most that all levels together may get.")
    executed_at = models.DateTimeField()
    accrued_at = models.DateTimeField(null=True)

    class Meta:
        constraints = (
            models.CheckConstraint(
                condition=Q(outcome="PENDING", accrued_at__isnull=True)
                | (~Q(outcome="PENDING") & Q(accrued_at__isnull=False)),
                name="accrual_waits_or_is_decided",
            ),
            models.CheckConstraint(
                condition=~Q(outcome="ACCRUED")
                | Q(plan__isnull=False, revenue__isnull=False, pool__isnull=False, volume__isnull=False),
                name="accrual_keeps_what_it_was_reckoned_from",
            ),
            models.CheckConstraint(condition=positive("volume", VOLUME_MAX), name="accrual_volume_positive"),
            models.CheckConstraint(
                condition=bounded("commission", low=ZERO)
                & bounded("spread", low=ZERO)
                & bounded("compensation", low=ZERO)
                & bounded("revenue", low=ZERO),
                name="accrual_revenue_not_negative",
            ),
            models.CheckConstraint(
                condition=Q(pool__isnull=True) | Q(pool__gte=ZERO, pool__lte=F("revenue")),
                name="accrual_pool_within_the_revenue",
            ),
        )
        indexes = (
            models.Index(fields=["deal"], condition=Q(outcome="PENDING"), name="accrual_waiting"),
            models.Index(fields=["owner", "deal"], name="accrual_owner"),
            # For the list of staff: what becomes of few.
            models.Index(
                fields=["outcome", "deal"],
                condition=~Q(outcome__in=["PENDING", "ACCRUED", "UNREFERRED"]),
                name="accrual_outcome",
            ),
        )

    def __str__(self) -> str:
        return f"{self.deal_id} {self.outcome}"


class Commission(models.Model):
    """
    What one referrer gets, at one level, for one deal or for one client's first deposit.

    `owner` is the referrer, `client` is who traded. What it is and for what never changes; only its state moves on.
    """

    class Status(models.TextChoices):
        PENDING = "PENDING"
        APPROVED = "APPROVED"
        PAID = "PAID"
        REVERSED = "REVERSED"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="commissions", db_index=False
    )
    client = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", db_index=False)
    deal = models.ForeignKey(Deal, on_delete=models.PROTECT, null=True, related_name="commissions", db_index=False)
    deposit = models.ForeignKey(Deposit, on_delete=models.PROTECT, null=True, related_name="+", db_index=False)
    level = models.PositiveSmallIntegerField()
    plan = models.ForeignKey(CommissionPlan, on_delete=models.PROTECT, related_name="+", db_index=False)
    volume = volume_field(null=True, help_text="Lots that were closed; a deposit has none.")
    amount = money_field()
    currency = models.CharField(max_length=4)
    status = models.CharField(max_length=8, choices=Status, default=Status.PENDING)
    reason = models.CharField(max_length=500, blank=True, help_text="Why it was reversed, or approved by hand.")
    transaction = models.ForeignKey(
        LedgerTransaction, on_delete=models.PROTECT, null=True, related_name="commissions_paid"
    )
    reversal = models.OneToOneField(
        LedgerTransaction, on_delete=models.PROTECT, null=True, related_name="commission_reversed"
    )
    created_at = models.DateTimeField(default=timezone.now)
    approved_at = models.DateTimeField(null=True)
    approved_by = models.UUIDField(null=True, help_text="A member of staff; empty where the hold ran out.")
    paid_at = models.DateTimeField(null=True)
    reversed_at = models.DateTimeField(null=True)
    reversed_by = models.UUIDField(null=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["deal", "level"], name="commission_deal_level"),
            models.UniqueConstraint(fields=["deposit", "level"], name="commission_deposit_level"),
            models.UniqueConstraint(
                fields=["client", "level"], condition=Q(deposit__isnull=False), name="commission_one_deposit_a_client"
            ),
            models.CheckConstraint(
                condition=Q(deal__isnull=False, deposit__isnull=True, volume__isnull=False)
                | Q(deal__isnull=True, deposit__isnull=False, volume__isnull=True),
                name="commission_is_for_a_deal_or_a_deposit",
            ),
            models.CheckConstraint(condition=Q(level__gte=1, level__lte=LEVELS_MAX), name="commission_level_in_range"),
            models.CheckConstraint(condition=bounded("amount", above=ZERO), name="commission_amount_positive"),
            models.CheckConstraint(condition=~Q(owner=F("client")), name="commission_nobody_refers_themselves"),
            models.CheckConstraint(
                condition=Q(
                    status="PENDING",
                    approved_at__isnull=True,
                    paid_at__isnull=True,
                    transaction__isnull=True,
                    reversed_at__isnull=True,
                    reversal__isnull=True,
                )
                | Q(
                    status="APPROVED",
                    approved_at__isnull=False,
                    paid_at__isnull=True,
                    transaction__isnull=True,
                    reversed_at__isnull=True,
                    reversal__isnull=True,
                )
                | Q(
                    status="PAID",
                    approved_at__isnull=False,
                    paid_at__isnull=False,
                    transaction__isnull=False,
                    reversed_at__isnull=True,
                    reversal__isnull=True,
                )
                | (
                    Q(status="REVERSED", reversed_at__isnull=False, reversed_by__isnull=False)
                    & ~Q(reason="")
                    & (
                        Q(paid_at__isnull=False, transaction__isnull=False)
                        | Q(paid_at__isnull=True, transaction__isnull=True, reversal__isnull=True)
                    )
                ),
                name="commission_state_has_its_facts",
            ),
        )
        indexes = (
            models.Index(fields=["owner", "id"], name="commission_owner"),
            models.Index(fields=["created_at", "id"], condition=Q(status="PENDING"), name="commission_on_hold"),
            models.Index(fields=["owner", "id"], condition=Q(status="APPROVED"), name="commission_to_pay"),
            models.Index(fields=["client", "deposit"], name="commission_client"),
        )

    def __str__(self) -> str:
        return f"{self.amount} {self.currency} at level {self.level}"


class Debt(models.Model):
    """
    What a reversed commission could not take back, because its wallet had less.

    The wallet stays as it is, and never below zero; what is owed is withheld from the referrer's next payouts.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", db_index=False)
    commission = models.OneToOneField(Commission, on_delete=models.PROTECT, related_name="debt")
    currency = models.CharField(max_length=4)
    amount = money_field()
    settled = money_field(default=ZERO)
    created_at = models.DateTimeField(default=timezone.now)
    settled_at = models.DateTimeField(null=True)

    class Meta:
        constraints = (
            models.CheckConstraint(condition=bounded("amount", above=ZERO), name="debt_amount_positive"),
            models.CheckConstraint(condition=bounded("settled", low=ZERO), name="debt_settled_not_negative"),
            models.CheckConstraint(
                condition=Q(settled__gte=ZERO, settled__lt=F("amount"), settled_at__isnull=True)
                | Q(settled=F("amount"), settled_at__isnull=False),
                name="debt_is_settled_when_all_of_it_is",
            ),
        )
        indexes = (models.Index(fields=["owner", "id"], condition=Q(settled_at__isnull=True), name="debt_open"),)

    def __str__(self) -> str:
        return f"{self.settled} of {self.amount} {self.currency}"


class DebtSettlement(models.Model):
    """How much of a debt one payout withheld; append-only."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", db_index=False)
    debt = models.ForeignKey(Debt, on_delete=models.PROTECT, related_name="settlements", db_index=False)
    transaction = models.ForeignKey(LedgerTransaction, on_delete=models.PROTECT, related_name="+")
    amount = money_field()
    settled_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["owner", "debt", "transaction"], name="debtsettlement_once_a_payout"),
            models.CheckConstraint(condition=bounded("amount", above=ZERO), name="debtsettlement_amount_positive"),
        )

    def __str__(self) -> str:
        return f"{self.amount} of {self.debt_id}"


# --- Sign-up bonus --------------------------------------------------------------------------------------------------


class BonusPolicy(models.Model):
    """
    One version of what a newcomer gets in one currency, and on what terms; the newest that has begun is in force.

    A version never changes, since bonuses refer to it: to give more, or to stop giving, is a new version.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    currency = models.CharField(max_length=4, choices=CURRENCY_CHOICES)
    version = models.PositiveBigIntegerField()
    is_offered = models.BooleanField(help_text="Off: nobody gets one while this version is in force.")
    amount = money_field()
    deposit_min = money_field(help_text="What must have been deposited, and be in the account, when it is claimed.")
    days_valid = models.PositiveIntegerField(help_text="What is left of it then is taken back.")
    jurisdictions_barred = ArrayField(models.CharField(max_length=16), default=list, blank=True)
    countries_barred = ArrayField(models.CharField(max_length=2), default=list, blank=True)
    valid_from = models.DateTimeField()
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        verbose_name_plural = "bonus policies"
        constraints = (
            models.UniqueConstraint(fields=["currency", "version"], name="bonuspolicy_version"),
            models.CheckConstraint(condition=Q(version__gte=1), name="bonuspolicy_version_positive"),
            models.CheckConstraint(condition=bounded("amount", above=ZERO), name="bonuspolicy_amount_positive"),
            models.CheckConstraint(condition=bounded("deposit_min", low=ZERO), name="bonuspolicy_deposit_not_negative"),
            models.CheckConstraint(
                condition=Q(days_valid__gte=1, days_valid__lte=3_650), name="bonuspolicy_days_in_range"
            ),
        )

    def __str__(self) -> str:
        return f"{self.currency} v{self.version}"


class SignupBonus(models.Model):
    """
    What a newcomer was given as credit, once in their life.

    How much of it is left is the account's credit, which trading and withdrawals take away; the rest goes when it ends.
    """

    class Status(models.TextChoices):
        ACTIVE = "ACTIVE"
        EXPIRED = "EXPIRED"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="signup_bonuses")
    account = models.ForeignKey(TradingAccount, on_delete=models.PROTECT, related_name="signup_bonuses")
    policy = models.ForeignKey(BonusPolicy, on_delete=models.PROTECT, related_name="+", db_index=False)
    amount = money_field()
    currency = models.CharField(max_length=4, choices=CURRENCY_CHOICES)
    status = models.CharField(max_length=8, choices=Status, default=Status.ACTIVE)
    transaction = models.OneToOneField(LedgerTransaction, on_delete=models.PROTECT, related_name="signup_bonus")
    removed = money_field(null=True, help_text="What was left of it and taken back when it ended.")
    removal = models.OneToOneField(
        LedgerTransaction, on_delete=models.PROTECT, null=True, related_name="signup_bonus_removed"
    )
    idempotency_digest = models.BinaryField(max_length=32)
    granted_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name_plural = "sign-up bonuses"
        constraints = (
            models.UniqueConstraint(fields=["owner"], name="signupbonus_one_a_person"),
            models.UniqueConstraint(fields=["owner", "idempotency_digest"], name="signupbonus_idempotency_digest"),
            models.CheckConstraint(condition=bounded("amount", above=ZERO), name="signupbonus_amount_positive"),
            models.CheckConstraint(
                condition=Q(removed__isnull=True) | Q(removed__gte=ZERO, removed__lte=F("amount")),
                name="signupbonus_no_more_is_removed_than_given",
            ),
            models.CheckConstraint(condition=Q(expires_at__gt=F("granted_at")), name="signupbonus_ends_after_it_began"),
            models.CheckConstraint(
                condition=Q(status="ACTIVE", removed__isnull=True, removal__isnull=True, ended_at__isnull=True)
                | (
                    Q(status="EXPIRED", removed__isnull=False, ended_at__isnull=False, ended_at__gte=F("expires_at"))
                    & (Q(removed=0, removal__isnull=True) | Q(removed__gt=0, removal__isnull=False))
                ),
                name="signupbonus_state_has_its_facts",
            ),
        )
        indexes = (models.Index(fields=["expires_at", "id"], condition=Q(status="ACTIVE"), name="signupbonus_active"),)

    def __str__(self) -> str:
        return f"{self.amount} {self.currency} {self.status}"


class BonusIdentity(models.Model):
    """
    One way of recognising somebody who had a bonus; kept as a keyed hash, so that it tells nothing else.

    Unique over all clients: whoever comes again under another name, with one of these, is known.
    """

    class Kind(models.TextChoices):
        PERSON = "PERSON"  # name, date of birth and country
        PHONE = "PHONE"
        MAILBOX = "MAILBOX"
        BANK_ACCOUNT = "BANK_ACCOUNT"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", db_index=False)
    bonus = models.ForeignKey(SignupBonus, on_delete=models.PROTECT, related_name="identities")
    kind = models.CharField(max_length=12, choices=Kind)
    digest = models.BinaryField(max_length=32)

    class Meta:
        verbose_name_plural = "bonus identities"
        constraints = (models.UniqueConstraint(fields=["digest"], name="bonusidentity_digest"),)

    def __str__(self) -> str:
        return f"{self.kind} {self.owner_id}"
