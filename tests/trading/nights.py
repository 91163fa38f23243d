"""Positions with a past: opened and closed when the test says, so that nights lie behind them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from io import StringIO
from typing import Any
from uuid import UUID

from django.core.management import call_command
from django.db import transaction

from tests import database
from tests.cast import CastMember
from tests.trading.calls import place
from trading import verification
from trading.models import Instrument, Position, Swap
from wallets.verification import verify_ledger

#: A Monday to Friday without a change of the clock; New York's days end at 22:00 UTC.
MONDAY, TUESDAY, WEDNESDAY, THURSDAY, FRIDAY = (f"2026-01-{day:02}" for day in range(12, 17))


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def noon(day: str) -> datetime:
    return utc(f"{day}T12:00:00")


def hold(who: CastMember, *, since: datetime, **order: Any) -> UUID:
    """Open a position through the API and date it back, as if the rollovers since then were still to come."""
    response = place(who, **order)
    assert response.status_code == 201, response.json()
    position = UUID(response.json()["position"]["id"])
    Position.objects.filter(pk=position).update(opened_at=since, rollover_due_at=None)
    return position


def date_back_the_close(position: UUID, moment: datetime) -> None:
    """As if its last close had happened then; deals are append-only for everybody but this test."""
    Position.objects.filter(pk=position, status="CLOSED").update(closed_at=moment)
    with database.unguarded() as cursor:
        cursor.execute(
            "UPDATE trading_deal SET executed_at = %s WHERE id ="
            " (SELECT id FROM trading_deal WHERE position_id = %s AND entry = 'OUT' ORDER BY id DESC LIMIT 1)",
            [moment, position],
        )
        assert cursor.rowcount == 1


def charge(until: str | None = None, **options: Any) -> dict[str, Any]:
    """Run the command, and read what it counted."""
    out = StringIO()
    arguments = [] if until is None else [f"--until={until}"]
    call_command("charge_swaps", *arguments, as_json=True, stdout=out, **options)
    counts: dict[str, Any] = json.loads(out.getvalue())
    return counts


def charged() -> list[tuple[str, int, Decimal]]:
    """Every night charged: its day, how many nights it counts for, and the amount."""
    rows = Swap.objects.order_by("rollover_at", "position_id").values_list("night", "nights", "amount")
    return [(night.isoformat(), nights, amount) for night, nights, amount in rows]


def swap_terms(symbol: str, **terms: Any) -> None:
    """No commission, so that only nights change a balance; and this swap."""
    Instrument.objects.filter(pk=symbol).update(commission_per_lot=0, **terms)


def balance(who: CastMember) -> Decimal:
    who.margin.refresh_from_db()
    now: Decimal = who.margin.balance
    return now


def positions_are_clean() -> None:
    with transaction.atomic():
        found = verification.verify_positions()
    assert found.is_clean, found.breaks


def books_are_clean() -> None:
    """The whole ledger too, as it was committed."""
    positions_are_clean()
    ledger = verify_ledger().found
    assert not ledger.total(), ledger
