"""What a price batch touches is found by index: it takes as long as there is to find, however much is open."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from tests import database
from tests.trading.prices import Push
from tests.trading.risk import opened, run_risk, trader
from trading import selection
from trading.models import PriceBand, PriceClock, RiskTask
from trading.services import risk

#: Positions with stops and targets, orders and bands around EURUSD 1.20, one account each, 100 to 1,100 points away.
#: Rows that nothing refers to: only what is in the indexes counts here.
_POPULATE = """
INSERT INTO trading_position (id, number, owner_id, account_id, symbol, order_id, side, status, volume_initial, volume,
       price_open, stop_loss, take_profit, watched_after, leverage, margin_initial, margin_locked, profit, commission,
       swap, opened_at, updated_at)
SELECT gen_random_uuid(), 500000000 + n, a.id, a.id, 'EURUSD', gen_random_uuid(), s.side, 'OPEN', 0.1, 0.1,
       1.2, 1.2 - s.sign * s.away, 1.2 + s.sign * s.away, 0, 30, 400, 400, 0, 0, 0, now(), now()
  FROM generate_series({first}, {last}) n,
       LATERAL (SELECT ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid AS id) a,
       LATERAL (SELECT CASE n % 2 WHEN 0 THEN 'BUY' ELSE 'SELL' END AS side, 1 - 2 * (n % 2) AS sign,
                       0.01 + 0.1 * (n % 97) / 97 AS away) s;
INSERT INTO trading_order (id, owner_id, account_id, symbol, side, type, volume, price, status, time_in_force,
       idempotency_digest, created_at, updated_at, reject_code, watched_after, margin_reserved, cancel_reason)
SELECT gen_random_uuid(), p.account_id, p.account_id, p.symbol, p.side, k.type, 0.1,
       CASE k.type WHEN 'LIMIT' THEN p.stop_loss ELSE p.take_profit END, 'WORKING', 'GTC',
       decode(md5(p.number || k.type), 'hex'), now(), now(), '', 0, 0, ''
  FROM trading_position p, (VALUES ('LIMIT'), ('STOP')) k (type)
 WHERE p.number BETWEEN 500000000 + {first} AND 500000000 + {last};
INSERT INTO trading_priceband (id, owner_id, account_id, symbol, low, high, spread_max)
SELECT gen_random_uuid(), p.account_id, p.account_id, p.symbol, least(p.stop_loss, p.take_profit),
       greatest(p.stop_loss, p.take_profit), 0.01
  FROM trading_position p WHERE p.number BETWEEN 500000000 + {first} AND 500000000 + {last};
ANALYZE trading_position; ANALYZE trading_order; ANALYZE trading_priceband;
"""


def populate(first: int, last: int) -> None:
    with database.unguarded() as cursor:
        cursor.execute(_POPULATE.format(first=first, last=last))


def plan() -> str:
    """How the last batch's accounts are found, with the pages that were looked at; nothing of it stays."""
    now = timezone.now()
    params: dict[str, Any] = {
        "batch": PriceClock.objects.get().number,
        "since": now - timedelta(hours=1),
        "expired_by": now,
        "now": now,
    }
    with transaction.atomic():
        with database.unguarded() as cursor:
            cursor.execute(selection._BY_INDEX_SQL)
            cursor.execute("EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, TIMING OFF) " + selection._TOUCHED_SQL, params)
            lines = [str(line) for (line,) in cursor.fetchall()]
        transaction.set_rollback(True)
    return "\n".join(lines)


def found(explained: str) -> tuple[int, int]:
    """How many accounts were touched, and how many pages were looked at to find them."""
    (rows,) = re.findall(r"Insert on trading_risktask known \(actual rows=(\d+)", explained)
    (pages,) = re.findall(r"Buffers: shared hit=(\d+)(?: read=(\d+))?", explained)[:1]
    return int(rows), sum(int(count or 0) for count in pages)


def test_every_look_up_is_by_its_index(market: Push) -> None:
    populate(1, 2_000)
    explained = plan()
    for index, looks in {
        "order_trigger": 4,
        "position_stop_loss": 2,
        "position_take_profit": 2,
        "price_band_low": 1,
        "price_band_high": 1,
        "price_band_spread": 1,
        "order_expiry": 1,
    }.items():
        assert len(re.findall(rf"Scan (?:using|on) {index}\b", explained)) == looks, (index, explained)
    for column in ("price", "stop_loss", "take_profit", "low", "high", "spread_max"):
        assert re.search(rf"Index Cond: .*\b{column} [<>]", explained), column
    assert not re.findall(r"Seq Scan on trading_(?:order|position|priceband|quotetick|risktask)", explained)
    assert not re.findall(r"Rows Removed by Filter: (\d{3,})", explained)


def test_what_is_out_of_reach_costs_nothing_however_much_it_is(market: Push) -> None:
    market(EURUSD=("1.19500", "1.19510"))
    populate(1, 500)
    few, pages_few = found(plan())
    populate(501, 10_000)
    many, pages_many = found(plan())
    assert (few, many) == (0, 0)
    assert pages_many <= pages_few * 2, "twenty times as much is open, and some indexes are a level deeper"


def test_what_is_touched_costs_the_same_each(market: Push) -> None:
    market(EURUSD=("1.18950", "1.18960"))
    populate(1, 500)
    few, pages_few = found(plan())
    populate(501, 10_000)
    many, pages_many = found(plan())
    assert 0 < few * 10 < many
    assert pages_many / many <= pages_few / few * 2


@pytest.mark.parametrize(
    "inside, outside",
    [
        (("1.18000", "1.18010"), ("1.17999", "1.18009")),
        (("1.21990", "1.22000"), ("1.21991", "1.22001")),
        (("1.20000", "1.20050"), ("1.20000", "1.20051")),
    ],
)
def test_an_account_is_left_alone_inside_its_band(
    market: Push, inside: tuple[str, str], outside: tuple[str, str]
) -> None:
    opened(trader())
    run_risk()
    edges = {"low": Decimal("1.18000"), "high": Decimal("1.22000"), "spread_max": Decimal("0.00050")}
    for quote, accounts in ((inside, 0), (outside, 1)):
        assert PriceBand.objects.update(**edges) == 1
        market(EURUSD=quote)
        assert risk.advance(now=timezone.now()) is risk.Progress.PUT_DOWN
        assert RiskTask.objects.count() == accounts
    run_risk()


def test_nothing_that_is_out_of_reach_becomes_a_task(market: Push) -> None:
    populate(1, 300)
    market(EURUSD=("1.19500", "1.19510"))
    with transaction.atomic():
        cursor = selection.lock_cursor()
        assert cursor is not None
        due = selection.due(cursor)
        assert due.number is not None
        now = timezone.now()
        assert (
            selection.put_down_touched(batch=due.number, since=now - timedelta(hours=1), expired_by=now, now=now) == 0
        )
    assert not RiskTask.objects.exists()
    run_risk()
