"""
Price batches are worked off in their order, account by account, by as many engines as there are, each effect once.

* One cursor says how far the batches are put down. Whoever holds it puts down the accounts that the next batch touches
  as tasks, and only when no task of the last batch is left: engines side by side do what one alone would do.
* A task is worked off in one transaction that takes the task's row, then the wallet's lock, does everything this batch
  does to that account, and deletes the row. A crash leaves the task, whole, to whoever comes next; an unknown commit
  needs no asking, since the row knows.
* An account is judged by the market as of the batch, its clock included, so that an engine that comes late does what it
  would have done in time: also where the price has come back since. What was set at a later batch is left alone.
* A task that fails is put aside with its error, and everybody else goes on. It is tried again, later and later, at the
  batch it failed at, and then goes through the batches its account has missed.
* What time does and prices do not (an order expires, money comes or goes) is put down between two batches.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum, auto

import structlog
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from accounts.models import TradingAccount
from core.db import retry_on_conflict
from trading import liquidation, selection, selectors, triggers
from trading.market import Market
from trading.models import RiskTask
from trading.selection import Task
from trading.triggers import Tally, Visit
from trading.watch import touch
from wallets import ledger

__all__ = ["Memory", "Progress", "Tally", "advance", "look_around", "put_aside", "work_off"]

logger = structlog.get_logger(__name__)

#: Prices that are this much older than their batch are looked at again with it: what a client was just changing when
#: they came (an order under way, a position being opened) could not be found then.
RECHECK = timedelta(seconds=5)

#: A price that was received before an order expired may become known a little after: as long as it may take to record.
EXPIRY_GRACE = timedelta(seconds=5)

EVER, NEVER = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)

ERROR_LENGTH_MAX = 2_000


class Progress(Enum):
    """How it stands with the next batch."""

    PUT_DOWN = auto()  # its accounts are tasks now
    WAITING = auto()  # tasks of the last one are left, or another engine is at it
    UP_TO_DATE = auto()  # there is none


@dataclass(slots=True)
class Memory:
    """What an engine keeps between transactions: the market of the batch at hand, and the task it was last at."""

    market: Market | None = None
    task: Task | None = None

    def market_at(self, batch: int) -> Market:
        """A batch's market never changes, so it is read once."""
        if self.market is None or self.market.batch != batch:
            self.market = selectors.market_at(batch)
        return self.market


@retry_on_conflict
@transaction.atomic(durable=True)
def advance(*, now: datetime) -> Progress:
    """Put down the accounts that the next price batch touches, if every account of the last one is done."""
    cursor = selection.lock_cursor()
    if cursor is None:
        return Progress.WAITING
    due = selection.due(cursor)
    if due.unfinished:
        return Progress.WAITING
    if due.number is None or due.received_at is None:
        return Progress.UP_TO_DATE
    since, expired_by = due.received_at - RECHECK, due.received_at
    selection.put_down_touched(batch=due.number, since=since, expired_by=expired_by, now=now)
    return Progress.PUT_DOWN


@retry_on_conflict
@transaction.atomic(durable=True)
def look_around(*, now: datetime, is_sweep: bool) -> int:
    """
    Put down, at the last batch worked off, accounts with something that no price brings about; how many.

    Always orders that have expired while no price came. With `is_sweep` accounts whose money moved without their bands
    being reckoned anew as well, and once more whatever the last known prices touch.
    """
    cursor = selection.lock_cursor()
    if not cursor:
        return 0
    due = selection.due(cursor)
    if due.unfinished:
        return 0
    expired_by = now - EXPIRY_GRACE if due.number is None else EVER
    moved = selection.put_down_moved(batch=cursor, now=now) if is_sweep else 0
    since = EVER if is_sweep else NEVER
    return moved + selection.put_down_touched(batch=cursor, since=since, expired_by=expired_by, now=now)


@retry_on_conflict
@transaction.atomic(durable=True)
def work_off(*, memory: Memory, is_set_aside: bool = False) -> Tally | None:
    """
    Do to one account everything that its batch does to it, and return what was done; None if there is no task.

    Orders that have expired end first. Then stops and targets, then orders whose price has come, each in the order in
    which they were made, and last what the margin level demands. Freezes, kill switches and limits stop what opens, and
    nothing that closes. With `is_set_aside` it is a task that failed before. If the outcome of the commit is unknown,
    go on: the task is there or it is not.
    """
    now, memory.task = timezone.now(), None
    memory.task = task = selection.claim_task(now=now, is_set_aside=is_set_aside)
    if task is None:
        return None
    account = TradingAccount.objects.get(pk=task.account)
    market = memory.market_at(task.batch)

    (wallet,) = ledger.lock_wallets_by_id(task.wallet)

    visit = Visit.begin(account, wallet, market, now=now)
    triggers.expire_orders(visit, expired_by=max(market.now, now - EXPIRY_GRACE) if task.is_last else market.now)
    triggers.close_stopped(visit)
    triggers.fill_triggered(visit)
    called_at = liquidation.keep_margin(visit)
    if visit.valued_at > market.batch:
        visit.locked.market = selectors.market(now)  # its bands go on from the prices that it was last valued at
    touch(visit.locked, now=now, called_at=called_at)
    selection.finish_task(task)
    return visit.tally


@retry_on_conflict
@transaction.atomic(durable=True)
def put_aside(*, task: Task, error: str, now: datetime) -> None:
    """Keep a task that failed out of the others' way, with the reason, until it is tried again."""
    failed = RiskTask.objects.filter(pk=task.account, batch=task.batch)
    failed.update(failed_at=now, attempts=F("attempts") + 1, error=error[:ERROR_LENGTH_MAX])
