"""A price feed that has gone mad: what it says must move nobody's money, and the next good price must."""

from __future__ import annotations

import http.client
import json
import sys
import uuid
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from time import sleep
from typing import Any

from bench.faults.stage import Stage, at_rest
from bench.load import processes
from bench.load.figures import Check

SYMBOL = "EURUSD"
GOOD = ("1.20000", "1.20010")
#: What is on either side of it: stops, targets, waiting orders, and accounts that a few per cent would ruin.
BELOW, ABOVE = "1.18000", "1.22000"
INTENDED: tuple[dict[str, str], ...] = (
    {"side": "BUY", "stop_loss": BELOW, "take_profit": ABOVE},
    {"side": "SELL", "stop_loss": ABOVE, "take_profit": BELOW},
    {"side": "BUY", "type": "LIMIT", "price": BELOW},
    {"side": "SELL", "type": "LIMIT", "price": ABOVE},
    {"side": "BUY", "type": "STOP", "price": ABOVE},
    {"side": "SELL", "type": "STOP", "price": BELOW},
    {"side": "BUY", "volume": "2.00"},
    {"side": "SELL", "volume": "2.00"},
)
#: Far enough below: a stop, a target, a limit and a stop order, and the ruin of who bought too much.
MOVED = ("1.16500", "1.16510")
THEN = {"CLIENT": 4, "ORDER": 2, "STOP_LOSS": 1, "TAKE_PROFIT": 1, "STOP_OUT": 1}
BAD: dict[str, tuple[str, str]] = {
    "0": ("0", "0"),
    "0 on one side": ("0", "1.20010"),
    "negative": ("-1.20000", "-1.19990"),
    "x 100": ("120.00000", "120.01000"),
    "/ 100": ("0.01200", "0.01201"),
    "NaN": ("NaN", "NaN"),
    "infinite": ("1.20000", "Infinity"),
    "crossed, low": ("1.16510", "1.16500"),
    "crossed, high": ("1.25010", "1.25000"),
}
OLD, AHEAD = -timedelta(minutes=5), timedelta(hours=1)
#: A mad feed says everything more than once, and a surprising price is believed when the next one confirms it.
TIMES = 3
#: Several rounds of the engine.
ROUNDS_SECONDS = 0.8
DEALS = "SELECT cause, count(*) FROM trading_deal GROUP BY cause ORDER BY cause"
MOVED_BY_NOTHING = (
    "SELECT (SELECT count(*) FROM trading_deal), (SELECT count(*) FROM trading_position WHERE status = 'OPEN'),"
    " (SELECT count(*) FROM trading_order WHERE status = 'WORKING'), (SELECT count(*) FROM wallets_entry),"
    " (SELECT ARRAY[bid, ask] FROM trading_quote WHERE symbol = 'EURUSD')"
)


def prices_are_impossible(stage: Stage) -> list[Check]:
    """A price feed sends what is stale, 0, negative, 100 times too much, no number, or crossed."""
    feed = stage.members[-1].token
    stage.ask("UPDATE accounts_apitoken SET scopes = ARRAY['market_data'] WHERE prefix = %s RETURNING id", [feed[:12]])
    with processes.running([sys.executable, "manage.py", "run_risk", "--watch"], stage.settings, stage.log):
        accepted = [_push(stage, feed, GOOD)]
        refused = [code for place, terms in enumerate(INTENDED) if (code := _order(stage, place, terms)) != 201]
        sleep(ROUNDS_SECONDS)
        before, touched = stage.ask(MOVED_BY_NOTHING), []
        for name, prices in BAD.items():
            taken = sum(_push(stage, feed, prices) for _ in range(TIMES))
            touched += _moved(stage, before, name, taken)
        for name, shift in (("stale", OLD), ("ahead of time", AHEAD)):
            taken = sum(_push(stage, feed, MOVED, shift) for _ in range(TIMES))
            touched += _moved(stage, before, name, taken)
        alerts = stage.count("SELECT count(*) FROM trading_quotealert")
        accepted.append(_push(stage, feed, MOVED))
        with suppress(RuntimeError):
            processes.wait_for(lambda: dict(stage.ask(DEALS)) == THEN, 20, "what a good price does")
    told = ", ".join(f"{count} {cause}" for cause, count in stage.ask(DEALS))
    expected = TIMES * (len(BAD) + 2)
    return [
        Check("orders refused at a good price", "none", str(refused or "none"), not refused),
        Check(f"believed or traded on, of {len(BAD) + 2} kinds", "none", str(touched or "none"), not touched),
        Check("alerts", f">= {expected}", str(alerts), alerts >= expected),
        Check("the good prices around them", "believed", str(accepted), accepted == [1, 1]),
        Check("and what they did, in deals", "all there was to do", told, dict(stage.ask(DEALS)) == THEN),
        *at_rest(stage),
    ]


def _moved(stage: Stage, before: list[tuple[Any, ...]], name: str, accepted: int) -> list[str]:
    """The name of what was believed, or had an effect once the engine has had time for it."""
    sleep(ROUNDS_SECONDS)
    return [name] if accepted or stage.ask(MOVED_BY_NOTHING) != before else []


def _push(stage: Stage, feed: str, prices: tuple[str, str], shift: timedelta = timedelta()) -> int:
    """How many of this one quote are believed."""
    moment = (datetime.now(UTC) + shift).isoformat().replace("+00:00", "Z")
    quote = {"symbol": SYMBOL, "bid": prices[0], "ask": prices[1], "time": moment}
    _, document = _post(stage, feed, "/api/v1/quotes", {"quotes": [quote]})
    return int(document.get("accepted", 0))


def _order(stage: Stage, place: int, terms: dict[str, str]) -> int:
    member = stage.members[place]
    body = {"account": member.account, "symbol": SYMBOL, "type": "MARKET", "volume": "0.10"} | terms
    code, _ = _post(stage, member.token, "/api/v1/orders", body)
    return code


def _post(stage: Stage, token: str, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    connection = http.client.HTTPConnection("127.0.0.1", stage.port, timeout=40)
    try:
        connection.request("POST", path, json.dumps(body), headers | {"Idempotency-Key": str(uuid.uuid4())})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()
