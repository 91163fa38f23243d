"""Where a fault is staged: a desk of real processes, a crowd before it, and what must be true of it afterwards."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from bench.faults.intents import Crowd, first_replies
from bench.faults.proxy import Proxy
from bench.load import processes, systems
from bench.load.crowd import Member
from bench.load.figures import Check
from bench.load.front_door import open_to
from bench.load.systems import VERIFY_ALL, Server

BACK_SECONDS_MAX = 60.0
IN_A_TRANSACTION = (
    "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'"
)
#: A claim is an advisory lock and ends with its transaction; a key is written with its answer.
CLAIMED = (
    "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database"
    " WHERE d.datname = current_database() AND l.locktype = 'advisory'"
)
#: What is left to say when the stage has been taken down: else that has raised.
BOOKS_EXACT = Check("make verify", "exact", "exact", True)
UNANSWERED = "SELECT count(*) FROM core_idempotencykey WHERE response_status IS NULL"


@dataclass(frozen=True, slots=True)
class Scene:
    """What a fault needs of its desk beside the usual: settings, the front door before it, a proxy behind it."""

    settings: Mapping[str, str] = field(default_factory=dict)
    has_front_door: bool = False
    has_proxy: bool = False


@dataclass
class Stage:
    """A desk on a database of its own, its clients, and an operator's session beside them."""

    server: Server
    database: str
    port: int
    members: Sequence[Member]
    settings: dict[str, str]
    log: Path
    proxy: Proxy | None = None
    web: int = 0
    warm_up_seconds: float = 2.0
    calm_seconds: float = 5.0  # how long the crowd goes on after what was done to the desk
    slack: float = 1.0  # how many times as long as on a quiet machine anything may take
    resent: int = 300  # of the intents with an answer, how many are sent again all the same
    transfers: int = 0  # made by earlier crowds on the same desk
    _desk: ExitStack = field(default_factory=ExitStack)

    @classmethod
    @contextmanager
    def set_up(
        cls, server: Server, template: str, members: Sequence[Member], log: Path, scene: Scene | None = None
    ) -> Iterator[Stage]:
        """:raises RuntimeError: if the books are wrong after the block"""
        scene = scene or Scene()
        settings = {"WEB_WORKERS": "2", "WEB_THREADS": "4", **scene.settings}
        database = systems.run_name(template)
        with ExitStack() as stack:
            proxy = None
            if scene.has_proxy:
                proxy = stack.enter_context(Proxy.before(str(server.hold.cluster.sockets)))
                settings["DATABASE_URL"] = proxy.url(database)
            if scene.has_front_door:
                door = stack.enter_context(open_to(server, template, log=log, settings=settings, checks=VERIFY_ALL))
                yield cls(server, database, door.port, members, door.settings, log, proxy, web=door.web or 0)
                return
            port = systems.free_port()
            usual = stack.enter_context(systems.fresh_desk(server, template, checks=VERIFY_ALL))
            settings = usual | settings | {"HOST": "127.0.0.1", "PORT": str(port)}
            stage = cls(server, database, port, members, settings, log, proxy)
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

    @contextmanager
    def crowd_at_work(self, *, clients: int = 12, rate: float = 150.0) -> Iterator[Crowd]:
        """Clients who have been at it for a moment when the block begins, and who stop with it."""
        crowd = Crowd(self.port, self.members, clients=clients, rate=rate)
        with crowd.at_work():
            time.sleep(self.warm_up_seconds)
            yield crowd

    def carry_on(self, crowd: Crowd, since: float) -> None:
        """Let the crowd go on for a moment, and until the desk is well again."""
        time.sleep(self.calm_seconds)
        give_up_at = time.monotonic() + BACK_SECONDS_MAX
        while not receipts_since(crowd, since) and time.monotonic() < give_up_at:
            time.sleep(0.1)

    def workers(self) -> list[int]:
        return [pid for pid in processes.family(self.web) if pid != self.web]

    def operator(self) -> psycopg.Connection[tuple[Any, ...]]:
        """A session beside those of the desk, straight to the server."""
        return psycopg.connect(self.server.url(self.database), autocommit=True, application_name="operator")

    def ask(self, statement: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self.operator() as session:
            return session.execute(statement, params or None).fetchall()

    def count(self, statement: str) -> int:
        ((found,),) = self.ask(statement)
        return int(found)

    def sessions(self) -> list[int]:
        rows = self.ask(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name <> 'operator'"
            "   AND backend_type = 'client backend'"
        )
        return [int(pid) for (pid,) in rows]

    def accepts(self) -> bool:
        try:
            return bool(self.ask("SELECT 1"))
        except psycopg.OperationalError:
            return False

    def wait_until_it_accepts(self) -> float:
        """When the database took the first session again."""
        processes.wait_for(self.accepts, BACK_SECONDS_MAX, "the database")
        return time.monotonic()

    def logged(self, event: str, since: int) -> list[dict[str, Any]]:
        """What the desk has logged under this name behind this place of its log."""
        lines = self.log.read_bytes()[since:].splitlines()
        found = [json.loads(line) for line in lines if line.startswith(b"{") and line.endswith(b"}")]
        return [one for one in found if one.get("event") == event]

    def end_of_log(self) -> int:
        return self.log.stat().st_size


def settled(stage: Stage, crowd: Crowd) -> list[Check]:
    """Everybody sends again what has no answer; then there is one transfer per key, and nobody sits on a lock."""
    crowd.settle(stage.resent)
    transfers = stage.count("SELECT count(*) FROM wallets_transfer")
    wanted = stage.transfers = stage.transfers + len(crowd.intents)
    return [Check("transfers, of so many keys", str(wanted), str(transfers), transfers == wanted), *at_rest(stage)]


def at_rest(stage: Stage) -> list[Check]:
    """Nothing is left over that somebody would have to clean up."""
    idle = len(stage.ask(IN_A_TRANSACTION))
    unanswered, claimed = stage.count(UNANSWERED), stage.count(CLAIMED)
    told = f"{unanswered} and {claimed}"
    return [
        Check("sessions left in a transaction", "0", str(idle), idle == 0),
        Check("keys unanswered, keys still claimed", "0 and 0", told, (unanswered, claimed) == (0, 0)),
    ]


def receipts_since(crowd: Crowd, since: float) -> list[float]:
    """When the receipts came for what was sent after this moment."""
    sent = (reply for reply in first_replies(crowd.intents) if reply.status == 201 and reply.at >= since)
    return [reply.at + reply.seconds for reply in sent]


def back(name: str, stage: Stage, crowd: Crowd, since: float) -> Check:
    """How long it took until a client had a receipt again."""
    most = 2 * stage.slack
    receipts = receipts_since(crowd, since)
    seconds = min(receipts) - since if receipts else None
    told = "never" if seconds is None else f"{seconds:.2f}"
    return Check(f"{name}, s", f"<= {most:g}", told, seconds is not None and seconds <= most)


def status(port: int, path: str) -> int:
    """What a machine is told that asks; 0 if it gets no answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0
