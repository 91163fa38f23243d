"""
Whether finding what a price touches costs what is touched, or what is open.

    python -m bench.selection    10,000, 100,000 and 1,000,000 open positions on 33,000 accounts, side by side

Every size is a database of its own, filled with what accounts leave behind when they trade: open positions, a stop and
a target on each tenth, a working order to each tenth, and a price band per account and symbol. Prices then fall: a
little, so that about as many accounts are touched at every size, and further, so that one threshold in a hundred is
crossed. The sizes take turns; each figure is a median. Positions are made up; the selection, its plan and the tasks
that it puts down are the risk engine's own.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import time
from datetime import UTC, datetime
from typing import Any

from bench import throwaway

ACCOUNTS = 33_000
SIZES = (10_000, 100_000, 1_000_000)
#: How many of the thresholds are crossed where as many are touched at every size.
FEW = 330
ROUNDS = 9
#: Thresholds are spread evenly over so much of the price below it.
DEPTH = 0.1
LITTLE, FAR = 1, 2  # the two batches

NOW = datetime(2030, 1, 1, tzinfo=UTC)

# As a replica the session fires no trigger and checks no foreign key: only what the selection reads has to be there.
_ACCOUNTS = """
SET session_replication_role = replica;
SET statement_timeout = 0;
INSERT INTO accounts_tradingaccount (id, number, owner_id, wallet_id, environment, currency, leverage, jurisdiction,
                                     is_self_trading, created_at, updated_at)
SELECT gen_random_uuid(), 'B' || n, gen_random_uuid(), gen_random_uuid(), 'DEMO', 'USD', 30, 'DESK', true, %(now)s,
       %(now)s
  FROM generate_series(1, %(accounts)s) n;
CREATE TEMP TABLE places AS
SELECT row_number() OVER (ORDER BY id) AS place, id, owner_id FROM accounts_tradingaccount;
CREATE UNIQUE INDEX ON places (place);
CREATE TEMP TABLE symbols AS
SELECT row_number() OVER (ORDER BY symbol) AS place, symbol FROM trading_instrument;
"""
_POSITIONS = """
INSERT INTO trading_position (id, number, owner_id, account_id, symbol, order_id, side, status, volume_initial, volume,
                              price_open, stop_loss, take_profit, watched_after, leverage, margin_initial,
                              margin_locked, profit, commission, opened_at, updated_at)
SELECT gen_random_uuid(), n, a.owner_id, a.id, s.symbol, gen_random_uuid(), 'BUY', 'OPEN', 1, 1, 1,
       CASE WHEN n %% 10 = 0 THEN 1 - random() * %(depth)s END, CASE WHEN n %% 10 = 0 THEN 1 + random() * %(depth)s END,
       0, 30, 1, 1, 0, 0, %(now)s, %(now)s
  FROM generate_series(1, %(size)s) n
  JOIN places a ON a.place = 1 + n %% %(accounts)s
  JOIN symbols s ON s.place = 1 + (n / %(accounts)s + n) %% (SELECT count(*) FROM symbols)
"""
_ORDERS = """
INSERT INTO trading_order (id, owner_id, account_id, symbol, side, type, volume, price, time_in_force, status,
                           reject_code, idempotency_digest, created_at, updated_at)
SELECT gen_random_uuid(), owner_id, account_id, symbol, 'BUY', 'LIMIT', 1, 1 - random() * %(depth)s, 'GTC', 'WORKING',
       '', decode(md5(number::text), 'hex'), %(now)s, %(now)s
  FROM trading_position WHERE number %% 10 = 1
"""
_BANDS = """
INSERT INTO trading_priceband (id, owner_id, account_id, symbol, low, high, spread_max)
SELECT gen_random_uuid(), owner_id, account_id, symbol, 1 - random() * %(depth)s, 9999999999, 1
  FROM (SELECT DISTINCT owner_id, account_id, symbol FROM trading_position) held
"""
_THRESHOLDS = """
SELECT (SELECT count(*) FROM trading_priceband) + (SELECT count(*) FROM trading_order)
     + (SELECT count(*) FROM trading_position WHERE stop_loss IS NOT NULL)
"""
_PRICES = """
INSERT INTO trading_pricebatch (number, source, received_at, size) VALUES (%(batch)s, 'bench', %(now)s, 9);
INSERT INTO trading_quotetick (id, symbol, batch, bid, ask, source, quoted_at, received_at, sequence)
SELECT gen_random_uuid(), symbol, %(batch)s, %(price)s, %(price)s, 'bench', %(now)s, %(now)s, %(batch)s
  FROM trading_instrument;
"""


def fill(size: int, accounts: int) -> None:
    """Make what so many open positions leave behind, and two batches of prices to select for."""
    from django.db import connection

    from trading.services import instruments

    instruments.load_instruments()
    params: dict[str, Any] = {"size": size, "accounts": accounts, "depth": DEPTH, "now": NOW}
    with connection.cursor() as cursor:
        for script in (_ACCOUNTS, _POSITIONS, _ORDERS, _BANDS):
            for statement in filter(str.strip, script.split(";")):
                cursor.execute(statement, {name: value for name, value in params.items() if f"({name})" in statement})
        cursor.execute(_THRESHOLDS)
        (thresholds,) = cursor.fetchone() or (0,)
        for batch, share in ((LITTLE, FEW / thresholds), (FAR, 0.01)):
            price = round(1 - DEPTH * share, 10)
            for statement in filter(str.strip, _PRICES.split(";")):
                cursor.execute(statement, {"batch": batch, "price": price, "now": NOW})
        cursor.execute("RESET session_replication_role")
        cursor.execute("ANALYZE")


def select(batch: int) -> tuple[int, float]:
    """Select for a batch as the engine does, and undo it: how many accounts, and in how many milliseconds."""
    from django.db import transaction

    from trading import selection

    with transaction.atomic():
        cursor = selection.lock_cursor()
        assert cursor is not None
        selection.due(cursor)
        started = time.perf_counter()
        accounts = selection.put_down_touched(batch=batch, since=NOW, expired_by=NOW, now=NOW)
        elapsed = time.perf_counter() - started
        transaction.set_rollback(True)
    return accounts, elapsed * 1000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="Open positions (default: %(default)s).")
    parser.add_argument("--accounts", type=int, default=ACCOUNTS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    figures: dict[tuple[int, int], list[float]] = {}
    touched: dict[tuple[int, int], int] = {}
    with throwaway.server() as url, contextlib.ExitStack() as stack:
        clones = {}
        for size in options.sizes:
            started = time.perf_counter()
            clones[size] = stack.enter_context(throwaway.clone(url, str(size)))
            fill(size, options.accounts)
            print(f"{size:>9,} open positions made in {time.perf_counter() - started:.0f} s", flush=True)
        for number in range(options.rounds + 1):
            for size, clone in clones.items():
                throwaway.turn_to(clone)
                for batch in (LITTLE, FAR):
                    accounts, milliseconds = select(batch)
                    touched[size, batch] = accounts
                    if number:  # the first round fills the caches
                        figures.setdefault((size, batch), []).append(milliseconds)
    report(options.sizes, {key: statistics.median(values) for key, values in figures.items()}, touched)
    return 0


def report(sizes: Any, medians: dict[tuple[int, int], float], touched: dict[tuple[int, int], int]) -> None:
    """A line per size; ratios are to the smallest size."""
    smallest = sizes[0]
    print("\n                      as many touched everywhere        one threshold in a hundred crossed")
    print("open positions    accounts       ms     ratio       accounts       ms     ratio   ratio of accounts")
    for size in sizes:
        few, far = medians[size, LITTLE], medians[size, FAR]
        print(
            f"{size:>14,} {touched[size, LITTLE]:>11,} {few:>8.2f} {few / medians[smallest, LITTLE]:>9.2f}"
            f" {touched[size, FAR]:>14,} {far:>8.2f} {far / medians[smallest, FAR]:>9.2f}"
            f" {touched[size, FAR] / touched[smallest, FAR]:>19.2f}"
        )


if __name__ == "__main__":
    raise SystemExit(main())
