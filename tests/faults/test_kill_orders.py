"""Whenever the database or the worker dies under an order, it is placed, changed or cancelled once or not at all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from time import monotonic, sleep
from typing import Any

import pytest
from django.db import close_old_connections, transaction

from core import snapshot
from core.models import IdempotencyKey
from tests import cast
from tests.cast import CastMember
from tests.database import Clone
from tests.faults.kill import AFTER_COMMIT, BEFORE_COMMIT, session_dies, worker_dies
from tests.trading import prices
from tests.trading.calls import cancel, change, key, place, stops
from trading import verification
from trading.models import AccountChange, AccountWatch, Deal, Order, Position

LIMIT = {"type": "LIMIT", "price": "1.19000", "volume": "0.01"}


@dataclass(frozen=True, slots=True)
class Case:
    """A request with everything it needs, to be sent as often as it takes."""

    send: Callable[[], Any]


def placing(who: CastMember) -> Case:
    used = key()
    return Case(lambda: place(who, key=used, **LIMIT))


def opening(who: CastMember) -> Case:
    used = key()
    return Case(lambda: place(who, key=used, volume="0.01", stop_loss="1.10000"))


def changing(who: CastMember) -> Case:
    order = place(who, **LIMIT).json()["id"]
    return Case(lambda: change(who, order, price="1.18000", stop_loss="1.10000"))


def cancelling(who: CastMember) -> Case:
    order = place(who, **LIMIT).json()["id"]
    return Case(lambda: cancel(who, order))


def stopping(who: CastMember) -> Case:
    position = place(who, volume="0.01").json()["position"]["id"]
    return Case(lambda: stops(who, position, stop_loss="1.10000", take_profit="1.30000"))


CASES: dict[str, Callable[[CastMember], Case]] = {
    "place": placing,
    "open": opening,
    "change": changing,
    "cancel": cancelling,
    "stop": stopping,
}


@pytest.fixture
def who(committed_db: Clone) -> CastMember:
    prices.open_market()
    return cast.make_client(margin=Decimal("10000.00"), leverage=500)


@pytest.fixture
def url(committed_db: Clone) -> str:
    return committed_db.url


def send(case: Case) -> Any:
    close_old_connections()  # what Django does as a request starts; its test client leaves it out
    return case.send()


def sent_until_answered(case: Case) -> Any:
    """Sent again as a client would: the server needs a moment to notice that the worker is gone."""
    deadline = monotonic() + 10
    while True:
        response = send(case)
        if response.status_code not in {409, 503} or monotonic() > deadline:
            return response
        sleep(0.02)


def effects(who: CastMember) -> tuple[int, ...]:
    """What an operation leaves behind: rows of each kind, and how many changes the account has had."""
    who.margin.refresh_from_db()
    sequence = AccountWatch.objects.filter(account=who.account).values_list("sequence", flat=True).first() or 0
    numbers = AccountChange.objects.filter(account=who.account).order_by("sequence").values_list("sequence", flat=True)
    assert list(numbers) == list(range(1, sequence + 1)), "gapless"
    waiting = Order.objects.filter(status="WORKING").count()
    return (Order.objects.count(), waiting, Position.objects.count(), Deal.objects.count(), sequence)


def difference(before: tuple[int, ...], after: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(new - old for old, new in zip(before, after, strict=True))


def moments(who: CastMember, name: str, url: str, patch: pytest.MonkeyPatch) -> tuple[list[Any], tuple[int, ...]]:
    """Every moment at which the request can be struck, and what it leaves behind."""
    case = CASES[name](who)
    before = effects(who)
    with session_dies(url, 0, patch) as counting:
        assert send(case).status_code in {200, 201}
    assert counting.commits == 1
    return [*range(1, counting.statements + 1), BEFORE_COMMIT, AFTER_COMMIT], difference(before, effects(who))


def nothing_is_broken() -> None:
    with transaction.atomic():
        snapshot.take()
        report = verification.verify_positions()
    assert report.is_clean, report.breaks
    assert not IdempotencyKey.objects.filter(status="PROCESSING").exists()


@pytest.mark.parametrize("name", CASES)
def test_is_done_once_whenever_the_database_dies(
    who: CastMember, url: str, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    at_all, effect = moments(who, name, url, monkeypatch)
    for at in at_all:
        case = CASES[name](who)
        before = effects(who)
        with session_dies(url, at, monkeypatch) as fault:
            first = send(case)
        assert fault.struck, at
        again = send(case)
        assert first.status_code in {200, 201, 503}, (at, first.content)
        assert again.status_code in {200, 201}, (at, again.content)
        assert difference(before, effects(who)) == effect, at
        if first.status_code != 503:
            assert {**again.json(), "updated_at": None} == {**first.json(), "updated_at": None}, at
    nothing_is_broken()


@pytest.mark.parametrize("name", CASES)
def test_is_done_once_whenever_the_worker_dies(
    who: CastMember, url: str, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    at_all, effect = moments(who, name, url, monkeypatch)
    for at in at_all:
        case = CASES[name](who)
        before = effects(who)
        worker_dies(at, monkeypatch, partial(send, case))
        assert sent_until_answered(case).status_code in {200, 201}, at
        assert difference(before, effects(who)) == effect, at
    nothing_is_broken()
