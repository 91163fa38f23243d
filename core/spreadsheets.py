"""A CSV that leaves the desk is data: no cell of it is a formula to the program that opens it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal

from core.errors import plain

CONTENT_TYPE = "text/csv; charset=utf-8"

#: What spreadsheet programs take for the start of a formula, or skip on their way to one.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")

_ROWS_PER_CHUNK = 500


def cell(value: object) -> str:
    """
    One value as a cell. Text that a spreadsheet would run gets an apostrophe in front, which shows and does no harm.

    Numbers of ours are numbers: a `Decimal` of -12.50 stays -12.50.
    """
    if isinstance(value, Decimal | int | datetime):
        return str(plain(value))
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


def stream(header: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[bytes]:
    """The file in pieces of a few hundred lines (RFC 4180), so that its length costs no memory."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(header)
    for count, row in enumerate(rows, start=1):
        writer.writerow([cell(value) for value in row])
        if count % _ROWS_PER_CHUNK == 0:
            yield _taken(buffer)
    yield _taken(buffer)


def _taken(buffer: io.StringIO) -> bytes:
    data = buffer.getvalue().encode()
    buffer.seek(0)
    buffer.truncate()
    return data
