"""A list's parameters are read as a body's fields are: one spelling of one type, nothing guessed, and no others."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django_filters import rest_framework as filters
from django_filters.fields import ChoiceField
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.settings import api_settings

from core.api.fields import StrictDateTimeField, StrictIntegerField, StrictUUIDField
from core.api.parsing import NAME_CHARACTERS_MAX
from core.api.problems import FIELD_ERRORS_MAX, UnknownField, field_error

#: What every list understands beside its own filters.
OF_EVERY_LIST = frozenset({"cursor", "limit", api_settings.URL_FORMAT_OVERRIDE})


class KnownFilters(filters.DjangoFilterBackend):
    """
    Filters as the view's `filterset_class` says, and refuses what neither that nor a page knows.

    A list that ignored `staus=OPEN` would show everything to a program that believes it sees a part.
    """

    def filter_queryset(self, request: Request, queryset: Any, view: Any) -> Any:
        """:raises UnknownField: naming each parameter that there is not"""
        filterset: Any = getattr(view, "filterset_class", None)
        known = OF_EVERY_LIST.union(filterset.base_filters if filterset is not None else ())
        unknown = [name[:NAME_CHARACTERS_MAX] for name in request.query_params if name not in known]
        if unknown:
            message = "This list has no such parameter."
            named = [field_error(name, UnknownField.code, message) for name in unknown[:FIELD_ERRORS_MAX]]
            raise UnknownField(errors=named)
        return super().filter_queryset(request, queryset, view)


class _StrictField(forms.Field):
    """A form's field that has a field of the API read for it; None is what was not sent."""

    reader: ClassVar[serializers.Field[Any, Any, Any, Any]]

    def to_python(self, value: Any) -> Any:
        if value is None:
            return None
        try:
            return self.reader.to_internal_value(value)
        except serializers.ValidationError as error:
            detail: Any = error.detail[0]  # type: ignore[index]  # a field's complaint is a list
            raise forms.ValidationError(str(detail), code=detail.code) from None


class _MomentField(_StrictField):
    reader = StrictDateTimeField()


class _UUIDField(_StrictField):
    reader = StrictUUIDField()


class _WholeNumberField(_StrictField):
    reader = StrictIntegerField(min_value=0)

    def to_python(self, value: Any) -> Any:
        is_plain = isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20
        return super().to_python(int(value) if is_plain else value)


class _ChoiceField(ChoiceField):
    def to_python(self, value: Any) -> Any:
        if value == "":
            raise forms.ValidationError(self.error_messages["invalid_choice"] % {"value": value}, code="invalid_choice")
        return super().to_python(value)


class ChoiceFilter(filters.ChoiceFilter):
    """One of a few words, spelled exactly."""

    field_class = _ChoiceField


class MomentFilter(filters.IsoDateTimeFilter):
    """ISO 8601 with seconds and an offset."""

    field_class = _MomentField


class UUIDFilter(filters.UUIDFilter):
    """A UUID in its canonical form."""

    field_class = _UUIDField


class WholeNumberFilter(filters.NumberFilter):
    """ASCII digits."""

    field_class = _WholeNumberField
