"""Staff have a role, a second factor, and nothing that neither of them gives."""

from __future__ import annotations

from functools import partial

import structlog
from django.contrib.auth.models import Group, Permission
from django.db import transaction
from django.utils import timezone
from django_otp.plugins.otp_totp.models import TOTPDevice

from accounts import credentials, rules
from accounts.credentials import PasswordHash
from accounts.models import User
from core import audit
from core.audit import Actor, ActorKind
from core.db import retry_on_conflict
from core.errors import DomainError

logger = structlog.get_logger(__name__)


class EmailIsAClients(DomainError):
    code = "EMAIL_IS_A_CLIENTS"
    message = "A client has this email address; staff use another one."
    status = 409


@retry_on_conflict
@transaction.atomic(durable=True)
def define_roles() -> None:
    """Make the roles what `rules.ROLES` says they are: groups that may look at everything and change what is theirs."""
    viewable = list(
        Permission.objects.filter(content_type__app_label__in=rules.VIEWABLE_APPS, codename__startswith="view_")
    )
    by_name = {
        f"{permission.content_type.app_label}.{permission.codename}": permission
        for permission in Permission.objects.select_related("content_type")
    }
    for role, changes in rules.ROLES.items():
        group, _ = Group.objects.get_or_create(name=role)
        group.permissions.set([*viewable, *(by_name[name] for name in changes)])


@retry_on_conflict
@transaction.atomic(durable=True)
def enlist_staff(*, email: str, name: str, role: str, password: PasswordHash, totp_key: bytes, actor: Actor) -> User:
    """
    Make a member of staff, or bring one up to date: their role, their password, their one second factor.

    `totp_key` is the raw secret that their authenticator gets too. A changed password ends their tokens.

    :raises EmailIsAClients: if a client has the address
    """
    assert actor.kind != ActorKind.CLIENT, "staff are enlisted by staff"
    assert role in rules.ROLES, "roles are code"
    now = timezone.now()
    user = User.objects.with_email(email).select_for_update(no_key=True).order_by("pk").first()
    if user is not None and not user.is_staff:
        raise EmailIsAClients
    if user is None:
        user = User.objects.create(
            email=email, number=None, name=name, password=password, is_staff=True, created_at=now
        )
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
    transaction.on_commit(partial(logger.info, "accounts.staff.enlisted", user_id=str(user.pk), role=role), robust=True)
    return user
