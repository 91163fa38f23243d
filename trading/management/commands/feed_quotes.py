"""Replay the real bars as live quotes, and go on where the last run stopped."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.db.models import Max
from django.utils import timezone

from core.commands import DeskCommand
from trading import replay
from trading.models import Instrument, Quote
from trading.services import quotes
from trading.services.quotes import NewQuote

SOURCE = "replay"


class Command(DeskCommand):
    help = (
        "Replay the bars in trading/data as quotes, marked `replay`: real daily prices, walked from open over low and"
        " high to close, with the instrument's spread around them. Without --watch: one batch, or --ticks of them."
    )
    watch_seconds = 1.0

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--ticks", type=int, default=1, help="Batches per round (default 1).")
        parser.add_argument("--restart", action="store_true", help="Begin with the first bar.")

    def run(self, **options: Any) -> dict[str, int]:
        if not hasattr(self, "batches"):
            self.instruments = Instrument.objects.in_bulk()
            self.batches = endless_ticks(None if options["restart"] else replayed_until())
        counts = {"batches": 0, "quotes": 0}
        with self.progress(total=options["ticks"], unit="batches") as bar:
            for _ in range(options["ticks"]):
                counts["quotes"] += self.publish(next(self.batches))
                counts["batches"] += 1
                bar.update()
        return counts

    def publish(self, points: list[replay.Point]) -> int:
        """Quote one batch; symbols that are not among the instruments are left out."""
        batch = []
        for point in points:
            instrument = self.instruments.get(point.symbol)
            if instrument is not None:
                bid, ask = replay.spread_around(
                    point.mid, points=instrument.replay_spread_points, digits=instrument.digits
                )
                batch.append(NewQuote(point.symbol, bid, ask, point.moment))
        return quotes.record_quotes(quotes=batch, source=SOURCE, now=timezone.now(), rewinds=True)


def replayed_until() -> datetime | None:
    """The market time the last replay reached, or None if there was none."""
    reached: datetime | None = Quote.objects.filter(source=SOURCE).aggregate(reached=Max("quoted_at"))["reached"]
    return reached


def endless_ticks(after: datetime | None) -> Iterator[list[replay.Point]]:
    """The replay from behind a moment on, over and over."""
    bars = replay.load_bars()
    yield from replay.ticks(bars, after=after)
    while True:
        yield from replay.ticks(bars)
