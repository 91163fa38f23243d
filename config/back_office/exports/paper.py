"""A statement on paper: A4, one line a posting, and every page says whose it is, which it is and of how many."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

from django.conf import settings
from reportlab.lib.pagesizes import A4
from reportlab.lib.units import mm
from reportlab.lib.utils import simpleSplit
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas

from config.back_office.exports.statements import CREDITING, Line, Statement
from wallets.models import Environment

#: Comes with reportlab, and has the letters of western Europe. STATEMENT_FONT names another, for other scripts.
FONT_FILE = "Vera.ttf"
BOLD_FILE = "VeraBd.ttf"
#: Stands for a character that the font does not have.
UNPRINTABLE = "?"
MENDED_NOTE = (
    f"This document's font lacks some characters: they are shown without their accents, or as {UNPRINTABLE}."
    " The desk's records have them."
)
DEMO_NOTE = "DEMO ACCOUNT: PLAY MONEY, NOBODY OWES IT TO ANYBODY"

_WIDTH, _HEIGHT = A4
_LEFT, _RIGHT = 15 * mm, _WIDTH - 15 * mm
_TOP, _BOTTOM = _HEIGHT - 32 * mm, 22 * mm
_STEP = 4.2 * mm
_SIZE = 7

Row = Callable[["_Page", float], None]


def print_statement(statement: Statement, *, generated_at: datetime, with_address: bool) -> bytes:
    """
    The statement as a PDF. `with_address` is for whoever may read personal data in clear.

    Letters that the font lacks are printed without their accents; other characters that it lacks as UNPRINTABLE, and
    then the document says so. Scripts that join or reorder their letters are not shaped.
    """
    rows = list(_rows(statement, with_address=with_address))
    per_page = int((_TOP - _BOTTOM) // _STEP)
    sheets = [rows[start : start + per_page] for start in range(0, len(rows), per_page)]
    canvas = Canvas("", pagesize=A4, pageCompression=1)
    canvas.setTitle(f"Statement of wallet {statement.wallet.number}")
    canvas.setAuthor(settings.UNFOLD["SITE_TITLE"])
    page = _Page(canvas)
    for number, sheet in enumerate(sheets, start=1):
        page.frame(statement, number, len(sheets), generated_at)
        for index, row in enumerate(sheet):
            row(page, _TOP - index * _STEP)
        canvas.showPage()
    content: bytes = canvas.getpdfdata()
    return content


# --- Rows -----------------------------------------------------------------------------------------------------------


def _rows(statement: Statement, *, with_address: bool) -> list[Row]:
    currency = statement.wallet.currency
    head = [row for label, value in _who(statement, with_address=with_address) for row in _pair(label, value)]
    lines = [
        _header,
        _sum("Opening balance", statement.opening, currency),
        *map(_posting, statement.lines),
        _sum("Closing balance", statement.closing, currency),
    ]
    totals: list[Row] = [_gap, _heading("Totals by reason")]
    for total in statement.totals():
        note = ", moves the credit and not the balance" if total.reason in CREDITING else ""
        count = "1 line" if total.lines == 1 else f"{total.lines} lines"
        totals.append(_sum(f"{total.reason} ({count}{note})", total.amount, currency))
    if not statement.lines:
        totals.append(_text("Nothing was posted in this period."))
    notes = [_gap, _text(MENDED_NOTE)] if _is_mended(statement, with_address=with_address) else []
    return [*head, _gap, *lines, *totals, *notes]


def _who(statement: Statement, *, with_address: bool) -> list[tuple[str, str]]:
    wallet, client = statement.wallet, statement.client
    who = [("Client", client.name or "(no name)"), ("Client number", client.number or str(client.pk))]
    if with_address:
        who += [("Address" if not index else "", line) for index, line in enumerate(_address(client.address))]
    who += [
        ("Wallet", f"{wallet.number}, {wallet.kind}, {wallet.currency}"),
        ("Environment", "DEMO (play money)" if wallet.environment == Environment.DEMO else "LIVE"),
    ]
    if statement.account is not None:
        who.append(("Trading account", statement.account.number))
    period = f"{_moment(statement.period.start)} (included) to {_moment(statement.period.end)} (not included), UTC"
    return [*who, ("Period", period)]


def _address(address: Any) -> list[str]:
    """As lines on an envelope; what is missing is left out."""
    parts: dict[str, str] = address or {}
    town = " ".join(filter(None, (parts.get("postal_code"), parts.get("city"))))
    lines = (parts.get("line1"), parts.get("line2"), town, parts.get("region"), parts.get("country"))
    return [line for line in lines if line]


def _is_mended(statement: Statement, *, with_address: bool) -> bool:
    texts = [unicodedata.normalize("NFC", value) for _, value in _who(statement, with_address=with_address)]
    return any(printable(text) != text for text in texts)


def _gap(page: _Page, y: float) -> None:
    """An empty line."""


def _pair(label: str, value: str) -> Iterator[Row]:
    """As many rows as the value is long."""

    def row(label: str, part: str) -> Row:
        def draw(page: _Page, y: float) -> None:
            page.text(_LEFT, y, label, bold=True)
            page.text(_LEFT + 32 * mm, y, part)

        return draw

    for part in simpleSplit(printable(value), _fonts()[False], _SIZE, _RIGHT - _LEFT - 32 * mm):
        yield row(label, part)
        label = ""


def _text(value: str) -> Row:
    return lambda page, y: page.text(_LEFT, y, value)


def _heading(value: str) -> Row:
    return lambda page, y: page.text(_LEFT, y, value, bold=True)


def _sum(label: str, amount: Decimal, currency: str) -> Row:
    def draw(page: _Page, y: float) -> None:
        page.text(_LEFT, y, label, bold=True)
        page.figure(_RIGHT, y, f"{amount:,f} {currency}", bold=True)

    return draw


_COLUMNS = (0 * mm, 14 * mm, 46 * mm, 70 * mm)
_AMOUNT = _RIGHT - 32 * mm


def _header(page: _Page, y: float) -> None:
    for offset, title in zip(_COLUMNS, ("No.", "Posted (UTC)", "Type", "Reason"), strict=True):
        page.text(_LEFT + offset, y, title, bold=True)
    page.figure(_AMOUNT, y, "Amount", bold=True)
    page.figure(_RIGHT, y, "Balance", bold=True)
    page.rule(y - 1 * mm)


def _posting(line: Line) -> Row:
    def draw(page: _Page, y: float) -> None:
        cells = (str(line.number), _moment(line.posted_at), line.type, line.reason)
        for offset, cell in zip(_COLUMNS, cells, strict=True):
            page.text(_LEFT + offset, y, cell)
        page.figure(_AMOUNT, y, f"{line.amount:,f}")
        page.figure(_RIGHT, y, f"{line.balance:,f}")

    return draw


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


# --- The page -------------------------------------------------------------------------------------------------------


class _Page:
    """A canvas that writes in our fonts, and only what they have."""

    def __init__(self, canvas: Canvas) -> None:
        self._canvas = canvas

    def text(self, x: float, y: float, text: str, *, bold: bool = False, size: float = _SIZE) -> None:
        self._canvas.setFont(_fonts()[bold], size)
        self._canvas.drawString(x, y, printable(text))

    def figure(self, x: float, y: float, text: str, *, bold: bool = False) -> None:
        """Ends at `x`."""
        self._canvas.setFont(_fonts()[bold], _SIZE)
        self._canvas.drawRightString(x, y, text)

    def rule(self, y: float) -> None:
        self._canvas.setLineWidth(0.3)
        self._canvas.line(_LEFT, y, _RIGHT, y)

    def frame(self, statement: Statement, number: int, count: int, generated_at: datetime) -> None:
        """What every page has around its rows."""
        self.text(_LEFT, _HEIGHT - 16 * mm, settings.UNFOLD["SITE_TITLE"], bold=True, size=12)
        self.text(_LEFT, _HEIGHT - 22 * mm, f"Statement of wallet {statement.wallet.number}", size=9)
        if statement.wallet.environment == Environment.DEMO:
            self._canvas.setFillColorRGB(0.75, 0.1, 0.1)
            self.text(_LEFT + 78 * mm, _HEIGHT - 16 * mm, DEMO_NOTE, bold=True, size=8)
            self._canvas.setFillColorRGB(0, 0, 0)
        self.rule(_HEIGHT - 25 * mm)
        self.rule(_BOTTOM - 4 * mm)
        self.text(_LEFT, _BOTTOM - 9 * mm, f"Generated {_moment(generated_at)} UTC")
        self.figure(_RIGHT, _BOTTOM - 9 * mm, f"Page {number} of {count}")


# --- Letters --------------------------------------------------------------------------------------------------------


@cache
def _fonts() -> Sequence[str]:
    """The names of the ordinary and the bold font; a font of the desk's own serves as both."""
    files = (settings.STATEMENT_FONT,) * 2 if settings.STATEMENT_FONT else (FONT_FILE, BOLD_FILE)
    for file in files:
        pdfmetrics.registerFont(TTFont(Path(file).stem, file))
    return tuple(Path(file).stem for file in files)


@cache
def _known() -> frozenset[int]:
    return frozenset.intersection(*(frozenset(pdfmetrics.getFont(name).face.charToGlyph) for name in _fonts()))


def printable(text: str) -> str:
    """The text in characters that the font has."""
    return "".join(map(_nearest, unicodedata.normalize("NFC", text)))


def _nearest(character: str) -> str:
    if ord(character) in _known() and character.isprintable():
        return character
    if unicodedata.category(character).startswith(("C", "M")):
        return ""  # invisible, or an accent that did not combine
    plain = "".join(part for part in unicodedata.normalize("NFKD", character) if ord(part) in _known())
    return plain or UNPRINTABLE
