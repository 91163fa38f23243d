"""
The headline, shown: 33,000 open connections that each send one transfer a minute, on a handful of database connections.

    python -m bench.promise [--members 33000] [--minutes 5] [--rounds 5] [--overload 20] [--workers 2] [--threads 4]

A durable PostgreSQL, gunicorn on a unix socket and nginx with `deploy/nginx.conf` serve; every member has a wallet and
a connection of their own. First the promise. Then, in rounds: what the desk can do at most for these connections, twice
that while the 33,000 go on, and whether it is well again. What was done is held against what could be done before and
after it. Of the rounds' figures the medians count, and of errors every one. The ledger is verified at the end. Exit
status 1 on any miss. The results go to `bench/results` and `docs/bench`, and those of a trial with other figures to
`var/bench`.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import charts_by_second
from bench.load import figures, front_door, generator, systems
from bench.load.figures import SHED, Check, percentile
from bench.load.front_door import Door, Limits
from bench.load.generator import Load, Shots
from bench.load.scripts import Script
from bench.load.watch import Watch
from scripts import environment

MEMBERS, MINUTES, PERIOD_SECONDS = 33_000, 5, 60.0
P99_MS_MAX, CONNECTIONS_MAX = 150.0, 50
ROUNDS, OVERLOAD, OVERLOAD_SECONDS = 5, 2.0, 20.0
GOODPUT_MIN, SHED_P99_MS_MAX, RECOVERY_SECONDS_MAX = 0.9, 50.0, 10
WARM_UP_SECONDS, CAPACITY_SECONDS, LEAD_SECONDS, CALM_SECONDS = 8.0, 10.0, 8.0, 22.0
#: So many requests are under way while it is found what can be done at most: more than threads, fewer than may wait.
AT_ONCE = 64
#: Who comes on top while the desk is overloaded.
STRANGERS = 3_000
DESCRIPTORS_SPARE = 500
URGENCY = 5


@dataclass(slots=True)
class Overload:
    """The members who ask once a minute, and strangers who come on top between two moments."""

    members: Shots
    strangers: Shots
    begin: float  # by the members' clock
    end: float

    def during(self, shots: Shots, shift: float) -> list[tuple[float, int]]:
        """How long each took, and how it ended, of what ended while it lasted."""
        return [
            (took, status)
            for due, took, status in zip(shots.due, shots.took, shots.statuses, strict=True)
            if self.begin <= due + shift + took < self.end
        ]

    def figures(self, capacity: float) -> dict[str, Any]:
        ended = self.during(self.members, 0.0) + self.during(self.strangers, self.begin)
        done = sorted(took for took, status in ended if 200 <= status < 300)
        shed = sorted(took for took, status in ended if status == SHED)
        goodput = len(done) / (self.end - self.begin)
        statuses = Counter([*self.members.statuses, *self.strangers.statuses])
        return {
            "offered_per_second": round(len(ended) / (self.end - self.begin), 1),
            "goodput_per_second": round(goodput, 1),
            "goodput_of_capacity": round(goodput / capacity, 3) if capacity else 0.0,
            "done_p99_ms": round(1000 * percentile(done, 99), 1),
            "shed": len(shed),
            "shed_p99_ms": round(1000 * percentile(shed, 99), 1),
            "errors": {str(status): n for status, n in statuses.items() if not (200 <= status < 300 or status == SHED)},
            "unanswered": self.members.unanswered + self.strangers.unanswered,
        }

    def recovery(self) -> dict[str, Any]:
        """The members' own, once the strangers have gone and the time to recover is over."""
        line = figures.by_second(self.members)
        after = [row for row in line if row["second"] >= self.end]
        bad = [row["second"] for row in after if row["p99_ms"] >= P99_MS_MAX or row["shed"]]
        seconds = max(self.members.due, default=0.0)
        calm = figures.summary(self.members, seconds, after=self.end + RECOVERY_SECONDS_MAX)
        return {"seconds": round(max(bad) + 1 - self.end, 1) if bad else 0, "p99_ms": calm["p99_ms"], **_shed(calm)}


def _shed(summary: dict[str, Any]) -> dict[str, Any]:
    return {name: summary[name] for name in ("requests", "done", "shed")}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.promise", description=str(__doc__).split("\n")[1])
    parser.add_argument("--members", type=int, default=MEMBERS, help="Clients, each with an open connection.")
    parser.add_argument("--minutes", type=int, default=MINUTES, help="How long the promise is put to the test.")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="How often the desk is overloaded, and recovers.")
    parser.add_argument("--overload", type=float, default=OVERLOAD_SECONDS, help="Seconds of twice the capacity.")
    parser.add_argument("--workers", type=int, default=systems.WEB_WORKERS, help="Processes of gunicorn.")
    parser.add_argument("--threads", type=int, default=systems.WEB_THREADS, help="Threads of each, and connections.")
    chosen = parser.parse_args(arguments)
    raise_descriptors(-(-chosen.members // 2) + STRANGERS)
    found = show(chosen)
    is_whole = (chosen.members, chosen.minutes, chosen.rounds) == (MEMBERS, MINUTES, ROUNDS)
    checks = [Check(**check) for check in found["checks"]]
    tell(checks)
    keep(found, is_whole=is_whole)
    missed = [check.name for check in checks if not check.is_kept]
    if missed:
        print(f"MISSED: {'; '.join(missed)}", file=sys.stderr)
    return 1 if missed else 0


def raise_descriptors(needed: int) -> None:
    """
    As many open files as this process and those it starts may have.

    :raises SystemExit: if that is too few
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard < needed + DESCRIPTORS_SPARE:
        raise SystemExit(
            f"a process may open {hard} files here, and {needed + DESCRIPTORS_SPARE} are needed: ulimit -n"
        )


@contextmanager
def urgent() -> Iterator[None]:
    """What is started meanwhile goes before what is under load, where that is allowed: a clock must not be late."""
    before = os.getpriority(os.PRIO_PROCESS, 0)
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, before - URGENCY)
    try:
        yield
    finally:
        os.setpriority(os.PRIO_PROCESS, 0, before)


def show(chosen: argparse.Namespace) -> dict[str, Any]:
    """Every part in turn, on one desk."""
    server = systems.Server()
    log = environment.VAR / "bench" / "promise.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("")
    print(f"Getting {chosen.members:,} members ready (made once, and kept)", flush=True)
    template, members = systems.desk_template(server, chosen.members)
    limits = Limits(clients=chosen.members + STRANGERS)
    scripts = systems.desk_transfers(members)
    found: dict[str, Any] = {"began_at": datetime.now(UTC).isoformat(timespec="seconds"), "asked": vars(chosen)}
    found["machine"] = {"processors": os.cpu_count(), "database": server.settings()}
    verified = "yes"
    try:
        with front_door.open_to(
            server, template, log=log, limits=limits, workers=chosen.workers, threads=chosen.threads
        ) as door:
            with Watch(server, door) as watch, urgent():
                parts = _parts(door, scripts, chosen)
            found |= parts | {"database_connections_max": watch.connections_max, "memory_bytes": watch.memory}
            print("Verifying the ledger", flush=True)
    except RuntimeError as error:
        if "members" not in found:
            raise  # it was not the ledger
        verified = str(error)
    found["ledger"] = verified
    found["checks"] = [asdict(check) for check in judge(found)]
    return found


def _parts(door: Door, scripts: Sequence[Script], chosen: argparse.Namespace) -> dict[str, Any]:
    load = Load("127.0.0.1", door.port, seconds=60 * chosen.minutes, period=PERIOD_SECONDS)
    rate = len(scripts) / PERIOD_SECONDS
    generator.fire(replace(load, seconds=WARM_UP_SECONDS, period=None, at_once=AT_ONCE), scripts)
    print(f"{len(scripts):,} connections, {rate:.0f} transfers a second, {chosen.minutes} minutes", flush=True)
    before = door.processor_seconds()
    steady = generator.fire(load, scripts)
    spent = {name: after - before[name] for name, after in door.processor_seconds().items()}
    rounds = in_rounds(load, scripts, rounds=chosen.rounds, seconds=chosen.overload)
    typical = sorted(rounds, key=lambda found: float(found["overload"]["goodput_of_capacity"]))[len(rounds) // 2]
    return {
        "members": figures.summary(steady, load.seconds) | {"due": round(rate * load.seconds)},
        "cpu_ms_per_request": {name: round(1000 * used / max(1, len(steady.due)), 3) for name, used in spent.items()},
        "members_by_second": figures.by_second(steady),
        **gathered(rounds),
        "rounds": [{name: part for name, part in found.items() if name != "by_second"} for found in rounds],
        "overload_between": typical["between"],
        "overload_by_second": typical["by_second"],
    }


def in_rounds(load: Load, scripts: Sequence[Script], *, rounds: int, seconds: float) -> list[dict[str, Any]]:
    """What can be done, what of it is done at twice that, and so on in turn: the machine's moods meet both."""
    rate = len(scripts) / PERIOD_SECONDS
    print(
        f"What the desk can do at most for them, {CAPACITY_SECONDS:.0f} s; then {OVERLOAD:g} times that, {seconds:g} s",
        flush=True,
    )
    before, found = capacity(load, scripts), []
    for _ in range(rounds):
        excess = max(rate / 10, OVERLOAD * before - rate)  # strangers there are in any case
        overload = overloaded(load, scripts, excess=excess, seconds=seconds)
        after = capacity(load, scripts)
        told, recovery = overload.figures(statistics.mean([before, after])), overload.recovery()
        print(
            f"  {told['goodput_per_second']} a second of {before} before and {after} after it,"
            f" {told['shed']} shed in {told['shed_p99_ms']} ms; well again after {recovery['seconds']} s",
            flush=True,
        )
        found.append(
            {
                "capacities": [before, after],
                "overload": told,
                "recovery": recovery,
                "between": [round(overload.begin, 1), round(overload.end, 1)],
                "by_second": figures.by_second(together(overload)),
            }
        )
        before = after
    return found


def capacity(load: Load, scripts: Sequence[Script]) -> float:
    """
    The most that is done in a second for these clients, of whom so many ask at once that there is always work.

    They take turns, each on a connection of their own: a few connections and a few wallets would be in a cache, which
    those that overload a desk are not.
    """
    full = generator.fire(replace(load, seconds=CAPACITY_SECONDS, period=None, at_once=AT_ONCE), scripts)
    return float(figures.summary(full, CAPACITY_SECONDS, after=2.0)["per_second"])


def gathered(rounds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """All rounds as one: the medians of what depends on the machine's moods, and everything that is never to happen."""
    overloads, recoveries = [found["overload"] for found in rounds], [found["recovery"] for found in rounds]
    errors: Counter[str] = Counter()
    for overload in overloads:
        errors.update(overload["errors"])
    return {
        "overload": {
            "goodput_of_capacity": statistics.median(overload["goodput_of_capacity"] for overload in overloads),
            "shed": min(overload["shed"] for overload in overloads),
            "shed_p99_ms": statistics.median(overload["shed_p99_ms"] for overload in overloads),
            "errors": dict(errors),
            "unanswered": sum(overload["unanswered"] for overload in overloads),
        },
        "recovery": {
            name: statistics.median(recovery[name] for recovery in recoveries)
            for name in ("seconds", "p99_ms", "done", "shed")
        },
    }


def overloaded(load: Load, scripts: Sequence[Script], *, excess: float, seconds: float) -> Overload:
    """Members who go on as before while strangers ask so much more for so many seconds."""
    began = threading.Event()
    whole = replace(load, seconds=LEAD_SECONDS + seconds + CALM_SECONDS)
    strangers = scripts[:STRANGERS]

    def lead() -> None:
        while not began.wait(1.0):
            if going.done():
                going.result()  # says why it never began
        time.sleep(LEAD_SECONDS)

    with ThreadPoolExecutor(1) as pool:
        going = pool.submit(generator.fire, whole, scripts, on_start=began.set)
        more = generator.fire(replace(load, seconds=seconds, period=len(strangers) / excess), strangers, wait=lead)
        members = going.result()
    begin = more.began - members.began
    return Overload(members, more, begin, begin + seconds)


def together(overload: Overload) -> Shots:
    """Everybody's requests by the members' clock."""
    everybody = Shots()
    everybody.extend(overload.members)
    for kind, due, took, status in zip(
        overload.strangers.kinds,
        overload.strangers.due,
        overload.strangers.took,
        overload.strangers.statuses,
        strict=True,
    ):
        everybody.add(kind, due + overload.begin, took, status)
    return everybody


def judge(found: dict[str, Any]) -> list[Check]:
    """What was promised, held against what was measured."""
    steady, over, calm = found["members"], found["overload"], found["recovery"]
    errors = {**steady["errors"], **({"shed": steady["shed"]} if steady["shed"] else {})}
    if steady["unanswered"]:
        errors["unanswered"] = steady["unanswered"]
    used = found["database_connections_max"]
    worse = dict(over["errors"]) | ({"unanswered": over["unanswered"]} if over["unanswered"] else {})
    share = over["goodput_of_capacity"]
    return [
        Check("requests sent", f"{steady['due']}", steady["requests"], steady["requests"] == steady["due"]),
        Check("errors", "none", errors or "none", not errors),
        Check("p99, ms", f"< {P99_MS_MAX:g}", steady["p99_ms"], bool(steady["done"]) and steady["p99_ms"] < P99_MS_MAX),
        Check("database connections", f"<= {CONNECTIONS_MAX}", used, used <= CONNECTIONS_MAX),
        Check("overload: goodput of capacity", f">= {GOODPUT_MIN:g}", share, share >= GOODPUT_MIN),
        Check(
            "overload: p99 of what is shed, ms",
            f"< {SHED_P99_MS_MAX:g}",
            over["shed_p99_ms"],
            over["shed"] > 0 and over["shed_p99_ms"] < SHED_P99_MS_MAX,
        ),
        Check("overload: errors", "none", worse or "none", not worse),
        Check(
            f"p99 from {RECOVERY_SECONDS_MAX} s after it, ms",
            f"< {P99_MS_MAX:g}",
            calm["p99_ms"],
            calm["done"] > 0 and not calm["shed"] and calm["p99_ms"] < P99_MS_MAX,
        ),
        Check("ledger verified", "yes", found["ledger"], found["ledger"] == "yes"),
    ]


def tell(checks: Sequence[Check]) -> None:
    print(f"\n{'':40}{'promised':>12}  measured")
    for check in checks:
        print(f"{check.name:40}{check.promised:>12}  {check.measured}{'' if check.is_kept else '   <- MISSED'}")


def keep(found: dict[str, Any], *, is_whole: bool) -> None:
    """The figures as JSON and as charts; every tenth second, and every second of the overload, also as text."""
    for name, every in (("members", 10), ("overload", 1)):
        print(f"\n{name}: second, due, done, shed, p99 ms")
        for row in found[f"{name}_by_second"][::every]:
            print("  {second:>5} {due:>6} {done:>6} {shed:>6} {p99_ms:>8}".format(**row))
    results, charts = environment.ROOT / "bench" / "results", environment.ROOT / "docs" / "bench"
    if not is_whole:
        results = charts = environment.VAR / "bench"
    results.mkdir(parents=True, exist_ok=True)
    path = results / f"{found['began_at'][:10]}-33k.json"
    path.write_text(json.dumps(found, indent=1) + "\n")
    begin, end = found["overload_between"]
    _draw(
        charts / "33k.svg", f"{found['asked']['members']:,} connections, one transfer a minute each", found, "members"
    )
    _draw(
        charts / "33k-overload.svg",
        "Twice the capacity, and after it",
        found,
        "overload",
        marks=[(begin, "twice the capacity"), (end, "as before")],
    )
    print(f"\n{path.relative_to(environment.ROOT)}, {charts.relative_to(environment.ROOT)}/33k*.svg")


def _draw(path: Path, title: str, found: dict[str, Any], part: str, marks: Sequence[tuple[float, str]] = ()) -> None:
    charts_by_second.draw(path, title, found[f"{part}_by_second"], limit_ms=P99_MS_MAX, marks=marks)


if __name__ == "__main__":
    sys.exit(main())
