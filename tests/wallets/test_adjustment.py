"""An adjustment moves money once, when two people who are not its owner agree, and never otherwise."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from core.audit import Actor
from core.errors import DomainError
from core.ids import uuid7
from core.models import AuditEvent
from core.money import PrecisionExceeded
from tests import cast
from tests.accounts.crowd import together
from tests.cast import CastMember, StaffMember
from tests.database import Clone
from tests.wallets.calls import balances, bank_account, books, get, withdraw
from wallets import ledger, verification
from wallets.ledger import WalletNotFound
from wallets.models import Adjustment, Entry, Kind, LedgerTransaction, Wallet
from wallets.rules import ApprovalOfOneself, InsufficientFunds, ProposerDecides, ReasonRequired, WalletNotActive
from wallets.services import adjustments

REASON = "a fee charged twice"
Decide = Callable[..., Adjustment]
APPROVE, REJECT, WITHDRAW = (
    adjustments.approve_adjustment,
    adjustments.reject_adjustment,
    adjustments.withdraw_adjustment,
)


def propose(wallet: Wallet, staff: StaffMember, amount: str = "25.00", **terms: Any) -> Adjustment:
    terms = {"direction": "CREDIT", "reason": REASON, "key": str(uuid7())} | terms
    return adjustments.propose_adjustment(wallet=wallet.number, amount=Decimal(amount), actor=staff.actor, **terms)


def decide(service: Decide, row: Adjustment, staff: StaffMember, reason: str = "agreed") -> Adjustment:
    return service(adjustment_id=row.pk, reason=reason, actor=staff.actor)


def everything() -> Any:
    """What a refusal must leave as it was."""
    return books(), sorted(Adjustment.objects.values_list("pk", "status", "transaction"), key=str)


# --- What it does ---------------------------------------------------------------------------------------------------


def test_nothing_moves_until_somebody_else_agrees(alice: CastMember, carol: StaffMember, dan: StaffMember) -> None:
    row = propose(alice.cash, carol, reference="Ticket 9")
    assert balances(alice) == (Decimal("1000.00"), Decimal(0))
    assert (row.status, row.owner_id, row.transaction_id) == ("PROPOSED", alice.user.pk, None)

    decide(APPROVE, row, dan)
    assert balances(alice) == (Decimal("1025.00"), Decimal(0))
    row.refresh_from_db()
    assert (row.status, row.proposed_by_id, row.decided_by_id) == ("APPROVED", carol.user.pk, dan.user.pk)
    posted = row.transaction
    assert posted is not None
    assert (posted.type, posted.actor_id, posted.reason, posted.reference) == (
        "ADJUSTMENT",
        dan.user.pk,
        REASON,
        "Ticket 9",
    )
    house = ledger.house(Kind.HOUSE_ADJUSTMENT, "USD", "LIVE").id
    legs = dict(Entry.objects.filter(transaction=posted).values_list("wallet_id", "amount"))
    assert legs == {alice.cash.pk: Decimal(25), house: Decimal(-25)}
    told = AuditEvent.objects.filter(object_id=str(row.pk)).order_by("pk").values_list("action", "actor_id", "reason")
    assert list(told) == [
        ("wallets.adjustment.proposed", carol.user.pk, REASON),
        ("wallets.adjustment.approved", dan.user.pk, "agreed"),
    ]


def test_the_client_reads_the_reference_and_never_the_reason(
    alice: CastMember, carol: StaffMember, dan: StaffMember
) -> None:
    decide(APPROVE, propose(alice.cash, carol, reference="Ticket 9", reason="Suspects us of theft"), dan)
    statement = get(alice, f"wallets/{alice.cash.number}/entries")
    assert statement.json()["results"][0]["reference"] == "Ticket 9"
    assert "theft" not in statement.content.decode()


def test_a_debit_takes_what_is_available(alice: CastMember, carol: StaffMember, dan: StaffMember) -> None:
    decide(APPROVE, propose(alice.cash, carol, "1000.00", direction="DEBIT"), dan)
    assert balances(alice) == (Decimal(0), Decimal(0))


def test_a_freeze_does_not_stop_it(alice: CastMember, carol: StaffMember, dan: StaffMember) -> None:
    Wallet.objects.filter(pk=alice.cash.pk).update(status="FROZEN", withdrawals_enabled=False)
    decide(APPROVE, propose(alice.cash, carol, "1.00", direction="DEBIT"), dan)
    assert balances(alice)[0] == Decimal("999.00")


@pytest.mark.parametrize("service,status", [(REJECT, "REJECTED"), (WITHDRAW, "WITHDRAWN")])
def test_what_is_turned_down_or_taken_back_moves_nothing(
    alice: CastMember, carol: StaffMember, dan: StaffMember, service: Decide, status: str
) -> None:
    row = propose(alice.cash, carol)
    decide(service, row, dan if service is REJECT else carol, "typed wrong")
    row.refresh_from_db()
    assert (row.status, row.decision, row.transaction_id) == (status, "typed wrong", None)
    assert balances(alice) == (Decimal("1000.00"), Decimal(0))


def test_the_ledger_and_the_trail_agree_with_it(alice: CastMember, carol: StaffMember, dan: StaffMember) -> None:
    for service, who in ((APPROVE, dan), (REJECT, dan), (WITHDRAW, carol)):
        decide(service, propose(alice.cash, carol), who)
    propose(alice.cash, carol)
    with connection.cursor() as cursor:
        for check in ("adjustments_agree", "guards_are_on_duty"):
            cursor.execute(verification.QUERIES[check])
            assert cursor.fetchall() == []


# --- What it refuses to propose -------------------------------------------------------------------------------------


def refused(expected: type[DomainError], act: Callable[[], object]) -> DomainError:
    before = everything()
    with pytest.raises(expected) as refusal:
        act()
    assert everything() == before
    return refusal.value


@pytest.mark.parametrize("reason", ["", "   ", "x" * 501])
def test_a_proposal_needs_a_reason(alice: CastMember, carol: StaffMember, reason: str) -> None:
    refused(ReasonRequired, lambda: propose(alice.cash, carol, reason=reason))


def test_a_margin_wallet_is_refused_and_told_why(db: None, carol: StaffMember) -> None:
    trader = cast.make_client(margin=Decimal("500.00"))
    refusal = refused(adjustments.CashWalletRequired, lambda: propose(trader.margin, carol))
    assert refusal.code == "CASH_WALLET_REQUIRED"
    assert "only cash wallets are adjusted" in refusal.detail


def test_the_houses_wallets_and_unknown_ones_are_refused(alice: CastMember, carol: StaffMember) -> None:
    refused(WalletNotFound, lambda: propose(Wallet.objects.get(number="HOUSE_SWAP-USD-LIVE"), carol))
    refused(WalletNotFound, lambda: propose(Wallet(number="W1"), carol))


def test_more_decimals_or_more_money_than_allowed_are_refused(
    alice: CastMember, carol: StaffMember, settings: Any
) -> None:
    settings.ADJUSTMENT_MAX = Decimal(100)
    refused(PrecisionExceeded, lambda: propose(alice.cash, carol, "1.001"))
    refusal = refused(adjustments.AdjustmentTooLarge, lambda: propose(alice.cash, carol, "100.01"))
    assert refusal.context == {"max": "100.00", "currency": "USD"}


def test_a_form_proposes_once(alice: CastMember, bob: CastMember, carol: StaffMember, dan: StaffMember) -> None:
    propose(alice.cash, carol, key="form 1")
    refused(adjustments.AdjustmentSentAlready, lambda: propose(alice.cash, carol, "7.00", key="form 1"))
    propose(alice.cash, dan, key="form 1")
    propose(alice.cash, carol, key="form 2")
    assert Adjustment.objects.count() == 3


def test_nobody_proposes_for_their_own_wallet(alice: CastMember) -> None:
    herself = StaffMember(alice.user)
    refused(ApprovalOfOneself, lambda: propose(alice.cash, herself))


def test_clients_and_machines_propose_nothing(alice: CastMember) -> None:
    for actor in (alice.actor, Actor.system()):
        with pytest.raises(AssertionError):
            adjustments.propose_adjustment(
                wallet=alice.cash.number, direction="CREDIT", amount=Decimal(1), reason=REASON, actor=actor, key="k"
            )
    assert not Adjustment.objects.exists()


# --- What it refuses to decide --------------------------------------------------------------------------------------


@pytest.mark.parametrize("service", [APPROVE, REJECT])
def test_whoever_proposed_it_does_not_decide(alice: CastMember, carol: StaffMember, service: Decide) -> None:
    row = propose(alice.cash, carol)
    assert carol.user.is_superuser
    assert refused(ProposerDecides, lambda: decide(service, row, carol)).code == "PROPOSER_DECIDES"


@pytest.mark.parametrize("service", [APPROVE, REJECT])
def test_the_wallets_owner_does_not_decide(alice: CastMember, carol: StaffMember, service: Decide) -> None:
    row = propose(alice.cash, carol)
    refused(ApprovalOfOneself, lambda: decide(service, row, StaffMember(alice.user)))


def test_only_its_proposer_withdraws_it(alice: CastMember, carol: StaffMember, dan: StaffMember) -> None:
    row = propose(alice.cash, carol)
    refused(adjustments.NotItsProposer, lambda: decide(WITHDRAW, row, dan))


@pytest.mark.parametrize("reason", ["", " "])
def test_a_decision_needs_a_reason(alice: CastMember, carol: StaffMember, dan: StaffMember, reason: str) -> None:
    row = propose(alice.cash, carol)
    for service in (APPROVE, REJECT, WITHDRAW):
        refused(ReasonRequired, lambda service=service: decide(service, row, dan, reason))  # type: ignore[misc]


def test_a_debit_beyond_what_is_available_is_refused_and_stays_proposed(
    alice: CastMember, carol: StaffMember, dan: StaffMember
) -> None:
    bank_account(alice)
    assert withdraw(alice, "600.00").status_code == 201
    row = propose(alice.cash, carol, "400.01", direction="DEBIT")
    refusal = refused(InsufficientFunds, lambda: decide(APPROVE, row, dan))
    assert refusal.code == "INSUFFICIENT_FUNDS"
    assert refusal.context == {"required": "400.01", "available": "400.00", "shortfall": "0.01", "currency": "USD"}
    row.refresh_from_db()
    assert row.status == "PROPOSED"


def test_a_closed_wallet_is_left_alone(alice: CastMember, carol: StaffMember, dan: StaffMember) -> None:
    row = propose(alice.cash, carol)
    Wallet.objects.filter(pk=alice.cash.pk).update(status="CLOSED")
    refused(WalletNotActive, lambda: decide(APPROVE, row, dan))


@pytest.mark.parametrize("first", [APPROVE, REJECT, WITHDRAW])
def test_what_is_decided_stays_so(alice: CastMember, carol: StaffMember, dan: StaffMember, first: Decide) -> None:
    row = decide(first, propose(alice.cash, carol), carol if first is WITHDRAW else dan)
    for service in (APPROVE, REJECT, WITHDRAW):
        who = carol if service is WITHDRAW else dan
        refusal = refused(adjustments.AdjustmentDecided, lambda service=service, who=who: decide(service, row, who))  # type: ignore[misc]
        assert refusal.context == {"status": row.status}


def test_what_does_not_exist_is_not_decided(db: None, dan: StaffMember) -> None:
    for service in (APPROVE, REJECT, WITHDRAW):
        with pytest.raises(adjustments.AdjustmentNotFound):
            service(adjustment_id=uuid7(), reason="which?", actor=dan.actor)


# --- Past the service -----------------------------------------------------------------------------------------------

PARTIES = {"maker": "proposed_by_id", "owner": "owner_id"}


@pytest.mark.parametrize("status", ["APPROVED", "REJECTED"])
@pytest.mark.parametrize("party", PARTIES)
def test_the_database_insists_on_two_people_who_are_not_the_client(
    alice: CastMember, carol: StaffMember, status: str, party: str
) -> None:
    row = propose(alice.cash, carol)
    posting = LedgerTransaction.objects.get(owner=alice.user).pk
    sql = (
        f"UPDATE wallets_adjustment SET status = '{status}', decided_by_id = {PARTIES[party]}, decided_at = now(),"
        " decision = 'mine', transaction_id = %s WHERE id = %s"
    )
    match = "adjustment_takes_two_other_people"
    with pytest.raises(IntegrityError, match=match), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql, [posting if status == "APPROVED" else None, row.pk])


# --- Races ----------------------------------------------------------------------------------------------------------


def test_of_many_deciding_at_once_one_does(committed_db: Clone) -> None:
    alice, carol, dan = cast.alice(), cast.carol_staff(), cast.carol_staff(email="dan@example.com")
    eve = cast.carol_staff(email="eve@example.com")

    def act(turn: tuple[Decide, StaffMember], row: Adjustment) -> str:
        service, who = turn
        try:
            return decide(service, row, who).status
        except DomainError as refusal:
            return refusal.code

    approved = 0
    for _ in range(5):
        row = propose(alice.cash, carol)
        turns = [(APPROVE, dan), (APPROVE, eve), (REJECT, dan), (WITHDRAW, carol), (APPROVE, dan)]
        said = together([lambda turn=turn, row=row: act(turn, row) for turn in turns])  # type: ignore[misc]
        assert sorted(said)[:4] == ["ADJUSTMENT_DECIDED"] * 4
        row.refresh_from_db()
        assert said.count(row.status) == 1
        approved += row.status == "APPROVED"
    alice.cash.refresh_from_db()
    assert alice.cash.balance == 1000 + 25 * approved
    posted = LedgerTransaction.objects.filter(owner=alice.user, actor_kind="STAFF").count()
    assert (posted, Entry.objects.filter(wallet=alice.cash).count()) == (approved, 1 + approved)
    assert not verification.verify_ledger().found


def test_two_debits_never_take_the_same_money(committed_db: Clone) -> None:
    alice, carol, dan = cast.alice(), cast.carol_staff(), cast.carol_staff(email="dan@example.com")
    rows = [propose(alice.cash, carol, "400.00", direction="DEBIT") for _ in range(4)]

    def act(row: Adjustment) -> str:
        try:
            return decide(APPROVE, row, dan).status
        except DomainError as refusal:
            return refusal.code

    said = together([lambda row=row: act(row) for row in rows])  # type: ignore[misc]
    assert sorted(said) == ["APPROVED", "APPROVED", "INSUFFICIENT_FUNDS", "INSUFFICIENT_FUNDS"]
    alice.cash.refresh_from_db()
    assert alice.cash.balance == 200
