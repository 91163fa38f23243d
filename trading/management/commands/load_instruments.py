"""Make the instruments of the market data, or bring their terms up to date."""

from __future__ import annotations

from typing import Any

from core.commands import DeskCommand
from trading.services import instruments


class Command(DeskCommand):
    help = "Create or update the instruments in trading/data (symbols.csv, terms.csv). Open positions keep their terms."

    def run(self, **options: Any) -> dict[str, int]:
        return instruments.load_instruments()
