"""What stands in the cell of a table: an amount as it is booked, a coloured word, a way to a row's own page."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, NamedTuple, TypedDict

from django.apps import apps
from django.contrib.admin import site
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts.models import User
from config.back_office.pages import PAGES
from core.money import CURRENCIES, book

#: Rows with a page of their own, by model; all others are shown by their model's read-only form.
OWN_PAGES = {
    "accounts.freeze": "freeze",
    "accounts.user": "client",
    "accounts.verification": "verification",
    "core.auditevent": "audit-event",
    "referrals.commission": "commission",
    "trading.order": "order",
    "wallets.adjustment": "adjustment",
    "wallets.deposit": "deposit",
    "wallets.ledgertransaction": "ledger-transaction",
    "wallets.withdrawal": "withdrawal",
}


#: How a state is coloured, wherever it is shown: what waits, what is being looked at, what went well, and what did not.
VARIANTS = {
    "CREATED": "info",
    "PENDING": "info",
    "PROPOSED": "info",
    "REQUESTED": "info",
    "SUBMITTED": "info",
    "ACTION_REQUIRED": "warning",
    "IN_REVIEW": "warning",
    "MARGIN_CALL": "warning",
    "WORKING": "warning",
    "ACTIVE": "success",
    "APPROVED": "success",
    "COMPLETED": "success",
    "FILLED": "success",
    "IN FORCE": "success",
    "OPEN": "success",
    "PAID": "success",
    "SENT": "success",
    "FAILED": "danger",
    "FROZEN": "danger",
    "REJECTED": "danger",
    "REVERSED": "danger",
    "REVOKED": "danger",
    "STOP_OUT": "danger",
}


class Table(TypedDict):
    """What unfold's table component draws."""

    headers: list[str]
    rows: list[list[Any]]


class Row(NamedTuple):
    """A row that is known by its model and key alone."""

    model: str
    pk: Any


def money(amount: Decimal | None, currency: str) -> str:
    """An amount with its currency's decimals, or with all it has where it should have fewer; a dash for none."""
    if amount is None:
        return "–"
    known = currency in CURRENCIES
    return format(book(amount, currency) if known and book(amount, currency) == amount else amount, "f")


def label(text: object, variant: str = "default", *, title: str = "") -> SafeString:
    """A word on a coloured ground (`success`, `warning`, `danger`, `info` or `default`); `title` explains it."""
    return render_to_string("unfold/helpers/label.html", {"text": text, "variant": variant, "label_title": title})


class Place(NamedTuple):
    """Where a row is shown, and the permission it takes to look."""

    url: str
    permission: str


def place(row: Any) -> Place | None:
    """
    Where a row (a model instance or a `Row`) is shown, if anywhere.

    A person who is no client (staff, the house) has no client's page; by a `Row` alone they are taken for a client.
    """
    name = row.model.lower() if isinstance(row, Row) else row._meta.label_lower
    page = PAGES.get(OWN_PAGES.get(name, ""))
    if page is not None and not (isinstance(row, User) and row.number is None):
        return Place(reverse(f"admin:{page.name}", args=[row.pk]), page.permission)
    try:
        model = apps.get_model(name)
    except (LookupError, ValueError):
        return None  # a trail outlives what it tells of
    if not site.is_registered(model):
        return None
    app, model_name = model._meta.app_label, model._meta.model_name
    return Place(reverse(f"admin:{app}_{model_name}_change", args=[row.pk]), f"{app}.view_{model_name}")


def address(request: HttpRequest, row: Any) -> str:
    """Where a row is shown to this member of staff; empty where it is not."""
    found = place(row)
    return found.url if found is not None and request.user.has_perm(found.permission) else ""


def link(request: HttpRequest, row: Any, text: object) -> SafeString | str:
    """The text, and a way to the row's page for those who may see it."""
    href = address(request, row)
    return anchor(href, text) if href else str(text)


def anchor(href: str, text: object) -> SafeString:
    """A link as unfold's pages have them."""
    return format_html('<a class="text-primary-600 dark:text-primary-500" href="{}">{}</a>', href, text)


def colleague(person: User | None) -> str:
    """A member of staff by name."""
    return "–" if person is None else person.name or person.email


def colleagues(*ids: Any) -> dict[Any, str]:
    """The names of those who are known by their ids alone; the desk itself is one of them."""
    return {person.pk: colleague(person) for person in User.objects.filter(pk__in=[id_ for id_ in ids if id_])}
