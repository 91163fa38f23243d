"""
Sixteen writers move money in every way clients have, and two readers add it all up: is there ever a cent too few?

    python -m bench.bank_run [--seconds 20] [--reads 4000]

Each has a connection of its own; a read is several queries of one moment (REPEATABLE READ), over all wallets and over
one client's entries, holds and positions. Prints one JSON object; exit status 1 if a total was wrong, if there were
fewer reads than that, a deadlock, or a verification that fails afterwards.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

from bench import throwaway
from bench.referral_storm import VERIFICATIONS, verify

WRONG_SHOWN_MAX = 10


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.bank_run", description=__doc__.split("\n")[1])
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--reads", type=int, default=4_000, help="As many at least.")
    chosen = parser.parse_args(arguments)
    with throwaway.desk("bank"):
        found = run(chosen.seconds, chosen.reads)
    print(json.dumps(found, indent=2))
    return 0 if found["right"] else 1


def run(seconds: float, reads: int) -> dict[str, Any]:
    from tests import ledger_cast
    from tests.models import bank

    clients, staff = bank.open_bank()
    print(f"{bank.WRITERS} writers and {bank.READERS} readers, {seconds:g} seconds", file=sys.stderr, flush=True)
    before, started = ledger_cast.deadlocks(), time.monotonic()
    found = bank.run(clients, staff, seconds=seconds)
    took = time.monotonic() - started
    deadlocks = ledger_cast.deadlocks() - before + found.writes["retried_40P01"]
    checks = {command: verify(command) for command in VERIFICATIONS}
    return {
        "seconds": round(took, 1),
        "writes": sum(found.writes.values()),
        "writes_by_kind": dict(sorted(found.writes.items())),
        "reads": found.reads,
        "wrong_totals": len(found.wrong),
        "wrong": found.wrong[:WRONG_SHOWN_MAX],
        "deadlocks": deadlocks,
        "verifications": checks,
        "right": not found.wrong and found.reads >= reads and not deadlocks and not any(checks.values()),
    }


if __name__ == "__main__":
    sys.exit(main())
