"""Replay the real bars as live quotes, and go on where the last run stopped."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from datetime import UTC, date, datetime
from typing import Any

from django.db.models import Max
from django.utils import timezone

from core.commands import DeskCommand, JobFailed
from trading.feeds import Feed, ReplayFeed
from trading.models import Instrument, Quote
from trading.services import quotes

SOURCE = "replay"


def factor(text: str) -> float:
    """A speed: more than 0, at most 1,000."""
    value = float(text)
    if not 0 < value <= 1_000:
        raise ArgumentTypeError("use a number above 0 and up to 1000")
    return value


def day(text: str) -> datetime:
    """Midnight UTC of a day like 2021-06-30."""
    return datetime.combine(date.fromisoformat(text), datetime.min.time(), UTC)


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
        parser.add_argument(
            "--speed", type=factor, default=1.0, help="Rounds of --watch come so many times as often (default 1)."
        )
        parser.add_argument("--no-loop", action="store_true", help="End behind the last bar instead of starting over.")
        parser.add_argument(
            "--gaps", type=int, metavar="SEED", help="Leave out ticks and widen spreads: the same ones for one SEED."
        )
        parser.add_argument("--symbols", help="Only these, with commas between them (default: all).")
        parser.add_argument("--start", type=day, help="The first day to play, such as 2021-06-01.")
        parser.add_argument("--end", type=day, help="The day to stop before.")

    def handle(self, *args: Any, **options: Any) -> None:
        options["interval"] = (options.get("interval") or 0) / options["speed"]
        super().handle(*args, **options)

    def run(self, *, ticks: int, **options: Any) -> dict[str, int]:
        if not hasattr(self, "batches"):
            self.feed = feed_for(options)
            self.batches = self.feed.batches()
        counts = {"batches": 0, "quotes": 0, "refused": 0}
        with self.progress(total=ticks, unit="batches") as bar:
            for _ in range(ticks):
                batch = next(self.batches, None)
                if batch is None:
                    self.stopping.set()
                    break
                recorded = quotes.record_quotes(
                    quotes=batch, source=self.feed.source, now=timezone.now(), rewinds=self.feed.rewinds
                )
                counts["batches"] += 1
                counts["quotes"] += recorded.accepted
                counts["refused"] += len(recorded.refused)
                bar.update()
        return counts


def feed_for(options: dict[str, Any]) -> Feed:
    """
    The replay that the command's options ask for.

    :raises JobFailed: if a symbol is not among the instruments
    """
    instruments = Instrument.objects.in_bulk()
    if options["symbols"] is not None:
        wanted = [symbol.strip() for symbol in options["symbols"].split(",")]
        if unknown := sorted(set(wanted) - set(instruments)):
            raise JobFailed(f"There is no instrument {', '.join(unknown)}.")
        instruments = {symbol: instruments[symbol] for symbol in wanted}
    return ReplayFeed(
        instruments=instruments,
        after=None if options["restart"] else replayed_until(instruments),
        start=options["start"],
        end=options["end"],
        loop=not options["no_loop"],
        gaps=options["gaps"],
        source=SOURCE,
    )


def replayed_until(symbols: Any) -> datetime | None:
    """The market time the last replay of these symbols reached, or None if there was none."""
    known = Quote.objects.filter(source=SOURCE, instrument_id__in=list(symbols))
    reached: datetime | None = known.aggregate(reached=Max("quoted_at"))["reached"]
    return reached
