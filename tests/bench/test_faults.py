"""
The short form of the fault plan: the same faults, done to real processes, for as long as a suite can wait.

Shorter than in the plan: 8 commits are cut instead of 100, sessions are ended for 3 s instead of 30, the database is
away for 4 s instead of 20, 2 workers are killed instead of 50, there are 4 deadlocks instead of 20, one reload instead
of four, no nginx before the desk with the empty pool, and 60 requests sent again and again instead of 300. All of it is
done to one desk, whose server has no disk to wait for; how long things may take is for the plan to judge.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.faults import clients, crashes, database
from bench.faults.intents import Crowd
from bench.faults.stage import Scene, Stage, settled
from bench.load import systems
from bench.load.figures import Check
from bench.load.systems import Server
from scripts import desk, environment, locks

PEOPLE = 40
#: Other tests run beside these.
SLACK = 10


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """On a server that may be stopped and crashed; two suites take turns."""
    with locks.held(environment.VAR / "faults.lock", locks.EXCLUSIVE, seconds=200) as is_held:
        assert is_held
        server = Server(desk.FAULTS_POSTGRES, durable=False)
        with server.hold:
            # Else what was acknowledged a moment ago is lost when the server crashes, with the disk or without.
            server.execute("ALTER ROLE ALL SET synchronous_commit = on")
            template, members = systems.desk_template(server, PEOPLE)
            with Stage.set_up(server, template, members, tmp_path / "desk.log", Scene(has_proxy=True)) as made:
                made.warm_up_seconds, made.calm_seconds, made.slack, made.resent = 0.5, 1.0, SLACK, 40
                yield made


def missed(figures: list[Check]) -> list[str]:
    assert len(figures) >= 2
    return [f"{one.name}: {one.measured}" for one in figures if not one.is_kept]


@pytest.mark.timeout(400)  # it waits for its turn, and for seconds that are part of what is done
def test_whatever_is_done_to_a_desk_its_clients_have_one_effect_per_key(stage: Stage) -> None:
    assert missed(clients.everything_is_sent_five_times(stage, intents=60)) == []
    assert missed(database.commits_are_cut(stage, cuts=8)) == []
    assert missed(database.somebody_locks_backwards(stage, times=4)) == []
    assert missed(crashes.sessions_are_ended(stage, seconds=3)) == []
    assert missed(crashes.workers_are_killed(stage, kills=2)) == []
    assert missed(crashes.a_backend_is_killed(stage)) == []
    assert missed(crashes.the_database_is_away(stage, seconds=4)) == []
    # It is ended here anyway, and comes back with pools instead of a connection per thread.
    stage.settings |= database.POOLED
    assert missed(crashes.it_is_reloaded_and_ended(stage, times=1)) == []
    assert missed(database.the_pool_is_empty(stage, seconds=3)) == []
    # And if there were one more or one less, it would be seen.
    stage.transfers += 1
    wanted = stage.transfers
    assert missed(settled(stage, Crowd(stage.port, stage.members))) == [f"transfers, of so many keys: {wanted - 1}"]
