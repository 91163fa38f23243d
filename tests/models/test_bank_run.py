"""While sixteen writers move money, whoever adds it up at one moment finds every cent of it."""

from __future__ import annotations

import pytest

from tests import ledger_cast
from tests.database import Clone
from tests.models import bank
from tests.trading import nights
from wallets.models import LedgerTransaction

SECONDS, READS = 2.0, 400
DONE = ("TRANSFER", "DEPOSIT", "WITHDRAWAL", "CANCEL_WITHDRAWAL", "complete_withdrawal", "RELEASE", "OPEN", "CLOSE")


@pytest.mark.timeout(180)
def test_readers_never_see_a_wrong_total(committed_db: Clone) -> None:
    """`make bank-run` goes on for longer, and counts more."""
    clients, staff = bank.open_bank()
    deadlocks = ledger_cast.deadlocks()
    found = bank.run(clients, staff, seconds=SECONDS, reads_min=READS)
    print(found.reads, dict(found.writes))
    assert found.wrong == []
    assert found.reads >= READS
    assert min(found.writes[name] for name in DONE) > 0
    posted = LedgerTransaction.objects.filter(type="TRANSFER").count()
    assert posted == found.writes["TRANSFER"] + found.writes["RELEASE"]
    assert (ledger_cast.deadlocks(), found.writes["retried_40P01"]) == (deadlocks, 0)
    nights.books_are_clean()


@pytest.mark.timeout(180)
def test_a_wrong_total_would_have_been_seen(committed_db: Clone) -> None:
    """Else none could be found above: without isolation queries that follow each other are of different moments."""
    clients, staff = bank.open_bank()
    assert bank.run(clients, staff, seconds=30, is_isolated=False).wrong
