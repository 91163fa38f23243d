"""
Rounds of every system in turn, a table, a JSON file, charts: `python -m bench.compare [--only desk,…]`.

Each round starts each system itself on a fresh copy of its database, loads it as fast as it answers, and checks its
books. A whole run (every system, five rounds or more) goes to `bench/results` and `docs/bench`; any other is a trial
and goes to `var/bench`. Exit status 1 if a request failed, books are wrong, or a ratio is below what is promised.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg

from bench.compare import charts, verdict
from bench.compare.contestants import (
    CONNECTIONS,
    CONTESTANTS,
    FLOOR_CLIENTS,
    PEOPLE,
    WARM_UP_SECONDS,
    Arena,
    Contestant,
    Figures,
)
from bench.compare.verdict import BROKEN
from bench.load import systems
from scripts import environment

ROUNDS_MIN = 5
SECONDS_MIN = 4
#: What makes a commit survive a power cut; without them a rate is worth nothing.
DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
PACKAGES = ("django", "djangorestframework", "gunicorn", "psycopg")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.compare", description=__doc__.strip().split("\n")[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS_MIN)
    parser.add_argument("--seconds", type=int, default=8, help="of load in each round, two of them to warm up")
    parser.add_argument("--only", help=f"some of {','.join(one.name for one in CONTESTANTS)}")
    asked = parser.parse_args(arguments)
    names = asked.only.split(",") if asked.only else [one.name for one in CONTESTANTS]
    if asked.rounds < 1 or asked.seconds < SECONDS_MIN:
        parser.error(f"at least one round of at least {SECONDS_MIN} seconds")
    if unknown := set(names) - {one.name for one in CONTESTANTS}:
        parser.error(f"no system is called {', '.join(sorted(unknown))}")
    chosen = [one for one in CONTESTANTS if one.name in names]

    log = environment.VAR / "bench" / "systems.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    arena = Arena(systems.Server(), asked.seconds, log)
    server = arena.server.settings()
    rounds = fight(arena, chosen, asked.rounds)
    document = described(rounds, server, asked.seconds)
    is_whole = len(chosen) == len(CONTESTANTS) and asked.rounds >= ROUNDS_MIN
    written = publish(document, is_whole=is_whole)
    tell(document, written)
    wrong = verdict.flaws(rounds) + verdict.missed(document["ratios"])
    wrong += [f"{name} is {server[name]}" for name, value in DURABLE.items() if server[name] != value]
    for line in wrong:
        print(f"  {line}", file=sys.stderr)
    return 1 if wrong else 0


def fight(arena: Arena, chosen: Sequence[Contestant], rounds: int) -> dict[str, list[Figures]]:
    """A B C A B C: whatever else the machine does, it does to all of them."""
    print("Getting ready: databases of both, and what the desk says in a transfer (the first time takes minutes)")
    for one in chosen:
        one.prepare(arena)
    found: dict[str, list[Figures]] = {one.name: [] for one in chosen}
    for place in range(1, rounds + 1):
        for one in chosen:
            print(f"round {place} of {rounds}  {one.title:<22}", end="", flush=True)
            began = time.monotonic()
            try:
                figures = one.run(arena)
            except (RuntimeError, OSError, psycopg.Error, subprocess.SubprocessError) as error:
                figures = {BROKEN: str(error).strip() or type(error).__name__}
            found[one.name].append(figures)
            print(f"{brief(figures)}  ({time.monotonic() - began:.0f} s)", flush=True)
    return found


def brief(figures: Figures) -> str:
    if BROKEN in figures:
        return f"broken: {figures[BROKEN].splitlines()[0]}"
    errors = sum(figures["errors"].values()) + figures["shed"] + figures["unanswered"]
    waits = f"p50 {figures['p50_ms']:5.1f}  p99 {figures['p99_ms']:6.1f} ms"
    return f"{figures['per_second']:8,.1f}/s  {waits}  {errors} errors"


def described(rounds: dict[str, list[Figures]], server: dict[str, str], seconds: float) -> dict[str, Any]:
    """All there is to say of a run, for the record."""
    found = verdict.ratios(rounds)
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        **found,
        "ratios": found,
        "wanted": {ratio.name: ratio.wanted for ratio in verdict.RATIOS if ratio.wanted is not None},
        "missed": verdict.missed(found),
        "flaws": verdict.flaws(rounds),
        "load": {
            "rounds": max(map(len, rounds.values())),
            "seconds": seconds,
            "warm_up_seconds": WARM_UP_SECONDS,
            "connections": CONNECTIONS,
            "floor_clients": FLOOR_CLIENTS,
            "people": PEOPLE,
        },
        "postgresql": server,
        "machine": {
            "cores": os.cpu_count(),
            "processor": processor(),
            "system": f"{platform.system()} {platform.release()}",
        },
        "versions": versions(with_reference="reference" in rounds),
        "titles": {one.name: one.title for one in CONTESTANTS if one.name in rounds},
        "medians": verdict.medians(rounds),
        "rounds": rounds,
    }


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def versions(*, with_reference: bool) -> dict[str, str]:
    """Of everything that was measured."""
    found = {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in PACKAGES}
    if with_reference:
        command = [*systems.node()[0], "--version"]
        found["node"] = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        found |= json.loads((systems.HERE / "reference" / "package.json").read_text())["dependencies"]
    return found


def publish(document: dict[str, Any], *, is_whole: bool) -> list[Path]:
    """Write the JSON file and the charts, a trial's where they are nobody's business."""
    results, drawn = environment.ROOT / "bench" / "results", environment.ROOT / "docs" / "bench"
    if not is_whole:
        results = drawn = environment.VAR / "bench"
    for folder in (results, drawn):
        folder.mkdir(parents=True, exist_ok=True)
    files = [results / f"{document['date'][:10]}.json"]
    files[0].write_text(json.dumps(document, indent=1) + "\n")
    for name, picture in charts.draw(document).items():
        files.append(drawn / f"{name}.svg")
        files[-1].write_text(picture)
    return files


def tell(document: dict[str, Any], written: Sequence[Path]) -> None:
    heads = ("req/s", "min", "max", "p50 ms", "p99 ms", "p99.9", "web", "+ db", "+ load", "conn.", "MiB")
    print(f"\n{'':65}CPU ms per request")
    print(_line("median of the rounds", heads))
    for name, found in document["medians"].items():
        rates = [one["per_second"] for one in document["rounds"][name] if BROKEN not in one]
        if not rates:
            continue
        cells = [f"{rate:,.1f}" for rate in (found["per_second"], min(rates), max(rates))]
        cells += [f"{found[key]:.1f}" for key in ("p50_ms", "p99_ms", "p999_ms")]
        cells += [f"{found[key]:.2f}" for key in ("web_cpu_ms", "database_cpu_ms", "generator_cpu_ms")]
        memory = found["web_memory_mib"] + found["database_memory_mib"]
        print(_line(document["titles"][name], [*cells, f"{found['connections']:.0f}", f"{memory:.0f}"]))
    print()
    for name, value in document["ratios"].items():
        wanted = document["wanted"].get(name)
        print(f"  {name:<42}{value:6.2f}" + ("" if wanted is None else f"   (promised: {wanted:.2f})"))
    print("\nWritten: " + ", ".join(str(file.relative_to(environment.ROOT)) for file in written), flush=True)


def _line(label: str, cells: Sequence[str]) -> str:
    widths = (10, 9, 9, 9, 9, 9, 8, 8, 8, 7, 7)
    return f"{label:<22}" + "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))


if __name__ == "__main__":
    sys.exit(main())
