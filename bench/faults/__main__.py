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
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

import psycopg

from bench.faults.plan import ALONE, NAMES, ON_STAGE
from bench.faults.stage import BOOKS_EXACT, Stage
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
    server = Server(CLUSTER)
    shown: dict[str, Shown] = {}
    for name in names:
        print(f"{name:4} {said_of(name)} ", end="", flush=True)
        shown[name] = show(name, server)
        print(f"{shown[name].verdict} ({shown[name].seconds:.0f} s)", flush=True)
    if names == NAMES:
        keep(shown)
    return conclude(shown)


@dataclass(frozen=True, slots=True)
class Shown:
    """What came of a fault; no figures at all where this machine does not allow it."""

    figures: list[Check] | None
    seconds: float

    @property
    def missed(self) -> list[str]:
        return [one.name for one in self.figures or () if not one.is_kept]

    @property
    def verdict(self) -> str:
        if self.figures is None:
            return "NOT TRIED: this machine does not allow it"
        return "MISSED" if self.missed else "kept"


def show(name: str, server: Server) -> Shown:
    started = time.monotonic()
    try:
        figures = ALONE[name](LOG) if name in ALONE else on_stage(name, server)
    except (RuntimeError, OSError, psycopg.Error) as error:
        figures = [Check("done to the end", "books exact", str(error), False)]
    return Shown(figures, time.monotonic() - started)


def on_stage(name: str, server: Server) -> list[Check]:
    """:raises RuntimeError: if the desk did not come back, a client was wronged, or the books are not right"""
    fault, scene = ON_STAGE[name]
    template, members = systems.desk_template(server, PEOPLE)
    with Stage.set_up(server, template, members, LOG, scene) as stage:
        figures = fault(stage)
    return [*figures, BOOKS_EXACT]


def said_of(name: str) -> str:
    """What is done, in a line."""
    fault = ALONE[name] if name in ALONE else ON_STAGE[name][0]
    return (fault.__doc__ or "").strip().split("\n")[0]


def conclude(shown: dict[str, Shown]) -> int:
    """All the figures as a table, the last word, and the exit status."""
    for name, one in shown.items():
        print(f"\n{name}  {said_of(name)}  {one.verdict}")
        for figure in one.figures or ():
            mark = "" if figure.is_kept else "   <- MISSED"
            print(f"    {figure.name:38} {figure.promised:>24}   {figure.measured}{mark}")
    missed = [f"{name}: {figure}" for name, one in shown.items() for figure in one.missed]
    count = sum(len(one.figures or ()) for one in shown.values())
    print(
        f"\n{count - len(missed)} of {count} figures are kept, in {sum(one.seconds for one in shown.values()):.0f} s."
    )
    if missed:
        print("MISSED: " + "; ".join(missed))
    return 1 if missed else 0


def keep(shown: dict[str, Shown]) -> None:
    now = datetime.now(UTC)
    path = RESULTS / f"{now.date()}-faults.json"
    told = {name: [asdict(figure) for figure in one.figures or ()] for name, one in shown.items()}
    path.write_text(json.dumps({"date": now.isoformat(timespec="seconds"), "faults": told}, indent=1) + "\n")
    print(f"\nWritten: {path.relative_to(environment.ROOT)}")


if __name__ == "__main__":
    sys.exit(main())
