"""Whatever is wrong with a body that moves money is answered with the field's name, and nothing is written."""

from __future__ import annotations

import json
from typing import Any

import pytest

from core.models import IdempotencyKey
from tests.cast import CastMember
from tests.wallets.calls import IBAN_DETAILS, bank_account, books, key, post

AMOUNTS: list[Any] = [
    "NaN",
    "sNaN",
    "Infinity",
    "-Infinity",
    "1e400",
    "1E+2",
    "-0",
    "-1",
    "-0.01",
    "0",
    "0.00",
    "+5",
    "1_000",
    "1,000",
    " 5 ",
    "5\n",
    "\t5",
    "5.",
    ".5",
    "05",
    "0x10",
    "１２.５",
    "١٢٣",
    "",
    "five",
    "1" * 13,
    "1" * 21,
    "1" * 5_000,
    "0.123456789",
    True,
    False,
    None,
    [],
    ["5"],
    {},
    {"amount": "5"},
    5,
    0,
    -5,
    5.5,
    1e400,
    2**70,
]

NUMBERS: list[Any] = [
    "",
    " ",
    "W1\n",
    " W1",
    "w10000001",
    "W10000001'--",
    "W\u202e1",
    "Ｗ1",
    "W" * 41,
    None,
    True,
    10000001,
    1.5,
    [],
    {},
]

UUIDS: list[Any] = [
    "",
    "1",
    "01890a5dac96774bbcceb302099a8057",
    "{01890a5d-ac96-774b-bcce-b302099a8057}",
    "01890A5D-AC96-774B-BCCE-B302099A8057",
    "urn:uuid:01890a5d-ac96-774b-bcce-b302099a8057",
    "01890a5d-ac96-774b-bcce-b302099a8057 ",
    None,
    True,
    1,
    [],
]


@pytest.fixture
def bodies(alice: CastMember, bob: CastMember) -> dict[str, dict[str, Any]]:
    """A right body for each operation, to be spoilt."""
    bank_account(alice)
    return {
        "transfers": {"source": alice.cash.number, "target": bob.cash.number, "amount": "1.00"},
        "deposits": {"wallet": alice.cash.number, "amount": "1.00"},
        "withdrawals": {"wallet": alice.cash.number, "amount": "1.00"},
    }


OPERATIONS = ("transfers", "deposits", "withdrawals")


def refuses(who: CastMember, path: str, body: Any, field: str) -> None:
    before = books()
    response = post(who, path, body)
    assert response.status_code == 400, response.content
    assert response.headers["Content-Type"] == "application/problem+json"
    assert [error["field"] for error in response.json()["errors"]] == [field]
    assert books() == before
    assert not IdempotencyKey.objects.exists()


def test_a_right_body_is_right(alice: CastMember, bodies: dict[str, dict[str, Any]]) -> None:
    assert [post(alice, path, bodies[path]).status_code for path in OPERATIONS] == [201, 201, 201]


@pytest.mark.parametrize("path", OPERATIONS)
@pytest.mark.parametrize("amount", AMOUNTS, ids=lambda amount: repr(amount)[:24])
def test_refuses_an_amount_that_is_none(
    alice: CastMember, bodies: dict[str, dict[str, Any]], path: str, amount: Any
) -> None:
    if isinstance(amount, float) and amount > 1e300:  # Python would spell it Infinity, which is no JSON
        _refuses_raw(alice, path, bodies[path], '"amount": "1.00"', '"amount": 1e400', "amount")
        return
    refuses(alice, path, bodies[path] | {"amount": amount}, "amount")


@pytest.mark.parametrize(
    "path,field", [("transfers", "source"), ("transfers", "target"), ("deposits", "wallet"), ("withdrawals", "wallet")]
)
@pytest.mark.parametrize("number", NUMBERS, ids=repr)
def test_refuses_a_wallet_number_that_is_none(
    alice: CastMember, bodies: dict[str, dict[str, Any]], path: str, field: str, number: Any
) -> None:
    refuses(alice, path, bodies[path] | {field: number}, field)


@pytest.mark.parametrize("value", UUIDS, ids=repr)
def test_refuses_a_bank_account_id_that_is_none(
    alice: CastMember, bodies: dict[str, dict[str, Any]], value: Any
) -> None:
    refuses(alice, "withdrawals", bodies["withdrawals"] | {"bank_account": value}, "bank_account")


@pytest.mark.parametrize("path", OPERATIONS)
def test_refuses_a_field_that_is_missing(alice: CastMember, bodies: dict[str, dict[str, Any]], path: str) -> None:
    for field in bodies[path]:
        refuses(alice, path, {name: value for name, value in bodies[path].items() if name != field}, field)


@pytest.mark.parametrize("path", OPERATIONS)
@pytest.mark.parametrize("field", ["owner", "status", "currency", "balance", "is_staff", "__class__", "amount "])
def test_refuses_a_field_that_nobody_asked_for(
    alice: CastMember, bodies: dict[str, dict[str, Any]], path: str, field: str
) -> None:
    refuses(alice, path, bodies[path] | {field: "1"}, field)


def test_a_cancellation_takes_no_fields(alice: CastMember) -> None:
    refuses(alice, f"withdrawals/{key()}/cancel", {"status": "CANCELLED"}, "status")


# --- The body itself ------------------------------------------------------------------------------------------------


def send(who: CastMember, path: str, data: Any, content_type: str = "application/json") -> Any:
    return who.api.generic(
        "POST", f"/api/v1/{path}", data, content_type=content_type, headers={"Idempotency-Key": key()}
    )


def _refuses_raw(who: CastMember, path: str, body: dict[str, Any], old: str, new: str, field: str) -> None:
    before = books()
    response = send(who, path, json.dumps(body).replace(old, new).encode())
    assert response.status_code == 400, response.content
    assert [error["field"] for error in response.json()["errors"]] == [field]
    assert books() == before


@pytest.mark.parametrize("path", OPERATIONS)
@pytest.mark.parametrize(
    "new,field",
    [
        ('"amount": "1.00", "amount": "1.00"', "amount"),
        ('"amount": "1.00\\u0000"', "amount"),
        ('"amount": "\\ud800"', "amount"),
        ('"amount": 1.00', "amount"),
        ('"amount": -0', "amount"),
        ('"amount": 1e2', "amount"),
        ('"amount": 123456789012345678901234567890', "amount"),
    ],
)
def test_refuses_json_with_two_meanings(
    alice: CastMember, bodies: dict[str, dict[str, Any]], path: str, new: str, field: str
) -> None:
    _refuses_raw(alice, path, bodies[path], '"amount": "1.00"', new, field)


DEEP = b'{"amount": ' + b"[" * 5_000 + b"]" * 5_000 + b"}"


@pytest.mark.parametrize("path", [*OPERATIONS, "me/bank-accounts"])
@pytest.mark.parametrize(
    "data,content_type,status",
    [
        (b"", "application/json", 400),
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
        (b'"text"', "application/json", 400),
        (b"null", "application/json", 400),
        (b'{"amount": NaN}', "application/json", 400),
        (b'{"amount": "\xff"}', "application/json", 400),
        (b"\xef\xbb\xbf{}", "application/json", 400),
        (DEEP, "application/json", 400),
        (b'{"amount": "' + b"1" * (64 * 1024) + b'"}', "application/json", 413),
        (b'{"amount": "1"}', "application/json; charset=utf-16", 415),
        (b"amount=1", "application/x-www-form-urlencoded", 415),
        (b"<amount>1</amount>", "application/xml", 415),
        (b'{"amount": "1"}', "text/plain", 415),
    ],
    ids=[
        "empty",
        "cut",
        "list",
        "text",
        "null",
        "NaN",
        "no UTF-8",
        "byte-order mark",
        "deep",
        "large",
        "UTF-16",
        "form",
        "XML",
        "plain",
    ],
)
def test_refuses_a_body_that_is_none(alice: CastMember, path: str, data: bytes, content_type: str, status: int) -> None:
    before = books()
    response = send(alice, path, data, content_type)
    assert response.status_code == status, response.content
    assert response.headers["Content-Type"] == "application/problem+json"
    assert books() == before
    assert not IdempotencyKey.objects.exists()


def test_a_refusal_tells_nothing_internal(alice: CastMember, bodies: dict[str, dict[str, Any]]) -> None:
    text = post(
        alice, "me/bank-accounts", IBAN_DETAILS | {"number": "'; DROP TABLE wallets_wallet; --"}
    ).content.decode()
    for inside in ("Traceback", "psycopg", "django", "/work", "DROP TABLE", "SELECT"):
        assert inside not in text


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("path", [*OPERATIONS, "wallets", "me/bank-accounts", "payments/webhook"])
def test_other_methods_do_not_exist(alice: CastMember, path: str, method: str) -> None:
    before = books()
    response = alice.api.generic(method, f"/api/v1/{path}", "{}", content_type="application/json")
    assert (response.status_code, response.json()["code"]) == (405, "METHOD_NOT_ALLOWED")
    assert books() == before


@pytest.mark.parametrize("path", ["transfers/", "wallets/", "withdrawals/1/cancel", "deposits/not-a-uuid"])
def test_other_addresses_do_not_exist(alice: CastMember, path: str) -> None:
    response = alice.api.get(f"/api/v1/{path}")
    assert (response.status_code, response.json()["code"]) == (404, "ROUTE_NOT_FOUND")
