"""What changed is told for as long as somebody may still ask; how far an account has come is never forgotten."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from core.db import retry_on_conflict
from core.ids import uuid7_at
from trading.models import AccountChange


@retry_on_conflict
@transaction.atomic(durable=True)
def purge_changes(*, before: datetime, limit: int) -> int:
    """
    Delete up to `limit` changes older than a moment, oldest first, and say how many it were.

    The rows that changed stay, and so does the account's number: whoever still follows from before is told to read the
    account anew. Changes that another purger holds are left to it, and trading never waits: it only adds.
    """
    old = AccountChange.objects.filter(id__lt=uuid7_at(before, 0))
    chosen = old.select_for_update(skip_locked=True, no_key=False).order_by("id").values_list("id", flat=True)
    gone: int = AccountChange.objects.filter(id__in=list(chosen[:limit])).delete()[0]
    return gone
