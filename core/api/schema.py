"""The API document says what each refusal is called, because a client's programmer needs that more than a schema."""

from __future__ import annotations

import functools
import re
from collections import defaultdict
from types import SimpleNamespace
from typing import Any

from drf_spectacular.extensions import OpenApiSerializerExtension, OpenApiSerializerFieldExtension
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import build_mock_request
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers
from rest_framework.permissions import SAFE_METHODS

from core.api.fields import (
    DecimalText,
    SecretField,
    StrictBooleanField,
    StrictChoiceField,
    StrictDateField,
    StrictDateTimeField,
    StrictIntegerField,
    StrictUUIDField,
    Terms,
    TextField,
)
from core.api.permissions import HasScope
from core.api.problems import (
    PROBLEM_TYPE,
    MalformedJSON,
    NotAcceptable,
    PayloadTooLarge,
    ScopeMissing,
    UnknownField,
    UnsupportedMediaType,
)
from core.api.views import OperationView
from core.db import ClaimHeldElsewhere
from core.errors import (
    REGISTRY,
    Contended,
    DatabaseUnavailable,
    DeadlineExceeded,
    DomainError,
    Internal,
    Malformed,
    NotFound,
    OutcomeUnknown,
    Unavailable,
)
from core.idempotency import (
    IdempotencyKeyExpired,
    IdempotencyKeyInvalid,
    IdempotencyKeyRequired,
    IdempotencyKeyReused,
)
from core.ids import HOUSE
from core.throttling import RateLimited

#: What any request can meet, and what comes with a body, a token, a path, a throttle, a key.
ANYWHERE: tuple[type[DomainError], ...] = (
    Malformed,
    Internal,
    Unavailable,
    DatabaseUnavailable,
    DeadlineExceeded,
)
WITH_BODY = (MalformedJSON, UnknownField, PayloadTooLarge, UnsupportedMediaType)
WITH_KEY = (
    IdempotencyKeyRequired,
    IdempotencyKeyInvalid,
    IdempotencyKeyReused,
    IdempotencyKeyExpired,
    ClaimHeldElsewhere,
    Contended,
    OutcomeUnknown,
)

IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    {"type": "string", "minLength": 16, "maxLength": 128, "pattern": "^[A-Za-z0-9._:-]{16,128}$"},
    OpenApiParameter.HEADER,
    required=True,
    description="One key per intent: make it, store it, send it, and send it again until there is an answer.",
)
IDEMPOTENT_REPLAYED = OpenApiParameter(
    "Idempotent-Replayed",
    {"type": "string", "enum": ["true", "false"]},
    OpenApiParameter.HEADER,
    description="`true` when this is the stored answer to an earlier request with the same key.",
    response=[200, 201, 202],
)


class FieldRefusal(serializers.Serializer[Any]):
    """One field that was not acceptable."""

    field = serializers.CharField(help_text="The path of the field, such as `quotes.3.bid`.")
    code = serializers.CharField()
    message = serializers.CharField()


class ProblemDocument(serializers.Serializer[Any]):
    """RFC 9457, with `code` as the stable name of the refusal and its numbers in `context`."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    instance = serializers.CharField()
    code = serializers.CharField()
    errors = FieldRefusal(many=True)  # type: ignore[assignment]  # a field of this name, not the serializer's own errors
    context = serializers.DictField()  # type: ignore[assignment]  # likewise
    request_id = serializers.CharField()


class RefusalEntry(serializers.Serializer[Any]):
    """One refusal of the catalogue."""

    code = serializers.CharField()
    status = serializers.IntegerField()
    title = serializers.CharField()
    message = serializers.CharField()
    final = serializers.BooleanField(help_text="Stored under the Idempotency-Key: asking again gives the same answer.")
    retry = serializers.CharField(help_text="What to do with the same request and the same key.")


class RefusalCatalogue(serializers.Serializer[Any]):
    results = RefusalEntry(many=True)


class DeskSchema(AutoSchema):
    """
    Reads our views: an operation's key, terms and receipt, who may call it, and every refusal it can give.

    A view's `refusals` add to those that follow from its kind.
    """

    view: Any

    def get_tags(self) -> list[str]:
        return [type(self.view).__module__.partition(".")[0]]

    def get_operation_id(self) -> str:
        name: str = super().get_operation_id()
        is_whole_list = self.method == "DELETE" and not self.path.endswith("}")
        return name.replace("_destroy", "_clear") if is_whole_list else name

    def get_auth(self) -> list[dict[str, Any]]:
        return [{"bearer": []}] if self._is_closed() else []

    def get_override_parameters(self) -> list[Any]:
        return [IDEMPOTENCY_KEY, IDEMPOTENT_REPLAYED] if self._is_operation() else []

    def get_request_serializer(self) -> Any:
        return self.view.terms if self._is_operation() else super().get_request_serializer()

    def get_response_serializers(self) -> Any:
        if not self._is_operation():
            return super().get_response_serializers()
        return {self.view.success_status: self.view.receipt or OpenApiTypes.OBJECT}

    def _get_response_bodies(self, direction: Any = "response") -> dict[str, Any]:
        bodies: dict[str, Any] = super()._get_response_bodies(direction)
        document = self.resolve_serializer(ProblemDocument, "response").ref
        by_status: dict[int, list[type[DomainError]]] = defaultdict(list)
        for refusal in self._refusals():
            by_status[refusal.status].append(refusal)
        for status, refusals in sorted(by_status.items()):
            lines = [f"* `{refusal.code}`: {refusal.message}" for refusal in refusals]
            body = {"description": "\n".join(lines), "content": {PROBLEM_TYPE: {"schema": document}}}
            bodies.setdefault(str(status), body)
        return bodies

    def _refusals(self) -> list[type[DomainError]]:
        found = list(ANYWHERE)
        if self.method in {"POST", "PUT", "PATCH"}:
            found += WITH_BODY
        if self._is_closed():
            found += [refusal for _, refusal in sorted(REGISTRY.items()) if refusal.status == 401]
            found += [ScopeMissing]
        if "{" in self.path:
            found += [NotFound]
        if getattr(self.view, "throttle_scope", None) and self.method not in SAFE_METHODS:
            found += [RateLimited]
        if self._is_operation():
            found += WITH_KEY
        else:
            found += [NotAcceptable]
        found += getattr(self.view, "refusals", ())
        return list(dict.fromkeys(found))

    def _is_operation(self) -> bool:
        return isinstance(self.view, OperationView) and self.method == "POST"

    def _is_closed(self) -> bool:
        return HasScope in self.view.permission_classes


def mock_request(method: str, path: str, view: Any, original_request: Any, **kwargs: Any) -> Any:
    """The request with which the document's generator asks a view about itself: somebody is signed in."""
    request = build_mock_request(method, path, view, original_request, **kwargs)
    request.user = SimpleNamespace(id=HOUSE, pk=HOUSE, is_authenticated=True)
    return request


class CachedGenerator(SchemaGenerator):
    """The document is the same for everybody and takes a second to make: once per process."""

    def get_schema(self, request: Any = None, public: bool = False) -> dict[str, Any]:
        return _document()


@functools.cache
def _document() -> dict[str, Any]:
    document: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)
    return document


# How our terms and their fields read in the document.


class _TermsExtension(OpenApiSerializerExtension):
    """There are no other fields than those that are named; a docstring that is the base's describes nothing."""

    target_class = Terms
    match_subclasses = True

    def map_serializer(self, auto_schema: Any, direction: Any) -> dict[str, Any]:
        schema: dict[str, Any] = auto_schema._map_serializer(  # noqa: SLF001 - as the library's own extensions do
            self.target, direction, bypass_extensions=True
        )
        if type(self.target).__doc__ is None:
            schema.pop("description", None)
        return {**schema, "additionalProperties": False}


class _DecimalExtension(OpenApiSerializerFieldExtension):
    target_class = DecimalText
    match_subclasses = True

    def map_serializer_field(self, auto_schema: Any, direction: Any) -> dict[str, Any]:
        return {"type": "string", "format": "decimal", "pattern": _pattern(self.target.spelling)}


class _TextExtension(OpenApiSerializerFieldExtension):
    target_class = TextField
    match_subclasses = True

    def map_serializer_field(self, auto_schema: Any, direction: Any) -> dict[str, Any]:
        schema = {"type": "string", "maxLength": self.target.max_length}
        shortest = self.target.min_length or (0 if self.target.allow_blank else 1)
        if shortest and direction == "request":  # what is shown may be empty: nobody has filled it in yet
            schema["minLength"] = shortest
        if self.target.pattern is not None:
            schema["pattern"] = f"^(?:{self.target.pattern.pattern})$"
        return schema


class _SecretExtension(OpenApiSerializerFieldExtension):
    target_class = SecretField

    def map_serializer_field(self, auto_schema: Any, direction: Any) -> dict[str, Any]:
        return {"type": "string", "format": "password", "minLength": 1, "maxLength": self.target.max_length}


class _IntegerExtension(OpenApiSerializerFieldExtension):
    target_class = StrictIntegerField
    match_subclasses = True

    def map_serializer_field(self, auto_schema: Any, direction: Any) -> dict[str, Any]:
        return {"type": "integer", "minimum": self.target.min_value, "maximum": self.target.max_value}


class _ChoiceExtension(OpenApiSerializerFieldExtension):
    target_class = StrictChoiceField
    match_subclasses = True

    def map_serializer_field(self, auto_schema: Any, direction: Any) -> dict[str, Any]:
        return {"type": "string", "enum": list(self.target.choices)}


class _BooleanExtension(OpenApiSerializerFieldExtension):
    target_class = StrictBooleanField

    def map_serializer_field(self, auto_schema: Any, direction: Any) -> dict[str, Any]:
        return {"type": "boolean"}


class _UUIDExtension(OpenApiSerializerFieldExtension):
    target_class = StrictUUIDField

    def map_serializer_field(self, auto_schema: Any, direction: Any) -> dict[str, Any]:
        return {"type": "string", "format": "uuid"}


class _DateTimeExtension(OpenApiSerializerFieldExtension):
    target_class = StrictDateTimeField

    def map_serializer_field(self, auto_schema: Any, direction: Any) -> dict[str, Any]:
        return {"type": "string", "format": "date-time"}


class _DateExtension(OpenApiSerializerFieldExtension):
    target_class = StrictDateField

    def map_serializer_field(self, auto_schema: Any, direction: Any) -> dict[str, Any]:
        return {"type": "string", "format": "date"}


def _pattern(spelling: re.Pattern[str]) -> str:
    return spelling.pattern.replace(r"\A", "^").replace(r"\Z", "$")
