"""A client is protected by the rules of the country they live in, and by the strictest where that is not known."""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from accounts.models import JURISDICTION_UNKNOWN
from accounts.rules import COUNTRIES

#: No regulator that we list: only the desk's own limits apply.
DESK = "DESK"

DATA = Path(__file__).resolve().parent / "data"


def jurisdiction_of(country: str) -> str:
    """
    Whose leverage caps protect a client who lives in this country (ISO 3166).

    A country that no listed regulator answers for has `settings.JURISDICTION_DEFAULT`. No country, or one that there is
    not, has the strictest: a client must not lose a protection because we don't know where they live.
    """
    regulator = _regulators().get(country)
    if regulator is not None:
        return regulator
    default: str = settings.JURISDICTION_DEFAULT
    return default if country in COUNTRIES else JURISDICTION_UNKNOWN


def regulated() -> frozenset[str]:
    """Every jurisdiction that has leverage caps of its own."""
    return frozenset(_regulators().values())


def require_known(jurisdiction: str) -> None:
    """:raises ImproperlyConfigured: if a setting names a jurisdiction that nobody knows the rules of"""
    known = sorted(regulated() | {DESK})
    if jurisdiction not in known:
        raise ImproperlyConfigured(f"JURISDICTION_DEFAULT={jurisdiction!r} is none of {', '.join(known)}")


@cache
def _regulators() -> dict[str, str]:
    with (DATA / "jurisdictions.csv").open(newline="") as file:
        return {row["country"]: row["jurisdiction"] for row in csv.DictReader(file)}
