"""One look at one client: who is looked at, what the one who looks may see, and where each list goes on."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts.models import User
from config.back_office.masking import may_see_personal_data
from config.back_office.pages import PAGES
from core.money import show
from trading import margin

#: Rows of a list on one page.
ROWS = 25

_SERIAL = re.compile(r"\A[0-9]{1,18}\Z")


@dataclass(frozen=True, slots=True)
class Table:
    """A table that ends: what is behind its last row is a link away. `headers` may be empty, for facts about one."""

    title: str
    headers: tuple[str, ...]
    rows: list[list[Any]]
    older: str = ""
    newest: str = ""
    remark: str = ""

    @property
    def data(self) -> dict[str, Any]:
        """As unfold's table component wants it; a value that is not known is a dash."""
        rows = [["–" if cell is None or cell == "" else cell for cell in row] for row in self.rows]
        return {"headers": list(self.headers), "rows": rows}


@dataclass(frozen=True, slots=True)
class Look:
    """A client as one member of staff sees them, in the section that was asked for."""

    client: User
    request: HttpRequest
    section: str
    sees_personal_data: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sees_personal_data", may_see_personal_data(self.request))

    def may(self, *permissions: str) -> bool:
        return self.request.user.has_perms(permissions)

    def link(self, section: str, **parameters: Any) -> str:
        """Another section of this client, or this one further on."""
        return client_url(self.client.pk, section, **parameters)

    def to(self, row: Model | None, text: str = "") -> str | SafeString:
        """A link to a row's own page, or just its name for those who may not look at it."""
        return "" if row is None else link_to(self.request, type(row), row.pk, text or str(row))

    def table(
        self,
        name: str,
        rows: QuerySet[Any],
        cells: Callable[[Any], list[Any]],
        *,
        title: str,
        headers: tuple[str, ...],
        key: str = "id",
        remark: str = "",
        **kept: Any,
    ) -> Table:
        """
        The newest ROWS of a list by its key, or those before the one that the request names for this list.

        One row more is read than is shown, which tells whether there are older ones. `kept` is what the link to them
        repeats.
        """
        found = list(self.before(name, rows, key=key)[: ROWS + 1])
        shown = found[:ROWS]
        return Table(
            title=title,
            headers=headers,
            rows=[cells(row) for row in shown],
            older=self.link(self.section, **kept, **{name: getattr(shown[-1], key)}) if len(found) > ROWS else "",
            newest=self.link(self.section, **kept) if name in self.request.GET else "",
            remark=remark,
        )

    def before(self, name: str, rows: QuerySet[Any], *, key: str = "id") -> QuerySet[Any]:
        """The rows from where the request goes on, newest first; what is no key is as good as none."""
        mark = _mark(self.request.GET.get(name, ""), rows.model._meta.get_field(key).get_internal_type())
        return (rows if mark is None else rows.filter(**{f"{key}__lt": mark})).order_by(f"-{key}")


def _mark(text: str, kind: str) -> UUID | int | None:
    if kind != "UUIDField":
        return int(text) if _SERIAL.match(text) else None
    try:
        return UUID(text)
    except ValueError:
        return None


# --- How things are spelled -------------------------------------------------------------------------------------------


def client_url(client: UUID, section: str = "", **parameters: Any) -> str:
    query = urlencode(({"tab": section} if section else {}) | parameters)
    return reverse("admin:client", args=[client]) + (f"?{query}" if query else "")


#: Rows that have a page of their own, with more to it than the admin's, wherever that page exists.
ROW_PAGES = {
    "wallets.ledgertransaction": "ledger-transaction",
    "wallets.deposit": "deposit",
    "wallets.withdrawal": "withdrawal",
    "trading.order": "order",
    "accounts.verification": "verification",
    "accounts.freeze": "freeze",
    "core.auditevent": "audit-event",
}


def row_url(model: type[Model], key: Any) -> str:
    """The page of one row: its own, or the one that every row has."""
    options = model._meta
    name = ROW_PAGES.get(options.label_lower)
    if name not in PAGES:
        name = f"{options.app_label}_{options.model_name}_change"
    return reverse(f"admin:{name}", args=[key])


def may_look_at(request: HttpRequest, model: type[Model]) -> bool:
    return request.user.has_perm(f"{model._meta.app_label}.view_{model._meta.model_name}")


def link_to(request: HttpRequest, model: type[Model], key: Any, text: str) -> str | SafeString:
    """A link to the page of one row, or the text alone for those who may not look at it."""
    return anchor(row_url(model, key), text) if may_look_at(request, model) else text


def anchor(url: str, text: str) -> SafeString:
    return format_html('<a class="text-link" href="{}">{}</a>', url, text)


@lru_cache(maxsize=256)
def label(text: str, kind: str = "") -> SafeString:
    """A word in a coloured box; `kind` is one of unfold's: info, success, warning, danger."""
    return render_to_string("unfold/helpers/label.html", {"text": text, "type": kind})


def environment_label(environment: str) -> SafeString:
    """DEMO can never be taken for LIVE."""
    return label(environment, "warning" if environment == "DEMO" else "success")


_KINDS = {
    "danger": {"REJECTED", "FAILED", "REVERSED", "FROZEN", "STOP_OUT", "REVOKED"},
    "warning": {"PENDING", "SUBMITTED", "IN_REVIEW", "ACTION_REQUIRED", "REQUESTED", "WORKING", "MARGIN_CALL"},
    "success": {"APPROVED", "COMPLETED", "FILLED", "OPEN", "ACTIVE", "PAID", "IN FORCE"},
    "info": {"CREATED", "SENT"},
}


def status_label(status: str, text: str = "") -> SafeString:
    """A status in its colour, as `text` if it needs more words."""
    kind = next((kind for kind, statuses in _KINDS.items() if status in statuses), "")
    return label((text or status).replace("_", " "), kind)


def moment(when: datetime | None) -> str:
    """In UTC, like every time on the desk."""
    return "" if when is None else f"{when.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def money(amount: Decimal | None, currency: str) -> str:
    return "" if amount is None else f"{show(amount, currency)} {currency}"


def number(value: Decimal | None) -> str:
    """A price or a volume without the zeros that only its column has."""
    return "" if value is None else margin.plain(value)


def listed(words: Iterable[Any]) -> str:
    return ", ".join(map(str, words))
