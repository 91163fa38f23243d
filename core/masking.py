"""Whoever answers the telephone recognises a client by what they say, and reads no more of it than that takes."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

#: The permission to read personal data in clear.
SEE_PERSONAL_DATA = "accounts.see_personal_data"

WITHHELD = "•••••••"


def may_see_personal_data(request: HttpRequest) -> bool:
    """Whether this member of staff reads addresses, numbers and dates of birth in clear."""
    return request.user.has_perm(SEE_PERSONAL_DATA)


def masked_email(text: str | None) -> str:
    """`a***@example.com`: the first letter and the domain."""
    local, at, domain = (text or "").rpartition("@")
    return f"{local[:1]}***{at}{domain}" if at else ""


def masked_phone(text: str | None) -> str:
    """`•••••••0101`: the last four digits, and not how many come before."""
    return f"{WITHHELD}{text[-4:]}" if text and len(text) > 4 else ""


def withheld(value: Any) -> str:
    """`•••••••`: that there is something, and nothing of what it is."""
    return WITHHELD if value else ""
