"""One look at one client: who is looked at, what the one who looks may see, and where each list goes on."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.safestring import SafeString

from accounts.models import User
from config.back_office.cells import VARIANTS, label, link
from config.back_office.masking import may_see_personal_data
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
        return "" if row is None else link(self.request, row, text or str(row))

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


def may_look_at(request: HttpRequest, model: type[Model]) -> bool:
    return request.user.has_perm(f"{model._meta.app_label}.view_{model._meta.model_name}")


def environment_label(environment: str) -> SafeString:
    """DEMO can never be taken for LIVE."""
    return label(environment, "warning" if environment == "DEMO" else "success")


def status_label(status: str, text: str = "") -> SafeString:
    """A status in its colour, as `text` if it needs more words."""
    return label((text or status).replace("_", " "), VARIANTS.get(status, "default"))


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
