"""A client has a number to say on the telephone: one, for ever, and nobody else's; staff and the house have none."""

from __future__ import annotations

import re
from importlib import import_module
from types import SimpleNamespace

import pytest
from django.db import IntegrityError, connection, transaction

from accounts.models import User
from core.ids import HOUSE
from tests import cast, factories
from tests.accounts import bodies
from tests.accounts.problems import body


def test_sign_up_gives_one_and_me_tells_it(db: None) -> None:
    api = cast.api_client()
    for welcome in (
        body(api.post("/api/v1/signup/demo", bodies.demo(), **bodies.key())),
        body(api.post("/api/v1/signup/live", bodies.live(), **bodies.key())),
    ):
        user = User.objects.get(pk=welcome["user"]["id"])
        assert re.fullmatch(r"C\d{8}", user.number or "")
        me = cast.api_client(cast.issue_token(user)).get("/api/v1/me")
        assert welcome["user"]["number"] == body(me)["number"] == user.number


def test_no_two_clients_have_the_same(db: None) -> None:
    alice, bob = cast.alice().user, cast.bob().user
    assert alice.number != bob.number
    with pytest.raises(IntegrityError, match="user_number"), transaction.atomic():
        User.objects.filter(pk=bob.pk).update(number=alice.number)


def test_staff_and_the_house_have_none(db: None) -> None:
    admin = User.objects.create_superuser("root@desk.example", "staple-battery-horse-9")
    staff = (User.objects.get(pk=HOUSE), factories.Staff.create(), admin)
    assert [person.number for person in staff] == [None, None, None]
    for person in staff:
        with pytest.raises(IntegrityError, match="user_number_is_a_clients"), transaction.atomic():
            User.objects.filter(pk=person.pk).update(number="C99999999")


def test_clients_from_before_get_theirs_in_the_order_in_which_they_came(
    db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    migration = import_module("accounts.migrations.0011_number_clients")
    monkeypatch.setattr(migration, "BATCH", 2)
    people = [factories.Person.create() for _ in range(5)]
    factories.Staff.create()
    kept = people[3].number
    User.objects.exclude(pk=people[3].pk).update(number=None)
    for _ in range(2):  # begun again, it changes nothing
        migration.number_clients(None, SimpleNamespace(connection=connection))
    rows = User.objects.filter(pk__in=[person.pk for person in people]).order_by("pk")
    first, second, third, fourth, fifth = rows.values_list("number", flat=True)
    assert fourth == kept
    assert [kept, first, second, third, fifth] == list(rows.order_by("number").values_list("number", flat=True))
    assert User.objects.filter(number__isnull=True).exclude(is_staff=True).get().pk == HOUSE
