"""Who is compared: each starts for one round, is loaded, tells what it came to, and is found right before it goes."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from bench.load import figures, floor, generator, systems
from bench.load.crowd import Member
from bench.load.generator import Load, Shots
from bench.load.scripts import Mixed, OpenAndClose, Read, Repeat, Script, get, post
from bench.load.systems import Server, System

PEOPLE = 2_000
#: Clients who wait for each answer before they ask again; a system has as many requests at hand as it can use.
CONNECTIONS = 48
#: pgbench has as many connections as the desk has threads.
FLOOR_CLIENTS = systems.WEB_WORKERS * systems.WEB_THREADS
WARM_UP_SECONDS = 2.0
#: So long are transfers made before statements are read, so that there is something to read.
HISTORY_SECONDS = 3.0
TRANSFER, OPEN, CLOSE, DEPOSIT, READ = range(5)
#: Of ten requests of a mixed load; an order is opened and closed in turn.
MIXTURE = {"read": 5, "transfer": 2, "trade": 2, "deposit": 1}

Figures = dict[str, Any]
MEBIBYTE = 1024 * 1024


@dataclass(slots=True)
class Arena:
    """What all rounds have in common."""

    server: Server
    seconds: float
    log: Path
    template: str = ""
    members: Sequence[Member] = ()
    reference_template: str = ""
    floors: dict[bool, floor.Script] = field(default_factory=dict)

    def prepare_desk(self) -> None:
        if not self.template:
            self.template, self.members = systems.desk_template(self.server, PEOPLE)

    def prepare_reference(self) -> None:
        if not self.reference_template:
            systems.installed_reference()
            self.reference_template = systems.reference_template(self.server, PEOPLE)

    def prepare_floor(self) -> None:
        self.prepare_desk()
        if not self.floors:
            said = floor.recorded(self.server, self.template)
            ring = floor.Ring.of(self.members, clients=FLOOR_CLIENTS, payers=CONNECTIONS)
            self.floors = {
                is_pipelined: floor.script(said, ring, pipelined=is_pipelined) for is_pipelined in (False, True)
            }


@dataclass(frozen=True, slots=True)
class Contestant:
    """One line of the table."""

    name: str
    title: str
    prepare: Callable[[Arena], None]
    run: Callable[[Arena], Figures]


def measured(arena: Arena, system: System, fire: Callable[[], Shots]) -> Figures:
    """What a load came to, what it cost by the request, and what was in use in the middle of it."""
    held: dict[str, Any] = {}

    def look() -> None:
        memory = {f"{part}_memory_mib": round(size / MEBIBYTE) for part, size in system.memory_bytes().items()}
        held.update(memory, connections=arena.server.connections(system.database_name))

    # The middle of the load: connecting and starting the load's processes takes about a second.
    timer = threading.Timer(1 + arena.seconds / 2, look)
    before = system.processor_seconds()
    timer.start()
    try:
        shots = fire()
    finally:
        timer.cancel()
        timer.join()
    if not held:
        raise RuntimeError("nobody could say in the middle of the load what was in use")
    after = system.processor_seconds()
    spent = {f"{part}_cpu_ms": round(1000 * (after[part] - before[part]) / max(1, len(shots.due)), 3) for part in after}
    found = figures.summary(shots, arena.seconds, after=WARM_UP_SECONDS) | spent | held
    if shots.first_refusals:
        found["first_refusal"] = shots.first_refusals[0].decode(errors="replace")
    return found


def load(arena: Arena, system: System, scripts: Sequence[Script], seconds: float = 0.0) -> Shots:
    """The first of these clients at once, each with the next request as soon as the last is answered."""
    asked = Load("127.0.0.1", system.port, seconds=seconds or arena.seconds, processes=1)
    return generator.fire(asked, scripts[:CONNECTIONS])


# --- The contestants --------------------------------------------------------------------------------------------------


def _floor(is_pipelined: bool) -> Callable[[Arena], Figures]:
    def run(arena: Arena) -> Figures:
        with floor.floor(arena.server, arena.template, arena.members[:CONNECTIONS]) as system:
            script, pgbench = arena.floors[is_pipelined], arena.server.hold.cluster.binaries / "pgbench"
            url = arena.server.url(system.database_name)
            return measured(
                arena, system, lambda: floor.fire(pgbench, url, script, clients=FLOOR_CLIENTS, seconds=arena.seconds)
            )

    return run


def _reference(arena: Arena) -> Figures:
    with systems.reference(arena.server, arena.reference_template, log=arena.log) as system:
        scripts = systems.reference_transfers(PEOPLE)
        return measured(arena, system, lambda: load(arena, system, scripts))


def _desk(
    scripts: Callable[[Sequence[Member]], list[Script]], *, is_trading: bool = False, has_history: bool = False
) -> Callable[[Arena], Figures]:
    def run(arena: Arena) -> Figures:
        with systems.desk(
            arena.server, arena.template, log=arena.log, connections=CONNECTIONS, is_trading=is_trading
        ) as system:
            if has_history:
                load(arena, system, systems.desk_transfers(arena.members), HISTORY_SECONDS)
            return measured(arena, system, lambda: load(arena, system, scripts(arena.members)))

    return run


def _trade(member: Member) -> Script:
    order = {"account": member.account, "symbol": "EURUSD", "side": "BUY", "type": "MARKET", "volume": "0.01"}
    return OpenAndClose(OPEN, CLOSE, member.token, post("/api/v1/orders", member.token, json.dumps(order).encode()))


def _deposit(member: Member) -> Script:
    body = json.dumps({"wallet": member.cash, "amount": "10.00"}).encode()
    return Repeat(DEPOSIT, *post("/api/v1/deposits", member.token, body))


def _read(member: Member) -> Script:
    return Read(READ, get(f"/api/v1/wallets/{member.cash}/entries", member.token))


def trades(members: Sequence[Member]) -> list[Script]:
    return [_trade(member) for member in members]


def deposits(members: Sequence[Member]) -> list[Script]:
    return [_deposit(member) for member in members]


def reads(members: Sequence[Member]) -> list[Script]:
    return [_read(member) for member in members]


def mixture(members: Sequence[Member]) -> list[Script]:
    """Every client does everything, in an order of its own that is the same in every round."""
    transfers = systems.desk_transfers(members)
    return [
        Mixed(
            [_read(member), transfers[place], _trade(member), _deposit(member)],
            [MIXTURE["read"], MIXTURE["transfer"], MIXTURE["trade"], MIXTURE["deposit"]],
            Random(place),
        )
        for place, member in enumerate(members)
    ]


#: A rate is of requests: who opens a position and closes it has made two.
CONTESTANTS = (
    Contestant("floor", "pgbench, separate", Arena.prepare_floor, _floor(False)),
    Contestant("pipeline", "pgbench, pipelined", Arena.prepare_floor, _floor(True)),
    Contestant("reference", "Express + Sequelize", Arena.prepare_reference, _reference),
    Contestant("desk", "desk, transfer", Arena.prepare_desk, _desk(systems.desk_transfers)),
    Contestant("orders", "desk, open and close", Arena.prepare_desk, _desk(trades, is_trading=True)),
    Contestant("deposits", "desk, deposit", Arena.prepare_desk, _desk(deposits)),
    Contestant("statements", "desk, statement", Arena.prepare_desk, _desk(reads, has_history=True)),
    Contestant("mixed", "desk, all mixed", Arena.prepare_desk, _desk(mixture, is_trading=True)),
)
