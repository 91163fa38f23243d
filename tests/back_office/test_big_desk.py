"""The made-up year that pages are measured on is a whole ledger, and it knows every column."""

from __future__ import annotations

import pytest
from django.core.management import call_command

from bench import big_desk
from tests.database import Clone
from trading.models import Order, Position
from wallets.models import Entry, Wallet


def test_a_big_desks_ledger_has_no_break(committed_db: Clone) -> None:
    big_desk.fill(committed_db.direct_url, big_desk.Sizes(entries=3_000, orders=1_000))
    call_command("verify_ledger", verbosity=0)
    made_before = 10  # by the one client who really trades, for the deals to have something to copy
    assert Entry.objects.count() == 3_000 + made_before
    assert Order.objects.count() == 1_000 + 1
    assert Position.objects.filter(status="OPEN").exists()
    assert max(Wallet.objects.values_list("version", flat=True)) > 3_000 / 70


def test_a_column_that_nothing_fills_is_named() -> None:
    script = big_desk.SCRIPT.read_text()
    big_desk.require_every_column(script)
    with pytest.raises(LookupError, match="amount, currency of wallets_entry"):
        big_desk.require_every_column(
            script.replace("currency, amount, reason, balance_after", "reason, balance_after")
        )
