"""The ledger's building blocks: one lock order, figures computed under the lock, one statement that posts them."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from threading import Event, Thread
from typing import Any
from uuid import UUID

import pytest
from django.db import DataError, IntegrityError, connection, transaction
from django.utils import timezone

from core import metrics
from core.audit import Actor
from core.db import constraint
from core.ids import uuid7
from core.models import KillSwitch
from core.money import AMOUNT_MAX
from tests import ledger_cast
from tests.database import Clone
from wallets import ledger
from wallets.ledger import HouseWallet, Leg, LockedWallet, Reason, Type, WalletNotFound
from wallets.models import Entry, Kind, LedgerTransaction, UnfoldedLeg, Wallet

ONE = Decimal("1.00")


def lock(wallet: Wallet) -> LockedWallet:
    return ledger.lock_wallets(wallet.number)[0]


# --- Locking --------------------------------------------------------------------------------------------------------


def test_locks_come_back_in_the_order_asked_for(db: None) -> None:
    wallets = [ledger_cast.wallet("1") for _ in range(4)]
    for order in (wallets, wallets[::-1]):
        with transaction.atomic():
            assert [w.number for w in ledger.lock_wallets(*(w.number for w in order))] == [w.number for w in order]
            assert [w.id for w in ledger.lock_wallets_by_id(*(w.pk for w in order))] == [w.pk for w in order]


def test_a_locked_wallet_shows_its_row(db: None) -> None:
    row = ledger_cast.wallet("12.34", kind=Kind.MARGIN, currency="EUR", environment="DEMO")
    with transaction.atomic():
        locked = lock(row)
    assert (locked.id, locked.owner, locked.kind, locked.currency, locked.environment) == (
        row.pk,
        row.owner_id,
        "MARGIN",
        "EUR",
        "DEMO",
    )
    assert (locked.balance, locked.held, locked.version, locked.head) == (row.balance, 0, 1, bytes(row.head))


def test_an_unknown_wallet_is_not_found(db: None) -> None:
    known = ledger_cast.wallet("1")
    with transaction.atomic(), pytest.raises(WalletNotFound) as refusal:
        ledger.lock_wallets(known.number, "W0")
    assert refusal.value.context == {"number": "W0"}


def test_a_wallet_of_the_house_is_not_there_to_be_locked(db: None) -> None:
    house = Wallet.objects.get(number="HOUSE_COMMISSION-USD-LIVE")
    with transaction.atomic(), pytest.raises(WalletNotFound):
        ledger.lock_wallets(house.number)
    with transaction.atomic(), pytest.raises(WalletNotFound):
        ledger.lock_wallets_by_id(house.pk)


def test_the_lock_reads_the_kill_switches_that_are_engaged(db: None) -> None:
    wallet = ledger_cast.wallet("1")
    KillSwitch.objects.create(scope="TRADING:EURUSD", engaged=False)
    KillSwitch.objects.create(scope="WITHDRAWALS", engaged=True)
    with transaction.atomic():
        assert lock(wallet).kill_switches == {"WITHDRAWALS"}


def test_a_second_transaction_waits_for_the_first(committed_db: Clone) -> None:
    wallet = ledger_cast.wallet("10")
    locked, seen = Event(), []

    def first() -> None:
        with transaction.atomic():
            mine = lock(wallet)
            locked.set()
            time.sleep(0.2)
            ledger_cast.adjust(mine, ONE)

    def second() -> None:
        assert locked.wait(10)
        with transaction.atomic():
            seen.append(lock(wallet).balance)

    ledger_cast.at_once(first, second)
    assert seen == [Decimal("11.00")]


def test_rows_are_locked_by_owner_and_then_by_id(committed_db: Clone) -> None:
    # Ids are given here so that owner order, id order and the order asked for all differ.
    people = sorted(ledger_cast.person() for _ in range(3))
    ids = sorted(uuid7() for _ in range(6))
    owned = list(zip(ids, people[::-1] * 2, strict=True))
    for serial, (id_, owner) in enumerate(owned):
        Wallet.objects.create(
            id=id_, number=f"ORDER{serial}", owner_id=owner, environment="LIVE", kind=Kind.CASH, currency="USD"
        )
    expected = [id_ for id_, owner in sorted(owned, key=lambda pair: (pair[1], pair[0]))]

    for place, blocked_at in enumerate(expected):
        waiter = Thread(target=_lock_all, args=(ids[::-1],))
        with transaction.atomic():
            assert _can_lock(blocked_at)
            waiter.start()
            ledger_cast.wait_for_a_waiter()
            free = [id_ for id_ in expected if id_ != blocked_at and _can_lock(id_)]
        waiter.join(10)
        # It sat at `blocked_at` with everything before it locked, and nothing behind it.
        assert free == expected[place + 1 :]


def _lock_all(ids: list[UUID]) -> None:
    with closing(connection), transaction.atomic():
        ledger.lock_wallets_by_id(*ids)


def _can_lock(id_: UUID) -> bool:
    rows = Wallet.objects.select_for_update(no_key=True, skip_locked=True).order_by("pk").filter(pk=id_)
    return rows.first() is not None


def test_crossing_operations_do_not_deadlock(committed_db: Clone) -> None:
    a, b = ledger_cast.wallet("100"), ledger_cast.wallet("100")

    def back_and_forth(first: Wallet, second: Wallet) -> Callable[[], None]:
        def run() -> None:
            for _ in range(100):
                with transaction.atomic(durable=True):
                    here, there = ledger.lock_wallets(first.number, second.number)
                    legs = [Leg(here, -ONE, Reason.ADJUSTMENT), Leg(there, ONE, Reason.ADJUSTMENT)]
                    ledger_cast.post(legs, type=Type.ADJUSTMENT, owner=here.owner)

        return run

    before = ledger_cast.deadlocks()
    # Nothing retries in here: one deadlock would fail a thread.
    ledger_cast.at_once(*[back_and_forth(a, b), back_and_forth(b, a)] * 2)
    assert (ledger_cast.balance_of(a), ledger_cast.balance_of(b)) == (100, 100)
    assert ledger_cast.deadlocks() == before


# --- Posting --------------------------------------------------------------------------------------------------------


def test_a_posting_moves_its_legs_and_nothing_else(db: None) -> None:
    payer, payee, bystander = (ledger_cast.wallet("100") for _ in range(3))
    with transaction.atomic():
        here, there = ledger.lock_wallets(payer.number, payee.number)
        posted = ledger_cast.post(
            [Leg(here, Decimal("-0.07"), Reason.ADJUSTMENT), Leg(there, Decimal("0.07"), Reason.ADJUSTMENT)],
            type=Type.ADJUSTMENT,
            owner=here.owner,
            reason="a coin",
            reference="B-1",
        )
    assert [ledger_cast.balance_of(w) for w in (payer, payee, bystander)] == [
        Decimal("99.93"),
        Decimal("100.07"),
        Decimal("100.00"),
    ]
    row = LedgerTransaction.objects.get(pk=posted.id)
    assert (row.type, row.environment, row.reason, row.reference) == ("ADJUSTMENT", "LIVE", "a coin", "B-1")
    assert (row.posted_at, row.effective_at, row.reverses_id) == (posted.posted_at, posted.posted_at, None)
    assert row.owner_id == payer.owner_id
    entries = {e.wallet_id: e for e in Entry.objects.filter(transaction=row)}
    assert {id_: (e.amount, e.balance_after, e.wallet_version, e.owner_id) for id_, e in entries.items()} == {
        payer.pk: (Decimal("-0.07"), Decimal("99.93"), 2, payer.owner_id),
        payee.pk: (Decimal("0.07"), Decimal("100.07"), 2, payee.owner_id),
    }


def test_a_posting_keeps_the_locked_wallet_current(db: None) -> None:
    row = ledger_cast.wallet("10")
    with transaction.atomic():
        locked = lock(row)
        ledger_cast.adjust(locked, ONE)
        ledger_cast.adjust(locked, ONE)
    row.refresh_from_db()
    assert (locked.balance, locked.version, locked.head) == (row.balance, row.version, bytes(row.head))
    assert (row.balance, row.version) == (Decimal("12.00"), 3)


def test_many_legs_on_one_wallet_are_numbered_without_gaps(db: None) -> None:
    row = ledger_cast.wallet("100", kind=Kind.MARGIN)
    with transaction.atomic():
        locked = lock(row)
        profit, commission = (
            ledger_cast.house(kind, locked) for kind in (Kind.HOUSE_TRADING_PNL, Kind.HOUSE_COMMISSION)
        )
        ledger_cast.post(
            [
                Leg(locked, Decimal("-30.00"), Reason.TRADE_PNL),
                Leg(profit, Decimal("30.00"), Reason.TRADE_PNL),
                Leg(locked, Decimal("-3.50"), Reason.COMMISSION),
                Leg(commission, Decimal("3.50"), Reason.COMMISSION),
                Leg(locked, Decimal("0.00"), Reason.SWAP),
                Leg(locked, Decimal("-1.25"), Reason.SWAP),
                Leg(ledger_cast.house(Kind.HOUSE_SWAP, locked), Decimal("1.25"), Reason.SWAP),
            ],
            type=Type.CLOSE,
            owner=locked.owner,
        )
    lines = Entry.objects.filter(wallet=row).order_by("wallet_version")
    assert [(e.wallet_version, e.reason, e.amount, e.balance_after) for e in lines] == [
        (1, "ADJUSTMENT", 100, 100),
        (2, "TRADE_PNL", -30, 70),
        (3, "COMMISSION", Decimal("-3.50"), Decimal("66.50")),
        (4, "SWAP", Decimal("-1.25"), Decimal("65.25")),
    ]
    row.refresh_from_db()
    assert (row.version, row.balance, row.realized_profit) == (4, Decimal("65.25"), Decimal("-34.75"))


def test_credit_moves_the_credit_and_leaves_the_balance(db: None) -> None:
    row = ledger_cast.wallet("100", kind=Kind.MARGIN)
    for amount in ("30.00", "-12.34"):
        with transaction.atomic():
            locked = lock(row)
            ledger_cast.post(ledger.credit_legs(locked, Decimal(amount)), type=Type.BONUS, owner=locked.owner)
            assert locked.credit == Wallet.objects.get(pk=row.pk).credit
    lines = Entry.objects.filter(wallet=row).order_by("wallet_version")
    assert [(e.wallet_version, e.reason, e.amount, e.balance_after) for e in lines] == [
        (1, "ADJUSTMENT", 100, 100),
        (2, "CREDIT_IN", 30, 100),
        (3, "CREDIT_OUT", Decimal("-12.34"), 100),
    ]
    row.refresh_from_db()
    assert (row.balance, row.credit, row.realized_profit) == (100, Decimal("17.66"), 0)
    assert ledger.house_balance(Kind.HOUSE_BONUS_EXPENSE, "USD", "LIVE") == Decimal("-17.66")


def test_credit_is_not_taken_twice(db: None) -> None:
    row = ledger_cast.wallet("100", kind=Kind.MARGIN)
    with pytest.raises(IntegrityError, match="wallet_credit_not_negative"):
        ledger_cast.give_credit(row, "-0.01")


def test_a_cash_wallet_takes_no_credit(db: None) -> None:
    row = ledger_cast.wallet("100")
    with pytest.raises(AssertionError, match="credit is margin"):
        ledger_cast.give_credit(row, ONE)


@pytest.mark.parametrize(
    "balance,credit,amount,currency,lost",
    [
        ("1500", "1000", "750", "USD", "500"),
        ("500", "300", "225", "USD", "135"),
        ("1000", "10", "0.01", "USD", "0.01"),  # a cent for less than a cent: nobody keeps a bonus by leaving slowly
        ("1000", "10", "1000", "USD", "10"),
        ("3", "100", "1", "USD", "33.34"),
        ("3", "100", "2", "USD", "66.67"),
        ("3", "100", "3", "USD", "100"),
        ("30", "100", "10", "JPY", "34"),
        ("3", "0", "1", "USD", "0"),
        ("999999999999.99", "999999999999.99", "0.01", "USD", "0.01"),
    ],
)
def test_credit_goes_in_proportion_rounded_up(
    db: None, balance: str, credit: str, amount: str, currency: str, lost: str
) -> None:
    row = ledger_cast.wallet(balance, kind=Kind.MARGIN, currency=currency)
    if Decimal(credit):
        ledger_cast.give_credit(row, credit)
    with transaction.atomic():
        locked = lock(row)
        assert ledger.credit_lost(locked, Decimal(amount)) == Decimal(lost)


def test_each_link_follows_from_the_one_before(db: None) -> None:
    row = ledger_cast.wallet("100")
    with transaction.atomic():
        ledger_cast.adjust(lock(row), ONE)
    first, second = Entry.objects.filter(wallet=row).order_by("wallet_version")

    def digest(previous: bytes, entry: Entry, **other: Any) -> bytes:
        facts: dict[str, Any] = {
            "wallet": row.pk,
            "version": entry.wallet_version,
            "transaction": entry.transaction_id,
            "amount": entry.amount,
            "balance_after": entry.balance_after,
            "posted_at": entry.posted_at,
        }
        return ledger.link(previous, **(facts | other))

    one, two = (bytes(entry.digest or b"") for entry in (first, second))
    assert one == digest(bytes(32), first)
    assert two == digest(one, second) == bytes(Wallet.objects.get(pk=row.pk).head)
    changed: list[dict[str, Any]] = [
        {"wallet": uuid7()},
        {"version": 3},
        {"transaction": uuid7()},
        {"amount": Decimal("1.01")},
        {"balance_after": Decimal("102")},
        {"posted_at": timezone.now()},
    ]
    digests = {digest(one, second, **other) for other in changed} | {digest(bytes(32), second)}
    assert len(digests) == 7
    assert two not in digests


def test_a_link_does_not_depend_on_how_a_number_is_spelled() -> None:
    wallet, posting, moment = uuid7(), uuid7(), timezone.now()
    spellings = [(Decimal("1"), Decimal("1E+2")), (Decimal("1.00000000"), Decimal("100.0"))]
    links = {
        ledger.link(
            bytes(32),
            wallet=wallet,
            version=1,
            transaction=posting,
            amount=amount,
            balance_after=after,
            posted_at=moment,
        )
        for amount, after in spellings
    }
    assert len(links) == 1


def test_house_legs_wait_to_be_folded(db: None) -> None:
    row = ledger_cast.wallet("100")
    house = Wallet.objects.get(number="HOUSE_ADJUSTMENT-USD-LIVE")
    entry = Entry.objects.get(wallet=house)
    assert (entry.owner_id, entry.amount, entry.wallet_version, entry.digest) == (row.owner_id, -100, None, None)
    assert list(UnfoldedLeg.objects.values_list("entry_id", "wallet_id", "amount")) == [(entry.pk, house.pk, -100)]
    assert (house.balance, house.version) == (0, 0)
    assert ledger.house_balance(Kind.HOUSE_ADJUSTMENT, "USD", "LIVE") == -100
    assert ledger.house_balance(Kind.HOUSE_ADJUSTMENT, "USD", "DEMO") == 0


def test_a_hold_is_set_in_the_same_breath(db: None) -> None:
    row = ledger_cast.wallet("100", kind=Kind.MARGIN)
    with transaction.atomic():
        locked = lock(row)
        ledger_cast.adjust(locked, Decimal("-2.00"), held={locked.id: Decimal("33.40")})
    row.refresh_from_db()
    assert (row.balance, row.held, locked.held) == (Decimal("98.00"), Decimal("33.40"), Decimal("33.40"))


# --- Holding --------------------------------------------------------------------------------------------------------


def test_holds_add_up_and_are_taken_back(db: None) -> None:
    row = ledger_cast.wallet("100")
    with transaction.atomic():
        locked = lock(row)
        ledger.hold(locked, Decimal("60.00"))
        ledger.hold(locked, Decimal("15.00"))
        assert locked.available == Decimal("25.00")
        ledger.release(locked, Decimal("60.00"))
    row.refresh_from_db()
    assert (row.balance, row.held, row.version) == (100, 15, 1)


def test_a_cash_wallet_cannot_promise_what_it_lacks(db: None) -> None:
    row = ledger_cast.wallet("100")
    with pytest.raises(IntegrityError, match="wallet_cash_covers_its_holds"), transaction.atomic():
        ledger.hold(lock(row), Decimal("100.01"))
    with transaction.atomic(), pytest.raises(AssertionError):
        ledger.release(lock(row), Decimal("0.01"))
    row.refresh_from_db()
    assert (row.balance, row.held) == (100, 0)


# --- What is refused ------------------------------------------------------------------------------------------------


def test_everything_refuses_to_run_outside_a_transaction(committed_db: Clone) -> None:
    row = ledger_cast.wallet("10")
    with transaction.atomic():
        locked = lock(row)
    actions: list[Callable[[], object]] = [
        lambda: ledger.lock_wallets(row.number),
        lambda: ledger.lock_wallets_by_id(row.pk),
        lambda: ledger.open_wallet(
            owner=row.owner_id, environment="LIVE", kind=Kind.CASH, currency="USD", verified=True
        ),
        lambda: ledger.set_gates([locked], withdrawals_enabled=False),
        lambda: ledger.hold(locked, ONE),
        lambda: ledger.set_held(locked, ONE),
        lambda: ledger_cast.adjust(locked, ONE),
        lambda: ledger.fold_house_legs(1),
    ]
    for action in actions:
        with pytest.raises(AssertionError, match="only inside the caller's transaction"):
            action()
    row.refresh_from_db()
    assert (row.balance, row.held, row.withdrawals_enabled) == (10, 0, True)
    assert Entry.objects.filter(wallet=row).count() == 1
    assert not Wallet.objects.filter(owner_id=row.owner_id).exclude(pk=row.pk).exists()


def test_a_new_wallet_is_empty_and_open_for_everything(db: None) -> None:
    owner = ledger_cast.person()
    with transaction.atomic():
        opened = ledger.open_wallet(owner=owner, environment="LIVE", kind=Kind.CASH, currency="USD", verified=False)
        found = ledger.lock_wallets(opened.number)[0]
    assert replace(opened, kill_switches=found.kill_switches) == found
    assert (found.deposits_enabled, found.withdrawals_enabled, found.trading_enabled) == (True, True, True)
    assert (found.balance, found.held, found.credit, found.version, found.verified) == (0, 0, 0, 0, False)


def test_what_is_foreseen_is_what_a_posting_makes_of_it(db: None) -> None:
    margin, other = (ledger_cast.wallet("10", kind=Kind.MARGIN) for _ in range(2))
    with transaction.atomic():
        locked, elsewhere = ledger.lock_wallets_by_id(margin.pk, other.pk)
        legs = [Leg(locked, -ONE, Reason.TRANSFER), Leg(elsewhere, ONE, Reason.TRANSFER)]
        after = ledger.foreseen(locked, [*legs, *ledger.credit_legs(locked, Decimal("3.00"))], held=Decimal("2.00"))
        assert (after.balance, after.credit, after.held) == (Decimal("9.00"), Decimal("3.00"), Decimal("2.00"))
        assert (locked.balance, locked.credit, locked.held) == (10, 0, 0), "nothing is changed"


def test_how_long_a_lock_took_is_measured(db: None) -> None:
    row = ledger_cast.wallet("10")
    before = metrics.LOCK_WAIT_SECONDS._sum.get()
    with transaction.atomic():
        lock(row)
    assert 0 < metrics.LOCK_WAIT_SECONDS._sum.get() - before < 5


def test_a_wallet_locked_by_an_earlier_transaction_is_refused(committed_db: Clone) -> None:
    row = ledger_cast.wallet("10")
    with transaction.atomic():
        locked = lock(row)
    actions: list[Callable[[], object]] = [
        lambda: ledger_cast.adjust(locked, ONE),
        lambda: ledger.hold(locked, ONE),
        lambda: ledger.set_gates([locked], withdrawals_enabled=False),
    ]
    for action in actions:
        with transaction.atomic(), pytest.raises(AssertionError, match="is not locked by this transaction"):
            action()
    row.refresh_from_db()
    assert (row.balance, row.version, row.held, row.withdrawals_enabled) == (10, 1, 0, True)


def test_a_wallet_nobody_locked_is_refused(db: None) -> None:
    row = ledger_cast.wallet("10")
    with transaction.atomic():
        made_up = replace(lock(row), locked_in=0)
        with pytest.raises(AssertionError, match="is not locked by this transaction"):
            ledger_cast.adjust(made_up, ONE)
    assert ledger_cast.balance_of(row) == 10


def test_a_wallet_that_moved_since_it_was_read_is_refused(db: None) -> None:
    row = ledger_cast.wallet("10")
    with transaction.atomic():
        stale = replace(lock(row))
        ledger_cast.adjust(lock(row), ONE)
        with pytest.raises(IntegrityError, match="entry_wallet_version"), transaction.atomic():
            ledger_cast.adjust(stale, ONE)
        with pytest.raises(AssertionError, match="changed under its lock"), transaction.atomic():
            ledger.hold(stale, ONE)
    assert ledger_cast.balance_of(row) == 11
    assert Entry.objects.filter(wallet=row).count() == 2


def test_a_hold_set_since_it_was_read_is_not_written_over(db: None) -> None:
    row = ledger_cast.wallet("10")
    with transaction.atomic():
        stale = replace(lock(row))
        ledger.hold(lock(row), Decimal("4.00"))
        with pytest.raises(IntegrityError, match="entry_is_chained"), transaction.atomic():
            ledger_cast.adjust(stale, ONE)
        with pytest.raises(AssertionError, match="changed under its lock"), transaction.atomic():
            ledger.hold(stale, ONE)
    row.refresh_from_db()
    assert (row.balance, row.held, row.version) == (10, 4, 1)


def test_legs_that_do_not_belong_together_are_refused(db: None) -> None:
    dollars, euros, demo = (
        ledger_cast.wallet("10"),
        ledger_cast.wallet("10", currency="EUR"),
        ledger_cast.wallet("10", environment="DEMO"),
    )
    with transaction.atomic():
        usd, eur, virtual = ledger.lock_wallets(dollars.number, euros.number, demo.number)
        house = ledger_cast.house(Kind.HOUSE_ADJUSTMENT, usd)
        refused: list[tuple[list[tuple[LockedWallet | HouseWallet, Decimal]], str]] = [
            ([(usd, ONE), (eur, -ONE)], "one currency and environment"),
            ([(usd, ONE), (virtual, -ONE)], "one currency and environment"),
            ([(usd, ONE)], "two legs or more"),
            ([(usd, ONE), (house, Decimal("0.00"))], "two legs or more"),
            ([(usd, ONE), (house, Decimal("-0.99"))], "sums to zero"),
            ([(usd, Decimal("0.001")), (house, Decimal("-0.001"))], "booked at the minor unit"),
        ]
        for pairs, why in refused:
            legs = [Leg(wallet, amount, Reason.ADJUSTMENT) for wallet, amount in pairs]
            with pytest.raises(AssertionError, match=why):
                ledger_cast.post(legs, type=Type.ADJUSTMENT, owner=usd.owner)
    assert [ledger_cast.balance_of(w) for w in (dollars, euros, demo)] == [10, 10, 10]
    assert LedgerTransaction.objects.count() == 3


def test_a_clients_wallet_passed_off_as_the_houses_is_refused(db: None) -> None:
    payer, victim = ledger_cast.wallet("10"), ledger_cast.wallet("10")
    with transaction.atomic():
        here = lock(payer)
        disguised = HouseWallet(victim.pk, "LIVE", "USD")
        legs = [Leg(here, ONE, Reason.ADJUSTMENT), Leg(disguised, -ONE, Reason.ADJUSTMENT)]
        with pytest.raises(IntegrityError) as refusal, transaction.atomic():
            ledger_cast.post(legs, type=Type.ADJUSTMENT, owner=here.owner)
        assert constraint(refusal.value) == "entry_has_its_wallets_owner"
    assert [ledger_cast.balance_of(w) for w in (payer, victim)] == [10, 10]


def test_a_balance_never_goes_below_zero(db: None) -> None:
    row = ledger_cast.wallet("10")
    with pytest.raises(IntegrityError, match="wallet_balance_not_negative"), transaction.atomic():
        ledger_cast.adjust(lock(row), Decimal("-10.01"))
    assert ledger_cast.balance_of(row) == 10
    assert Entry.objects.filter(wallet=row).count() == 1


def test_a_margin_wallet_may_owe_only_while_it_holds_margin(db: None) -> None:
    row = ledger_cast.wallet("10", kind=Kind.MARGIN)
    with transaction.atomic():
        locked = lock(row)
        ledger_cast.adjust(locked, Decimal("-15.00"), held={locked.id: ONE})
    assert ledger_cast.balance_of(row) == -5
    with pytest.raises(IntegrityError, match="wallet_balance_not_negative"), transaction.atomic():
        ledger.set_held(lock(row), Decimal(0))


def test_a_balance_stays_within_what_its_column_may_hold(db: None) -> None:
    row = ledger_cast.wallet(AMOUNT_MAX, currency="BTC")
    with pytest.raises(DataError, match="numeric field overflow"), transaction.atomic():
        ledger_cast.adjust(lock(row), Decimal("0.00000001"))
    assert ledger_cast.balance_of(row) == AMOUNT_MAX


def test_one_digest_posts_once(db: None) -> None:
    row = ledger_cast.wallet("10")

    def post() -> None:
        with transaction.atomic():
            locked = lock(row)
            house = ledger_cast.house(Kind.HOUSE_ADJUSTMENT, locked)
            ledger.post(
                [Leg(locked, ONE, Reason.ADJUSTMENT), Leg(house, -ONE, Reason.ADJUSTMENT)],
                type=Type.ADJUSTMENT,
                owner=locked.owner,
                actor=Actor.system(),
                now=timezone.now(),
                digest=bytes(32),
            )

    post()
    with pytest.raises(IntegrityError, match="ledgertransaction_idempotency_digest"):
        post()
    assert ledger_cast.balance_of(row) == 11


def test_gates_are_set_under_the_lock(db: None) -> None:
    row = ledger_cast.wallet("10")
    with transaction.atomic():
        locked = lock(row)
        ledger.set_gates([locked], status="FROZEN", withdrawals_enabled=False)
        with pytest.raises(AssertionError):
            ledger.set_gates([locked], balance="1000000")
    row.refresh_from_db()
    assert (row.status, row.withdrawals_enabled, row.balance) == ("FROZEN", False, 10)
    assert (locked.status, locked.withdrawals_enabled) == ("FROZEN", False)
