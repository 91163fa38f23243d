"""Whatever a freeze stops, it stops under the wallet's lock: there is no moment at which both got through."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
import time_machine
from django.core.management import call_command
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from accounts import gates
from accounts.models import ApiToken, Freeze
from accounts.services import freezes, sessions
from core.audit import Actor
from core.errors import DomainError, NotFound
from core.ids import HOUSE, uuid7
from core.models import AuditEvent
from tests import cast
from tests.accounts import bodies
from tests.accounts.crowd import together
from tests.accounts.problems import outcome
from tests.cast import CastMember, StaffMember
from tests.database import Clone
from wallets import ledger
from wallets.models import Kind, Transfer, Wallet, Withdrawal
from wallets.rules import ApprovalOfOneself, ReasonRequired

Scope = Freeze.Scope
FLAGS = {
    Scope.TRADING: "trading_enabled",
    Scope.DEPOSITS: "deposits_enabled",
    Scope.WITHDRAWALS: "withdrawals_enabled",
}


def freeze(client: CastMember, scope: str, staff: StaffMember, **options: Any) -> Freeze:
    return freezes.place_freeze(owner=client.user.pk, scope=scope, reason="Looked odd", actor=staff.actor, **options)


def somebody_else() -> StaffMember:
    return cast.carol_staff(email="dora@example.com", name="Dora Dean")


def lift(row: Freeze, staff: StaffMember, reason: str = "It was fine") -> Freeze:
    return freezes.lift_freeze(freeze_id=row.pk, reason=reason, actor=staff.actor)


def flags(client: CastMember) -> list[tuple[bool, ...]]:
    return list(Wallet.objects.filter(owner=client.user).order_by("pk").values_list(*FLAGS.values()))


def transfer(client: CastMember, target: CastMember, amount: str = "1.00") -> Any:
    body = {"source": client.cash.number, "target": target.cash.number, "amount": amount}
    return client.api.post("/api/v1/transfers", body, **bodies.key())


@pytest.mark.parametrize("scope", FLAGS)
def test_clears_one_flag_on_every_wallet_and_lifting_sets_it(db: None, scope: Scope) -> None:
    alice, bob, staff = cast.alice(), cast.bob(), cast.carol_staff()
    row = freeze(alice, scope, staff)
    stopped = tuple(flag != FLAGS[scope] for flag in FLAGS.values())
    assert flags(alice) == [stopped, stopped]
    assert flags(bob) == [(True, True, True)] * 2
    assert alice.api.get("/api/v1/me").json()["frozen"] == [scope]
    event = AuditEvent.objects.get(action="accounts.freeze.placed")
    assert (event.owner, event.actor_id, event.reason) == (alice.id, staff.user.pk, "Looked odd")

    other = somebody_else()
    lift(row, other)
    assert flags(alice) == [(True, True, True)] * 2
    assert alice.api.get("/api/v1/me").json()["frozen"] == []
    event = AuditEvent.objects.get(action="accounts.freeze.lifted")
    assert (event.owner, event.actor_id, event.reason) == (alice.id, other.user.pk, "It was fine")


def test_a_login_freeze_ends_every_session_and_lifting_lets_in_again(db: None) -> None:
    alice, staff = cast.alice(), cast.carol_staff()
    row = freeze(alice, Scope.LOGIN, staff)
    assert outcome(alice.api.get("/api/v1/me")) == (401, "TOKEN_INVALID")
    assert flags(alice) == [(True, True, True)] * 2
    assert AuditEvent.objects.get(action="accounts.freeze.placed").after == {
        "scope": "LOGIN",
        "expires_at": None,
        "tokens_revoked": 1,
    }
    with pytest.raises(sessions.LoginFrozen):
        sessions.create_token(
            owner=alice.user.pk, held=sessions.CLIENT_SCOPES, scopes=["read"], name="x", actor=alice.actor
        )
    lift(row, somebody_else())
    credentials = {"email": "alice@example.com", "password": cast.PASSWORD}
    assert cast.api_client().post("/api/v1/auth/token", credentials).status_code == 201


def test_one_freeze_does_not_lift_another(db: None) -> None:
    alice, staff = cast.alice(), cast.carol_staff()
    freeze(alice, Scope.WITHDRAWALS, staff)
    lift(freeze(alice, Scope.TRADING, staff), somebody_else())
    assert flags(alice) == [(True, True, False)] * 2


def test_a_frozen_client_keeps_their_money_where_it_is(db: None) -> None:
    alice, bob, staff = cast.alice(), cast.bob(), cast.carol_staff()
    freeze(alice, Scope.WITHDRAWALS, staff)
    assert outcome(transfer(alice, bob)) == (422, "WITHDRAWALS_FROZEN")
    alice.cash.refresh_from_db()
    assert (alice.cash.balance, Transfer.objects.count()) == (Decimal(1000), 0)
    assert transfer(bob, alice).status_code == 201


# --- Refusals -------------------------------------------------------------------------------------------------------


def test_the_same_thing_is_frozen_once(db: None) -> None:
    alice, staff = cast.alice(), cast.carol_staff()
    freeze(alice, Scope.TRADING, staff)
    with pytest.raises(freezes.FreezeInForce):
        freeze(alice, Scope.TRADING, staff)
    assert Freeze.objects.count() == 1


def test_a_freeze_is_lifted_once(db: None) -> None:
    alice, staff = cast.alice(), cast.carol_staff()
    other = somebody_else()
    row = lift(freeze(alice, Scope.TRADING, staff), other)
    with pytest.raises(freezes.FreezeLifted):
        lift(row, other)
    assert AuditEvent.objects.filter(action="accounts.freeze.lifted").count() == 1


@pytest.mark.parametrize("reason", ["", "  ", "x" * 501])
def test_needs_a_reason_both_ways(db: None, reason: str) -> None:
    alice, staff = cast.alice(), cast.carol_staff()
    with pytest.raises(ReasonRequired):
        freezes.place_freeze(owner=alice.user.pk, scope=Scope.TRADING, reason=reason, actor=staff.actor)
    row = freeze(alice, Scope.TRADING, staff)
    with pytest.raises(ReasonRequired):
        lift(row, staff, reason)
    row.refresh_from_db()
    assert row.lifted_at is None


def test_refuses_whom_and_what_does_not_exist(db: None) -> None:
    staff = cast.carol_staff()
    with pytest.raises(NotFound):
        freezes.place_freeze(owner=uuid7(), scope=Scope.TRADING, reason="Who?", actor=staff.actor)
    with pytest.raises(freezes.FreezeNotFound):
        freezes.lift_freeze(freeze_id=uuid7(), reason="Which?", actor=staff.actor)


def test_nobody_lifts_their_own(db: None) -> None:
    staff, other = cast.carol_staff(), cast.carol_staff(email="other@example.com")
    row = freezes.place_freeze(owner=staff.user.pk, scope=Scope.LOGIN, reason="Left early", actor=other.actor)
    with pytest.raises(ApprovalOfOneself):
        lift(row, staff)


def test_nobody_lifts_what_they_placed_not_even_past_the_service(db: None) -> None:
    alice, staff = cast.alice(), cast.carol_staff()
    row = freeze(alice, Scope.WITHDRAWALS, staff)
    with pytest.raises(freezes.PlacerLifts):
        lift(row, staff)
    row.refresh_from_db()
    assert (row.lifted_at, row.lifted_by, flags(alice)) == (None, None, [(True, True, False)] * 2)
    assert not AuditEvent.objects.filter(action="accounts.freeze.lifted").exists()
    for change in ({"lifted_by": row.placed_by, "lifted_at": timezone.now()}, {"lifted_at": timezone.now()}):
        with pytest.raises(IntegrityError, match="freeze_is_lifted_by_somebody_else"), transaction.atomic():
            Freeze.objects.filter(pk=row.pk).update(**change)


def test_what_the_desk_placed_the_desk_lifts_when_its_time_is_over(db: None) -> None:
    alice, now = cast.alice(), timezone.now()
    freezes.place_freeze(
        owner=alice.user.pk,
        scope=Scope.DEPOSITS,
        reason="Alert 7",
        actor=Actor.system("alerts"),
        expires_at=now + timedelta(minutes=1),
    )
    with time_machine.travel(now + timedelta(minutes=2)):
        call_command("expire_freezes", verbosity=0)
    assert Freeze.objects.get().lifted_by == HOUSE


def test_a_freeze_that_is_over_before_it_begins_is_refused(db: None) -> None:
    alice, staff = cast.alice(), cast.carol_staff()
    with pytest.raises(freezes.ExpiryPassed):
        freeze(alice, Scope.TRADING, staff, expires_at=timezone.now())
    assert (Freeze.objects.count(), flags(alice)) == (0, [(True, True, True)] * 2)


# --- Their end ------------------------------------------------------------------------------------------------------


def test_the_desk_lifts_what_has_run_out_and_nothing_else(db: None) -> None:
    alice, staff = cast.alice(), cast.carol_staff()
    now = timezone.now()
    freeze(alice, Scope.TRADING, staff, expires_at=now + timedelta(minutes=1))
    freeze(alice, Scope.DEPOSITS, staff, expires_at=now + timedelta(hours=1))
    freeze(alice, Scope.WITHDRAWALS, staff)
    with time_machine.travel(now + timedelta(minutes=2)):
        call_command("expire_freezes", dry_run=True, verbosity=0)
        assert Freeze.objects.filter(lifted_at__isnull=True).count() == 3
        call_command("expire_freezes", verbosity=0)
    assert flags(alice) == [(True, False, False)] * 2
    assert AuditEvent.objects.get(action="accounts.freeze.lifted").actor_id == HOUSE


# --- Races ----------------------------------------------------------------------------------------------------------


def test_no_transfer_begins_after_the_freeze_is_there(committed_db: Clone) -> None:
    alice, bob, staff = cast.alice(), cast.bob(), cast.carol_staff()
    done: list[Any] = []

    def keep_sending() -> Any:
        outcomes = []
        for _ in range(15):
            seen_frozen = Freeze.objects.filter(owner=alice.user).exists()
            outcomes.append((seen_frozen, outcome(transfer(alice, bob))))
        return outcomes

    def stop() -> Any:
        while Transfer.objects.count() < 5:
            pass
        freeze(alice, Scope.WITHDRAWALS, staff)
        return []

    for outcomes in together([keep_sending, keep_sending, stop]):
        done += outcomes
    sent = [said for _, said in done if said == (201, "")]
    assert {said for seen, said in done if seen} <= {(422, "WITHDRAWALS_FROZEN")}
    assert len(sent) + sum(said == (422, "WITHDRAWALS_FROZEN") for _, said in done) == 30
    alice.cash.refresh_from_db()
    assert alice.cash.balance == Decimal(1000) - len(sent)
    assert Transfer.objects.count() == len(sent) >= 5


def test_a_withdrawal_and_a_freeze_take_turns_at_the_wallet(committed_db: Clone) -> None:
    staff = cast.carol_staff()
    for number in range(5):
        client = cast.make_client(email=f"racer-{number}@example.com")
        account = {"holder": "A", "bank_name": "B", "code_type": "IBAN", "number": bodies.IBAN}
        assert client.api.post("/api/v1/me/bank-accounts", account, **bodies.key()).status_code == 201
        ask = {"wallet": client.cash.number, "amount": "1000.00"}
        responses = together(
            [
                lambda client=client, ask=ask: client.api.post("/api/v1/withdrawals", ask, **bodies.key()),  # type: ignore[misc]
                lambda client=client: freeze(client, Scope.WITHDRAWALS, staff),  # type: ignore[misc]
            ]
        )
        held = Wallet.objects.get(pk=client.cash.pk).held
        asked = Withdrawal.objects.filter(owner=client.user).count()
        assert (outcome(responses[0]), held, asked) in [
            ((201, ""), Decimal(1000), 1),
            ((422, "WITHDRAWALS_FROZEN"), Decimal(0), 0),
        ]
        assert flags(client)[0] == (True, True, False)


def test_of_many_freezing_the_same_one_does(committed_db: Clone) -> None:
    alice, staff = cast.alice(), cast.carol_staff()

    def act(scope: str) -> str:
        try:
            return freeze(alice, scope, staff).scope
        except DomainError as refusal:
            return refusal.code

    for scope in (Scope.TRADING, Scope.LOGIN):
        said = together([lambda scope=scope: act(scope)] * 4)  # type: ignore[misc]
        assert sorted(said) == sorted([scope, *["FREEZE_IN_FORCE"] * 3])
    assert Freeze.objects.count() == 2


def test_a_wallet_opened_meanwhile_does_not_slip_through(committed_db: Clone) -> None:
    """The freeze waits for the client's lock; the wallet that was opened under it is frozen with the others."""
    alice, staff = cast.alice(), cast.carol_staff()
    freezing: list[Any] = []

    def open_another() -> None:
        with transaction.atomic():
            gates.lock_wallets_of(alice.user.pk)
            freezing.append("may start")
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_sleep(0.3)")
            ledger.open_wallet(owner=alice.user.pk, environment="LIVE", kind=Kind.CASH, currency="EUR", verified=True)

    def stop() -> None:
        while not freezing:
            pass
        freeze(alice, Scope.WITHDRAWALS, staff)

    together([open_another, stop])
    assert flags(alice) == [(True, True, False)] * 3


def test_no_token_is_made_after_a_login_freeze(committed_db: Clone) -> None:
    alice, staff = cast.alice(), cast.carol_staff()

    def make() -> Any:
        return alice.api.post("/api/v1/auth/tokens", {"name": "bot", "scopes": ["read"]})

    together([make, make, lambda: freeze(alice, Scope.LOGIN, staff), make, make])
    assert not ApiToken.objects.filter(revoked_at__isnull=True).exists()


def test_only_staff_and_the_desk_freeze(db: None) -> None:
    alice, bob = cast.alice(), cast.bob()
    with pytest.raises(AssertionError):
        freezes.place_freeze(owner=bob.user.pk, scope=Scope.TRADING, reason="Rival", actor=alice.actor)
    freezes.place_freeze(owner=bob.user.pk, scope=Scope.TRADING, reason="Alert 7", actor=Actor.system("alerts"))
    assert flags(bob)[0] == (False, True, True)
