"""A person keeps their own name, phone and address up to date; what others rely on is not theirs to change."""

from __future__ import annotations

from functools import partial
from typing import Any
from uuid import UUID

import structlog
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts.models import User
from accounts.services.sign_up import PhoneTaken
from core import audit, db
from core.audit import Actor
from core.db import retry_on_conflict

logger = structlog.get_logger(__name__)

CHANGEABLE = frozenset({"name", "phone", "address"})


@retry_on_conflict
@transaction.atomic(durable=True)
def update_profile(*, owner: UUID, changes: dict[str, Any], actor: Actor) -> User:
    """
    Change some of `name`, `phone` and `address` of a person's own row, and keep on record what they were.

    :raises PhoneTaken: if somebody else has the phone number
    """
    assert changes.keys() <= CHANGEABLE, "serializers refuse everything else by name"
    user = User.objects.select_for_update(no_key=True).order_by("pk").get(pk=owner)
    changed = {name: value for name, value in changes.items() if getattr(user, name) != value}
    if not changed:
        return user
    before = {name: getattr(user, name) for name in changed}
    for name, value in changed.items():
        setattr(user, name, value)
    user.updated_at = timezone.now()
    try:
        user.save(update_fields=[*changed, "updated_at"])
    except IntegrityError as error:
        if db.constraint(error) == "user_phone":
            raise PhoneTaken(
                errors=[{"field": "phone", "code": PhoneTaken.code, "message": PhoneTaken.message}]
            ) from error
        raise
    audit.record("accounts.profile.updated", actor=actor, owner=owner, subject=user, before=before, after=changed)
    transaction.on_commit(
        partial(logger.info, "accounts.profile.updated", user_id=str(owner), fields=sorted(changed)), robust=True
    )
    return user
