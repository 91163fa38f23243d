"""What two JSON readers could understand differently is refused before anyone reads it."""

from __future__ import annotations

import json
from io import BytesIO
from typing import Any

import pytest

from core.api.parsing import DEPTH_MAX, StrictJSONParser, UnusableNumber, parse_object
from core.api.problems import MalformedJSON, PayloadTooLarge, UnsupportedMediaType


def refusal(data: bytes) -> MalformedJSON:
    with pytest.raises(MalformedJSON) as caught:
        parse_object(data)
    assert caught.value.status == 400
    return caught.value


def test_reads_an_ordinary_object() -> None:
    assert parse_object(b'{"a": "1.50", "b": [true, null, 7, "\xc3\xa9"], "c": {"d": "\\ud83d\\ude00"}}') == {
        "a": "1.50",
        "b": [True, None, 7, "é"],
        "c": {"d": "😀"},
    }


@pytest.mark.parametrize(
    "data,position",
    [
        (b'{"a": 1', 7),
        (b'{"a": 1,}', 8),
        (b'{"a" 1}', 5),
        (b"{'a': 1}", 1),
        (b'{"a": 1} x', 9),
        (b'{"a": 1}{"b": 2}', 8),
        (b"", 0),
        (b"   ", 3),
        (b'{"a": 01}', 7),
        (b'{"a": .5}', 6),
        (b'{"a": +5}', 6),
        (b'{"a": 0x10}', 7),
        (b'{"a": \xef\xbc\x91}', 6),
        (b'{"a": "line\nbreak"}', 11),
        (b'{"a": "\x00"}', 7),
        (b'{"a": "\\x41"}', 7),
        (b'{"a": True}', 6),
        (b'{"a": undefined}', 6),
        (b"/* comment */ {}", 0),
    ],
)
def test_says_where_it_stopped_being_json(data: bytes, position: int) -> None:
    assert refusal(data).context["position"] == position


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity"])
def test_refuses_numbers_that_json_does_not_have(literal: str) -> None:
    error = refusal(f'{{"amount": {literal}}}'.encode())
    assert literal in error.context["reason"]
    assert error.context["position"] == 11


@pytest.mark.parametrize("literal", ["1.5", "1e400", "1E+2", "0.1", "-0.0", "-0", "1" * 20, "9" * 5_000, "-1e-9"])
def test_keeps_a_number_that_is_not_exact_as_unusable(literal: str) -> None:
    assert parse_object(f'{{"amount": {literal}}}'.encode()) == {"amount": UnusableNumber(literal)}


@pytest.mark.parametrize("data", [b'{"a":1,"a":2}', b'{"x":{"a":1,"b":2,"a":1}}', b'{"a":1,"\\u0061":2}'])
def test_refuses_a_name_that_appears_twice(data: bytes) -> None:
    error = refusal(data)
    assert "appears twice" in error.detail
    assert error.errors[0]["field"] == "a"


@pytest.mark.parametrize("document", ["[]", "[{}]", '"text"', "1", "1.5", "true", "null"])
def test_refuses_what_is_not_an_object(document: str) -> None:
    assert "not an object" in refusal(document.encode()).detail


def test_refuses_a_byte_order_mark() -> None:
    assert "byte-order mark" in refusal(b'\xef\xbb\xbf{"a": 1}').detail


@pytest.mark.parametrize(
    "data",
    [b'{"a": "\xe9"}', b"\xff\xfe{\x00}\x00", '{"a": 1}'.encode("utf-16"), b'{"a": "\xed\xa0\x80"}', b"\xc0\xaf"],
)
def test_refuses_what_is_not_utf8(data: bytes) -> None:
    assert "not UTF-8" in refusal(data).detail


@pytest.mark.parametrize(
    "data,field,position",
    [
        (b'{"name": "a\\u0000b"}', "name", 11),
        (b'{"list": ["ok", {"x": "\\u0000"}]}', "list.1.x", 23),
    ],
)
def test_refuses_nul_and_names_the_field(data: bytes, field: str, position: int) -> None:
    error = refusal(data)
    assert "NUL" in error.detail
    assert error.errors[0]["field"] == field
    assert error.context["position"] == position


@pytest.mark.parametrize(
    "data,position",
    [
        (b'{"name": "\\ud800"}', 10),
        (b'{"name": "\\udc00"}', 10),
        (b'{"name": "\\ud800\\ud800\\udc00"}', 10),
        (b'{"name": "\\ud83d\\ude00\\ude00"}', 22),
        (b'{"name": "\\ud800 \\udc00"}', 10),
        (b'{"name": "\\\\ud800 \\udfff"}', 18),
    ],
)
def test_refuses_half_a_surrogate_pair(data: bytes, position: int) -> None:
    error = refusal(data)
    assert "surrogate" in error.detail
    assert error.errors[0]["field"] == "name"
    assert error.context["position"] == position


def test_refuses_hostile_text_in_a_name_too() -> None:
    assert "NUL" in refusal(b'{"outer": {"a\\u0000": 1}}').detail
    assert "surrogate" in refusal(b'{"\\ud800": 1}').detail


def nested(levels: int, opening: str = '{"a":', closing: str = "}") -> bytes:
    return (opening * (levels - 1) + "{}" + closing * (levels - 1)).encode()


def test_accepts_the_deepest_allowed_nesting() -> None:
    assert parse_object(nested(DEPTH_MAX))


@pytest.mark.parametrize("levels", [DEPTH_MAX + 1, 100, 990, 1_000, 5_000, 10_000])
def test_refuses_deeper_nesting_however_deep(levels: int) -> None:
    error = refusal(nested(levels))
    assert "nested deeper" in error.detail
    assert error.context["position"] == 5 * DEPTH_MAX


def test_refuses_deep_arrays_whether_or_not_they_are_closed() -> None:
    assert "nested deeper" in refusal(b'{"a":' + b"[" * 60_000).detail
    assert "nested deeper" in refusal(b'{"a":' + b"[" * 30_000 + b"]" * 30_000 + b"}").detail


def test_a_bracket_inside_a_string_is_no_level() -> None:
    document = {"a": "[{" * 100}
    assert parse_object(json.dumps(document).encode()) == document


def parse(data: bytes, content_type: str) -> Any:
    return StrictJSONParser().parse(BytesIO(data), content_type)


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "application/json; charset=utf-8", 'Application/JSON; charset="UTF-8"', "application/json;"],
)
def test_reads_json_in_utf8(content_type: str) -> None:
    assert parse(b'{"a": 1}', content_type) == {"a": 1}


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "text/plain",
        "text/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/*",
        "*/*",
        "application/vnd.api+json",
        "application/json; charset=latin-1",
        "application/json; charset=utf-16",
        "application/json; charset=utf-7",
        "application/json; charset=",
        "application/jsonx",
    ],
)
def test_refuses_every_other_content_type(content_type: str) -> None:
    with pytest.raises(UnsupportedMediaType) as caught:
        parse(b'{"a": 1}', content_type)
    assert caught.value.status == 415


def test_refuses_a_body_over_the_limit(settings: Any) -> None:
    limit = settings.REQUEST_BODY_BYTES_MAX
    filler = b'{"a":"' + b"x" * (limit - 8) + b'"}'
    assert len(filler) == limit
    assert parse(filler, "application/json")
    with pytest.raises(PayloadTooLarge) as caught:
        parse(filler + b" ", "application/json")
    assert caught.value.status == 413


def test_answers_every_shortened_document_with_a_refusal() -> None:
    whole = json.dumps({"a": ["x\u0041", {"b": None, "c": [1, 2, "\u00e9😀"]}], "d": {"e": "\\", "f": True}}).encode()
    for end in range(len(whole)):
        refusal(whole[:end])
