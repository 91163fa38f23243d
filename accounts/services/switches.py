"""A kill switch stops one kind of operation for everybody; the statement that locks a wallet reads it."""

from __future__ import annotations

import re
from functools import partial

import structlog
from django.db import transaction
from django.utils import timezone

from core import audit
from core.audit import Actor, ActorKind
from core.db import retry_on_conflict
from core.errors import DomainError
from core.ids import HOUSE
from core.models import KillSwitch
from wallets.rules import require_reason

logger = structlog.get_logger(__name__)

#: WITHDRAWALS, TRADING, or TRADING:EURUSD for one instrument.
SCOPE = re.compile(r"\A(WITHDRAWALS|TRADING(:[A-Z0-9._-]{1,32})?)\Z", re.ASCII)


class SwitchUnknown(DomainError):
    code = "SWITCH_UNKNOWN"
    message = "There are the switches WITHDRAWALS, TRADING and TRADING:<symbol>."
    status = 400


@retry_on_conflict
@transaction.atomic(durable=True)
def throw_kill_switch(*, scope: str, reason: str, actor: Actor) -> KillSwitch:
    """
    Stop withdrawals, all trading or one instrument, for whatever locks a wallet from now on.

    Throwing it again changes the reason on record.

    :raises SwitchUnknown: for another scope
    :raises ReasonRequired: without a reason
    """
    return _set(scope, engaged=True, reason=reason, actor=actor)


@retry_on_conflict
@transaction.atomic(durable=True)
def reset_kill_switch(*, scope: str, reason: str, actor: Actor) -> KillSwitch:
    """
    Let run again what the switch had stopped.

    :raises SwitchUnknown: for another scope
    :raises ReasonRequired: without a reason
    """
    return _set(scope, engaged=False, reason=reason, actor=actor)


def _set(scope: str, *, engaged: bool, reason: str, actor: Actor) -> KillSwitch:
    assert actor.kind != ActorKind.CLIENT
    if SCOPE.match(scope) is None:
        raise SwitchUnknown
    require_reason(reason)
    KillSwitch.objects.bulk_create([KillSwitch(scope=scope)], ignore_conflicts=True)
    switch = KillSwitch.objects.select_for_update(no_key=True).order_by("pk").get(pk=scope)
    before = {"engaged": switch.engaged, "reason": switch.reason}
    switch.engaged, switch.reason, switch.actor_id, switch.changed_at = engaged, reason, actor.id, timezone.now()
    switch.save(update_fields=["engaged", "reason", "actor_id", "changed_at"])
    event = "core.kill_switch.thrown" if engaged else "core.kill_switch.reset"
    audit.record(
        event, actor=actor, owner=HOUSE, subject=switch, before=before, after={"engaged": engaged}, reason=reason
    )
    transaction.on_commit(partial(logger.warning, event, scope=scope, actor_id=str(actor.id)), robust=True)
    return switch
