"""Delete the throttle's buckets that nobody has touched for so long that they count nothing any more."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.utils import timezone

from core import throttling
from core.commands import DeskCommand
from core.models import ThrottleWindow

#: Longer than any period a rate can have, so that what is deleted is as good as absent.
QUIET = timedelta(hours=1)


class Command(DeskCommand):
    help = "Delete throttle buckets that count nothing any more."
    has_dry_run = True

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--batch", type=int, default=1_000, help="Buckets per transaction.")

    def run(self, *, batch: int, dry_run: bool, **_: Any) -> dict[str, Any]:
        before = timezone.now() - QUIET
        quiet = ThrottleWindow.objects.filter(tokens_at__lt=before).count()
        if dry_run:
            return {"quiet": quiet, "deleted": 0}
        deleted = 0
        with self.progress(total=quiet, unit="buckets") as bar:
            while gone := throttling.purge_windows(before=before, limit=batch):
                deleted += gone
                bar.update(gone)
        return {"quiet": quiet, "deleted": deleted}
