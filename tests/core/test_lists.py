"""What staff type finds what it is equal to, by whichever column that is, in one look-up each."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.db.models import QuerySet
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext

from accounts.models import User
from core import lists
from core.admin import CappedPaginator
from core.ids import HOUSE
from core.models import AuditEvent
from tests import cast
from wallets.admin import LedgerTransactionAdmin
from wallets.models import Entry, LedgerTransaction, Wallet

PATHS = ("transaction__id", "wallet__number", "owner__id")


@pytest.fixture
def alice(db: None) -> cast.CastMember:
    cast.bob()
    return cast.make_client(balance=Decimal("70.00"), margin=Decimal("30.00"))


def found(typed: str) -> set[Any]:
    return set(lists.search(Entry.objects.all(), PATHS, typed).values_list("pk", flat=True))


def test_each_kind_of_thing_is_found_by_its_own_column(alice: cast.CastMember) -> None:
    own = Entry.objects.filter(wallet=alice.cash)
    both_sides = set(Entry.objects.filter(transaction=own.get().transaction_id).values_list("pk", flat=True))
    assert len(both_sides) == 2
    assert found(alice.cash.number) == {own.get().pk}
    assert found(f"  {alice.cash.number.lower()} ") == {own.get().pk}
    assert found(str(own.get().transaction_id)) == both_sides
    assert found(str(alice.user.pk).upper()) == set(Entry.objects.filter(owner=alice.user).values_list("pk", flat=True))


@pytest.mark.parametrize(
    "typed", ["W1", "' OR 1=1", "01a20727-7e70-71c7-ac3b-6d30f065ee40", "9" * 40, "x" * 500, "１２３", "0"]
)
def test_what_is_nobodys_finds_nothing(alice: cast.CastMember, typed: str) -> None:
    assert found(typed) == set()
    assert not lists.search(User.objects.all(), ("id", "phone"), typed).exists()


def test_an_address_is_found_in_any_spelling(db: None) -> None:
    AuditEvent.objects.bulk_create(
        [
            AuditEvent(
                owner=HOUSE, action="x", actor_kind="SYSTEM", object_type="x", object_id="x", address="2001:db8::1"
            )
        ]
    )
    rows = AuditEvent.objects.all()
    assert lists.search(rows, ("owner", "address"), "2001:0DB8:0:0::1").count() == 1
    assert not lists.search(rows, ("owner", "address"), "198.51.100.7").exists()
    assert not lists.search(rows, ("owner", "address"), "here").exists()


def test_only_columns_that_know_it_are_searched(alice: cast.CastMember) -> None:
    rows = lists.search(Entry.objects.all(), PATHS, alice.cash.number)
    assert " OR " not in str(rows.query)
    assert "UPPER" not in str(rows.query)


def test_a_filter_offers_what_it_was_given_and_asks_no_row(db: None) -> None:
    request: Any = RequestFactory().get("/")
    column = LedgerTransaction._meta.get_field("actor_kind")
    with CaptureQueriesContext(connection) as queries:
        site: Any = LedgerTransactionAdmin
        made = lists.fixed("CLIENT", "STAFF")(
            column, request, {}, LedgerTransaction, site(LedgerTransaction, None), field_path="actor_kind"
        )
        offered = [choice for choice, _ in made.field.flatchoices]
    assert (offered, len(queries)) == (["CLIENT", "STAFF"], 0)
    assert not column.choices


def test_a_page_is_found_by_its_keys_and_keeps_their_order(alice: cast.CastMember) -> None:
    rows: QuerySet[Wallet] = Wallet.objects.select_related("owner").order_by("-pk")
    paginator = CappedPaginator(rows, 3)
    with CaptureQueriesContext(connection) as queries:
        page = list(paginator.page(2))
    assert page == list(rows[3:6])
    keys = next(query["sql"] for query in queries if "OFFSET" in query["sql"])
    assert "JOIN" not in keys
