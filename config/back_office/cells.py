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

from config.back_office.pages import PAGES
from core.money import CURRENCIES, book

#: Rows with a page of their own, by model; all others are shown by their model's read-only form.
OWN_PAGES = {
    "accounts.freeze": "freeze",
    "accounts.user": "client",
    "core.auditevent": "audit-event",
    "referrals.commission": "commission",
    "trading.order": "order",
    "wallets.adjustment": "adjustment",
    "wallets.deposit": "deposit",
    "wallets.ledgertransaction": "ledger-transaction",
    "wallets.withdrawal": "withdrawal",
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


def address(request: HttpRequest, row: Any) -> str:
    """Where a row (a model instance or a `Row`) is shown to this member of staff; empty where it is not."""
    name = row.model.lower() if isinstance(row, Row) else row._meta.label_lower
    page = PAGES.get(OWN_PAGES.get(name, ""))
    if page is not None:
        return reverse(f"admin:{page.name}", args=[row.pk]) if request.user.has_perm(page.permission) else ""
    try:
        model = apps.get_model(name)
    except (LookupError, ValueError):
        return ""  # a trail outlives what it tells of
    app, model_name = model._meta.app_label, model._meta.model_name
    if not site.is_registered(model) or not request.user.has_perm(f"{app}.view_{model_name}"):
        return ""
    return reverse(f"admin:{app}_{model_name}_change", args=[row.pk])


def link(request: HttpRequest, row: Any, text: object) -> SafeString | str:
    """The text, and a way to the row's page for those who may see it."""
    href = address(request, row)
    return anchor(href, text) if href else str(text)


def anchor(href: str, text: object) -> SafeString:
    """A link as unfold's pages have them."""
    return format_html('<a class="text-primary-600 dark:text-primary-500" href="{}">{}</a>', href, text)
