"""Every stay in the back office is on a list, and whoever is named on it can be shown the door."""

from __future__ import annotations

from functools import partial
from uuid import UUID

import structlog
from django.db import transaction
from django.utils import timezone

from accounts import credentials
from accounts.models import StaffSession, User
from core import audit
from core.audit import Actor
from core.db import retry_on_conflict
from core.errors import DomainError
from core.ids import HOUSE
from wallets.rules import require_reason

logger = structlog.get_logger(__name__)

USER_AGENT_CHARACTERS_MAX = 200


class SessionNotFound(DomainError):
    code = "SESSION_NOT_FOUND"
    message = "There is no such session, or it is over."
    status = 404


@retry_on_conflict
@transaction.atomic(durable=True)
def open_session(*, owner: UUID, key: str, user_agent: str, device: str, actor: Actor) -> StaffSession:
    """Put a session on the list whose log-in has just succeeded; `device` is the kind of second factor it was with."""
    session = StaffSession.objects.create(
        owner_id=owner,
        digest=credentials.session_digest(key),
        address=actor.address,
        user_agent=user_agent[:USER_AGENT_CHARACTERS_MAX],
    )
    audit.record("accounts.staff.logged_in", actor=actor, owner=owner, subject=session, after={"second_factor": device})
    _log_on_commit("accounts.staff.logged_in", session)
    return session


@retry_on_conflict
@transaction.atomic(durable=True)
def adopt_session(*, owner: UUID, key: str, user_agent: str, address: str | None) -> StaffSession:
    """Put a session on the list that nobody has seen log in: who is inside without being on it must be looked at."""
    session, is_new = StaffSession.objects.get_or_create(
        digest=credentials.session_digest(key),
        defaults={"owner_id": owner, "address": address, "user_agent": user_agent[:USER_AGENT_CHARACTERS_MAX]},
    )
    if is_new:
        transaction.on_commit(
            partial(logger.warning, "accounts.staff.session_unaccounted_for", session_id=str(session.pk)), robust=True
        )
    return session


@retry_on_conflict
@transaction.atomic(durable=True)
def refuse_log_in(*, email: str, why: str, actor: Actor) -> None:
    """
    Remember that somebody was not let in, under the name of the member of staff they gave.

    A name that is nobody's is not written down: it may well be a password, typed into the wrong field.
    """
    known = User.objects.with_email(email).filter(is_staff=True).first()
    user = known or User(pk=HOUSE)
    audit.record("accounts.staff.log_in_refused", actor=actor, owner=user.pk, subject=user, after={"why": why})


@retry_on_conflict
@transaction.atomic(durable=True)
def touch_session(*, session_id: UUID) -> None:
    """Note that a session is in use."""
    StaffSession.objects.filter(pk=session_id, ended_at__isnull=True).update(seen_at=timezone.now())


@retry_on_conflict
@transaction.atomic(durable=True)
def end_session(*, session_id: UUID, reason: str, actor: Actor) -> StaffSession:
    """
    End a session: its next request is answered with the log-in page. A log-out is this, by its owner.

    :raises ReasonRequired: without a reason
    :raises SessionNotFound: if there is none of this id that has not ended
    """
    require_reason(reason)
    session = (
        StaffSession.objects.filter(pk=session_id, ended_at__isnull=True)
        .select_for_update(no_key=True)
        .order_by("pk")
        .first()
    )
    if session is None:
        raise SessionNotFound
    session.ended_at, session.reason = timezone.now(), reason
    session.ended_by_id = None if actor.id == HOUSE else actor.id
    session.save(update_fields=["ended_at", "ended_by", "reason"])
    audit.record("accounts.staff.logged_out", actor=actor, owner=session.owner_id, subject=session, reason=reason)
    _log_on_commit("accounts.staff.logged_out", session)
    return session


def _log_on_commit(event: str, session: StaffSession) -> None:
    transaction.on_commit(
        partial(logger.info, event, session_id=str(session.pk), user_id=str(session.owner_id)), robust=True
    )
