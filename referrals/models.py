"""Reward for what already happened."""

from __future__ import annotations

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from accounts.models import TradingAccount
from core.ids import uuid7
from wallets.models import CURRENCY_CHOICES, ZERO, LedgerTransaction, bounded, money_field

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
