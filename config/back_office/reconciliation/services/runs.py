"""What a comparison found is written down once: what is known is seen again, what is new is a break."""

from __future__ import annotations

from datetime import datetime
from functools import partial

import structlog
from django.db import transaction

from config.back_office.reconciliation.findings import Comparison, Finding
from config.back_office.reconciliation.models import Break, Run
from core import audit
from core.audit import Actor
from core.db import retry_on_conflict
from core.ids import HOUSE

logger = structlog.get_logger(__name__)

ACTOR = Actor.system("reconcile")


@retry_on_conflict
@transaction.atomic(durable=True)
def record_run(*, comparison: Comparison, now: datetime) -> Run:
    """
    Keep a comparison and its breaks, each once per kind and subject.

    One that is open or looked after gets its new figures and stays with whoever has it. One that was resolved is open
    again if it was seen after that; what was seen before, the resolution was about.
    """
    known = _lock_known(comparison.findings)
    opened, reopened = [], 0
    for finding in {(one.kind, one.subject): one for one in comparison.findings}.values():
        row = known.get((finding.kind, finding.subject))
        if row is None:
            opened.append(_break(finding))
        elif row.status != Break.Status.RESOLVED:
            _see_again(row, finding)
        elif row.resolved_at is not None and finding.seen_at > row.resolved_at:
            _reopen(row, finding)
            reopened += 1
    # Whoever compares at the same time may have written the same break down: theirs is as good.
    Break.objects.bulk_create(opened, ignore_conflicts=True, batch_size=500)
    run = Run.objects.create(
        provider=comparison.provider,
        file_name=comparison.file_name[:255],
        file_digest=comparison.file_digest,
        compared=comparison.compared,
        found=len(comparison.findings),
        opened=len(opened),
        reopened=reopened,
        ran_at=now,
    )
    log = partial(logger.info, "config.reconciliation.recorded", run_id=str(run.id), found=run.found, opened=run.opened)
    transaction.on_commit(log, robust=True)
    return run


def _lock_known(findings: list[Finding]) -> dict[tuple[str, str], Break]:
    subjects = {finding.subject for finding in findings}
    rows = Break.objects.filter(subject__in=subjects).select_for_update(no_key=True).order_by("id")
    return {(row.kind, row.subject): row for row in rows}


def _break(finding: Finding) -> Break:
    return Break(
        kind=finding.kind,
        subject=finding.subject,
        expected=finding.expected[:255],
        found=finding.found[:255],
        currency=finding.currency,
        about=finding.about,
        about_id=finding.about_id,
        first_seen_at=finding.seen_at,
        last_seen_at=finding.seen_at,
    )


def _see_again(row: Break, finding: Finding) -> None:
    row.expected, row.found = finding.expected[:255], finding.found[:255]
    row.last_seen_at = max(row.last_seen_at, finding.seen_at)
    row.save(update_fields=["expected", "found", "last_seen_at"])


def _reopen(row: Break, finding: Finding) -> None:
    before = {"status": row.status, "resolution": row.resolution, "note": row.note}
    row.status, row.assignee, row.resolution, row.note, row.resolved_at = Break.Status.OPEN, None, "", "", None
    row.expected, row.found = finding.expected[:255], finding.found[:255]
    row.first_seen_at = row.last_seen_at = finding.seen_at
    row.save(
        update_fields=[
            "status", "assignee", "resolution", "note", "resolved_at", "expected", "found", "first_seen_at",
            "last_seen_at",
        ]
    )  # fmt: skip
    audit.record(
        "reconciliation.break.reopened",
        actor=ACTOR,
        owner=HOUSE,
        subject=row,
        before=before,
        after={"status": row.status, "found": row.found},
    )
