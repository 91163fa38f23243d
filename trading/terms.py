"""Terms change a few times a year and are read with every order: each process keeps them until they do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any
from uuid import UUID

from django.db.models.expressions import RawSQL

from trading.models import Instrument
from trading.sessions import Closure, Schedule, Session

_SESSIONS = """
(SELECT coalesce(jsonb_agg(jsonb_build_array(s.weekday, s.opens, s.closes) ORDER BY s.weekday, s.opens), '[]')
   FROM trading_tradingsession s WHERE s.symbol = trading_instrument.symbol)
"""
_CLOSURES = """
(SELECT coalesce(jsonb_agg(jsonb_build_array(h.day, h.closes, h.reopens) ORDER BY h.day), '[]')
   FROM trading_holiday h WHERE h.calendar = trading_instrument.calendar AND h.day >= %s)
"""
_CAPS = """
(SELECT coalesce(jsonb_object_agg(c.jurisdiction, c.leverage_max), '{}')
   FROM trading_leveragecap c WHERE c.leverage_class = trading_instrument.leverage_class)
"""
_VERSION = "(SELECT c.terms_version FROM trading_priceclock c WHERE c.id = 1)"


@dataclass(frozen=True, slots=True)
class Terms:
    """Every instrument by its symbol, with its hours and leverage caps; shared by all requests, and never changed."""

    instruments: Mapping[str, Instrument]
    schedules: Mapping[str, Schedule]
    leverage_caps: Mapping[str, Mapping[str, int]]


#: The last terms that were read, by their version and the first day of the closures that are known.
_kept: tuple[tuple[UUID, date], Terms] | None = None


def terms(version: UUID, now: datetime) -> Terms:
    """
    The terms of this version, or of a later one if they have just changed.

    A version is a random value that the database gives to each change of an instrument, its sessions, its holidays or
    the caps, in the change's own transaction: what was read under one never becomes the terms of another, not even of
    a change that was rolled back.
    """
    global _kept  # noqa: PLW0603 - one value, replaced as a whole
    since = (now - timedelta(days=2)).date()  # wherever on earth the instrument's clock is
    kept = _kept
    if kept is not None and kept[0] == (version, since):
        return kept[1]
    rows: list[Any] = list(
        Instrument.objects.order_by("symbol").annotate(
            sessions_now=RawSQL(_SESSIONS, ()),  # noqa: S611 - no input
            closures_now=RawSQL(_CLOSURES, (since,)),  # noqa: S611 - a date of ours, bound by the driver
            caps_now=RawSQL(_CAPS, ()),  # noqa: S611 - no input
            version_now=RawSQL(_VERSION, ()),  # noqa: S611 - no input
        )
    )
    read = Terms(
        instruments={row.symbol: row for row in rows},
        schedules={row.symbol: _schedule(row) for row in rows},
        leverage_caps={row.symbol: _parsed(row.caps_now) for row in rows},
    )
    if rows:
        _kept = (rows[0].version_now, since), read
    return read


def _schedule(row: Any) -> Schedule:
    return Schedule(
        zone=row.time_zone,
        sessions=tuple(
            Session(weekday, time.fromisoformat(opens), time.fromisoformat(closes))
            for weekday, opens, closes in _parsed(row.sessions_now)
        ),
        closures=tuple(
            Closure(datetime.fromisoformat(day).date(), _time(closes), _time(reopens))
            for day, closes, reopens in _parsed(row.closures_now)
        ),
    )


def _time(text: str | None) -> time | None:
    return None if text is None else time.fromisoformat(text)


def _parsed(document: Any) -> Any:
    return json.loads(document) if isinstance(document, str) else document
