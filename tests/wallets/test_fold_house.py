"""Folding changes where the house's money is written down, and never how much it is."""

from __future__ import annotations

import json
from decimal import Decimal
from io import StringIO
from threading import Event
from typing import Any

import pytest
from django.core.management import call_command
from django.db import transaction

from tests import ledger_cast
from tests.database import Clone
from tests.wallets import books
from wallets import ledger
from wallets.models import Entry, Kind, UnfoldedLeg, Wallet
from wallets.services.house import fold_house

ADJUSTMENT = "HOUSE_ADJUSTMENT-USD-LIVE"


def house_balance(currency: str = "USD") -> Decimal:
    return ledger.house_balance(Kind.HOUSE_ADJUSTMENT, currency, "LIVE")


def snapshot_balance(number: str = ADJUSTMENT) -> Decimal:
    balance: Decimal = Wallet.objects.get(number=number).balance
    return balance


def adjust(wallet: Wallet, amount: str = "1.00") -> None:
    with transaction.atomic():
        (locked,) = ledger.lock_wallets(wallet.number)
        ledger_cast.adjust(locked, Decimal(amount))


def test_folding_moves_the_tail_into_the_snapshot(db: None) -> None:
    for amount in ("10.00", "20.00", "0.50"):
        ledger_cast.wallet(amount)
    assert (house_balance(), snapshot_balance(), UnfoldedLeg.objects.count()) == (Decimal("-30.50"), 0, 3)
    assert fold_house() == 3
    assert (house_balance(), snapshot_balance(), UnfoldedLeg.objects.count()) == (
        Decimal("-30.50"),
        Decimal("-30.50"),
        0,
    )
    assert fold_house() == 0


def test_each_house_wallet_gets_its_own_legs(db: None) -> None:
    ledger_cast.wallet("10.00")
    ledger_cast.wallet("7", currency="JPY")
    ledger_cast.wallet("3.00", environment="DEMO")
    fold_house()
    assert {w.number: w.balance for w in Wallet.objects.filter(number__startswith="HOUSE").exclude(balance=0)} == {
        ADJUSTMENT: -10,
        "HOUSE_ADJUSTMENT-JPY-LIVE": -7,
        "HOUSE_ADJUSTMENT-USD-DEMO": -3,
    }


def test_a_batch_takes_no_more_than_it_is_given_oldest_first(db: None) -> None:
    for amount in ("1", "2", "4", "8", "16"):
        ledger_cast.wallet(amount)
    assert [fold_house(batch=2) for _ in range(4)] == [2, 2, 1, 0]
    assert snapshot_balance() == -31
    ledger_cast.wallet("32")
    ledger_cast.wallet("64")
    assert fold_house(batch=1) == 1
    assert (snapshot_balance(), house_balance()) == (-63, -127)


def test_what_was_folded_can_be_added_to_and_folded_again(db: None) -> None:
    wallet = ledger_cast.wallet("10")
    fold_house()
    adjust(wallet, "5.00")
    assert (snapshot_balance(), house_balance()) == (-10, -15)
    fold_house()
    assert (snapshot_balance(), house_balance()) == (-15, -15)


def test_folding_touches_no_entry_and_no_client(db: None) -> None:
    wallet = ledger_cast.wallet("10")
    entries, row = list(Entry.objects.order_by("id").values()), Wallet.objects.values().get(pk=wallet.pk)
    fold_house()
    assert list(Entry.objects.order_by("id").values()) == entries
    assert Wallet.objects.values().get(pk=wallet.pk) == row
    assert Wallet.objects.get(number=ADJUSTMENT).version == 0


def test_a_transaction_that_commits_late_is_not_lost(committed_db: Clone) -> None:
    early, late = ledger_cast.wallet("100"), ledger_cast.wallet("100")
    fold_house()
    posted, folded = Event(), Event()

    def post_and_linger() -> None:
        with transaction.atomic():
            (locked,) = ledger.lock_wallets(late.number)
            ledger_cast.adjust(locked, Decimal("7.00"))
            posted.set()
            assert folded.wait(10)

    def fold_meanwhile() -> tuple[int, Decimal]:
        assert posted.wait(10)
        adjust(early, "1.00")  # a later id, committed earlier
        try:
            return fold_house(), snapshot_balance()
        finally:
            folded.set()

    _, (legs, snapshot) = ledger_cast.at_once(post_and_linger, fold_meanwhile)
    assert (legs, snapshot) == (1, Decimal("-201.00"))
    assert (house_balance(), UnfoldedLeg.objects.count()) == (Decimal("-208.00"), 1)
    assert fold_house() == 1
    assert (snapshot_balance(), house_balance()) == (Decimal("-208.00"), Decimal("-208.00"))
    assert books.breaks() == {}


def test_a_fold_that_fails_folds_nothing(committed_db: Clone) -> None:
    ledger_cast.wallet("10")
    books.corrupt("INSERT INTO wallets_unfoldedleg VALUES (gen_random_uuid(), 1, %s)", ledger_cast.wallet("5"))
    with pytest.raises(AssertionError, match="belongs to a wallet of the house"):
        fold_house()
    assert (snapshot_balance(), UnfoldedLeg.objects.count(), house_balance()) == (0, 3, -15)


def test_four_folders_fold_every_leg_once_while_money_moves(committed_db: Clone) -> None:
    wallets = [ledger_cast.wallet("10", currency=currency) for currency in ("USD", "EUR") * 4]
    # A tail of a thousand legs, put there the way postings put them: with an entry each.
    books.corrupt(
        "WITH e AS (INSERT INTO wallets_entry"
        " (id, transaction_id, owner_id, wallet_id, currency, amount, reason, posted_at)"
        " SELECT gen_random_uuid(), t.id, t.owner_id, w.id, 'USD', s.amount, 'ADJUSTMENT', t.posted_at"
        "   FROM generate_series(1, 500) n"
        "  CROSS JOIN (VALUES (1.00), (-1.00)) AS s (amount)"
        "   JOIN wallets_wallet w ON w.number = CASE WHEN s.amount > 0 THEN 'HOUSE_SWAP-USD-LIVE' ELSE %s END"
        "   JOIN wallets_ledgertransaction t ON t.id = (SELECT min(id::text)::uuid FROM wallets_ledgertransaction)"
        " RETURNING id, wallet_id, amount)"
        " INSERT INTO wallets_unfoldedleg (entry_id, wallet_id, amount) SELECT id, wallet_id, amount FROM e",
        ADJUSTMENT,
    )
    before = {currency: house_balance(currency) for currency in ("USD", "EUR")}
    posting_done = Event()

    def fold() -> int:
        total = 0
        while True:
            is_last_round = posting_done.is_set()
            folded = fold_house(batch=25)
            total += folded
            if is_last_round and not folded:
                return total

    def post() -> int:
        try:
            for place in range(120):
                adjust(wallets[place % len(wallets)])
        finally:
            posting_done.set()
        return 120

    *folded, posted = ledger_cast.at_once(fold, fold, fold, fold, post)
    assert sum(folded) == 8 + 1_000 + posted
    assert UnfoldedLeg.objects.count() == 0
    assert {currency: house_balance(currency) for currency in before} == {
        "USD": before["USD"] - 60,
        "EUR": before["EUR"] - 60,
    }
    assert snapshot_balance() == house_balance()
    assert books.breaks() == {}


def test_a_reader_never_sees_a_leg_twice_or_not_at_all(committed_db: Clone) -> None:
    for _ in range(40):
        ledger_cast.wallet("1.00")
    done = Event()

    def fold() -> int:
        try:
            return sum(iter(lambda: fold_house(batch=1), 0))
        finally:
            done.set()

    def read() -> set[Decimal]:
        seen = {house_balance()}
        while not done.is_set():
            seen.add(house_balance())
        return seen

    folded, seen = ledger_cast.at_once(fold, read)
    assert (folded, seen) == (40, {Decimal("-40.00")})


def test_the_command_folds_until_nothing_is_left(committed_db: Clone) -> None:
    for _ in range(5):
        ledger_cast.wallet("1.00")
    out = StringIO()
    call_command("fold_house", "--batch", "2", "--json", stdout=out)
    told: dict[str, Any] = json.loads(out.getvalue())
    assert (told["folded"], told["batches"]) == (5, 3)
    call_command("fold_house", "--json", stdout=(again := StringIO()))
    assert (json.loads(again.getvalue())["folded"], snapshot_balance()) == (0, -5)


def test_the_house_has_a_balance_in_every_currency_and_environment(db: None) -> None:
    ledger_cast.wallet("1.00")
    assert ledger.house_balance(Kind.HOUSE_SWAP, "KWD", "DEMO") == 0
    with pytest.raises(AssertionError):
        ledger.house_balance(Kind.CASH, "USD", "LIVE")
