"""
Jobs that accrue referral commissions, killed at random while deals pour in: is every deal paid once per level?

    python -m bench.referral_storm [--deals 20000] [--seconds 60] [--jobs 4] [--seed 1]

Each job is a process of its own that runs `accrue_commissions --watch`; it is ended with SIGKILL and replaced at once.
Afterwards what is left is accrued, everything is paid, and all verifications run. Prints one JSON object; exit status 1
if anything was paid twice, lost or does not add up. It takes its seconds, and at most five minutes for what is left.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import time
from io import StringIO
from typing import Any

from bench import throwaway
from scripts import environment

VERIFICATIONS = ("verify_ledger", "verify_positions", "verify_commissions", "verify_audit")
CLIENTS = 8
SECONDS_TO_DRAIN_MAX = 300


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.referral_storm", description=__doc__.split("\n")[1])
    parser.add_argument("--deals", type=int, default=20_000)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--jobs", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args(arguments)
    with throwaway.desk("storm"):
        found = storm(chosen.deals, chosen.seconds, chosen.jobs, random.Random(chosen.seed))
    print(json.dumps(found, indent=2))
    return 0 if found["right"] else 1


def storm(deals: int, seconds: int, count: int, dice: random.Random) -> dict[str, Any]:
    from tests.concurrency import accruing

    templates = families()
    jobs = accruing.Jobs(count, batch=20, seconds_max=seconds + SECONDS_TO_DRAIN_MAX)
    started, made, kill_at = time.monotonic(), len(templates), 0.0
    try:
        jobs.start()
        while (elapsed := time.monotonic() - started) < seconds:
            # As many as are due by now, so that they come in to the end.
            while made < deals * min(1.0, elapsed / (seconds * 0.9)):
                chunk = min(50, deals - made)
                accruing.copy_deal(dice.choice(templates), chunk)
                made += chunk
            if elapsed > kill_at:
                jobs.kill_one(dice)
                kill_at = elapsed + dice.uniform(0.1, 1.5)
            time.sleep(0.02)
        left = accruing.waiting()
        while accruing.waiting() and time.monotonic() - started < seconds + SECONDS_TO_DRAIN_MAX:
            time.sleep(0.2)
        drained = time.monotonic() - started
    finally:
        jobs.stop()
    return {
        "deals": made,
        "kills": jobs.kills,
        "waiting_when_the_killing_ended": left,
        "seconds": round(drained, 1),
    } | verdict(made)


def families() -> list[Any]:
    """A deal to copy of each of some clients, whose referrers they share."""
    from decimal import Decimal

    from tests.cast import make_client
    from tests.concurrency.accruing import idle_deal
    from tests.referrals.deals import lineage, plan
    from tests.trading import prices

    market = prices.open_market()
    plan()
    _, chain = lineage()
    clients = [make_client(margin=Decimal("50000.00"), referred_by=chain[0].user) for _ in range(CLIENTS)]
    return [idle_deal(client, market) for client in clients]


def verdict(deals: int) -> dict[str, Any]:
    """Whether each deal has exactly one commission per level, everything is paid, and every verification is clean."""
    from django.core.management import call_command
    from django.db.models import Count

    from referrals.models import Accrual, Commission

    groups = Commission.objects.values_list("level").annotate(count=Count("pk"), deals=Count("deal", distinct=True))
    levels = {level: {"commissions": count, "deals": of} for level, count, of in groups.order_by("level")}
    once = all(row == {"commissions": deals, "deals": deals} for row in levels.values()) and len(levels) == 3
    accrued = Accrual.objects.filter(outcome=Accrual.Outcome.ACCRUED).count()
    call_command("pay_commissions", hold_days=0, stdout=StringIO())
    unpaid = Commission.objects.exclude(status=Commission.Status.PAID).count()
    checks = {command: verify(command) for command in VERIFICATIONS}
    right = once and accrued == deals and not unpaid and all(status == 0 for status in checks.values())
    return {"accrued": accrued, "levels": levels, "unpaid": unpaid, "verifications": checks, "right": right}


def verify(command: str) -> int:
    """The exit status of a verification, run as cron would."""
    run = subprocess.run(
        [sys.executable, "manage.py", command, "--json"], cwd=environment.ROOT, capture_output=True, check=False
    )
    if run.returncode:
        sys.stderr.buffer.write(run.stdout[-2_000:] + run.stderr[-2_000:])
    return run.returncode


if __name__ == "__main__":
    sys.exit(main())
