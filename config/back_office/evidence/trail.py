"""Who did what to whom: the trail newest first, a page at a time by key, so that its length costs nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet

from accounts.models import User
from config.back_office.masking import masked_email, masked_phone
from core.audit import ActorKind
from core.errors import NotFound
from core.models import AuditEvent
from wallets.models import LedgerTransaction

PAGE_ROWS = 50
#: Of a request: it does one thing as a rule. A command's name stands for all its runs, of which the last are shown.
REQUEST_ROWS = 100

ACTOR_KINDS = tuple(kind.value for kind in ActorKind)
#: How actions begin: by room, and by what is most asked for.
PREFIXES = (
    "accounts.",
    "accounts.freeze.",
    "accounts.session.",
    "accounts.staff.",
    "accounts.verification.",
    "core.",
    "referrals.",
    "reconciliation.",
    "trading.",
    "wallets.",
    "wallets.bank_account.",
    "wallets.deposit.",
    "wallets.withdrawal.",
)

#: What not everybody may read of a person, by the name that a changed field has in an event.
PERSONAL = frozenset({"email", "phone", "address", "date_of_birth", "number", "holder", "name"})


@dataclass(frozen=True, slots=True)
class Filters:
    """What was chosen of the fixed choices, and what was typed."""

    actor_kind: str = ""
    prefix: str = ""
    words: str = ""
    before: UUID | None = None

    @classmethod
    def read(cls, query: Any) -> Filters:
        """What is not among the choices is not chosen."""
        kind, prefix = query.get("actor", ""), query.get("action", "")
        return cls(
            actor_kind=kind if kind in ACTOR_KINDS else "",
            prefix=prefix if prefix in PREFIXES else "",
            words=query.get("q", "").strip().replace("\x00", "")[:64],
            before=as_uuid(query.get("before", "")),
        )


def as_uuid(text: str) -> UUID | None:
    """The id that a text is, if it is one."""
    try:
        return UUID(text)
    except ValueError:
        return None


def events(filters: Filters) -> list[AuditEvent]:
    """
    A page of the trail and one row more, if there is more.

    What is typed is an action's whole name, or an id: a client's, an actor's request's, an object's; each is found by
    an index of its own.
    """
    rows = AuditEvent.objects.order_by("-id")
    if filters.actor_kind:
        rows = rows.filter(actor_kind=filters.actor_kind)
    if filters.prefix:
        rows = rows.filter(action__startswith=filters.prefix)
    if filters.words:
        rows = rows.filter(pk__in=_found(filters.words))
    if filters.before is not None:
        rows = rows.filter(id__lt=filters.before)
    return list(rows[: PAGE_ROWS + 1])


#: A search reads the last ones of what it finds; whoever needs more has an export.
FOUND_MAX = 1_000


def _found(words: str) -> list[UUID]:
    """By one index after the other: together, by OR, none of them might be used."""
    id_ = as_uuid(words)
    ways = [Q(action=words), Q(request_id=words), Q(object_type__in=_object_types(), object_id=words)]
    if id_ is not None:
        ways += [Q(owner=id_), Q(pk=id_)]
    found: list[UUID] = []
    for way in ways:
        found += AuditEvent.objects.filter(way).order_by("-id").values_list("pk", flat=True)[:FOUND_MAX]
    return found


def _object_types() -> list[str]:
    """Every table an event can be about: the index by object begins with it."""
    from django.apps import apps

    return [model._meta.label_lower for model in apps.get_models()]


def event(event_id: UUID) -> AuditEvent:
    """:raises NotFound: if there is none"""
    found = AuditEvent.objects.filter(pk=event_id).first()
    if found is None:
        raise NotFound
    return found


def of_request(request_id: str) -> tuple[list[AuditEvent], list[LedgerTransaction]]:
    """Everything that was told and posted under one request, newest first."""
    told: QuerySet[AuditEvent] = AuditEvent.objects.filter(request_id=request_id).order_by("-id")
    posted = LedgerTransaction.objects.filter(request_id=request_id).order_by("-id")
    return list(told[:REQUEST_ROWS]), list(posted[:REQUEST_ROWS])


def people(ids: Iterable[UUID | None]) -> dict[UUID, User]:
    """Who is meant, by id, in one query."""
    return User.objects.in_bulk({id_ for id_ in ids if id_ is not None})


# --- Before and after -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Change:
    """One field of the object: what it was and what it became; a dash where it was not told."""

    name: str
    before: str
    after: str

    @property
    def is_changed(self) -> bool:
        return self.before != self.after


def changes(told: AuditEvent, *, in_clear: bool) -> list[Change]:
    """Field by field, nested ones by their path; personal data masked unless it may be read `in_clear`."""
    before, after = dict(_leaves(told.before or {})), dict(_leaves(told.after or {}))
    return [
        Change(name, *(_shown(name, side, in_clear=in_clear) for side in (before, after)))
        for name in dict.fromkeys([*before, *after])
    ]


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for name, part in value.items():
            yield from _leaves(part, f"{path}.{name}" if path else str(name))
    else:
        yield path or "value", value


def _shown(path: str, side: dict[str, Any], *, in_clear: bool) -> str:
    if path not in side:
        return "–"
    value = side[path]
    if value is None:
        return "none"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    text = str(value)
    personal = PERSONAL & set(path.split("."))
    if in_clear or not personal:
        return text
    if "email" in personal:
        return masked_email(text)
    return masked_phone(text) if "phone" in personal else "•••"
