"""What waits in each queue, oldest first: every list ends, and none is counted further than anybody would read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet

from accounts.models import Freeze, ReferrerChange, Verification
from referrals.models import Commission
from wallets import payments
from wallets.models import Adjustment, Deposit, Withdrawal

ROWS = 50
COUNTED_MAX = 1_000


@dataclass(frozen=True, slots=True)
class Slice:
    """The rows of one page, and the id that the next page goes on after; empty if there is none."""

    rows: list[Any]
    after: str


def withdrawals(status: str = "") -> QuerySet[Withdrawal]:
    """Withdrawals that are neither paid nor ended, all or in one state."""
    rows = Withdrawal.objects.select_related("owner", "wallet", "bank_account", "approved_by")
    wanted = [status] if status in Withdrawal.HOLDING else Withdrawal.HOLDING
    return rows.filter(status__in=wanted)


def deposits() -> QuerySet[Deposit]:
    """Deposits that staff look for on the bank statement."""
    rows = Deposit.objects.select_related("owner", "wallet")
    return rows.filter(status=Deposit.Status.PENDING, provider=payments.Manual.name)


def verifications() -> QuerySet[Verification]:
    """Submissions nobody has decided about."""
    waiting = (Verification.Status.SUBMITTED, Verification.Status.IN_REVIEW)
    return Verification.objects.select_related("owner", "reviewed_by").filter(status__in=waiting)


def adjustments() -> QuerySet[Adjustment]:
    """Adjustments that wait for a second person."""
    rows = Adjustment.objects.select_related("owner", "wallet", "proposed_by")
    return rows.filter(status=Adjustment.Status.PROPOSED)


def commissions() -> QuerySet[Commission]:
    """Commissions whose hold is not over."""
    return Commission.objects.select_related("owner", "client", "plan").filter(status=Commission.Status.PENDING)


def referrer_changes() -> QuerySet[ReferrerChange]:
    """Changes of who referred a client that wait for a second person."""
    return ReferrerChange.objects.filter(status=ReferrerChange.Status.PROPOSED)


def freezes() -> QuerySet[Freeze]:
    """Freezes in force."""
    return Freeze.objects.select_related("owner").filter(lifted_at__isnull=True)


def oldest_first(rows: QuerySet[Any], *, by: str, after: str = "") -> Slice:
    """One page of a queue; `after` is the id of the last row of the page before, and what is no id is the beginning."""
    place = rows.model.objects.filter(pk=after).values_list(by, "pk").first() if _is_id(after) else None
    if place is not None:
        moment, last = place
        rows = rows.filter(**{f"{by}__gte": moment}).filter(Q(**{f"{by}__gt": moment}) | Q(pk__gt=last))
    # Found by themselves first: with its joins, a sorted query reads whole tables before it comes to its limit.
    ids = list(rows.select_related(None).order_by(by, "pk").values_list("pk", flat=True)[: ROWS + 1])
    return Slice(list(rows.filter(pk__in=ids[:ROWS]).order_by(by, "pk")), str(ids[ROWS - 1]) if len(ids) > ROWS else "")


def _is_id(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Depth:
    """How many wait in a queue, counted up to COUNTED_MAX, and since when the first of them does."""

    count: int
    since: datetime | None

    @property
    def spelled(self) -> str:
        return f"{self.count:,}" if self.count < COUNTED_MAX else f"{COUNTED_MAX:,} or more"


def depth(rows: Callable[[], QuerySet[Any]], *, by: str) -> Depth:
    waiting = rows().select_related(None)
    count = len(waiting.order_by().values_list("pk")[:COUNTED_MAX])
    return Depth(count, waiting.order_by(by, "pk").values_list(by, flat=True).first() if count else None)
