"""However many sweeps run at once, and whatever dies under them, a night is charged once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from threading import Barrier
from typing import TYPE_CHECKING, Any

import pytest

from tests.database import Clone
from tests.faults.kill import AFTER_COMMIT, BEFORE_COMMIT, Fault, session_dies, worker_dies

if TYPE_CHECKING:  # models cannot be imported before the settings are made
    from tests.cast import CastMember

SWEEPS = 3
ACCOUNTS = 12
NIGHTS = 4  # Monday to Thursday, of which Wednesday counts three times


@pytest.fixture
def market(committed_db: Clone) -> Clone:
    from tests.trading import nights, prices

    prices.open_market()
    nights.swap_terms("EURUSD", swap_long=-7, swap_triple_weekday=2)
    return committed_db


def holders(count: int) -> list[CastMember]:
    """Clients who have held a lot each since Monday."""
    from tests.cast import make_client
    from tests.trading import nights

    people = [make_client(margin=Decimal("20000.00")) for _ in range(count)]
    for who in people:
        nights.hold(who, since=nights.noon(nights.MONDAY), volume="1")
    return people


def sweep() -> dict[str, Any]:
    from tests.trading import nights

    return nights.charge(nights.FRIDAY)


def each_was_charged_once(people: list[CastMember]) -> None:
    from tests.trading import nights
    from trading.models import Swap

    for who in people:
        charged = Swap.objects.filter(account=who.account).order_by("night").values_list("nights", flat=True)
        assert list(charged) == [1, 1, 3, 1]
        assert nights.balance(who) == Decimal("19958.00")


def test_sweeps_at_once_share_the_accounts_and_charge_each_night_once(market: Clone) -> None:
    from django.db import connections

    from tests.trading import nights

    people = holders(ACCOUNTS)
    barrier = Barrier(SWEEPS)

    def run(_: int) -> dict[str, Any]:
        try:
            barrier.wait(30)
            return sweep()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(SWEEPS) as pool:
        counts = list(pool.map(run, range(SWEEPS)))
    assert sum(count["swaps"] for count in counts) == ACCOUNTS * NIGHTS
    assert {count["unfinished"] for count in counts} == {0}
    each_was_charged_once(people)
    nights.books_are_clean()


def test_an_account_that_another_sweep_is_at_is_left_to_it(market: Clone) -> None:
    import psycopg
    from django.utils import timezone

    from tests.trading import nights
    from trading import selectors
    from trading.services import swaps

    (who,) = holders(1)
    arguments: dict[str, Any] = {
        "account_id": who.account.pk,
        "until": nights.noon(nights.FRIDAY),
        "market": selectors.market(timezone.now()),
    }
    with psycopg.connect(market.url) as other:
        other.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"trading.swaps:{who.account.pk}"])
        assert swaps.charge_account(**arguments).is_busy
        assert nights.balance(who) == Decimal("20000.00")
        assert not swaps.charge_account(**arguments, waits=True).is_busy
    each_was_charged_once([who])


@pytest.mark.timeout(300)
def test_whenever_a_sweep_dies_the_next_one_finishes_it(market: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between accounts, within one, around COMMIT: first its session, which it may survive, then its process."""
    from contextlib import suppress

    from django.core.management import CommandError
    from django.db import OperationalError, connection

    from tests.trading import nights

    people = holders(2)
    with session_dies(market.url, 0, monkeypatch) as counting:
        sweep()
    assert counting.statements > 20
    assert counting.commits >= len(people)
    each_was_charged_once(people)
    for at in moments(counting):
        people = holders(2)
        with suppress(CommandError, OperationalError), session_dies(market.url, at, monkeypatch) as fault:
            sweep()
        assert fault.struck, at
        connection.close()
        sweep()
        each_was_charged_once(people)
    for at in moments(counting)[::3]:
        people = holders(2)
        worker_dies(at, monkeypatch, sweep)
        sweep()
        each_was_charged_once(people)
    nights.books_are_clean()


def moments(counting: Fault) -> list[Any]:
    return [BEFORE_COMMIT, *range(1, counting.statements + 1), AFTER_COMMIT]
