"""A plan that a session makes while its tables are empty serves as well when they are full."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

from django.db import connection, transaction

from core import snapshot
from core.postgres.base import numbered
from tests import cast
from tests.trading import prices
from tests.trading.calls import close, place
from tests.wallets.calls import transfer

#: One row for each thing that can be switched off, or is quoted: read whole where all of it is wanted.
FEW_ROWS = {"core_killswitch", "trading_quote"}


def setting(name: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting(%s)", [name])
        (value,) = cursor.fetchone() or ("",)
    return str(value)


def test_sessions_read_no_table_whole_but_those_that_mean_to(committed_db: object) -> None:
    assert setting("enable_seqscan") == "off"
    with transaction.atomic():
        snapshot.take(read_only=False)
        assert setting("enable_seqscan") == "on"


def hot_statements(act: Callable[[], Any]) -> set[str]:
    """What `act` says with named parameters: the statements whose plans are kept."""
    said = set()

    def note(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        if isinstance(params, dict):
            said.add(sql)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        act()
    return said


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)


def trade() -> None:
    payer, payee = cast.alice(), cast.bob()
    assert transfer(payer, payee.cash, "1.00").status_code == 201
    trader = cast.make_client(margin=Decimal("10000.00"))
    position = place(trader).json()["position"]
    assert close(trader, position["id"]).status_code == 201


def test_what_a_request_asks_is_found_by_index_whatever_the_statistics_say(db: None) -> None:
    prices.open_market()
    said = hot_statements(trade)
    assert len(said) >= 10
    for sql in said:
        text, _, _ = numbered(sql)
        with connection.cursor() as cursor:
            cursor.cursor.execute(b"EXPLAIN (GENERIC_PLAN, FORMAT JSON) " + text, prepare=False)
            (plans,) = cursor.fetchone() or ([],)
        plan = (json.loads(plans) if isinstance(plans, str) else plans)[0]["Plan"]
        whole = {node["Relation Name"] for node in nodes(plan) if node["Node Type"] == "Seq Scan"}
        assert whole <= FEW_ROWS, sql
