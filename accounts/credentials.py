"""Secrets become what may be stored before a transaction begins, and the types keep the raw ones out of it."""

from __future__ import annotations

import re
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from hashlib import sha256
from typing import Any, NewType
from uuid import UUID

from django.conf import settings
from django.contrib.auth.hashers import check_password, make_password
from django.contrib.auth.password_validation import validate_password
from django.contrib.auth.tokens import PasswordResetTokenGenerator
from django.core.exceptions import ValidationError
from django.utils.crypto import salted_hmac

from accounts.models import ApiToken, StaffSession, User
from core import db, throttling
from core.errors import DomainError
from core.throttling import Attempt

# --- Passwords ------------------------------------------------------------------------------------------------------

#: An encoded argon2 hash. Services take this and never a raw password: hashing takes tens of milliseconds, which
#: nobody may spend between a lock and a commit, and a type checker can see that nobody does.
PasswordHash = NewType("PasswordHash", str)


class PasswordTooWeak(DomainError):
    code = "PASSWORD_TOO_WEAK"
    message = "This password is too easy to guess; `errors` says why."
    status = 400


class InvalidCredentials(DomainError):
    code = "INVALID_CREDENTIALS"
    message = "The email address and the password do not belong together."
    status = 401


@dataclass(frozen=True, slots=True)
class Proven:
    """A person who has just given the right password; `encoded` is what it was checked against."""

    id: UUID
    email: str
    encoded: str


def hash_password(password: str, *, field: str = "password", **about: str) -> PasswordHash:
    """
    The hash to store for a new password; `about` is what it must not resemble (`email=…, name=…`).

    :raises PasswordTooWeak: if it is short, common or like its owner's own data
    :raises Unavailable: if too many others are being hashed
    """
    try:
        validate_password(password, User(**about))
    except ValidationError as error:
        named = [{"field": field, "code": PasswordTooWeak.code, "message": message} for message in error.messages]
        raise PasswordTooWeak(errors=named) from None
    return PasswordHash(make_password(password))


def prove(*, email: str, password: str, address: str | None) -> Proven:
    """
    The person behind an email address and a password, with the same work and the same answer for unknown names.

    Only failures count against the limits, but an attempt is counted before it is known to fail: otherwise fifty
    guesses made at once would all be let through.

    :raises RateLimited: after too many failures from this address, for this name or for any
    :raises InvalidCredentials: if they do not belong together, or the person may not log in at all
    :raises Unavailable: if too many passwords are being hashed
    """
    with counting_failures(email, address):
        return _check(email, password)


@contextmanager
def counting_failures(email: str, address: str | None) -> Iterator[None]:
    """
    Let an attempt to log in through, and forget it again unless the block raises.

    :raises RateLimited: after too many failures from this address, for this name or for any
    """
    counted = (("login_account", email, address or ""), ("login_address", address or ""))
    for scope, *ident in counted:
        throttling.throttle(scope, *ident)
    yield
    for scope, *ident in counted:
        throttling.refund(scope, *ident)


def _check(email: str, password: str) -> Proven:
    person, decoy = User.objects.with_email(email).filter(is_active=True).first(), _decoy()
    encoded = decoy if person is None else person.password
    is_right = check_password(password, encoded)
    if person is None or not is_right:
        raise InvalidCredentials
    return Proven(person.id, email, encoded)


@cache
def _decoy() -> str:
    """What an unknown name's password is checked against, so that it takes as long as a known one's."""
    return make_password(secrets.token_urlsafe())


# --- What is proven by mail ------------------------------------------------------------------------------------------


class EmailConfirmation(PasswordResetTokenGenerator):
    """Django's generator over other facts: a confirmation is spent once the address is confirmed, or changed."""

    key_salt = "accounts.credentials.EmailConfirmation"

    def _make_hash_value(self, user: User, timestamp: int) -> str:
        return f"{user.pk}{user.email}{user.email_confirmed_at}{timestamp}"


#: Django's own: spent by a log-in, a new password or a new address.
password_reset = PasswordResetTokenGenerator()
email_confirmation = EmailConfirmation()


# --- Tokens ---------------------------------------------------------------------------------------------------------

#: `dd_<8 characters to recognise it by>_<256 bits, base64url>`. Secret scanners know a leak by this shape.
TOKEN = re.compile(r"\Add_[a-z2-7]{8}_[A-Za-z0-9_-]{43}\Z", re.ASCII)
TOKEN_PREFIX_CHARACTERS = 11
_PREFIX_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"


@dataclass(frozen=True, slots=True)
class Secret:
    """A new token's secret, to be shown once; what is stored is its prefix and its digest."""

    text: str

    @classmethod
    def mint(cls) -> Secret:
        prefix = "".join(secrets.choice(_PREFIX_ALPHABET) for _ in range(8))
        return cls(f"dd_{prefix}_{secrets.token_urlsafe(32)}")

    @property
    def prefix(self) -> str:
        return self.text[:TOKEN_PREFIX_CHARACTERS]

    @property
    def digest(self) -> bytes:
        return token_digest(self.text)

    def __repr__(self) -> str:
        return f"Secret({self.prefix}…)"


def token_digest(text: str) -> bytes:
    """What is stored of a token. A plain hash is enough: 256 random bits leave nothing to guess."""
    return sha256(text.encode()).digest()


@dataclass(frozen=True, slots=True)
class StoredToken:
    """What authentication needs to know of a token: one row of one index look-up, and no user."""

    id: UUID
    owner: UUID
    scopes: frozenset[str]
    addresses: tuple[str, ...]
    expires_at: datetime
    revoked_at: datetime | None
    last_used_at: datetime


_FIND_SQL = """
SELECT id, owner_id, scopes, addresses, expires_at, revoked_at, coalesce(last_used_at, created_at) AS used_at
  FROM accounts_apitoken
 WHERE digest = %(digest)s::bytea
"""

# The same, and one attempt of its owner counted on the way: the sooner one statement than two that each commit. A token
# that opens nothing counts nothing.
_FIND_AND_COUNT_SQL = f"""
WITH token AS MATERIALIZED ({_FIND_SQL}), attempt AS MATERIALIZED (
    SELECT {throttling.OWNER_KEY_SQL.format(owner="owner_id")} AS key
      FROM token
     WHERE revoked_at IS NULL AND expires_at > %(now)s::timestamptz
       AND used_at + %(idle)s::interval > %(now)s::timestamptz
), {throttling.TAKEN_SQL}
SELECT token.*, {throttling.OUTCOME_SQL} FROM token
"""  # noqa: S608 - all of it is our own

# SKIP LOCKED: a request never waits to say that it was here. Whoever holds the row is revoking the token or saying the
# same.
_TOUCH_SQL = """
UPDATE accounts_apitoken SET last_used_at = %(now)s::timestamptz
 WHERE id IN (SELECT id FROM accounts_apitoken WHERE id = %(id)s::uuid FOR NO KEY UPDATE SKIP LOCKED)
RETURNING id
"""


@db.retry_on_conflict
def find_token(text: str) -> StoredToken | None:
    """The token with this secret, whatever its state; one indexed query."""
    rows: list[Any] = db.fetch_all(_FIND_SQL, {"digest": token_digest(text)})
    return _stored(*rows[0]) if rows else None


@db.retry_on_conflict  # a statement by itself may run again: at worst the attempt counts twice
def find_token_and_count(text: str, scope: str, *, now: datetime) -> tuple[StoredToken | None, Attempt]:
    """
    The token, and what became of one attempt of its owner in a scope of `core.throttling`, for `throttling.judge`.

    Nothing is counted for a token that is revoked or has run out.
    """
    params = {"digest": token_digest(text), "idle": settings.TOKEN_IDLE_LIFETIME}
    rows: list[Any] = db.fetch_all(_FIND_AND_COUNT_SQL, params | throttling.counting(scope, now=now))
    if not rows:
        return None, Attempt()
    *facts, let_through, tokens_at = rows[0]
    return _stored(*facts), Attempt(let_through, tokens_at)


def _stored(id_: UUID, owner: UUID, scopes: list[str], addresses: list[str], *moments: Any) -> StoredToken:
    return StoredToken(id_, owner, frozenset(scopes), tuple(addresses), *moments)


def touch_token(token: StoredToken, *, now: datetime) -> None:
    """Note that the token is in use."""
    db.fetch_all(_TOUCH_SQL, {"id": token.id, "now": now})


def store_token(
    *,
    owner: UUID,
    secret: Secret,
    scopes: frozenset[str],
    name: str,
    addresses: tuple[str, ...],
    now: datetime,
    expires_at: datetime,
) -> ApiToken:
    """Store a new token inside the caller's transaction; the caller has decided that `owner` may have it."""
    db.require_transaction()
    return ApiToken.objects.create(
        owner_id=owner,
        name=name,
        prefix=secret.prefix,
        digest=secret.digest,
        scopes=[scope for scope in ApiToken.Scope.values if scope in scopes],
        addresses=list(addresses),
        created_at=now,
        last_used_at=now,
        expires_at=expires_at,
    )


def revoke_tokens(*, owner: UUID, now: datetime) -> int:
    """End every token of a person inside the caller's transaction, and return how many it was."""
    db.require_transaction()
    return ApiToken.objects.filter(owner_id=owner, revoked_at__isnull=True).update(revoked_at=now)


# --- Sessions in the back office --------------------------------------------------------------------------------------


def session_digest(key: str) -> bytes:
    """What is stored of a session's key, for the reason tokens are."""
    return sha256(key.encode()).digest()


def end_staff_sessions(*, owner: UUID, ended_by: UUID, reason: str, now: datetime) -> int:
    """Log a member of staff out everywhere inside the caller's transaction, and return of how many sessions."""
    db.require_transaction()
    open_ = StaffSession.objects.filter(owner_id=owner, ended_at__isnull=True)
    return open_.update(ended_at=now, ended_by_id=ended_by, reason=reason)


# --- Recovery codes ---------------------------------------------------------------------------------------------------

_RECOVERY_ALPHABET = "23456789abcdefghjkmnpqrstuvwxyz"  # nothing that is easily misread
_RECOVERY_CHARACTERS = 12
#: What fits the library's column for codes: 96 bits, of a code that has 59.
_RECOVERY_DIGEST_CHARACTERS = 16


def new_recovery_code() -> str:
    """A code to write down: `xxxx-xxxx-xxxx`, 59 random bits."""
    drawn = "".join(secrets.choice(_RECOVERY_ALPHABET) for _ in range(_RECOVERY_CHARACTERS))
    return "-".join(drawn[start : start + 4] for start in range(0, _RECOVERY_CHARACTERS, 4))


def recovery_digest(code: str) -> str:
    """
    What is stored of a recovery code, however it was typed.

    Keyed by the desk's secret, so that who steals the table alone cannot try codes against it.
    """
    typed = code.replace("-", "").replace(" ", "").lower()
    keyed = salted_hmac("accounts.credentials.recovery", typed, algorithm="sha256").digest()
    return urlsafe_b64encode(keyed).decode()[:_RECOVERY_DIGEST_CHARACTERS]
