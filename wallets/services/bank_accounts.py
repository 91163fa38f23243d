"""A bank account is added by its owner, shown by its last four, and revealed only for a reason that is kept."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from uuid import UUID

import structlog
from django.db import transaction

from core import audit
from core.audit import Actor, ActorKind
from core.db import retry_on_conflict
from core.errors import NotFound
from core.idempotency import Answer, Claim, Operation, exactly_once
from wallets import bank, selectors
from wallets.bank import store_bank_account
from wallets.models import BankAccount
from wallets.rules import require_reason

logger = structlog.get_logger(__name__)

#: (owner, number) is unique for ever, so that a purged key finds its effect there.
ADD_BANK_ACCOUNT = Operation("ADD_BANK_ACCOUNT", effect_table=None)


@dataclass(frozen=True, slots=True)
class Reencrypted:
    """One batch of a key rotation: how many were read, how many got the newest key, and where the next batch starts."""

    seen: int
    changed: int
    last: UUID | None


@retry_on_conflict
@transaction.atomic(durable=True)
@exactly_once(ADD_BANK_ACCOUNT)
def add_bank_account(
    *,
    holder: str,
    bank_name: str,
    branch: str = "",
    code_type: str,
    code: str = "",
    number: str,
    claim: Claim,
    actor: Actor,
) -> Answer:
    """
    Put a bank account of the claim's owner on file, encrypted; the first one becomes their default.

    :raises BankDetailsInvalid: naming the field, `code` or `number`, never its content
    :raises BankAccountKnown: if it is on file already
    :raises BankAccountsLimitReached: if there are too many
    """
    account = store_bank_account(
        owner=claim.owner,
        holder=holder,
        bank_name=bank_name,
        branch=branch,
        code_type=code_type,
        code=code,
        number=number,
    )
    audit.record(
        "wallets.bank_account.added",
        actor=actor,
        owner=claim.owner,
        subject=account,
        after={"code_type": account.code_type, "last_four": account.number_last_four, "holder": account.holder},
    )
    transaction.on_commit(
        partial(logger.info, "wallets.bank_account.added", bank_account_id=str(account.id)), robust=True
    )
    return Answer.of(selectors.bank_account_document(account), effect_id=account.id)


@retry_on_conflict
@transaction.atomic(durable=True)
def reveal_bank_number(*, bank_account_id: UUID, reason: str, actor: Actor) -> str:
    """
    The number in clear, for a member of staff with a reason; who saw it, when and why stays on record.

    :raises ReasonRequired: without a reason
    :raises NotFound: if there is no such bank account
    :raises BankNumberUnreadable: if it cannot be decrypted, or is not the number that was stored with this row
    """
    assert actor.kind == ActorKind.STAFF, "clients see the last four"
    require_reason(reason)
    account = BankAccount.objects.filter(pk=bank_account_id).first()
    if account is None:
        raise NotFound
    number = bank.read_number(account)
    audit.record("wallets.bank_account.revealed", actor=actor, owner=account.owner_id, subject=account, reason=reason)
    return number


@retry_on_conflict
@transaction.atomic(durable=True)
def reencrypt_bank_numbers(*, after: UUID | None, limit: int) -> Reencrypted:
    """
    Bring the next `limit` bank numbers after an id under the newest of FIELD_ENCRYPTION_KEYS.

    Once a walk from None to the end has found everything readable, the older keys can be dropped.

    :raises BankNumberUnreadable: if none of the keys opens one; the batch stays as it was
    """
    assert limit > 0
    accounts = BankAccount.objects.select_for_update(no_key=True).order_by("pk")
    if after is not None:
        accounts = accounts.filter(pk__gt=after)
    batch, changed = list(accounts[:limit]), 0
    for account in batch:
        token = bank.reencrypt(bytes(account.number_encrypted))
        if token is not None:
            account.number_encrypted = token
            account.save(update_fields=["number_encrypted"])
            changed += 1
    return Reencrypted(seen=len(batch), changed=changed, last=batch[-1].pk if batch else None)
