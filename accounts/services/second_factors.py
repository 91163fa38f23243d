"""A second factor is made for one person alone: nobody else sees the secret, and no code opens twice."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from uuid import UUID

import structlog
from django.db import transaction
from django.utils import timezone
from django_otp.oath import TOTP
from django_otp.plugins.otp_static.models import StaticDevice, StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice

from accounts import credentials
from accounts.credentials import PasswordHash
from accounts.models import User
from core import audit
from core.audit import Actor
from core.db import retry_on_conflict
from core.errors import DomainError

logger = structlog.get_logger(__name__)

CODES = 10


class CodeRefused(DomainError):
    code = "CODE_REFUSED"
    message = "This is not the code that the authenticator shows now, or it has been used."
    status = 403


class SetUpOver(DomainError):
    code = "SET_UP_OVER"
    message = "This set-up is over; log in again."
    status = 409


@dataclass(frozen=True, slots=True)
class RecoveryCodes:
    """A person and, for the one time they exist here, the codes that open once each without an authenticator."""

    user: User
    codes: tuple[str, ...] = field(repr=False)


@retry_on_conflict
@transaction.atomic(durable=True)
def begin_set_up(*, user_id: UUID, actor: Actor) -> TOTPDevice:
    """
    Make a new secret for somebody who has no second factor; it opens nothing until `finish_set_up`.

    A set-up that was begun before is over with that.

    :raises SetUpOver: if they have a second factor
    """
    user = _lock_person(user_id)
    if TOTPDevice.objects.filter(user=user, confirmed=True).exists():
        raise SetUpOver
    TOTPDevice.objects.filter(user=user).delete()
    device = TOTPDevice.objects.create(user=user, name="Authenticator", confirmed=False)
    audit.record("accounts.second_factor.begun", actor=actor, owner=user.pk, subject=user)
    return device


@retry_on_conflict
@transaction.atomic(durable=True)
def finish_set_up(*, user_id: UUID, device_id: int, code: str, password: PasswordHash, actor: Actor) -> RecoveryCodes:
    """
    Take the secret for this person's second factor, since `code` shows that they have it, and their own password.

    From here on nobody knows either but them. Their tokens end with the password that somebody else knew.

    :raises SetUpOver: if another set-up was begun or finished since, or the person has left
    :raises CodeRefused: if the code is not that of the secret
    """
    user, now = _lock_person(user_id), timezone.now()
    device = TOTPDevice.objects.filter(pk=device_id, user=user, confirmed=False).first()
    if device is None or not user.is_active:
        raise SetUpOver
    _spend(device, code)
    device.confirmed = True
    device.save(update_fields=["confirmed", "last_t", "drift"])
    user.password, user.updated_at = password, now
    user.save(update_fields=["password", "updated_at"])
    credentials.revoke_tokens(owner=user.pk, now=now)
    codes = _new_codes(user)
    audit.record("accounts.second_factor.set_up", actor=actor, owner=user.pk, subject=user)
    _log_on_commit("accounts.second_factor.set_up", user)
    return RecoveryCodes(user, codes)


@retry_on_conflict
@transaction.atomic(durable=True)
def replace_recovery_codes(*, user_id: UUID, code: str, actor: Actor) -> RecoveryCodes:
    """
    Ten new recovery codes in place of whatever is left of the old, for a fresh code of the authenticator.

    :raises CodeRefused: if it is not the authenticator's, or was used
    """
    user = _lock_person(user_id)
    device = _confirmed(user)
    _spend(device, code)
    device.save(update_fields=["last_t", "drift"])
    codes = _new_codes(user)
    audit.record("accounts.recovery_codes.replaced", actor=actor, owner=user.pk, subject=user)
    _log_on_commit("accounts.recovery_codes.replaced", user)
    return RecoveryCodes(user, codes)


@retry_on_conflict
@transaction.atomic(durable=True)
def change_password(*, user_id: UUID, code: str, password: PasswordHash, reason: str, actor: Actor) -> User:
    """
    Another password for a member of staff, for a fresh code of their authenticator; they are logged out everywhere.

    :raises CodeRefused: if it is not the authenticator's, or was used
    """
    user, now = _lock_person(user_id), timezone.now()
    device = _confirmed(user)
    _spend(device, code)
    device.save(update_fields=["last_t", "drift"])
    user.password, user.updated_at = password, now
    user.save(update_fields=["password", "updated_at"])
    credentials.revoke_tokens(owner=user.pk, now=now)
    credentials.end_staff_sessions(owner=user.pk, ended_by=user.pk, reason=reason, now=now)
    audit.record("accounts.password.changed", actor=actor, owner=user.pk, subject=user)
    _log_on_commit("accounts.password.changed", user)
    return user


def _lock_person(user_id: UUID) -> User:
    return User.objects.select_for_update(no_key=True).order_by("pk").get(pk=user_id)


def _confirmed(user: User) -> TOTPDevice:
    """
    The person's authenticator, locked, so that two requests do not spend one code.

    :raises CodeRefused: if they have none
    """
    device = TOTPDevice.objects.filter(user=user, confirmed=True).select_for_update(no_key=True).order_by("-pk").first()
    if device is None:
        raise CodeRefused
    return device


def _spend(device: TOTPDevice, code: str) -> None:
    """Let a code through that no earlier one has outlived; the caller saves `last_t` and `drift`."""
    totp = TOTP(device.bin_key, device.step, device.t0, device.digits, device.drift)
    is_code = code.isascii() and code.isdigit() and len(code) == device.digits
    if not is_code or not totp.verify(int(code), device.tolerance, device.last_t + 1):
        raise CodeRefused
    device.last_t, device.drift = totp.t(), totp.drift


def _new_codes(user: User) -> tuple[str, ...]:
    codes = tuple(credentials.new_recovery_code() for _ in range(CODES))
    StaticDevice.objects.filter(user=user).delete()
    device = StaticDevice.objects.create(user=user, name="Recovery codes")
    StaticToken.objects.bulk_create(
        StaticToken(device=device, token=credentials.recovery_digest(code)) for code in codes
    )
    return codes


def _log_on_commit(event: str, user: User) -> None:
    transaction.on_commit(partial(logger.info, event, user_id=str(user.pk)), robust=True)
