"""Who is calling is one indexed look-up: the token's row answers it, and the user's row stays where it is."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any
from uuid import UUID

from django.conf import settings
from django.utils import timezone
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from accounts import credentials
from accounts.models import User
from core.api.requests import client_address
from core.api.throttles import note_attempt, scope_by_owner
from core.errors import DomainError

#: A token's use is noted no more often than this. The note is one more statement in one request out of the many that
#: come meanwhile, it never waits for a lock, and the idle limit is this much vaguer for it.
TOUCH_EVERY = timedelta(minutes=5)


class TokenInvalid(DomainError):
    code = "TOKEN_INVALID"
    message = "This access token is not valid; log in again."
    status = 401


class TokenExpired(DomainError):
    code = "TOKEN_EXPIRED"
    message = "This access token has run out; log in again."
    status = 401


class TokenAddressRefused(DomainError):
    code = "TOKEN_ADDRESS_REFUSED"
    message = "This access token may not be used from this network address."
    status = 403


@dataclass(frozen=True, slots=True)
class Principal:
    """The token's owner, as far as a request needs to know them."""

    id: UUID

    @property
    def pk(self) -> UUID:
        return self.id

    @property
    def is_authenticated(self) -> bool:
        return True

    def user(self) -> User:
        """The person's row: a query, for the few requests that need more than their id."""
        return User.objects.get(pk=self.id)


@dataclass(frozen=True, slots=True)
class Grant:
    """What the request may do: the token it came with and that token's scopes."""

    id: UUID
    scopes: frozenset[str]


class BearerAuthentication(BaseAuthentication):
    """
    `Authorization: Bearer dd_…`: the request's `user` becomes a `Principal`, its `auth` a `Grant`.

    A request without that header is anonymous. The look-up goes by the secret's digest, so the time it takes tells
    nothing about how much of a guess was right.

    :raises TokenInvalid: if the header or the token is malformed, unknown or revoked
    :raises TokenExpired: if its time is over, or it was not used for too long
    :raises TokenAddressRefused: if the token is bound to other networks
    """

    def authenticate(self, request: Request) -> tuple[Principal, Grant] | None:
        header = request.META.get("HTTP_AUTHORIZATION")
        if header is None:
            return None
        scheme, _, text = header.partition(" ")
        if scheme.lower() != "bearer" or credentials.TOKEN.match(text) is None:
            raise TokenInvalid
        now = timezone.now()
        token = _find(request, text, now)
        if token is None or token.revoked_at is not None:
            raise TokenInvalid
        if now >= token.expires_at or now >= token.last_used_at + settings.TOKEN_IDLE_LIFETIME:
            raise TokenExpired
        if token.addresses and not is_within(client_address(request), token.addresses):
            raise TokenAddressRefused
        if now >= token.last_used_at + TOUCH_EVERY:
            credentials.touch_token(token, now=now)
        return Principal(token.owner), Grant(token.id, token.scopes)

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="desk"'


def _find(request: Request, text: str, now: datetime) -> credentials.StoredToken | None:
    """The token; where the view counts requests per person, this one is counted by the same statement."""
    context: dict[str, Any] = request.parser_context or {}
    scope = scope_by_owner(request, context.get("view"))
    if scope is None:
        return credentials.find_token(text)
    token, attempt = credentials.find_token_and_count(text, scope, now=now)
    note_attempt(request, attempt, now=now)
    return token


def is_within(address: str | None, networks: tuple[str, ...]) -> bool:
    """Whether an address lies in one of the networks; no address lies nowhere."""
    if address is None:
        return False
    parsed = ipaddress.ip_address(address)
    return any(parsed in network for network in _networks(networks))


@lru_cache(maxsize=1024)
def _networks(texts: tuple[str, ...]) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)
