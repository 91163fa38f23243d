"""A new password ends every session, and a link in a letter works once."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from uuid import UUID

import structlog
from django.contrib.auth.tokens import PasswordResetTokenGenerator
from django.db import transaction
from django.utils import timezone

from accounts import credentials, mail
from accounts.credentials import InvalidCredentials, PasswordHash, Proven
from accounts.models import User
from core import audit, throttling
from core.audit import Actor
from core.db import retry_on_conflict
from core.errors import DomainError

logger = structlog.get_logger(__name__)


class LinkInvalid(DomainError):
    code = "LINK_INVALID"
    message = "This link has been used or has run out; ask for a new one."


@retry_on_conflict
@transaction.atomic(durable=True)
def change_password(*, person: Proven, password: PasswordHash, actor: Actor) -> None:
    """
    Set a new password for a person who has just proven the old one; every session ends, this one too.

    :raises InvalidCredentials: if the old password has been changed meanwhile
    """
    user = User.objects.select_for_update(no_key=True).order_by("pk").get(pk=person.id)
    if user.password != person.encoded:
        raise InvalidCredentials
    _set(user, password, action="accounts.password.changed", actor=actor)


@retry_on_conflict
@transaction.atomic(durable=True)
def request_password_reset(*, email: str) -> None:
    """
    Send whoever has this address the means to set a new password; nothing tells whether anybody has it.

    :raises RateLimited: after too many letters to one address
    """
    throttling.throttle("password_reset", email)
    user = User.objects.with_email(email).filter(is_active=True, is_staff=False).first()
    if user is None:
        return
    mail.send_reset_on_commit(user)
    transaction.on_commit(partial(logger.info, "accounts.password_reset.requested", user_id=str(user.pk)), robust=True)


@retry_on_conflict
@transaction.atomic(durable=True)
def reset_password(*, user_id: UUID, token: str, password: PasswordHash, actor: Actor) -> None:
    """
    Set a new password with the means from a letter; every session ends, and the address is confirmed by it.

    :raises LinkInvalid: if the letter was not for this person, is too old, or has been used
    """
    user = _reader_of(credentials.password_reset, user_id, token)
    if user.email_confirmed_at is None:
        user.email_confirmed_at = timezone.now()
        user.save(update_fields=["email_confirmed_at"])
    _set(user, password, action="accounts.password.reset", actor=replace(actor, id=user.pk))


@retry_on_conflict
@transaction.atomic(durable=True)
def confirm_email(*, user_id: UUID, token: str, actor: Actor) -> None:
    """
    Note that the person reads the mailbox they named.

    :raises LinkInvalid: if the letter was not for this person, is too old, or has been used
    """
    user = _reader_of(credentials.email_confirmation, user_id, token)
    user.email_confirmed_at = timezone.now()
    user.save(update_fields=["email_confirmed_at"])
    audit.record("accounts.email.confirmed", actor=replace(actor, id=user.pk), owner=user.pk, subject=user)


def _reader_of(letters: PasswordResetTokenGenerator, user_id: UUID, token: str) -> User:
    """The person a letter was for, locked, so that of two who use it at once only one finds it unused."""
    user = User.objects.select_for_update(no_key=True).order_by("pk").filter(pk=user_id, is_active=True).first()
    if user is None or user.is_staff or not letters.check_token(user, token):
        raise LinkInvalid
    return user


def _set(user: User, password: PasswordHash, *, action: str, actor: Actor) -> None:
    now = timezone.now()
    user.password, user.updated_at = password, now
    user.save(update_fields=["password", "updated_at"])
    revoked = credentials.revoke_tokens(owner=user.pk, now=now)
    audit.record(action, actor=actor, owner=user.pk, subject=user, after={"tokens_revoked": revoked})
    mail.tell_of_new_password_on_commit(user)
    transaction.on_commit(partial(logger.info, action, user_id=str(user.pk)), robust=True)
