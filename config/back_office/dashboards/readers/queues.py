"""What waits for somebody, and how long it has."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from accounts.models import ReferrerChange, Verification
from config.back_office import figures
from config.back_office.figures import Reading, waiting
from referrals.models import Commission
from wallets.models import Deposit, Withdrawal

_SUBMITTED = (Verification.Status.SUBMITTED, Verification.Status.IN_REVIEW)


@figures.now("queues")
def queues(_start: datetime, end: datetime) -> Iterator[Reading]:
    to_decide = (Withdrawal.Status.REQUESTED, Withdrawal.Status.IN_REVIEW)
    yield from waiting(
        "Withdrawals to decide", Withdrawal.objects.filter(status__in=to_decide), since="created_at", at=end
    )
    to_pay = (Withdrawal.Status.APPROVED, Withdrawal.Status.SENT)
    yield from waiting(
        "Withdrawals on their way", Withdrawal.objects.filter(status__in=to_pay), since="approved_at", at=end
    )
    coming = (Deposit.Status.CREATED, Deposit.Status.PENDING)
    yield from waiting("Deposits", Deposit.objects.filter(status__in=coming), since="created_at", at=end)
    yield from waiting(
        "Verifications", Verification.objects.filter(status__in=_SUBMITTED), since="submitted_at", at=end
    )
    proposed = ReferrerChange.objects.filter(status=ReferrerChange.Status.PROPOSED)
    yield from waiting("Referrer changes", proposed, since="proposed_at", at=end)
    pending = Commission.objects.filter(status=Commission.Status.PENDING)
    yield from waiting("Commissions on hold", pending, since="created_at", at=end)
