"""Rows for tests; whatever has money in it is opened and funded through the ledger, in `tests.cast`."""

from __future__ import annotations

import itertools
from functools import cache
from typing import Any

import factory
from django.contrib.auth.hashers import make_password

from accounts.models import User

#: Everybody's password in tests.
PASSWORD = "staple-battery-horse-9"

_phones = itertools.count(2_000_000)


@cache
def password_hash() -> str:
    """One hash for all: argon2 is slow on purpose."""
    return make_password(PASSWORD)


class Person(factory.django.DjangoModelFactory[User]):
    """A client's user row; `password` is `PASSWORD`."""

    class Meta:
        model = User

    email = factory.Sequence(lambda number: f"client-{number}@example.com")
    name = factory.Sequence(lambda number: f"Client {number}")
    phone = factory.LazyFunction(lambda: f"+1202{next(_phones)}")
    country = "GB"
    password = factory.LazyFunction(password_hash)


class Staff(Person):
    """A member of staff; give `groups=["kyc"]` for roles."""

    email = factory.Sequence(lambda number: f"staff-{number}@example.com")
    name = factory.Sequence(lambda number: f"Staff {number}")
    number: Any = None
    phone: Any = None
    country = ""
    is_staff = True
