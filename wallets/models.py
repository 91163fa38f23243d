"""Money at rest: a wallet is a row that is locked, a posting is a row that never changes."""

from __future__ import annotations

from decimal import Decimal

from django.conf import settings
from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from core.ids import uuid7
from core.money import AMOUNT_MAX, CURRENCIES

CURRENCY_CHOICES = [(code, currency.name) for code, currency in CURRENCIES.items()]
ZERO = Decimal(0)


class Environment(models.TextChoices):
    DEMO = "DEMO"
    LIVE = "LIVE"


class Kind(models.TextChoices):
    """Gated wallets belong to a client and are locked; house wallets are only ever added to."""

    CASH = "CASH"
    MARGIN = "MARGIN"
    HOUSE_PAYMENT_CLEARING = "HOUSE_PAYMENT_CLEARING"
    HOUSE_WITHDRAWAL_CLEARING = "HOUSE_WITHDRAWAL_CLEARING"
    HOUSE_TRADING_PNL = "HOUSE_TRADING_PNL"
    HOUSE_COMMISSION = "HOUSE_COMMISSION"
    HOUSE_SWAP = "HOUSE_SWAP"
    HOUSE_REFERRAL_EXPENSE = "HOUSE_REFERRAL_EXPENSE"
    HOUSE_BONUS_EXPENSE = "HOUSE_BONUS_EXPENSE"
    HOUSE_NEGATIVE_BALANCE = "HOUSE_NEGATIVE_BALANCE"
    HOUSE_DEMO_FUNDING = "HOUSE_DEMO_FUNDING"
    HOUSE_ADJUSTMENT = "HOUSE_ADJUSTMENT"


GATED_KINDS = (Kind.CASH, Kind.MARGIN)
HOUSE_KINDS = tuple(kind for kind in Kind if kind not in GATED_KINDS)


def money_field(**options: object) -> models.DecimalField:  # type: ignore[type-arg]  # stubs want both types spelled out
    return models.DecimalField(max_digits=20, decimal_places=8, **options)  # type: ignore[arg-type]


def bounded(field: str, *, low: Decimal | None = None, above: Decimal | None = None) -> Q:
    """The field lies within what a column may hold; the upper bound is what refuses NaN."""
    if above is not None:
        return Q(**{f"{field}__gt": above, f"{field}__lte": AMOUNT_MAX})
    return Q(**{f"{field}__gte": -AMOUNT_MAX if low is None else low, f"{field}__lte": AMOUNT_MAX})


class Wallet(models.Model):
    """
    A client's money in one currency and environment, or one of the house's counterparts.

    The flags that gate a wallet stand on the row that is locked, so that a freeze and a withdrawal can never race.
    A house wallet's `balance` is a folded snapshot: what it holds is that plus its unfolded legs.
    """

    class Status(models.TextChoices):
        ACTIVE = "ACTIVE"
        FROZEN = "FROZEN"
        CLOSED = "CLOSED"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    number = models.CharField(max_length=40, unique=True)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="wallets")
    environment = models.CharField(max_length=4, choices=Environment)
    kind = models.CharField(max_length=32, choices=Kind)
    currency = models.CharField(max_length=4, choices=CURRENCY_CHOICES)
    balance = money_field(default=ZERO)
    held = money_field(default=ZERO)
    credit = money_field(default=ZERO)
    realized_profit = money_field(default=ZERO)
    status = models.CharField(max_length=8, choices=Status, default=Status.ACTIVE)
    deposits_enabled = models.BooleanField(default=True)
    withdrawals_enabled = models.BooleanField(default=True)
    trading_enabled = models.BooleanField(default=True)
    verified = models.BooleanField(default=False, help_text="The owner's verification is approved, or it is demo.")
    version = models.BigIntegerField(default=0)
    head = models.BinaryField(max_length=32, default=bytes(32))
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = (
            models.CheckConstraint(condition=bounded("balance"), name="wallet_balance_bounded"),
            # A margin wallet may owe while positions are open: a client must be able to close the losing leg of a
            # hedge. With nothing held there is nothing open, and negative-balance protection has made it whole.
            models.CheckConstraint(
                condition=~Q(kind__in=GATED_KINDS) | Q(balance__gte=0) | Q(kind=Kind.MARGIN, held__gt=0),
                name="wallet_balance_not_negative",
            ),
            models.CheckConstraint(condition=bounded("held", low=ZERO), name="wallet_held_not_negative"),
            models.CheckConstraint(
                condition=~Q(kind=Kind.CASH) | Q(balance__gte=F("held")), name="wallet_cash_covers_its_holds"
            ),
            models.CheckConstraint(condition=bounded("credit", low=ZERO), name="wallet_credit_not_negative"),
            # Credit is margin: it can be lost by trading, and never be paid out.
            models.CheckConstraint(condition=~Q(kind=Kind.CASH) | Q(credit=0), name="wallet_cash_has_no_credit"),
            models.CheckConstraint(condition=bounded("realized_profit"), name="wallet_realized_profit_bounded"),
            models.CheckConstraint(condition=Q(version__gte=0), name="wallet_version_not_negative"),
            models.CheckConstraint(condition=Q(currency__in=list(CURRENCIES)), name="wallet_currency_known"),
            models.CheckConstraint(condition=Q(environment__in=Environment.values), name="wallet_environment_known"),
            models.CheckConstraint(condition=Q(kind__in=Kind.values), name="wallet_kind_known"),
            models.CheckConstraint(
                condition=Q(kind__in=GATED_KINDS) | Q(held=0, credit=0, version=0), name="wallet_house_is_append_only"
            ),
            models.UniqueConstraint(
                fields=["owner", "kind", "currency", "environment"],
                condition=Q(kind__in=HOUSE_KINDS),
                name="wallet_house_exists_once",
            ),
        )

    def __str__(self) -> str:
        return self.number


class LedgerTransaction(models.Model):
    """One operation that moved money: who, why, when. It is the audit record of its money and never changes."""

    class Type(models.TextChoices):
        SIGN_UP = "SIGN_UP"
        DEPOSIT = "DEPOSIT"
        WITHDRAWAL = "WITHDRAWAL"
        TRANSFER = "TRANSFER"
        OPEN = "OPEN"
        CLOSE = "CLOSE"
        STOP_OUT = "STOP_OUT"
        SWAP = "SWAP"
        REFERRAL = "REFERRAL"
        BONUS = "BONUS"
        ADJUSTMENT = "ADJUSTMENT"
        REVERSAL = "REVERSAL"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    # No database constraint on `owner`: it would lock a key-share on the user in every posting. The guard trigger on
    # entries checks that client legs belong to it.
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", db_constraint=False, db_index=False
    )
    type = models.CharField(max_length=12, choices=Type)
    environment = models.CharField(max_length=4, choices=Environment)
    actor_id = models.UUIDField()
    actor_kind = models.CharField(max_length=12)
    reason = models.CharField(max_length=500, blank=True)
    reference = models.CharField(max_length=128, blank=True, help_text="What it belongs to outside: a bank reference.")
    idempotency_digest = models.BinaryField(max_length=32)
    request_id = models.CharField(max_length=64, blank=True)
    reverses = models.OneToOneField("self", on_delete=models.PROTECT, null=True, related_name="reversed_by")
    posted_at = models.DateTimeField()
    effective_at = models.DateTimeField()

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=["owner", "idempotency_digest"], name="ledgertransaction_idempotency_digest"
            ),
            models.CheckConstraint(
                condition=(Q(type="REVERSAL") & Q(reverses__isnull=False))
                | (~Q(type="REVERSAL") & Q(reverses__isnull=True)),
                name="ledgertransaction_reversal_names_its_original",
            ),
        )
        # Few of all postings, so that looking through them costs nothing while clients trade.
        indexes = (
            models.Index(
                fields=["id"], condition=Q(type="DEPOSIT", environment="LIVE"), name="ledgertransaction_live_deposit"
            ),
            # For the lists of staff. What trading posts all day is found without an index, and costs none.
            models.Index(
                fields=["type", "id"], condition=~Q(type__in=["OPEN", "CLOSE"]), name="ledgertransaction_type"
            ),
            models.Index(
                fields=["actor_kind", "id"], condition=~Q(actor_kind="CLIENT"), name="ledgertransaction_actor_kind"
            ),
            models.Index(fields=["request_id"], condition=~Q(request_id=""), name="ledgertransaction_request_id"),
        )

    def __str__(self) -> str:
        return f"{self.type} {self.id}"


class Entry(models.Model):
    """
    One leg of a transaction: a signed amount into one wallet.

    A client's CREDIT_IN and CREDIT_OUT move the wallet's credit and leave its balance as it was; all others move the
    balance. A gated wallet's entries carry the balance after them, their gapless number and their link of the wallet's
    hash chain. A house wallet's entries carry none of the three.
    """

    class Reason(models.TextChoices):
        DEPOSIT = "DEPOSIT"
        WITHDRAWAL = "WITHDRAWAL"
        TRANSFER = "TRANSFER"
        TRADE_PNL = "TRADE_PNL"
        COMMISSION = "COMMISSION"
        SWAP = "SWAP"
        CREDIT_IN = "CREDIT_IN"
        CREDIT_OUT = "CREDIT_OUT"
        REFERRAL_COMMISSION = "REFERRAL_COMMISSION"
        SIGNUP_BONUS = "SIGNUP_BONUS"
        NEGATIVE_BALANCE_PROTECTION = "NEGATIVE_BALANCE_PROTECTION"
        ADJUSTMENT = "ADJUSTMENT"
        REVERSAL = "REVERSAL"
        DEMO_FUNDING = "DEMO_FUNDING"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    # No foreign keys here either: each would take a share lock on a row that fifty transactions want at once. The guard
    # trigger checks every new entry against its wallet and its transaction, and more strictly than a key could.
    transaction = models.ForeignKey(
        LedgerTransaction, on_delete=models.PROTECT, related_name="entries", db_constraint=False
    )
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", db_constraint=False, db_index=False
    )
    wallet = models.ForeignKey(
        Wallet, on_delete=models.PROTECT, related_name="entries", db_constraint=False, db_index=False
    )
    currency = models.CharField(max_length=4)
    amount = money_field()
    reason = models.CharField(max_length=32, choices=Reason)
    balance_after = money_field(null=True)
    wallet_version = models.BigIntegerField(null=True)
    digest = models.BinaryField(max_length=32, null=True)
    posted_at = models.DateTimeField()

    class Meta:
        verbose_name_plural = "entries"
        constraints = (
            models.CheckConstraint(condition=bounded("amount") & ~Q(amount=0), name="entry_amount_moves_something"),
            models.CheckConstraint(
                condition=Q(balance_after__isnull=True, wallet_version__isnull=True, digest__isnull=True)
                # Said in so many words: a comparison with NULL is not false, and a CHECK lets it pass.
                | (
                    bounded("balance_after")
                    & Q(balance_after__isnull=False, wallet_version__isnull=False, digest__isnull=False)
                    & Q(wallet_version__gte=1)
                ),
                name="entry_is_chained_or_house",
            ),
            # In a client's wallet; the house's side of it has the other sign.
            models.CheckConstraint(
                condition=~Q(reason__in=["CREDIT_IN", "CREDIT_OUT"])
                | Q(wallet_version__isnull=True)
                | Q(reason="CREDIT_IN", amount__gt=0)
                | Q(reason="CREDIT_OUT", amount__lt=0),
                name="entry_credit_says_its_direction",
            ),
            models.UniqueConstraint(fields=["wallet", "owner", "wallet_version"], name="entry_wallet_version"),
        )
        indexes = (
            models.Index(fields=["owner", "id"], name="entry_owner"),
            # Entries are only ever added, in the order of time: an index of a few kilobytes finds a day among years.
            BrinIndex(fields=["posted_at"], name="entry_posted_at", autosummarize=True),
            # For the list of staff: what is rare among the entries of trading.
            models.Index(
                fields=["reason", "id"], condition=~Q(reason__in=["TRADE_PNL", "COMMISSION"]), name="entry_reason"
            ),
        )

    def __str__(self) -> str:
        return f"{self.reason} {self.amount} {self.currency}"


class UnfoldedLeg(models.Model):
    """
    A house leg that is not yet part of its wallet's snapshot.

    Folding claims these rows and deletes them, so a transaction that commits late is simply folded later; "everything
    after the last id seen" would lose it.
    """

    entry_id = models.UUIDField(primary_key=True)
    wallet = models.ForeignKey(Wallet, on_delete=models.PROTECT, related_name="+", db_constraint=False)
    amount = money_field()

    class Meta:
        constraints = (
            models.CheckConstraint(
                condition=bounded("amount") & ~Q(amount=0), name="unfoldedleg_amount_moves_something"
            ),
        )

    def __str__(self) -> str:
        return str(self.entry_id)


class BankAccount(models.Model):
    """Where a client's withdrawals go. The number is encrypted, found by a keyed hash and shown by its last four."""

    class Scheme(models.TextChoices):
        IBAN = "IBAN"
        BIC = "BIC"
        IFSC = "IFSC"
        ABA = "ABA"
        SORT = "SORT"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="bank_accounts")
    holder = models.CharField(max_length=140)
    bank_name = models.CharField(max_length=140)
    branch = models.CharField(max_length=140, blank=True)
    code_type = models.CharField(max_length=4, choices=Scheme)
    code = models.CharField(max_length=34, blank=True, help_text="BIC, IFSC, ABA routing number or sort code.")
    number_encrypted = models.BinaryField()
    number_hash = models.BinaryField(max_length=32)
    number_last_four = models.CharField(max_length=4)
    is_default = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["owner", "number_hash"], name="bankaccount_owner_number"),
            models.UniqueConstraint(
                fields=["owner"], condition=Q(is_default=True), name="bankaccount_owner_has_one_default"
            ),
        )
        indexes = (models.Index(fields=["number_hash"], name="bankaccount_number_hash"),)

    def __str__(self) -> str:
        return f"{self.bank_name} ···{self.number_last_four}"


class Deposit(models.Model):
    """Money on its way in, from the client's intent to the posting that credits the wallet."""

    class Status(models.TextChoices):
        CREATED = "CREATED"
        PENDING = "PENDING"
        COMPLETED = "COMPLETED"
        REJECTED = "REJECTED"
        EXPIRED = "EXPIRED"
        REVERSED = "REVERSED"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="deposits")
    wallet = models.ForeignKey(Wallet, on_delete=models.PROTECT, related_name="deposits")
    amount = money_field()
    currency = models.CharField(max_length=4, choices=CURRENCY_CHOICES)
    status = models.CharField(max_length=12, choices=Status)
    provider = models.CharField(max_length=16)
    provider_reference = models.CharField(max_length=128, null=True)  # noqa: DJ001  # NULL: unknown yet, exempt from UNIQUE
    idempotency_digest = models.BinaryField(max_length=32)
    transaction = models.OneToOneField(LedgerTransaction, on_delete=models.PROTECT, null=True, related_name="deposit")
    reviewed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+", db_index=False
    )
    reason = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    completed_at = models.DateTimeField(null=True)

    class Meta:
        constraints = (
            models.CheckConstraint(condition=bounded("amount", above=ZERO), name="deposit_amount_positive"),
            models.UniqueConstraint(fields=["owner", "idempotency_digest"], name="deposit_idempotency_digest"),
            # Global on purpose: one payment at the provider is one credit here, whoever it is for.
            models.UniqueConstraint(fields=["provider", "provider_reference"], name="deposit_provider_reference"),
            models.CheckConstraint(
                condition=Q(status__in=["COMPLETED", "REVERSED"], transaction__isnull=False)
                | (~Q(status__in=["COMPLETED", "REVERSED"]) & Q(transaction__isnull=True)),
                name="deposit_is_posted_when_completed",
            ),
        )
        indexes = (
            models.Index(fields=["owner", "id"], name="deposit_owner"),
            models.Index(
                fields=["status", "expires_at"], condition=Q(status__in=["CREATED", "PENDING"]), name="deposit_open"
            ),
        )

    def __str__(self) -> str:
        return f"{self.amount} {self.currency} {self.status}"


class PaymentReport(models.Model):
    """
    What a payment provider has said, kept before anything is made of it, so that what the desk refused is not lost.

    Once per thing said, however often it is said. `deposit_ref` is what the message names, known here or not, so the
    row belongs to nobody.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    provider = models.CharField(max_length=16)
    reference = models.CharField(max_length=128)
    deposit_ref = models.UUIDField(help_text="The deposit it is said to be for.")
    succeeded = models.BooleanField()
    amount = money_field()
    currency = models.CharField(max_length=4)
    first_received_at = models.DateTimeField()
    last_received_at = models.DateTimeField()

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=["provider", "reference", "deposit_ref", "succeeded", "amount", "currency"],
                name="paymentreport_said_once",
            ),
            models.CheckConstraint(condition=bounded("amount", above=ZERO), name="paymentreport_amount_positive"),
        )

    def __str__(self) -> str:
        return f"{self.provider} {self.reference}"


class Withdrawal(models.Model):
    """Money on its way out: held at once, posted when the bank has confirmed it."""

    class Status(models.TextChoices):
        REQUESTED = "REQUESTED"
        IN_REVIEW = "IN_REVIEW"
        APPROVED = "APPROVED"
        SENT = "SENT"
        COMPLETED = "COMPLETED"
        REJECTED = "REJECTED"
        CANCELLED = "CANCELLED"
        FAILED = "FAILED"

    #: While in one of these, `amount` is part of the wallet's `held`.
    HOLDING = (Status.REQUESTED, Status.IN_REVIEW, Status.APPROVED, Status.SENT)

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="withdrawals")
    wallet = models.ForeignKey(Wallet, on_delete=models.PROTECT, related_name="withdrawals")
    bank_account = models.ForeignKey(BankAccount, on_delete=models.PROTECT, related_name="withdrawals")
    amount = money_field()
    currency = models.CharField(max_length=4, choices=CURRENCY_CHOICES)
    status = models.CharField(max_length=12, choices=Status)
    two_person = models.BooleanField(default=False, help_text="Large enough to need a second approver.")
    idempotency_digest = models.BinaryField(max_length=32)
    transaction = models.OneToOneField(
        LedgerTransaction, on_delete=models.PROTECT, null=True, related_name="withdrawal"
    )
    reviewed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+", db_index=False
    )
    approved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+", db_index=False
    )
    second_approved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+", db_index=False
    )
    reason = models.CharField(max_length=500, blank=True)
    bank_reference = models.CharField(max_length=128, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)
    approved_at = models.DateTimeField(null=True)
    sent_at = models.DateTimeField(null=True)
    completed_at = models.DateTimeField(null=True)

    class Meta:
        constraints = (
            models.CheckConstraint(condition=bounded("amount", above=ZERO), name="withdrawal_amount_positive"),
            models.UniqueConstraint(fields=["owner", "idempotency_digest"], name="withdrawal_idempotency_digest"),
            models.CheckConstraint(
                condition=Q(approved_by__isnull=True) | ~Q(approved_by=F("owner")),
                name="withdrawal_approver_is_not_its_owner",
            ),
            models.CheckConstraint(
                condition=Q(second_approved_by__isnull=True)
                | (
                    Q(approved_by__isnull=False)
                    & ~Q(second_approved_by=F("approved_by"))
                    & ~Q(second_approved_by=F("owner"))
                ),
                name="withdrawal_approvers_are_two_people",
            ),
            models.CheckConstraint(
                condition=~Q(status__in=["APPROVED", "SENT", "COMPLETED"])
                | (Q(approved_by__isnull=False) & (Q(two_person=False) | Q(second_approved_by__isnull=False))),
                name="withdrawal_is_approved_before_it_leaves",
            ),
            models.CheckConstraint(
                condition=Q(status="COMPLETED", transaction__isnull=False)
                | (~Q(status="COMPLETED") & Q(transaction__isnull=True)),
                name="withdrawal_is_posted_when_completed",
            ),
        )
        indexes = (
            models.Index(fields=["owner", "id"], name="withdrawal_owner"),
            models.Index(
                fields=["status", "created_at"],
                condition=Q(status__in=["REQUESTED", "IN_REVIEW", "APPROVED", "SENT"]),
                name="withdrawal_open",
            ),
        )

    def __str__(self) -> str:
        return f"{self.amount} {self.currency} {self.status}"


class Transfer(models.Model):
    """A move between two wallets of one currency and environment, as its sender sees it; the ledger has the money."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        related_name="transfers",
        db_constraint=False,
        db_index=False,
    )
    source = models.ForeignKey(Wallet, on_delete=models.PROTECT, related_name="+", db_constraint=False, db_index=False)
    target = models.ForeignKey(Wallet, on_delete=models.PROTECT, related_name="+", db_constraint=False, db_index=False)
    amount = money_field()
    currency = models.CharField(max_length=4, choices=CURRENCY_CHOICES)
    transaction = models.OneToOneField(
        LedgerTransaction, on_delete=models.PROTECT, related_name="transfer", db_constraint=False
    )
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = (
            models.CheckConstraint(condition=bounded("amount", above=ZERO), name="transfer_amount_positive"),
            models.CheckConstraint(condition=~Q(source=F("target")), name="transfer_wallets_differ"),
        )
        indexes = (models.Index(fields=["owner", "id"], name="transfer_owner"),)

    def __str__(self) -> str:
        return f"{self.amount} {self.currency}"


class Adjustment(models.Model):
    """
    A correction of one client's cash wallet, proposed by one member of staff and decided by another.

    Neither of them is the client. What was approved is posted once, against the house's adjustments.
    """

    class Direction(models.TextChoices):
        CREDIT = "CREDIT"
        DEBIT = "DEBIT"

    class Status(models.TextChoices):
        PROPOSED = "PROPOSED"
        APPROVED = "APPROVED"
        REJECTED = "REJECTED"
        WITHDRAWN = "WITHDRAWN"  # taken back by whoever proposed it

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="adjustments", db_index=False
    )
    wallet = models.ForeignKey(Wallet, on_delete=models.PROTECT, related_name="adjustments")
    direction = models.CharField(max_length=6, choices=Direction, help_text="Into the wallet, or out of it.")
    amount = money_field()
    currency = models.CharField(max_length=4, choices=CURRENCY_CHOICES)
    status = models.CharField(max_length=9, choices=Status, default=Status.PROPOSED)
    reason = models.CharField(max_length=500)
    reference = models.CharField(max_length=128, blank=True, help_text="The client reads it on their statement.")
    idempotency_digest = models.BinaryField(max_length=32)
    transaction = models.OneToOneField(
        LedgerTransaction, on_delete=models.PROTECT, null=True, related_name="adjustment"
    )
    proposed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    proposed_at = models.DateTimeField(default=timezone.now)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+", db_index=False
    )
    decided_at = models.DateTimeField(null=True)
    decision = models.CharField(max_length=500, blank=True, help_text="Why it was approved, rejected or withdrawn.")

    class Meta:
        constraints = (
            models.CheckConstraint(condition=bounded("amount", above=ZERO), name="adjustment_amount_positive"),
            models.CheckConstraint(condition=Q(direction__in=["CREDIT", "DEBIT"]), name="adjustment_direction_known"),
            models.UniqueConstraint(fields=["owner", "idempotency_digest"], name="adjustment_idempotency_digest"),
            models.CheckConstraint(
                condition=~Q(reason="") & (Q(status="PROPOSED") | ~Q(decision="")), name="adjustment_has_its_reasons"
            ),
            models.CheckConstraint(
                condition=Q(status="PROPOSED", decided_by__isnull=True, decided_at__isnull=True)
                | Q(
                    status__in=["APPROVED", "REJECTED", "WITHDRAWN"],
                    decided_by__isnull=False,
                    decided_at__isnull=False,
                ),
                name="adjustment_is_decided_by_someone",
            ),
            models.CheckConstraint(
                condition=~Q(proposed_by=F("owner"))
                & (
                    Q(decided_by__isnull=True)
                    | Q(status="WITHDRAWN", decided_by=F("proposed_by"))
                    | (~Q(status="WITHDRAWN") & ~Q(decided_by=F("proposed_by")) & ~Q(decided_by=F("owner")))
                ),
                name="adjustment_takes_two_other_people",
            ),
            models.CheckConstraint(
                condition=Q(status="APPROVED", transaction__isnull=False)
                | (~Q(status="APPROVED") & Q(transaction__isnull=True)),
                name="adjustment_is_posted_when_approved",
            ),
        )
        indexes = (
            models.Index(fields=["owner", "id"], name="adjustment_owner"),
            models.Index(fields=["proposed_at", "id"], condition=Q(status="PROPOSED"), name="adjustment_waiting"),
        )

    def __str__(self) -> str:
        return f"{self.direction} {self.amount} {self.currency} {self.status}"


class Seal(models.Model):
    """A signature over the head of every chain at one moment; the export it signs is kept outside the database."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    sealed_at = models.DateTimeField()
    wallets = models.BigIntegerField()
    entries = models.BigIntegerField(help_text="Sum of the sealed versions.")
    digest = models.BinaryField(max_length=32, help_text="SHA-256 of the export.")
    signature = models.BinaryField(max_length=64, help_text="Ed25519 over the digest.")
    public_key = models.BinaryField(max_length=32)
    export = models.CharField(max_length=255, help_text="The export's file name in the seal folder.")

    def __str__(self) -> str:
        return f"{self.sealed_at:%Y-%m-%d %H:%M:%S}"
