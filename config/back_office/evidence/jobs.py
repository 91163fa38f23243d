"""Every job that has to run is named here with its beat; one that has not run is as visible as one that failed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection

from core.models import JobRun

Status = JobRun.Status

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Job:
    """
    A command that runs again and again, `every` so often; it is overdue when its last good run is older than `late`.

    A `watched` one runs all the time, and its last sign of life counts.
    """

    name: str
    purpose: str
    every: timedelta
    late: timedelta
    watched: bool = False


#: As cron and the Procfile run them.
JOBS = (
    Job("run_risk", "Fills waiting orders, closes at stops, calls margin, stops out", MINUTE, MINUTE, watched=True),
    Job("charge_swaps", "Charges or pays open positions for the night", MINUTE, 5 * MINUTE, watched=True),
    Job("accrue_commissions", "Gives referrers their part of closed deals", MINUTE, 5 * MINUTE, watched=True),
    Job("raise_alerts", "Finds what compliance should look at", MINUTE, 10 * MINUTE, watched=True),
    Job("compute_figures", "Computes what the dashboards show", MINUTE, 10 * MINUTE, watched=True),
    Job("expire_deposits", "Ends deposits whose payment has not come", 5 * MINUTE, 30 * MINUTE),
    Job("expire_freezes", "Lifts freezes whose time is over", 5 * MINUTE, 30 * MINUTE),
    Job("fold_house", "Folds the house's legs into its balances", HOUR, 3 * HOUR),
    Job("expire_bonuses", "Takes back what is left of bonuses that ended", DAY, DAY + 6 * HOUR),
    Job("pay_commissions", "Pays referrers what was held long enough", DAY, DAY + 6 * HOUR),
    Job("purge_idempotency_keys", "Deletes keys whose answers have expired", HOUR, 3 * HOUR),
    Job("purge_throttles", "Deletes counts of attempts that count no more", HOUR, 6 * HOUR),
    Job("purge_tokens", "Deletes tokens that ended long ago", HOUR, 6 * HOUR),
    Job("purge_quotes", "Deletes old prices", DAY, 2 * DAY),
    Job("purge_changes", "Deletes old numbered changes of accounts", DAY, 2 * DAY),
    Job("seal_ledger", "Signs the head of every chain, outside the database", DAY, DAY + 6 * HOUR),
    Job("verify_ledger", "Computes every figure of the ledger again", DAY, DAY + 6 * HOUR),
    Job("verify_positions", "Holds positions and deals against the ledger", DAY, DAY + 6 * HOUR),
    Job("verify_commissions", "Holds rewards against the deals they are for", DAY, DAY + 6 * HOUR),
    Job("verify_audit", "Holds the audit trail against what happened", DAY, DAY + 6 * HOUR),
    Job("reconcile", "Holds the books against providers, banks and the checks above", DAY, DAY + 6 * HOUR),
)

#: Run by somebody who wants just that, or not at all in an installation.
BY_HAND = frozenset(
    {
        "check_export",
        "define_database_roles",
        "define_roles",
        "demo_cast",
        "export_client",
        "export_instrument",
        "feed_quotes",
        "load_alert_rules",
        "load_bonus_policies",
        "load_instruments",
        "load_plans",
        "reencrypt_bank_numbers",
    }
)


@dataclass(frozen=True, slots=True)
class Health:
    """A word on a job, and how bad it is."""

    word: str
    variant: str


@dataclass(frozen=True, slots=True)
class State:
    """A job as its rows tell it; `run` is its last, `succeeded_at` the end of its last good one."""

    job: Job
    run: JobRun | None
    succeeded_at: datetime | None
    now: datetime

    @property
    def duration(self) -> timedelta | None:
        """How long the last run took, or has been going on."""
        return None if self.run is None else (self.run.ended_at or self.now) - self.run.started_at

    @property
    def is_overdue(self) -> bool:
        """Whether the last good run, or the last sign of life, is too long ago; or never was."""
        return self._seen_at is None or self.now - self._seen_at > self.job.late

    @property
    def health(self) -> Health:
        if self.run is None:
            return Health("Never ran", "danger")
        if self.run.status == Status.FAILED:
            return Health("Failed", "danger")
        if self.is_overdue:
            return Health("Silent" if self.run.status == Status.RUNNING else "Overdue", "danger")
        if self.run.status == Status.RUNNING:
            return Health("Running", "info" if not self.job.watched else "success")
        return Health("Stopped", "warning") if self.job.watched else Health("Done", "success")

    @property
    def _seen_at(self) -> datetime | None:
        if self.run is not None and self.run.status == Status.RUNNING:
            # A long run is no news; one that gives no sign of life, or never began a good one, is.
            return max(self.run.beat_at, self.succeeded_at or self.run.beat_at)
        return self.succeeded_at


# For each name, a short walk down the index by name and start, however often it ran.
_LATEST_SQL = """
SELECT j.name, last.id, good.ended_at
  FROM unnest(%s::text[]) AS j (name)
  LEFT JOIN LATERAL (SELECT r.id FROM core_jobrun r WHERE r.name = j.name ORDER BY r.started_at DESC LIMIT 1) last
         ON true
 CROSS JOIN LATERAL (
       SELECT max(r.ended_at) FILTER (WHERE r.status = 'SUCCEEDED') AS ended_at
         FROM (SELECT ended_at, status FROM core_jobrun WHERE name = j.name ORDER BY started_at DESC LIMIT 500) r) good
"""


def board(now: datetime, jobs: tuple[Job, ...] = JOBS) -> list[State]:
    """Every job with its last run, in two queries; what is worst comes first."""
    with connection.cursor() as cursor:
        cursor.execute(_LATEST_SQL, [[job.name for job in jobs]])
        found = {name: (run, succeeded_at) for name, run, succeeded_at in cursor.fetchall()}
    runs = JobRun.objects.in_bulk([run for run, _ in found.values() if run is not None])
    states = [State(job, runs.get(found[job.name][0]), found[job.name][1], now) for job in jobs]
    order = ("danger", "warning", "info", "success")
    return sorted(states, key=lambda state: order.index(state.health.variant))


def history(name: str, limit: int = 50) -> list[JobRun]:
    """A job's last runs, newest first."""
    return list(JobRun.objects.filter(name=name).order_by("-started_at")[:limit])


def tallies(counts: dict[str, Any]) -> list[tuple[str, Any]]:
    """What a run counted, as far as it is one figure a name; lists of breaks are told by their length."""
    shown: list[tuple[str, Any]] = []
    for name, value in counts.items():
        if isinstance(value, list):
            shown.append((name.replace("_", " "), len(value)))
        elif isinstance(value, dict):
            figures = [part for part in value.values() if isinstance(part, int)]
            shown.append((name.replace("_", " "), sum(figures)))
        else:
            shown.append((name.replace("_", " "), value))
    return shown
