"""End the pending deposits whose payment has not come in time."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.utils import timezone

from core.commands import DeskCommand
from wallets import selectors
from wallets.services import deposits


class Command(DeskCommand):
    help = "Expire pending deposits whose time has run out, in batches; any number of these may run at once."
    has_dry_run = True
    watch_seconds = 60.0

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--batch", type=int, default=500, help="Deposits per transaction.")

    def run(self, *, batch: int, dry_run: bool, **_: Any) -> dict[str, Any]:
        now = timezone.now()
        overdue = selectors.overdue_deposits(now).count()
        if dry_run:
            return {"overdue": overdue, "expired": 0}
        expired = 0
        with self.progress(total=overdue, unit="deposits") as bar:
            while ended := deposits.expire_deposits(now=now, limit=batch):
                expired += ended
                bar.update(ended)
        return {"overdue": overdue, "expired": expired}
