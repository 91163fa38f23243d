"""A transfer costs a known number of round trips to the database, counted on the wire: none is added unseen."""

from __future__ import annotations

import pytest
from django.db import close_old_connections, connection

from tests import cast
from tests.cast import CastMember
from tests.wallets.calls import transfer
from tests.wire import round_trips

ROUND_TRIPS_MAX = 9

#: What a transfer costs today, all of it: token (which counts the attempt as well), BEGIN, key, locks, posting with the
#: key's answer and the transfer's row, COMMIT. (Now and then a kept connection is asked whether it is there.)
ROUND_TRIPS = 6

#: psycopg prepares a statement when it sees it for the fifth time, which costs a trip of its own that once.
WARM_UP = 7


@pytest.fixture
def pair(committed_db: object) -> tuple[CastMember, CastMember]:
    """A sender and a receiver, and a connection that has seen transfers before."""
    alice, bob = cast.alice(), cast.bob()
    for _ in range(WARM_UP):
        close_old_connections()
        assert transfer(alice, bob.cash, "1.00").status_code == 201
    return alice, bob


def test_a_transfer_keeps_to_its_round_trips(pair: tuple[CastMember, CastMember]) -> None:
    alice, bob = pair
    answers = []

    def request() -> None:
        close_old_connections()  # what Django does as a request starts; its test client leaves it out
        answers.append(transfer(alice, bob.cash, "1.00"))

    counted = round_trips(request)
    assert answers[0].status_code == 201
    assert counted == ROUND_TRIPS <= ROUND_TRIPS_MAX


def test_a_replay_costs_less(pair: tuple[CastMember, CastMember]) -> None:
    alice, bob = pair
    used = "replayed-transfer-0001"
    transfer(alice, bob.cash, "1.00", key=used)

    def request() -> None:
        close_old_connections()
        assert transfer(alice, bob.cash, "1.00", key=used).headers["Idempotent-Replayed"] == "true"

    assert round_trips(request) == ROUND_TRIPS - 2


@pytest.mark.parametrize("statements", [1, 2])
def test_the_count_sees_every_statement(committed_db: object, statements: int) -> None:
    """Else the figure above could not fail."""

    def act() -> None:
        for _ in range(statements):
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")

    connection.ensure_connection()
    assert round_trips(act) == statements


def test_the_count_sees_begin_and_commit(committed_db: object) -> None:
    from django.db import transaction

    def act() -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT 1")

    connection.ensure_connection()
    assert round_trips(act) == 3
