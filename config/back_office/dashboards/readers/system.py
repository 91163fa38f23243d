"""How the desk itself is doing: its latency, its retries, its connections and its jobs."""

from __future__ import annotations

import os
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from django.conf import settings
from django.db.models import QuerySet
from prometheus_client import CollectorRegistry, multiprocess

from config.back_office import figures
from config.back_office.figures import NothingToRead, Reading
from core import db
from core.models import JobRun

#: Latency is told of the last quarter of an hour, where this process has run for as long.
WINDOW = timedelta(minutes=15)
ROUTES_SHOWN = 12
QUANTILES = (("p50", Decimal("0.5")), ("p95", Decimal("0.95")), ("p99", Decimal("0.99")))
#: Machines that ask how we are, and no clients.
PROBES = ("health/", "metrics", "unmatched")
INFINITE = Decimal("Infinity")

_CONNECTIONS = """
SELECT coalesce(nullif(application_name, ''), 'unnamed'), count(*)
  FROM pg_stat_activity
 WHERE datname = current_database()
   AND coalesce(backend_type, 'client backend') = 'client backend' -- hidden where another role is at work
 GROUP BY 1
"""

#: A sample's name and labels, and how far it had counted.
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], Decimal]

_scrapes: deque[tuple[datetime, Samples]] = deque()


@figures.now("metrics")
def metrics(_start: datetime, end: datetime) -> Iterator[Reading]:
    """
    Latency by route, retries and refusals for load, as all processes of this host have counted them.

    :raises NothingToRead: if processes do not add up their metrics
    """
    if not os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        raise NothingToRead(
            "No metrics source: set PROMETHEUS_MULTIPROC_DIR to one folder for the web processes and this command."
        )
    while _scrapes and end - _scrapes[0][0] > WINDOW and len(_scrapes) > 1:
        _scrapes.popleft()
    current = scrape()
    since, before = _scrapes[0] if _scrapes else (None, {})
    _scrapes.append((end, current))
    grown = growth(before, current)
    seconds = int((end - since).total_seconds()) if since is not None and before else 0
    yield Reading("metrics.window", seconds, "seconds")
    yield from _latency(grown)
    yield from _counts(grown)


def scrape() -> Samples:
    """Every counter of the processes that share a metrics folder, those that have ended included."""
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): Decimal(str(sample.value))
        for metric in registry.collect()
        if metric.type in {"counter", "histogram"}
        for sample in metric.samples
    }


def growth(before: Samples, after: Samples) -> Samples:
    """How far counters went since `before`; one that is lower than it was began anew, and all of it is since."""
    return {key: value - (was if (was := before.get(key, Decimal(0))) <= value else 0) for key, value in after.items()}


@dataclass(slots=True)
class Latency:
    """Requests by how long they took at most."""

    upto: Counter[Decimal]
    count: int = 0
    failed: int = 0

    def quantile(self, share: Decimal) -> Decimal:
        """The upper bound of the bucket in which that share of the requests was done; never less than it was."""
        wanted = share * self.count
        finite = sorted(bound for bound in self.upto if bound != INFINITE)
        return next((bound for bound in finite if self.upto[bound] >= wanted), finite[-1])


def latencies(samples: Samples) -> Mapping[str, Latency]:
    """By route, and under an empty name all of them."""
    found: defaultdict[str, Latency] = defaultdict(lambda: Latency(Counter()))
    for (name, labels), value in samples.items():
        facts = dict(labels)
        if not name.startswith("desk_request_seconds") or facts["route"].startswith(PROBES):
            continue
        for route in ("", f"{facts['method']} /{facts['route']}"):
            if name.endswith("_bucket"):
                found[route].upto[Decimal(facts["le"].replace("+Inf", "Infinity"))] += int(value)
            elif name.endswith("_count"):
                found[route].count += int(value)
                found[route].failed += int(value) if facts["status"].startswith("5") else 0
    return found


def _latency(samples: Samples) -> Iterator[Reading]:
    found = {route: latency for route, latency in latencies(samples).items() if latency.count}
    busiest = sorted(found, key=lambda route: (route != "", -found[route].count, route))
    for route in busiest[: ROUTES_SHOWN + 1]:
        latency, label = found[route], route[:128]
        yield Reading("latency.requests", latency.count, "requests", label=label)
        yield Reading("latency.failed", latency.failed, "requests", label=label)
        for name, share in QUANTILES:
            yield Reading(f"latency.{name}", latency.quantile(share), "seconds", label=label)


def _counts(samples: Samples) -> Iterator[Reading]:
    for metric, name, kind in (
        ("desk_transaction_retries_total", "retries", "sqlstate"),
        ("desk_transaction_retries_spent_total", "retries.spent", "fault"),
        ("desk_requests_shed_total", "sheds", "reason"),
    ):
        for (sample, labels), value in sorted(samples.items()):
            if sample == metric:
                yield Reading(name, value, "times", label=dict(labels)[kind])


@figures.now("database")
def database(_start: datetime, _end: datetime) -> Iterator[Reading]:
    """Connections to the database by who has them, and how many there may be."""
    for name, count in db.fetch_all(_CONNECTIONS, {}):
        yield Reading("connections.used", count, "connections", label=name)
    yield Reading("connections.max", settings.DATABASE_CONNECTIONS_MAX, "connections")


@figures.now("jobs")
def jobs(_start: datetime, end: datetime) -> Iterator[Reading]:
    """How each job's last run stands, and how long ago it gave a sign of life."""
    runs: QuerySet[JobRun] = JobRun.objects.order_by("name", "-started_at").distinct("name")
    for run in runs:
        seen_at = max(run.started_at, run.beat_at, run.ended_at or run.started_at)
        seconds = max(0, int((end - seen_at).total_seconds()))
        yield Reading(f"job.{run.status.lower()}", seconds, "seconds", label=run.name, moment=seen_at)
