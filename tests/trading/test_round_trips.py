"""An order costs a known number of round trips to the database, counted on the wire: none is added unseen."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.db import close_old_connections

from tests.cast import CastMember, make_client
from tests.trading.calls import close, place
from tests.wire import round_trips

#: Opening and closing alike: token, BEGIN, key, account with its wallet locked (and whether prices or terms have
#: changed), book, posting with everything the order makes, COMMIT.
ROUND_TRIPS = 7

#: The first orders prepare their statements, and read prices and terms.
WARM_UP = 3


@pytest.fixture
def trader(committed_market: object) -> CastMember:
    client = make_client(margin=Decimal(10_000))
    for _ in range(WARM_UP):
        assert close(client, opened(client), volume="ALL").status_code == 201
    return client


def opened(client: CastMember) -> str:
    answer = place(client)
    assert answer.status_code == 201, answer.json()
    return str(answer.json()["position"]["id"])


def counted(act: Callable[[], Any]) -> int:
    def request() -> None:
        close_old_connections()  # what Django does as a request starts; its test client leaves it out
        act()

    return round_trips(request)


def test_an_order_keeps_to_its_round_trips(trader: CastMember) -> None:
    assert counted(lambda: opened(trader)) == ROUND_TRIPS


def test_a_close_keeps_to_its_round_trips(trader: CastMember) -> None:
    position = opened(trader)
    answers = []
    assert counted(lambda: answers.append(close(trader, position, volume="ALL"))) == ROUND_TRIPS
    assert answers[0].status_code == 201
