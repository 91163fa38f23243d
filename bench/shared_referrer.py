"""
Does a referrer with thousands of active clients slow them? The same trading, with and without one, side by side.

    python -m bench.shared_referrer [--clients 5000] [--others 1000] [--trades 4000] [--traders 2]

Every client trades through the same services as over REST. So many clients share one referrer, with two more above;
the others have none. Several processes open and close a position of one and of the other in turn, so that whatever else
the machine does is done to both, while one job accrues and another pays. Prints, per kind, how long a position takes to
be opened and closed, and the ratio as JSON; exit status 1 if the shared referrer costs a tenth or more.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from bench import throwaway
from scripts import environment

SLOWER_MAX = 0.10
LOTS = Decimal("0.10")
#: Prices go stale, so that many trades are played between two sets of them.
TRADES_PER_ROUND = 400


class Trader(NamedTuple):
    """A client as the load needs to know them."""

    owner: UUID
    account: str


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.shared_referrer", description=__doc__.split("\n")[1])
    parser.add_argument("--clients", type=int, default=5_000, help="Of the shared referrer.")
    parser.add_argument("--others", type=int, default=1_000, help="Clients whom nobody has referred.")
    parser.add_argument("--trades", type=int, default=4_000, help="Positions opened and closed, half by each kind.")
    parser.add_argument("--traders", type=int, default=2, help="Processes that trade at once.")
    chosen = parser.parse_args(arguments)
    with throwaway.desk("referrer"):
        found = compare(chosen.clients, chosen.others, chosen.trades, chosen.traders)
    print(json.dumps(found, indent=2))
    return 0 if found["ratio"] < 1 + SLOWER_MAX else 1


def compare(clients: int, others: int, trades: int, processes: int) -> dict[str, Any]:
    from referrals.models import Accrual, Commission
    from tests.cast import make_client
    from tests.referrals.deals import plan
    from tests.trading import prices

    push = prices.open_market()
    plan(seconds_held_min=0)
    top = make_client(balance=Decimal(0))
    above = make_client(balance=Decimal(0), referred_by=top.user)
    referrer = make_client(balance=Decimal(0), referred_by=above.user)
    referred = [open_account(referred_by=referrer.user) for _ in range(clients)]
    alone = [open_account() for _ in range(others)]
    dice, took = random.Random(7), {"alone": list[float](), "referred": list[float]()}
    with jobs():
        for _ in range(-(-trades // TRADES_PER_ROUND)):
            push(**prices.PRICES)
            pairs = [(dice.choice(alone), dice.choice(referred)) for _ in range(TRADES_PER_ROUND // 2)]
            for without, with_referrer in play(pairs, processes):
                took["alone"].append(without)
                took["referred"].append(with_referrer)
    return {
        "clients": clients,
        "trades": sum(len(times) for times in took.values()),
        "milliseconds": {kind: spread(times) for kind, times in took.items()},
        "ratio": round(statistics.median(took["referred"]) / statistics.median(took["alone"]), 3),
        "ratio_of_means": round(statistics.fmean(took["referred"]) / statistics.fmean(took["alone"]), 3),
        "waiting": Accrual.objects.filter(outcome=Accrual.Outcome.PENDING).count(),
        "commissions": Commission.objects.count(),
        "paid": Commission.objects.filter(status=Commission.Status.PAID).count(),
    }


def spread(times: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(times, n=100)
    return {name: round(1_000 * cuts[at - 1], 1) for name, at in (("median", 50), ("p95", 95), ("p99", 99))}


def open_account(**person: Any) -> Trader:
    """A live client with nothing but what trading takes."""
    from django.db import transaction

    from accounts.models import TradingAccount
    from tests import cast, factories
    from wallets import ledger
    from wallets.models import Environment, Kind

    with transaction.atomic():
        user = factories.Person.create(**person)
        wallet = ledger.open_wallet(
            owner=user.pk, environment=Environment.LIVE, kind=Kind.MARGIN, currency="USD", verified=True
        )
        cast.fund(wallet, Decimal("10000.00"))
        account = TradingAccount.objects.create(
            number=cast.next_account_number(Environment.LIVE),
            owner=user,
            wallet_id=wallet.id,
            environment=Environment.LIVE,
            currency="USD",
            leverage=30,
        )
    return Trader(user.pk, account.number)


def play(pairs: list[tuple[Trader, Trader]], processes: int) -> list[tuple[float, float]]:
    """Let one of each pair trade, and then the other, shared out over processes; the seconds that each took."""
    from django.db import connection

    connection.close()  # the children would share its socket
    children = []
    for number in range(processes):
        reader, writer = os.pipe()
        if (pid := os.fork()) == 0:
            status = 1
            try:
                with os.fdopen(writer, "w") as pipe:
                    json.dump(
                        [_both(*pair, swapped=bool(at % 2)) for at, pair in enumerate(pairs[number::processes])], pipe
                    )
                connection.close()
                status = 0
            finally:
                os._exit(status)
        os.close(writer)
        children.append((pid, reader))
    found: list[tuple[float, float]] = []
    for pid, reader in children:
        with os.fdopen(reader) as pipe:
            text = pipe.read()
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, "every trade went through"
        found += [(without, with_referrer) for without, with_referrer in json.loads(text)]
    return found


def _both(alone: Trader, referred: Trader, *, swapped: bool) -> tuple[float, float]:
    """Both of a pair, each time another first."""
    if swapped:
        second = _timed(referred)
        return _timed(alone), second
    return _timed(alone), _timed(referred)


def _timed(trader: Trader) -> float:
    begun = time.perf_counter()
    trade(trader)
    return time.perf_counter() - begun


def trade(trader: Trader) -> None:
    """Open a position and close it, through the services that the views call."""
    from core.audit import Actor, ActorKind
    from core.idempotency import Claim
    from core.ids import uuid7
    from trading.engine import Instruction
    from trading.margin import Side
    from trading.services import orders, positions

    actor = Actor(id=trader.owner, kind=ActorKind.CLIENT)
    claim = Claim.make(operation=orders.OPEN, owner=trader.owner, key=str(uuid7()), request={"a": trader.account})
    answer = orders.place_order(
        account=trader.account,
        symbol="EURUSD",
        instruction=Instruction(Side.BUY, LOTS),
        client_order_id=None,
        claim=claim,
        actor=actor,
    )
    position = UUID(json.loads(answer.body)["position"]["id"])
    claim = Claim.make(operation=positions.CLOSE, owner=trader.owner, key=str(uuid7()), request={"p": str(position)})
    positions.close_position(position_id=position, volume=None, claim=claim, actor=actor)


@contextmanager
def jobs() -> Iterator[None]:
    """What accrues and pays commissions meanwhile."""
    commands = (["accrue_commissions", "--interval=0.5"], ["pay_commissions", "--interval=2", "--hold-days=0"])
    running = [
        subprocess.Popen(
            [sys.executable, "manage.py", *command, "--watch"], cwd=environment.ROOT, stdout=subprocess.DEVNULL
        )
        for command in commands
    ]
    try:
        yield
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait()


if __name__ == "__main__":
    sys.exit(main())
