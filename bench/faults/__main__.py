"""
Break a desk at work in every way there is, and say what its clients saw: `python -m bench.faults [F3 F5 ...]`.

Each fault gets a fresh desk with real processes on a durable PostgreSQL of its own, a crowd of clients who keep to the
rules, and everything that `make verify` runs afterwards. Ends with 1 if a figure is missed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import chain

import psycopg

from bench.faults.plan import ALONE, NAMES, ON_STAGE
from bench.faults.stage import Stage
from bench.load import systems
from bench.load.figures import Check
from bench.load.systems import Server
from scripts import environment

CLUSTER = environment.VAR / "postgres-faults"
LOG = environment.VAR / "bench" / "faults.log"
RESULTS = environment.ROOT / "bench" / "results"
PEOPLE = 400


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faults", nargs="*", metavar="FAULT", help=f"Of {', '.join(NAMES)}.")
    names = parser.parse_args(arguments).faults or NAMES
    if unknown := [name for name in names if name not in NAMES]:
        parser.error(f"there is no {', '.join(unknown)}: choose from {', '.join(NAMES)}")
    LOG.parent.mkdir(parents=True, exist_ok=True)
    LOG.unlink(missing_ok=True)
    figures: dict[str, list[Check] | None] = {}
    for name in names:
        started = time.monotonic()
        print(f"{name} ...", flush=True)
        try:
            figures[name] = ALONE[name](LOG) if name in ALONE else on_stage(name)
        except (RuntimeError, OSError, psycopg.Error) as error:
            figures[name] = [Check("done to the end", "books exact", str(error), False)]
        tell(name, figures[name], time.monotonic() - started)
    if names == NAMES:
        keep(figures)
    return conclude(figures)


def on_stage(name: str) -> list[Check]:
    """:raises RuntimeError: if the desk did not come back, a client was wronged, or the books are not right"""
    fault, scene = ON_STAGE[name]
    server = Server(CLUSTER)
    with server.hold:
        template, members = systems.desk_template(server, PEOPLE)
        with Stage.set_up(server, template, members, LOG, scene) as stage:
            figures = fault(stage)
    return [*figures, Check("make verify", "exact", "exact", True)]


def conclude(figures: dict[str, list[Check] | None]) -> int:
    """The last word, and the exit status."""
    missed = [f"{name}: {one.name}" for name, all_ in figures.items() for one in all_ or () if not one.is_kept]
    left_out = [name for name, all_ in figures.items() if all_ is None]
    kept = sum(one.is_kept for one in chain.from_iterable(all_ or () for all_ in figures.values()))
    print(f"\n{kept} figures of {len(figures) - len(left_out)} faults are kept.")
    if left_out:
        print(f"NOT TRIED, as this machine does not allow it: {', '.join(left_out)}")
    if missed:
        print("MISSED: " + "; ".join(missed))
    return 1 if missed else 0


def tell(name: str, figures: list[Check] | None, seconds: float) -> None:
    fault = ALONE[name] if name in ALONE else ON_STAGE[name][0]
    said = (fault.__doc__ or "").strip().split("\n")[0]
    print(f"\n{name}  {said}  ({seconds:.0f} s)")
    for one in figures or ():
        mark = "" if one.is_kept else "   <- MISSED"
        print(f"    {one.name:34} {one.promised:>24}   {one.measured}{mark}", flush=True)


def keep(figures: dict[str, list[Check] | None]) -> None:
    now = datetime.now(UTC)
    path = RESULTS / f"{now.date()}-faults.json"
    told = {name: [asdict(one) for one in all_ or ()] for name, all_ in figures.items()}
    path.write_text(json.dumps({"date": now.isoformat(timespec="seconds"), "faults": told}, indent=1) + "\n")
    print(f"\nWritten: {path.relative_to(environment.ROOT)}")


if __name__ == "__main__":
    sys.exit(main())
