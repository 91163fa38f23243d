"""The cast is made of real rows and real money, so that a test about it proves something."""

from __future__ import annotations

from decimal import Decimal

from django.db.models import Sum

from tests import cast
from wallets.models import Entry, Environment


def test_alice_has_a_thousand_dollars_that_were_posted(db: None) -> None:
    alice = cast.alice()
    assert (alice.cash.balance, alice.margin.balance) == (Decimal("1000.00"), Decimal(0))
    assert Entry.objects.filter(wallet=alice.cash).aggregate(total=Sum("amount"))["total"] == Decimal("1000.00")
    assert (alice.account.environment, alice.cash.verified) == ("LIVE", True)


def test_a_demo_client_is_funded_with_demo_money(db: None) -> None:
    client = cast.make_client(environment=Environment.DEMO, currency="EUR", balance=Decimal(5), margin=Decimal(7))
    assert (client.cash.balance, client.margin.balance) == (Decimal(5), Decimal(7))
    assert {entry.transaction.environment for entry in Entry.objects.select_related("transaction")} == {"DEMO"}


def test_an_unverified_client_has_closed_wallets_and_may_be_poor(db: None) -> None:
    client = cast.make_client(verified=False, balance=Decimal(0))
    assert not client.cash.verified
    assert not Entry.objects.exists()
