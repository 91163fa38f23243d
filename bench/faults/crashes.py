"""What happens to processes: sessions, workers and servers that are ended, killed, stopped and reloaded under load."""

from __future__ import annotations

import os
import random
import signal
import time

from bench.faults.intents import first_replies, what_went_wrong
from bench.faults.stage import BACK_SECONDS_MAX, IN_A_TRANSACTION, Stage, back, settled, status
from bench.load import processes
from bench.load.figures import Check


def sessions_are_ended(stage: Stage, seconds: float = 30.0) -> list[Check]:
    """A random session is ended every 200 ms."""
    dice, ended = random.Random(3), 0
    with stage.crowd_at_work() as crowd:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if pids := stage.sessions():
                stage.ask(f"SELECT pg_terminate_backend({dice.choice(pids)})")
                ended += 1
            time.sleep(0.2)
    replies = first_replies(crowd.intents)
    wrong = what_went_wrong(replies)
    share, most = sum(wrong.values()) / len(replies), 0.001 * stage.slack
    return [
        Check("sessions ended", f"> {3 * seconds:.0f}", str(ended), ended > 3 * seconds),
        Check(
            "clients who saw an error", f"<= {most:.1%}", f"{share:.2%} of {len(replies)} {wrong or ''}", share <= most
        ),
        *settled(stage, crowd),
    ]


def a_backend_is_killed(stage: Stage) -> list[Check]:
    """One kill -9 of a session's process makes the whole server start again."""
    with stage.crowd_at_work() as crowd:
        os.kill(random.Random(4).choice(stage.sessions()), signal.SIGKILL)
        time.sleep(0.2)
        accepted = stage.wait_until_it_accepts()
        stage.carry_on(crowd, accepted)
    return [back("first receipt after it accepts", stage, crowd, accepted), *settled(stage, crowd)]


def workers_are_killed(stage: Stage, kills: int = 50) -> list[Check]:
    """kill -9 of a web worker, again and again."""
    dice = random.Random(5)
    with stage.crowd_at_work() as crowd:
        for _ in range(kills):
            os.kill(dice.choice(stage.workers()), signal.SIGKILL)
            processes.wait_for(lambda: len(stage.workers()) == 2, BACK_SECONDS_MAX, "another worker")
            time.sleep(0.4)
        last = time.monotonic()
        stage.carry_on(crowd, last)
    wrong = what_went_wrong(first_replies(crowd.intents))
    lost, others = wrong.pop("no answer", 0), wrong
    lines = kills * crowd.clients
    return [
        Check("answers lost", f"<= {kills} x {crowd.clients} lines", str(lost), lost <= lines),
        Check("other errors", "none", str(others or "none"), not others),
        back("first receipt after the last", stage, crowd, last),
        *settled(stage, crowd),
    ]


def the_database_is_away(stage: Stage, seconds: float = 20.0) -> list[Check]:
    """The server is stopped, and started again."""
    with stage.crowd_at_work() as crowd:
        stage.server.stop()
        gone = time.monotonic()
        time.sleep(seconds)
        live, ready = status(stage.port, "/health/live"), status(stage.port, "/health/ready")
        back_again = time.monotonic()
        stage.server.start()
        accepted = stage.wait_until_it_accepts()
        stage.carry_on(crowd, accepted)
    meanwhile = [reply for reply in first_replies(crowd.intents) if gone <= reply.at < back_again - 3]
    slowest, most = max(reply.seconds for reply in meanwhile), 2.5 * stage.slack
    proper = [reply for reply in meanwhile if reply.status == 503 and reply.is_proper]
    return [
        Check("answered 503 with Retry-After", "all", f"{len(proper)} of {len(meanwhile)}", proper == meanwhile),
        Check("slowest of them, s", f"<= {most:g}", f"{slowest:.2f}", slowest <= most),
        Check("/health/live, /health/ready", "200, 503", f"{live}, {ready}", (live, ready) == (200, 503)),
        back("first receipt after it accepts", stage, crowd, accepted),
        *settled(stage, crowd),
    ]


def a_worker_stands_still(stage: Stage) -> list[Check]:
    """SIGSTOP of a worker that has a transaction open, with its locks."""
    dice = random.Random(8)
    open_ = f"{IN_A_TRANSACTION} AND state_change < clock_timestamp() - interval '300 ms'"
    seconds = None
    with stage.crowd_at_work() as crowd:
        for _ in range(200):
            worker, stopped = dice.choice(stage.workers()), time.monotonic()
            os.kill(worker, signal.SIGSTOP)
            time.sleep(0.4)
            if stage.ask(open_):
                processes.wait_for(lambda: not stage.ask(open_), 30, "the end of its transactions")
                seconds = time.monotonic() - stopped
            os.kill(worker, signal.SIGCONT)
            if seconds is not None:
                break
            time.sleep(0.1)
        time.sleep(2)
    found = "never caught one" if seconds is None else f"{seconds:.1f}"
    is_kept = seconds is not None and seconds <= 11
    return [Check("its locks are free after, s", "<= 11", found, is_kept), *settled(stage, crowd)]


def it_is_reloaded_and_ended(stage: Stage, times: int = 4) -> list[Check]:
    """SIGHUP again and again, then SIGTERM and a new start, all under load."""
    with stage.crowd_at_work() as crowd:
        for _ in range(times):
            os.kill(stage.web, signal.SIGHUP)
            time.sleep(3)
        reloaded = time.monotonic()
        stage.close()
        stage.open()
        time.sleep(2)
    replies = first_replies(crowd.intents)
    during = what_went_wrong([reply for reply in replies if reply.at < reloaded])
    return [
        Check("errors during reloads", "lost lines at most", str(during or "none"), set(during) <= {"no answer"}),
        *settled(stage, crowd),
    ]
