"""
Does a referrer with thousands of active clients slow them? The same trading, with and without one, side by side.

    python -m bench.shared_referrer [--clients 5000] [--rounds 10] [--trades 500] [--traders 2]

Every client trades through the same services as over REST. Rounds alternate: in one half nobody is referred, in the
other all have the same referrer, and two more above; which comes first changes from pair to pair. A job accrues and
another pays all the while. Prints operations per second of every round and the ratio of the medians as JSON; exit
status 1 if the shared referrer costs a tenth or more.
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


class Trader(NamedTuple):
    """A client as the load needs to know them."""

    owner: UUID
    account: str


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.shared_referrer", description=__doc__.split("\n")[1])
    parser.add_argument("--clients", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=10, help="Of each kind.")
    parser.add_argument("--trades", type=int, default=500, help="Positions opened and closed in a round.")
    parser.add_argument("--traders", type=int, default=2, help="Processes that trade at once.")
    chosen = parser.parse_args(arguments)
    with throwaway.desk("referrer"):
        found = compare(chosen.clients, chosen.rounds, chosen.trades, chosen.traders)
    print(json.dumps(found, indent=2))
    return 0 if found["ratio"] > 1 - SLOWER_MAX else 1


def compare(clients: int, rounds: int, trades: int, processes: int) -> dict[str, Any]:
    from referrals.models import Commission
    from tests.cast import make_client
    from tests.referrals.deals import plan
    from tests.trading import prices

    push = prices.open_market()
    plan(seconds_held_min=0)
    top = make_client(balance=Decimal(0))
    above = make_client(balance=Decimal(0), referred_by=top.user)
    referrer = make_client(balance=Decimal(0), referred_by=above.user)
    traders = [open_account() for _ in range(clients)]
    dice, speeds = random.Random(7), {"alone": list[float](), "referred": list[float]()}
    with jobs():
        for number in range(rounds + 1):
            for kind in ("alone", "referred") if number % 2 else ("referred", "alone"):
                refer(traders, referrer.user.pk if kind == "referred" else None)
                push(**prices.PRICES)  # prices go stale
                speed = 2 * trades / play(dice.sample(traders, trades), processes)
                if number:  # the first pair warms up
                    speeds[kind].append(speed)
    medians = {kind: statistics.median(values) for kind, values in speeds.items()}
    return {
        "clients": clients,
        "operations_per_second": {kind: [round(value, 1) for value in values] for kind, values in speeds.items()},
        "medians": {kind: round(value, 1) for kind, value in medians.items()},
        "ratio": round(medians["referred"] / medians["alone"], 3),
        "commissions": Commission.objects.count(),
        "paid": Commission.objects.filter(status=Commission.Status.PAID).count(),
    }


def open_account() -> Trader:
    """A live client with nothing but what trading takes."""
    from django.db import transaction

    from accounts.models import TradingAccount
    from tests import cast, factories
    from wallets import ledger
    from wallets.models import Environment, Kind

    with transaction.atomic():
        user = factories.Person.create()
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


def refer(traders: list[Trader], referrer: UUID | None) -> None:
    from accounts.models import User

    User.objects.filter(pk__in=[trader.owner for trader in traders]).update(referred_by=referrer)


def play(traders: list[Trader], processes: int) -> float:
    """Let every trader open and close a position, shared out over processes; how many seconds that took."""
    from django.db import connection

    connection.close()  # the children would share its socket
    begun, children = time.monotonic(), []
    for number in range(processes):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                for trader in traders[number::processes]:
                    trade(trader)
                connection.close()
                status = 0
            finally:
                os._exit(status)
        children.append(pid)
    ended = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
    assert not any(ended), "every trade went through"
    return time.monotonic() - begun


def trade(trader: Trader) -> None:
    """Open a position and close it, through the services that the views call."""
    from core.audit import Actor, ActorKind
    from core.idempotency import Claim
    from core.ids import uuid7
    from trading.margin import Side
    from trading.services import orders, positions

    actor = Actor(id=trader.owner, kind=ActorKind.CLIENT)
    claim = Claim.make(operation=orders.OPEN, owner=trader.owner, key=str(uuid7()), request={"a": trader.account})
    answer = orders.place_order(
        account=trader.account,
        symbol="EURUSD",
        side=Side.BUY,
        volume=LOTS,
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
