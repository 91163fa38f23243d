"""One world for all tests of a module: whatever one of them changes is taken back after it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from pytest_django import DjangoDbBlocker

if TYPE_CHECKING:  # models cannot be imported before the settings are made
    from tests.abuse.world import World
    from tests.database import Clone


@pytest.fixture(scope="module")
def built(desk_database: Clone, django_db_blocker: DjangoDbBlocker) -> Iterator[World]:
    """In one transaction that is rolled back, as Django's own test cases have it."""
    from django.db import connection, transaction

    from accounts.hashers import DeskArgon2
    from tests.abuse import world

    with django_db_blocker.unblock(), pytest.MonkeyPatch.context() as patch:
        patch.setattr("django.conf.settings.THROTTLES", world.UNLIMITED)
        patch.setattr(DeskArgon2, "time_cost", 1)
        patch.setattr(DeskArgon2, "memory_cost", 8)  # what hashing has to cost is shown elsewhere
        around = transaction.atomic()
        around._from_testcase = True  # type: ignore[attr-defined]  # durable operations may begin inside
        with around, connection.cursor() as cursor:
            # The world may wait for a slow test to think.
            cursor.execute("SELECT set_config('idle_in_transaction_session_timeout', '0', true)")
            yield world.build()
            transaction.set_rollback(True)


@pytest.fixture
def world(built: World) -> Iterator[World]:
    """The world with fresh prices."""
    from tests.abuse.world import undone
    from tests.trading import prices

    with undone():
        prices.push(**prices.PRICES)
        yield built
