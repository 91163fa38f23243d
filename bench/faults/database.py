"""What happens in the database and on the way to it: lost commits, deadlocks, standstill, delay."""

from __future__ import annotations

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import psycopg

from bench.faults.intents import Crowd, Line, Reply, first_replies, what_went_wrong
from bench.faults.proxy import Proxy
from bench.faults.stage import Stage, back, settled, status
from bench.load import processes
from bench.load.figures import Check, percentile

RETRIES_MAX = 3
#: So few connections that eight requests have a place in a process, and twelve threads to carry them or to refuse more.
POOLED = {"DATABASE_POOL_SIZE": "2", "REQUESTS_IN_FLIGHT_MAX": "8", "WEB_THREADS": "12"}
POOL_SECONDS = 2.0  # how long one waits for a connection
SHORT_DEADLINE = {"REQUEST_DEADLINE_SECONDS": "8"}
#: Six times there and back, as a transfer needs, is more than it has.
LATE_SECONDS = 0.9
ROUND_TRIPS_LATE = 3  # a statement that is prepared and carried out, ROLLBACK
WAITING = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
DEADLOCKS = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"


def link(stage: Stage) -> Proxy:
    assert stage.proxy is not None, "this fault is done to the way to the database"
    return stage.proxy


# --- A commit is lost -------------------------------------------------------------------------------------------------


def commits_are_cut(stage: Stage, cuts: int = 100) -> list[Check]:
    """The link breaks at COMMIT, in turns before the server has it and before its answer is back."""
    proxy = link(stage)
    already = proxy.cuts
    with stage.crowd_at_work() as crowd:
        for number in range(1, cuts + 1):
            proxy.cut_at_commit("before" if number % 2 else "after")
            proxy.wait_for_cuts(already + number, 10)
            time.sleep(0.1)
        time.sleep(stage.calm_seconds / 5)
    wrong = what_went_wrong(first_replies(crowd.intents))
    known = {"OUTCOME_UNKNOWN", "DATABASE_UNAVAILABLE"}
    return [
        Check("COMMITs cut", str(cuts), str(proxy.cuts - already), proxy.cuts - already == cuts),
        Check("seen by clients, of that", "what may be sent again", str(wrong or "nothing"), set(wrong) <= known),
        *settled(stage, crowd),
    ]


# --- A deadlock -------------------------------------------------------------------------------------------------------


def somebody_locks_backwards(stage: Stage, times: int = 20) -> list[Check]:
    """An outsider takes two wallets' rows in the wrong order, so that with each transfer one has to give way."""
    crowd, line, begins = Crowd(stage.port, stage.members), Line(stage.port), stage.end_of_log()
    deadlocks, victims = stage.count(DEADLOCKS), Counter[str]()
    payer, payee = stage.members[:2]
    in_order = "SELECT number FROM wallets_wallet WHERE number = ANY(%s) ORDER BY owner_id, id"
    (first,), (second,) = stage.ask(in_order, [[payer.cash, payee.cash]])
    with stage.operator() as watcher, ThreadPoolExecutor(1) as threads:
        for number in range(times):
            intent = crowd.pays(payer, payee)
            with stage.operator() as outsider, outsider.transaction():
                # Whoever looks first gives way: in turns the outsider, and the desk.
                patience = "1ms" if number % 2 else "1min"
                outsider.execute("SELECT set_config('deadlock_timeout', %s, true)", [patience])
                _lock(outsider, second)
                sent = threads.submit(line.send, intent)
                processes.wait_for(lambda: watcher.execute(WAITING).rowcount, 10, "the desk's turn to wait")
                try:
                    with outsider.transaction():
                        _lock(outsider, first)
                except psycopg.errors.DeadlockDetected:
                    victims["outsider"] += 1
            intent.replies.append(sent.result())
    retried = [one for one in stage.logged("core.transaction.retried", begins) if one["sqlstate"] == "40P01"]
    victims["desk"] = len({one["request_id"] for one in retried})
    most = max((one["attempt"] for one in retried), default=0)
    wrong = what_went_wrong(first_replies(crowd.intents))
    checks = settled(stage, crowd)
    counted = _counted_deadlocks(stage, crowd, line, deadlocks + times) - deadlocks
    told = ", ".join(f"{count} {who}" for who, count in sorted(victims.items()))
    return [
        Check("deadlocks, by the server's count", f">= {times}", str(counted), counted >= times),
        Check("who gave way", "both", told, min(victims["desk"], victims["outsider"]) > 0),
        Check("other answers than receipts", "none", str(wrong or "none"), not wrong),
        Check("retries of one transfer", f"<= {RETRIES_MAX}", str(most), 0 < most <= RETRIES_MAX),
        *checks,
    ]


def _lock(session: psycopg.Connection[tuple[object, ...]], number: str) -> None:
    session.execute("SELECT FROM wallets_wallet WHERE number = %s ORDER BY owner_id, id FOR NO KEY UPDATE", [number])


def _counted_deadlocks(stage: Stage, crowd: Crowd, line: Line, expected: int) -> int:
    """A session reports what it has counted after its next transactions, a second later at the earliest."""
    until = time.monotonic() + 15
    while (found := stage.count(DEADLOCKS)) < expected and time.monotonic() < until:
        for intent in crowd.intents[-8:]:
            line.send(intent)
        time.sleep(0.2)
    return found


# --- No connection is to be had ---------------------------------------------------------------------------------------


def the_pool_is_empty(stage: Stage, seconds: float = 5.0) -> list[Check]:
    """
    Every connection of the pools is held for five seconds, and far more is asked than may wait.

    Threads outnumber the pool's connections here, and may be taken up by fewer requests than there are of them. So the
    queue has an end inside the desk, what comes on top is refused at once, and threads are left over that say so, and
    answer probes. Where each thread has its own connection, the queue is in the socket, and `make bench-33k` fills it.
    """
    asked: list[tuple[str, int, float]] = []
    with stage.crowd_at_work(clients=40, rate=100) as crowd:
        with link(stage).held():
            gone = time.monotonic()
            time.sleep(1)
            while time.monotonic() < gone + seconds:
                for path in ("/health/live", "/health/ready"):
                    started = time.monotonic()
                    asked.append((path, status(stage.port, path), time.monotonic() - started))
                time.sleep(0.3)
            released = time.monotonic()
        stage.carry_on(crowd, released)
    meanwhile = [one for one in first_replies(crowd.intents) if gone + 1 <= one.at < released]
    shed = [one for one in meanwhile if one.status == 503 and one.seconds < POOL_SECONDS / 2]
    waited = len(meanwhile) - len(shed)
    slow, most = 1000 * percentile(sorted(one.seconds for one in shed), 99), 50 * stage.slack
    others = [one for one in meanwhile if not one.is_proper]
    live = [(code, took) for path, code, took in asked if path == "/health/live"]
    ready = [(code, took) for path, code, took in asked if path == "/health/ready"]
    return [
        Check("shed at once, waited for a place", "most", f"{len(shed)}, {waited}", len(shed) > 5 * waited),
        Check("p99 of what is shed, ms", f"<= {most:g}", f"{slow:.0f}", bool(shed) and slow <= most),
        Check("neither receipt nor 503 with Retry-After", "none", str(what_went_wrong(others) or "none"), not others),
        _probed("/health/live", 200, stage, live),
        _probed("/health/ready", 503, stage, ready),
        back("first receipt afterwards", stage, crowd, released),
        *settled(stage, crowd),
    ]


def _probed(path: str, expected: int, stage: Stage, found: list[tuple[int, float]]) -> Check:
    codes, slowest, most = Counter(code for code, _ in found), max(took for _, took in found), 2.5 * stage.slack
    told = f"{dict(codes)}, slowest after {slowest:.2f} s"
    return Check(path, f"{expected} within {most:g} s", told, set(codes) == {expected} and slowest <= most)


# --- Everything takes long --------------------------------------------------------------------------------------------


def messages_are_late(stage: Stage, seconds: float = 8.0) -> list[Check]:
    """
    Every message to and from the database takes 300 ms, then so long that the deadline strikes.

    A statement that is under way cannot be called back, so an answer is late by what that takes and by the ROLLBACK.
    """
    limit, checks = float(stage.settings["REQUEST_DEADLINE_SECONDS"]), []
    for delay in (0.3, LATE_SECONDS):
        # No more of them than one process has threads: none waits for its turn, and its time is its own.
        with stage.crowd_at_work(clients=4, rate=4) as crowd:
            link(stage).delay_seconds = delay
            began = time.monotonic()
            time.sleep(seconds)
        late = [one for one in first_replies(crowd.intents) if one.at >= began]
        link(stage).delay_seconds = 0.0
        checks += _judged(late, delay, limit) + settled(stage, crowd)
    struck = what_went_wrong(late).get("DEADLINE_EXCEEDED", 0)
    return [Check("struck by the deadline at last", "> 0", f"{struck} of {len(late)}", struck > 0), *checks]


def _judged(replies: list[Reply], delay: float, limit: float) -> list[Check]:
    slowest, late = max(one.seconds for one in replies), f"{delay * 1000:.0f} ms"
    most = limit + ROUND_TRIPS_LATE * 2 * delay
    others = [one for one in replies if not one.is_proper]
    told = f"{slowest:.2f}, of {len(replies)} {what_went_wrong(replies) or ''}"
    return [
        Check(f"{late}: slowest answer, s", f"<= {limit:g} + {most - limit:.1f}", told, slowest <= most),
        Check(f"{late}: neither receipt nor 503", "none", str(what_went_wrong(others) or "none"), not others),
    ]
