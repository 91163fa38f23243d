"""Every field of the API document gets everything that it should not: refused by its name, and nothing is written."""

from __future__ import annotations

import gzip
import json
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from core.api.parsing import NAME_CHARACTERS_MAX
from core.ids import uuid7
from tests import cast
from tests.abuse import hostile
from tests.abuse.hostile import Place, instead_of, named, places, too_many, with_text, without
from tests.abuse.routes import OPEN, ROOT, ROUTES, path
from tests.abuse.world import World, books, description, document, unsafe
from wallets import payments

#: Every operation with a body, by method and route.
WITH_BODY = [
    (method, route) for route, calls in ROUTES.items() for method in calls if method in {"POST", "PUT", "PATCH"}
]
JSON = "application/json"
Send = Callable[..., Any]


def operation(method: str, route: str) -> dict[str, Any]:
    spelled = re.sub(r"<\w+:(\w+)>", r"{\1}", route)
    found: dict[str, Any] = description()["paths"][f"/{ROOT}{spelled}"][method.lower()]
    return found


def components() -> dict[str, Any]:
    found: dict[str, Any] = description()["components"]["schemas"]
    return found


def fields(method: str, route: str) -> list[tuple[Place, hostile.Schema]]:
    """Every field of an operation's body; of one without a body only the body itself."""
    body = operation(method, route).get("requestBody")
    schema = body["content"][JSON]["schema"] if body else {"type": "object"}
    return list(places(schema, components()))


def sender(world: World, method: str, route: str) -> Send:
    """Who may do it, sending whatever bytes to it."""
    call, alice = ROUTES[route][method], world.alice
    api: Any = alice.who.api
    if call.scope == OPEN or call.visitors:
        api = cast.api_client()
    elif call.scope == "market_data":
        api = cast.market_data_client()

    def send(data: bytes, content_type: str | None = JSON, *, with_key: bool = True, **headers: str) -> Any:
        headers = ({"Idempotency-Key": str(uuid7())} if with_key else {}) | headers
        if route == "payments/webhook":
            now = str(int(time.time()))
            headers |= {payments.TIMESTAMP_HEADER: now, payments.SIGNATURE_HEADER: payments.sign(data, timestamp=now)}
        return api.generic(method, path(route, alice.ids), data, content_type=content_type, headers=headers)

    return send


def refusals(tried: Iterator[tuple[str, Any, int, str | None]]) -> tuple[list[str], int]:
    """What was answered otherwise than by the status and the field that belong to it, and how many were tried."""
    wrong, count = [], 0
    for what, response, status, field in tried:
        count += 1
        said = document(response)
        told = [error["field"] for error in said.get("errors", [])]
        if response.status_code != status or (field is not None and told != [field]) or unsafe(response):
            wrong.append(f"{what[:120]}: {response.status_code} {said.get('code')} {told} {unsafe(response)}")
    return wrong, count


def written(method: str, route: str, before: dict[str, str]) -> list[str]:
    """The tables that have changed; what a feed got wrong is put down for staff to see."""
    allowed = {"trading_quotealert", "trading_priceclock"} if route == "quotes" else set()
    return [table for table, digest in books().items() if digest != before[table] and table not in allowed]


# --- Values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method,route", WITH_BODY)
def test_a_value_that_is_none_is_refused_by_the_name_of_its_field(world: World, method: str, route: str) -> None:
    send, body, before = sender(world, method, route), ROUTES[route][method].body(world.alice), books()

    def tried() -> Iterator[tuple[str, Any, int, str | None]]:
        for at, schema in fields(method, route):
            texts = [*instead_of(schema), *([too_many(body, at, schema)] if schema["type"] == "array" else [])]
            for text in texts:
                yield f"{named(at)} = {text}", send(with_text(body, at, text)), 400, named(at) or None

    wrong, count = refusals(tried())
    assert wrong == []
    assert count >= 10
    assert written(method, route, before) == []


@pytest.mark.parametrize("method,route", WITH_BODY)
def test_fields_that_are_missing_unknown_or_there_twice_are_refused_by_name(
    world: World, method: str, route: str
) -> None:
    send, body, before = sender(world, method, route), ROUTES[route][method].body(world.alice), books()

    def tried() -> Iterator[tuple[str, Any, int, str | None]]:
        for at, schema in fields(method, route):
            for name in schema.get("required", ()):
                yield f"no {name}", send(without(body, (*at, name))), 400, named((*at, name))
            for name in UNKNOWN if schema["type"] == "object" else ():
                yield name, send(with_text(body, (*at, name), '"1"')), 400, named((*at, name[:NAME_CHARACTERS_MAX]))
            if at and isinstance(at[-1], str):
                twice = with_text(body, at, f'"x", {json.dumps(at[-1])}: "x"')
                yield f"{named(at)} twice", send(twice), 400, at[-1]

    assert refusals(tried())[0] == []
    assert written(method, route, before) == []


#: What might be taken over where a body is taken as it is.
UNKNOWN: tuple[str, ...] = (
    "owner",
    "owner_id",
    "id",
    "is_staff",
    "is_superuser",
    "balance",
    "verification",
    "verified",
    "status ",
)
UNKNOWN += ("created_at", "__class__", "__proto__", "constructor", "", "pk", "Amount", "％", "a.b", "a" * 200, "$where")


def test_the_document_says_that_there_are_no_other_fields() -> None:
    for method, route in WITH_BODY:
        for at, schema in fields(method, route):
            if "properties" in schema:
                assert schema.get("additionalProperties") is False, (method, route, at)


# --- Bodies -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method,route", WITH_BODY)
def test_a_body_that_is_none_is_refused(world: World, method: str, route: str) -> None:
    send, before = sender(world, method, route), books()
    right = json.dumps(ROUTES[route][method].body(world.alice)).encode()
    large = b" " * (64 * 1024 + 1 - len(right)) + right
    deep = b'{"a": ' + b"[" * 30 + b"]" * 30 + b"}"
    deeper = b'{"a": ' * 5_000 + b"1" + b"}" * 5_000

    def tried() -> Iterator[tuple[str, Any, int, str | None]]:
        for data in (b"[]", b'"x"', b"1", b"null", b"{", b"{}{}", b"\xff{}", b"\xef\xbb\xbf" + right, deep, deeper):
            yield repr(data[:20]), send(data), 400, None
        for data in (b'{"a": NaN}', b'{"a": -Infinity}', b"{'a': 1}", b"{a: 1}", b'{"a": 1,}', b'{"a": 01}'):
            yield repr(data), send(data), 400, None
        yield "large", send(large), 413, None
        yield "packed", send(gzip.compress(right), **{"Content-Encoding": "gzip"}), 400, None
        for kind in OTHER_TYPES:
            yield kind, send(right, kind), 415, None
        for charset in ("utf-16", "latin-1", "utf-7", "shift_jis", "no-such"):
            yield charset, send(right, f"{JSON}; charset={charset}"), 415, None

    assert refusals(tried())[0] == []
    assert written(method, route, before) == []


OTHER_TYPES = (
    "text/plain", "text/json", "application/xml", "application/jsonx", "application/vnd.api+json", "application/*", "x",
    "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "; charset=utf-8",
)  # fmt: skip
