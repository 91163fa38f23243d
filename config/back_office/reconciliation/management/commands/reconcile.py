"""Hold the books against each other and against what providers and banks say, and write down what does not agree."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import CommandError
from django.utils import timezone

from config.back_office.reconciliation import books, statements
from config.back_office.reconciliation.services import runs
from core.commands import DeskCommand
from wallets import payments


class Command(DeskCommand):
    help = (
        "Compare the books with themselves, or with a statement, and keep each difference as a break that somebody has"
        " to explain. Exit status 0 whatever is found: a break is work, and the board shows it."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--statement",
            type=Path,
            metavar="FILE",
            help=f"CSV with the columns {', '.join(statements.COLUMNS)}; money that went out is negative.",
        )
        parser.add_argument("--provider", choices=sorted(payments.PROVIDERS), help="Whose statement it is.")

    def run(self, *, statement: Path | None = None, provider: str | None = None, **_: Any) -> dict[str, Any]:
        if (statement is None) != (provider is None):
            raise CommandError("--statement and --provider go together")
        now = timezone.now()
        if statement is None or provider is None:
            sent_for = timedelta(days=settings.WITHDRAWAL_CONFIRMED_WITHIN_DAYS)
            comparison = books.compare(now=now, sent_for=sent_for)
        else:
            read = statements.read(statement.read_bytes(), provider=provider, file_name=statement.name)
            comparison = statements.compare(read, now=now)
        run = runs.record_run(comparison=comparison, now=now)
        return {**run.compared, "found": run.found, "opened": run.opened, "reopened": run.reopened}
