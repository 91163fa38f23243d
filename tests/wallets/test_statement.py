"""A statement shows every movement once, in order, with the balance after it, to its owner alone."""

from __future__ import annotations

import csv
import io
from datetime import timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from core import spreadsheets
from tests import cast, ledger_cast
from tests.cast import CastMember, StaffMember
from tests.wallets.calls import balances, deposit, get, refused, transfer
from wallets import serializers, views
from wallets.models import Deposit, Entry, Environment
from wallets.selectors import STATEMENT_COLUMNS
from wallets.services import deposits


def entries(who: CastMember, query: str = "") -> list[dict[str, Any]]:
    response = get(who, f"wallets/{who.cash.number}/entries{query}")
    assert response.status_code == 200, response.content
    results: list[dict[str, Any]] = response.json()["results"]
    return results


def statement(who: CastMember, query: str = "") -> Any:
    return who.api.get(f"/api/v1/wallets/{who.cash.number}/entries{query}", headers={"Accept": "text/csv"})


def rows(response: Any) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(response.getvalue().decode())))


# --- Wallets --------------------------------------------------------------------------------------------------------


def test_a_wallet_shows_its_figures_with_the_currencys_decimals(alice: CastMember) -> None:
    assert get(alice, f"wallets/{alice.cash.number}").json() == {
        "number": alice.cash.number,
        "kind": "CASH",
        "environment": "LIVE",
        "currency": "USD",
        "balance": "1000.00",
        "held": "0.00",
        "available": "1000.00",
        "credit": "0.00",
        "realized_profit": "0.00",
        "status": "ACTIVE",
        "created_at": get(alice, "wallets").json()["results"][1]["created_at"],
    }


def test_lists_own_wallets_alone(alice: CastMember, bob: CastMember) -> None:
    listed = get(alice, "wallets").json()
    assert {wallet["number"] for wallet in listed["results"]} == {alice.cash.number, alice.margin.number}
    assert (listed["next"], listed["previous"]) == (None, None)


def test_somebody_elses_wallet_does_not_exist(alice: CastMember, bob: CastMember) -> None:
    for path in ("wallets/{}", "wallets/{}/entries"):
        stolen, unknown = get(bob, path.format(alice.cash.number)), get(bob, path.format("W99999999"))
        assert refused(stolen, 404, "NOT_FOUND")
        varying = {"instance": "", "request_id": ""}
        assert stolen.json() | varying == unknown.json() | varying
    assert statement(bob, "").status_code == 200
    assert (
        bob.api.get(f"/api/v1/wallets/{alice.cash.number}/entries", headers={"Accept": "text/csv"}).status_code == 404
    )


@pytest.mark.parametrize("kind", ["HOUSE_COMMISSION", "HOUSE_PAYMENT_CLEARING"])
def test_the_houses_wallets_do_not_exist(alice: CastMember, kind: str) -> None:
    assert refused(get(alice, f"wallets/{kind}-USD-LIVE"), 404, "NOT_FOUND")


@pytest.mark.parametrize("path", ["wallets", "transfers", "deposits", "withdrawals", "me/bank-accounts"])
def test_reading_needs_the_read_scope(db: None, path: str) -> None:
    blind = cast.make_client(scopes=["trade", "transfer", "withdraw"])
    assert refused(get(blind, path), 403, "SCOPE_MISSING")


@pytest.mark.parametrize("path", ["wallets", "transfers", "deposits", "withdrawals", "me/bank-accounts"])
def test_reading_needs_a_token(db: None, path: str) -> None:
    assert refused(cast.api_client().get(f"/api/v1/{path}"), 401, "NOT_AUTHENTICATED")


# --- Pages ----------------------------------------------------------------------------------------------------------


def test_shows_newest_first_with_the_balance_after_each(alice: CastMember, bob: CastMember) -> None:
    transfer(alice, bob.cash, "10.00")
    deposit(alice, "5.50")
    lines = entries(alice)
    assert [(line["number"], line["type"], line["amount"], line["balance_after"]) for line in lines] == [
        (3, "DEPOSIT", "5.50", "995.50"),
        (2, "TRANSFER", "-10.00", "990.00"),
        (1, "ADJUSTMENT", "1000.00", "1000.00"),
    ]


def test_credit_is_told_apart_from_money(alice: CastMember) -> None:
    deposit(alice, "40.00", wallet=alice.margin)
    for amount in ("25.00", "-5.00"):
        ledger_cast.give_credit(alice.margin, amount)
    lines = get(alice, f"wallets/{alice.margin.number}/entries").json()["results"]
    assert [(line["reason"], line["moves"], line["amount"], line["balance_after"]) for line in lines] == [
        ("CREDIT_OUT", "CREDIT", "-5.00", "40.00"),
        ("CREDIT_IN", "CREDIT", "25.00", "40.00"),
        ("DEPOSIT", "BALANCE", "40.00", "40.00"),
    ]
    shown = get(alice, f"wallets/{alice.margin.number}").json()
    assert (shown["balance"], shown["credit"], shown["available"]) == ("40.00", "20.00", "40.00")


def test_pages_fit_together(alice: CastMember, bob: CastMember) -> None:
    for _ in range(4):
        transfer(alice, bob.cash, "1.00")
    first = get(alice, f"wallets/{alice.cash.number}/entries?limit=2").json()
    transfer(alice, bob.cash, "1.00")  # what happens meanwhile shifts nothing
    second = alice.api.get(first["next"]).json()
    third = alice.api.get(second["next"]).json()
    assert [line["number"] for page in (first, second, third) for line in page["results"]] == [5, 4, 3, 2, 1]
    assert third["next"] is None
    assert alice.api.get(second["previous"]).json()["results"] == first["results"]


def test_a_page_costs_the_same_whatever_its_length(alice: CastMember, bob: CastMember) -> None:
    for _ in range(5):
        transfer(alice, bob.cash, "1.00")
    counts = []
    for limit in (1, 5):
        with CaptureQueriesContext(connection) as queries:
            entries(alice, f"?limit={limit}")
        counts.append(len(queries))
    assert counts == [3, 3]  # the token, the wallet, the entries with their transactions


@pytest.mark.parametrize(
    "query,numbers",
    [
        ("?reason=TRANSFER", [2]),
        ("?type=DEPOSIT", [3]),
        ("?type=DEPOSIT&reason=TRANSFER", []),
        ("?reason=ADJUSTMENT", [1]),
    ],
)
def test_filters(alice: CastMember, bob: CastMember, query: str, numbers: list[int]) -> None:
    transfer(alice, bob.cash, "10.00")
    deposit(alice, "5.50")
    assert [line["number"] for line in entries(alice, query)] == numbers
    assert [int(row["number"]) for row in rows(statement(alice, query))] == numbers


def test_from_is_included_and_to_is_not(alice: CastMember, bob: CastMember) -> None:
    transfer(alice, bob.cash, "10.00")
    transfer(alice, bob.cash, "20.00")
    moment = quote(entries(alice)[1]["posted_at"])
    assert [line["number"] for line in entries(alice, f"?from={moment}")] == [3, 2]
    assert [line["number"] for line in entries(alice, f"?to={moment}")] == [1]
    later = quote((Entry.objects.latest("wallet_version").posted_at + timedelta(days=1)).isoformat())
    assert entries(alice, f"?from={later}") == []


@pytest.mark.parametrize(
    "query,field",
    [
        ("?reason=BRIBE", "reason"),
        ("?type=x'--", "type"),
        ("?from=yesterday", "from"),
        ("?to=2026-13-01T00:00:00Z", "to"),
        ("?from=%00", "from"),
        ("?limit=201", "limit"),
        ("?limit=0", "limit"),
    ],
)
def test_refuses_a_filter_that_is_none(alice: CastMember, query: str, field: str) -> None:
    response = get(alice, f"wallets/{alice.cash.number}/entries{query}")
    assert response.status_code == 400, response.content
    assert [error["field"] for error in response.json()["errors"]] == [field]
    if field != "limit":
        assert statement(alice, query).status_code == 400


def test_a_cursor_of_another_wallet_is_refused(alice: CastMember, bob: CastMember) -> None:
    for _ in range(2):
        transfer(alice, bob.cash, "1.00")
    cursor = get(alice, f"wallets/{alice.cash.number}/entries?limit=1").json()["next"].rpartition("cursor=")[2]
    assert refused(get(bob, f"wallets/{bob.cash.number}/entries?cursor={cursor}"), 400, "CURSOR_INVALID")


# --- CSV ------------------------------------------------------------------------------------------------------------


def test_a_file_has_every_line(alice: CastMember, bob: CastMember, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "STATEMENT_ROWS_PER_READ", 2)
    for _ in range(5):
        transfer(alice, bob.cash, "1.00")
    response = statement(alice)
    assert response.streaming
    assert response.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert response.headers["Content-Disposition"] == f'attachment; filename="{alice.cash.number}.csv"'
    assert response.headers["Cache-Control"] == "no-store"
    lines = rows(response)
    assert tuple(lines[0]) == STATEMENT_COLUMNS
    assert [int(line["number"]) for line in lines] == [6, 5, 4, 3, 2, 1]
    assert [line["balance_after"] for line in lines[:2]] == ["995.00", "996.00"]


def test_our_own_negative_numbers_stay_numbers(alice: CastMember, bob: CastMember) -> None:
    transfer(alice, bob.cash, "10.00")
    assert rows(statement(alice))[0]["amount"] == "-10.00"


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\uff1d"])
def test_no_cell_is_a_formula(alice: CastMember, carol: StaffMember, settings: Settings, start: str) -> None:
    settings.PAYMENT_PROVIDER = "manual"
    made, formula = deposit(alice, "5.00").json()["id"], f'{start}HYPERLINK("https://example.com")'
    deposits.approve_deposit(deposit_id=made, reason="found", reference=formula, actor=carol.actor)
    assert Deposit.objects.get(pk=made).provider_reference == formula
    cell = rows(statement(alice))[0]["reference"]
    assert cell == f"'{formula}"
    assert entries(alice)[0]["reference"] == formula  # JSON has no formulae


@pytest.mark.parametrize(
    "value,expected",
    [
        (Decimal("-0.01"), "-0.01"),
        (Decimal("1E+2"), "100"),
        (-5, "-5"),
        ("-5", "'-5"),
        ("plain", "plain"),
        ("a=b", "a=b"),
        ("", ""),
        (None, ""),
        ("+44", "'+44"),
    ],
)
def test_a_cell_is_text_or_a_number(value: object, expected: str) -> None:
    assert spreadsheets.cell(value) == expected


def test_a_quote_or_a_line_break_stays_within_its_cell() -> None:
    data = b"".join(spreadsheets.stream(["a", "b"], [['say "no"', "two\nlines"], ["x,y", 1]])).decode()
    assert list(csv.reader(io.StringIO(data))) == [["a", "b"], ['say "no"', "two\nlines"], ["x,y", "1"]]


def test_json_is_what_comes_without_asking(alice: CastMember) -> None:
    url = f"/api/v1/wallets/{alice.cash.number}/entries"
    for accept in ("*/*", "application/json", "text/csv;q=0.5, application/json"):
        assert alice.api.get(url, headers={"Accept": accept}).headers["Content-Type"] == "application/json"
    assert refused(alice.api.get(url, headers={"Accept": "application/xml"}), 406, "NOT_ACCEPTABLE")


# --- The API document -----------------------------------------------------------------------------------------------


def test_what_is_answered_is_what_the_document_says(db: None) -> None:
    from tests.wallets.calls import bank_account, withdraw

    rich = cast.make_client(environment=Environment.LIVE)
    bank_account(rich)
    other = cast.make_client()
    answers: dict[Any, Any] = {
        serializers.WalletSummary: get(rich, f"wallets/{rich.cash.number}").json(),
        serializers.TransferAnswer: transfer(rich, other.cash, "1.00").json(),
        serializers.DepositReceipt: deposit(rich, "1.00").json(),
        serializers.WithdrawalReceipt: withdraw(rich, "1.00").json(),
        serializers.StatementLine: entries(rich)[0],
        serializers.TransferReceipt: get(rich, "transfers").json()["results"][0],
        serializers.BankAccountSummary: get(rich, "me/bank-accounts").json()["results"][0],
    }
    for shape, answer in answers.items():
        assert set(shape().fields) == set(answer), shape
    assert balances(rich) == (Decimal("1000.00"), Decimal("1.00"))


def test_the_document_names_every_route(db: None) -> None:
    document = cast.api_client().get("/api/schema").json()
    paths = document["paths"]
    for path, methods in {
        "/api/v1/wallets": {"get"},
        "/api/v1/wallets/{number}": {"get"},
        "/api/v1/wallets/{number}/entries": {"get"},
        "/api/v1/transfers": {"get", "post"},
        "/api/v1/transfers/{transfer_id}": {"get"},
        "/api/v1/deposits": {"get", "post"},
        "/api/v1/deposits/{deposit_id}": {"get"},
        "/api/v1/withdrawals": {"get", "post"},
        "/api/v1/withdrawals/{withdrawal_id}": {"get"},
        "/api/v1/withdrawals/{withdrawal_id}/cancel": {"post"},
        "/api/v1/payments/webhook": {"post"},
        "/api/v1/me/bank-accounts": {"get", "post"},
    }.items():
        assert set(paths[path]) == methods, path
    refusals = paths["/api/v1/transfers"]["post"]["responses"]["422"]["description"]
    assert "INSUFFICIENT_FUNDS" in refusals
