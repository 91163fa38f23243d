"""
What everybody at one spot costs: fifty clients at one wallet, and in one instrument, beside fifty who are spread out.

    python -m bench.hot [--seconds 15] [--rounds 3] [--clients 50]

All run in turn on one desk, round by round, so that whatever else the machine does is done to all of them; prices come
in meanwhile. One referrer for everyone has a command of its own, `make shared-referrer`. The results go to
`bench/results`; exit status 1 on any error, or if the books are wrong afterwards.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from bench.load import figures, front_door, generator, systems
from bench.load.crowd import Member
from bench.load.generator import Load
from bench.load.scripts import OpenAndClose, Repeat, Script, post
from scripts import environment

CLIENTS, MEMBERS = 50, 2_000
INSTRUMENTS = ("EURUSD", "GBPUSD", "USDJPY", "USDCHF", "GBPJPY", "GBPCAD", "USDCAD")
SECONDS, ROUNDS, AFTER_SECONDS = 15.0, 3, 2.0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.hot", description=str(__doc__).split("\n")[1])
    parser.add_argument("--seconds", type=float, default=SECONDS, help="Per round and kind.")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--clients", type=int, default=CLIENTS)
    chosen = parser.parse_args(arguments)
    server = systems.Server()
    log = environment.VAR / "bench" / "hot.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    print("Getting ready", flush=True)
    template, members = systems.desk_template(server, MEMBERS)
    found: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS}
    with (
        front_door.open_to(server, template, log=log) as door,
        systems.prices(server, door.database_name, door.settings, log),
    ):
        load = Load("127.0.0.1", door.port, seconds=chosen.seconds)
        generator.fire(replace(load, seconds=5.0), spread_out(members, chosen.clients))
        for number in range(chosen.rounds):
            for kind, scripts in KINDS.items():
                shots = generator.fire(load, scripts(members, chosen.clients))
                found[kind].append(figures.summary(shots, chosen.seconds, after=AFTER_SECONDS))
                print(f"  round {number + 1}, {kind}: {found[kind][-1]['per_second']}/s", flush=True)
    return keep(chosen, server.settings(), found)


def one_wallet(members: Sequence[Member], clients: int) -> list[Script]:
    """Each pays a cent from a wallet of their own into the same one."""
    return [_pays(member, members[0].cash) for member in members[1 : clients + 1]]


def one_purse(members: Sequence[Member], clients: int) -> list[Script]:
    """All are the same client at so many devices, and pay everybody else out of one wallet."""
    return [_pays(members[0], member.cash) for member in members[1 : clients + 1]]


def at_one_wallet(members: Sequence[Member], clients: int) -> list[Script]:
    """Half of them pay into the same wallet, and the other half out of it."""
    return [*one_wallet(members, clients)[::2], *one_purse(members, clients)[1::2]]


def spread_out(members: Sequence[Member], clients: int) -> list[Script]:
    """Nobody's wallet is anybody else's."""
    return [_pays(members[2 * place], members[2 * place + 1].cash) for place in range(clients)]


def one_instrument(members: Sequence[Member], clients: int) -> list[Script]:
    """Everybody opens and closes positions in the same."""
    return [_trades(member, INSTRUMENTS[0]) for member in members[:clients]]


def many_instruments(members: Sequence[Member], clients: int) -> list[Script]:
    """As before, but each in one of several."""
    return [_trades(member, INSTRUMENTS[place % len(INSTRUMENTS)]) for place, member in enumerate(members[:clients])]


KINDS: dict[str, Callable[[Sequence[Member], int], list[Script]]] = {
    "pairs": spread_out,
    "into one wallet": one_wallet,
    "out of one wallet": one_purse,
    "many instruments": many_instruments,
    "one instrument": one_instrument,
}
#: What each is held against.
SPREAD_OUT = {"into one wallet": "pairs", "out of one wallet": "pairs", "one instrument": "many instruments"}


def _trades(member: Member, symbol: str) -> Script:
    order = {"account": member.account, "symbol": symbol, "side": "BUY", "type": "MARKET", "volume": "0.01"}
    return OpenAndClose(0, 1, member.token, post("/api/v1/orders", member.token, json.dumps(order).encode()))


def _pays(member: Member, target: str) -> Script:
    body = json.dumps({"source": member.cash, "target": target, "amount": "0.01"}).encode()
    return Repeat(0, *post("/api/v1/transfers", member.token, body))


def keep(chosen: argparse.Namespace, settings: dict[str, str], found: dict[str, list[dict[str, Any]]]) -> int:
    """Medians over the rounds as a table, everything as JSON."""
    medians = {
        kind: {name: statistics.median(line[name] for line in lines) for name in ("per_second", "p50_ms", "p99_ms")}
        for kind, lines in found.items()
    }
    errors = {kind: [line["errors"] for line in lines if line["errors"]] for kind, lines in found.items()}
    print(f"\n{chosen.clients} clients{'':12}{'a second':>10}{'p50 ms':>9}{'p99 ms':>9}  of those spread out")
    for kind, median in medians.items():
        beside = medians[SPREAD_OUT.get(kind, kind)]["per_second"]
        share = median["per_second"] / (beside or 1)
        print(f"{kind:22}{median['per_second']:>10}{median['p50_ms']:>9}{median['p99_ms']:>9}  {share:.2f}")
    whole = (chosen.seconds, chosen.rounds, chosen.clients) == (SECONDS, ROUNDS, CLIENTS)
    folder = environment.ROOT / "bench" / "results" if whole else environment.VAR / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{datetime.now(UTC).date().isoformat()}-hot.json"
    document = {"asked": vars(chosen), "database": settings, "medians": medians, "rounds": found}
    path.write_text(json.dumps(document, indent=1) + "\n")
    print(f"\n{path.relative_to(environment.ROOT)}; errors: {[e for kind in errors.values() for e in kind] or 'none'}")
    return 1 if any(errors.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
