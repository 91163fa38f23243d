"""Processes that race each other over a handful of wallets, readers that add up meanwhile, and then the books."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from threading import Event
from typing import Any

import pytest
from django.db import transaction

from core import snapshot
from scripts import environment
from tests import ledger_cast
from tests.database import Clone
from tests.wallets import books
from wallets.models import Entry, Kind, LedgerTransaction, Transfer, Wallet
from wallets.services.house import fold_house

SECONDS = 5
PROCESSES = 2
THREADS = 4


@dataclass
class Readers:
    """What those who added up while money moved have seen."""

    done: Event = field(default_factory=Event)
    wrong: list[Any] = field(default_factory=list)
    reads: int = 0
    verifications: int = 0

    def add_up(self, total: Decimal) -> None:
        """Sum balances and entries at one moment, again and again: money on its way is in one wallet or the other."""
        while not self.done.is_set():
            with transaction.atomic(durable=True):
                snapshot.take()
                ((balances, lowest),) = list(
                    snapshot.stream("SELECT sum(balance), min(balance) FROM wallets_wallet WHERE kind = 'CASH'")
                )
                ((entries,),) = list(
                    snapshot.stream("SELECT sum(amount) FROM wallets_entry WHERE wallet_version IS NOT NULL")
                )
            self.reads += 1
            if not (balances == entries == total and lowest >= 0):
                self.wrong.append((balances, entries, lowest))

    def verify(self) -> None:
        while not self.done.is_set():
            found = books.breaks()
            self.verifications += 1
            if found:
                self.wrong.append(found)

    def fold(self) -> None:
        while not self.done.wait(0.05):
            fold_house(batch=10)


@pytest.mark.timeout(180)
def test_money_is_kept_whoever_moves_it_at_once(committed_db: Clone, settings: Any, tmp_path: Any) -> None:
    settings.LEDGER_SEAL_DIR = tmp_path
    # Few wallets and little money: they meet all the time, and run dry.
    wallets = [ledger_cast.wallet("50.00") for _ in range(5)]
    total, deadlocks = Decimal("250.00"), ledger_cast.deadlocks()
    readers = Readers()

    def hammer() -> Counter[str]:
        try:
            return _hammer(committed_db, wallets)
        finally:
            readers.done.set()

    done: Counter[str]
    done, *_ = ledger_cast.at_once(
        hammer, lambda: readers.add_up(total), lambda: readers.add_up(total), readers.verify, readers.fold, seconds=120
    )

    assert readers.wrong == []
    assert readers.reads > 20
    assert readers.verifications > 0
    assert done["moved"] > 100
    assert done["INSUFFICIENT_FUNDS"] > 0
    assert done["sent_again"] > 0
    # One effect per key, however often it was sent.
    assert Transfer.objects.count() == LedgerTransaction.objects.filter(type="TRANSFER").count() == done["moved"]
    assert Entry.objects.filter(reason="TRANSFER").count() == 2 * done["moved"]
    assert sum(wallet.balance for wallet in Wallet.objects.filter(kind=Kind.CASH)) == total
    assert books.breaks() == {}
    assert done["retried_40P01"] == 0
    assert ledger_cast.deadlocks() == deadlocks


def _hammer(clone: Clone, wallets: list[Wallet]) -> Counter[str]:
    pairs = [word for wallet in wallets for word in (wallet.number, str(wallet.owner_id))]
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.concurrency.transferring", str(SECONDS), str(THREADS), *pairs],
            cwd=environment.ROOT,
            env=os.environ | {"DATABASE_URL": clone.desks_url},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(PROCESSES)
    ]
    tally: Counter[str] = Counter()
    for process in processes:
        out, err = process.communicate(timeout=SECONDS + 60)
        assert process.returncode == 0, err
        assert "Traceback" not in err, err
        tally.update(json.loads(out.splitlines()[-1]))
    return tally
