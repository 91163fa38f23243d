"""Take back what is left of sign-up bonuses whose time is over."""

from __future__ import annotations

from argparse import ArgumentParser
from collections import Counter, defaultdict
from decimal import Decimal
from typing import Any

from django.utils import timezone

from core.commands import DeskCommand, JobFailed
from core.errors import Contended, OutcomeUnknown
from core.money import show
from referrals import selectors
from referrals.services import bonuses


class Command(DeskCommand):
    help = (
        "Take back what is left of sign-up bonuses whose time is over, each once. Run it daily, or with --watch; any"
        " number may run at once. Exit status 1 if one could not be taken back; the next run tries again."
    )
    has_dry_run = True
    watch_seconds = 60.0

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--batch", type=int, default=500, help="At most so many in one run (default 500).")

    def run(self, *, batch: int, dry_run: bool, **_: Any) -> dict[str, Any]:
        now = timezone.now()
        due = list(selectors.bonuses_due(now).select_related("account__wallet")[:batch])
        counts = Counter({"due": len(due), "expired": 0, "unfinished": 0})
        removed: dict[str, Decimal] = defaultdict(Decimal)
        with self.progress(total=len(due), unit="bonuses") as bar:
            for bonus in due:
                if dry_run:
                    removed[bonus.currency] += selectors.remaining(bonus)
                else:
                    try:
                        expired = bonuses.expire_bonus(bonus_id=bonus.id, until=now)
                    except (Contended, OutcomeUnknown):  # somebody is at this account; its turn comes again
                        counts["unfinished"] += 1
                    else:
                        if expired is not None:  # else another run was faster
                            counts["expired"] += 1
                            removed[expired.currency] += expired.removed
                bar.update()
                if self.stopping.is_set():
                    break
        told = {**counts, "removed": {currency: show(amount, currency) for currency, amount in removed.items()}}
        if counts["unfinished"] and not self.is_watching:
            raise JobFailed("not every bonus that was due could be taken back", told)
        return told
