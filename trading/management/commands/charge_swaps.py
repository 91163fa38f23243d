"""Charge every position for the nights it was held, and catch up those that were missed."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import structlog
from django.db import DataError, IntegrityError
from django.utils import timezone

from core.commands import DeskCommand, JobFailed
from core.errors import Contended, OutcomeUnknown
from trading import selectors
from trading.market import Market
from trading.overnight import Past
from trading.services import swaps
from trading.services.swaps import Sweep

logger = structlog.get_logger(__name__)


class Command(DeskCommand):
    help = (
        "Charge or pay open positions for the nights they were held, each night once, and catch up missed ones. Run it"
        " soon after each rollover, or with --watch; any number may run at once. Exit status 1 if something that was"
        " due could not be charged; the next run tries again."
    )
    has_dry_run = True
    watch_seconds = 60.0

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--batch", type=int, default=500, help="Accounts looked up at once (default 500).")
        parser.add_argument(
            "--until", type=past_moment, help="Charge nights up to this ISO moment in the past (default: now)."
        )

    def run(self, *, batch: int, dry_run: bool, until: datetime | None, **_: Any) -> dict[str, Any]:
        until = until or timezone.now()
        self.counts: Counter[str] = Counter(
            dict.fromkeys(("accounts", "swaps", "compensated", "unpriced", "unfinished"), 0)
        )
        self.amounts: dict[str, Decimal] = defaultdict(Decimal)
        self.past = Past()
        again: list[UUID] = []
        with self.progress(total=selectors.accounts_owing_nights(until).count(), unit="accounts") as bar:
            for account_id, market in accounts(until, batch):
                if dry_run:
                    self.tally(swaps.preview_account(account_id=account_id, until=until, market=market, past=self.past))
                elif not self.charge(account_id, until, market, waits=False):
                    again.append(account_id)
                bar.update()
                if self.stopping.is_set():
                    break
        # Another sweep or a client was at these; by now it is done, or it is worth waiting for.
        for account_id in again:
            if not self.charge(account_id, until, selectors.market(timezone.now()), waits=True):
                self.counts["unfinished"] += 1
        counts = {**self.counts, "amounts": dict(self.amounts)}
        if self.counts["unpriced"] or self.counts["unfinished"]:
            self.complain(counts)
        return counts

    def charge(self, account_id: UUID, until: datetime, market: Market, *, waits: bool) -> bool:
        """Charge all that an account owes, in as many transactions as it takes; False if somebody is in the way."""
        is_done = False
        while not is_done:
            try:
                sweep = swaps.charge_account(
                    account_id=account_id, until=until, market=market, past=self.past, waits=waits
                )
            except (Contended, OutcomeUnknown):
                return False
            except (DataError, IntegrityError):
                # The database will not have it, so this is a bug, and everybody else's nights are not to wait for it.
                logger.exception("trading.swaps.refused", account_id=str(account_id))
                return False
            if sweep.is_busy:
                return False
            self.tally(sweep)
            is_done = sweep.is_done
        self.counts["accounts"] += 1
        return True

    def tally(self, sweep: Sweep) -> None:
        self.counts["swaps"] += len(sweep.amounts)
        self.counts["compensated"] += sweep.compensated
        self.counts["unpriced"] += sweep.unpriced if sweep.is_done else 0
        if sweep.amounts:
            self.amounts[f"{sweep.environment} {sweep.currency}"] += sum(sweep.amounts)

    def complain(self, counts: dict[str, Any]) -> None:
        """A run ends badly; a watcher goes on, since what was left is due again in its next round."""
        if not self.is_watching:
            raise JobFailed("not everything that was due could be charged", counts)
        logger.warning("trading.swaps.left_due", unpriced=counts["unpriced"], unfinished=counts["unfinished"])


def accounts(until: datetime, batch: int) -> Iterator[tuple[UUID, Market]]:
    """Every account that may owe a night, each once, with prices as fresh as its batch."""
    last: UUID | None = None
    while True:
        due = selectors.accounts_owing_nights(until)
        ids = list((due if last is None else due.filter(account_id__gt=last))[:batch])
        market = selectors.market(timezone.now())
        for account_id in ids:
            yield account_id, market
        if len(ids) < batch:
            return
        last = ids[-1]


def past_moment(text: str) -> datetime:
    """A moment as ISO 8601 writes it, in UTC unless it says otherwise, and not in the future."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError(f"{text} is no moment like 2026-11-20T22:00:00Z") from None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    if moment > timezone.now():
        raise ArgumentTypeError(f"{text} is in the future")
    return moment
