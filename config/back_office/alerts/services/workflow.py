"""An alert is worked off by people: one has it in hand, who escalates it does not close it, and all of it is told."""

from __future__ import annotations

from functools import partial
from typing import Any
from uuid import UUID

import structlog
from django.db import transaction
from django.utils import timezone

from accounts.models import User
from config.back_office.alerts import rules
from config.back_office.alerts.models import Alert, AlertNote
from config.back_office.alerts.rules import (
    AlertNeedsSomebodyElse,
    AlertNotFound,
    AlertNotYours,
    AlertTaken,
    AssigneeUnfit,
)
from core import audit
from core.audit import Actor, ActorKind
from core.db import retry_on_conflict
from wallets.rules import ApprovalOfOneself, require_reason

logger = structlog.get_logger(__name__)

Status = Alert.Status


@retry_on_conflict
@transaction.atomic(durable=True)
def assign_alert(*, alert_id: UUID, assignee: UUID, seen: UUID | None, reason: str, actor: Actor) -> Alert:
    """
    Give an alert into somebody's hands, one's own or a colleague's; what is escalated stays escalated.

    `seen` is who had it when the actor looked: of two people who assign it at the same time, the second is told.

    :raises ReasonRequired: without a reason
    :raises AlertNotFound: if there is no such alert
    :raises ApprovalOfOneself: if it is about the actor or the assignee
    :raises AlertStateRefused: if it is closed
    :raises AlertTaken: if it has gone to somebody else since
    :raises AssigneeUnfit: if the assignee may not work on alerts
    """
    alert = _lock(alert_id, reason, actor)
    target = rules.require_step(alert, "assign")
    if alert.assignee_id != seen:
        raise AlertTaken
    if assignee == alert.owner_id:
        raise ApprovalOfOneself
    chosen = User.objects.filter(pk=assignee, is_active=True, is_staff=True).first()
    if chosen is None or not chosen.has_perm("alerts.change_alert"):
        raise AssigneeUnfit
    before = _state(alert)
    alert.status, alert.assignee_id = target, assignee
    _save(alert, "assignee")
    _record("config.alert.assigned", alert, before=before, reason=reason, actor=actor)
    return alert


@retry_on_conflict
@transaction.atomic(durable=True)
def note_alert(*, alert_id: UUID, text: str, actor: Actor) -> AlertNote:
    """
    Put down what was found out; a note is never changed or taken back.

    :raises ReasonRequired: if it says nothing, or more than 500 characters
    :raises AlertNotFound: if there is no such alert
    :raises ApprovalOfOneself: if it is about the actor
    """
    alert = _lock(alert_id, text, actor)
    note = AlertNote(owner_id=alert.owner_id, alert=alert, author_id=actor.id, text=text, written_at=timezone.now())
    note.save(force_insert=True)
    after = _state(alert) | {"note": note.pk}
    audit.record("config.alert.noted", actor=actor, owner=alert.owner_id, subject=alert, after=after)
    _log_on_commit("config.alert.noted", alert)
    return note


@retry_on_conflict
@transaction.atomic(durable=True)
def escalate_alert(*, alert_id: UUID, to: str, reason: str, actor: Actor) -> Alert:
    """
    Hand an alert that one has in hand to a desk; somebody else has to close it from now on, whatever happens to it.

    :raises ReasonRequired: without a reason
    :raises AlertNotFound: if there is no such alert
    :raises ApprovalOfOneself: if it is about the actor
    :raises AlertStateRefused: if it is not assigned, or is escalated already
    :raises AlertNotYours: if it is assigned to somebody else
    """
    desk = Alert.Desk(to)
    alert = _lock(alert_id, reason, actor)
    target = rules.require_step(alert, "escalate")
    if alert.assignee_id != actor.id:
        raise AlertNotYours
    before = _state(alert)
    alert.status, alert.escalated_by_id, alert.escalated_to = target, actor.id, desk
    _save(alert, "escalated_by", "escalated_to")
    _record("config.alert.escalated", alert, before=before, reason=reason, actor=actor)
    return alert


@retry_on_conflict
@transaction.atomic(durable=True)
def close_alert(*, alert_id: UUID, outcome: str, reason: str, actor: Actor) -> Alert:
    """
    Answer the question: an assigned alert is closed by whoever has it, an escalated one by anyone but who escalated it.

    :raises ReasonRequired: without a reason
    :raises AlertNotFound: if there is no such alert
    :raises ApprovalOfOneself: if it is about the actor
    :raises AlertStateRefused: if nobody has it in hand, or it is closed
    :raises AlertNotYours: if it is assigned to somebody else and not escalated
    :raises AlertNeedsSomebodyElse: if the actor escalated it
    """
    answer = Alert.Outcome(outcome)
    alert = _lock(alert_id, reason, actor)
    target = rules.require_step(alert, "close")
    if alert.status == Status.ASSIGNED and alert.assignee_id != actor.id:
        raise AlertNotYours
    if alert.escalated_by_id == actor.id:
        raise AlertNeedsSomebodyElse
    before = _state(alert)
    alert.status, alert.outcome, alert.reason = target, answer, reason
    alert.closed_by_id, alert.closed_at = actor.id, timezone.now()
    _save(alert, "outcome", "reason", "closed_by", "closed_at")
    _record("config.alert.closed", alert, before=before, reason=reason, actor=actor)
    return alert


@retry_on_conflict
@transaction.atomic(durable=True)
def reopen_alert(*, alert_id: UUID, reason: str, actor: Actor) -> Alert:
    """
    Ask again what was answered: nobody has it in hand then. What had been escalated is escalated once more.

    :raises ReasonRequired: without a reason
    :raises AlertNotFound: if there is no such alert
    :raises ApprovalOfOneself: if it is about the actor
    :raises AlertStateRefused: if it is not closed
    """
    alert = _lock(alert_id, reason, actor)
    target = rules.require_step(alert, "reopen")
    before = _state(alert)
    alert.status, alert.assignee, alert.outcome, alert.reason = target, None, "", ""
    alert.closed_by, alert.closed_at = None, None
    _save(alert, "assignee", "outcome", "reason", "closed_by", "closed_at")
    _record("config.alert.reopened", alert, before=before, reason=reason, actor=actor)
    return alert


def _lock(alert_id: UUID, reason: str, actor: Actor) -> Alert:
    assert actor.kind == ActorKind.STAFF, "alerts are the staff's business"
    require_reason(reason)
    alert = Alert.objects.select_for_update(no_key=True).order_by("pk").filter(pk=alert_id).first()
    if alert is None:
        raise AlertNotFound
    if alert.owner_id == actor.id:
        raise ApprovalOfOneself
    return alert


def _save(alert: Alert, *changed: str) -> None:
    alert.updated_at = timezone.now()
    alert.save(update_fields=["status", "updated_at", *changed])


def _state(alert: Alert) -> dict[str, Any]:
    return {"status": alert.status, "assignee": alert.assignee_id, "escalated_to": alert.escalated_to} | (
        {"outcome": alert.outcome} if alert.outcome else {}
    )


def _record(action: str, alert: Alert, *, before: dict[str, Any], reason: str, actor: Actor) -> None:
    after = _state(alert)
    audit.record(action, actor=actor, owner=alert.owner_id, subject=alert, before=before, after=after, reason=reason)
    _log_on_commit(action, alert)


def _log_on_commit(event: str, alert: Alert) -> None:
    transaction.on_commit(partial(logger.info, event, alert_id=str(alert.pk)), robust=True)
