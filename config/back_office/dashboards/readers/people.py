"""Who came, and what compliance decided about them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from config.back_office import figures
from config.back_office.figures import Reading
from core import db
from wallets.models import Environment

# Somebody signs up once per environment; further accounts of theirs are no sign-ups.
_SIGNUPS = """
SELECT a.environment, count(*)
  FROM accounts_tradingaccount a
 WHERE a.created_at >= %(start)s::timestamptz AND a.created_at < %(end)s::timestamptz
   AND NOT EXISTS (SELECT FROM accounts_tradingaccount b
                    WHERE b.owner_id = a.owner_id AND b.environment = a.environment AND b.id < a.id)
 GROUP BY a.environment
"""
# From the audit trail, since a verification's row only tells of its last decision.
_VERIFICATIONS = """
SELECT e.after ->> 'status', count(*)
  FROM core_auditevent e
 WHERE e.created_at >= %(start)s::timestamptz AND e.created_at < %(end)s::timestamptz
   AND e.action IN ('accounts.verification.submitted', 'accounts.verification.reviewed')
 GROUP BY 1
"""
_STEPS = ("SUBMITTED", "APPROVED", "REJECTED", "ACTION_REQUIRED")


@figures.day("people")
def people(start: datetime, end: datetime) -> Iterator[Reading]:
    signups = dict(db.fetch_all(_SIGNUPS, {"start": start, "end": end}))
    for environment in Environment.values:
        yield Reading("people.signups", signups.get(environment, 0), "people", environment=environment)
    steps = dict(db.fetch_all(_VERIFICATIONS, {"start": start, "end": end}))
    for step in _STEPS:
        yield Reading("people.verifications", steps.get(step, 0), "people", label=step)
