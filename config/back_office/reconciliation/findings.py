"""What a comparison brings back: a difference with a name that stays, so that the same one is known again."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from config.back_office.reconciliation.models import Break
from core.money import CURRENCIES, book


class Finding(NamedTuple):
    """
    One difference; (`kind`, `subject`) never change while it lasts.

    `seen_at` is when it was there: a resolved break is opened again only by what was seen after it was resolved.
    """

    kind: Break.Kind
    subject: str
    expected: str
    found: str
    seen_at: datetime
    currency: str = ""
    about: str = ""
    about_id: UUID | None = None


@dataclass(slots=True)
class Comparison:
    """What was held against what, and what did not agree."""

    findings: list[Finding] = field(default_factory=list)
    compared: dict[str, Any] = field(default_factory=dict)
    provider: str = ""
    file_name: str = ""
    file_digest: str = ""


def amount(value: Decimal, currency: str) -> str:
    """An amount with its currency, at the currency's decimals unless it has more."""
    known = currency in CURRENCIES and book(value, currency) == value
    return f"{book(value, currency) if known else value.normalize():f} {currency}"
