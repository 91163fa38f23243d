"""Check what only referrals know of the books, on one snapshot, and fail on any break."""

from __future__ import annotations

from typing import Any

from django.db import transaction

from core import snapshot
from core.commands import DeskCommand, JobFailed
from referrals import verification


class Command(DeskCommand):
    help = "Check rewards against the deals they are for, each other and the ledger. Exit status 1 on any break."

    def run(self, **options: Any) -> dict[str, Any]:
        with transaction.atomic(durable=True), self.progress(total=len(verification.NAMES), unit="checks") as bar:
            snapshot.take()
            report = verification.verify_commissions(on_check=bar.update)
        breaks = [{"check": found.check, "facts": list(found.facts)} for found in report.breaks]
        counts: dict[str, Any] = {"deals": report.deals, "checks": report.counts, "breaks": breaks}
        if not report.is_clean:
            raise JobFailed(f"{sum(report.counts.values())} breaks", counts)
        return counts
