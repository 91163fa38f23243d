"""Who looks for a person by their bank account leaves a trace, whether or not there is one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import structlog
from django.db import transaction

from accounts.models import User
from core import audit
from core.audit import Actor, ActorKind
from core.db import retry_on_conflict
from core.ids import HOUSE
from wallets.bank import BankDetails, number_hash
from wallets.models import BankAccount

logger = structlog.get_logger(__name__)

#: A bank account that more clients than these share is found by its first ones, and is an alert's business.
FOUND_MAX = 50


@retry_on_conflict
@transaction.atomic(durable=True)
def find_by_bank_account(*, accounts: Sequence[BankDetails], actor: Actor) -> list[BankAccount]:
    """
    Whoever has one of these bank accounts on file, oldest first, at most FOUND_MAX.

    Each client found has it in their own audit trail; a search that finds nobody is in that of whoever searched. The
    number itself is in neither.
    """
    assert actor.kind == ActorKind.STAFF, "clients know their own"
    hashes = [number_hash(account) for account in accounts]
    rows = BankAccount.objects.select_related("owner").filter(number_hash__in=hashes).order_by("id")
    found = list(rows[:FOUND_MAX])
    after = {"last_four": accounts[0].number[-4:], "found": len(found)}
    for row in found:
        audit.record("clients.search.by_bank_account", actor=actor, owner=row.owner_id, subject=row, after=after)
    if not found:
        searcher = User(pk=actor.id)
        audit.record("clients.search.by_bank_account", actor=actor, owner=HOUSE, subject=searcher, after=after)
    transaction.on_commit(partial(logger.info, "config.search.by_bank_account", found=len(found)), robust=True)
    return found
