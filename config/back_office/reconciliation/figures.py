"""How many differences nobody has settled, and for how long the oldest of them has been known."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from config.back_office.figures import Reading, now, waiting
from config.back_office.reconciliation.models import Break


@now("reconciliation")
def breaks(_start: datetime, end: datetime) -> Iterator[Reading]:
    yield from waiting("Breaks", Break.objects.exclude(status=Break.Status.RESOLVED), since="first_seen_at", at=end)
