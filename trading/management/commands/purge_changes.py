"""Delete the numbered changes that no client can still be waiting for."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.utils import timezone

from core.commands import DeskCommand
from core.ids import uuid7_at
from trading.management.commands.purge_quotes import days
from trading.models import AccountChange
from trading.services import change_log

DAYS_DEFAULT = 30


class Command(DeskCommand):
    help = "Delete account changes older than some days, in batches; any number of these may run at once."
    has_dry_run = True

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--older-than", type=days, default=DAYS_DEFAULT, metavar="DAYS", help=f"Default {DAYS_DEFAULT}."
        )
        parser.add_argument("--batch", type=int, default=5_000, help="Rows per transaction.")

    def run(self, *, older_than: int, batch: int, dry_run: bool, **_: Any) -> dict[str, Any]:
        before = timezone.now() - timedelta(days=older_than)
        old = AccountChange.objects.filter(id__lt=uuid7_at(before, 0)).count()
        counts = {"old": old, "purged": 0}
        if dry_run:
            return counts
        with self.progress(total=old, unit="changes") as bar:
            while gone := change_log.purge_changes(before=before, limit=batch):
                counts["purged"] += gone
                bar.update(gone)
        return counts
