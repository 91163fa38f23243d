"""What moved between clients and the house, straight from the ledger: both sides of it, each by itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal

from config.back_office import figures
from config.back_office.figures import Reading
from core import db

#: Read in portions that stay far below the limit of a statement, however busy the day is.
PORTION = timedelta(hours=6)

# By when it was posted, so a day's figures are the same whenever they are asked for: what is reversed later is of the
# later day. The house's legs go by the wallet they are in, the clients' by their reason.
_LEGS = """
SELECT w.environment, e.currency, e.wallet_version IS NOT NULL,
       CASE WHEN e.wallet_version IS NULL THEN w.kind ELSE e.reason END, sum(e.amount)
  FROM wallets_entry e
  JOIN wallets_wallet w ON w.id = e.wallet_id
 WHERE e.posted_at >= %(start)s::timestamptz AND e.posted_at < %(end)s::timestamptz
 GROUP BY 1, 2, 3, 4
"""


@figures.day("money")
def money(start: datetime, end: datetime) -> Iterator[Reading]:
    sums: dict[tuple[str, str, bool, str], Decimal] = defaultdict(Decimal)
    while start < end:
        until = min(start + PORTION, end)
        for *group, amount in db.fetch_all(_LEGS, {"start": start, "end": until}):
            environment, currency, is_client, label = group
            sums[environment, currency, is_client, label] += amount
        start = until
    for (environment, currency, is_client, label), amount in sorted(sums.items()):
        name = "ledger.client" if is_client else "ledger.house"
        yield Reading(name, amount, currency, environment=environment, currency=currency, label=label)
