"""Every symbol of the market data becomes an instrument, with the server's contract and our terms."""

from __future__ import annotations

import csv
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.utils import timezone

from core.db import retry_on_conflict
from trading.models import Instrument
from trading.replay import DATA


@retry_on_conflict
@transaction.atomic(durable=True)
def load_instruments() -> dict[str, int]:
    """Create or update every instrument of the data files, and count both."""
    counts = {"created": 0, "updated": 0}
    terms = {row["symbol"]: row for row in _rows("terms.csv")}
    for row in _rows("symbols.csv"):
        _, created = Instrument.objects.update_or_create(
            symbol=row["symbol"], defaults=_fields(row, terms[row["symbol"]])
        )
        counts["created" if created else "updated"] += 1
    return counts


def _rows(name: str) -> list[dict[str, str]]:
    with (DATA / name).open(newline="") as file:
        return list(csv.DictReader(file))


def _fields(row: dict[str, str], terms: dict[str, str]) -> dict[str, Any]:
    is_forex = row["asset_class"] == "FOREX"
    digits = int(row["digits"])
    return {
        "name": terms["name"],
        "asset_class": row["asset_class"],
        "base": row["margin_currency"],
        "quote": row["profit_currency"],
        # A crypto pair is a CFD here: its margin is a share of its value, in the currency of its price.
        "margin_currency": row["margin_currency"] if is_forex else row["profit_currency"],
        "calculation": Instrument.Mode.FOREX if is_forex else Instrument.Mode.CFD_LEVERAGE,
        "digits": digits,
        "tick_size": Decimal(1).scaleb(-digits),
        "pip_size": Decimal(terms["pip_size"]),
        "contract_size": Decimal(row["contract_size"]),
        "volume_min": Decimal(row["volume_min"]),
        "volume_max": Decimal(row["volume_max"]),
        "volume_step": Decimal(row["volume_step"]),
        "leverage_max": int(terms["leverage_max"]),
        "commission_per_lot": Decimal(terms["commission_per_lot"]),
        "replay_spread_points": int(terms["replay_spread_points"]),
        "updated_at": timezone.now(),
    }
