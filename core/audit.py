"""An audit event is written in the same transaction as what it records, or neither exists."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from core import db
from core.errors import plain
from core.ids import HOUSE
from core.models import AuditEvent


class ActorKind(StrEnum):
    CLIENT = "CLIENT"
    STAFF = "STAFF"
    SYSTEM = "SYSTEM"
    PROVIDER = "PROVIDER"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who is acting: a client, a member of staff, a payment provider or the system, and under which request."""

    id: UUID
    kind: ActorKind
    request_id: str = ""
    address: str | None = None

    @classmethod
    def system(cls, name: str = "") -> Actor:
        """The desk itself: a command or a scheduled job; `name` stands in for the request id."""
        return cls(id=HOUSE, kind=ActorKind.SYSTEM, request_id=name)


def record(
    action: str,
    *,
    actor: Actor,
    owner: UUID,
    subject: Any,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
    reason: str = "",
) -> AuditEvent:
    """
    Write one audit event about `subject` (a model instance) inside the caller's transaction.

    `before` and `after` carry the changed fields only, never a secret. `owner` is the client it concerns.
    """
    db.require_transaction()
    return AuditEvent.objects.create(
        action=action,
        owner=owner,
        actor_id=actor.id,
        actor_kind=actor.kind,
        object_type=subject._meta.label_lower,
        object_id=str(subject.pk),
        before=plain(before) if before is not None else None,
        after=plain(after) if after is not None else None,
        reason=reason,
        request_id=actor.request_id,
        address=actor.address,
    )
