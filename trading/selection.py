"""Which accounts have to be looked at, found by index, and put down as tasks that any engine may work off."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from core import db, metrics

#: How long a task that failed is left alone: doubling with every failure, up to this.
BACKOFF_SECONDS_MAX = 60


@dataclass(frozen=True, slots=True)
class Task:
    """An account and the price batch that it has to be looked at for, locked by the caller's transaction."""

    account: UUID
    wallet: UUID
    batch: int
    is_set_aside: bool
    is_last: bool  # whether no later batch is known


@dataclass(frozen=True, slots=True)
class Due:
    """What the cursor's holder finds: `number` is of the next batch, None where there is none yet."""

    unfinished: bool
    number: int | None
    received_at: datetime | None


_LOCK_SQL = """
SELECT batch FROM trading_riskcursor WHERE id = 1 ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
"""
# A statement of its own, after the lock: it has to see what the last holder has committed.
_DUE_SQL = """
SELECT EXISTS (SELECT FROM trading_risktask t WHERE t.failed_at IS NULL), b.number, b.received_at
  FROM (SELECT) one
  LEFT JOIN LATERAL (SELECT p.number, p.received_at
                       FROM trading_pricebatch p
                      WHERE p.number > %(cursor)s::bigint
                      ORDER BY p.number LIMIT 1) b ON true
"""
# Our sessions have it so, unless PgBouncer stands in between; here a plan made on empty tables would cost the most.
_BY_INDEX_SQL = "SELECT set_config('enable_seqscan', 'off', true)"
_TOUCHED_SQL = (Path(__file__).parent / "sql" / "put_down_touched.sql").read_text()
# Money that came or went without anybody touching the account's watch: a deposit, or an adjustment by staff.
_MOVED_SQL = """
INSERT INTO trading_risktask (account_id, owner_id, batch, attempts, error, created_at)
SELECT a.id, a.owner_id, %(batch)s::bigint, 0, '', %(now)s::timestamptz
  FROM wallets_wallet w
  JOIN accounts_tradingaccount a ON a.wallet_id = w.id
  LEFT JOIN trading_accountwatch k ON k.account_id = a.id
 WHERE w.kind = 'MARGIN'
   AND (w.held > 0 OR k.held > 0)
   AND (k.account_id IS NULL OR (k.funds, k.held) <> (w.balance + w.credit, w.held))
    ON CONFLICT (account_id) DO NOTHING
RETURNING account_id
"""
_CLAIM_SQL = """
SELECT t.account_id, a.wallet_id, t.batch, t.failed_at IS NOT NULL,
       t.batch >= (SELECT c.number FROM trading_priceclock c WHERE c.id = 1)
  FROM trading_risktask t
  JOIN accounts_tradingaccount a ON a.id = t.account_id
 WHERE {which}
 ORDER BY t.account_id LIMIT 1
   FOR UPDATE OF t SKIP LOCKED
"""
_CLAIM_NEXT_SQL = _CLAIM_SQL.format(which="t.failed_at IS NULL")
_CLAIM_SET_ASIDE_SQL = _CLAIM_SQL.format(
    which="t.failed_at <= %(now)s::timestamptz - least(2 ^ least(t.attempts, 10) - 1, %(seconds_max)s::bigint)"
    " * interval '1 second'"
)
# A task that was put aside goes on with the next batch that its account has missed since; any other is done.
_FINISH_SQL = """
WITH missed AS (
    SELECT b.number
      FROM trading_pricebatch b
     WHERE %(is_set_aside)s AND b.number > %(batch)s::bigint
       AND b.number <= (SELECT c.batch FROM trading_riskcursor c WHERE c.id = 1)
     ORDER BY b.number LIMIT 1
), moved AS (
    UPDATE trading_risktask t SET batch = missed.number, attempts = 0, error = ''
      FROM missed
     WHERE t.account_id = %(account)s::uuid
    RETURNING t.account_id
), gone AS (
    DELETE FROM trading_risktask t
     WHERE t.account_id = %(account)s::uuid AND NOT EXISTS (SELECT FROM missed)
    RETURNING t.account_id
)
SELECT account_id FROM moved UNION ALL SELECT account_id FROM gone
"""
_LAG_SQL = """
SELECT k.number - c.batch,
       (SELECT count(*) FROM trading_risktask t WHERE t.failed_at IS NULL),
       (SELECT count(*) FROM trading_risktask t WHERE t.failed_at IS NOT NULL)
  FROM trading_riskcursor c, trading_priceclock k
"""


def lock_cursor() -> int | None:
    """The last batch whose accounts were put down, locked for the caller; None if another engine is at it."""
    db.require_transaction()
    rows = db.fetch_all(_LOCK_SQL, {})
    return int(rows[0][0]) if rows else None


def due(cursor: int) -> Due:
    """What comes next. The caller holds the cursor, and may put down tasks when nothing is unfinished."""
    db.require_transaction()
    return Due(*db.fetch_all(_DUE_SQL, {"cursor": cursor})[0])


def put_down_touched(*, batch: int, since: datetime, expired_by: datetime, now: datetime) -> int:
    """
    Put down every account that a batch's prices touch, with those still the latest from `since` on; how many.

    Orders that expire by `expired_by` are touched too.
    """
    db.require_transaction()
    db.fetch_all(_BY_INDEX_SQL, {})
    params = {"batch": batch, "since": since, "expired_by": expired_by, "now": now}
    ((accounts,),) = db.fetch_all(_TOUCHED_SQL, params)
    return int(accounts)


def put_down_moved(*, batch: int, now: datetime) -> int:
    """Put down every account whose funds or hold are not what its bands count on; how many."""
    db.require_transaction()
    return len(db.fetch_all(_MOVED_SQL, {"batch": batch, "now": now}))


def claim_task(*, now: datetime, is_set_aside: bool) -> Task | None:
    """A task that nobody is at, locked until the caller's transaction ends; None if there is none that is due."""
    db.require_transaction()
    params = {"now": now, "seconds_max": BACKOFF_SECONDS_MAX} if is_set_aside else {}
    rows = db.fetch_all(_CLAIM_SET_ASIDE_SQL if is_set_aside else _CLAIM_NEXT_SQL, params)
    return Task(*rows[0]) if rows else None


def finish_task(task: Task) -> None:
    """Take away a claimed task, in the transaction that did it."""
    db.require_transaction()
    params = {"account": task.account, "batch": task.batch, "is_set_aside": task.is_set_aside}
    rows = db.fetch_all(_FINISH_SQL, params)
    assert len(rows) == 1, "a claimed task is there until its own transaction takes it away"


def lag() -> dict[str, Any]:
    """How many batches the engines are behind, how many accounts are to be done, and how many were put aside."""
    behind, unfinished, set_aside = db.fetch_all(_LAG_SQL, {})[0]
    metrics.RISK_BATCHES_BEHIND.set(behind)
    metrics.RISK_TASKS_SET_ASIDE.set(set_aside)
    return {"batches_behind": behind, "unfinished": unfinished, "set_aside": set_aside}
