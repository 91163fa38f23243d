"""
What more connections cost, and what more wallets cost: throughput and p99 along both.

    python -m bench.curve [--seconds 20] [--connections 100,1000,10000,33000] [--wallets 33000,330000,3300000]

Each point is a fresh desk behind the front door. Latency is measured at one rate for all, spread over all connections;
throughput with always so many requests under way that there is work, from all connections in turn. More wallets are
more clients with an empty wallet each: rows that every look-up has to find its way past. Their database is made once
and kept. The results go to `bench/results`.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from bench.compare.charts import Bar, Row, picture
from bench.load import figures, front_door, generator, systems
from bench.load.front_door import Limits
from bench.load.generator import Load
from bench.load.systems import Server
from bench.promise import AT_ONCE, raise_descriptors
from scripts import environment

CONNECTIONS, WALLETS = (100, 1_000, 10_000, 33_000), (33_000, 330_000, 3_300_000)
CONNECTIONS_BY_WALLETS = 1_000
#: Each has two wallets: as many members as there are connections, or half as many as the fewest wallets.
MEMBERS, MEMBERS_BY_WALLETS = 33_000, 16_500
SECONDS, RATE = 20.0, 300.0
WARM_UP_SECONDS, AFTER_SECONDS = 5.0, 2.0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.curve", description=str(__doc__).split("\n")[1])
    parser.add_argument("--seconds", type=float, default=SECONDS, help="Per figure.")
    parser.add_argument("--rate", type=float, default=RATE, help="Transfers a second while latency is measured.")
    parser.add_argument("--connections", type=_numbers, default=CONNECTIONS)
    parser.add_argument("--wallets", type=_numbers, default=WALLETS)
    chosen = parser.parse_args(arguments)
    raise_descriptors(-(-max(chosen.connections, default=0) // 2))
    server = systems.Server()
    points: list[dict[str, Any]] = []
    sizes = [(count, max(MEMBERS, count), 0) for count in chosen.connections]
    sizes += [(CONNECTIONS_BY_WALLETS, MEMBERS_BY_WALLETS, count - 2 * MEMBERS_BY_WALLETS) for count in chosen.wallets]
    try:
        for connections, members, idle in sizes:
            points.append(measure(server, chosen, connections, members=members, idle=max(0, idle)))
            _tell(points[-1])
    finally:
        if points:
            keep(chosen, server, points)
    return 1 if any(point[part]["errors"] for point in points for part in ("steady", "full")) else 0


def measure(server: Server, chosen: argparse.Namespace, connections: int, *, members: int, idle: int) -> dict[str, Any]:
    """One point of the curve; the ledger is verified after it."""
    log = environment.VAR / "bench" / "curve.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    wallets = 2 * members + idle
    print(f"{connections:,} connections, {wallets:,} wallets: getting ready", flush=True)
    template, crowd = systems.desk_template(server, members, idle=idle)
    size = server.size_bytes(template)
    print(f"  {time.monotonic() - began:.0f} s for {size / 1e6:,.0f} MB", flush=True)
    everybody = systems.desk_transfers(crowd)
    stride = len(everybody) // connections  # spread over all wallets, not the first ones
    scripts = everybody[::stride][:connections]
    with front_door.open_to(server, template, log=log, limits=Limits(clients=connections)) as door:
        load = Load("127.0.0.1", door.port, seconds=chosen.seconds)
        eager = replace(load, at_once=AT_ONCE)
        generator.fire(replace(eager, seconds=WARM_UP_SECONDS), scripts)
        steady = generator.fire(replace(load, period=connections / chosen.rate), scripts)
        full = generator.fire(eager, scripts)
    return {
        "connections": connections,
        "wallets": wallets,
        "database_bytes": size,
        "steady": figures.summary(steady, chosen.seconds, after=AFTER_SECONDS),
        "full": figures.summary(full, chosen.seconds, after=AFTER_SECONDS),
    }


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(",") if part)


def _tell(point: dict[str, Any]) -> None:
    steady, full = point["steady"], point["full"]
    errors, shed = steady["errors"] | full["errors"], steady["shed"] + full["shed"]
    print(
        f"  at {steady['per_second']}/s: p50 {steady['p50_ms']}, p99 {steady['p99_ms']} ms; "
        f"at most {full['per_second']}/s; errors {errors or 'none'}, shed {shed}",
        flush=True,
    )


def keep(chosen: argparse.Namespace, server: Server, points: Sequence[dict[str, Any]]) -> None:
    print(f"\n{'connections':>12}{'wallets':>12}{'p50 ms':>9}{'p99 ms':>9}{'at most/s':>11}")
    for point in points:
        print(
            f"{point['connections']:>12,}{point['wallets']:>12,}{point['steady']['p50_ms']:>9}"
            f"{point['steady']['p99_ms']:>9}{point['full']['per_second']:>11}"
        )
    today = datetime.now(UTC).date().isoformat()
    whole = (chosen.connections, chosen.wallets, chosen.seconds) == (CONNECTIONS, WALLETS, SECONDS)
    folder = environment.ROOT / "bench" / "results" if whole else environment.VAR / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{today}-curve.json"
    document = {"asked": vars(chosen), "database": server.settings(), "points": list(points)}
    path.write_text(json.dumps(document, indent=1) + "\n")
    drawn = environment.ROOT / "docs" / "bench" if whole else folder
    for name, text in pictures(points, rate=chosen.rate).items():
        (drawn / f"{name}.svg").write_text(text)
    print(f"\n{path.relative_to(environment.ROOT)}, {drawn.relative_to(environment.ROOT)}/curve*.svg")


def pictures(points: Sequence[dict[str, Any]], *, rate: float) -> dict[str, str]:
    """The curve as SVG, by name: how much is done at most, and how long a request takes where there is room."""
    rates, waits = [], []
    for point in points:
        is_of_wallets = point["connections"] == CONNECTIONS_BY_WALLETS and point["wallets"] != 2 * MEMBERS
        count, what = (point["wallets"], "wallets") if is_of_wallets else (point["connections"], "connections")
        label, steady = f"{count:,} {what}", point["steady"]
        rates.append(Row(label, [Bar(point["full"]["per_second"], "own")]))
        waits.append(Row(label, [Bar(steady["p50_ms"], "own"), Bar(steady["p99_ms"], "own-slow")]))
    which = f"connections with {2 * MEMBERS:,} wallets, wallets with {CONNECTIONS_BY_WALLETS:,} connections"
    return {
        "curve-rate": picture("Transfers per second, at most", which, rates),
        "curve-latency": picture(
            f"How long a transfer takes at {rate:g} a second, in milliseconds",
            f"above: half take less; below: 99 of 100 do; {which}",
            waits,
        ),
    }


if __name__ == "__main__":
    sys.exit(main())
