"""Compute what the dashboards show, so that looking at them costs next to nothing."""

from __future__ import annotations

from argparse import ArgumentParser
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import structlog
from django.db import Error as DatabaseFault
from django.utils import timezone

from config.back_office.dashboards.models import FigureSet
from config.back_office.dashboards.services import figures
from config.back_office.figures import READERS, NothingToRead, Reader, Tells
from core import db, snapshot
from core.commands import DeskCommand, JobFailed
from core.errors import DomainError
from trading.management.commands.purge_quotes import days

logger = structlog.get_logger(__name__)

#: How far back days are made good that nobody has computed, or not after their end.
DAYS_KEPT_UP = 31
DAYS_KEPT = 400
#: A day is read for the last time when nothing of it can still be under way: longer than any request may take.
SETTLED_AFTER = timedelta(minutes=10)
PURGE_BATCH = 200


class Command(DeskCommand):
    help = (
        "Compute the figures of the dashboards: what is so now, today so far, and each day of the last month that is"
        " not final yet. A day that is over is computed once, and again only with --days. Run it by cron or with"
        " --watch; any number may run at once. Exit status 1 if a source could not be read."
    )
    watch_seconds = 60.0
    is_recomputed = False  # whether the days asked for have been

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--days",
            type=days,
            metavar="N",
            help="Compute the last N days again, today included; the first round only.",
        )
        parser.add_argument(
            "--keep", type=days, default=DAYS_KEPT, metavar="DAYS", help=f"Delete older figures (default {DAYS_KEPT})."
        )

    def run(self, *, days: int | None, keep: int, **_: Any) -> dict[str, Any]:
        self.counts: Counter[str] = Counter(dict.fromkeys(("sets", "figures", "failed", "purged"), 0))
        again = 0 if days is None or self.is_recomputed else days
        work = list(self.due(timezone.now().astimezone(UTC).date(), again))
        with self.progress(total=len(work), unit="sets") as bar:
            for reader, day in work:
                self.compute(reader, day)
                bar.update()
                if self.stopping.is_set():
                    break
        self.is_recomputed = True
        today = timezone.now().astimezone(UTC).date()
        while gone := figures.purge_figures(before=today - timedelta(days=keep), limit=PURGE_BATCH):
            self.counts["purged"] += gone
        counts = dict(self.counts)
        if counts["failed"] and not self.is_watching:
            raise JobFailed("not every source could be read", counts)
        return counts

    def due(self, today: date, again: int) -> Iterator[tuple[Reader, date]]:
        """What to compute, newest first: whoever waits for the first figures wants today's."""
        for reader in READERS.values():
            yield reader, today
        since = today - timedelta(days=max(again - 1, DAYS_KEPT_UP))
        sets = FigureSet.objects.filter(day__gte=since, is_final=True)
        final = set(sets.values_list("source", "day"))
        for back in range(1, (today - since).days + 1):
            day = today - timedelta(days=back)
            for reader in READERS.values():
                if reader.tells is Tells.DAY and (back < again or (reader.source, day) not in final):
                    yield reader, day

    def compute(self, reader: Reader, day: date) -> None:
        """Read one source and store what it tells; what cannot be read keeps its old figures, and is told of."""
        start = datetime.combine(day, time(), tzinfo=UTC)
        as_of, over = timezone.now(), start + timedelta(days=1)
        note, readings = "", []
        try:
            with snapshot.of_one_moment():
                readings = list(reader.read(start, min(as_of, over)))
        except NothingToRead as nothing:
            note = str(nothing)
        except (DatabaseFault, DomainError) as error:
            if isinstance(error, DatabaseFault) and db.classify(error) is db.Fault.LINK_LOST:
                raise  # the others cannot be read either
            logger.exception("config.figures.unreadable", source=reader.source, day=str(day))
            self.counts["failed"] += 1
            return
        is_final = reader.tells is Tells.DAY and as_of >= over + SETTLED_AFTER
        figures.store_figures(
            source=reader.source, day=day, readings=readings, as_of=as_of, is_final=is_final, note=note
        )
        self.counts["sets"] += 1
        self.counts["figures"] += len(readings)
