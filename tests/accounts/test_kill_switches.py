"""A kill switch stops its operation for everybody, names who threw it and why, and nothing else."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from accounts.services import switches
from core.ids import HOUSE
from core.models import AuditEvent, KillSwitch
from tests import cast
from tests.accounts import bodies
from tests.accounts.crowd import together
from tests.accounts.problems import outcome
from tests.cast import CastMember
from tests.database import Clone
from wallets.models import Withdrawal
from wallets.rules import ReasonRequired


def withdraw(client: CastMember) -> Any:
    body = {"wallet": client.cash.number, "amount": "10.00"}
    return client.api.post("/api/v1/withdrawals", body, **bodies.key())


def with_bank_account() -> CastMember:
    alice = cast.alice()
    account = {"holder": "A", "bank_name": "B", "code_type": "IBAN", "number": bodies.IBAN}
    assert alice.api.post("/api/v1/me/bank-accounts", account, **bodies.key()).status_code == 201
    return alice


def test_withdrawals_stop_and_start(db: None) -> None:
    alice, staff = with_bank_account(), cast.carol_staff()
    switches.throw_kill_switch(scope="WITHDRAWALS", reason="Bank is down", actor=staff.actor)
    assert outcome(withdraw(alice)) == (422, "WITHDRAWALS_HALTED")
    alice.cash.refresh_from_db()
    assert (alice.cash.held, Withdrawal.objects.count()) == (Decimal(0), 0)
    switches.reset_kill_switch(scope="WITHDRAWALS", reason="Bank is back", actor=staff.actor)
    assert withdraw(alice).status_code == 201
    events = AuditEvent.objects.filter(object_type="core.killswitch").order_by("pk")
    assert [(event.action, event.owner, event.actor_id, event.reason) for event in events] == [
        ("core.kill_switch.thrown", HOUSE, staff.user.pk, "Bank is down"),
        ("core.kill_switch.reset", HOUSE, staff.user.pk, "Bank is back"),
    ]
    assert (events[0].before, events[0].after) == ({"engaged": False, "reason": ""}, {"engaged": True})


def test_another_switch_stops_nothing_here(db: None) -> None:
    alice, staff = with_bank_account(), cast.carol_staff()
    for scope in ("TRADING", "TRADING:EURUSD"):
        switches.throw_kill_switch(scope=scope, reason="Odd prices", actor=staff.actor)
    assert withdraw(alice).status_code == 201


@pytest.mark.parametrize("scope", ["", "DEPOSITS", "withdrawals", "TRADING:", "TRADING:eurusd", "WITHDRAWALS\n"])
def test_there_are_no_other_switches(db: None, scope: str) -> None:
    with pytest.raises(switches.SwitchUnknown):
        switches.throw_kill_switch(scope=scope, reason="Hm", actor=cast.carol_staff().actor)
    assert not KillSwitch.objects.exists()


def test_a_reason_is_needed_both_ways(db: None) -> None:
    staff = cast.carol_staff()
    for act in (switches.throw_kill_switch, switches.reset_kill_switch):
        with pytest.raises(ReasonRequired):
            act(scope="TRADING", reason=" ", actor=staff.actor)
    assert not KillSwitch.objects.filter(engaged=True).exists()


def test_is_not_a_clients_to_throw(db: None) -> None:
    with pytest.raises(AssertionError):
        switches.throw_kill_switch(scope="TRADING", reason="Losing", actor=cast.alice().actor)


def test_two_throwing_it_at_once_leave_one_switch(committed_db: Clone) -> None:
    staff = cast.carol_staff()

    def throw() -> bool:
        return switches.throw_kill_switch(scope="TRADING", reason="Odd prices", actor=staff.actor).engaged

    assert together([throw] * 4) == [True] * 4
    assert KillSwitch.objects.count() == 1
    assert AuditEvent.objects.count() == 4
