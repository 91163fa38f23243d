"""A row written by its own statement is the row that the ORM would have written, and reads back alike."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.db import DataError, IntegrityError, transaction
from django.db.models import Model
from django.utils import timezone

from core import rows
from core.ids import uuid7
from tests.cast import make_client
from tests.trading.risk import opened
from trading.models import Deal, Order, Position


def copy_of(row: Model, **changes: Any) -> Any:
    values = {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields}
    return type(row)(**values | {"id": uuid7()} | changes)


def as_it_is(row: Order | Position) -> dict[str, Any]:
    return dict(type(row).objects.values().get(pk=row.pk))


@pytest.fixture
def order(market: object) -> Order:
    opened(make_client(margin=Decimal(1000)))
    return Order.objects.get()


def test_a_new_row_is_what_the_orm_makes(order: Order) -> None:
    position = Position.objects.get()
    given: dict[str, Any] = {"account": order.account, "order": order, "owner_id": order.owner_id, "volume": Decimal(2)}
    given |= {"opened_at": position.opened_at, "updated_at": position.updated_at}
    ours, theirs = rows.new(Position, **given), Position(**given)
    for field in Position._meta.concrete_fields:
        if field.attname != "id":
            assert getattr(ours, field.attname) == getattr(theirs, field.attname), field.name
    assert ours.id != position.id
    assert ours.account is order.account
    assert ours.order is order
    assert ours._state.adding
    assert ours._state.db is None
    with pytest.raises(KeyError):
        rows.new(Position, **given, colour="blue")


def test_an_inserted_row_is_what_the_orm_saves(order: Order) -> None:
    change = {"reject_context": {"shortfall": "1.00", "nested": [1, None]}, "client_order_id": None}
    by_us = copy_of(order, idempotency_digest=b"1" * 32, **change)
    by_orm = copy_of(order, idempotency_digest=b"2" * 32, **change)
    with transaction.atomic():
        rows.write(rows.insertion(by_us))
    by_orm.save(force_insert=True)
    differs = {"id", "idempotency_digest"}
    ours, theirs = as_it_is(by_us), as_it_is(by_orm)
    assert {name for name in ours if ours[name] != theirs[name]} == differs
    assert not by_us._state.adding


def test_a_selected_row_is_what_the_orm_gets(order: Order) -> None:
    for model in (Order, Position, Deal):
        expected = model.objects.get()
        found = rows.select(model, "t.id = %(id)s::uuid", id=expected.pk)
        assert found is not None
        assert found == expected
        for field in model._meta.concrete_fields:
            assert getattr(found, field.attname) == getattr(expected, field.attname), field.name
            assert type(getattr(found, field.attname)) is type(getattr(expected, field.attname)), field.name


def test_what_is_not_there_is_none(db: None) -> None:
    assert rows.select(Position, "t.id = %(id)s::uuid", id=uuid7()) is None


def test_only_what_is_named_changes(order: Order) -> None:
    position = Position.objects.get()
    before = as_it_is(position)
    position.volume, position.leverage = Decimal("0.05"), 99
    with transaction.atomic():
        rows.write(rows.change(position, "volume"))
    assert as_it_is(position) == before | {"volume": Decimal("0.05")}


def test_a_row_that_is_gone_is_not_changed_in_silence(order: Order) -> None:
    position = copy_of(Position.objects.get())
    with pytest.raises(AssertionError, match="one row is written"), transaction.atomic():
        rows.write(rows.change(position, "volume"))


def test_a_text_that_is_too_long_is_refused_and_not_cut(order: Order) -> None:
    row = copy_of(order, idempotency_digest=b"3" * 32, reject_code="X" * 200)
    with pytest.raises(DataError), transaction.atomic():
        rows.write(rows.insertion(row))
    assert not Order.objects.filter(pk=row.pk).exists()


def test_the_databases_rules_are_kept(order: Order) -> None:
    row = copy_of(order, idempotency_digest=b"4" * 32, volume=Decimal("-1"))
    with pytest.raises(IntegrityError), transaction.atomic():
        rows.write(rows.insertion(row))
    assert Order.objects.count() == 1


def test_a_column_may_be_the_databases_own(order: Order) -> None:
    row = copy_of(order, idempotency_digest=b"5" * 32)
    now = timezone.now()
    with transaction.atomic():
        rows.write(rows.insertion(row, created_at="%(now)s::timestamptz"), now=now)
    assert as_it_is(row)["created_at"] == now


def test_nothing_is_written_outside_a_transaction(committed_db: object) -> None:
    with pytest.raises(AssertionError, match="only inside the caller's transaction"):
        rows.write(rows.Write("SELECT 1", {}))
