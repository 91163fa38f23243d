"""Whatever is posted, in whatever order: the books are what simple arithmetic says, and the verification agrees."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from decimal import Decimal
from fractions import Fraction
from typing import Any

from django.db import DatabaseError, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.money import AMOUNT_MAX, CURRENCIES
from tests import ledger_cast
from tests.database import Clone
from tests.wallets.books import breaks
from wallets import ledger
from wallets.ledger import REALIZING, HouseWallet, Leg, LockedWallet, Reason, Type
from wallets.models import Entry, Kind, Wallet
from wallets.services.house import fold_house

HOUSES = (Kind.HOUSE_TRADING_PNL, Kind.HOUSE_COMMISSION, Kind.HOUSE_SWAP, Kind.HOUSE_BONUS_EXPENSE)
REASONS = (Reason.TRADE_PNL, Reason.COMMISSION, Reason.SWAP, Reason.ADJUSTMENT, Reason.TRANSFER)
#: Two clients with a cash and a margin wallet each.
CLIENTS = ((Kind.CASH, "300"), (Kind.MARGIN, "200"), (Kind.CASH, "0"), (Kind.MARGIN, "50"))

places = st.integers(0, len(CLIENTS) - 1)
cents = st.integers(-40_000, 40_000)
legs = st.lists(st.tuples(st.one_of(places, st.sampled_from(HOUSES)), cents, st.sampled_from(REASONS)), max_size=7)
holds = st.dictionaries(places, st.integers(0, 60_000), max_size=2)
programs = st.lists(
    st.one_of(
        st.tuples(st.just("post"), legs, holds),
        st.tuples(st.just("hold"), places, st.integers(0, 60_000)),
        st.tuples(st.just("transfer"), places, places, st.integers(1, 15_000)),
        st.tuples(st.just("credit"), places, st.integers(-9_000, 9_000)),
        st.tuples(st.just("fold"), st.integers(1, 5)),
    ),
    min_size=1,
    max_size=12,
)


@dataclass
class Ledger:
    """The ledger as anybody would keep it on paper: a few numbers per wallet."""

    kinds: list[Kind]
    balances: list[Decimal]
    held: list[Decimal]
    realized: list[Decimal]
    versions: list[int]
    credit: list[Decimal]
    house: dict[Kind, Decimal] = field(default_factory=lambda: dict.fromkeys(HOUSES, Decimal(0)))

    def may_be(self, place: int, balance: Decimal, held: Decimal) -> bool:
        if self.kinds[place] == Kind.CASH:
            return balance >= held
        return balance >= 0 or held > 0


@given(program=programs)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_program_leaves_the_books_of_plain_arithmetic(committed_db: Clone, program: list[Any]) -> None:
    people = [ledger_cast.person(), ledger_cast.person()]
    wallets = [
        ledger_cast.wallet(balance, owner=people[place // 2], kind=kind)
        for place, (kind, balance) in enumerate(CLIENTS)
    ]
    paper = Ledger(
        kinds=[kind for kind, _ in CLIENTS],
        balances=[wallet.balance for wallet in wallets],
        held=[Decimal(0)] * 4,
        realized=[Decimal(0)] * 4,
        versions=[wallet.version for wallet in wallets],
        credit=[Decimal(0)] * 4,
    )
    steps: dict[str, Callable[..., None]] = {"post": _post, "hold": _hold, "transfer": _transfer}
    steps |= {"credit": _credit, "fold": _fold}
    try:
        for name, *terms in program:
            steps[name](wallets, paper, *terms)
            _compare(wallets, paper)
        assert breaks() == {}
    finally:
        committed_db.restore()


def _post(wallets: list[Wallet], paper: Ledger, drawn: list[Any], holds: dict[int, int]) -> None:
    moves = [(target, Decimal(amount) / 100, reason) for target, amount, reason in drawn]
    moves.append((Kind.HOUSE_TRADING_PNL, -sum((amount for _, amount, _ in moves), Decimal(0)), Reason.ADJUSTMENT))
    moves = [move for move in moves if move[1]]
    touched = sorted({target for target, _, _ in moves if isinstance(target, int)})
    new_held = {place: Decimal(held) / 100 for place, held in holds.items() if place in touched}
    new_held = {place: held for place, held in new_held.items() if paper.kinds[place] == Kind.MARGIN}
    if len(moves) < 2 or not touched:
        return
    after = {place: paper.balances[place] + _sum(moves, place) for place in touched}
    is_allowed = all(paper.may_be(place, after[place], new_held.get(place, paper.held[place])) for place in touched)

    def act() -> None:
        locked = dict(zip(touched, ledger.lock_wallets(*(wallets[place].number for place in touched)), strict=True))
        some = locked[touched[0]]

        def side(target: int | Kind) -> LockedWallet | HouseWallet:
            return locked[target] if isinstance(target, int) else ledger_cast.house(target, some)

        ledger_cast.post(
            [Leg(side(target), amount, reason) for target, amount, reason in moves],
            type=Type.ADJUSTMENT,
            owner=some.owner,
            held={locked[place].id: held for place, held in new_held.items()},
        )

    assert _is_accepted(act) == is_allowed
    if not is_allowed:
        return
    for place in touched:
        paper.balances[place] = after[place]
        paper.held[place] = new_held.get(place, paper.held[place])
        paper.versions[place] += sum(1 for target, _, _ in moves if target == place and isinstance(target, int))
        paper.realized[place] += _sum([move for move in moves if move[2] in REALIZING], place)
    for kind in HOUSES:
        paper.house[kind] += _sum(moves, kind)


def _sum(moves: list[Any], target: int | Kind) -> Decimal:
    return sum((amount for to, amount, _ in moves if to == target), Decimal(0))


def _hold(wallets: list[Wallet], paper: Ledger, place: int, held_cents: int) -> None:
    held = Decimal(held_cents) / 100
    if paper.kinds[place] == Kind.CASH:  # a cash wallet's holds are withdrawals, which are not played here
        return
    is_allowed = paper.may_be(place, paper.balances[place], held)

    def act() -> None:
        (locked,) = ledger.lock_wallets(wallets[place].number)
        ledger.set_held(locked, held)

    assert _is_accepted(act) == is_allowed
    if is_allowed:
        paper.held[place] = held


def _transfer(wallets: list[Wallet], paper: Ledger, source: int, target: int, amount_cents: int) -> None:
    amount = Decimal(amount_cents) / 100
    is_own = source // 2 == target // 2
    is_allowed = (
        source != target
        and paper.kinds[source] == Kind.CASH
        and (is_own or paper.kinds[target] == Kind.CASH)
        and paper.balances[source] >= amount
    )
    if source == target:
        return
    answer = ledger_cast.transfer(wallets[source], wallets[target], amount)
    assert (answer.status == 201) == is_allowed
    if is_allowed:
        for place, change in ((source, -amount), (target, amount)):
            paper.balances[place] += change
            paper.versions[place] += 1


def _credit(wallets: list[Wallet], paper: Ledger, place: int, amount_cents: int) -> None:
    amount = Decimal(amount_cents) / 100
    if not amount or paper.kinds[place] == Kind.CASH:  # asserted and guarded elsewhere
        return
    is_allowed = paper.credit[place] + amount >= 0

    def act() -> None:
        (locked,) = ledger.lock_wallets(wallets[place].number)
        ledger_cast.post(ledger.credit_legs(locked, amount), type=Type.BONUS, owner=locked.owner)

    assert _is_accepted(act) == is_allowed
    if is_allowed:
        paper.credit[place] += amount
        paper.versions[place] += 1
        paper.house[Kind.HOUSE_BONUS_EXPENSE] -= amount


def _fold(_wallets: list[Wallet], _paper: Ledger, batch: int) -> None:
    fold_house(batch=batch)


def _is_accepted(act: Callable[[], object]) -> bool:
    try:
        with transaction.atomic(durable=True):
            act()
    except DatabaseError:
        return False
    return True


def _compare(wallets: list[Wallet], paper: Ledger) -> None:
    for place, wallet in enumerate(wallets):
        row = Wallet.objects.get(pk=wallet.pk)
        assert (row.balance, row.held, row.credit, row.realized_profit, row.version) == (
            paper.balances[place],
            paper.held[place],
            paper.credit[place],
            paper.realized[place],
            paper.versions[place],
        )
        assert Entry.objects.filter(wallet=row).count() == row.version
    assert {kind: ledger.house_balance(kind, "USD", "LIVE") for kind in HOUSES} == paper.house


@given(
    balance=st.integers(1, 10**14),
    credit=st.integers(0, 10**14),
    parts=st.lists(st.integers(1, 10**14), min_size=1, max_size=8),
    currency=st.sampled_from(sorted(CURRENCIES)),
)
@settings(max_examples=500, deadline=None)
def test_no_way_of_leaving_keeps_more_credit_than_leaving_at_once(
    balance: int, credit: int, parts: list[int], currency: str
) -> None:
    unit = CURRENCIES[currency].unit
    wallet = _wallet(balance * unit, credit * unit, currency)
    whole = min(sum(parts), balance) * unit
    at_once = ledger.credit_lost(wallet, whole)
    exact = Fraction(wallet.credit) * Fraction(whole) / Fraction(wallet.balance)
    assert exact <= Fraction(at_once) < exact + Fraction(unit)
    assert at_once <= wallet.credit
    lost = Decimal(0)
    for part in parts:
        amount = min(part * unit, wallet.balance)
        if not amount:
            break
        share = ledger.credit_lost(wallet, amount)
        assert 0 <= share <= wallet.credit
        lost += share
        wallet.balance -= amount
        wallet.credit -= share
    assert lost >= at_once
    assert wallet.balance or not wallet.credit


def _wallet(balance: Decimal, credit: Decimal, currency: str) -> LockedWallet:
    """A margin wallet that only its figures are known of."""
    facts: Any = dict.fromkeys(field.name for field in fields(LockedWallet))
    return LockedWallet(**facts | {"balance": balance, "credit": credit, "currency": currency, "kind": Kind.MARGIN})


@given(
    amount=st.decimals(min_value=Decimal("0.00000001"), max_value=AMOUNT_MAX, places=8),
    currency=st.sampled_from(sorted(CURRENCIES)),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_amount_a_column_holds_can_be_booked_and_read_back(db: None, amount: Decimal, currency: str) -> None:
    unit = CURRENCIES[currency].unit
    booked = (amount // unit) * unit
    if not booked:
        return
    wallet = ledger_cast.wallet(booked, currency=currency)
    entry = Entry.objects.get(wallet=wallet)
    assert (wallet.balance, entry.amount, entry.balance_after) == (booked, booked, booked)
    assert bytes(entry.digest or b"") == ledger.link(
        bytes(32),
        wallet=wallet.pk,
        version=1,
        transaction=entry.transaction_id,
        amount=booked,
        balance_after=booked,
        posted_at=entry.posted_at,
    )
