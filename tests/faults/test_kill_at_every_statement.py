"""Whenever the database or the worker dies in a money operation, sending it again has exactly one effect."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from time import monotonic, sleep
from typing import Any

import pytest
from django.db import close_old_connections

from core.errors import DomainError, OutcomeUnknown
from core.idempotency import Claim
from core.ids import uuid7
from core.models import IdempotencyKey
from tests import cast
from tests.cast import CastMember, StaffMember
from tests.database import Clone
from tests.faults.kill import AFTER_COMMIT, BEFORE_COMMIT, Fault, session_dies, worker_dies
from tests.wallets.calls import PROVIDER, bank_account, deposit, key, transfer, withdraw
from wallets import verification
from wallets.models import Adjustment, Deposit, LedgerTransaction, Transfer, Wallet, Withdrawal
from wallets.services import adjustments, deposits, transfers, withdrawals

ONE = Decimal("1.00")
REASON = "a drill"


@dataclass(frozen=True, slots=True)
class Stage:
    """Who is there, and the database they are in."""

    url: str
    alice: CastMember
    bob: CastMember
    carol: StaffMember
    dan: StaffMember


@pytest.fixture
def stage(committed_db: Clone) -> Stage:
    stage = Stage(
        committed_db.url, cast.alice(), cast.bob(), cast.carol_staff(), cast.carol_staff(email="dan@example.com")
    )
    bank_account(stage.alice)
    return stage


def moments(counting: Fault) -> list[Any]:
    return [*range(1, counting.statements + 1), BEFORE_COMMIT, AFTER_COMMIT]


def effects() -> tuple[Any, ...]:
    """What an operation leaves behind: rows of each kind, and every client's balance and hold."""
    wallets = Wallet.objects.filter(kind__in=["CASH", "MARGIN"]).order_by("pk")
    return (
        *(model._default_manager.count() for model in (LedgerTransaction, Transfer, Deposit, Withdrawal, Adjustment)),
        *wallets.values_list("balance", "held", "version"),
    )


def difference(before: tuple[Any, ...], after: tuple[Any, ...]) -> tuple[Any, ...]:
    def minus(new: Any, old: Any) -> Any:
        return tuple(map(minus, new, old)) if isinstance(new, tuple) else new - old

    return tuple(map(minus, after, before))


def nothing_is_broken() -> None:
    found = verification.verify_ledger().found
    assert not found.total(), found
    assert not IdempotencyKey.objects.filter(status="PROCESSING").exists()


# --- Over HTTP ------------------------------------------------------------------------------------------------------

Send = Callable[[Stage, str], Any]

REQUESTS: dict[str, Send] = {
    "transfer": lambda stage, used: transfer(stage.alice, stage.bob.cash, "1.00", key=used),
    "deposit": lambda stage, used: deposit(stage.alice, "1.00", key=used),
    "withdrawal": lambda stage, used: withdraw(stage.alice, "1.00", key=used),
}


def send(stage: Stage, request: str, used: str) -> Any:
    close_old_connections()  # what Django does as a request starts; its test client leaves it out
    return REQUESTS[request](stage, used)


def counted(stage: Stage, request: str, patch: pytest.MonkeyPatch) -> tuple[list[Any], tuple[Any, ...]]:
    """Every moment at which the request can be struck, and what it leaves behind."""
    before = effects()
    with session_dies(stage.url, 0, patch) as counting:
        assert send(stage, request, key()).status_code == 201
    assert counting.commits == 1
    assert counting.statements >= 4, "the token, the key, the locks and what is written"
    return moments(counting), difference(before, effects())


@pytest.mark.parametrize("request_", REQUESTS)
def test_a_request_has_one_effect_whenever_the_database_dies(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, request_: str
) -> None:
    at_all, effect = counted(stage, request_, monkeypatch)
    statuses = {}
    for at in at_all:
        used, before = key(), effects()
        with session_dies(stage.url, at, monkeypatch) as fault:
            first = send(stage, request_, used)
        assert fault.struck, at
        statuses[at] = first.status_code
        again = send(stage, request_, used)
        assert again.status_code == 201, (at, again.content)
        assert difference(before, effects()) == effect, at
        if first.status_code == 201:
            assert (again.content, again.headers["Idempotent-Replayed"]) == (first.content, "true"), at
        else:
            assert first.headers["Retry-After"], at
    # The desk itself runs it again, the look-up of the token as well, and the client notices nothing.
    assert statuses == dict.fromkeys(at_all, 201)
    nothing_is_broken()


@pytest.mark.parametrize("request_", REQUESTS)
def test_a_request_has_one_effect_whenever_the_worker_dies(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, request_: str
) -> None:
    at_all, effect = counted(stage, request_, monkeypatch)
    for at in at_all:
        used, before = key(), effects()
        worker_dies(at, monkeypatch, partial(send, stage, request_, used))
        again = sent_until_done(partial(send, stage, request_, used))
        assert again.status_code == 201, (at, again.content)
        assert again.headers["Idempotent-Replayed"] == ("true" if at == AFTER_COMMIT else "false"), at
        assert difference(before, effects()) == effect, at
        third = send(stage, request_, used)
        assert (third.content, third.headers["Idempotent-Replayed"]) == (again.content, "true"), at
        assert difference(before, effects()) == effect, at
    nothing_is_broken()


def sent_until_done(send_again: Callable[[], Any]) -> Any:
    """Sent again as a client would: the server needs a moment to notice that the worker is gone."""
    deadline = monotonic() + 10
    while True:
        response = send_again()
        if response.status_code not in {409, 503} or monotonic() > deadline:
            return response
        sleep(0.02)


# --- The service itself ---------------------------------------------------------------------------------------------


def test_a_transfer_has_one_effect_for_every_statement(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def send_transfer(claim_key: str) -> Any:
        terms: Any = {"source": stage.alice.cash.number, "target": stage.bob.cash.number, "amount": ONE}
        claim = Claim.make(operation=transfers.TRANSFER, owner=stage.alice.user.pk, key=claim_key, request=terms)
        return transfers.transfer_funds(**terms, claim=claim, actor=stage.alice.actor)

    with session_dies(stage.url, 0, monkeypatch) as counting:
        send_transfer(key())
    assert counting.statements == 3, "the key, the locks, the posting with the transfer's row"
    for at in moments(counting):
        used = key()
        with session_dies(stage.url, at, monkeypatch) as fault:
            first = send_transfer(used)
        assert fault.struck
        assert (first.status, first.replayed) == (201, at == AFTER_COMMIT), at
        again = send_transfer(used)
        assert (again.body, again.replayed) == (first.body, True), at
    sent = 1 + len(moments(counting))
    stage.bob.cash.refresh_from_db()
    assert (Transfer.objects.count(), stage.bob.cash.balance) == (sent, Decimal("1000.00") + ONE * sent)
    nothing_is_broken()


# --- What staff and providers do: their key is the row's own state --------------------------------------------------


def _completion(stage: Stage) -> tuple[Callable[[], Any], type[DomainError]]:
    made = Withdrawal.objects.get(pk=withdraw(stage.alice, "1.00").json()["id"])
    terms: Any = {"withdrawal_id": made.pk, "reason": REASON, "actor": stage.carol.actor}
    for step in (withdrawals.start_review, withdrawals.approve_withdrawal, withdrawals.mark_sent):
        step(**terms)
    return lambda: withdrawals.complete_withdrawal(**terms), withdrawals.WithdrawalStateRefused


def _approval(stage: Stage) -> tuple[Callable[[], Any], type[DomainError]]:
    made = deposit(stage.alice, "1.00").json()["id"]
    return (
        lambda: deposits.approve_deposit(deposit_id=made, reason=REASON, actor=stage.carol.actor),
        deposits.DepositStateRefused,
    )


def _reversal(stage: Stage) -> tuple[Callable[[], Any], type[DomainError]]:
    approve, refusal = _approval(stage)
    made = approve()
    return lambda: deposits.reverse_deposit(deposit_id=made.pk, reason=REASON, actor=stage.carol.actor), refusal


def _settlement(stage: Stage) -> tuple[Callable[[], Any], None]:
    made = Deposit.objects.get(pk=deposit(stage.alice, "1.00").json()["id"])
    Deposit.objects.filter(pk=made.pk).update(provider="webhook")
    reference = str(uuid7())
    report: Any = {"reference": reference, "succeeded": True, "amount": ONE, "currency": "USD", "actor": PROVIDER}
    return lambda: deposits.settle_deposit(deposit_id=made.pk, **report), None


def _proposal(stage: Stage) -> tuple[Callable[[], Any], type[DomainError]]:
    terms: Any = {"wallet": stage.alice.cash.number, "direction": "CREDIT", "amount": ONE, "key": key()}
    return (
        lambda: adjustments.propose_adjustment(**terms, reason=REASON, actor=stage.carol.actor),
        adjustments.AdjustmentSentAlready,
    )


def _adjustment(stage: Stage) -> tuple[Callable[[], Any], type[DomainError]]:
    propose, _ = _proposal(stage)
    made = propose()
    return (
        lambda: adjustments.approve_adjustment(adjustment_id=made.pk, reason=REASON, actor=stage.dan.actor),
        adjustments.AdjustmentDecided,
    )


@pytest.mark.parametrize("prepare", [_completion, _approval, _reversal, _settlement, _proposal, _adjustment])
def test_a_decision_taken_again_has_one_effect(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, settings: Any, prepare: Callable[[Stage], Any]
) -> None:
    settings.PAYMENT_PROVIDER = "manual"
    decide, refusal = prepare(stage)
    before = effects()
    with session_dies(stage.url, 0, monkeypatch) as counting:
        decide()
    effect = difference(before, effects())
    for at in moments(counting):
        decide, refusal = prepare(stage)
        before = effects()
        with session_dies(stage.url, at, monkeypatch) as fault:
            _decided_into_it(decide, fault)
        assert fault.struck
        with suppress(*([refusal] if refusal else [])):
            decide()
        assert difference(before, effects()) == effect, at
    nothing_is_broken()


def _decided_into_it(decide: Callable[[], Any], fault: Fault) -> None:
    """Without a key to ask, a commit that got lost is said to be unknown; everything before it was run again."""
    try:
        decide()
    except OutcomeUnknown:
        assert fault.at in {BEFORE_COMMIT, AFTER_COMMIT}
    else:
        assert fault.at not in {BEFORE_COMMIT, AFTER_COMMIT}
