"""A session is a token, and a token's secret is shown once: what is stored cannot be used to log in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from accounts import credentials, selectors
from accounts.credentials import InvalidCredentials, Proven, Secret
from accounts.models import ApiToken, Freeze, User
from core import audit
from core.audit import Actor
from core.db import retry_on_conflict
from core.errors import DomainError

logger = structlog.get_logger(__name__)

Scope = ApiToken.Scope

#: What a client's own tokens may do. Pushing quotes is not among it.
CLIENT_SCOPES = frozenset({Scope.READ, Scope.TRADE, Scope.TRANSFER, Scope.WITHDRAW})
MARKET_DATA_SCOPES = frozenset({Scope.MARKET_DATA})

TOKENS_MAX = 100
LIFETIME_MAX = timedelta(days=365)


class LoginFrozen(DomainError):
    code = "LOGIN_FROZEN"
    message = "Logging in to this account has been stopped; contact support."
    status = 403


class StaffLoginRefused(DomainError):
    code = "STAFF_LOGIN_REFUSED"
    message = "Staff sign in to the back office, with their second factor."
    status = 403


class ScopeNotHeld(DomainError):
    code = "SCOPE_NOT_HELD"
    message = "A token can only hand on scopes it has itself; this one lacks {missing}."
    status = 403


class TooManyTokens(DomainError):
    code = "TOO_MANY_TOKENS"
    message = "There are {max} tokens in force, which is the limit; revoke one first."


class TokenNotFound(DomainError):
    code = "TOKEN_NOT_FOUND"
    message = "There is no such token, or it is not yours."
    status = 404


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A new token's row and, for the one time it exists here, its secret."""

    row: ApiToken
    secret: Secret


@retry_on_conflict
@transaction.atomic(durable=True)
def log_in(*, person: Proven, scopes: Iterable[str] = CLIENT_SCOPES, name: str = "", actor: Actor) -> IssuedToken:
    """
    Open a session for a person who has proven their password.

    The person's row is locked, so that a session cannot slip past a freeze or a new password that is on its way.

    :raises InvalidCredentials: if the password was changed since it was checked
    :raises LoginFrozen: if compliance has stopped this person from logging in
    :raises StaffLoginRefused: if they are staff
    """
    user = _lock_person(person.id)
    if user.password != person.encoded or not user.is_active:
        raise InvalidCredentials
    if user.is_staff:
        raise StaffLoginRefused
    now = timezone.now()
    user.last_login = now
    user.save(update_fields=["last_login"])
    assert CLIENT_SCOPES.issuperset(scopes), "serializers offer no other scopes"
    issued = _issue(user, scopes=frozenset(scopes), name=name, addresses=(), lifetime=settings.TOKEN_LIFETIME)
    audit.record("accounts.session.opened", actor=actor, owner=user.pk, subject=issued.row, after=_facts(issued.row))
    _log_on_commit("accounts.session.opened", issued.row)
    return issued


@retry_on_conflict
@transaction.atomic(durable=True)
def create_token(
    *,
    owner: UUID,
    held: frozenset[str],
    scopes: Iterable[str],
    name: str,
    actor: Actor,
    addresses: tuple[str, ...] = (),
    lifetime: timedelta | None = None,
) -> IssuedToken:
    """
    Make a further token, for a device or a program; `held` is what whoever asks may do, and no token exceeds it.

    `lifetime` is `settings.TOKEN_LIFETIME` unless given; `addresses` are the networks it may be used from.

    :raises ScopeNotHeld: naming the scopes that cannot be handed on
    :raises LoginFrozen: if compliance has stopped this person from logging in
    :raises TooManyTokens: if the owner has too many in force
    """
    lifetime = lifetime or settings.TOKEN_LIFETIME
    assert timedelta(0) < lifetime <= LIFETIME_MAX
    wanted = frozenset(scopes)
    if not wanted <= held:
        raise ScopeNotHeld(missing=", ".join(sorted(wanted - held)))
    user = _lock_person(owner)
    if selectors.tokens_in_force(owner).count() >= TOKENS_MAX:
        raise TooManyTokens(max=TOKENS_MAX)
    issued = _issue(user, scopes=wanted, name=name, addresses=addresses, lifetime=lifetime)
    audit.record("accounts.token.created", actor=actor, owner=owner, subject=issued.row, after=_facts(issued.row))
    _log_on_commit("accounts.token.created", issued.row)
    return issued


@retry_on_conflict
@transaction.atomic(durable=True)
def revoke_token(*, owner: UUID, token_id: UUID, actor: Actor) -> None:
    """
    End a token at once; a log-out is this with the token that asks. Ending it again changes nothing.

    :raises TokenNotFound: if the owner has no such token
    """
    token = ApiToken.objects.select_for_update(no_key=True).order_by("pk").filter(pk=token_id, owner_id=owner).first()
    if token is None:
        raise TokenNotFound
    if token.revoked_at is not None:
        return
    token.revoked_at = timezone.now()
    token.save(update_fields=["revoked_at"])
    audit.record("accounts.token.revoked", actor=actor, owner=owner, subject=token)
    _log_on_commit("accounts.token.revoked", token)


@retry_on_conflict
@transaction.atomic(durable=True)
def revoke_tokens(*, owner: UUID, actor: Actor) -> int:
    """End every session of a person at once, and return how many it was."""
    user = User.objects.select_for_update(no_key=True).order_by("pk").get(pk=owner)
    revoked = credentials.revoke_tokens(owner=owner, now=timezone.now())
    audit.record("accounts.sessions.revoked", actor=actor, owner=owner, subject=user, after={"tokens_revoked": revoked})
    transaction.on_commit(
        partial(logger.info, "accounts.sessions.revoked", user_id=str(owner), tokens=revoked), robust=True
    )
    return revoked


@retry_on_conflict
@transaction.atomic(durable=True)
def purge_tokens(*, ended_for: timedelta, limit: int) -> int:
    """Delete at most `limit` tokens that ended longer ago than this, and return how many it was; 0: none is left."""
    before = timezone.now() - ended_for
    ended = (
        ApiToken.objects.filter(expires_at__lt=before).select_for_update(no_key=False, skip_locked=True).order_by("pk")
    )
    ids = list(ended.values_list("pk", flat=True)[:limit])
    deleted, _ = ApiToken.objects.filter(pk__in=ids).delete()
    return deleted


def _lock_person(owner: UUID) -> User:
    user = User.objects.select_for_update(no_key=True).order_by("pk").get(pk=owner)
    if Freeze.objects.filter(owner=user, scope=Freeze.Scope.LOGIN, lifted_at__isnull=True).exists():
        raise LoginFrozen
    return user


def _issue(
    user: User, *, scopes: frozenset[str], name: str, addresses: tuple[str, ...], lifetime: timedelta
) -> IssuedToken:
    secret, now = Secret.mint(), timezone.now()
    row = credentials.store_token(
        owner=user.pk,
        secret=secret,
        scopes=scopes,
        name=name,
        addresses=addresses,
        now=now,
        expires_at=now + lifetime,
    )
    return IssuedToken(row, secret)


def _facts(token: ApiToken) -> dict[str, object]:
    return {
        "prefix": token.prefix,
        "scopes": token.scopes,
        "addresses": token.addresses,
        "expires_at": token.expires_at,
    }


def _log_on_commit(event: str, token: ApiToken) -> None:
    transaction.on_commit(partial(logger.info, event, token_id=str(token.pk), user_id=str(token.owner_id)), robust=True)
