"""A list of millions is quick to search and to filter where each thing typed or chosen is one look-up in an index."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from copy import copy
from functools import reduce
from ipaddress import ip_address
from operator import or_
from typing import Any
from uuid import UUID

from django.contrib.admin import ChoicesFieldListFilter
from django.contrib.admin.views.main import ORDER_VAR
from django.db import models
from django.db.models import Field, Q, QuerySet
from django.http import HttpRequest
from unfold.views import ChangeList

#: Rows that somebody's words name in another table, before the list is searched for what belongs to them.
NAMED_MAX = 100
_INTEGER_MAX = 2**63 - 1


class ListInItsOrder(ChangeList):
    """Nobody sorts a list by another column than its own: that would read the whole table, and sort it."""

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[str]:
        self.params.pop(ORDER_VAR, None)
        ordering: list[str] = super().get_ordering(request, queryset)
        return ordering


def search(rows: QuerySet[Any], paths: Iterable[str], typed: str) -> QuerySet[Any]:
    """
    The rows of which one of the paths (`id`, `owner__id`, `wallet__number`) is what was typed; text in any case.

    Each path is asked for by itself whether it knows anything of the kind, which its index answers at once, and only
    those that do are searched: an OR over all of them would leave the database nothing but to read everything.
    """
    found = [condition for path in paths for condition in _conditions(rows.model, path, typed.strip())]
    known = [condition for condition in found if QuerySet(rows.model).filter(condition).exists()]
    return rows.filter(reduce(or_, known)) if known else rows.none()


def fixed(*choices: str) -> type[ChoicesFieldListFilter]:
    """A filter with these choices, for a column that has none of its own: Django would read them from every row."""

    class Fixed(ChoicesFieldListFilter):
        def __init__(self, field: Field[Any, Any], *args: Any, **named: Any) -> None:
            offered = copy(field)
            offered.choices = [(choice, choice) for choice in choices]
            super().__init__(offered, *args, **named)

    return Fixed


def _conditions(model: type[models.Model], path: str, typed: str) -> Iterator[Q]:
    """At most one: what the path has to be equal to; none if nothing like that can be typed, or is known."""
    name, _, rest = path.partition("__")
    field = model._meta.pk if name == "pk" else model._meta.get_field(name)
    assert isinstance(field, Field), f"{path} is no column"
    if not field.is_relation:
        if values := _meant(field, typed):
            yield Q(**{f"{field.name}__in": values})
        return
    assert rest, f"{path} does not say which column of {name}"
    other = field.related_model
    assert isinstance(other, type), f"{path} leads to nothing that is known yet"
    if rest in {"id", "pk", other._meta.pk.name}:
        if values := _meant(other._meta.pk, typed):
            yield Q(**{f"{name}__in": values})
        return
    for condition in _conditions(other, rest, typed):
        if keys := list(QuerySet(other).filter(condition).values_list("pk", flat=True)[:NAMED_MAX]):
            yield Q(**{f"{name}__in": keys})


def _meant(field: Field[Any, Any], typed: str) -> list[Any]:
    """What was typed as a value of the column: none if it cannot be one; text as it is, in capitals and in small."""
    if isinstance(field, models.UUIDField | models.GenericIPAddressField):
        read: Callable[[str], Any] = UUID if isinstance(field, models.UUIDField) else ip_address
        try:
            return [str(read(typed))]
        except ValueError:
            return []
    if isinstance(field, models.IntegerField):
        is_number = typed.isascii() and typed.isdigit() and int(typed) <= _INTEGER_MAX
        return [int(typed)] if is_number else []
    assert isinstance(field, models.CharField), f"nobody types a {type(field).__name__}"
    fits = field.max_length is None or len(typed) <= field.max_length
    return sorted({typed, typed.upper(), typed.lower()}) if fits and typed else []
