"""Staff have a role, a second factor, and nothing that neither of them gives."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from functools import partial
from uuid import UUID

import structlog
from django.contrib.auth.models import Group, Permission
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.utils import timezone
from django_otp.plugins.otp_static.models import StaticDevice
from django_otp.plugins.otp_totp.models import TOTPDevice

from accounts import credentials, rules
from accounts.credentials import PasswordHash
from accounts.models import User
from core import audit
from core.audit import Actor, ActorKind
from core.db import retry_on_conflict
from core.errors import DomainError
from wallets.rules import require_reason

logger = structlog.get_logger(__name__)

#: Tables that are Django's own or a library's: no role looks at them.
LIBRARIES = frozenset({"admin", "auth", "contenttypes", "otp_static", "otp_totp", "sessions"})


class EmailIsAClients(DomainError):
    code = "EMAIL_IS_A_CLIENTS"
    message = "A client has this email address; staff use another one."
    status = 409


class AlreadyStaff(DomainError):
    code = "ALREADY_STAFF"
    message = "Somebody who works here has this email address."
    status = 409


class StaffNotFound(DomainError):
    code = "STAFF_NOT_FOUND"
    message = "Nobody of this id works here."
    status = 404


class NotOnesOwnAccess(DomainError):
    code = "NOT_ONES_OWN_ACCESS"
    message = "Nobody decides about their own access; ask a colleague."
    status = 403


class NotASuperusersAccess(DomainError):
    code = "NOT_A_SUPERUSERS_ACCESS"
    message = "What a superuser may do is decided on the server, and not here."
    status = 403


class SameRole(DomainError):
    code = "SAME_ROLE"
    message = "They have this role already."
    status = 409


# --- Roles ------------------------------------------------------------------------------------------------------------


@retry_on_conflict
@transaction.atomic(durable=True)
def define_roles() -> dict[str, int]:
    """
    Make the roles what `rules.ROLES` says they are, and take away every other; the number of permissions of each.

    :raises ImproperlyConfigured: naming what is in the matrix and means nothing
    """
    by_name = {
        f"{permission.content_type.app_label}.{permission.codename}": permission
        for permission in Permission.objects.select_related("content_type")
        if permission.content_type.app_label not in LIBRARIES
    }
    wanted = {role: _permissions(role, by_name) for role in rules.ROLES}
    for role, names in wanted.items():
        group, _ = Group.objects.get_or_create(name=role)
        group.permissions.set(by_name[name] for name in names)
    Group.objects.exclude(name__in=wanted).delete()
    return {role: len(names) for role, names in wanted.items()}


def _permissions(role: str, known: Iterable[str]) -> set[str]:
    """The permissions a role's line stands for, by their whole names."""
    views, does = rules.ROLES[role]
    tables = {name.replace(".view_", ".") for name in known if ".view_" in name}
    shown = {pattern: {table for table in tables if fnmatchcase(table, pattern)} for pattern in views}
    unknown = [pattern for pattern, found in shown.items() if not found] + sorted(set(does) - set(known))
    if unknown:
        raise ImproperlyConfigured(f"the role {role} names what is not there: {', '.join(unknown)}")
    return {table.replace(".", ".view_", 1) for found in shown.values() for table in found} | set(does)


# --- People -----------------------------------------------------------------------------------------------------------


@retry_on_conflict
@transaction.atomic(durable=True)
def enlist_staff(*, email: str, name: str, role: str, password: PasswordHash, totp_key: bytes, actor: Actor) -> User:
    """
    Make a member of staff, or bring one up to date: their role, their password, their one second factor.

    `totp_key` is the raw secret that their authenticator gets too. A changed password ends their tokens. For scripts;
    people are taken on by `take_on_staff`, and then nobody but themselves has their secret.

    :raises EmailIsAClients: if a client has the address
    """
    assert actor.kind != ActorKind.CLIENT, "staff are enlisted by staff"
    assert role in rules.ROLES, "roles are code"
    now = timezone.now()
    user = User.objects.with_email(email).select_for_update(no_key=True).order_by("pk").first()
    if user is not None and not user.is_staff:
        raise EmailIsAClients
    if user is None:
        user = User.objects.create_user(email, is_staff=True, created_at=now)
    elif user.password != password:
        credentials.revoke_tokens(owner=user.pk, now=now)
    user.name, user.password, user.is_active, user.updated_at = name, password, True, now
    user.save(update_fields=["name", "password", "is_active", "updated_at"])
    user.groups.set(Group.objects.filter(name=role))
    TOTPDevice.objects.filter(user=user).exclude(key=totp_key.hex()).delete()
    TOTPDevice.objects.get_or_create(
        user=user, key=totp_key.hex(), defaults={"name": "Authenticator", "confirmed": True}
    )
    audit.record("accounts.staff.enlisted", actor=actor, owner=user.pk, subject=user, after={"role": role})
    _log_on_commit("accounts.staff.enlisted", user)
    return user


@retry_on_conflict
@transaction.atomic(durable=True)
def take_on_staff(*, email: str, name: str, role: str, password: PasswordHash, reason: str, actor: Actor) -> User:
    """
    Let somebody start to work here, or come back: with a password for the first log-in, and no second factor yet.

    The first log-in leads to nothing but the set-up of one, where they choose a password of their own.

    :raises ReasonRequired: without a reason
    :raises EmailIsAClients: if a client has the address
    :raises AlreadyStaff: if somebody who works here has it
    :raises NotASuperusersAccess: if it is that of a superuser who has left
    """
    assert actor.kind != ActorKind.CLIENT, "staff are enlisted by staff"
    assert role in rules.ROLES, "roles are code"
    require_reason(reason)
    now = timezone.now()
    user = User.objects.with_email(email).select_for_update(no_key=True).order_by("pk").first()
    if user is not None and not user.is_staff:
        raise EmailIsAClients
    if user is not None and user.is_active:
        raise AlreadyStaff
    if user is not None and user.is_superuser:
        raise NotASuperusersAccess
    if user is None:
        user = User.objects.create_user(email, is_staff=True, created_at=now)
    user.name, user.password, user.is_active, user.updated_at = name, password, True, now
    user.save(update_fields=["name", "password", "is_active", "updated_at"])
    user.groups.set(Group.objects.filter(name=role))
    _forget_devices(user)
    after = {"role": role}
    audit.record("accounts.staff.taken_on", actor=actor, owner=user.pk, subject=user, after=after, reason=reason)
    _log_on_commit("accounts.staff.taken_on", user)
    return user


@retry_on_conflict
@transaction.atomic(durable=True)
def change_role(*, user_id: UUID, role: str, reason: str, actor: Actor) -> User:
    """
    Give a colleague another role in place of theirs. It counts from their next request on; their tokens end.

    :raises ReasonRequired: without a reason
    :raises StaffNotFound, NotOnesOwnAccess, NotASuperusersAccess: if it is not this actor's to decide
    :raises SameRole: if they have it
    """
    assert role in rules.ROLES, "roles are code"
    require_reason(reason)
    user = _lock_colleague(user_id, actor)
    before = sorted(user.groups.values_list("name", flat=True))
    if before == [role]:
        raise SameRole
    user.groups.set(Group.objects.filter(name=role))
    revoked = credentials.revoke_tokens(owner=user.pk, now=timezone.now())
    audit.record(
        "accounts.staff.role_changed",
        actor=actor,
        owner=user.pk,
        subject=user,
        before={"roles": before},
        after={"roles": [role], "tokens_revoked": revoked},
        reason=reason,
    )
    _log_on_commit("accounts.staff.role_changed", user)
    return user


@retry_on_conflict
@transaction.atomic(durable=True)
def deactivate_staff(*, user_id: UUID, reason: str, actor: Actor) -> User:
    """
    Let somebody go: their sessions and tokens end, and neither their password nor their devices open anything.

    :raises ReasonRequired: without a reason
    :raises StaffNotFound, NotOnesOwnAccess, NotASuperusersAccess: if it is not this actor's to decide
    """
    require_reason(reason)
    user, now = _lock_colleague(user_id, actor), timezone.now()
    user.is_active, user.updated_at = False, now
    user.save(update_fields=["is_active", "updated_at"])
    user.groups.clear()
    _forget_devices(user)
    after = {
        "is_active": False,
        "sessions_ended": credentials.end_staff_sessions(owner=user.pk, ended_by=actor.id, reason=reason, now=now),
        "tokens_revoked": credentials.revoke_tokens(owner=user.pk, now=now),
    }
    audit.record("accounts.staff.deactivated", actor=actor, owner=user.pk, subject=user, after=after, reason=reason)
    _log_on_commit("accounts.staff.deactivated", user)
    return user


@retry_on_conflict
@transaction.atomic(durable=True)
def reset_second_factor(*, user_id: UUID, reason: str, actor: Actor) -> User:
    """
    Forget a colleague's devices and recovery codes: they log in with their password and set up another.

    Whoever does this learns neither: not the password, which stays, and not the secret, which is made for them alone.

    :raises ReasonRequired: without a reason
    :raises StaffNotFound, NotOnesOwnAccess, NotASuperusersAccess: if it is not this actor's to decide
    """
    require_reason(reason)
    user, now = _lock_colleague(user_id, actor), timezone.now()
    _forget_devices(user)
    ended = credentials.end_staff_sessions(owner=user.pk, ended_by=actor.id, reason=reason, now=now)
    after = {"sessions_ended": ended}
    audit.record("accounts.second_factor.reset", actor=actor, owner=user.pk, subject=user, after=after, reason=reason)
    _log_on_commit("accounts.second_factor.reset", user)
    return user


def _lock_colleague(user_id: UUID, actor: Actor) -> User:
    """Somebody who works here, is not who is asking, and is no superuser."""
    assert actor.kind == ActorKind.STAFF, "a person decides, and is named"
    user = (
        User.objects.filter(pk=user_id, is_staff=True, is_active=True)
        .select_for_update(no_key=True)
        .order_by("pk")
        .first()
    )
    if user is None:
        raise StaffNotFound
    if user.pk == actor.id:
        raise NotOnesOwnAccess
    if user.is_superuser:
        raise NotASuperusersAccess
    return user


def _forget_devices(user: User) -> None:
    TOTPDevice.objects.filter(user=user).delete()
    StaticDevice.objects.filter(user=user).delete()


def _log_on_commit(event: str, user: User) -> None:
    transaction.on_commit(partial(logger.info, event, user_id=str(user.pk)), robust=True)
