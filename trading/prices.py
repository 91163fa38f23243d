"""Prices change a few times a second and are read with every order: each process keeps them until they do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple
from uuid import UUID

from core import db
from trading.market import Tick


class Stamp(NamedTuple):
    """The clock's row: the number of the last batch, and the versions of the terms and of the latest prices."""

    batch: int
    terms: UUID
    prices: UUID


#: The columns of a `Stamp`, wherever they are wanted in a statement.
STAMP = ", ".join(
    f"(SELECT c.{column} FROM trading_priceclock c WHERE c.id = 1)"  # noqa: S608 - our own names
    for column in ("number", "terms_version", "prices_version")
)
_STAMP_SQL = "SELECT number, terms_version, prices_version FROM trading_priceclock WHERE id = 1"
# Every price that the desk has, with its clock's row.
_PRICES_SQL = """
SELECT c.number, c.terms_version, c.prices_version,
       q.symbol, q.bid, q.ask, q.source, q.quoted_at, q.received_at, q.sequence
  FROM trading_priceclock c LEFT JOIN trading_quote q ON true
 WHERE c.id = 1
"""


class Prices(NamedTuple):
    """The latest price of every symbol that has one; shared by all requests, and never changed."""

    stamp: Stamp
    ticks: Mapping[str, Tick]


#: The last prices that were read.
_kept: Prices | None = None


def latest(stamp: Stamp | None = None) -> Prices:
    """
    The prices of this stamp, or later ones if they have just changed; without a stamp, those of now.

    The version is a random value that the database gives to each change of a quote, in the change's own transaction:
    what was read under one never passes for another. How old a price is, is not reckoned here but with each use.
    """
    global _kept  # noqa: PLW0603 - one value, replaced as a whole
    if stamp is None:
        stamp = Stamp(*db.fetch_all(_STAMP_SQL, {})[0])
    kept = _kept
    if kept is not None and kept.stamp.prices == stamp.prices:
        return Prices(stamp, kept.ticks)
    rows = db.fetch_all(_PRICES_SQL, {})
    ticks = {symbol: Tick(*tick) for _, _, _, symbol, *tick in rows if symbol is not None}
    _kept = Prices(Stamp(*rows[0][:3]), ticks)
    return _kept
