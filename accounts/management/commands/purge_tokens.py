"""Delete the tokens that ended long ago."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from accounts.services import sessions
from core.commands import DeskCommand


class Command(DeskCommand):
    help = "Delete tokens that ended long ago; what they were used for stays in the audit trail."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--days", type=int, default=90, help="How long after their end they are kept.")
        parser.add_argument("--batch", type=int, default=1_000, help="Tokens per transaction.")

    def run(self, *, days: int, batch: int, **_: Any) -> dict[str, Any]:
        deleted = 0
        with self.progress(total=None, unit="tokens") as bar:
            while gone := sessions.purge_tokens(ended_for=timedelta(days=days), limit=batch):
                deleted += gone
                bar.update(gone)
        return {"deleted": deleted}
