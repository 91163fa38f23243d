"""Alerts are worked off one step at a time, by people who answer for it; whoever escalates one does not close it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from django.db import IntegrityError, transaction

from accounts.models import User
from accounts.services import staff
from config.back_office.alerts.models import Alert, AlertNote, AlertRule
from config.back_office.alerts.rules import TRANSITIONS, AlertTaken
from config.back_office.alerts.services import workflow
from core.audit import Actor, ActorKind
from core.errors import DomainError
from core.ids import uuid7
from core.models import AuditEvent
from tests import cast, factories, ledger_cast
from tests.accounts.test_back_office import enlist
from tests.back_office import suspects

STATES = ("OPEN", "ASSIGNED", "ESCALATED", "CLOSED")


@pytest.fixture
def kyc(db: None) -> User:
    return enlist("kyc")


@pytest.fixture
def colleague(db: None) -> User:
    return enlist("kyc", "second@desk.example")


def actor(user: User) -> Actor:
    return Actor(id=user.pk, kind=ActorKind.STAFF)


def make_alert(owner: User | None = None) -> Alert:
    """One alert as a rule would have raised it."""
    if not AlertRule.objects.exists():
        suspects.load_rules()
    rule = AlertRule.objects.get(code="SHARED_BANK_ACCOUNT", version=1)
    return Alert.objects.create(
        owner=owner or factories.Person.create(),
        rule=rule,
        code=rule.code,
        severity=rule.severity,
        fingerprint=str(uuid7()),
        facts={"last_four": "3000", "people": []},
    )


def assign(alert: Alert, to: User, *, by: User | None = None, seen: UUID | None = None) -> Alert:
    return workflow.assign_alert(
        alert_id=alert.pk, assignee=to.pk, seen=seen, reason="Next in line", actor=actor(by or to)
    )


def escalate(alert: Alert, by: User) -> Alert:
    return workflow.escalate_alert(alert_id=alert.pk, to="kyc", reason="Too large for one", actor=actor(by))


def close(alert: Alert, by: User, outcome: str = "EXPLAINED") -> Alert:
    return workflow.close_alert(alert_id=alert.pk, outcome=outcome, reason="Sold a house", actor=actor(by))


def reopen(alert: Alert, by: User) -> Alert:
    return workflow.reopen_alert(alert_id=alert.pk, reason="There was no house", actor=actor(by))


def note(alert: Alert, by: User) -> AlertNote:
    return workflow.note_alert(alert_id=alert.pk, text="Spoke to them", actor=actor(by))


def in_state(status: str, worker: User, other: User) -> Alert:
    """An alert that got there by its steps; escalated by `worker`, closed by `worker`."""
    alert = make_alert()
    if status != "OPEN":
        assign(alert, worker)
    if status == "ESCALATED":
        escalate(alert, worker)
    if status == "CLOSED":
        close(alert, worker)
    alert.refresh_from_db()
    return alert


def refused(code: str, act: Callable[[], object], alert: Alert) -> bool:
    """Whether it is refused with this code and leaves everything as it was."""
    before = (Alert.objects.filter(pk=alert.pk).values().get(), AuditEvent.objects.count(), AlertNote.objects.count())
    with pytest.raises(DomainError) as refusal:
        act()
    after = (Alert.objects.filter(pk=alert.pk).values().get(), AuditEvent.objects.count(), AlertNote.objects.count())
    assert (refusal.value.code, after) == (code, before)
    return True


# --- The way --------------------------------------------------------------------------------------------------------


def test_an_alert_is_assigned_noted_and_closed_and_every_step_is_told(kyc: User) -> None:
    alert = make_alert()
    assign(alert, kyc)
    note(alert, kyc)
    closed = close(alert, kyc, "REPORTED")
    assert (closed.status, closed.outcome, closed.reason, closed.closed_by_id) == (
        "CLOSED",
        "REPORTED",
        "Sold a house",
        kyc.pk,
    )
    events = AuditEvent.objects.filter(object_type="alerts.alert", object_id=str(alert.pk)).order_by("pk")
    told = [(event.action, (event.after or {})["status"], event.reason) for event in events]
    assert told == [
        ("config.alert.assigned", "ASSIGNED", "Next in line"),
        ("config.alert.noted", "ASSIGNED", ""),
        ("config.alert.closed", "CLOSED", "Sold a house"),
    ]
    assert {(event.owner, event.actor_id) for event in events} == {(alert.owner_id, kyc.pk)}
    assert AlertNote.objects.get().text == "Spoke to them"


def test_somebody_else_closes_what_was_escalated(kyc: User, colleague: User) -> None:
    alert = in_state("ESCALATED", kyc, colleague)
    assert refused("ALERT_NEEDS_SOMEBODY_ELSE", lambda: close(alert, kyc), alert)
    assert close(alert, colleague).closed_by_id == colleague.pk


def test_reopening_does_not_give_it_back_to_whoever_escalated_it(kyc: User, colleague: User) -> None:
    alert = in_state("ESCALATED", kyc, colleague)
    close(alert, colleague)
    assert reopen(alert, kyc).status == "ESCALATED"
    assign(alert, kyc)
    assert refused("ALERT_NEEDS_SOMEBODY_ELSE", lambda: close(alert, kyc), alert)


def test_the_database_refuses_it_as_well(kyc: User, colleague: User) -> None:
    alert = in_state("ESCALATED", kyc, colleague)
    close(alert, colleague)
    with pytest.raises(IntegrityError, match="alert_escalator_does_not_close"), transaction.atomic():
        Alert.objects.filter(pk=alert.pk).update(closed_by=kyc)
    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
        Alert.objects.filter(pk=alert.pk).update(escalated_by=colleague)


def test_what_was_closed_alone_is_reopened_for_anybody(kyc: User, colleague: User) -> None:
    alert = in_state("CLOSED", kyc, colleague)
    opened = reopen(alert, colleague)
    assert (opened.status, opened.assignee_id, opened.outcome, opened.closed_by_id) == ("OPEN", None, "", None)


def test_it_can_be_given_to_a_colleague(kyc: User, colleague: User) -> None:
    alert = in_state("ASSIGNED", kyc, colleague)
    assert assign(alert, colleague, by=kyc, seen=kyc.pk).assignee_id == colleague.pk
    assert refused("ALERT_NOT_YOURS", lambda: close(alert, kyc), alert)


# --- Refusals -------------------------------------------------------------------------------------------------------

ACTS: dict[str, Callable[[Alert, User], object]] = {
    "assign": lambda alert, by: assign(alert, by, seen=alert.assignee_id),
    "note": note,
    "escalate": escalate,
    "close": close,
    "reopen": reopen,
}


def test_every_step_is_in_the_table() -> None:
    assert set(ACTS) == set(TRANSITIONS)


@pytest.mark.parametrize("status", STATES)
@pytest.mark.parametrize("step", ACTS)
def test_a_step_is_taken_only_from_where_the_table_says(kyc: User, colleague: User, status: str, step: str) -> None:
    alert = in_state(status, kyc, colleague)
    by = colleague if (status, step) == ("ESCALATED", "close") else kyc
    if status in TRANSITIONS[step]:
        ACTS[step](alert, by)
        alert.refresh_from_db()
        assert alert.status == TRANSITIONS[step][status]
    else:
        assert refused("ALERT_STATE_REFUSED", lambda: ACTS[step](alert, by), alert)


@pytest.mark.parametrize("step", ["escalate", "close"])
def test_only_who_has_it_in_hand_goes_on_with_it(kyc: User, colleague: User, step: str) -> None:
    alert = in_state("ASSIGNED", kyc, colleague)
    assert refused("ALERT_NOT_YOURS", lambda: ACTS[step](alert, colleague), alert)


@pytest.mark.parametrize("reason", ["", "  ", "x" * 501])
def test_every_step_takes_a_reason(kyc: User, colleague: User, reason: str) -> None:
    alert = in_state("ASSIGNED", kyc, colleague)
    about: dict[str, Any] = {"alert_id": alert.pk, "actor": actor(kyc)}
    acts: tuple[Callable[[], object], ...] = (
        lambda: workflow.assign_alert(assignee=colleague.pk, seen=kyc.pk, reason=reason, **about),
        lambda: workflow.note_alert(text=reason, **about),
        lambda: workflow.escalate_alert(to="finance", reason=reason, **about),
        lambda: workflow.close_alert(outcome="EXPLAINED", reason=reason, **about),
        lambda: workflow.reopen_alert(reason=reason, **about),
    )
    for act in acts:
        assert refused("REASON_REQUIRED", act, alert)


def test_there_is_nothing_to_do_about_an_alert_that_is_not_there(kyc: User) -> None:
    with pytest.raises(DomainError) as refusal:
        workflow.note_alert(alert_id=uuid7(), text="Hello", actor=actor(kyc))
    assert refusal.value.code == "ALERT_NOT_FOUND"


def test_nobody_works_on_an_alert_about_themselves(kyc: User, colleague: User) -> None:
    alert = make_alert(owner=kyc)
    for act in ACTS.values():
        assert refused("APPROVAL_OF_ONESELF", lambda act=act: act(alert, kyc), alert)  # type: ignore[misc]
    assert refused("APPROVAL_OF_ONESELF", lambda: assign(alert, kyc, by=colleague), alert)
    with pytest.raises(IntegrityError, match="alert_is_worked_by_somebody_else"), transaction.atomic():
        Alert.objects.filter(pk=alert.pk).update(status="ASSIGNED", assignee=kyc)


@pytest.mark.parametrize("role", ["auditor", "finance", "support", "dealing"])
def test_it_goes_only_to_who_may_work_on_alerts(kyc: User, role: str) -> None:
    alert, other = make_alert(), enlist(role)
    assert refused("ALERT_ASSIGNEE_UNFIT", lambda: assign(alert, other, by=kyc), alert)


def test_it_does_not_go_to_a_client_or_to_who_has_left(kyc: User, colleague: User) -> None:
    alert = make_alert()
    assert refused("ALERT_ASSIGNEE_UNFIT", lambda: assign(alert, cast.alice().user, by=kyc), alert)
    User.objects.filter(pk=colleague.pk).update(is_active=False)
    assert refused("ALERT_ASSIGNEE_UNFIT", lambda: assign(alert, colleague, by=kyc), alert)


def test_clients_do_nothing_here() -> None:
    with pytest.raises(AssertionError):
        workflow._lock(uuid7(), "please", Actor(id=uuid7(), kind=ActorKind.CLIENT))


# --- At once --------------------------------------------------------------------------------------------------------


def test_of_two_who_take_it_at_once_one_gets_it(committed_db: object) -> None:
    staff.define_roles()
    people = [enlist("kyc", f"{name}@desk.example") for name in ("first", "second")]
    alert = make_alert()

    def take(who: User) -> Callable[[], object]:
        def act() -> object:
            try:
                return assign(alert, who).assignee_id
            except AlertTaken as refusal:
                return refusal.code

        return act

    results = ledger_cast.at_once(*map(take, people))
    alert.refresh_from_db()
    assert sorted(map(str, results)) == sorted(["ALERT_TAKEN", str(alert.assignee_id)])
    assert AuditEvent.objects.filter(action="config.alert.assigned").count() == 1
