"""Decide what closed deals pay to those who referred their clients."""

from __future__ import annotations

from argparse import ArgumentParser
from collections import Counter, defaultdict
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from core.commands import DeskCommand
from core.errors import OutcomeUnknown
from core.money import show
from referrals import selectors
from referrals.services import accruals
from referrals.services.accruals import Accrued


class Command(DeskCommand):
    help = (
        "Decide what closing deals of live accounts pay to those who referred their clients, each deal once. Run it by"
        " cron or with --watch; any number may run at once."
    )
    has_dry_run = True
    watch_seconds = 1.0

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--batch", type=int, default=accruals.BATCH, help=f"Deals per transaction (default {accruals.BATCH})."
        )

    def run(self, *, batch: int, dry_run: bool, **_: Any) -> dict[str, Any]:
        self.counts: Counter[str] = Counter(dict.fromkeys(("deals", "commissions", "first_deposits"), 0))
        self.amounts: dict[str, Decimal] = defaultdict(Decimal)
        total = None if self.is_watching else selectors.accruals_waiting().count()
        with self.progress(total=total, unit="deals") as bar:
            for accrued in previews(batch) if dry_run else batches(batch):
                self.tally(accrued)
                bar.update(accrued.deals)
                if self.stopping.is_set():
                    break
        return {
            **self.counts,
            "amounts": {currency: show(amount, currency) for currency, amount in sorted(self.amounts.items())},
        }

    def tally(self, accrued: Accrued) -> None:
        self.counts["deals"] += accrued.deals
        self.counts["commissions"] += accrued.commissions
        self.counts["first_deposits"] += accrued.first_deposits
        self.counts.update({outcome.lower(): count for outcome, count in accrued.outcomes.items()})
        for currency, amount in accrued.amounts.items():
            self.amounts[currency] += amount


def batches(limit: int) -> Iterator[Accrued]:
    """Batches until nothing waits that another job has not in hand."""
    while True:
        try:
            accrued = accruals.accrue_batch(limit=limit)
        except OutcomeUnknown:  # either way the next batch is right: what was decided no longer waits
            continue
        if not accrued.deals:
            return
        yield accrued


def previews(limit: int) -> Iterator[Accrued]:
    last = None
    while True:
        accrued, last = accruals.preview_batch(limit=limit, after=last)
        yield accrued
        if last is None:
            return
