"""Addresses, filters and headers are input too: what is none is refused or not found, and never an error of ours."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from itertools import product
from typing import Any
from urllib.parse import quote

import pytest

from tests.abuse.hostile import words
from tests.abuse.routes import ROOT, ROUTES, path
from tests.abuse.test_hostile_fields import JSON, WITH_BODY, operation, refusals, sender
from tests.abuse.world import World, books

LISTS = [route for route, calls in ROUTES.items() if "GET" in calls]
DETAILS = [route for route in ROUTES if "<" in route]

#: Percent-encoded: half a surrogate pair, an overlong slash, Latin-1, and a sign that is cut off.
BROKEN = ("%ED%A0%80", "%C0%AF", "%E9", "%E2%82", "%")
INTEGERS = ("-1", "1.5", "1e2", "+1", " 1", "0x1", "１", "٣", "x", "NaN", "1_0", "9" * 30, "9" * 5_000)


def hostile_values(schema: Any) -> tuple[list[str], int]:
    """What is put into a filter, encoded, and what it is answered with."""
    if schema["type"] == "integer":
        beyond = [str(schema[edge] + step) for edge, step in (("minimum", -1), ("maximum", 1)) if edge in schema]
        return [quote(value) for value in (*INTEGERS, *beyond)] + [*BROKEN, "%00"], 400
    if "enum" in schema or "format" in schema:
        return [quote(value) for value in words(schema)] + [*BROKEN, "%00"], 400
    return [quote(value) for value in words(schema) if len(value) < 2_000] + list(BROKEN), 200


@pytest.mark.parametrize("route", LISTS)
def test_a_filter_that_makes_no_sense_is_refused_by_its_name(world: World, route: str) -> None:
    alice, before = world.alice, books()

    def tried() -> Iterator[tuple[str, Any, int, str | None]]:
        for parameter in operation("GET", route).get("parameters", []):
            if parameter["in"] != "query" or parameter["name"] in {"cursor", "format"}:
                continue
            name = parameter["name"]
            values, status = hostile_values(parameter["schema"])
            for value in values:
                response = alice.who.api.get(f"{path(route, alice.ids)}?{name}={value}")
                yield f"{name}={value}", response, status, name if status == 400 else None
            nul = alice.who.api.get(f"{path(route, alice.ids)}?{name}=a%00b")
            yield f"{name} with NUL", nul, 400, name

    assert refusals(tried())[0] == []
    assert books() == before


def test_the_first_and_the_last_of_all_moments_are_moments(world: World) -> None:
    alice, met = world.alice, 0
    for route in LISTS:
        for parameter in operation("GET", route).get("parameters", []):
            for moment in ENDS if parameter["schema"].get("format") == "date-time" else ():
                response = alice.who.api.get(path(route, alice.ids), {parameter["name"]: moment})
                assert response.status_code == 200, (route, parameter["name"], moment)
                met += 1
    assert met > 30


ENDS = ("0001-01-01T00:00:00Z", "1969-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z")


def pages() -> list[str]:
    """The lists that come in pages."""
    return [route for route in LISTS if '"name": "cursor"' in json.dumps(operation("GET", route))]


def test_a_parameter_that_no_list_knows_is_refused_by_its_name(world: World) -> None:
    for route in pages():
        for name in ("staus", "owner", "owner_id", "user", "id", "page", "limit[]", "Status", "status__in", "x" * 64):
            response = world.alice.who.api.get(path(route, world.alice.ids), {name: "1", "limit": "5"})
            said = response.json()
            assert (response.status_code, said["code"]) == (400, "UNKNOWN_FIELD"), (route, name)
            assert [error["field"] for error in said["errors"]] == [name]


def test_a_cursor_that_was_not_given_out_is_refused(world: World) -> None:
    for address, cursor in product([path(route, world.alice.ids) for route in pages()], CURSORS):
        response = world.alice.who.api.get(f"{address}?cursor={cursor}")
        assert (response.status_code, response.json()["code"]) == (400, "CURSOR_INVALID"), (address, cursor)


def forged(position: str) -> str:
    """A cursor for where one would like to begin, but for its signature."""
    return urlsafe_b64encode(b"signature of" + f"n{position}".encode()).rstrip(b"=").decode()


CURSORS: tuple[str, ...] = (
    "x",
    "AAAA",
    "A" * 200,
    "%00",
    "é",
    "%ED%A0%80",
    "bnx4",
    "-1",
    "1%20OR%201=1",
    "A" * 8_000,
    "",
)
CURSORS += (forged("2"), forged("01890a5d-ac96-774b-bcce-b302099a8057"))


IDS = (
    "0", "-1", "null", "undefined", "NaN", "%00", "a%00b", "%ED%A0%80", "%E9", "..%2Fetc%2Fpasswd", "%2e%2e",
    "01890A5D-AC96-774B-BCCE-B302099A8057", "01890a5dac96774bbcceb302099a8057", "urn:uuid:01890a5d-ac96-774b-bcce",
    "01890a5d-ac96-774b-bcce-b302099a8057%20", "%D9%A1", "%EF%BC%97", "' OR 1=1 --", "1;DROP TABLE wallets_entry",
    "9" * 40, "9" * 4_000, "W1%0a", "%E2%80%AEW1", "a/b", "a%2Fb", "?", "#", "me", "__class__", "{0}", "%7B%7D", "*",
)  # fmt: skip


@pytest.mark.parametrize("route", DETAILS)
def test_an_address_that_names_nothing_is_not_found(world: World, route: str) -> None:
    """Whatever its spelling; a method that is not there may be said to be that."""
    before = books()
    prefix, _, rest = route.partition("<")
    suffix = rest.partition(">")[2]

    def tried() -> Iterator[tuple[str, Any, int, str | None]]:
        for method, call in ROUTES[route].items():
            for value in IDS:
                address = f"/{ROOT}{prefix}{value}{suffix}"
                response = world.alice.who.api.generic(
                    method,
                    address,
                    "" if method == "GET" else json.dumps(call.body(world.alice)),
                    content_type=JSON,
                    headers={"Idempotency-Key": "a-key-of-some-length"},
                )
                is_elsewhere = response.status_code in {200, 400, 405} and value in {"?", "#", "me"}
                yield f"{method} {address[:80]}", response, response.status_code if is_elsewhere else 404, None

    assert refusals(tried())[0] == []
    assert books() == before


KEYS = (
    None, "", "short", "a" * 15, "a" * 129, "a" * 8_000, "a key with some blanks in it", '"half-quoted-and-long-enough',
    'half-quoted-and-long-enough"', "'single-quoted-and-long'", "semi;colons;in;the;key;", "k\u00e9y-of-latin-letters",
    "two-of-them-here,two-of-them-here", "\ttabs-around-the-key-here\t", "null\x00in-the-middle-of-it", "*" * 20,
)  # fmt: skip


@pytest.mark.parametrize(
    "method,route",
    [(method, route) for method, route in WITH_BODY if "Idempotency-Key" in json.dumps(operation(method, route))],
)
def test_a_key_that_is_none_is_refused_before_anything_is_done(world: World, method: str, route: str) -> None:
    send, before = sender(world, method, route), books()
    body = json.dumps(ROUTES[route][method].body(world.alice)).encode()
    for key in KEYS:
        response = send(body, with_key=False, **({} if key is None else {"Idempotency-Key": key}))
        code = "IDEMPOTENCY_KEY_INVALID" if key else "IDEMPOTENCY_KEY_REQUIRED"
        assert (response.status_code, response.json()["code"]) == (400, code), key
    assert books() == before
