"""After every change an account says again at which prices it has to be looked at, and numbers what changed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from accounts.models import TradingAccount
from core import db
from core.ids import uuid7
from core.rows import Write
from trading import engine
from trading.market import Book, Market
from trading.models import AccountChange
from wallets.ledger import LockedWallet

Kind = AccountChange.Kind


@dataclass(slots=True)
class LockedAccount:
    """
    A trading account as it stands under its wallet's lock, with the prices that count; `book` is kept current.

    `changes` collects the rows that were made or changed, by kind and id, until `touch` numbers them.
    """

    account: TradingAccount
    wallet: LockedWallet
    book: Book
    market: Market
    changes: list[tuple[AccountChange.Kind, UUID]] = field(default_factory=list)
    #: The public number of the position that is opened next, where it was drawn together with something else.
    number: int | None = None

    def note(self, kind: AccountChange.Kind, subject: UUID) -> None:
        """Remember a row that was made or changed; however often, it is one change."""
        if (kind, subject) not in self.changes:
            self.changes.append((kind, subject))

    def take_number(self) -> int | None:
        """The drawn number, once."""
        number, self.number = self.number, None
        return number


# The watch's row is the account's counter: it is only touched under the wallet's lock, so its numbers are gapless. What
# it returns numbers the changes. Bands that are as they were are not written again.
_WATCH = """
watch AS (
    INSERT INTO trading_accountwatch AS known
           (account_id, owner_id, sequence, batch, funds, held, called_at, updated_at)
    VALUES (%(watch_account)s::uuid, %(watch_owner)s::uuid, cardinality(%(watch_subjects)s::uuid[]),
            %(watch_batch)s::bigint, %(watch_funds)s::numeric, %(watch_held)s::numeric,
            %(watch_called_at)s::timestamptz, %(watch_now)s::timestamptz)
    ON CONFLICT (account_id) DO UPDATE
       SET sequence = known.sequence + excluded.sequence, batch = excluded.batch, funds = excluded.funds,
           held = excluded.held, called_at = excluded.called_at, updated_at = excluded.updated_at
    RETURNING sequence
)
"""
_CHANGES = """
changes AS (
    INSERT INTO trading_accountchange (id, owner_id, account_id, sequence, kind, subject, changed_at)
    SELECT c.id, %(watch_owner)s::uuid, %(watch_account)s::uuid,
           watch.sequence - cardinality(%(watch_subjects)s::uuid[]) + c.place, c.kind, c.subject,
           %(watch_now)s::timestamptz
      FROM watch,
           unnest(%(watch_change_ids)s::uuid[], %(watch_kinds)s::text[], %(watch_subjects)s::uuid[]) WITH ORDINALITY
           AS c (id, kind, subject, place)
)
"""
_GONE = """
gone AS (
    DELETE FROM trading_priceband
     WHERE account_id = %(watch_account)s::uuid AND NOT symbol = ANY(%(watch_symbols)s::text[])
)
"""
_BANDS = """
bands AS (
    INSERT INTO trading_priceband AS known (id, owner_id, account_id, symbol, low, high, spread_max)
    SELECT b.id, %(watch_owner)s::uuid, %(watch_account)s::uuid, b.symbol, b.low, b.high, b.spread_max
      FROM unnest(%(watch_band_ids)s::uuid[], %(watch_symbols)s::text[], %(watch_lows)s::numeric[],
                  %(watch_highs)s::numeric[], %(watch_spreads)s::numeric[]) AS b (id, symbol, low, high, spread_max)
    ON CONFLICT (account_id, symbol, owner_id) DO UPDATE
       SET low = excluded.low, high = excluded.high, spread_max = excluded.spread_max
     WHERE (known.low, known.high, known.spread_max) <> (excluded.low, excluded.high, excluded.spread_max)
)
"""
_PARTS = (_WATCH, _CHANGES, _GONE, _BANDS)


def touch(locked: LockedAccount, *, now: datetime, called_at: datetime | None = None) -> int:
    """
    Put down what prices can do to an account as it is now, and number its changes; the number of the last one.

    Call it once, last, in every operation that changes an account's funds, positions or orders. A margin call that the
    account has come out of is forgotten here, and a new one is the risk engine's to make: it says so by `called_at`.
    """
    db.require_transaction()
    write = touching(locked, locked.wallet, now=now, called_at=called_at)
    ((sequence,),) = db.fetch_all(write.statement, write.params)
    return int(sequence)


def touching(locked: LockedAccount, wallet: LockedWallet, *, now: datetime, called_at: datetime | None = None) -> Write:
    """`touch` of an account whose wallet will have come to this, to be done with the posting that makes it so."""
    book, market = locked.book, locked.market
    assert wallet.id == locked.account.wallet_id
    if called_at is None and book.called_at is not None and engine.is_called(wallet, book, market):
        called_at = book.called_at
    bands = engine.bands_of(wallet, book, market, is_called=called_at is not None)
    params = {
        "watch_account": locked.account.id,
        "watch_owner": wallet.owner,
        "watch_batch": market.batch,
        "watch_funds": wallet.balance + wallet.credit,
        "watch_held": wallet.held,
        "watch_called_at": called_at,
        "watch_now": now,
        "watch_change_ids": _array(uuid7() for _ in locked.changes),
        "watch_kinds": _array(kind.value for kind, _ in locked.changes),
        "watch_subjects": _array(subject for _, subject in locked.changes),
        "watch_band_ids": _array(uuid7() for _ in bands),
        "watch_symbols": _array(band.symbol for band in bands),
        "watch_lows": _array(band.low for band in bands),
        "watch_highs": _array(band.high for band in bands),
        "watch_spreads": _array(band.spread_max for band in bands),
    }
    locked.changes.clear()
    return Write("SELECT sequence FROM watch", params, _PARTS)


def _array(values: Iterable[object]) -> str:
    """An array as PostgreSQL reads it, of values that are not NULL; the driver would look at each one's type first."""
    texts = [str(value).replace("\\", "\\\\").replace('"', '\\"') for value in values]
    return "{" + ",".join(f'"{text}"' for text in texts) + "}"
