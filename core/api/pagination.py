"""A page starts where the last one ended, by one unique column: nothing is skipped, repeated or counted."""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError as DjangoValidationError
from django.db.models import Field
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import remove_query_param, replace_query_param

from core.api.problems import field_error
from core.errors import DomainError, Malformed

LIMIT_DEFAULT = 50
LIMIT_MAX = 200

_SIGNATURE_BYTES = 12


class CursorInvalid(DomainError):
    code = "CURSOR_INVALID"
    message = "This cursor was not made by this list; take `next` and `previous` as they are, or start without one."
    status = 400


class KeysetPagination(BasePagination):
    """
    `{results, next, previous}`, where `next` and `previous` are complete URLs or null; `?limit=` is 1 to 200.

    The view may set `ordering` to another unique, never-null column ("wallet_version", "-number"); by default newest
    first, since ids are UUIDv7. A cursor is signed for the list's path and order, so it cannot be made up or carried
    to another list.

    :raises CursorInvalid: for a cursor that was not made here
    :raises Malformed: for a limit out of range
    """

    ordering = "-id"

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any]:
        ordering = getattr(view, "ordering", self.ordering)
        self.column = ordering.removeprefix("-")
        self.request = request
        self.signed_for = f"{request.path}\n{ordering}"
        field: Any = queryset.model._meta.pk if self.column == "pk" else queryset.model._meta.get_field(self.column)
        limit = page_limit(request.query_params)
        backwards, position = self._position(request.query_params.get("cursor"), field)

        ascending = (not ordering.startswith("-")) != backwards
        rows_after = queryset.order_by(self.column if ascending else f"-{self.column}")
        if position is not None:
            rows_after = rows_after.filter(**{f"{self.column}__{'gt' if ascending else 'lt'}": position})
        rows = list(rows_after[: limit + 1])
        more = len(rows) > limit
        rows = rows[:limit]
        if backwards:
            rows.reverse()
        self.next_row = rows[-1] if rows and (more or backwards) else None
        self.previous_row = rows[0] if rows and (more if backwards else position is not None) else None
        return rows

    def get_paginated_response(self, data: Any) -> Response:
        return Response(
            {
                "results": data,
                "next": self._link("n", self.next_row),
                "previous": self._link("p", self.previous_row),
            }
        )

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        link = {"type": "string", "nullable": True, "format": "uri"}
        return {
            "type": "object",
            "required": ["results", "next", "previous"],
            "properties": {"results": schema, "next": link, "previous": link},
        }

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        return [
            {
                "name": "cursor",
                "in": "query",
                "required": False,
                "description": "Part of `next` and `previous`; not to be made by hand.",
                "schema": {"type": "string"},
            },
            {
                "name": "limit",
                "in": "query",
                "required": False,
                "description": "Rows per page.",
                "schema": {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT},
            },
        ]

    def _link(self, direction: str, row: Any) -> str | None:
        if row is None:
            return None
        value = row[self.column] if isinstance(row, dict) else getattr(row, self.column)
        payload = f"{direction}{value}".encode()
        cursor = urlsafe_b64encode(_signature(self.signed_for, payload) + payload).rstrip(b"=").decode()
        url = self.request.build_absolute_uri()
        return str(replace_query_param(remove_query_param(url, "cursor"), "cursor", cursor))

    def _position(self, cursor: str | None, field: Field[Any, Any]) -> tuple[bool, Any]:
        if cursor is None:
            return False, None
        try:
            data = urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
        except (UnicodeEncodeError, Base64Error, ValueError):
            raise CursorInvalid from None
        signature, payload = data[:_SIGNATURE_BYTES], data[_SIGNATURE_BYTES:]
        if not hmac.compare_digest(signature, _signature(self.signed_for, payload)):
            raise CursorInvalid
        try:
            return payload[:1] == b"p", field.to_python(payload[1:].decode())
        except DjangoValidationError:  # signed by us for a column whose type has changed since
            raise CursorInvalid from None


def _signature(signed_for: str, payload: bytes) -> bytes:
    message = signed_for.encode() + b"\n" + payload
    return hmac.new(f"core.cursor:{settings.SECRET_KEY}".encode(), message, sha256).digest()[:_SIGNATURE_BYTES]


def whole_number(query: Any, name: str, *, default: int, low: int, high: int) -> int:
    """:raises Malformed: if the query's parameter is anything but ASCII digits of a number from `low` to `high`"""
    texts: Sequence[str] = query.getlist(name)
    if not texts:
        return default
    text = texts[-1]
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(high)) and low <= int(text) <= high):
        message = f"Use a whole number from {low} to {high}."
        raise Malformed(errors=[field_error(name, "OUT_OF_RANGE", message)])
    return int(text)


def page_limit(query: Any) -> int:
    """:raises Malformed: if `limit` is out of range"""
    return whole_number(query, "limit", default=LIMIT_DEFAULT, low=1, high=LIMIT_MAX)
