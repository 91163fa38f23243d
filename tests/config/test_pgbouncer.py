"""Behind PgBouncer, more threads than sessions keep every promise, and no session remembers whom it was lent to."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from django.conf import settings

from bench.faults import clients
from bench.faults.intents import Crowd, Line, first_replies, what_went_wrong
from bench.faults.stage import Stage, settled
from bench.load import systems
from bench.load.figures import Check
from bench.load.systems import Server
from scripts import environment, locks
from scripts.pgbouncer import PGBOUNCER
from tests import database
from tests.pooled import NEEDS_A_SESSION, Pooler

PEOPLE = 40
SESSIONS = 4
THREADS = 8


@dataclass
class Lent:
    """A desk whose threads share a few sessions, and who lends them."""

    stage: Stage
    pooler: Pooler

    def session(self) -> psycopg.Connection:
        return psycopg.connect(self.pooler.url(self.stage.database), prepare_threshold=None)


@pytest.fixture
def lent(tmp_path: Path) -> Iterator[Lent]:
    """On the suite's own server. Two suites take turns, and so do those who use its template."""
    if PGBOUNCER.fetch() is None:
        pytest.skip(PGBOUNCER.missing)
    server = Server(database.CLUSTER)
    with ExitStack() as stack:
        assert stack.enter_context(locks.held(environment.VAR / "faults.lock", locks.EXCLUSIVE, seconds=100))
        template, members = systems.desk_template(server, PEOPLE)
        serving = Pooler.serve(server.hold.cluster, size=SESSIONS, options=settings.SESSION_OPTIONS)
        pooler = stack.enter_context(serving)
        installation = stack.enter_context(systems.fresh_desk(server, template))
        name, port = systems.run_name(template), systems.free_port()
        desk = {"HOST": "127.0.0.1", "PORT": str(port), "WEB_WORKERS": "1", "WEB_THREADS": str(THREADS)}
        desk |= {"DATABASE_URL": pooler.url(name), "DATABASE_BEHIND_PGBOUNCER": "true"}
        # Less than a statement may take: each is told its limit, and one that outlived its transaction would be seen.
        desk |= {"REQUEST_DEADLINE_SECONDS": "4"}
        stage = Stage(server, name, port, members, installation | desk, tmp_path / "desk.log")
        stage.open()
        stack.callback(stage.close)
        yield Lent(stage, pooler)


def missed(figures: list[Check]) -> list[str]:
    return [f"{one.name}: {one.measured}" for one in figures if not one.is_kept]


def test_eight_threads_share_four_sessions(lent: Lent) -> None:
    assert missed(clients.everything_is_sent_five_times(lent.stage, intents=60)) == []
    crowd = Crowd(lent.stage.port, lent.stage.members, rate=1000)
    with crowd.at_work():
        time.sleep(1)
    assert what_went_wrong(first_replies(crowd.intents)) == {}
    assert missed(settled(lent.stage, crowd)) == []
    assert len(lent.stage.sessions()) == SESSIONS

    are_as_if_new(lent)
    is_told_when_there_is_none(lent)


def are_as_if_new(lent: Lent) -> None:
    """Each session that was lent has the settings of one that just began, and no lock or statement of anybody's."""
    ask = "SELECT name, current_setting(name) FROM unnest(%s::text[]) name"
    names = list(settings.SESSION_OPTIONS)
    with psycopg.connect(lent.stage.server.url(lent.stage.database)) as session:
        for name, value in settings.SESSION_OPTIONS.items():
            session.execute("SELECT set_config(%s, %s, false)", [name, value])
        wanted = session.execute(ask, [names]).fetchall()
    sessions = set()
    with ExitStack() as stack:
        for _ in range(SESSIONS):
            session = stack.enter_context(lent.session())
            assert session.execute(ask, [names]).fetchall() == wanted
            for left in ("pg_prepared_statements", "pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"):
                assert session.execute(f"SELECT FROM {left}").rowcount == 0
            sessions.add(session.execute("SELECT pg_backend_pid()").fetchone())
    assert len(sessions) == SESSIONS


def is_told_when_there_is_none(lent: Lent) -> None:
    """Whoever finds no session free is told so in two seconds, or in four if a kept line is asked after first."""
    crowd = Crowd(lent.stage.port, lent.stage.members)
    intent, line = crowd.intent(random.Random(1)), Line(lent.stage.port)
    with ExitStack() as stack:
        for _ in range(SESSIONS):
            stack.enter_context(lent.session()).execute("SELECT 1")
        refused = line.send(intent)
    assert (refused.status, refused.code, refused.may_be_sent_again) == (503, "SERVICE_UNAVAILABLE", True)
    assert refused.seconds < 6
    assert json.loads(line.send(intent).body)["amount"] == "0.01"


@pytest.mark.parametrize("name", NEEDS_A_SESSION)
def test_what_is_left_out_behind_it_is_there(name: str) -> None:
    path, _, test = name.partition("::")
    assert f"def {test or 'test_'}" in (environment.ROOT / path).read_text()
