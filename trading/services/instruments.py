"""Every symbol of the market data becomes an instrument, with the server's contract, our terms and its hours."""

from __future__ import annotations

import csv
from datetime import date, time
from decimal import Decimal
from enum import StrEnum
from typing import Any

from django.db import transaction
from django.utils import timezone

from accounts import jurisdictions
from core.db import retry_on_conflict
from trading.models import Holiday, Instrument, LeverageCap, TradingSession
from trading.replay import DATA
from trading.sessions import WEEKDAYS


class Hours(StrEnum):
    """Which hours the instruments get."""

    ALWAYS = "always"  # a replay walks years of history by its own clock: its prices come on Sundays too
    MARKET = "market"  # the real ones: sessions.csv and holidays.csv


@retry_on_conflict
@transaction.atomic(durable=True)
def load_instruments(*, hours: Hours = Hours.ALWAYS) -> dict[str, int]:
    """
    Create or update every instrument of the data files, with those hours and no others, and count what was done.

    The leverage caps of jurisdictions come with them, and count for orders from then on. A jurisdiction that is no
    longer in the file keeps its caps: there may be accounts under it.

    By default nothing ever closes, since the prices in the data files are replayed around the clock.

    :raises ValueError: if the caps of a jurisdiction have a gap; nothing is changed then
    """
    counts = {"created": 0, "updated": 0, "sessions": 0, "holidays": 0, "caps": _load_caps()}
    terms = {row["symbol"]: row for row in _rows("terms.csv")}
    for row in _rows("symbols.csv"):
        fields = _fields(row, terms[row["symbol"]])
        if hours is Hours.ALWAYS:
            fields["calendar"] = ""
        instrument, created = Instrument.objects.update_or_create(symbol=row["symbol"], defaults=fields)
        counts["created" if created else "updated"] += 1
        counts["sessions"] += _load_sessions(instrument)
    if hours is Hours.MARKET:
        counts["holidays"] = _load_holidays()
    return counts


def _load_caps() -> int:
    """Every regulator has a cap for every group of instruments: a gap would let its clients trade without one."""
    caps = [
        LeverageCap(
            jurisdiction=row["jurisdiction"],
            leverage_class=row["leverage_class"],
            leverage_max=int(row["leverage_max"]),
        )
        for row in _rows("leverage_caps.csv")
    ]
    listed = {(cap.jurisdiction, cap.leverage_class) for cap in caps}
    wanted = {(name, group) for name in jurisdictions.regulated() for group in Instrument.LeverageClass.values}
    if listed != wanted:
        raise ValueError(f"leverage_caps.csv lacks, or has and nobody knows: {sorted(listed ^ wanted)}")
    LeverageCap.objects.bulk_create(
        caps,
        update_conflicts=True,
        unique_fields=["jurisdiction", "leverage_class"],
        update_fields=["leverage_max"],
    )
    return len(caps)


def _load_sessions(instrument: Instrument) -> int:
    """Give the instrument the sessions of its calendar; none if it has none."""
    instrument.sessions.all().delete()
    rows = [
        TradingSession(
            instrument=instrument,
            weekday=WEEKDAYS.index(row["weekday"]),
            opens=time.fromisoformat(row["opens"]),
            closes=time.fromisoformat(row["closes"]),
        )
        for row in _rows("sessions.csv")
        if row["calendar"] == instrument.calendar
    ]
    return len(TradingSession.objects.bulk_create(rows))


def _load_holidays() -> int:
    rows = _rows("holidays.csv")
    for row in rows:
        Holiday.objects.update_or_create(
            calendar=row["calendar"],
            day=date.fromisoformat(row["day"]),
            defaults={
                "closes": time.fromisoformat(row["closes"]) if row["closes"] else None,
                "reopens": time.fromisoformat(row["reopens"]) if row["reopens"] else None,
                "name": row["name"],
            },
        )
    return len(rows)


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
        "leverage_class": Instrument.LeverageClass(terms["leverage_class"]),
        "leverage_max": int(terms["leverage_max"]) if terms["leverage_max"] else None,
        "commission_per_lot": Decimal(terms["commission_per_lot"]),
        "replay_spread_points": int(terms["replay_spread_points"]),
        "calendar": terms["calendar"],
        "swap_mode": terms["swap_mode"],
        "swap_long": Decimal(terms["swap_long"]),
        "swap_short": Decimal(terms["swap_short"]),
        "swap_triple_weekday": WEEKDAYS.index(terms["swap_triple_weekday"]) if terms["swap_triple_weekday"] else None,
        "updated_at": timezone.now(),
    }
