"""Wallets and postings straight from the ledger, for tests that are about the ledger itself and need nobody's API."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from threading import Barrier, Thread
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.utils import timezone

from accounts.models import User
from core.audit import Actor, ActorKind
from core.idempotency import Answer, Claim, system_digest
from core.ids import uuid7
from wallets import ledger
from wallets.ledger import HouseWallet, Leg, LockedWallet, Posted, Reason, Type
from wallets.models import Kind, Wallet
from wallets.services import transfers

ZERO = Decimal(0)


def person() -> UUID:
    """A client of whom nothing is known but an id."""
    return User.objects.create(email=f"{uuid7()}@example.com", password="!").pk


def wallet(
    balance: Decimal | str = ZERO,
    *,
    owner: UUID | None = None,
    kind: Kind = Kind.CASH,
    currency: str = "USD",
    environment: str = "LIVE",
) -> Wallet:
    """A committed wallet, filled by an adjustment; of a new person if `owner` is not named."""
    owner = owner or person()
    with transaction.atomic():
        opened = ledger.open_wallet(owner=owner, environment=environment, kind=kind, currency=currency, verified=True)
        if Decimal(balance):
            adjust(opened, Decimal(balance))
    return Wallet.objects.get(pk=opened.id)


def adjust(locked: LockedWallet, amount: Decimal, *, held: dict[UUID, Decimal] | None = None) -> Posted:
    """Post an adjustment into a locked wallet, inside the caller's transaction."""
    adjustment = house(Kind.HOUSE_ADJUSTMENT, locked)
    legs = [Leg(locked, amount, Reason.ADJUSTMENT), Leg(adjustment, -amount, Reason.ADJUSTMENT)]
    return post(legs, type=Type.ADJUSTMENT, owner=locked.owner, held=held)


def give_credit(wallet: Wallet, amount: Decimal | str) -> None:
    """Give credit to a margin wallet, or take it back if negative, in a transaction of its own."""
    with transaction.atomic():
        (locked,) = ledger.lock_wallets(wallet.number)
        post(ledger.credit_legs(locked, Decimal(amount)), type=Type.BONUS, owner=locked.owner)


def house(kind: Kind, locked: LockedWallet) -> HouseWallet:
    """The house's wallet that may face this one."""
    return ledger.house(kind, locked.currency, locked.environment)


def post(legs: list[Leg], *, type: Type, owner: UUID, **options: Any) -> Posted:  # noqa: A002 - as the ledger names it
    """Post as the system, under a digest of its own."""
    digest = system_digest("ledger cast", str(uuid7()))
    return ledger.post(legs, type=type, owner=owner, actor=Actor.system(), now=timezone.now(), digest=digest, **options)


def transfer(source: Wallet, target: Wallet, amount: Decimal | str, *, key: str | None = None) -> Answer:
    """Transfer through the real service, in a transaction of its own."""
    terms = {"source": source.number, "target": target.number, "amount": Decimal(amount)}
    claim = Claim.make(
        operation=transfers.TRANSFER, owner=source.owner_id, key=key or f"transfer:{uuid7()}", request=terms
    )
    actor = Actor(id=source.owner_id, kind=ActorKind.CLIENT)
    return transfers.transfer_funds(**terms, claim=claim, actor=actor)  # type: ignore[arg-type]  # one dict, three types


def balance_of(wallet: Wallet) -> Decimal:
    """What the wallet holds now, whatever it held when it was read."""
    balance: Decimal = Wallet.objects.get(pk=wallet.pk).balance
    return balance


# --- At once --------------------------------------------------------------------------------------------------------


def at_once(*actions: Callable[[], Any], seconds: float = 60) -> list[Any]:
    """Run the actions in threads that start together, each on a connection of its own; what each returned, in order."""
    barrier, results = Barrier(len(actions)), [None] * len(actions)
    failures: list[BaseException] = []

    def run(place: int, action: Callable[[], Any]) -> None:
        with closing(connection):
            try:
                barrier.wait(seconds)
                results[place] = action()
            except BaseException as error:  # noqa: BLE001 - told by the thread that waits for us
                failures.append(error)

    threads = [Thread(target=run, args=(place, action), daemon=True) for place, action in enumerate(actions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds)
    assert not any(thread.is_alive() for thread in threads), "a thread is stuck"
    if failures:
        raise failures[0]
    return results


def wait_for_a_waiter(seconds: float = 10) -> None:
    """Return as soon as another session waits for a lock that this one holds."""
    end = time.monotonic() + seconds
    with connection.cursor() as cursor:
        while time.monotonic() < end:
            cursor.execute(
                "SELECT count(*) FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid))"
            )
            if cursor.fetchone() != (0,):
                return
            time.sleep(0.005)
    raise AssertionError("nobody waits")


def deadlocks() -> int:
    """How many deadlocks this database has seen, as far as the sessions that are at rest have reported."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        (count,) = cursor.fetchone() or (0,)
    return int(count)


# --- In bulk --------------------------------------------------------------------------------------------------------

_BULK_SQL = """
WITH moved AS (
    UPDATE wallets_wallet w SET balance = s.balance, version = s.version, head = s.head
      FROM unnest(%(w_id)s::uuid[], %(w_balance)s::numeric[], %(w_version)s::bigint[], %(w_head)s::bytea[])
           AS s (id, balance, version, head)
     WHERE w.id = s.id
), posted AS (
    INSERT INTO wallets_ledgertransaction
           (id, owner_id, type, environment, actor_id, actor_kind, reason, reference, idempotency_digest, request_id,
            posted_at, effective_at)
    SELECT s.id, s.owner_id, 'ADJUSTMENT', 'LIVE', s.owner_id, 'SYSTEM', '', '', sha256(s.id::text::bytea), '',
           s.posted_at, s.posted_at
      FROM unnest(%(t_id)s::uuid[], %(t_owner)s::uuid[], %(t_at)s::timestamptz[]) AS s (id, owner_id, posted_at)
)
INSERT INTO wallets_entry
       (id, transaction_id, owner_id, wallet_id, currency, amount, reason, balance_after, wallet_version, digest,
        posted_at)
SELECT s.id, s.transaction_id, s.owner_id, s.wallet_id, 'USD', s.amount, 'ADJUSTMENT', s.balance_after, s.version,
       s.digest, s.posted_at
  FROM unnest(%(e_id)s::uuid[], %(e_transaction)s::uuid[], %(e_owner)s::uuid[], %(e_wallet)s::uuid[],
              %(e_amount)s::numeric[], %(e_balance)s::numeric[], %(e_version)s::bigint[], %(e_digest)s::bytea[],
              %(e_at)s::timestamptz[])
       AS s (id, transaction_id, owner_id, wallet_id, amount, balance_after, version, digest, posted_at)
"""


@dataclass(slots=True)
class _Chain:
    id: UUID
    owner: UUID
    balance: Decimal
    version: int
    head: bytes


def post_in_bulk(wallets: list[Wallet], *, entries: int, statement_rows: int = 2_000) -> None:
    """
    Pass a cent around between the wallets until that many entries are there, thousands to a statement.

    The chains are right and the guards judge every statement. Every second entry belongs to each of two wallets.
    """
    chains = [_Chain(w.pk, w.owner_id, w.balance, w.version, bytes(w.head)) for w in wallets]
    begun, serial = datetime(2026, 1, 1, tzinfo=UTC), 0
    while serial * 2 < entries:
        rows: dict[str, list[Any]] = {name: [] for name in _COLUMNS}
        for _ in range(min(statement_rows, entries - serial * 2) // 2):
            payer, payee = chains[serial % len(chains)], chains[(serial + 1) % len(chains)]
            posting, at = uuid7(), begun + timedelta(milliseconds=serial)
            _extend(rows, ("t_id", "t_owner", "t_at"), posting, payer.owner, at)
            for chain, amount in ((payer, Decimal("-0.01")), (payee, Decimal("0.01"))):
                _grow(rows, chain, amount, posting, at)
            serial += 1
        _extend_wallets(rows, chains)
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(_BULK_SQL, rows)


_COLUMNS = (
    "w_id w_balance w_version w_head t_id t_owner t_at"
    " e_id e_transaction e_owner e_wallet e_amount e_balance e_version e_digest e_at"
).split()


def _extend(rows: dict[str, list[Any]], names: tuple[str, ...], *values: Any) -> None:
    for name, value in zip(names, values, strict=True):
        rows[name].append(value)


def _extend_wallets(rows: dict[str, list[Any]], chains: list[_Chain]) -> None:
    for chain in chains:
        names = ("w_id", "w_balance", "w_version", "w_head")
        _extend(rows, names, chain.id, chain.balance, chain.version, chain.head)


def _grow(rows: dict[str, list[Any]], chain: _Chain, amount: Decimal, posting: UUID, at: datetime) -> None:
    chain.balance += amount
    chain.version += 1
    chain.head = ledger.link(
        chain.head,
        wallet=chain.id,
        version=chain.version,
        transaction=posting,
        amount=amount,
        balance_after=chain.balance,
        posted_at=at,
    )
    names = ("e_id", "e_transaction", "e_owner", "e_wallet", "e_amount", "e_balance", "e_version", "e_digest", "e_at")
    values = (uuid7(), posting, chain.owner, chain.id, amount, chain.balance, chain.version, chain.head, at)
    _extend(rows, names, *values)
