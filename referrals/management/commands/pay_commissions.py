"""Approve what has been held for long enough, and pay what is approved."""

from __future__ import annotations

from argparse import ArgumentParser
from collections import Counter, defaultdict
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings
from django.db import DataError, IntegrityError
from django.utils import timezone

from core.commands import DeskCommand, JobFailed
from core.errors import Contended, OutcomeUnknown
from core.money import show
from referrals import selectors
from referrals.services import approvals, payouts
from referrals.services.payouts import Paid

logger = structlog.get_logger(__name__)

COUNTED = ("approved", "referrers", "payouts", "commissions", "no_wallet", "not_active", "unfinished")


class Command(DeskCommand):
    help = (
        "Approve commissions whose hold is over, and pay every referrer what is approved: one posting per referrer and"
        " currency. Any number may run at once. Exit status 1 if somebody could not be paid; the next run tries again."
    )
    has_dry_run = True
    watch_seconds = 60.0

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--hold-days",
            type=int,
            default=settings.REFERRAL_HOLD_DAYS,
            help="How long a commission is held (default: the setting REFERRAL_HOLD_DAYS).",
        )
        parser.add_argument(
            "--batch", type=int, default=approvals.BATCH, help=f"Approvals per transaction (default {approvals.BATCH})."
        )

    def run(self, *, hold_days: int, batch: int, dry_run: bool, **_: Any) -> dict[str, Any]:
        self.counts: Counter[str] = Counter(dict.fromkeys(COUNTED, 0))
        self.amounts: dict[str, Decimal] = defaultdict(Decimal)
        self.withheld: dict[str, Decimal] = defaultdict(Decimal)
        created_before = timezone.now() - timedelta(days=hold_days)
        if dry_run:
            return self.preview(selectors.commissions_on_hold(created_before).count())
        while approved := approvals.approve_due(created_before=created_before, limit=batch):
            self.counts["approved"] += approved
        referrers = list(selectors.referrers_to_pay())
        with self.progress(total=len(referrers), unit="referrers") as bar:
            for referrer in referrers:
                if not self.pay(referrer):
                    self.counts["unfinished"] += 1
                bar.update()
                if self.stopping.is_set():
                    break
        counts = {**self.counts, "amounts": shown(self.amounts), "withheld": shown(self.withheld)}
        if self.counts["unfinished"] and not self.is_watching:
            raise JobFailed("not everybody could be paid", counts)
        return counts

    def pay(self, referrer: UUID) -> bool:
        """Pay all that a referrer is due, in as many transactions as it takes; False if somebody is in the way."""
        is_done = False
        while not is_done:
            try:
                paid = payouts.pay_referrer(referrer=referrer)
            except (Contended, OutcomeUnknown):
                return False
            except (DataError, IntegrityError):
                # The database will not have it, so this is a bug, and everybody else is to be paid all the same.
                logger.exception("referrals.payout.refused", referrer_id=str(referrer))
                return False
            if paid.is_busy:  # another sweep is paying them right now
                return True
            self.tally(paid)
            is_done = paid.is_done
        self.counts["referrers"] += 1
        return True

    def tally(self, paid: Paid) -> None:
        self.counts["payouts"] += paid.payouts
        self.counts["commissions"] += paid.commissions
        if paid.is_done:
            self.counts.update(paid.left)
        for currency, amount in paid.amounts.items():
            self.amounts[currency] += amount
        for currency, amount in paid.withheld.items():
            self.withheld[currency] += amount

    def preview(self, on_hold: int) -> dict[str, Any]:
        """What is due, without approving or paying any of it."""
        for referrer in selectors.referrers_to_pay():
            self.counts["referrers"] += 1
            for currency, amount in selectors.commissions_to_pay(referrer).values_list("currency", "amount"):
                self.counts["commissions"] += 1
                self.amounts[currency] += amount
        self.counts["approved"] = on_hold
        return {**self.counts, "amounts": shown(self.amounts)}


def shown(amounts: dict[str, Decimal]) -> dict[str, str]:
    """Amounts by currency, each with its currency's decimals."""
    return {currency: show(amount, currency) for currency, amount in sorted(amounts.items())}
