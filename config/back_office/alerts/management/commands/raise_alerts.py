"""Look at what is new in the ledger and among people, and raise what compliance should see."""

from __future__ import annotations

from argparse import ArgumentParser
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from config.back_office.alerts import streams
from config.back_office.alerts.models import AlertRule
from config.back_office.alerts.services import raising
from config.back_office.alerts.services.raising import Looked
from config.back_office.alerts.streams import Stream
from core.commands import DeskCommand
from core.errors import OutcomeUnknown


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


class Command(DeskCommand):
    help = (
        "Raise an alert, once, for whatever the rules find in deposits, withdrawals, transfers, bank accounts and"
        " log-ins that are new. Run it by cron or with --watch; any number may run at once."
    )
    has_dry_run = True
    watch_seconds = 30.0

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--since",
            type=_moment,
            help="Look again at everything from this moment on (ISO 8601), as after a new version of a rule.",
        )
        parser.add_argument(
            "--batch", type=int, default=raising.BATCH, help=f"Rows per transaction (default {raising.BATCH})."
        )

    def run(self, *, since: datetime | None, batch: int, dry_run: bool, **_: Any) -> dict[str, Any]:
        counts: Counter[str] = Counter({"rows": 0, "raised": 0})
        counts.update({code.lower(): 0 for code in AlertRule.Code.values})
        look = raising.preview_batch if dry_run else raising.raise_batch
        start = None if since is None else streams.ids_from(since)
        with self.progress(total=None, unit="rows") as bar:
            for stream in Stream.values:
                for looked in self.batches(look, stream, start, batch):
                    counts["rows"] += looked.rows
                    counts["raised"] += looked.raised.total()
                    counts.update({code.lower(): count for code, count in looked.raised.items()})
                    bar.update(looked.rows)
        return dict(counts)

    def batches(self, look: Callable[..., Looked], stream: str, start: UUID | None, limit: int) -> Iterator[Looked]:
        """Batches of one stream until nothing is left, or until told to stop."""
        after = start
        while not self.stopping.is_set():
            try:
                looked = look(stream=stream, after=after, limit=limit)
            except OutcomeUnknown:  # look again: what was raised is not raised twice
                continue
            yield looked
            if looked.last is None:
                return
            after = looked.last
