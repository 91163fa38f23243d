"""
Break a desk at work in every way there is, and say what its clients saw: `python -m bench.faults [F3 F5 ...]`.

Each fault gets a fresh desk with real processes on a durable PostgreSQL of its own, a crowd of clients who keep to the
rules, and the ledger's verification afterwards. Ends with 1 if a figure is missed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime

from bench.faults.plan import BEHIND_NGINX, FAULTS, Stage
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
    parser.add_argument("faults", nargs="*", metavar="FAULT", help=f"Of {', '.join(FAULTS)}.")
    names = parser.parse_args(arguments).faults or list(FAULTS)
    if unknown := [name for name in names if name not in FAULTS]:
        parser.error(f"there is no {', '.join(unknown)}: choose from {', '.join(FAULTS)}")
    LOG.parent.mkdir(parents=True, exist_ok=True)
    LOG.unlink(missing_ok=True)
    server = Server(CLUSTER)
    template, members = systems.desk_template(server, PEOPLE)
    figures: dict[str, list[Check]] = {}
    for name in names:
        started = time.monotonic()
        try:
            set_up = Stage.behind_nginx if name in BEHIND_NGINX else Stage.set_up
            with set_up(server, template, members, LOG) as stage:
                figures[name] = FAULTS[name](stage)
            figures[name].append(Check("books afterwards", "exact", "exact", True))
        except RuntimeError as error:
            figures.setdefault(name, []).append(Check("books afterwards", "exact", str(error), False))
        tell(name, figures[name], time.monotonic() - started)
    missed = [f"{name}: {one.name}" for name, all_ in figures.items() for one in all_ if not one.is_kept]
    if set(names) == set(FAULTS):
        keep(figures)
    print("\nMISSED: " + "; ".join(missed) if missed else f"\nAll figures of {len(names)} faults are kept.")
    return 1 if missed else 0


def tell(name: str, figures: list[Check], seconds: float) -> None:
    said = (FAULTS[name].__doc__ or "").strip()
    print(f"\n{name}  {said}  ({seconds:.0f} s)")
    for one in figures:
        mark = "" if one.is_kept else "   <- MISSED"
        print(f"    {one.name:34} {one.promised:>24}   {one.measured}{mark}", flush=True)


def keep(figures: dict[str, list[Check]]) -> None:
    now = datetime.now(UTC)
    path = RESULTS / f"{now.date()}-faults.json"
    told = {name: [asdict(one) for one in all_] for name, all_ in figures.items()}
    path.write_text(json.dumps({"date": now.isoformat(timespec="seconds"), "faults": told}, indent=1) + "\n")
    print(f"\nWritten: {path.relative_to(environment.ROOT)}")


if __name__ == "__main__":
    sys.exit(main())
