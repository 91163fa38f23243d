"""The faults, each done to a desk at work, and the figures that say whether its clients were kept safe."""

from __future__ import annotations

import os
import random
import signal
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from bench.faults.intents import Crowd, Intent, Line, Reply, first_replies, what_went_wrong
from bench.load import front_door, processes, systems
from bench.load.crowd import Member
from bench.load.figures import Check, percentile
from bench.load.systems import Server

WARM_UP_SECONDS = 2.0
#: What a slow client never comes to the end of.
SLOW_REQUEST = b"POST /api/v1/transfers HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Filler: " + b"x" * 4000
BACK_SECONDS_MAX = 60.0
IN_A_TRANSACTION = (
    "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'"
)


@dataclass
class Stage:
    """A desk on a database of its own, its clients, and an operator's session beside them."""

    server: Server
    database: str
    port: int
    members: Sequence[Member]
    settings: dict[str, str]
    log: Path
    web: int = 0
    transfers: int = 0  # made by earlier crowds on the same desk
    _desk: ExitStack = field(default_factory=ExitStack)

    @classmethod
    @contextmanager
    def behind_nginx(cls, server: Server, template: str, members: Sequence[Member], log: Path) -> Iterator[Stage]:
        """The same with the front door that stands before an installation."""
        with front_door.open_to(server, template, log=log) as door:
            yield cls(server, door.database_name, door.port, members, door.settings, log, web=door.web or 0)

    @classmethod
    @contextmanager
    def set_up(cls, server: Server, template: str, members: Sequence[Member], log: Path) -> Iterator[Stage]:
        """:raises RuntimeError: if the books are wrong after the block"""
        port = systems.free_port()
        web = {"HOST": "127.0.0.1", "PORT": str(port), "WEB_WORKERS": "2", "WEB_THREADS": "4"}
        with systems.fresh_desk(server, template) as settings:
            stage = cls(server, systems.run_name(template), port, members, settings | web, log)
            try:
                stage.open()
                yield stage
            finally:
                stage.close()

    def open(self) -> None:
        self.web = self._desk.enter_context(systems.gunicorn(self.settings, self.log))
        processes.wait_for(lambda: systems.answers(self.port, "/health/live"), BACK_SECONDS_MAX, "the desk")

    def close(self) -> None:
        """Tell the desk to end, and wait for it."""
        self._desk.close()

    def workers(self) -> list[int]:
        return [pid for pid in processes.family(self.web) if pid != self.web]

    def ask(self, statement: str) -> list[tuple[object, ...]]:
        with psycopg.connect(self.server.url(self.database), autocommit=True, application_name="operator") as session:
            return session.execute(statement).fetchall()

    def sessions(self) -> list[int]:
        rows = self.ask(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name <> 'operator'"
            "   AND backend_type = 'client backend'"
        )
        return [int(str(pid)) for (pid,) in rows]

    def accepts(self) -> bool:
        try:
            return bool(self.ask("SELECT 1"))
        except psycopg.OperationalError:
            return False

    def wait_until_it_accepts(self) -> float:
        """When the database took the first session again."""
        processes.wait_for(self.accepts, BACK_SECONDS_MAX, "the database")
        return time.monotonic()


def sessions_are_ended(stage: Stage, seconds: float = 30.0) -> list[Check]:
    """A random session is ended every 200 ms."""
    dice, ended = random.Random(3), 0
    crowd = Crowd(stage.port, stage.members)
    with crowd.at_work():
        time.sleep(WARM_UP_SECONDS)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if pids := stage.sessions():
                stage.ask(f"SELECT pg_terminate_backend({dice.choice(pids)})")
                ended += 1
            time.sleep(0.2)
    replies = first_replies(crowd.intents)
    wrong = what_went_wrong(replies)
    share = sum(wrong.values()) / len(replies)
    return [
        Check("sessions ended", "> 100", str(ended), ended > 100),
        Check("clients who saw an error", "<= 0.1 %", f"{share:.2%} of {len(replies)} {wrong or ''}", share <= 0.001),
        *settled(stage, crowd),
    ]


def a_backend_is_killed(stage: Stage) -> list[Check]:
    """One kill -9 of a session's process makes the whole server start again."""
    crowd = Crowd(stage.port, stage.members)
    with crowd.at_work():
        time.sleep(WARM_UP_SECONDS)
        os.kill(random.Random(4).choice(stage.sessions()), signal.SIGKILL)
        time.sleep(0.2)
        accepted = stage.wait_until_it_accepts()
        time.sleep(5)
    return [back("first receipt after it accepts", crowd, accepted), *settled(stage, crowd)]


def workers_are_killed(stage: Stage, kills: int = 50) -> list[Check]:
    """kill -9 of a web worker, again and again."""
    dice, crowd = random.Random(5), Crowd(stage.port, stage.members)
    with crowd.at_work():
        time.sleep(WARM_UP_SECONDS)
        for _ in range(kills):
            os.kill(dice.choice(stage.workers()), signal.SIGKILL)
            processes.wait_for(lambda: len(stage.workers()) == 2, BACK_SECONDS_MAX, "another worker")
            time.sleep(0.4)
        last = time.monotonic()
        time.sleep(5)
    wrong = what_went_wrong(first_replies(crowd.intents))
    lost, others = wrong.pop("no answer", 0), wrong
    lines = kills * crowd.clients
    return [
        Check("answers lost", f"<= {kills} x {crowd.clients} lines", str(lost), lost <= lines),
        Check("other errors", "none", str(others or "none"), not others),
        back("first receipt after the last", crowd, last),
        *settled(stage, crowd),
    ]


def the_database_is_away(stage: Stage, seconds: float = 20.0) -> list[Check]:
    """The server is stopped, and started again."""
    crowd = Crowd(stage.port, stage.members)
    with crowd.at_work():
        time.sleep(WARM_UP_SECONDS)
        stage.server.stop()
        gone = time.monotonic()
        time.sleep(seconds)
        live, ready = status(stage.port, "/health/live"), status(stage.port, "/health/ready")
        back_again = time.monotonic()
        stage.server.start()
        accepted = stage.wait_until_it_accepts()
        time.sleep(5)
    meanwhile = [reply for reply in first_replies(crowd.intents) if gone <= reply.at < back_again - 3]
    slowest = max(reply.seconds for reply in meanwhile)
    proper = [reply for reply in meanwhile if reply.status == 503 and reply.may_be_sent_again]
    return [
        Check("answered 503 with Retry-After", "all", f"{len(proper)} of {len(meanwhile)}", proper == meanwhile),
        Check("slowest of them, s", "<= 2.5", f"{slowest:.2f}", slowest <= 2.5),
        Check("/health/live, /health/ready", "200, 503", f"{live}, {ready}", (live, ready) == (200, 503)),
        back("first receipt after it accepts", crowd, accepted),
        *settled(stage, crowd),
    ]


def a_worker_stands_still(stage: Stage) -> list[Check]:
    """SIGSTOP of a worker that has a transaction open, with its locks."""
    dice, crowd = random.Random(8), Crowd(stage.port, stage.members)
    open_ = f"{IN_A_TRANSACTION} AND state_change < clock_timestamp() - interval '300 ms'"
    seconds = None
    with crowd.at_work():
        time.sleep(WARM_UP_SECONDS)
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
    crowd = Crowd(stage.port, stage.members)
    with crowd.at_work():
        time.sleep(WARM_UP_SECONDS)
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


def many_are_slow(stage: Stage, seconds: float = 15.0, sockets: int = 200) -> list[Check]:
    """200 sockets send a byte a second, and never end their requests."""
    slow: list[socket.socket] = []
    p99: list[float] = []
    replies: list[Reply] = []
    checks: list[Check] = []
    for count in (0, sockets):
        crowd = Crowd(stage.port, stage.members, rate=100)
        slow += [socket.create_connection(("127.0.0.1", stage.port), timeout=5) for _ in range(count)]
        with crowd.at_work():
            until, sent = time.monotonic() + seconds, 0
            while time.monotonic() < until:
                for one in slow:
                    with suppress(OSError):  # the door may have had enough of it
                        one.send(SLOW_REQUEST[sent : sent + 1])
                sent += 1
                time.sleep(1)
        took = sorted(reply.seconds for reply in first_replies(crowd.intents))
        p99.append(percentile(took, 99))
        replies += first_replies(crowd.intents)
        checks += settled(stage, crowd)
    for one in slow:
        one.close()
    wrong = what_went_wrong(replies)
    told = f"{p99[1] / p99[0]:.2f} ({p99[0] * 1000:.0f} and {p99[1] * 1000:.0f} ms)"
    return [
        Check("p99 with them, to that without", "<= 1.5", told, p99[1] <= 1.5 * p99[0]),
        Check("errors", "none", str(wrong or "none"), not wrong),
        *checks,
    ]


def everything_is_sent_five_times(stage: Stage, intents: int = 300) -> list[Check]:
    """Every request one to five times at once."""
    crowd, dice = Crowd(stage.port, stage.members), random.Random(21)
    copies = [dice.randint(1, 5) for _ in range(intents)]
    lines = threading.local()

    def send(intent: Intent) -> Reply:
        if not hasattr(lines, "line"):
            lines.line = Line(stage.port)
        line: Line = lines.line
        return line.send(intent)

    with ThreadPoolExecutor(12) as threads:
        for count in copies:
            intent = crowd.intent(dice)
            intent.replies += threads.map(send, [intent] * count)
    receipts = [{reply.body for reply in one.replies if reply.status == 201} for one in crowd.intents]
    others = what_went_wrong([reply for one in crowd.intents for reply in one.replies])
    return [
        Check("receipts per key", "1", str(max(map(len, receipts))), all(len(one) <= 1 for one in receipts)),
        Check("other answers", "in progress alone", str(others or "none"), set(others) <= {"IDEMPOTENCY_IN_PROGRESS"}),
        *settled(stage, crowd),
    ]


#: What needs the front door: the desk itself is not made to be met by such clients.
BEHIND_NGINX = {"F12"}
FAULTS: dict[str, Callable[[Stage], list[Check]]] = {
    "F3": sessions_are_ended,
    "F4a": a_backend_is_killed,
    "F4b": workers_are_killed,
    "F5": the_database_is_away,
    "F8": a_worker_stands_still,
    "F12": many_are_slow,
    "F19": it_is_reloaded_and_ended,
    "F21": everything_is_sent_five_times,
}


def settled(stage: Stage, crowd: Crowd) -> list[Check]:
    """Everybody sends again what has no answer; then there is one transfer per key, and nobody sits on a lock."""
    crowd.settle()
    ((transfers,),) = stage.ask("SELECT count(*) FROM wallets_transfer")
    idle = len(stage.ask(IN_A_TRANSACTION))
    wanted = stage.transfers = stage.transfers + len(crowd.intents)
    return [
        Check("transfers, of so many keys", str(wanted), str(transfers), transfers == wanted),
        Check("sessions left in a transaction", "0", str(idle), idle == 0),
    ]


def back(name: str, crowd: Crowd, since: float) -> Check:
    """How long it took until a client had a receipt again."""
    receipts = [
        reply.at + reply.seconds for reply in first_replies(crowd.intents) if reply.status == 201 and reply.at >= since
    ]
    seconds = min(receipts) - since if receipts else None
    told = "never" if seconds is None else f"{seconds:.2f}"
    return Check(f"{name}, s", "<= 2", told, seconds is not None and seconds <= 2)


def status(port: int, path: str) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0
