"""A body has one meaning or none: what two readers could understand differently is refused before anyone reads it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, Any, NoReturn

from django.conf import settings
from django.utils.http import parse_header_parameters
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer

from core.api.problems import PROBLEM_TYPE, MalformedJSON, PayloadTooLarge, UnsupportedMediaType, field_error
from core.errors import plain

DEPTH_MAX = 20

#: Longer whole numbers than this have no use here, and only cost time to read.
INTEGER_CHARACTERS_MAX = 19

#: How much of a name that a client made up is said back to it.
NAME_CHARACTERS_MAX = 64


@dataclass(frozen=True, slots=True)
class UnusableNumber:
    """A JSON number that no field accepts: fractional (two readers round it differently), -0, or too long."""

    literal: str


class StrictJSONParser(BaseParser):
    """
    UTF-8 JSON objects without duplicate names, NaN, NUL, lone surrogates, a byte-order mark or deep nesting.

    Numbers other than whole ones arrive as `UnusableNumber`, so that the field that got one is named.
    """

    media_type = "application/json"

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        if media_type != self.media_type:
            require_json_type(media_type or "")
        data = stream.read(settings.REQUEST_BODY_BYTES_MAX + 1)
        if len(data) > settings.REQUEST_BODY_BYTES_MAX:
            raise PayloadTooLarge(max=settings.REQUEST_BODY_BYTES_MAX)
        return parse_object(data)


def require_json_type(content_type: str) -> None:
    """
    Refuse any content type but `application/json`, with no charset or that of UTF-8.

    :raises UnsupportedMediaType: otherwise
    """
    kind, parameters = parse_header_parameters(content_type)
    charset = parameters.pop("charset", "utf-8").strip().lower()
    if kind.strip().lower() != "application/json" or charset not in {"utf-8", "utf8"}:
        raise UnsupportedMediaType


def parse_object(data: bytes) -> dict[str, Any]:
    """
    The JSON object in `data`.

    :raises MalformedJSON: saying what is wrong and where, with the field named where there is one
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        _refuse("it is not UTF-8", error.start)
    if text.startswith("\ufeff"):
        _refuse("it starts with a byte-order mark", 0)
    try:
        document = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        _refuse(error.msg[0].lower() + error.msg[1:], error.pos)
    except RecursionError:
        _refuse(f"it is nested deeper than {DEPTH_MAX} levels", _position_of_depth(text))
    except _Duplicate as error:
        name = error.name[:NAME_CHARACTERS_MAX]
        _refuse(f"the name {name!r} appears twice in one object", _position_of_name(text, error.name), name)
    except _NotANumber as error:
        _refuse(f"{error.literal} is not a JSON number", max(0, text.find(error.literal)))
    if type(document) is not dict:
        _refuse("it is not an object", 0)
    _require_sane(document, text)
    return document


class _Duplicate(Exception):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class _NotANumber(Exception):
    def __init__(self, literal: str) -> None:
        super().__init__(literal)
        self.literal = literal


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise _Duplicate(name)
            seen.add(name)
    return document


def _integer(literal: str) -> int | UnusableNumber:
    if len(literal) > INTEGER_CHARACTERS_MAX or literal == "-0":
        return UnusableNumber(literal)
    return int(literal)


def _constant(literal: str) -> NoReturn:
    raise _NotANumber(literal)


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=UnusableNumber, parse_int=_integer, parse_constant=_constant
)


def _require_sane(document: dict[str, Any], text: str) -> None:
    """Refuse what is too deep, and text that PostgreSQL or UTF-8 cannot hold; only escapes can smuggle it in."""
    has_escapes = "\\u" in text
    waiting: list[tuple[Any, int, str]] = [(document, 1, "")]
    while waiting:
        value, depth, path = waiting.pop()
        kind = type(value)
        if kind is str:
            if has_escapes:
                _require_text(value, path, text)
        elif kind is dict or kind is list:
            if depth > DEPTH_MAX:
                _refuse(f"it is nested deeper than {DEPTH_MAX} levels", _position_of_depth(text), path)
            named = value.items() if kind is dict else enumerate(value)
            for name, inner in named:
                if has_escapes and type(name) is str:
                    _require_text(name, path, text)
                waiting.append((inner, depth + 1, f"{path}.{name}" if path else str(name)))


def _require_text(value: str, path: str, text: str) -> None:
    if "\x00" in value:
        _refuse("it has a NUL character", _position_of_escape(text, nul=True), path)
    try:
        value.encode()
    except UnicodeEncodeError:
        _refuse("it has half of a surrogate pair", _position_of_escape(text, nul=False), path)


def _refuse(reason: str, position: int, field: str = "") -> NoReturn:
    errors = [field_error(field, MalformedJSON.code, reason)] if field else []
    raise MalformedJSON(errors=errors, reason=reason, position=position)


# Positions are looked for only once there is something to complain about.

_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|.)", re.DOTALL)


def _position_of_depth(text: str) -> int:
    depth = 0
    for match in _STRING_OR_BRACKET.finditer(text):
        if match[0] in "[{":
            depth += 1
            if depth > DEPTH_MAX:
                return match.start()
        elif match[0] in "]}":
            depth -= 1
    return len(text)


def _position_of_name(text: str, name: str) -> int:
    """Where the name stands for the second time; good enough for a message, as the name itself is given too."""
    quoted = json.dumps(name, ensure_ascii=False)
    return max(0, text.find(quoted, text.find(quoted) + 1))


def _position_of_escape(text: str, *, nul: bool) -> int:
    high: re.Match[str] | None = None
    for match in _ESCAPE.finditer(text):
        unit = int(match[1], 16) if match[1] else 0x20
        is_second = high is not None and high.end() == match.start() and 0xDC00 <= unit <= 0xDFFF
        if nul and unit == 0:
            return match.start()
        if not nul and high is not None and not is_second:
            return high.start()
        if not nul and 0xDC00 <= unit <= 0xDFFF and not is_second:
            return match.start()
        high = match if 0xD800 <= unit <= 0xDBFF else None
    return high.start() if high is not None and not nul else 0


class ProblemAwareJSONRenderer(BaseRenderer):
    """Compact JSON in which amounts and ids are strings and a problem document has its own content type."""

    media_type = "application/json"
    format = "json"
    charset = None  # JSON is UTF-8 by definition; a charset parameter has no meaning for it
    render_style = "text"

    def render(
        self, data: Any, accepted_media_type: str | None = None, renderer_context: Mapping[str, Any] | None = None
    ) -> bytes:
        if data is None:
            return b""
        response = (renderer_context or {}).get("response")
        if response is not None and response.status_code >= 400:
            response.headers["Content-Type"] = PROBLEM_TYPE
        return json.dumps(plain(data), separators=(",", ":"), allow_nan=False).encode()
