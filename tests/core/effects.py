"""A small operation of the tests' own, so that core is shown to keep its promises without any room above it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.db import transaction

from core.audit import Actor
from core.db import retry_on_conflict
from core.errors import DomainError
from core.idempotency import Answer, Claim, Operation, exactly_once
from core.ids import uuid7
from core.models import JobRun

NOTE = Operation("NOTE", None)
OTHER = Operation("OTHER", None)

ALICE = UUID("01890a5d-ac96-774b-bcce-b302099a8057")
BOB = UUID("01890a5d-ac96-774b-bcce-b302099a8058")
KEY = "key-0123456789abcdef"


class NoteRefused(DomainError):
    code = "TEST_NOTE_REFUSED"
    message = "No note is taken of {name}."


class NoteNotFound(DomainError):
    code = "TEST_NOTE_NOT_FOUND"
    message = "There is no such note."
    status = 404


def nothing() -> None:
    """What happens at a named point of the service, unless a test wants something to happen there."""


@retry_on_conflict
@transaction.atomic(durable=True)
@exactly_once(NOTE)
def take_note(
    *,
    name: str,
    claim: Claim,
    actor: Actor | None = None,
    before_write: Callable[[], None] = nothing,
    after_write: Callable[[], None] = nothing,
) -> Answer:
    """Leave one row of that name."""
    before_write()
    row = JobRun.objects.create(name=name)
    after_write()
    return Answer.of({"id": row.id, "name": name, "by": actor.id if actor else None}, effect_id=row.id)


def claim(key: str = KEY, *, owner: UUID = ALICE, operation: Operation = NOTE, **request: Any) -> Claim:
    return Claim.make(
        operation=operation, owner=owner, key=key, request=request or {"name": "a"}, instance="/notes", request_id="r"
    )


def notes(name: str) -> int:
    return JobRun.objects.filter(name=name).count()


def some_id() -> UUID:
    return uuid7()
