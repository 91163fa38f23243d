"""What the ORM would say of one row, said once: a hot statement is written at its first use, and prepared."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

from django.db import DEFAULT_DB_ALIAS, connection
from django.db.models import Field, ForeignKey, JSONField, Model
from django.db.models.base import ModelState

from core import db

Row = TypeVar("Row", bound=Model)


class _Column(NamedTuple):
    """A field as the driver meets it; `prepare` and `convert` are of the few types that are not the driver's own."""

    attribute: str
    name: str
    type: str
    prepare: Callable[..., Any] | None
    convert: Callable[..., Any] | None

    def parameter(self, prefix: str) -> str:
        return f"%({prefix}_{self.name})s::{self.type}"

    def value(self, row: Model) -> Any:
        value = row.__dict__[self.attribute]  # no deferred fields here, and a descriptor for each costs as much again
        return value if self.prepare is None else self.prepare(value, connection)

    @classmethod
    def of(cls, field: Field[Any, Any]) -> _Column:
        # Without its length: a text that is too long is refused, not cut.
        kind = str(field.rel_db_type(connection) if field.is_relation else field.db_type(connection)).partition("(")[0]
        assert not getattr(field, "auto_now", False), "no column of the hot path makes its own value"
        prepare = field.get_db_prep_save if isinstance(field, JSONField) else None
        assert field.column is not None
        return cls(field.attname, field.column, kind, prepare, getattr(field, "from_db_value", None))


@functools.cache
def _columns(model: type[Model], *names: str) -> tuple[_Column, ...]:
    """The columns of these fields, or of all."""
    by_name = {field.name: field for field in model._meta.concrete_fields}
    return tuple(_Column.of(by_name[name]) for name in names or by_name)


def select(model: type[Row], where: str, **params: Any) -> Row | None:
    """
    The row of a model that a condition picks (a constant of ours on `t`, with `%(name)s` parameters), if there is one.

    At most one row can fit, by a unique constraint. The condition may end in a lock: `… FOR NO KEY UPDATE`.
    """
    found = select_with(model, where, **params)
    return None if found is None else found[0]


def select_with(model: type[Row], where: str, *, also: str = "", **params: Any) -> tuple[Row, list[Any]] | None:
    """`select`, and what the expressions in `also` (constants of ours) come to in the same statement."""
    rows = db.fetch_all(_select_sql(model, where, also), params)
    if not rows:
        return None
    assert len(rows) == 1, "the condition names one row"
    return loaded(model, rows[0])


def loaded(model: type[Row], values: Sequence[Any]) -> tuple[Row, list[Any]]:
    """The row whose `names` a statement of the caller's has returned first, and whatever else it has returned."""
    row = model.__new__(model)
    row._state = state = ModelState()  # noqa: SLF001 - as Django's own constructor does
    state.adding, state.db = False, DEFAULT_DB_ALIAS
    facts, columns = row.__dict__, _columns(model)
    for value, (attribute, _, _, _, convert) in zip(values, columns, strict=False):  # more than columns: what else
        facts[attribute] = value if convert is None else convert(value, None, connection)
    return row, list(values[len(columns) :])


@functools.cache
def names(model: type[Model]) -> str:
    """All columns of a model as a statement names them, whose table is `t` there."""
    return ", ".join(f't."{column.name}"' for column in _columns(model))


@functools.cache
def _select_sql(model: type[Model], where: str, also: str) -> str:
    columns = f"{names(model)}, {also}" if also else names(model)
    return f'SELECT {columns} FROM "{model._meta.db_table}" t WHERE {where}'  # noqa: S608 - our own names


def new(model: type[Row], **values: Any) -> Row:
    """
    `model(**values)`, for the rows that a hot operation makes: values by field or, of a relation, the row it names.

    What is not given has the field's default; what is no field is a mistake, and a KeyError.
    """
    row = model.__new__(model)
    row._state = state = ModelState()  # noqa: SLF001 - as Django's own constructor does
    fields, relations = _shape(model)
    facts = row.__dict__
    for name, default in fields:
        facts[name] = values.pop(name) if name in values else default()
    for name, value in values.items():
        attribute = relations[name]
        facts[attribute] = value.pk
        state.fields_cache[name] = value
    return row


@functools.cache
def _shape(model: type[Model]) -> tuple[list[tuple[str, Callable[[], Any]]], dict[str, str]]:
    """Each column's attribute and default, and which attribute a relation's row is known by."""
    fields = model._meta.concrete_fields
    columns = [(field.attname, field._get_default) for field in fields]  # type: ignore[attr-defined]  # noqa: SLF001
    relations = [field for field in fields if isinstance(field, ForeignKey)]
    assert all(field.target_field.primary_key for field in relations), "a row is named by its key"
    return columns, {field.name: field.attname for field in relations}


class Write(NamedTuple):
    """
    One row's INSERT or UPDATE with RETURNING; its parameters are named apart, so that it can be part of more.

    `parts` are what it builds on, each a `name AS (…)`: they are put before it in whatever statement it is part of.
    """

    sql: str
    params: dict[str, Any]
    parts: tuple[str, ...] = ()

    @property
    def statement(self) -> str:
        """All of it, to be done alone."""
        return f"WITH {', '.join(self.parts)} {self.sql}" if self.parts else self.sql


def insertion(row: Model, prefix: str = "row", **made: str) -> Write:
    """
    `row.save(force_insert=True)` of a row whose every column is set, to be done by the caller.

    `made` are columns that the database makes, by expressions that are constants of ours.
    """
    model = type(row)
    params = {name: column.value(row) for name, column in _parameters(model, prefix, frozenset(made))}
    row._state.adding, row._state.db = False, DEFAULT_DB_ALIAS  # noqa: SLF001 - documented for those who load rows
    return Write(_insert_sql(model, prefix, tuple(made.items())), params)


@functools.cache
def _parameters(model: type[Model], prefix: str, made: frozenset[str]) -> list[tuple[str, _Column]]:
    """The parameters of an insertion, by name."""
    return [(f"{prefix}_{column.name}", column) for column in _columns(model) if column.attribute not in made]


@functools.cache
def _insert_sql(model: type[Model], prefix: str, made: tuple[tuple[str, str], ...]) -> str:
    expressions, columns = dict(made), _columns(model)
    names = ", ".join(f'"{column.name}"' for column in columns)
    values = ", ".join(expressions.get(column.attribute) or column.parameter(prefix) for column in columns)
    (key,) = _columns(model, model._meta.pk.name)
    return (
        f'INSERT INTO "{model._meta.db_table}" ({names}) VALUES ({values})'  # noqa: S608 - our own names
        f' RETURNING "{key.name}"'
    )


def change(row: Model, *names: str, prefix: str = "row") -> Write:
    """`row.save(update_fields=names)` of a row that the caller has locked, to be done by the caller."""
    model = type(row)
    columns = _columns(model, *names, model._meta.pk.name)
    params = {f"{prefix}_{column.name}": column.value(row) for column in columns}
    return Write(_update_sql(model, prefix, names), params)


@functools.cache
def _update_sql(model: type[Model], prefix: str, names: tuple[str, ...]) -> str:
    changes = ", ".join(f'"{column.name}" = {column.parameter(prefix)}' for column in _columns(model, *names))
    (key,) = _columns(model, model._meta.pk.name)
    return (
        f'UPDATE "{model._meta.db_table}" SET {changes} WHERE "{key.name}" = {key.parameter(prefix)}'  # noqa: S608 - ours
        f' RETURNING "{key.name}"'
    )


def write(*writes: Write, **params: Any) -> None:
    """Do each of them; `params` are what their expressions name."""
    db.require_transaction()
    for one in writes:
        rows = db.fetch_all(one.statement, one.params | params)
        assert len(rows) == 1, "one row is written"
