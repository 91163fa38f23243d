"""A house wallet is only ever added to; folding keeps its tail short without making anyone wait for it."""

from __future__ import annotations

from functools import partial

import structlog
from django.db import transaction

from core.db import retry_on_conflict
from wallets import ledger

logger = structlog.get_logger(__name__)

#: Small enough that a batch holds the house's rows for a moment only, large enough that a day's legs take seconds.
FOLD_BATCH = 5_000


@retry_on_conflict
@transaction.atomic(durable=True)
def fold_house(*, batch: int = FOLD_BATCH) -> int:
    """
    Fold at most `batch` legs of the house into their wallets' snapshots; 0 means that nothing was left to claim.

    Several may run at once. If the outcome of a commit is unknown, run it again: what was folded is no longer there.
    """
    folded = ledger.fold_house_legs(batch)
    if folded:
        transaction.on_commit(partial(logger.info, "wallets.house.folded", legs=folded), robust=True)
    return folded
