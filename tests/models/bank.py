"""
A bank run: sixteen writers move money in every way that clients have, and readers add it all up at one moment.

Writers and readers are threads of processes of their own, each with its own connection. What a reader sees is right if
clients and house together have nothing in any currency (what one has, the other owes), and if what one client has is
what their entries say, with as much of it held as their withdrawals and positions need.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, field
from decimal import Decimal
from multiprocessing import get_context
from typing import Any
from uuid import UUID

from django.db import connections, transaction

from core import db, snapshot
from core.audit import Actor, ActorKind
from core.errors import DomainError
from core.idempotency import Answer, Claim, Operation
from core.ids import uuid7
from tests.cast import carol_staff, make_client
from tests.concurrency.transferring import retries
from tests.trading import prices
from tests.wallets.calls import bank_account
from trading.engine import Instruction
from trading.margin import Side
from trading.services import accounts, orders, positions
from wallets.services import deposits, transfers, withdrawals
from wallets.services.house import fold_house

WRITERS, PROCESSES, READERS = 16, 4, 2
CLIENTS_BY_CURRENCY = {"USD": 8, "EUR": 4}
SECONDS_MORE_MAX = 60
TO_THE_BANK = (
    withdrawals.start_review,
    withdrawals.approve_withdrawal,
    withdrawals.mark_sent,
    withdrawals.complete_withdrawal,
)


@dataclass(frozen=True, slots=True)
class Client:
    """A client as writers and readers need to know them."""

    owner: UUID
    currency: str
    cash: str
    margin: str
    account: str


@dataclass(slots=True)
class Found:
    """What came of it: what was written, how often it was added up, and what was wrong."""

    writes: Counter[str] = field(default_factory=Counter)
    reads: int = 0
    wrong: list[str] = field(default_factory=list)

    def __iadd__(self, other: Found) -> Found:
        self.writes += other.writes
        self.reads += other.reads
        self.wrong += other.wrong
        return self


def open_bank() -> tuple[list[Client], UUID]:
    """The clients, few enough to meet all the time, and a member of staff; and a market."""
    prices.open_market()
    clients = []
    for currency, count in CLIENTS_BY_CURRENCY.items():
        for _ in range(count):
            who = make_client(currency=currency, margin=Decimal(3_000))
            bank_account(who)
            clients.append(Client(who.user.pk, currency, who.cash.number, who.margin.number, who.account.number))
    return clients, carol_staff().user.pk


def run(clients: list[Client], staff: UUID, *, seconds: float, reads_min: int = 0, is_isolated: bool = True) -> Found:
    """
    Let everybody go on for so many seconds, and until there are so many reads, in at most a minute more.

    Without isolation only until the first wrong total is seen.

    :raises BaseException: whatever a writer or reader fails with
    """
    connections.close_all()  # the children would share its socket
    fork, end = get_context("fork"), time.monotonic() + seconds
    over, found = fork.Event(), Found()
    children = PROCESSES + READERS + 1
    with ProcessPoolExecutor(children, mp_context=fork, initializer=_join, initargs=(over,)) as pool:
        readers = [pool.submit(read, clients, end, reads_min // READERS, is_isolated) for _ in range(READERS)]
        others = [pool.submit(write, clients, staff, WRITERS // PROCESSES) for _ in range(PROCESSES)]
        others.append(pool.submit(keep_house))
        try:
            for part in readers:
                found += part.result(seconds + 2 * SECONDS_MORE_MAX)
        finally:
            over.set()
        for part in others:
            found += part.result(SECONDS_MORE_MAX)
    return found


_over: Any = None  # told to each child as it begins


def _join(over: Any) -> None:
    global _over  # noqa: PLW0603 - one for the whole process
    _over = over


def keep_house() -> Found:
    """What cron does meanwhile: prices stay fresh, and the house's legs are folded."""
    try:
        pushed = 0.0
        while not _over.wait(0.05):
            if time.monotonic() > pushed + 10:
                prices.push(**prices.PRICES)
                pushed = time.monotonic()
            fold_house(batch=200)
        return Found()
    finally:
        connections.close_all()


# --- Writers ----------------------------------------------------------------------------------------------------------


def write(clients: Sequence[Client], staff: UUID, threads: int) -> Found:
    found, before = Found(), retries()  # of the process that this one was forked from
    with ThreadPoolExecutor(threads) as pool:
        for written in pool.map(lambda _: Writer(clients, staff).go_on(), range(threads)):
            found.writes += written
    found.writes += retries() - before
    return found


class Writer:
    """Somebody who does one thing after the other, for one client or another."""

    def __init__(self, clients: Sequence[Client], staff: UUID) -> None:
        self.clients, self.staff = clients, Actor(id=staff, kind=ActorKind.STAFF)
        self.dice = random.Random()
        self.opened: list[tuple[Client, UUID]] = []
        self.tally: Counter[str] = Counter()

    def go_on(self) -> Counter[str]:
        acts: list[Callable[[], None]] = [
            self.transfer, self.transfer, self.deposit, self.withdraw, self.fund, self.release, self.open, self.close,
        ]  # fmt: skip
        try:
            while not _over.is_set():
                self.dice.choice(acts)()
                time.sleep(self.dice.uniform(0, 0.12))  # they are clients, and leave the readers some of the machine
            return self.tally
        finally:
            connections.close_all()

    def transfer(self) -> None:
        source, target = self.dice.sample(self.clients, 2)
        self.send(transfers.transfer_funds, transfers.TRANSFER, source, source=source.cash, target=target.cash)

    def deposit(self) -> None:
        who = self.dice.choice(self.clients)
        self.send(deposits.create_deposit, deposits.CREATE_DEPOSIT, who, wallet=who.cash)

    def withdraw(self) -> None:
        """All the way to the bank, or back again."""
        who = self.dice.choice(self.clients)
        made = self.send(withdrawals.request_withdrawal, withdrawals.REQUEST_WITHDRAWAL, who, wallet=who.cash)
        if made is None:
            return
        if self.dice.random() < 0.5:
            terms: dict[str, Any] = {"amount": None, "withdrawal_id": made.effect_id}
            self.send(withdrawals.cancel_withdrawal, withdrawals.CANCEL_WITHDRAWAL, who, **terms)
            return
        for step in TO_THE_BANK:
            assert made.effect_id is not None
            step(withdrawal_id=made.effect_id, reason="paid out in a bank run", actor=self.staff)
            self.tally[step.__name__] += 1

    def fund(self) -> None:
        who = self.dice.choice(self.clients)
        self.send(transfers.transfer_funds, transfers.TRANSFER, who, source=who.cash, target=who.margin)

    def release(self) -> None:
        who = self.dice.choice(self.clients)
        self.send(accounts.release_funds, accounts.RELEASE, who, account=who.account, target=who.cash)

    def open(self) -> None:
        who, side = self.dice.choice(self.clients), self.dice.choice(list(Side))
        terms: dict[str, Any] = {"account": who.account, "symbol": "EURUSD", "client_order_id": None, "amount": None}
        instruction = Instruction(side, Decimal("0.10"))
        made = self.send(orders.place_order, orders.OPEN, who, instruction=instruction, **terms)
        if made is not None:
            self.opened.append((who, UUID(made.document["position"]["id"])))

    def close(self) -> None:
        if self.opened:
            who, position = self.opened.pop(self.dice.randrange(len(self.opened)))
            self.send(positions.close_position, positions.CLOSE, who, amount=None, position_id=position, volume=None)

    def send(self, service: Callable[..., Answer], operation: Operation, who: Client, **terms: Any) -> Answer | None:
        """Under a key of its own, some amount unless it has none; None if it is refused."""
        terms.setdefault("amount", Decimal(self.dice.randint(100, 30_000)) / 100)
        terms = {name: value for name, value in terms.items() if name != "amount" or value is not None}
        claim = Claim.make(operation=operation, owner=who.owner, key=f"bank run:{uuid7()}", request={})
        try:
            answer = service(**terms, claim=claim, actor=Actor(id=who.owner, kind=ActorKind.CLIENT))
        except DomainError as refusal:
            self.tally[f"{operation.name} {refusal.code}"] += 1
            return None
        self.tally[f"{operation.name} {answer.document['code']}" if answer.refused else operation.name] += 1
        return None if answer.refused else answer


# --- Readers ----------------------------------------------------------------------------------------------------------

_CLIENTS_SQL = """
SELECT currency, sum(balance) FROM wallets_wallet WHERE kind IN ('CASH', 'MARGIN') GROUP BY currency
"""
_HOUSE_SQL = """
SELECT h.currency, sum(h.amount)
  FROM (SELECT w.currency, w.balance AS amount FROM wallets_wallet w WHERE w.kind NOT IN ('CASH', 'MARGIN')
         UNION ALL
        SELECT w.currency, u.amount FROM wallets_unfoldedleg u JOIN wallets_wallet w ON w.id = u.wallet_id) h
 GROUP BY h.currency
"""
_WALLETS_SQL = """
SELECT kind, balance, held FROM wallets_wallet
 WHERE owner_id = %(owner)s::uuid AND kind IN ('CASH', 'MARGIN') ORDER BY kind
"""
_ENTRIES_SQL = """
SELECT w.kind, coalesce(sum(e.amount), 0)
  FROM wallets_wallet w LEFT JOIN wallets_entry e ON e.wallet_id = w.id
 WHERE w.owner_id = %(owner)s::uuid AND w.kind IN ('CASH', 'MARGIN') GROUP BY w.kind ORDER BY w.kind
"""
_PROMISED_SQL = """
SELECT (SELECT coalesce(sum(d.amount), 0) FROM wallets_withdrawal d
         WHERE d.owner_id = %(owner)s::uuid AND d.status IN ('REQUESTED', 'IN_REVIEW', 'APPROVED', 'SENT')),
       (SELECT coalesce(max(s.locked), 0) FROM (
           SELECT sum(p.margin_locked) AS locked FROM trading_position p
            WHERE p.owner_id = %(owner)s::uuid AND p.status = 'OPEN' GROUP BY p.side) s)
"""


def read(clients: Sequence[Client], end: float, reads_min: int, is_isolated: bool) -> Found:
    found, dice = Found(), random.Random()
    try:
        while (now := time.monotonic()) < end or (found.reads < reads_min and now < end + SECONDS_MORE_MAX):
            if found.wrong and not is_isolated:
                break
            who = dice.choice(clients)
            with snapshot.of_one_moment() if is_isolated else transaction.atomic():
                flaw = wrong_at_once(who)
            found.reads += 1
            found.wrong += [flaw] if flaw else []
        return found
    finally:
        connections.close_all()


def wrong_at_once(who: Client) -> str:
    """What does not add up of all and of one client, by queries that have to be of one moment; nothing if all does."""
    clients, house = dict(db.fetch_all(_CLIENTS_SQL, {})), dict(db.fetch_all(_HOUSE_SQL, {}))
    totals = {currency: total + house[currency] for currency, total in clients.items()}
    if any(totals.values()):
        return f"together they have {totals}"
    owner = {"owner": who.owner}
    wallets, entries = db.fetch_all(_WALLETS_SQL, owner), db.fetch_all(_ENTRIES_SQL, owner)
    (promised,) = db.fetch_all(_PROMISED_SQL, owner)
    expected = [(kind, total, held) for (kind, total), held in zip(entries, promised, strict=True)]
    return "" if wallets == expected else f"{who.owner} has {wallets}, not {expected}"
