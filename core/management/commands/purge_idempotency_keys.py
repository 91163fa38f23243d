"""Delete expired idempotency keys with the answers they hold; what they stood for stays recognised."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.utils import timezone

from core import idempotency
from core.commands import DeskCommand


class Command(DeskCommand):
    help = "Delete expired idempotency keys, in batches; any number of these may run at once."
    has_dry_run = True

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--batch", type=int, default=1_000, help="Keys per transaction.")

    def run(self, *, batch: int, dry_run: bool, **_: Any) -> dict[str, Any]:
        now = timezone.now()
        expired = idempotency.expired_keys(before=now).count()
        if dry_run:
            return {"expired": expired, "deleted": 0}
        deleted = 0
        with self.progress(total=expired, unit="keys") as bar:
            while gone := idempotency.purge_expired_keys(before=now, limit=batch):
                deleted += gone
                bar.update(gone)
        return {"expired": expired, "deleted": deleted}
