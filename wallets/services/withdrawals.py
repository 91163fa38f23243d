"""A withdrawal holds its money from the first moment, and lets it go only to the bank or back to the client."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from functools import partial
from typing import NamedTuple
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from core import audit
from core.audit import Actor, ActorKind
from core.db import retry_on_conflict
from core.errors import DomainError
from core.idempotency import Answer, Claim, Operation, exactly_once, system_digest
from core.ids import uuid7
from core.money import require_precision, show
from wallets import ledger, selectors
from wallets.ledger import Leg, LockedWallet, Reason, Type, WalletNotFound
from wallets.models import BankAccount, Environment, Kind, Withdrawal
from wallets.rules import (
    ApprovalOfOneself,
    MarginSourceRefused,
    require_available,
    require_money_may_leave,
    require_reason,
    require_withdrawals_running,
)

logger = structlog.get_logger(__name__)

Status = Withdrawal.Status

REQUEST_WITHDRAWAL = Operation("WITHDRAWAL", effect_table="wallets_withdrawal")
#: A withdrawal leaves REQUESTED and IN_REVIEW once; a cancellation whose answer was purged finds it CANCELLED.
CANCEL_WITHDRAWAL = Operation("CANCEL_WITHDRAWAL", effect_table=None)


class Step(StrEnum):
    """What can be done with a withdrawal."""

    REVIEW = "REVIEW"
    APPROVE = "APPROVE"
    REJECT = "REJECT"
    CANCEL = "CANCEL"
    SEND = "SEND"
    COMPLETE = "COMPLETE"
    FAIL = "FAIL"


class Way(NamedTuple):
    """From where a step can be taken, and where it leads."""

    sources: frozenset[str]
    target: Status


#: Every way a withdrawal can go; what is not here is refused. A first of two approvals stays IN_REVIEW. Staff may still
#: stop what is approved; nobody can call back what was sent.
TRANSITIONS: dict[Step, Way] = {
    Step.REVIEW: Way(frozenset({Status.REQUESTED}), Status.IN_REVIEW),
    Step.APPROVE: Way(frozenset({Status.IN_REVIEW}), Status.APPROVED),
    Step.REJECT: Way(frozenset({Status.REQUESTED, Status.IN_REVIEW, Status.APPROVED}), Status.REJECTED),
    Step.CANCEL: Way(frozenset({Status.REQUESTED, Status.IN_REVIEW}), Status.CANCELLED),
    Step.SEND: Way(frozenset({Status.APPROVED}), Status.SENT),
    Step.COMPLETE: Way(frozenset({Status.SENT}), Status.COMPLETED),
    Step.FAIL: Way(frozenset({Status.SENT}), Status.FAILED),
}


class WithdrawalNotFound(DomainError):
    code = "WITHDRAWAL_NOT_FOUND"
    message = "There is no such withdrawal, or it is not yours."
    status = 404


class WithdrawalBelowMinimum(DomainError):
    code = "WITHDRAWAL_BELOW_MINIMUM"
    message = "A withdrawal is at least {min} {currency}."


class DemoMoneyRefused(DomainError):
    code = "DEMO_MONEY_REFUSED"
    message = "Wallet {number} holds demo money, which no bank accepts."


class BankAccountRequired(DomainError):
    code = "BANK_ACCOUNT_REQUIRED"
    message = "There is no bank account on file to pay out to; add one with POST /api/v1/me/bank-accounts."


class BankAccountNotFound(DomainError):
    code = "BANK_ACCOUNT_NOT_FOUND"
    message = "There is no such bank account, or it is not yours."
    status = 404


class WithdrawalStateRefused(DomainError):
    code = "WITHDRAWAL_STATE_REFUSED"
    message = "The withdrawal is {status}; {step} is possible only from {possible_from}."


class SecondApproverRequired(DomainError):
    code = "SECOND_APPROVER_REQUIRED"
    message = "A withdrawal of this size is approved by two different people, and you are the first."


# --- The client -----------------------------------------------------------------------------------------------------


@retry_on_conflict
@transaction.atomic(durable=True)
@exactly_once(REQUEST_WITHDRAWAL)
def request_withdrawal(
    *, wallet: str, amount: Decimal, bank_account: UUID | None = None, claim: Claim, actor: Actor
) -> Answer:
    """
    Ask for money to be paid out, exactly once per claim, and hold it at once.

    `wallet` is the number of an own live CASH wallet; `amount` is in its currency, at minor-unit precision.
    `bank_account` is an own one, by default the owner's default. From WITHDRAWAL_TWO_PERSON_FROM on, two people have
    to approve it.

    :raises WalletNotFound, BankAccountNotFound: if one does not exist or is not the actor's
    :raises PrecisionExceeded: if the amount has more decimals than the currency
    :raises MarginSourceRefused, DemoMoneyRefused: if the wallet is not a live CASH wallet
    :raises WithdrawalsHalted: while staff have stopped withdrawals for everyone
    :raises WalletNotActive, WithdrawalsFrozen, VerificationRequired: if money may not leave
    :raises WithdrawalBelowMinimum: if the amount is below WITHDRAWAL_MIN
    :raises BankAccountRequired: if none is named and none is on file
    :raises InsufficientFunds: if the wallet does not cover the amount
    """
    assert amount > 0, "serializers refuse amounts that are not positive"
    # Bank accounts never change, so this needs no lock.
    own = selectors.bank_accounts(claim.owner)
    payee = own.filter(is_default=True).first() if bank_account is None else own.filter(pk=bank_account).first()

    (locked,) = ledger.lock_wallets(wallet)

    payee = _require_payable(locked, amount, claim.owner, payee, named=bank_account is not None)

    now = timezone.now()
    withdrawal = Withdrawal(
        id=uuid7(),
        owner_id=claim.owner,
        wallet_id=locked.id,
        bank_account=payee,
        amount=amount,
        currency=locked.currency,
        status=Status.REQUESTED,
        two_person=amount >= settings.WITHDRAWAL_TWO_PERSON_FROM,
        idempotency_digest=claim.digest,
        created_at=now,
        updated_at=now,
    )
    ledger.hold(locked, amount)
    withdrawal.save(force_insert=True)
    _record("wallets.withdrawal.requested", withdrawal, before=None, actor=actor)
    _log_on_commit("wallets.withdrawal.requested", withdrawal)
    document = selectors.withdrawal_document(withdrawal, wallet=locked.number, bank_account=payee)
    return Answer.of(document, effect_id=withdrawal.id)


def _require_payable(
    wallet: LockedWallet, amount: Decimal, owner: UUID, payee: BankAccount | None, *, named: bool
) -> BankAccount:
    if wallet.owner != owner:
        raise WalletNotFound(number=wallet.number)
    if payee is None and named:
        raise BankAccountNotFound
    require_precision(amount, wallet.currency)
    if wallet.kind != Kind.CASH:
        raise MarginSourceRefused(number=wallet.number)
    if wallet.environment != Environment.LIVE:
        raise DemoMoneyRefused(number=wallet.number)
    _require_may_be_paid_out(wallet)
    if amount < settings.WITHDRAWAL_MIN:
        raise WithdrawalBelowMinimum(min=show(settings.WITHDRAWAL_MIN, wallet.currency), currency=wallet.currency)
    if payee is None:
        raise BankAccountRequired
    require_available(wallet, amount)
    return payee


@retry_on_conflict
@transaction.atomic(durable=True)
@exactly_once(CANCEL_WITHDRAWAL)
def cancel_withdrawal(*, withdrawal_id: UUID, claim: Claim, actor: Actor) -> Answer:
    """
    Take back a request that nobody has approved yet; its hold is released at once.

    :raises WithdrawalNotFound: if it does not exist or is not the actor's
    :raises WithdrawalStateRefused: if it is approved, sent or ended
    """
    wallet, withdrawal = _lock(withdrawal_id, owner=claim.owner)
    before, now = withdrawal.status, timezone.now()
    _move(withdrawal, Step.CANCEL, now)
    ledger.release(wallet, withdrawal.amount)
    withdrawal.save(update_fields=["status", "updated_at"])
    _record("wallets.withdrawal.cancelled", withdrawal, before=before, actor=actor)
    _log_on_commit("wallets.withdrawal.cancelled", withdrawal)
    document = selectors.withdrawal_document(withdrawal, wallet=wallet.number, bank_account=withdrawal.bank_account)
    return Answer.of(document, status=200, effect_id=withdrawal.id)


# --- Staff ----------------------------------------------------------------------------------------------------------


@retry_on_conflict
@transaction.atomic(durable=True)
def start_review(*, withdrawal_id: UUID, reason: str, actor: Actor) -> Withdrawal:
    """
    Take a requested withdrawal into review.

    :raises ReasonRequired: without a reason
    :raises WithdrawalNotFound: if there is no such withdrawal
    :raises ApprovalOfOneself: if it is the actor's own
    :raises WithdrawalStateRefused: if it is not requested
    """
    _, withdrawal = _lock_for_staff(withdrawal_id, reason, actor)
    before = withdrawal.status
    _move(withdrawal, Step.REVIEW, timezone.now())
    withdrawal.reviewed_by_id = actor.id
    withdrawal.save(update_fields=["status", "reviewed_by", "updated_at"])
    _record("wallets.withdrawal.review_started", withdrawal, before=before, reason=reason, actor=actor)
    _log_on_commit("wallets.withdrawal.review_started", withdrawal)
    return withdrawal


@retry_on_conflict
@transaction.atomic(durable=True)
def approve_withdrawal(*, withdrawal_id: UUID, reason: str, actor: Actor) -> Withdrawal:
    """
    Approve a withdrawal in review. One that needs two people stays in review until a second one approves.

    What gates a request gates its approval as well: a freeze placed in between counts.

    :raises ReasonRequired: without a reason
    :raises WithdrawalNotFound: if there is no such withdrawal
    :raises ApprovalOfOneself: if it is the actor's own
    :raises SecondApproverRequired: if the actor has given the first of two approvals
    :raises WithdrawalStateRefused: if it is not in review
    :raises WithdrawalsHalted, WalletNotActive, WithdrawalsFrozen, VerificationRequired: if money may not leave
    """
    wallet, withdrawal = _lock_for_staff(withdrawal_id, reason, actor)
    before, now = withdrawal.status, timezone.now()
    is_first_of_two = withdrawal.two_person and withdrawal.approved_by_id is None
    _move(withdrawal, Step.APPROVE, now)
    if withdrawal.approved_by_id == actor.id:
        raise SecondApproverRequired
    _require_may_be_paid_out(wallet)
    if is_first_of_two:
        withdrawal.status, withdrawal.approved_by_id = Status.IN_REVIEW, actor.id
    elif withdrawal.two_person:
        withdrawal.second_approved_by_id, withdrawal.approved_at = actor.id, now
    else:
        withdrawal.approved_by_id, withdrawal.approved_at = actor.id, now
    withdrawal.save(update_fields=["status", "approved_by", "second_approved_by", "approved_at", "updated_at"])
    _record("wallets.withdrawal.approved", withdrawal, before=before, reason=reason, actor=actor)
    _log_on_commit("wallets.withdrawal.approved", withdrawal)
    return withdrawal


@retry_on_conflict
@transaction.atomic(durable=True)
def reject_withdrawal(*, withdrawal_id: UUID, reason: str, actor: Actor) -> Withdrawal:
    """
    End a withdrawal that has not been sent; its hold is released. The reason is for the file, not for the client.

    :raises ReasonRequired: without a reason
    :raises WithdrawalNotFound: if there is no such withdrawal
    :raises ApprovalOfOneself: if it is the actor's own
    :raises WithdrawalStateRefused: if it is sent or ended
    """
    wallet, withdrawal = _lock_for_staff(withdrawal_id, reason, actor)
    before = withdrawal.status
    _move(withdrawal, Step.REJECT, timezone.now())
    ledger.release(wallet, withdrawal.amount)
    withdrawal.reason = reason
    withdrawal.save(update_fields=["status", "reason", "updated_at"])
    _record("wallets.withdrawal.rejected", withdrawal, before=before, reason=reason, actor=actor)
    _log_on_commit("wallets.withdrawal.rejected", withdrawal)
    return withdrawal


@retry_on_conflict
@transaction.atomic(durable=True)
def mark_sent(*, withdrawal_id: UUID, reason: str, actor: Actor, bank_reference: str = "") -> Withdrawal:
    """
    Record that the bank was told to pay. Until then a freeze or the switch still stops it.

    :raises ReasonRequired: without a reason
    :raises WithdrawalNotFound: if there is no such withdrawal
    :raises ApprovalOfOneself: if it is the actor's own
    :raises WithdrawalStateRefused: if it is not approved
    :raises WithdrawalsHalted, WalletNotActive, WithdrawalsFrozen, VerificationRequired: if money may not leave
    """
    wallet, withdrawal = _lock_for_staff(withdrawal_id, reason, actor)
    before, now = withdrawal.status, timezone.now()
    _move(withdrawal, Step.SEND, now)
    _require_may_be_paid_out(wallet)
    withdrawal.sent_at, withdrawal.bank_reference = now, bank_reference
    withdrawal.save(update_fields=["status", "sent_at", "bank_reference", "updated_at"])
    _record("wallets.withdrawal.sent", withdrawal, before=before, reason=reason, actor=actor)
    _log_on_commit("wallets.withdrawal.sent", withdrawal)
    return withdrawal


@retry_on_conflict
@transaction.atomic(durable=True)
def complete_withdrawal(*, withdrawal_id: UUID, reason: str, actor: Actor, bank_reference: str = "") -> Withdrawal:
    """
    Book that the bank has paid: the money leaves the wallet and its hold ends, in one statement.

    `bank_reference` replaces the one given when it was sent, if there is one. No gate applies: the money is gone.

    :raises ReasonRequired: without a reason
    :raises WithdrawalNotFound: if there is no such withdrawal
    :raises ApprovalOfOneself: if it is the actor's own
    :raises WithdrawalStateRefused: if it is not sent
    """
    wallet, withdrawal = _lock_for_staff(withdrawal_id, reason, actor)
    before, now = withdrawal.status, timezone.now()
    _move(withdrawal, Step.COMPLETE, now)
    withdrawal.bank_reference = bank_reference or withdrawal.bank_reference
    clearing = ledger.house(Kind.HOUSE_WITHDRAWAL_CLEARING, wallet.currency, wallet.environment)
    posted = ledger.post(
        [Leg(wallet, -withdrawal.amount, Reason.WITHDRAWAL), Leg(clearing, withdrawal.amount, Reason.WITHDRAWAL)],
        type=Type.WITHDRAWAL,
        owner=wallet.owner,
        actor=actor,
        now=now,
        digest=system_digest("withdrawal", str(withdrawal.id)),
        held={wallet.id: wallet.held - withdrawal.amount},
        reason=reason,
        reference=withdrawal.bank_reference,
    )
    withdrawal.transaction_id, withdrawal.completed_at = posted.id, now
    withdrawal.save(update_fields=["status", "bank_reference", "transaction", "completed_at", "updated_at"])
    _record("wallets.withdrawal.completed", withdrawal, before=before, reason=reason, actor=actor)
    _log_on_commit("wallets.withdrawal.completed", withdrawal)
    return withdrawal


@retry_on_conflict
@transaction.atomic(durable=True)
def fail_withdrawal(*, withdrawal_id: UUID, reason: str, actor: Actor) -> Withdrawal:
    """
    Record that the bank did not pay what was sent; the hold is released and the money is the client's to use again.

    :raises ReasonRequired: without a reason
    :raises WithdrawalNotFound: if there is no such withdrawal
    :raises ApprovalOfOneself: if it is the actor's own
    :raises WithdrawalStateRefused: if it is not sent
    """
    wallet, withdrawal = _lock_for_staff(withdrawal_id, reason, actor)
    before = withdrawal.status
    _move(withdrawal, Step.FAIL, timezone.now())
    ledger.release(wallet, withdrawal.amount)
    withdrawal.reason = reason
    withdrawal.save(update_fields=["status", "reason", "updated_at"])
    _record("wallets.withdrawal.failed", withdrawal, before=before, reason=reason, actor=actor)
    _log_on_commit("wallets.withdrawal.failed", withdrawal)
    return withdrawal


# --- Steps they share -----------------------------------------------------------------------------------------------


def _require_may_be_paid_out(wallet: LockedWallet) -> None:
    require_withdrawals_running(wallet)
    require_money_may_leave(wallet)


def _lock(withdrawal_id: UUID, *, owner: UUID | None = None) -> tuple[LockedWallet, Withdrawal]:
    """The wallet first, then the withdrawal: read without a lock to learn the wallet, read again under both."""
    withdrawals = Withdrawal.objects.filter(pk=withdrawal_id)
    if owner is not None:
        withdrawals = withdrawals.filter(owner_id=owner)
    wallet_id = withdrawals.values_list("wallet_id", flat=True).first()
    if wallet_id is None:
        raise WithdrawalNotFound
    (wallet,) = ledger.lock_wallets_by_id(wallet_id)
    return wallet, Withdrawal.objects.select_for_update(no_key=True).order_by("pk").get(pk=withdrawal_id)


def _lock_for_staff(withdrawal_id: UUID, reason: str, actor: Actor) -> tuple[LockedWallet, Withdrawal]:
    """Lock for a decision that a member of staff takes about somebody else's money."""
    assert actor.kind == ActorKind.STAFF
    require_reason(reason)
    wallet, withdrawal = _lock(withdrawal_id)
    if withdrawal.owner_id == actor.id:
        raise ApprovalOfOneself
    return wallet, withdrawal


def _move(withdrawal: Withdrawal, step: Step, now: datetime) -> None:
    """:raises WithdrawalStateRefused: if the step cannot be taken from where the withdrawal is"""
    way = TRANSITIONS[step]
    if withdrawal.status not in way.sources:
        possible_from = " or ".join(status for status in Status if status in way.sources)
        raise WithdrawalStateRefused(status=withdrawal.status, step=step, possible_from=possible_from)
    withdrawal.status, withdrawal.updated_at = way.target, now


def _record(action: str, withdrawal: Withdrawal, *, before: str | None, actor: Actor, reason: str = "") -> None:
    """Who did it and why: a hold is no posting, so no ledger transaction says so."""
    audit.record(
        action,
        actor=actor,
        owner=withdrawal.owner_id,
        subject=withdrawal,
        before=None if before is None else {"status": before},
        after={"status": withdrawal.status, "amount": withdrawal.amount, "transaction": withdrawal.transaction_id},
        reason=reason,
    )


def _log_on_commit(event: str, withdrawal: Withdrawal) -> None:
    transaction.on_commit(partial(logger.info, event, withdrawal_id=str(withdrawal.id)), robust=True)
