"""A deposit credits a wallet once, however often its payment is reported."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from functools import partial
from uuid import UUID

import structlog
from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Sum
from django.utils import timezone

from core import audit, db
from core.audit import Actor, ActorKind
from core.db import retry_on_conflict
from core.errors import DomainError
from core.idempotency import Answer, Claim, Operation, exactly_once, system_digest
from core.ids import uuid7
from core.money import require_precision, show
from wallets import ledger, payments, selectors
from wallets.ledger import Leg, LockedWallet, Posted, Reason, Type, WalletNotFound
from wallets.models import Deposit, Environment, Kind, PaymentReport, Wallet
from wallets.rules import (
    ApprovalOfOneself,
    DepositsFrozen,
    InsufficientFunds,
    WalletNotActive,
    require_active,
    require_available,
    require_reason,
)

logger = structlog.get_logger(__name__)

Status = Deposit.Status

CREATE_DEPOSIT = Operation("DEPOSIT", effect_table="wallets_deposit")

#: Every way a deposit can go. It is CREATED only within the transaction that makes it: the adapter's word, which comes
#: in the same breath, is PENDING or COMPLETED. What is not here is refused.
TRANSITIONS: dict[str, frozenset[str]] = {
    Status.CREATED: frozenset({Status.PENDING, Status.COMPLETED}),
    Status.PENDING: frozenset({Status.COMPLETED, Status.REJECTED, Status.EXPIRED}),
    Status.COMPLETED: frozenset({Status.REVERSED}),
    Status.REJECTED: frozenset(),
    Status.EXPIRED: frozenset(),
    Status.REVERSED: frozenset(),
}

#: Counted against what an unverified client may pay in: the money that came, and the money that may still come.
COUNTED = (Status.CREATED, Status.PENDING, Status.COMPLETED)


class DepositNotFound(DomainError):
    code = "DEPOSIT_NOT_FOUND"
    message = "There is no such deposit."
    status = 404


class DepositOutOfRange(DomainError):
    code = "DEPOSIT_OUT_OF_RANGE"
    message = "A deposit is {min} to {max} {currency}."


class UnverifiedDepositLimit(DomainError):
    code = "UNVERIFIED_DEPOSIT_LIMIT"
    message = (
        "Before verification at most {max} {currency} may be deposited in total, and {deposited} {currency} has been;"
        " {available} {currency} is left."
    )


class DepositStateRefused(DomainError):
    code = "DEPOSIT_STATE_REFUSED"
    message = "The deposit is {status}; it can't become {wanted}."


class PaymentMismatch(DomainError):
    code = "PAYMENT_MISMATCH"
    message = "The payment of {paid} {paid_currency} is not the deposit of {amount} {currency}."


class PaymentReferenceTaken(DomainError):
    code = "PAYMENT_REFERENCE_TAKEN"
    message = "Payment {reference} has been credited to another deposit."


# --- The client -----------------------------------------------------------------------------------------------------


@retry_on_conflict
@transaction.atomic(durable=True)
@exactly_once(CREATE_DEPOSIT)
def create_deposit(*, wallet: str, amount: Decimal, claim: Claim, actor: Actor) -> Answer:
    """
    Take in money for an own wallet, exactly once per claim: at once from the sandbox, else when the provider has it.

    `wallet` is a number; `amount` is in its currency, at minor-unit precision. Before their verification, live clients
    may pay in UNVERIFIED_DEPOSIT_MAX in total per currency: their live wallets are locked together for that sum.

    :raises WalletNotFound: if the wallet does not exist or is not the actor's
    :raises PrecisionExceeded: if the amount has more decimals than the currency
    :raises DepositOutOfRange: if the amount is below DEPOSIT_MIN or above DEPOSIT_MAX
    :raises WalletNotActive, DepositsFrozen: if the wallet takes no money
    :raises UnverifiedDepositLimit: if it would be too much before verification
    """
    assert amount > 0, "serializers refuse amounts that are not positive"
    siblings = selectors.live_wallet_numbers(claim.owner)

    locked, *_ = ledger.lock_wallets(wallet, *(siblings if wallet in siblings else ()))

    _require_depositable(locked, amount, claim.owner)

    now, deposit_id = timezone.now(), uuid7()
    provider = payments.provider_for(locked.environment)
    intake = provider.take_in(deposit_id=deposit_id, now=now)
    deposit = Deposit(
        id=deposit_id,
        owner_id=claim.owner,
        wallet_id=locked.id,
        amount=amount,
        currency=locked.currency,
        status=Status.CREATED,
        provider=provider.name,
        provider_reference=intake.reference,
        idempotency_digest=claim.digest,
        created_at=now,
        updated_at=now,
        expires_at=intake.expires_at,
    )
    if not intake.is_complete:
        _move(deposit, Status.PENDING, now)
        deposit.save(force_insert=True)
        _log_on_commit("wallets.deposit.created", deposit)
        return Answer.of(selectors.deposit_document(deposit, wallet=locked.number), effect_id=deposit.id)
    _move(deposit, Status.COMPLETED, now)
    posted = _post(deposit, locked, actor=actor, now=now, claim=claim)
    deposit.save(force_insert=True)
    _log_on_commit("wallets.deposit.completed", deposit)
    assert posted.answer is not None
    return posted.answer


def _require_depositable(wallet: LockedWallet, amount: Decimal, owner: UUID) -> None:
    if wallet.owner != owner:
        raise WalletNotFound(number=wallet.number)
    require_precision(amount, wallet.currency)
    if not settings.DEPOSIT_MIN <= amount <= settings.DEPOSIT_MAX:
        raise DepositOutOfRange(
            min=show(settings.DEPOSIT_MIN, wallet.currency),
            max=show(settings.DEPOSIT_MAX, wallet.currency),
            currency=wallet.currency,
        )
    require_active(wallet)
    if not wallet.deposits_enabled:
        raise DepositsFrozen(number=wallet.number)
    if wallet.environment == Environment.LIVE and not wallet.verified:
        _require_within_unverified_limit(wallet, amount)


def _require_within_unverified_limit(wallet: LockedWallet, amount: Decimal) -> None:
    counted = Deposit.objects.filter(
        owner_id=wallet.owner, wallet__environment=Environment.LIVE, currency=wallet.currency, status__in=COUNTED
    )
    deposited = counted.aggregate(total=Sum("amount"))["total"] or Decimal(0)
    limit = settings.UNVERIFIED_DEPOSIT_MAX
    if deposited + amount > limit:
        raise UnverifiedDepositLimit(
            max=show(limit, wallet.currency),
            deposited=show(deposited, wallet.currency),
            available=show(max(limit - deposited, Decimal(0)), wallet.currency),
            currency=wallet.currency,
        )


# --- The provider ---------------------------------------------------------------------------------------------------


@retry_on_conflict
@transaction.atomic(durable=True)
def keep_report(*, deposit_id: UUID, reference: str, succeeded: bool, amount: Decimal, currency: str) -> None:
    """
    Keep what the provider says of a payment, in a transaction of its own: whatever becomes of it, it was said.

    What `settle_deposit` then refuses (a deposit that has expired, another amount) is found by comparing the two.
    """
    now = timezone.now()
    said = PaymentReport(
        provider=payments.Webhook.name,
        reference=reference,
        deposit_ref=deposit_id,
        succeeded=succeeded,
        amount=amount,
        currency=currency,
        first_received_at=now,
        last_received_at=now,
    )
    PaymentReport.objects.bulk_create(
        [said],
        update_conflicts=True,
        update_fields=["last_received_at"],
        unique_fields=["provider", "reference", "deposit_ref", "succeeded", "amount", "currency"],
    )


@retry_on_conflict
@transaction.atomic(durable=True)
def settle_deposit(
    *, deposit_id: UUID, reference: str, succeeded: bool, amount: Decimal, currency: str, actor: Actor
) -> Deposit:
    """
    Take a provider's word on a pending deposit: credit it, or reject it. Once is enough, and more change nothing.

    The money is here, so a freeze does not keep it out of the wallet; only a closed wallet takes none.

    :raises DepositNotFound: if there is no such deposit with a provider that reports
    :raises PaymentMismatch: if another amount or currency was paid
    :raises PaymentReferenceTaken: if this payment has been credited to another deposit
    :raises DepositStateRefused: if the deposit has ended otherwise
    :raises WalletNotActive: if the wallet is closed
    """
    assert actor.kind == ActorKind.PROVIDER
    wallet, deposit = _lock(deposit_id)
    if deposit.provider != payments.Webhook.name:
        raise DepositNotFound
    ended_so = deposit.transaction_id is not None if succeeded else deposit.status == Status.REJECTED
    if ended_so and deposit.provider_reference == reference:
        return deposit  # reported before
    if (amount, currency) != (deposit.amount, deposit.currency):
        raise PaymentMismatch(
            paid=amount,
            paid_currency=currency,
            amount=show(deposit.amount, deposit.currency),
            currency=deposit.currency,
        )
    if succeeded:
        _complete(deposit, wallet, actor=actor, reference=reference)
    else:
        _take_reference(deposit, reference)
        _reject(deposit, reason="The provider reports that the payment failed.")
    return deposit


# --- Staff ----------------------------------------------------------------------------------------------------------


@retry_on_conflict
@transaction.atomic(durable=True)
def approve_deposit(*, deposit_id: UUID, reason: str, actor: Actor, reference: str = "") -> Deposit:
    """
    Credit a pending deposit that staff have found on the bank statement, under the bank's `reference`.

    :raises ReasonRequired: without a reason
    :raises DepositNotFound: if there is no such deposit
    :raises ApprovalOfOneself: if it is the actor's own
    :raises DepositStateRefused: if it is not pending
    :raises PaymentReferenceTaken: if the reference has credited another deposit
    :raises WalletNotActive: if the wallet is closed
    """
    assert actor.kind == ActorKind.STAFF
    require_reason(reason)
    wallet, deposit = _lock(deposit_id)
    _require_somebody_else(deposit, actor)
    before = deposit.status
    deposit.reviewed_by_id = actor.id
    _complete(deposit, wallet, actor=actor, reference=reference, reason=reason)
    _record("wallets.deposit.approved", deposit, before=before, reason=reason, actor=actor)
    return deposit


@retry_on_conflict
@transaction.atomic(durable=True)
def reject_deposit(*, deposit_id: UUID, reason: str, actor: Actor) -> Deposit:
    """
    End a pending deposit whose money will not come; nothing is posted.

    :raises ReasonRequired: without a reason
    :raises DepositNotFound: if there is no such deposit
    :raises DepositStateRefused: if it is not pending
    """
    assert actor.kind == ActorKind.STAFF
    require_reason(reason)
    _, deposit = _lock(deposit_id)
    before = deposit.status
    deposit.reviewed_by_id = actor.id
    _reject(deposit, reason=reason)
    _record("wallets.deposit.rejected", deposit, before=before, reason=reason, actor=actor)
    return deposit


@retry_on_conflict
@transaction.atomic(durable=True)
def reverse_deposit(*, deposit_id: UUID, reason: str, actor: Actor) -> Deposit:
    """
    Take a completed deposit back out, by a REVERSAL that names the original posting; once, for ever.

    It never overdraws: the client has to bring in what is missing first, or staff book an adjustment. Freezes do not
    stop it, since it takes money that was never theirs. Out of a margin wallet, credit goes with it in proportion.

    :raises ReasonRequired: without a reason
    :raises DepositNotFound: if there is no such deposit
    :raises ApprovalOfOneself: if it is the actor's own
    :raises DepositStateRefused: if it is not completed
    :raises InsufficientFunds: if a CASH wallet has less available, or a MARGIN wallet has less or holds margin: what
        its open positions leave over, trading alone knows
    """
    assert actor.kind == ActorKind.STAFF
    require_reason(reason)
    wallet, deposit = _lock(deposit_id)
    _require_somebody_else(deposit, actor)
    before, now = deposit.status, timezone.now()
    _move(deposit, Status.REVERSED, now)
    _require_reversible(wallet, deposit.amount)
    clearing = ledger.house(Kind.HOUSE_PAYMENT_CLEARING, wallet.currency, wallet.environment)
    legs = [Leg(wallet, -deposit.amount, Reason.REVERSAL), Leg(clearing, deposit.amount, Reason.REVERSAL)]
    if wallet.credit:
        legs += ledger.credit_legs(wallet, -ledger.credit_lost(wallet, deposit.amount))
    reversal = ledger.post(
        legs,
        type=Type.REVERSAL,
        owner=wallet.owner,
        actor=actor,
        now=now,
        digest=system_digest("reverse-deposit", str(deposit.id)),
        reason=reason,
        reverses=deposit.transaction_id,
    )
    deposit.reviewed_by_id, deposit.reason = actor.id, reason
    deposit.save(update_fields=["status", "reviewed_by", "reason", "updated_at"])
    audit.record(
        "wallets.deposit.reversed",
        actor=actor,
        owner=deposit.owner_id,
        subject=deposit,
        before={"status": before},
        after={"status": deposit.status, "reversal": reversal.id},
        reason=reason,
    )
    _log_on_commit("wallets.deposit.reversed", deposit)
    return deposit


def _require_reversible(wallet: LockedWallet, amount: Decimal) -> None:
    if wallet.kind == Kind.CASH:
        require_available(wallet, amount)
    elif wallet.held or wallet.balance < amount:
        spare = Decimal(0) if wallet.held else max(wallet.balance, Decimal(0))
        raise InsufficientFunds(
            required=show(amount, wallet.currency),
            available=show(spare, wallet.currency),
            shortfall=show(amount - spare, wallet.currency),
            currency=wallet.currency,
        )


def _require_somebody_else(deposit: Deposit, actor: Actor) -> None:
    if actor.id == deposit.owner_id:
        raise ApprovalOfOneself


# --- The clock ------------------------------------------------------------------------------------------------------


@retry_on_conflict
@transaction.atomic(durable=True)
def expire_deposits(*, now: datetime, limit: int) -> int:
    """
    End at most `limit` pending deposits whose time ran out before `now`, and return how many it was.

    No wallet is locked, since no money moves; what somebody else is deciding right now is skipped, and waits for
    nobody. A payment reported later is refused; what was reported is kept, and reconciliation shows it to staff.
    """
    assert limit > 0
    due = (
        selectors.overdue_deposits(now)
        .select_for_update(no_key=True, skip_locked=True)
        .order_by("expires_at", "pk")[:limit]
    )
    expired = list(due)
    for deposit in expired:
        _move(deposit, Status.EXPIRED, now)
        _log_on_commit("wallets.deposit.expired", deposit)
    Deposit.objects.bulk_update(expired, ["status", "updated_at"])
    return len(expired)


# --- Steps they share -----------------------------------------------------------------------------------------------


def _lock(deposit_id: UUID) -> tuple[LockedWallet, Deposit]:
    """The wallet first, then the deposit: read without a lock to learn the wallet, read again under both."""
    wallet_id = Deposit.objects.filter(pk=deposit_id).values_list("wallet_id", flat=True).first()
    if wallet_id is None:
        raise DepositNotFound
    (wallet,) = ledger.lock_wallets_by_id(wallet_id)
    return wallet, Deposit.objects.select_for_update(no_key=True).order_by("pk").get(pk=deposit_id)


def _move(deposit: Deposit, wanted: Status, now: datetime) -> None:
    """:raises DepositStateRefused: if there is no way from where the deposit is"""
    if wanted not in TRANSITIONS[deposit.status]:
        raise DepositStateRefused(status=deposit.status, wanted=wanted)
    deposit.status, deposit.updated_at = wanted, now
    if wanted == Status.COMPLETED:
        deposit.completed_at = now


def _post(
    deposit: Deposit,
    wallet: LockedWallet,
    *,
    actor: Actor,
    now: datetime,
    claim: Claim | None = None,
    reference: str = "",
    reason: str = "",
) -> Posted:
    """Credit the wallet; with a claim, the client's answer is stored by the same statement."""

    def answer(posting: ledger.Posting) -> Answer:
        deposit.transaction_id = posting.id
        return Answer.of(selectors.deposit_document(deposit, wallet=wallet.number), effect_id=deposit.id)

    clearing = ledger.house(Kind.HOUSE_PAYMENT_CLEARING, wallet.currency, wallet.environment)
    return ledger.post(
        [Leg(wallet, deposit.amount, Reason.DEPOSIT), Leg(clearing, -deposit.amount, Reason.DEPOSIT)],
        type=Type.DEPOSIT,
        owner=wallet.owner,
        actor=actor,
        now=now,
        claim=claim,
        answer=answer if claim is not None else None,
        digest=None if claim is not None else system_digest("deposit", str(deposit.id)),
        reference=reference,
        reason=reason,
    )


def _complete(deposit: Deposit, wallet: LockedWallet, *, actor: Actor, reference: str, reason: str = "") -> None:
    now = timezone.now()
    _move(deposit, Status.COMPLETED, now)
    if wallet.status == Wallet.Status.CLOSED:
        raise WalletNotActive(number=wallet.number, status=wallet.status)
    if reference:
        _take_reference(deposit, reference)
    deposit.transaction_id = _post(deposit, wallet, actor=actor, now=now, reference=reference, reason=reason).id
    deposit.reason = reason
    deposit.save(update_fields=["status", "transaction", "reviewed_by", "reason", "updated_at", "completed_at"])
    _log_on_commit("wallets.deposit.completed", deposit)


def _reject(deposit: Deposit, *, reason: str) -> None:
    _move(deposit, Status.REJECTED, timezone.now())
    deposit.reason = reason
    deposit.save(update_fields=["status", "reviewed_by", "reason", "updated_at"])
    _log_on_commit("wallets.deposit.rejected", deposit)


def _take_reference(deposit: Deposit, reference: str) -> None:
    """
    Bind the deposit to the payment, before any money moves; the constraint decides between two who find it free.

    :raises PaymentReferenceTaken: if another deposit has it
    """
    deposit.provider_reference = reference
    try:
        deposit.save(update_fields=["provider_reference"])
    except IntegrityError as error:
        if db.constraint(error) == "deposit_provider_reference":
            raise PaymentReferenceTaken(reference=reference) from error
        raise


def _record(action: str, deposit: Deposit, *, before: str, reason: str, actor: Actor) -> None:
    after = {"status": deposit.status, "transaction": deposit.transaction_id}
    audit.record(
        action,
        actor=actor,
        owner=deposit.owner_id,
        subject=deposit,
        before={"status": before},
        after=after,
        reason=reason,
    )


def _log_on_commit(event: str, deposit: Deposit) -> None:
    transaction.on_commit(partial(logger.info, event, deposit_id=str(deposit.id)), robust=True)
