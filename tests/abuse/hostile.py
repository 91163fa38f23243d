"""What somebody might send instead of a value, by what the API document says of it: as text that is put into a body."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

Schema = Mapping[str, Any]

#: One of every JSON kind, and numbers that two readers may understand differently.
OF_ANY_KIND = {
    "null": ["null"],
    "boolean": ["true", "false"],
    "integer": ["0", "7", "-1"],
    "number": ["1.5", "1e2", "1e400", "-0", "-0.0", "123456789012345678901234567890"],
    "string": ['""', '"7"', '"true"', '"null"'],
    "array": ["[]", "[null]", '["a"]', "[[]]"],
    "object": ["{}", '{"a": 1}'],
}
#: Text that no database or no UTF-8 can hold, as only escapes can smuggle it in.
UNSTORABLE = [r'"\u0000"', r'"a\u0000b"', r'"\ud800"', r'"\udc00a"', r'"\ud83d\ud83d"']

DECIMALS = """
    NaN sNaN nan Infinity -Infinity inf 1e400 1E+2 1e2 -0 -1 -0.01 +5 1_000 1,000 1.000,00 5. .5 05 00 0x10 0b1 five
    1/2 ５ １２.５ ١٢٣ ५ ² ½ Ⅷ 5% $5 1e-7 5.5.5 --5 1٫5
""".split()
UUIDS = [
    "1",
    "01890a5dac96774bbcceb302099a8057",
    "{01890a5d-ac96-774b-bcce-b302099a8057}",
    "01890A5D-AC96-774B-BCCE-B302099A8057",
    "urn:uuid:01890a5d-ac96-774b-bcce-b302099a8057",
    "01890a5d-ac96-774b-bcce-b302099a805",
    "01890a5d-ac96-774b-bcce-b302099a80577",
    "01890a5d-ac96-774b-bcce-b302099a805g",
    "01890a5d_ac96_774b_bcce_b302099a8057",
    "０1890a5d-ac96-774b-bcce-b302099a8057",
    "' OR 1=1 --",
]
DATES = [
    "2026-02-30",
    "2026-13-01",
    "0000-01-01",
    "2026-1-1",
    "20260101",
    "2026-W01-1",
    "01/02/2026",
    "2026-01-01T00:00:00Z",
    "２０２６-01-01",
    "-2026-01-01",
    "today",
    "1767225600",
]
MOMENTS = [
    "2026-01-01",
    "2026-01-01T00:00:00",
    "2026-01-01 00:00:00Z",
    "2026-01-01T00:00Z",
    "2026-01-01t00:00:00z",
    "2026-02-30T00:00:00Z",
    "2026-01-01T25:00:00Z",
    "2026-01-01T00:00:61Z",
    "2026-01-01T00:00:00+25:00",
    "2026-01-01T00:00:00+0100",
    "2026-01-01T00:00:00 UTC",
    "0000-01-01T00:00:00Z",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00",
    "10000-01-01T00:00:00Z",
    "２０２６-01-01T00:00:00Z",
    "now",
    "1767225600",
]
#: Not text that a person could read, or that would look like other text to staff.
UNREADABLE = ["a\x07b", "a\nb", "a\r\nb", "a\tb", "\x1b[2K", "a\x7fb", "a\x85b", "a\u2028b", "a\u202eb", "a\u2066b"]
UNREADABLE += ["a\u200bb", "\ufeffa", "a\ue000b", "a\uffffb", "a\u0378b", " a", "a ", "\u00a0a", "a\u3000", " "]


def resolved(schema: Schema, components: Schema) -> Schema:
    """The schema itself, where there is only a reference to it."""
    reference = schema.get("$ref")
    return resolved(components[reference.rpartition("/")[2]], components) if reference else schema


def instead_of(schema: Schema) -> Iterator[str]:
    """What has to be refused in place of a value of this schema, as JSON."""
    kind = schema["type"]
    for other, texts in OF_ANY_KIND.items():
        if other != kind and not (other == "null" and schema.get("nullable")):
            yield from texts
    yield from {"string": _texts, "integer": _integers, "array": _arrays}.get(kind, _nothing)(schema)


def _nothing(_schema: Schema) -> Iterator[str]:
    yield from ()


def _integers(schema: Schema) -> Iterator[str]:
    yield from (str(schema["minimum"] - 1), str(schema["maximum"] + 1), str(10**18), str(-(10**30)))


def _arrays(schema: Schema) -> Iterator[str]:
    if schema.get("minItems"):
        yield "[]"


def _texts(schema: Schema) -> Iterator[str]:
    yield from UNSTORABLE
    yield from (json.dumps(text) for text in words(schema))


def words(schema: Schema) -> Iterator[str]:
    """Strings that are none of this schema."""
    if "enum" in schema:
        for choice in schema["enum"][:2]:
            yield from (choice.swapcase(), f" {choice}", f"{choice} ", choice[:-1], f"{choice}\n")
        yield from ("", "nonsense", "0", "Ａ")
    elif schema.get("format") == "decimal":
        yield from DECIMALS
        yield from ("", " 5", "5 ", "5\n", "\t5", "\u00a05", "1" * 21, "9" * 5_000)
        yield from _digits(schema["pattern"])
    elif schema.get("format") in FORMATS:
        example = FORMATS[schema["format"]]
        yield from ("", f" {example[-1]}", *example)
    elif schema.get("format") == "password":
        yield from ("", "x" * (schema["maxLength"] + 1))
    else:
        yield from UNREADABLE
        if schema.get("minLength"):
            yield ""
        if "maxLength" in schema:
            yield from ("x" * (schema["maxLength"] + 1), "x" * 5 * schema["maxLength"], "é" * 5_000)


FORMATS = {"uuid": UUIDS, "date": DATES, "date-time": MOMENTS}


def _digits(pattern: str) -> Iterator[str]:
    """One digit more than there may be before and behind the point."""
    before, behind = re.findall(r"\{[01],(\d+)\}", pattern)
    yield "1" * (int(before) + 2)
    yield "0." + "1" * (int(behind) + 1)


# --- Where it can be put ----------------------------------------------------------------------------------------------

Place = tuple[str | int, ...]


def places(schema: Schema, components: Schema, at: Place = ()) -> Iterator[tuple[Place, Schema]]:
    """Every field of a body, at any depth; of a list its first item. The body itself comes first."""
    schema = resolved(schema, components)
    yield at, schema
    for name, inner in schema.get("properties", {}).items():
        yield from places(inner, components, (*at, name))
    if schema["type"] == "array":
        yield from places(schema["items"], components, (*at, 0))


MARK = "\N{PLACE OF INTEREST SIGN}"


def too_many(body: Any, at: Place, schema: Schema) -> str:
    """One more of a list's first item than there may be."""
    for step in (*at, 0):
        body = body[step]
    return json.dumps([body] * (schema["maxItems"] + 1))


def with_text(body: Any, at: Place, text: str) -> bytes:
    """The body as JSON, with this text in place of one of its values."""
    return json.dumps(_put(body, at)).replace(json.dumps(MARK), text).encode()


def _put(body: Any, at: Place) -> Any:
    if not at:
        return MARK
    first, *rest = at
    if isinstance(body, list):
        return [_put(body[0], tuple(rest)), *body[1:]]
    return {**body, first: _put(body.get(first, {}), tuple(rest))}


def without(body: Any, at: Place) -> bytes:
    """The body as JSON without one of its fields."""
    marked = with_text(body, at, json.dumps(MARK)).decode()

    def dropped(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        return {name: value for name, value in pairs if value != MARK}

    return json.dumps(json.loads(marked, object_pairs_hook=dropped)).encode()


def named(at: Place) -> str:
    """The place as a problem document names it."""
    return ".".join(map(str, at))
