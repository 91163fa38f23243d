"""The short form of the fault plan: the same faults, done to real processes, for as long as a suite can wait."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.faults import plan
from bench.faults.intents import Crowd
from bench.faults.plan import Stage
from bench.load import systems
from bench.load.figures import Check
from bench.load.systems import Server
from scripts import environment, locks
from tests import database

PEOPLE = 40


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """On the suite's own server, which others use too: nothing here may end that. Two suites take turns."""
    server = Server(database.CLUSTER)
    with locks.held(environment.VAR / "faults.lock", locks.EXCLUSIVE, seconds=100) as is_held:
        assert is_held
        template, members = systems.desk_template(server, PEOPLE)
        with Stage.set_up(server, template, members, tmp_path / "desk.log") as made:
            yield made


def missed(figures: list[Check]) -> list[str]:
    assert len(figures) >= 2
    return [f"{one.name}: {one.measured}" for one in figures if not one.is_kept]


def test_whatever_is_done_to_a_desk_its_clients_have_one_effect_per_key(stage: Stage) -> None:
    assert missed(plan.everything_is_sent_five_times(stage, intents=60)) == []
    assert missed(plan.workers_are_killed(stage, kills=3)) == []
    assert missed(plan.it_is_reloaded_and_ended(stage, times=1)) == []
    # And if there were one more or one less, it would be seen.
    stage.transfers += 1
    wanted = stage.transfers
    assert missed(plan.settled(stage, Crowd(stage.port, stage.members))) == [
        f"transfers, of so many keys: {wanted - 1}"
    ]
