"""How many alerts nobody has closed, and for how long the oldest of them has been open."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from config.back_office.alerts.models import Alert
from config.back_office.figures import Reading, now, waiting


@now("alerts")
def alerts(_start: datetime, end: datetime) -> Iterator[Reading]:
    yield from waiting("Alerts", Alert.objects.exclude(status=Alert.Status.CLOSED), since="raised_at", at=end)
