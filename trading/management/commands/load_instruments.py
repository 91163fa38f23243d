"""Make the instruments of the market data, or bring their terms up to date."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.conf import settings

from core.commands import DeskCommand
from trading.services import instruments
from trading.services.instruments import Hours


class Command(DeskCommand):
    help = (
        "Create or update the instruments in trading/data (symbols.csv, terms.csv). Open positions keep their terms."
        " Nothing closes unless --sessions=market gives the real hours (sessions.csv, holidays.csv): a replay has its"
        " own clock, and its prices come on Sundays too."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--sessions",
            choices=[hours.value for hours in Hours],
            default=settings.INSTRUMENT_SESSIONS,
            help="Whose hours the instruments keep (default: the setting INSTRUMENT_SESSIONS, which is `always`).",
        )

    def run(self, *, sessions: str, **_: Any) -> dict[str, int]:
        return instruments.load_instruments(hours=Hours(sessions))
