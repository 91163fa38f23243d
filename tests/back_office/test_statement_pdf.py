"""A statement on paper says what the statement in a spreadsheet says, to the cent, and adds up."""

from __future__ import annotations

import base64
import csv
import io
import re
import zlib
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from config.back_office.exports import paper, statements
from config.back_office.exports.periods import Period
from config.back_office.exports.statements import StatementTooLong
from core.errors import NotFound
from tests import cast, ledger_cast
from tests.accounts.test_back_office import office
from tests.cast import CastMember
from tests.trading import calls
from tests.trading.prices import Push
from tests.wallets.books import corrupt
from tests.wallets.calls import deposit, transfer
from wallets.models import Entry, Environment, Wallet

AGES = Period(datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
ADDRESS = {"line1": "1 High St", "city": "London", "postal_code": "N1 1AA", "country": "GB"}

#: Where Debian keeps a font that has Cyrillic letters.
CYRILLIC = Path("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf")

_STREAM = re.compile(rb"/Filter \[ /ASCII85Decode /FlateDecode \].*?stream\r?\n(.*?)endstream", re.DOTALL)
_TEXT = re.compile(rb"\((.*?)(?<!\\)\) Tj", re.DOTALL)


def pages(pdf: bytes) -> list[list[str]]:
    """What is written on each page, in the order in which it was written; only letters of ASCII can be told."""
    assert pdf.startswith(b"%PDF-")
    contents = [zlib.decompress(base64.a85decode(found.strip(), adobe=False)) for found in _bodies(pdf)]
    return [
        [re.sub(rb"\\(.)", rb"\1", text).decode("latin-1") for text in _TEXT.findall(content)] for content in contents
    ]


def _bodies(pdf: bytes) -> list[bytes]:
    return [body.strip().removesuffix(b"~>") for body in _STREAM.findall(pdf) if b"\x00" not in body]


def printed(number: str, period: Period = AGES, *, with_address: bool = True) -> list[list[str]]:
    statement = statements.statement(number, period)
    return pages(paper.print_statement(statement, generated_at=timezone.now(), with_address=with_address))


def spreadsheet(who: CastMember, wallet: Wallet) -> list[dict[str, str]]:
    """The CSV that the client downloads, oldest line first."""
    response: Any = who.api.get(f"/api/v1/wallets/{wallet.number}/entries", headers={"Accept": "text/csv"})
    return list(csv.DictReader(io.StringIO(response.getvalue().decode())))[::-1]


def figure(texts: list[str], label: str) -> str:
    """What stands right of a label, without its separators."""
    return texts[texts.index(label) + 1].replace(",", "")


@pytest.fixture
def alice(market: Push) -> CastMember:
    """A client whose margin wallet has seen a bonus, a trade with a loss and its commission."""
    alice = cast.make_client(name="Alice Archer", margin=Decimal("12500.50"), address=ADDRESS)
    ledger_cast.give_credit(alice.margin, "25.00")
    opened = calls.place(alice, volume="0.10").json()
    market(EURUSD=("1.19900", "1.19910"))
    calls.close(alice, opened["position"]["id"])
    deposit(alice, "75.00", wallet=alice.margin)
    return alice


def test_every_figure_is_the_spreadsheets(alice: CastMember) -> None:
    for wallet in (alice.cash, alice.margin):
        (texts,) = printed(wallet.number)
        lines = spreadsheet(alice, wallet)
        assert lines
        start = texts.index("Opening balance") + 2
        found = [texts[start + 6 * index : start + 6 * index + 6] for index in range(len(lines))]
        assert [
            (number, moment, type_, reason, amount.replace(",", ""), balance.replace(",", ""))
            for number, moment, type_, reason, amount, balance in found
        ] == [
            (
                line["number"],
                line["posted_at"].replace("T", " ")[:19],
                line["type"],
                line["reason"],
                line["amount"],
                line["balance_after"],
            )
            for line in lines
        ]
        assert figure(texts, "Closing balance") == f"{lines[-1]['balance_after']} USD"
        wallet.refresh_from_db()
        assert Decimal(figure(texts, "Closing balance").split()[0]) == wallet.balance


def test_it_adds_up(alice: CastMember) -> None:
    statement = statements.statement(alice.margin.number, AGES)
    moved = sum(total.amount for total in statement.totals() if total.reason != "CREDIT_IN")
    assert (statement.opening, statement.opening + moved) == (Decimal(0), statement.closing)
    (texts,) = printed(alice.margin.number)
    for total in statement.totals():
        label = next(text for text in texts if text.startswith(f"{total.reason} ("))
        assert figure(texts, label) == f"{total.amount} USD"
    assert "CREDIT_IN (1 line, moves the credit and not the balance)" in texts
    assert any(text.startswith("TRADE_PNL (1 line)") for text in texts)


def test_it_says_whose_it_is_and_what(alice: CastMember) -> None:
    (texts,) = printed(alice.margin.number)
    for said in (
        "Dealing Desk",
        f"Statement of wallet {alice.margin.number}",
        "Alice Archer",
        str(alice.user.number),
        "1 High St",
        "N1 1AA London",
        f"{alice.margin.number}, MARGIN, USD",
        alice.account.number,
        "LIVE",
        "2020-01-01 00:00:00 (included) to 2100-01-01 00:00:00 (not included), UTC",
        "Page 1 of 1",
    ):
        assert said in texts
    assert any(text.startswith("Generated 20") for text in texts)
    assert not any("DEMO" in text for text in texts)
    assert "1 High St" not in printed(alice.margin.number, with_address=False)[0]


def test_play_money_is_marked_on_every_page(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    client = cast.make_client(environment=Environment.DEMO, balance=Decimal("100"))
    for _ in range(60):
        ledger_cast.transfer(client.cash, client.margin, "1.00")
    sheets = printed(client.cash.number)
    assert len(sheets) == 2
    for number, texts in enumerate(sheets, start=1):
        assert paper.DEMO_NOTE in texts
        assert f"Page {number} of 2" in texts
        assert f"Statement of wallet {client.cash.number}" in texts
    assert "DEMO (play money)" in sheets[0]
    assert figure(sheets[1], "Closing balance") == "40.00 USD"


def test_one_statement_begins_where_the_last_one_ended(db: None) -> None:
    client = cast.make_client(balance=Decimal("100"))
    for amount in ("10.00", "20.00", "30.00"):
        ledger_cast.transfer(client.cash, client.margin, amount)
    moments = list(
        Entry.objects.filter(wallet=client.cash).order_by("wallet_version").values_list("posted_at", flat=True)
    )
    first = statements.statement(client.cash.number, Period(AGES.start, moments[2]))
    second = statements.statement(client.cash.number, Period(moments[2], AGES.end))
    assert [line.number for line in first.lines] == [1, 2]
    assert [line.number for line in second.lines] == [3, 4]
    assert (first.opening, first.closing, second.opening, second.closing) == (0, 90, 90, 40)
    empty = statements.statement(client.cash.number, Period(AGES.start, moments[0]))
    assert (empty.opening, empty.lines, empty.closing) == (0, (), 0)
    assert "Nothing was posted in this period." in printed(client.cash.number, Period(AGES.start, moments[0]))[0]


def test_it_adds_up_where_times_are_out_of_order(db: None) -> None:
    """Two requests at midnight: the one that got the lock first had looked at its clock last."""
    client = cast.make_client(balance=Decimal("100"))
    for amount in ("10.00", "20.00", "30.00"):
        ledger_cast.transfer(client.cash, client.margin, amount)
    midnight = datetime(2026, 3, 1, tzinfo=UTC)
    for version, milliseconds in ((1, -9), (2, 1), (3, -1), (4, 9)):
        moment = midnight + timedelta(milliseconds=milliseconds)
        corrupt(
            "UPDATE wallets_entry SET posted_at = %s WHERE wallet_id = %s AND wallet_version = %s",
            moment,
            client.cash,
            version,
        )
    before = statements.statement(client.cash.number, Period(AGES.start, midnight))
    after = statements.statement(client.cash.number, Period(midnight, AGES.end))
    assert [line.number for line in before.lines] == [1, 3]
    assert [line.number for line in after.lines] == [2, 4]
    assert (before.opening, before.closing) == (0, 80)
    assert (after.opening, after.closing) == (80, 40)


@pytest.mark.parametrize(
    "currency,amount,shown",
    [("JPY", "150000", "150,000"), ("KWD", "1.005", "1.005"), ("BTC", "0.00000001", "0.00000001")],
)
def test_amounts_have_the_currencys_decimals(db: None, currency: str, amount: str, shown: str) -> None:
    client = cast.make_client(currency=currency, balance=Decimal(amount))
    (texts,) = printed(client.cash.number)
    assert texts[texts.index("Closing balance") + 1] == f"{shown} {currency}"


# --- Names ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name,shown",
    [
        ("Zoë Müller-Ångström", "Zoë Müller-Ångström"),
        ("José Ñandú", "José Ñandú"),
        ("Jose\u0301", "José"),
        ("Łukasz Żółć", "Łukasz Zółć"),
        ("Иван Петров", "???? ??????"),
        ("山田太郎", "????"),
        ("a\u202eb\u0007", "ab"),
        ("O'Neil (\\) 100%", "O'Neil (\\) 100%"),
    ],
)
def test_a_name_is_printed_as_far_as_the_font_has_it(db: None, name: str, shown: str) -> None:
    assert paper.printable(name) == shown
    client = cast.make_client(name=name)
    (texts,) = printed(client.cash.number)
    assert str(client.user.number) in texts, "whoever cannot be spelled is still known by their number"
    assert (paper.MENDED_NOTE in " ".join(texts)) == (shown not in {name, "José"})


@pytest.mark.skipif(not CYRILLIC.exists(), reason=f"there is no {CYRILLIC.name} on this machine")
def test_a_font_of_the_desks_own_has_what_it_has(db: None, settings: Settings) -> None:
    settings.STATEMENT_FONT = str(CYRILLIC)
    forget_fonts()
    try:
        assert paper.printable("Иван Петров") == "Иван Петров"
        client = cast.make_client(name="Иван Петров")
        (texts,) = printed(client.cash.number)
        assert paper.MENDED_NOTE not in texts
        assert figure(texts, "Closing balance") == "1000.00 USD"
    finally:
        forget_fonts()


def forget_fonts() -> None:
    paper._fonts.cache_clear()
    paper._known.cache_clear()


def test_a_long_name_stays_on_the_paper(db: None) -> None:
    client = cast.make_client(name="Archibald " * 14)
    (texts,) = printed(client.cash.number)
    assert sum("Archibald" in text for text in texts) > 1


# --- Limits ---------------------------------------------------------------------------------------------------------


def test_a_statement_that_nobody_would_read_is_refused(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statements, "LINES_MAX", 2)
    client = cast.make_client(balance=Decimal("100"))
    ledger_cast.transfer(client.cash, client.margin, "1.00")
    assert len(statements.statement(client.cash.number, AGES).lines) == 2
    ledger_cast.transfer(client.cash, client.margin, "1.00")
    with pytest.raises(StatementTooLong, match="more than 2 lines; choose a shorter one"):
        statements.statement(client.cash.number, AGES)
    page = office("finance").get(address(client), PERIOD)
    assert page.status_code == 200
    assert "more than 2 lines" in page.content.decode()


def test_the_house_has_no_statement(db: None) -> None:
    cast.make_client()
    house = Wallet.objects.get(kind="HOUSE_ADJUSTMENT", currency="USD", environment="LIVE")
    for number in (house.number, "W999"):
        with pytest.raises(NotFound):
            statements.statement(number, AGES)


# --- The page -------------------------------------------------------------------------------------------------------

PERIOD = {"from": "2026-01-01", "to": "2100-01-01"}


def address(client: CastMember) -> str:
    return reverse("admin:statement_pdf", args=[client.cash.number])


def test_staff_get_the_form_and_then_the_paper(db: None) -> None:
    client = cast.make_client(name="Alice Archer", address=ADDRESS)
    staff = office("kyc")
    form = staff.get(address(client))
    assert (form.status_code, form.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    made = staff.get(address(client), PERIOD)
    assert (made.status_code, made.headers["Content-Type"]) == (200, "application/pdf")
    name = f"statement-{client.cash.number}-20260101-21000101.pdf"
    assert made.headers["Content-Disposition"] == f'attachment; filename="{name}"'
    (texts,) = pages(made.content)
    assert {"Alice Archer", "1 High St"} <= set(texts)
    assert figure(texts, "Closing balance") == "1000.00 USD"


def test_support_does_not_read_the_address(db: None) -> None:
    client = cast.make_client(address=ADDRESS)
    (texts,) = pages(office("support").get(address(client), PERIOD).content)
    assert "Closing balance" in texts
    assert not {"1 High St", "N1 1AA London"} & set(texts)


def test_what_cannot_be_printed_is_told(db: None) -> None:
    client, staff = cast.make_client(), office("kyc")
    for period in (
        {"from": "2026-01-01", "to": "2026-01-01"},
        {"from": "x", "to": "2026-01-01"},
        {"from": "2026-01-01"},
    ):
        page = staff.get(address(client), period)
        assert page.headers["Content-Type"].startswith("text/html")
        assert re.search("ends after it begins|valid date|is required", page.content.decode())
    assert staff.get(reverse("admin:statement_pdf", args=["W999"]), PERIOD).status_code == 404
    assert staff.post(address(client), PERIOD).status_code == 405


def test_money_moved_by_others_is_in_the_receivers_statement(db: None) -> None:
    client, bob = cast.make_client(), cast.make_client()
    assert transfer(bob, client.cash, "12.00").status_code == 201
    (texts,) = printed(client.cash.number)
    assert figure(texts, "Closing balance") == "1012.00 USD"
    assert str(bob.user.number) not in texts
