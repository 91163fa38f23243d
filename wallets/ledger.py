"""The only code that changes a balance: lock in one order, compute under the lock, post in one statement."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from decimal import ROUND_CEILING, Decimal
from hashlib import sha256
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

from django.utils import timezone
from psycopg.types.numeric import Int8

from core import db, idempotency, metrics, rows
from core.audit import Actor
from core.errors import DomainError
from core.idempotency import Answer, Claim
from core.ids import derived_uuid7, uuid7
from core.money import CONTEXT, CURRENCIES, book
from core.rows import Write
from wallets.models import GATED_KINDS, Entry, Kind, LedgerTransaction, Wallet

K = TypeVar("K", str, UUID)

Type = LedgerTransaction.Type
Reason = Entry.Reason

#: Changing what a chain link covers means a new version; old links keep the one they were made with.
CHAIN_VERSION = 1
ZERO = Decimal(0)

#: What a client earned or lost, as against what was paid in or out.
REALIZING = frozenset({Reason.TRADE_PNL, Reason.COMMISSION, Reason.SWAP})

#: What moves a client's credit and leaves the balance as it is. To the house it is money like any other.
CREDITING = frozenset({Reason.CREDIT_IN, Reason.CREDIT_OUT})


class WalletNotFound(DomainError):
    code = "WALLET_NOT_FOUND"
    message = "There is no wallet {number}, or it is not yours to use."
    status = 404


@dataclass(slots=True)
class LockedWallet:
    """A gated wallet as it stands under its row lock; `post` and `set_held` keep it current."""

    id: UUID
    number: str
    owner: UUID
    environment: str
    kind: str
    currency: str
    balance: Decimal
    held: Decimal
    credit: Decimal
    realized_profit: Decimal
    status: str
    deposits_enabled: bool
    withdrawals_enabled: bool
    trading_enabled: bool
    verified: bool
    version: int
    head: bytes
    kill_switches: frozenset[str] = frozenset()
    locked_in: int = 0  # the transaction that holds the lock: once it has ended, this is only a memory

    @property
    def available(self) -> Decimal:
        """What a CASH wallet can pay out now: its balance less what is promised to withdrawals."""
        return self.balance - self.held


@dataclass(frozen=True, slots=True)
class HouseWallet:
    """The house's counterpart of a posting; never locked, so that it can never be a queue."""

    id: UUID
    environment: str
    currency: str


class Leg(NamedTuple):
    """One signed amount into one wallet, and why."""

    wallet: LockedWallet | HouseWallet
    amount: Decimal
    reason: Reason


@dataclass(frozen=True, slots=True)
class Posting:
    """What a posting will be, known before it is sent; `answer` builds the client's receipt from it."""

    id: UUID
    posted_at: datetime
    balances: dict[UUID, Decimal]


@dataclass(frozen=True, slots=True)
class Posted:
    """A posting that the database has accepted; it is final when the caller's transaction commits."""

    id: UUID
    posted_at: datetime
    answer: Answer | None


# --- Locking --------------------------------------------------------------------------------------------------------

_COLUMNS = (
    "id", "number", "owner_id", "environment", "kind", "currency", "balance", "held", "credit", "realized_profit",
    "status", "deposits_enabled", "withdrawals_enabled", "trading_enabled", "verified", "version", "head",
)  # fmt: skip
_HEAD, _SWITCHES = len(_COLUMNS) - 1, len(_COLUMNS)  # places of the last column, and of what follows it
_ENGAGED = "(SELECT coalesce(array_agg(k.scope), ARRAY[]::varchar[]) FROM core_killswitch k WHERE k.engaged)"
_LOCKED = ", ".join([*(f"w.{column}" for column in _COLUMNS), _ENGAGED])

# One statement locks everything an operation will touch, in (owner, id) order, and reads the switches that gate it.
# LockRows stands above Sort in the plan, so rows are locked in the order they are sorted. NO KEY: entries and orders
# may still refer to the wallet meanwhile. The house's wallets are never locked: to this statement they do not exist.
# There is one text per number of wallets: of an array as a parameter the server cannot tell how many there are, and
# plans the statement anew each time.
_LOCK_SQL = """
SELECT {locked}{also}
  FROM wallets_wallet w {join}
 WHERE {where} AND w.kind IN ('CASH', 'MARGIN')
 ORDER BY w.owner_id, w.id
   FOR NO KEY UPDATE OF w
"""


@functools.cache
def _lock_sql(key: str, type: str, count: int) -> str:  # noqa: A002 - the database's word
    where = f"w.{key} IN ({', '.join(f'%({place})s::{type}' for place in range(count))})"
    return _LOCK_SQL.format(locked=_LOCKED, also="", join="", where=where)


@functools.cache
def _lock_with_sql(join: str, where: str, also: str) -> str:
    return _LOCK_SQL.format(locked=_LOCKED, also=f", {also}", join=f"JOIN {join}", where=where)


def lock_wallets(*numbers: str) -> tuple[LockedWallet, ...]:
    """
    Lock gated wallets by their public numbers, in the one order, and return them in the order asked for.

    Call it once per transaction, with everything the operation will touch.

    :raises WalletNotFound: if a number is unknown or belongs to the house
    """
    return _lock("number", "text", numbers, of=lambda wallet: wallet.number)


def lock_wallets_by_id(*ids: UUID) -> tuple[LockedWallet, ...]:
    """
    Lock gated wallets by id, in the one order, and return them in the order asked for.

    :raises WalletNotFound: if an id is unknown or belongs to the house
    """
    return _lock("id", "uuid", ids, of=lambda wallet: wallet.id)


def lock_wallet_with(join: str, where: str, *, also: str, **params: Any) -> tuple[LockedWallet, Sequence[Any]] | None:
    """
    Lock the one gated wallet that another room's row names, and return it with columns of that row; None if none does.

    `join` says how that row is joined to the wallet `w`, `where` which it is, `also` what is wanted of it: constants of
    the caller's. The other row is not locked, and is as it was when the statement began, however long the lock took:
    whoever needs what others change under that lock reads it again.
    """
    found = _locking(_lock_with_sql(join, where, also), params)
    assert len(found) <= 1, "one wallet is named"
    return found[0] if found else None


def _lock(
    key: str,
    type: str,  # noqa: A002 - the database's word
    wanted: Sequence[K],
    *,
    of: Callable[[LockedWallet], K],
) -> tuple[LockedWallet, ...]:
    assert wanted, "an operation names what it locks"
    keys = {str(place): value for place, value in enumerate(dict.fromkeys(wanted))}
    locked = {of(wallet): wallet for wallet, _ in _locking(_lock_sql(key, type, len(keys)), keys)}
    for value in wanted:
        if value not in locked:
            raise WalletNotFound(number=value)
    return tuple(locked[value] for value in wanted)


def _locking(sql: str, params: dict[str, Any]) -> list[tuple[LockedWallet, Sequence[Any]]]:
    """The wallets that a statement locks, in its order, each with whatever else it returns."""
    serial = db.transaction_serial()
    started = time.perf_counter()
    rows = db.fetch_all(sql, params)
    metrics.LOCK_WAIT_SECONDS.observe(time.perf_counter() - started)
    found: list[tuple[LockedWallet, Sequence[Any]]] = []
    for row in rows:
        facts: list[Any] = [*row[:_HEAD], bytes(row[_HEAD]), frozenset(row[_SWITCHES]), serial]
        found.append((LockedWallet(*facts), row[_SWITCHES + 1 :]))
    return found


@functools.cache
def house(kind: Kind, currency: str, environment: str) -> HouseWallet:
    """The house's wallet of this kind; its id is computed, so nothing is read and nothing is locked."""
    assert kind not in GATED_KINDS
    assert currency in CURRENCIES
    return HouseWallet(derived_uuid7("house-wallet", kind, currency, environment), environment, currency)


def open_wallet(*, owner: UUID, environment: str, kind: Kind, currency: str, verified: bool) -> LockedWallet:
    """
    Open an empty gated wallet inside the caller's transaction.

    Nobody else can see it before the commit, so it is as good as locked.
    """
    db.require_transaction()
    assert kind in GATED_KINDS
    (serial,) = db.fetch_all("SELECT nextval('wallets_number_seq')", {})[0]
    number = f"W{serial}"
    wallet = Wallet.objects.create(
        number=number, owner_id=owner, environment=environment, kind=kind, currency=currency, verified=verified
    )
    return LockedWallet(
        id=wallet.id,
        number=number,
        owner=owner,
        environment=environment,
        kind=kind,
        currency=currency,
        balance=ZERO,
        held=ZERO,
        credit=ZERO,
        realized_profit=ZERO,
        status=wallet.status,
        deposits_enabled=True,
        withdrawals_enabled=True,
        trading_enabled=True,
        verified=verified,
        version=0,
        head=bytes(32),
        locked_in=db.transaction_serial(),
    )


def set_gates(wallets: Iterable[LockedWallet], **gates: bool | str) -> None:
    """Set `status`, `verified` or an `…_enabled` flag on locked wallets: how a freeze and a withdrawal never race."""
    assert gates.keys() <= {"status", "verified", "deposits_enabled", "withdrawals_enabled", "trading_enabled"}
    wallets = list(wallets)
    _require_locked(wallets)
    Wallet.objects.filter(pk__in=[wallet.id for wallet in wallets]).update(**gates, updated_at=timezone.now())
    for wallet in wallets:
        for name, value in gates.items():
            setattr(wallet, name, value)


def _require_locked(wallets: Iterable[LockedWallet]) -> None:
    serial = db.transaction_serial()
    for wallet in wallets:
        assert wallet.locked_in == serial, f"wallet {wallet.number} is not locked by this transaction"


# --- Holding --------------------------------------------------------------------------------------------------------

_HELD_SQL = """
UPDATE wallets_wallet SET held = %(held)s::numeric, updated_at = %(now)s::timestamptz
 WHERE id = %(id)s::uuid AND owner_id = %(owner)s::uuid AND version = %(version)s::bigint AND held = %(seen)s::numeric
RETURNING id
"""


def set_held(wallet: LockedWallet, held: Decimal) -> None:
    """Promise exactly `held` of a locked wallet; not a posting, since no money moves."""
    _require_locked([wallet])
    assert held >= 0, "a hold is never negative"
    params = {
        "held": held,
        "now": timezone.now(),
        "id": wallet.id,
        "owner": wallet.owner,
        "version": wallet.version,
        "seen": wallet.held,
    }
    rows = db.fetch_all(_HELD_SQL, params)
    assert len(rows) == 1, f"wallet {wallet.number} changed under its lock"
    wallet.held = held


def hold(wallet: LockedWallet, amount: Decimal) -> None:
    """Promise `amount` more of a locked wallet; the caller has checked that it is available."""
    assert amount > 0
    set_held(wallet, wallet.held + amount)


def release(wallet: LockedWallet, amount: Decimal) -> None:
    """Take back a promise of `amount`."""
    assert 0 < amount <= wallet.held
    set_held(wallet, wallet.held - amount)


# --- Posting --------------------------------------------------------------------------------------------------------

_POST_SQL = (Path(__file__).parent / "sql" / "post.sql").read_text()


#: The columns of post.sql's two lists of values, in its order, each with its type.
_WALLET_VALUES = {
    "id": "uuid", "owner": "uuid", "seen": "bigint", "seen_held": "numeric", "balance": "numeric", "held": "numeric",
    "credit": "numeric", "realized": "numeric", "version": "bigint", "head": "bytea",
}  # fmt: skip
_LEG_VALUES = {
    "id": "uuid", "owner": "uuid", "wallet": "uuid", "amount": "numeric", "reason": "text", "balance": "numeric",
    "version": "bigint", "digest": "bytea",
}  # fmt: skip


@functools.cache
def _post_sql(wallets: int, legs: int, *, is_answered: bool, records: tuple[tuple[str, tuple[str, ...]], ...]) -> str:
    """One text per shape of posting, so that each is prepared once."""
    answered = f", answered AS ({idempotency.COMPLETE_SQL})" if is_answered else ""
    recorded = "".join(
        f", {', '.join([*parts, f'record{place} AS ({sql})'])}" for place, (sql, parts) in enumerate(records)
    )
    counts = [f"(SELECT count(*) FROM record{place})" for place in range(len(records))]  # noqa: S608 - our own names
    return _POST_SQL.format(
        wallets=_values("w", _WALLET_VALUES, wallets),
        legs=_values("e", _LEG_VALUES, legs),
        also=answered + recorded,
        answers="(SELECT count(*) FROM answered)" if is_answered else "0",
        records=" + ".join(counts) or "0",
    )


def _values(prefix: str, columns: dict[str, str], count: int) -> str:
    """So many rows of typed parameters: `(%(w0_id)s::uuid, …), (%(w1_id)s::uuid, …)`."""
    rows = (", ".join(f"%({prefix}{row}_{name})s::{kind}" for name, kind in columns.items()) for row in range(count))
    return ", ".join(f"({row})" for row in rows)


def link(
    previous: bytes,
    *,
    wallet: UUID,
    version: int,
    transaction: UUID,
    amount: Decimal,
    balance_after: Decimal,
    posted_at: datetime,
) -> bytes:
    """The next link of a wallet's chain: SHA-256 over formula version, previous link and the entry's facts."""
    moment = posted_at.astimezone(UTC).isoformat(timespec="microseconds")
    facts = (
        f"{CHAIN_VERSION}|{previous.hex()}|{wallet}|{version}|{transaction}|{amount:.8f}|{balance_after:.8f}|{moment}"
    )
    return sha256(facts.encode()).digest()


def post(  # noqa: PLR0913 - a posting has as many facts as an audit record, and each is named at the call
    legs: Sequence[Leg],
    *,
    type: Type,  # noqa: A002 - the column's own name
    owner: UUID,
    actor: Actor,
    now: datetime,
    claim: Claim | None = None,
    answer: Callable[[Posting], Answer] | None = None,
    digest: bytes | None = None,
    held: dict[UUID, Decimal] | None = None,
    reason: str = "",
    reference: str = "",
    effective_at: datetime | None = None,
    reverses: UUID | None = None,
    records: Sequence[Write] = (),
) -> Posted:
    """
    Move money: wallets, transaction, entries, the operation's own rows and (with a claim) the key's answer, in one
    statement.

    `legs` sum to zero in one currency and environment; gated wallets among them are locked by the caller. `held` sets
    new holds on such wallets in the same breath. `answer` builds what the client gets from what the posting will be.
    Without a claim, `digest` names the operation for ever, so that the system cannot do it twice either. Legs of zero
    are left out: an entry moves something. `records` may name the posting's own `id`, `owner` and `now`; they save a
    round trip each under the wallets' locks.
    """
    db.require_transaction()
    assert (claim is None) == (answer is None), "a claim is completed by an answer"
    assert (claim is None) != (digest is None), "every posting has a permanent digest: its claim's or its own"
    legs = [leg for leg in legs if leg.amount]
    currency, environment = _require_balanced(legs)

    posting_id = uuid7()
    built = _build(legs, owner=owner, transaction=posting_id, now=now, held=held or {})
    params = built.params | {
        "id": posting_id,
        "owner": owner,
        "type": type.value,
        "environment": environment,
        "currency": currency,
        "actor_id": actor.id,
        "actor_kind": actor.kind,
        "reason": reason,
        "reference": reference,
        "digest": digest if claim is None else claim.digest,
        "request_id": actor.request_id,
        "reverses": reverses,
        "now": now,
        "effective_at": effective_at or now,
    }
    given = None
    if claim is not None and answer is not None:
        given = answer(Posting(posting_id, now, {wallet.id: wallet.balance for wallet in built.after}))
        given = replace(given, stored=True, effect_id=given.effect_id or posting_id)
        params |= idempotency.completion(claim, given, now)
    for record in records:
        params |= record.params
    texts = tuple((record.sql, record.parts) for record in records)
    statement = _post_sql(len(built.after), len(legs), is_answered=claim is not None, records=texts)
    moved, entries, answered, recorded = db.fetch_all(statement, params)[0]
    assert moved == len(built.after), "a wallet changed under its lock"
    assert entries == len(legs)
    assert answered == (claim is not None)
    assert recorded == len(records)
    for before, after in zip(built.before, built.after, strict=True):
        before.balance, before.held, before.version, before.head = after.balance, after.held, after.version, after.head
        before.credit, before.realized_profit = after.credit, after.realized_profit
    return Posted(posting_id, now, given)


def _require_balanced(legs: Sequence[Leg]) -> tuple[str, str]:
    """Assert what the triggers will judge again, and return the posting's currency and environment."""
    places = {(leg.wallet.currency, leg.wallet.environment) for leg in legs}
    assert len(legs) >= 2, "a posting has two legs or more"
    assert len(places) == 1, "a posting stays in one currency and environment"
    assert sum(leg.amount for leg in legs) == 0, "a posting sums to zero"
    currency, environment = places.pop()
    assert all(leg.amount == book(leg.amount, currency) for leg in legs), "amounts are booked at the minor unit"
    return currency, environment


def settle(  # noqa: PLR0913 - as `post`
    legs: Sequence[Leg],
    *,
    wallet: LockedWallet,
    held: Decimal,
    type: Type,  # noqa: A002 - the column's own name
    actor: Actor,
    now: datetime,
    claim: Claim | None = None,
    answer: Callable[[Posting | None], Answer] | None = None,
    digest: bytes | None = None,
    reference: str = "",
    records: Sequence[Write] = (),
) -> tuple[UUID | None, Answer | None]:
    """
    Leave `held` of a client's locked wallet promised, write the `records`, and `post` what moves, if anything does.

    Returns the transaction's id, None where nothing moved (a margin hold is a promise, not a payment), and the answer.
    """
    if any(leg.amount for leg in legs):
        posted = post(
            legs,
            type=type,
            owner=wallet.owner,
            actor=actor,
            now=now,
            claim=claim,
            answer=answer,
            digest=digest,
            held={wallet.id: held},
            reference=reference,
            records=records,
        )
        return posted.id, posted.answer
    if held != wallet.held:
        set_held(wallet, held)
    rows.write(*records, id=None)
    return None, None if answer is None else answer(None)


_FACTS = attrgetter(*(field.name for field in fields(LockedWallet)))


@dataclass(slots=True)
class _Built:
    before: list[LockedWallet]
    after: list[LockedWallet]
    params: dict[str, object]


def _build(legs: Sequence[Leg], *, owner: UUID, transaction: UUID, now: datetime, held: dict[UUID, Decimal]) -> _Built:
    """Compute every column of the posting from the locked wallets, leg by leg, without changing them yet."""
    touched = {leg.wallet.id: leg.wallet for leg in legs if isinstance(leg.wallet, LockedWallet)}
    _require_locked(touched.values())
    assert held.keys() <= touched.keys(), "holds are set on wallets that the posting locked and moves"
    after = {id_: LockedWallet(*_FACTS(wallet)) for id_, wallet in touched.items()}
    for id_, promised in held.items():
        after[id_].held = promised
    params: dict[str, object] = {}
    for place, leg in enumerate(legs):
        wallet = after.get(leg.wallet.id)
        if wallet is None:
            row: tuple[object, ...] = (
                uuid7(), owner, leg.wallet.id, leg.amount, leg.reason.value, None, None, None,
            )  # fmt: skip
        else:
            _move(wallet, leg, transaction=transaction, now=now)
            row = (
                uuid7(), wallet.owner, wallet.id, leg.amount, leg.reason.value, wallet.balance, Int8(wallet.version),
                wallet.head,
            )  # fmt: skip
        params |= {f"e{place}_{name}": value for name, value in zip(_LEG_VALUES, row, strict=True)}
    for place, (seen, wallet) in enumerate(zip(touched.values(), after.values(), strict=True)):
        row = (
            wallet.id, wallet.owner, Int8(seen.version), seen.held, wallet.balance, wallet.held, wallet.credit,
            wallet.realized_profit, Int8(wallet.version), wallet.head,
        )  # fmt: skip
        params |= {f"w{place}_{name}": value for name, value in zip(_WALLET_VALUES, row, strict=True)}
    return _Built(list(touched.values()), list(after.values()), params)


def foreseen(wallet: LockedWallet, legs: Iterable[Leg], *, held: Decimal) -> LockedWallet:
    """What a posting of these legs will make of a wallet's money, for what is written with it; nothing is changed."""
    after = LockedWallet(*_FACTS(wallet))
    after.held = held
    for leg in legs:
        if leg.wallet.id == wallet.id:
            _add(after, leg)
    return after


def _add(wallet: LockedWallet, leg: Leg) -> None:
    if leg.reason in CREDITING:
        assert wallet.kind == Kind.MARGIN, "credit is margin and nothing else"
        wallet.credit += leg.amount
    else:
        wallet.balance += leg.amount


def _move(wallet: LockedWallet, leg: Leg, *, transaction: UUID, now: datetime) -> None:
    """Make of a wallet what one leg makes of it, down to the link that proves it."""
    _add(wallet, leg)
    wallet.version += 1
    if leg.reason in REALIZING:
        wallet.realized_profit += leg.amount
    wallet.head = link(
        wallet.head,
        wallet=wallet.id,
        version=wallet.version,
        transaction=transaction,
        amount=leg.amount,
        balance_after=wallet.balance,
        posted_at=now,
    )


# --- Credit ---------------------------------------------------------------------------------------------------------


def credit_legs(wallet: LockedWallet, amount: Decimal) -> list[Leg]:
    """Both sides of credit given to a margin wallet, or taken back if `amount` is negative; no leg of it is money."""
    reason = Reason.CREDIT_IN if amount > 0 else Reason.CREDIT_OUT
    expense = house(Kind.HOUSE_BONUS_EXPENSE, wallet.currency, wallet.environment)
    return [Leg(wallet, amount, reason), Leg(expense, -amount, reason)]


def credit_lost(wallet: LockedWallet, amount: Decimal) -> Decimal:
    """
    The part of its credit that goes when `amount` of its balance leaves a margin wallet: credit × amount ÷ balance.

    Rounded up at the minor unit, so that a bonus does not survive being left by a thousand small withdrawals; with the
    whole balance goes the whole credit.
    """
    assert 0 < amount <= wallet.balance, "no more leaves than is there"
    share = CONTEXT.divide(CONTEXT.multiply(wallet.credit, amount), wallet.balance)
    return share.quantize(CURRENCIES[wallet.currency].unit, rounding=ROUND_CEILING, context=CONTEXT)


# --- The house ------------------------------------------------------------------------------------------------------

_HOUSE_BALANCE_SQL = """
SELECT w.balance + coalesce((SELECT sum(u.amount) FROM wallets_unfoldedleg u WHERE u.wallet_id = w.id), 0)
  FROM wallets_wallet w
 WHERE w.id = %(id)s::uuid
"""

# Claimed by deleting: what another folder has in hand is skipped, and what commits late is simply still there next
# time. MATERIALIZED, since a LIMIT that the planner may evaluate twice is no limit.
_CLAIM_LEGS_SQL = """
WITH claimed AS MATERIALIZED (
    SELECT entry_id FROM wallets_unfoldedleg ORDER BY entry_id LIMIT %(limit)s::bigint FOR UPDATE SKIP LOCKED
), taken AS (
    DELETE FROM wallets_unfoldedleg u USING claimed WHERE u.entry_id = claimed.entry_id RETURNING u.wallet_id, u.amount
)
SELECT wallet_id, sum(amount), count(*) FROM taken GROUP BY wallet_id
"""
_LOCK_HOUSE_SQL = """
SELECT w.id FROM wallets_wallet w WHERE w.id = ANY(%(ids)s::uuid[]) ORDER BY w.owner_id, w.id FOR NO KEY UPDATE OF w
"""
_FOLD_SQL = """
UPDATE wallets_wallet w SET balance = w.balance + s.amount, updated_at = %(now)s::timestamptz
  FROM unnest(%(ids)s::uuid[], %(amounts)s::numeric[]) AS s (id, amount)
 WHERE w.id = s.id AND w.kind <> ALL(%(gated)s::text[])
RETURNING w.id
"""


def house_balance(kind: Kind, currency: str, environment: str) -> Decimal:
    """What the house's wallet holds now: its folded snapshot and every leg not yet folded, read in one statement."""
    balance: Decimal = db.fetch_all(_HOUSE_BALANCE_SQL, {"id": house(kind, currency, environment).id})[0][0]
    return balance


def fold_house_legs(limit: int) -> int:
    """
    Move at most `limit` legs of the house into their wallets' snapshots, and return how many it was.

    What a house wallet holds is the same before and after. Several folders at once share the work without waiting for
    each other's legs.
    """
    db.require_transaction()
    assert limit > 0
    sums = db.fetch_all(_CLAIM_LEGS_SQL, {"limit": limit})
    if not sums:
        return 0
    ids, amounts, legs = zip(*sums, strict=True)
    db.fetch_all(_LOCK_HOUSE_SQL, {"ids": list(ids)})
    params = {"ids": list(ids), "amounts": list(amounts), "gated": list(GATED_KINDS), "now": timezone.now()}
    folded = db.fetch_all(_FOLD_SQL, params)
    assert len(folded) == len(ids), "every unfolded leg belongs to a wallet of the house"
    return sum(legs)
