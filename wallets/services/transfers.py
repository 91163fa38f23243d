"""A transfer moves money between two wallets of one currency and environment, wholly or not at all."""

from __future__ import annotations

from decimal import Decimal
from functools import partial

import structlog
from django.db import transaction
from django.utils import timezone

from core.audit import Actor
from core.db import retry_on_conflict
from core.errors import DomainError
from core.idempotency import Answer, Claim, Operation, exactly_once
from core.ids import uuid7
from core.money import require_precision, show
from core.rows import Write
from wallets import ledger
from wallets.ledger import Leg, LockedWallet, Posting, Reason, Type, WalletNotFound
from wallets.models import Kind
from wallets.rules import (
    CurrencyMismatch,
    EnvironmentMismatch,
    MarginSourceRefused,
    require_active,
    require_available,
    require_money_may_leave,
)

logger = structlog.get_logger(__name__)

TRANSFER = Operation("TRANSFER", effect_table="wallets_ledgertransaction")

_RECORD_SQL = """
INSERT INTO wallets_transfer (id, owner_id, source_id, target_id, amount, currency, transaction_id, created_at)
VALUES (%(transfer_id)s::uuid, %(owner)s::uuid, %(source)s::uuid, %(target)s::uuid, %(amount)s::numeric,
        %(currency)s::text, %(id)s::uuid, %(now)s::timestamptz)
RETURNING id
"""


class SameWallet(DomainError):
    code = "SAME_WALLET"
    message = "Source and target are the same wallet; a transfer needs two."
    status = 400


class TargetNotAllowed(DomainError):
    code = "TARGET_NOT_ALLOWED"
    message = "Another client's wallet can receive a transfer only if it is a cash wallet."


@retry_on_conflict
@transaction.atomic(durable=True)
@exactly_once(TRANSFER)
def transfer_funds(*, source: str, target: str, amount: Decimal, claim: Claim, actor: Actor) -> Answer:
    """
    Move money between two wallets of one currency and environment, exactly once per claim.

    `source` and `target` are wallet numbers; `amount` is in their currency, at its minor-unit precision. The source is
    an own CASH wallet; the target any CASH wallet, or an own MARGIN wallet.

    :raises SameWallet: if both are one wallet
    :raises WalletNotFound: if a wallet does not exist, or the source is not the actor's
    :raises PrecisionExceeded: if the amount has more decimals than the currency
    :raises MarginSourceRefused: if the source is a MARGIN wallet: trading alone knows what it can spare
    :raises EnvironmentMismatch, CurrencyMismatch, TargetNotAllowed: if the wallets may not meet
    :raises WalletNotActive, WithdrawalsFrozen, VerificationRequired: if money may not leave or arrive
    :raises InsufficientFunds: if the source does not cover the amount
    """
    assert amount > 0, "serializers refuse amounts that are not positive"
    if source == target:
        raise SameWallet(errors=[{"field": "target", "code": SameWallet.code, "message": SameWallet.message}])

    source_wallet, target_wallet = ledger.lock_wallets(source, target)

    _require_transferable(source_wallet, target_wallet, amount, claim)

    transfer_id, now = uuid7(), timezone.now()
    legs = [Leg(source_wallet, -amount, Reason.TRANSFER), Leg(target_wallet, amount, Reason.TRANSFER)]
    receipt = partial(_receipt, transfer_id=transfer_id, source=source_wallet, target=target, amount=amount)
    record = {"transfer_id": transfer_id, "source": source_wallet.id, "target": target_wallet.id, "amount": amount}
    posted = ledger.post(
        legs,
        type=Type.TRANSFER,
        owner=claim.owner,
        actor=actor,
        now=now,
        claim=claim,
        answer=receipt,
        records=[Write(_RECORD_SQL, record)],
    )
    transaction.on_commit(
        partial(logger.info, "wallets.transfer.posted", transfer_id=str(transfer_id), transaction_id=str(posted.id)),
        robust=True,
    )
    assert posted.answer is not None
    return posted.answer


def _require_transferable(source: LockedWallet, target: LockedWallet, amount: Decimal, claim: Claim) -> None:
    if source.owner != claim.owner:
        raise WalletNotFound(number=source.number)
    require_precision(amount, source.currency)
    if source.kind != Kind.CASH:
        raise MarginSourceRefused(number=source.number)
    if source.environment != target.environment:
        raise EnvironmentMismatch(source_environment=source.environment)
    if source.currency != target.currency:
        raise CurrencyMismatch(source_currency=source.currency, target_currency=target.currency)
    if target.owner != claim.owner and target.kind != Kind.CASH:
        raise TargetNotAllowed
    require_money_may_leave(source)
    require_active(target)
    require_available(source, amount)


def _receipt(posting: Posting, *, transfer_id: object, source: LockedWallet, target: str, amount: Decimal) -> Answer:
    currency = source.currency
    return Answer.of(
        {
            "id": transfer_id,
            "transaction": posting.id,
            "source": source.number,
            "target": target,
            "amount": show(amount, currency),
            "currency": currency,
            "status": "COMPLETED",
            "source_balance": show(posting.balances[source.id], currency),
            "source_available": show(posting.balances[source.id] - source.held, currency),
            "created_at": posting.posted_at,
        }
    )
