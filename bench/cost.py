"""
What one request costs in one process: Python calls, statements, and processor time of the desk and of its database.

    python -m bench.cost [--rounds 8]

Calls and statements are the same on every machine and in every mood of it, so they tell what a change bought where
milliseconds cannot. The times are the least of all rounds, without a web server, without other requests.
"""

from __future__ import annotations

import argparse
import cProfile
import io
import itertools
import json
import pstats
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

from bench import throwaway

CLIENTS = 40
REQUESTS = 120
#: The first requests of a process also read what it keeps.
WARM_UP = 60

_keys = itertools.count()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.cost", description=__doc__.strip().split("\n")[0])
    parser.add_argument("--rounds", type=int, default=8)
    asked = parser.parse_args(arguments)
    with throwaway.desk("cost"):
        measured = {name: measure(act, asked.rounds) for name, act in operations().items()}
    print(f"{'':16}{'calls':>10}{'statements':>12}{'desk ms':>10}{'database ms':>13}")
    for name, told in measured.items():
        print(f"{name:16}" + "{calls:10,.0f}{statements:12.1f}{desk_ms:10.2f}{database_ms:13.2f}".format(**told))
    return 0


def operations() -> dict[str, Callable[[int], None]]:
    """What is measured, by name: each does one request on behalf of one of the clients."""
    from django.conf import settings

    from config.wsgi import application as desk
    from tests.cast import make_client
    from tests.trading import prices

    settings.THROTTLES.update(dict.fromkeys(("money", "token"), "1000000/m"))
    settings.ALLOWED_HOSTS, settings.SECURE_SSL_REDIRECT = ["*"], False
    push = prices.open_market()
    clients = [make_client(margin=Decimal(100_000)) for _ in range(CLIENTS)]
    opened: list[str] = []

    def transfer(turn: int) -> None:
        source, target = clients[turn % CLIENTS], clients[(turn + 1) % CLIENTS]
        terms = {"source": source.cash.number, "target": target.cash.number, "amount": "0.01"}
        post(desk, "/api/v1/transfers", source.token, terms)

    def trade(turn: int) -> None:
        who = clients[turn // 2 % CLIENTS]
        if opened:
            post(desk, f"/api/v1/positions/{opened.pop()}/close", who.token, {"volume": "ALL"})
            return
        if turn % REQUESTS == 0:
            push(**prices.PRICES)
        terms = {"account": who.account.number, "symbol": "EURUSD", "side": "BUY", "volume": "0.01", "type": "MARKET"}
        opened.append(post(desk, "/api/v1/orders", who.token, terms)["position"]["id"])

    return {"transfer": transfer, "open or close": trade}


def post(desk: Callable[..., Any], path: str, token: str, terms: dict[str, str]) -> dict[str, Any]:
    """One request as a web server hands it on; :raises RuntimeError: if it is refused"""
    body, told = json.dumps(terms).encode(), list[str]()
    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "SERVER_NAME": "desk",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(body)),
        "HTTP_HOST": "desk",
        "HTTP_AUTHORIZATION": f"Bearer {token}",
        "HTTP_IDEMPOTENCY_KEY": f"cost-{next(_keys):016}",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.url_scheme": "http",
    }
    response = desk(environ, lambda status, _headers: told.append(status))
    answer = b"".join(response)
    response.close()
    if not told[0].startswith("2"):
        raise RuntimeError(f"{path}: {told[0]} {answer.decode()}")
    document: dict[str, Any] = json.loads(answer)
    return document


def measure(act: Callable[[int], None], rounds: int) -> dict[str, float]:
    """The least of so many rounds; calls and statements are counted in one round more."""
    from django.db import connection

    turns = itertools.count()

    def do(count: int) -> None:
        for _ in range(count):
            act(next(turns))

    do(WARM_UP)
    pid = connection.connection.info.backend_pid
    times = []
    for _ in range(rounds):
        desk, database = time.process_time(), _processor_seconds(pid)
        do(REQUESTS)
        times.append((time.process_time() - desk, _processor_seconds(pid) - database))
    statements = 0

    def count(execute: Callable[..., Any], *said: Any) -> Any:
        nonlocal statements
        statements += 1
        return execute(*said)

    profile = cProfile.Profile()
    with connection.execute_wrapper(count):
        profile.enable()
        do(REQUESTS)
        profile.disable()
    return {
        "calls": pstats.Stats(profile).total_calls / REQUESTS,  # type: ignore[attr-defined]  # the stubs leave it out
        "statements": statements / REQUESTS,
        "desk_ms": 1000 * min(desk for desk, _ in times) / REQUESTS,
        "database_ms": 1000 * min(database for _, database in times) / REQUESTS,
    }


def _processor_seconds(pid: int) -> float:
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


if __name__ == "__main__":
    sys.exit(main())
