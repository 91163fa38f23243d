"""A log-in takes as long for a name that is unknown, shut out or without a password as for one that is known."""

from __future__ import annotations

import time
from collections import defaultdict
from random import Random
from statistics import median
from typing import Any

from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from accounts import credentials
from tests import cast, factories
from tests.accounts.test_log_in import log_in

ROUNDS = 15
WHO = ("alice@example.com", "nobody@example.com", "gone@example.com", "unset@example.com", "house@desk.invalid")
WRONG = "a-password-that-is-wrong"


def test_nobody_learns_from_the_time_who_has_an_account(db: None, settings: Settings) -> None:
    """
    The work of this thread is measured, in turns drawn by lot: others on the same machine do not count.

    Hashing is nine tenths of a log-in. A tenth of the difference that leaving it out would make is still less than what
    is allowed here, and far more than what two measurements of the same thing differ by.
    """
    settings.THROTTLES = settings.THROTTLES | {"login_account": "100000/s", "login_address": "100000/s"}
    cast.alice()
    factories.Person.create(email="gone@example.com", is_active=False)
    factories.Person.create(email="unset@example.com", password="!")
    for email in WHO:
        assert log_in(email, WRONG).status_code == 401  # the first one makes what the others are compared with

    seconds: dict[str, list[float]] = defaultdict(list)
    turns, lot = [email for email in WHO for _ in range(ROUNDS)], Random(4)
    lot.shuffle(turns)
    for email in turns:
        began = time.thread_time()
        response = log_in(email, WRONG)
        seconds[email].append(time.thread_time() - began)
        assert response.status_code == 401
    medians = {email: median(taken) for email, taken in seconds.items()}
    assert max(medians.values()) - min(medians.values()) < hash_seconds() / 4, medians


def hash_seconds() -> float:
    """What one hash costs here and now."""
    taken = []
    for _ in range(5):
        began = time.thread_time()
        credentials.hash_password(WRONG)
        taken.append(time.thread_time() - began)
    assert min(taken) > 0.005, "a hash that costs nothing could not be missed"
    return median(taken)


def test_the_database_is_asked_the_same_for_every_name(db: None, settings: Settings) -> None:
    settings.THROTTLES = settings.THROTTLES | {"login_account": "100000/s", "login_address": "100000/s"}
    cast.alice()
    factories.Person.create(email="gone@example.com", is_active=False)
    asked: set[Any] = set()
    for email in WHO[:3]:
        with CaptureQueriesContext(connection) as queries:
            assert log_in(email, WRONG).status_code == 401
        asked.add(tuple(query["sql"].partition("@")[0].split("VALUES")[0][:60] for query in queries))
    assert len(asked) == 1
