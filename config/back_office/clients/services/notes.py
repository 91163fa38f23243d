"""A note stays as it was written, under the name of whoever wrote it."""

from __future__ import annotations

from functools import partial
from uuid import UUID

import structlog
from django.db import transaction

from accounts.models import User
from config.back_office.clients.models import NOTE_CHARACTERS_MAX, ClientNote
from core import audit
from core.audit import Actor, ActorKind
from core.db import retry_on_conflict
from core.errors import DomainError, NotFound

logger = structlog.get_logger(__name__)


class NoteInvalid(DomainError):
    code = "NOTE_INVALID"
    message = "A note has between 1 and {max} characters."
    status = 400


@retry_on_conflict
@transaction.atomic(durable=True)
def add_note(*, client: UUID, text: str, actor: Actor) -> ClientNote:
    """
    Leave a note about a client for whoever deals with them next.

    :raises NoteInvalid: if it says nothing, or too much
    :raises NotFound: if there is no such client
    """
    assert actor.kind == ActorKind.STAFF, "notes are what staff write"
    if not text.strip() or len(text) > NOTE_CHARACTERS_MAX or "\0" in text:
        raise NoteInvalid(max=NOTE_CHARACTERS_MAX)
    if not User.objects.filter(pk=client, number__isnull=False).exists():
        raise NotFound
    note = ClientNote.objects.create(owner_id=client, author_id=actor.id, text=text)
    audit.record("clients.note.added", actor=actor, owner=client, subject=note)
    transaction.on_commit(
        partial(logger.info, "config.note.added", note_id=str(note.pk), user_id=str(client)), robust=True
    )
    return note
