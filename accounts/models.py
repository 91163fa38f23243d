"""People, what they proved about themselves, and the accounts they trade through."""

from __future__ import annotations

from typing import Any, ClassVar

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Func, Q
from django.db.models.functions import Collate, Lower
from django.db.models.lookups import Exact
from django.utils import timezone

from core.ids import HOUSE, uuid7
from core.masking import masked_email
from core.money import CURRENCIES
from wallets.models import Environment, Wallet


class NextClientNumber(Func):
    """A number like C10000001 that no other client has; the database gives it out as the row is inserted."""

    template = "('C' || nextval('accounts_client_number_seq'))"
    output_field = models.CharField()


class UserManager(BaseUserManager["User"]):
    """Creates people for Django's own commands; clients come in through `services.sign_up_demo` and `sign_up_live`."""

    def with_email(self, email: str) -> models.QuerySet[User]:
        """Whoever has this address, in whatever case, by the index that keeps it unique."""
        return self.filter(Exact(Lower("email"), email.lower()))

    def get_by_natural_key(self, username: str | None) -> User:
        return self.with_email(username or "").get()

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> User:
        user = self.model(email=email.strip().lower(), **fields)
        if user.is_staff:
            user.number = None
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> User:
        return self.create_user(email, password, is_staff=True, is_superuser=True, **fields)


class User(AbstractBaseUser, PermissionsMixin):
    """A person who logs in with an email address: a client, or a member of staff."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    number = models.CharField(  # noqa: DJ001  # NULL: staff and the house have none, exempt from UNIQUE
        max_length=20,
        null=True,
        db_default=NextClientNumber(),
        help_text="What a client says on the telephone.",
    )
    email = models.EmailField(max_length=254)
    name = models.CharField(max_length=140, blank=True)
    phone = models.CharField(max_length=16, null=True)  # noqa: DJ001  # NULL: staff have none, exempt from UNIQUE
    country = models.CharField(max_length=2, blank=True)
    date_of_birth = models.DateField(null=True)
    address = models.JSONField(null=True, help_text="line1, line2, city, region, postal_code, country.")
    is_active = models.BooleanField(default=True)
    is_staff = models.BooleanField(default=False)
    email_confirmed_at = models.DateTimeField(null=True)
    referral_code = models.CharField(max_length=8, null=True)  # noqa: DJ001  # NULL: staff have none, exempt from UNIQUE
    referral_code_entered = models.CharField(max_length=16, blank=True, help_text="As typed at sign-up.")
    referred_by = models.ForeignKey("self", on_delete=models.PROTECT, null=True, related_name="referees")
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)

    objects = UserManager()

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        permissions = (
            ("enter_back_office", "Can enter the back office"),
            ("see_personal_data", "Can read clients' personal data in clear"),
            ("administer_staff", "Can enlist staff, give them roles, and let them go"),
        )
        constraints = (
            models.UniqueConstraint(fields=["number"], condition=Q(number__isnull=False), name="user_number"),
            models.CheckConstraint(
                condition=Q(number__isnull=True) | (Q(is_staff=False) & ~Q(id=HOUSE)), name="user_number_is_a_clients"
            ),
            models.UniqueConstraint(Lower("email"), name="user_email"),
            models.UniqueConstraint(fields=["phone"], name="user_phone"),
            models.UniqueConstraint(fields=["referral_code"], name="user_referral_code"),
            models.CheckConstraint(
                condition=Q(referred_by__isnull=True) | ~Q(referred_by=F("id")), name="user_does_not_refer_themselves"
            ),
        )
        indexes = (
            # By code point, so that a range of them is all names with one beginning.
            models.Index(Collate(Lower("name"), "C"), "id", name="user_name"),
            models.Index(fields=["referred_by", "id"], name="user_referees"),
        )

    def __str__(self) -> str:
        """Whoever may look at a client's orders may read this, and not everybody of them an address in clear."""
        address = masked_email(self.email)
        return f"{self.name} ({address})" if self.name else address

    def get_full_name(self) -> str:
        """What the admin calls who is signed in."""
        return self.name


class ReferrerChange(models.Model):
    """
    A change of who referred a client, proposed by one member of staff and decided by another.

    It counts from `effective_from` on; what the client did before stays with `previous`. A NULL is nobody.
    """

    class Status(models.TextChoices):
        PROPOSED = "PROPOSED"
        APPROVED = "APPROVED"
        REJECTED = "REJECTED"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="referrer_changes")
    previous = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+", db_index=False
    )
    referrer = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+", db_index=False
    )
    status = models.CharField(max_length=8, choices=Status, default=Status.PROPOSED)
    reason = models.CharField(max_length=500)
    proposed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    proposed_at = models.DateTimeField(default=timezone.now)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+", db_index=False
    )
    decided_at = models.DateTimeField(null=True)
    decision = models.CharField(max_length=500, blank=True, help_text="Why it was approved or rejected.")
    effective_from = models.DateTimeField(null=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=["owner"], condition=Q(status="PROPOSED"), name="referrerchange_one_open_per_client"
            ),
            models.CheckConstraint(
                condition=~Q(reason="") & (Q(status="PROPOSED") | ~Q(decision="")),
                name="referrerchange_has_its_reasons",
            ),
            models.CheckConstraint(
                condition=Q(status="PROPOSED", decided_by__isnull=True, decided_at__isnull=True)
                | (Q(status__in=["APPROVED", "REJECTED"]) & Q(decided_by__isnull=False, decided_at__isnull=False)),
                name="referrerchange_is_decided_by_someone",
            ),
            models.CheckConstraint(
                condition=~Q(proposed_by=F("owner"))
                & (Q(decided_by__isnull=True) | (~Q(decided_by=F("proposed_by")) & ~Q(decided_by=F("owner")))),
                name="referrerchange_takes_two_other_people",
            ),
            models.CheckConstraint(
                condition=Q(status="APPROVED", effective_from__isnull=False, effective_from__gte=F("decided_at"))
                | (~Q(status="APPROVED") & Q(effective_from__isnull=True)),
                name="referrerchange_is_never_retroactive",
            ),
            models.CheckConstraint(
                condition=Q(referrer__isnull=True) | ~Q(referrer=F("owner")),
                name="referrerchange_is_to_somebody_else",
            ),
        )
        indexes = (
            models.Index(
                fields=["owner", "effective_from"], condition=Q(status="APPROVED"), name="referrerchange_effective"
            ),
        )

    def __str__(self) -> str:
        return f"{self.owner_id} {self.status}"


#: Whose caps hold where nobody knows better: of the regulators' that we list, none are looser than these.
JURISDICTION_UNKNOWN = "ESMA"


class TradingAccount(models.Model):
    """One account to trade through: its number, its leverage and the margin wallet that carries its risk."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    number = models.CharField(max_length=20, unique=True)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="trading_accounts")
    wallet = models.OneToOneField(Wallet, on_delete=models.PROTECT, related_name="trading_account")
    environment = models.CharField(max_length=4, choices=Environment)
    currency = models.CharField(max_length=4, choices=[(code, code) for code in CURRENCIES])
    leverage = models.PositiveIntegerField()
    jurisdiction = models.CharField(
        max_length=16,
        default=JURISDICTION_UNKNOWN,
        db_default=JURISDICTION_UNKNOWN,
        help_text="Whose leverage caps apply, by the country its owner lives in.",
    )
    is_self_trading = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = (
            models.CheckConstraint(
                condition=Q(leverage__gte=1, leverage__lte=10_000), name="tradingaccount_leverage_within_limits"
            ),
        )
        indexes = (models.Index(fields=["owner", "id"], name="tradingaccount_owner"),)

    def __str__(self) -> str:
        return self.number


class Verification(models.Model):
    """Where a client stands with compliance; one row per submission, the newest counts."""

    class Status(models.TextChoices):
        PENDING = "PENDING"  # nothing submitted yet
        SUBMITTED = "SUBMITTED"
        IN_REVIEW = "IN_REVIEW"
        APPROVED = "APPROVED"
        REJECTED = "REJECTED"
        ACTION_REQUIRED = "ACTION_REQUIRED"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="verifications")
    status = models.CharField(max_length=16, choices=Status, default=Status.PENDING)
    documents = models.JSONField(default=list, help_text="Kind and reference of each document submitted.")
    reviewed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+", db_index=False
    )
    reason = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    submitted_at = models.DateTimeField(null=True)
    reviewed_at = models.DateTimeField(null=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=["owner"],
                condition=Q(status__in=["PENDING", "SUBMITTED", "IN_REVIEW", "ACTION_REQUIRED"]),
                name="verification_one_open_per_client",
            ),
            models.CheckConstraint(
                condition=~Q(status__in=["APPROVED", "REJECTED", "ACTION_REQUIRED"]) | Q(reviewed_by__isnull=False),
                name="verification_decided_by_someone",
            ),
            models.CheckConstraint(
                condition=Q(reviewed_by__isnull=True) | ~Q(reviewed_by=F("owner")),
                name="verification_reviewer_is_not_its_owner",
            ),
        )
        indexes = (
            models.Index(fields=["owner", "id"], name="verification_owner"),
            models.Index(
                fields=["submitted_at", "id"],
                condition=Q(status__in=["SUBMITTED", "IN_REVIEW"]),
                name="verification_waiting",
            ),
        )

    def __str__(self) -> str:
        return f"{self.owner_id} {self.status}"


class Freeze(models.Model):
    """A stop on one thing a client may do, with who placed it, why, and who lifted it."""

    class Scope(models.TextChoices):
        LOGIN = "LOGIN"
        TRADING = "TRADING"
        DEPOSITS = "DEPOSITS"
        WITHDRAWALS = "WITHDRAWALS"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="freezes")
    scope = models.CharField(max_length=12, choices=Scope)
    reason = models.CharField(max_length=500)
    placed_by = models.UUIDField()
    placed_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField(null=True)
    lifted_by = models.UUIDField(null=True)
    lifted_at = models.DateTimeField(null=True)
    lift_reason = models.CharField(max_length=500, blank=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=["owner", "scope"], condition=Q(lifted_at__isnull=True), name="freeze_one_in_force"
            ),
            models.CheckConstraint(condition=~Q(reason=""), name="freeze_has_a_reason"),
            # The desk itself lifts what has run out, whoever placed it.
            models.CheckConstraint(
                condition=Q(lifted_at__isnull=True, lifted_by__isnull=True)
                | (
                    Q(lifted_at__isnull=False, lifted_by__isnull=False)
                    & (Q(lifted_by=HOUSE) | ~Q(lifted_by=F("placed_by")))
                ),
                name="freeze_is_lifted_by_somebody_else",
            ),
        )

    def __str__(self) -> str:
        return f"{self.scope} {self.owner_id}"


class ApiToken(models.Model):
    """A bearer token: 256 random bits shown once, kept as a digest, with scopes and an end."""

    class Scope(models.TextChoices):
        READ = "read"
        TRADE = "trade"
        TRANSFER = "transfer"
        WITHDRAW = "withdraw"
        MARKET_DATA = "market_data"  # never a client's: issued to price feeds by staff

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="api_tokens")
    name = models.CharField(max_length=64, blank=True)
    prefix = models.CharField(max_length=12)
    digest = models.BinaryField(max_length=32, unique=True)
    scopes = ArrayField(models.CharField(max_length=16, choices=Scope))
    addresses = ArrayField(models.CharField(max_length=43), default=list, blank=True, help_text="Allowed networks.")
    created_at = models.DateTimeField(default=timezone.now)
    last_used_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True)

    class Meta:
        indexes = (
            models.Index(fields=["owner", "id"], name="apitoken_owner"),
            models.Index(fields=["prefix"], name="apitoken_prefix"),
        )

    def __str__(self) -> str:
        return f"{self.prefix}…"


class StaffSession(models.Model):
    """
    One person's stay in the back office, from log-in to whatever ended it.

    `digest` is of the session's key: who reads this table cannot step into somebody's session. `reason` says what ended
    it, `ended_by` who did; nobody did if it lapsed.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="staff_sessions")
    digest = models.BinaryField(max_length=32, unique=True)
    address = models.GenericIPAddressField(null=True)
    user_agent = models.CharField(max_length=200, blank=True)
    started_at = models.DateTimeField(default=timezone.now)
    seen_at = models.DateTimeField(default=timezone.now, help_text="To the minute.")
    ended_at = models.DateTimeField(null=True)
    ended_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+", db_index=False
    )
    reason = models.CharField(max_length=500, blank=True)

    class Meta:
        constraints = (
            models.CheckConstraint(
                condition=Q(ended_at__isnull=True) | ~Q(reason=""), name="staffsession_ended_for_a_reason"
            ),
        )
        indexes = (models.Index(fields=["owner", "id"], name="staffsession_owner"),)

    def __str__(self) -> str:
        return f"{self.address} {self.started_at:%Y-%m-%d %H:%M}"
