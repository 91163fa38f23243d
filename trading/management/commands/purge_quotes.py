"""Delete old prices, their batches and old alerts; the latest price of each instrument stays."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from datetime import timedelta
from typing import Any

from django.utils import timezone

from core.commands import DeskCommand
from core.ids import uuid7_at
from trading.models import QuoteTick
from trading.services import quotes

DAYS_DEFAULT = 30


def days(text: str) -> int:
    """At least one whole day: what today was traded on is asked for today."""
    value = int(text)
    if not 1 <= value <= 36_500:
        raise ArgumentTypeError("use a whole number of days, 1 or more")
    return value


class Command(DeskCommand):
    help = "Delete prices, batches and alerts older than some days, in batches; any number of these may run at once."
    has_dry_run = True

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--older-than", type=days, default=DAYS_DEFAULT, metavar="DAYS", help=f"Default {DAYS_DEFAULT}."
        )
        parser.add_argument("--batch", type=int, default=5_000, help="Rows per transaction.")

    def run(self, *, older_than: int, batch: int, dry_run: bool, **_: Any) -> dict[str, Any]:
        before = timezone.now() - timedelta(days=older_than)
        old = QuoteTick.objects.filter(id__lt=uuid7_at(before, 0)).count()
        counts = {"old": old, "ticks": 0, "batches": 0, "alerts": 0}
        if dry_run:
            return counts
        with self.progress(total=old, unit="prices") as bar:
            while any((gone := quotes.purge_quotes(before=before, limit=batch)).values()):
                for name, number in gone.items():
                    counts[name] += number
                bar.update(gone["ticks"])
        return counts
