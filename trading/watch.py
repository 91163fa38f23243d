"""After every change an account says again at which prices it has to be looked at, and numbers what changed."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from accounts.models import TradingAccount
from core import db
from core.ids import uuid7
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
_TOUCH_SQL = """
WITH watch AS (
    INSERT INTO trading_accountwatch AS known
           (account_id, owner_id, sequence, batch, funds, held, called_at, updated_at)
    VALUES (%(account)s, %(owner)s, cardinality(%(subjects)s::uuid[]), %(batch)s, %(funds)s, %(held)s, %(called_at)s,
            %(now)s)
    ON CONFLICT (account_id) DO UPDATE
       SET sequence = known.sequence + cardinality(%(subjects)s::uuid[]), batch = excluded.batch,
           funds = excluded.funds, held = excluded.held, called_at = excluded.called_at,
           updated_at = excluded.updated_at
    RETURNING sequence
), changes AS (
    INSERT INTO trading_accountchange (id, owner_id, account_id, sequence, kind, subject, changed_at)
    SELECT c.id, %(owner)s::uuid, %(account)s::uuid,
           watch.sequence - cardinality(%(subjects)s::uuid[]) + c.place, c.kind, c.subject, %(now)s::timestamptz
      FROM watch,
           unnest(%(change_ids)s::uuid[], %(kinds)s::text[], %(subjects)s::uuid[]) WITH ORDINALITY
           AS c (id, kind, subject, place)
), gone AS (
    DELETE FROM trading_priceband WHERE account_id = %(account)s AND NOT symbol = ANY(%(symbols)s::text[])
), bands AS (
    INSERT INTO trading_priceband AS known (id, owner_id, account_id, symbol, low, high, spread_max)
    SELECT b.id, %(owner)s::uuid, %(account)s::uuid, b.symbol, b.low, b.high, b.spread_max
      FROM unnest(%(band_ids)s::uuid[], %(symbols)s::text[], %(lows)s::numeric[], %(highs)s::numeric[],
                  %(spreads)s::numeric[]) AS b (id, symbol, low, high, spread_max)
    ON CONFLICT (account_id, symbol, owner_id) DO UPDATE
       SET low = excluded.low, high = excluded.high, spread_max = excluded.spread_max
     WHERE (known.low, known.high, known.spread_max) <> (excluded.low, excluded.high, excluded.spread_max)
)
SELECT sequence FROM watch
"""


def touch(locked: LockedAccount, *, now: datetime, called_at: datetime | None = None) -> int:
    """
    Put down what prices can do to an account as it is now, and number its changes; the number of the last one.

    Call it once, last, in every operation that changes an account's funds, positions or orders. A margin call that the
    account has come out of is forgotten here, and a new one is the risk engine's to make: it says so by `called_at`.
    """
    db.require_transaction()
    wallet, book, market = locked.wallet, locked.book, locked.market
    assert wallet.id == locked.account.wallet_id
    if called_at is None and book.called_at is not None and engine.is_called(wallet, book, market):
        called_at = book.called_at
    bands = engine.bands_of(wallet, book, market, is_called=called_at is not None)
    params = {
        "account": locked.account.id,
        "owner": wallet.owner,
        "batch": market.batch,
        "funds": wallet.balance + wallet.credit,
        "held": wallet.held,
        "called_at": called_at,
        "now": now,
        "change_ids": [uuid7() for _ in locked.changes],
        "kinds": [kind.value for kind, _ in locked.changes],
        "subjects": [subject for _, subject in locked.changes],
        "band_ids": [uuid7() for _ in bands],
        "symbols": [band.symbol for band in bands],
        "lows": [band.low for band in bands],
        "highs": [band.high for band in bands],
        "spreads": [band.spread_max for band in bands],
    }
    ((sequence,),) = db.fetch_all(_TOUCH_SQL, params)
    locked.changes.clear()
    return int(sequence)
