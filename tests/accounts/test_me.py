"""People see and change what is theirs to see and change, and nothing beside it."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from accounts.models import User
from core.models import AuditEvent
from tests import cast, factories
from tests.accounts.crowd import together
from tests.accounts.problems import body, fields, outcome
from tests.database import Clone
from wallets.models import Wallet

URL = "/api/v1/me"
ADDRESS = {"line1": "2 New Road", "city": "Leeds", "postal_code": "LS1 1AA", "country": "GB"}


def test_shows_who_one_is_and_where_one_stands(db: None) -> None:
    alice = cast.alice()
    cast.bob()
    shown = body(alice.api.get(URL))
    assert (shown["id"], shown["email"], shown["name"]) == (str(alice.id), "alice@example.com", "Alice Archer")
    assert (shown["verification"], shown["frozen"]) == (None, [])
    assert [account["number"] for account in shown["trading_accounts"]] == [alice.account.number]
    assert shown["trading_accounts"][0]["wallet"] == alice.margin.number
    assert "password" not in alice.api.get(URL).content.decode()
    assert "is_staff" not in shown


def test_changes_name_phone_and_address_and_keeps_what_they_were(db: None) -> None:
    alice = cast.alice()
    old_phone = alice.user.phone
    changes = {"name": "Alice Baker", "phone": "+442079460999", "address": ADDRESS}
    shown = body(alice.api.patch(URL, changes))
    full = ADDRESS | {"line2": "", "region": ""}
    assert (shown["name"], shown["phone"], shown["address"]) == ("Alice Baker", "+442079460999", full)
    alice.user.refresh_from_db()
    assert (alice.user.name, alice.user.phone, alice.user.address) == ("Alice Baker", "+442079460999", full)
    event = AuditEvent.objects.get(action="accounts.profile.updated")
    assert (event.owner, event.actor_id) == (alice.id, alice.id)
    assert event.before == {"name": "Alice Archer", "phone": old_phone, "address": None}
    assert event.after == {"name": "Alice Baker", "phone": "+442079460999", "address": full}


def test_one_field_leaves_the_others(db: None) -> None:
    alice = cast.alice()
    before = body(alice.api.get(URL))
    assert body(alice.api.patch(URL, {"name": "Al"})) == before | {"name": "Al"}
    assert body(alice.api.patch(URL, {"name": "Al"})) == before | {"name": "Al"}
    assert body(alice.api.patch(URL, {})) == before | {"name": "Al"}
    assert AuditEvent.objects.count() == 1


@pytest.mark.parametrize(
    "field,value",
    [
        ("is_staff", True),
        ("is_superuser", True),
        ("is_active", False),
        ("groups", [1]),
        ("id", "01890a5d-ac96-774b-bcce-b302099a8057"),
        ("owner", "01890a5d-ac96-774b-bcce-b302099a8057"),
        ("email", "new@example.com"),
        ("email_confirmed", True),
        ("email_confirmed_at", "2026-01-01T00:00:00Z"),
        ("password", "a-brand-new-heron-42"),
        ("balance", "1000000.00"),
        ("wallets", []),
        ("verification", {"status": "APPROVED"}),
        ("verified", True),
        ("country", "US"),
        ("date_of_birth", "1980-01-01"),
        ("referral_code", "AAAAAAAA"),
        ("referred_by", None),
        ("frozen", []),
        ("leverage", 500),
    ],
)
def test_refuses_by_name_what_is_not_ones_own_to_change(db: None, field: str, value: Any) -> None:
    alice = cast.alice()
    row, wallet = User.objects.filter(pk=alice.user.pk).values(), Wallet.objects.filter(pk=alice.cash.pk).values()
    before = (row.get(), wallet.get())
    response = alice.api.patch(URL, {"name": "Mallory", field: value})
    assert (outcome(response), fields(response)) == ((400, "UNKNOWN_FIELD"), [field])
    assert (row.all().get(), wallet.all().get()) == before
    assert not AuditEvent.objects.exists()


@pytest.mark.parametrize(
    "changes,named",
    [
        ({"name": ""}, "name"),
        ({"name": None}, "name"),
        ({"name": "A\u202eB"}, "name"),
        ({"phone": None}, "phone"),
        ({"phone": "02079460018"}, "phone"),
        ({"address": None}, "address"),
        ({"address": {}}, "address.line1"),
        ({"address": ADDRESS | {"country": "UK"}}, "address.country"),
        ({"address": ADDRESS | {"is_staff": True}}, "address.is_staff"),
    ],
)
def test_refuses_by_name_what_cannot_be(db: None, changes: dict[str, Any], named: str) -> None:
    alice = cast.alice()
    response = alice.api.patch(URL, changes)
    assert response.status_code == 400
    assert named in fields(response)
    assert User.objects.get(pk=alice.user.pk).name == "Alice Archer"


def test_a_phone_number_belongs_to_one_person(committed_db: Clone) -> None:
    alice, bob = cast.alice(), cast.bob()
    response = alice.api.patch(URL, {"phone": bob.user.phone, "name": "Al"})
    assert (outcome(response), fields(response)) == ((409, "PHONE_TAKEN"), ["phone"])
    assert User.objects.get(pk=alice.user.pk).name == "Alice Archer"
    responses = together([lambda who=who: who.api.patch(URL, {"phone": "+442079460777"}) for who in (alice, bob)])  # type: ignore[misc]
    assert sorted(map(outcome, responses)) == [(200, ""), (409, "PHONE_TAKEN")]


def test_other_methods_are_not_there(db: None) -> None:
    alice = cast.alice()
    for method in ("post", "put", "delete"):
        assert outcome(getattr(alice.api, method)(URL, {})) == (405, "METHOD_NOT_ALLOWED")
    assert User.objects.filter(pk=alice.user.pk).exists()


def test_shows_the_birthday_as_a_day(db: None) -> None:
    person = factories.Person.create(date_of_birth=date(1990, 5, 17))
    assert body(cast.api_client(cast.issue_token(person)).get(URL))["date_of_birth"] == "1990-05-17"
