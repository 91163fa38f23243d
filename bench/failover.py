"""
Lose the database's primary under load, let its standby take over, and see what was lost: `python -m bench.failover`.

Two durable PostgreSQL servers, one following the other; a desk that knows both, and is told nothing; a crowd of clients
who keep to the rules. The primary is lost with the stream to the standby standing still, as over a slow line, so what
it had not passed on is gone with it: that must be nothing that a client has a receipt for where a commit waits for the
standby, and it shows what is at stake where it does not. Ends with 1 if a figure is missed.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import asdict
from datetime import UTC, datetime

import psycopg

from bench.faults.intents import Crowd, first_replies, what_went_wrong
from bench.faults.stage import Stage, at_rest, back, receipts_since, settled
from bench.load import pair as pairs
from bench.load import processes, systems
from bench.load.figures import Check
from bench.load.pair import Pair
from bench.load.systems import Server
from scripts import embedded_postgres, environment
from scripts.embedded_postgres import SUPERUSER

CLUSTER = environment.VAR / "postgres-faults"
ONE, TWO = environment.VAR / "postgres-failover-one", environment.VAR / "postgres-failover-two"
LOG = environment.VAR / "bench" / "failover.log"
RESULTS = environment.ROOT / "bench" / "results"
PEOPLE = 400
HELD_SECONDS = 0.5
WAITING_SECONDS = 2.0
GAP_SECONDS_MAX = 10.0


def main() -> int:
    LOG.parent.mkdir(parents=True, exist_ok=True)
    LOG.unlink(missing_ok=True)
    figures: dict[str, list[Check]] = {}
    with ExitStack() as stack:
        stage, pair = set_up(stack)
        for name, fault in PLAN.items():
            started = time.monotonic()
            figures[name] = fault(stage, pair)
            tell(fault.__doc__ or "", figures[name], time.monotonic() - started)
        broken = systems.what_is_wrong(stage.settings)
        figures["books"] = [Check("books afterwards", "exact", broken or "exact", not broken)]
        tell("The books on the last server.", figures["books"], 0)
    keep(figures)
    missed = [f"{name}: {one.name}" for name, all_ in figures.items() for one in all_ if not one.is_kept]
    print("\nMISSED: " + "; ".join(missed) if missed else "\nAll figures are kept.")
    return 1 if missed else 0


def set_up(stack: ExitStack) -> tuple[Stage, Pair]:
    """A desk with its clients on a primary that has a standby; all of it is gone when the stack is closed."""
    source = Server(CLUSTER)
    template, members = systems.desk_template(source, PEOPLE)
    database, port = f"{template}_failover", systems.free_port()
    source.drop(database)
    source.create(database, template=template)
    pairs.copy(source, ONE, follows=False)
    source.drop(database)
    source.hold.release()
    stack.callback(embedded_postgres.reset, ONE)
    pair = stack.enter_context(Pair.of(Server(ONE), TWO))
    web = {"HOST": "127.0.0.1", "PORT": str(port), "WEB_WORKERS": "2", "WEB_THREADS": "4"}
    settings = systems.desk_settings(pair.url(database)) | web
    stage = Stage(pair.primary, database, port, members, settings, LOG)
    stage.open()
    stack.callback(stage.close)
    return stage, pair


# --- What is done -----------------------------------------------------------------------------------------------------


def the_standby_is_lost(stage: Stage, pair: Pair) -> list[Check]:
    """kill -9 of the standby that commits wait for: they wait until somebody says that one server has to do."""
    pair.answer_for(both=True)
    with stage.crowd_at_work() as crowd:
        processes.kill(pair.standby.pid)
        lost_at = time.monotonic()
        time.sleep(WAITING_SECONDS)
        let_go_at = time.monotonic()
        pair.wait_for_commits_at("")
        time.sleep(stage.calm_seconds)
    replies = first_replies(crowd.intents)
    alone = sum(one.status == 201 and lost_at < one.at and one.at + one.seconds < let_go_at for one in replies)
    wrong = what_went_wrong(replies)
    checks = [
        Check("receipts while it was away", "0", str(alone), alone == 0),
        Check("errors", "none, they waited", str(wrong or "none"), not wrong),
        back("first receipt after that is said", stage, crowd, let_go_at),
        *settled(stage, crowd),
    ]
    pair.standby.start()
    pair.wait_until_it_streams()
    return checks


def the_primary_is_lost(stage: Stage, pair: Pair) -> list[Check]:
    """kill -9 of the primary; a commit waits for the standby (synchronous)."""
    pair.answer_for(both=True)
    crowd, lost_at, promoted_at = lose(stage, pair)
    checks = [*nothing_is_gone(stage, crowd, lost_at, promoted_at), the_old_one_is_back(pair)]
    pair.let_it_follow()
    return checks


def it_is_switched_over(stage: Stage, pair: Pair) -> list[Check]:
    """The primary is stopped as it should be, and the standby takes over: for an upgrade, say."""
    with stage.crowd_at_work() as crowd:
        stopped_at = time.monotonic()
        pair.primary.stop()
        promoted_at = promote(stage, pair)
        time.sleep(stage.calm_seconds)
    checks = nothing_is_gone(stage, crowd, stopped_at, promoted_at)
    pair.let_it_follow()
    return checks


def it_is_lost_without_waiting(stage: Stage, pair: Pair) -> list[Check]:
    """kill -9 of the primary; no commit waits for the standby (asynchronous): not for money, to compare."""
    pair.answer_for(both=False)
    crowd, lost_at, promoted_at = lose(stage, pair)
    lost = receipts_gone(stage, crowd)
    crowd.settle(others=0)  # who has a receipt sees no reason to ask again
    wanted = stage.transfers = stage.transfers + len(crowd.intents) - lost
    transfers = stage.count("SELECT count(*) FROM wallets_transfer")
    return [
        Check("receipts that are gone", "some, else the test is none", str(lost), lost > 0),
        *gaps(stage, crowd, lost_at, promoted_at),
        Check("transfers, of so many keys but those", str(wanted), str(transfers), transfers == wanted),
        *at_rest(stage),
    ]


PLAN: dict[str, Callable[[Stage, Pair], list[Check]]] = {
    "standby": the_standby_is_lost,
    "synchronous": the_primary_is_lost,
    "switch-over": it_is_switched_over,
    "asynchronous": it_is_lost_without_waiting,
}


def lose(stage: Stage, pair: Pair) -> tuple[Crowd, float, float]:
    """The crowd that was at work, when the primary was lost, and when the standby had taken over."""
    with stage.crowd_at_work() as crowd:
        with pair.stream_held():
            time.sleep(HELD_SECONDS)
            lost_at = time.monotonic()
            pair.lose_primary()
        promoted_at = promote(stage, pair)
        time.sleep(stage.calm_seconds)
    return crowd, lost_at, promoted_at


def promote(stage: Stage, pair: Pair) -> float:
    """Let the standby take over, as whoever watches it would; nobody tells the desk."""
    pair.promote()
    stage.server = pair.primary
    return time.monotonic()


def the_old_one_is_back(pair: Pair) -> Check:
    """A former primary that comes back by itself takes writes, and acknowledges none: its standby is no more."""
    pair.standby.start()
    with closing(psycopg.connect(pair.standby.url(SUPERUSER), autocommit=True)) as session:
        session.pgconn.send_query(b"CREATE TABLE left_behind ()")
        time.sleep(1)
        session.pgconn.consume_input()
        is_waiting = bool(session.pgconn.is_busy())
        processes.kill(pair.standby.pid)
    return Check("old primary, back alone, acknowledges", "nothing", "nothing" if is_waiting else "a write", is_waiting)


# --- What is seen -----------------------------------------------------------------------------------------------------


def receipts_gone(stage: Stage, crowd: Crowd) -> int:
    """How many transfers that a client has a receipt for are not to be found."""
    receipts = {json.loads(intent.answer.body)["id"] for intent in crowd.intents if intent.answer is not None}
    return len(receipts - {found for (found,) in stage.ask("SELECT id::text FROM wallets_transfer")})


def nothing_is_gone(stage: Stage, crowd: Crowd, lost_at: float, promoted_at: float) -> list[Check]:
    """What must hold where commits wait for the standby."""
    lost = receipts_gone(stage, crowd)
    return [
        Check("receipts that are gone", "0", str(lost), lost == 0),
        *gaps(stage, crowd, lost_at, promoted_at),
        *settled(stage, crowd),
    ]


def gaps(stage: Stage, crowd: Crowd, lost_at: float, promoted_at: float) -> list[Check]:
    """For how long nobody got a receipt, from the loss on and from when the standby had taken over."""
    gap = min(receipts_since(crowd, lost_at), default=float("inf")) - lost_at
    return [
        Check("write gap, s", f"<= {GAP_SECONDS_MAX:g}", f"{gap:.2f}", gap <= GAP_SECONDS_MAX),
        Check("the promotion's part of it, s", "-", f"{promoted_at - lost_at:.2f}", True),
        back("first receipt after it", stage, crowd, promoted_at),
    ]


def tell(said: str, figures: list[Check], seconds: float) -> None:
    print(f"\n{said}  ({seconds:.0f} s)")
    for one in figures:
        mark = "" if one.is_kept else "   <- MISSED"
        print(f"    {one.name:38} {one.promised:>28}   {one.measured}{mark}", flush=True)


def keep(figures: dict[str, list[Check]]) -> None:
    now = datetime.now(UTC)
    path = RESULTS / f"{now.date()}-failover.json"
    told = {name: [asdict(one) for one in all_] for name, all_ in figures.items()}
    path.write_text(json.dumps({"date": now.isoformat(timespec="seconds"), "failover": told}, indent=1) + "\n")
    print(f"\nWritten: {path.relative_to(environment.ROOT)}")


if __name__ == "__main__":
    sys.exit(main())
