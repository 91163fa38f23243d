"""A verification moves one way only, and its approval stands on the wallets it opens."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest

from accounts.models import Verification
from accounts.services import verifications
from core.audit import Actor, ActorKind
from core.errors import DomainError
from core.models import AuditEvent
from tests import cast
from tests.accounts.crowd import together
from tests.accounts.problems import body, fields, outcome
from tests.cast import CastMember, StaffMember
from tests.database import Clone
from wallets.models import Environment, Wallet
from wallets.rules import ApprovalOfOneself, ReasonRequired

URL = "/api/v1/me/verification"
Status = Verification.Status
PASSPORT = {"kind": "PASSPORT", "reference": "uploads/1"}


def dave(status: str = Status.PENDING, **changes: Any) -> tuple[CastMember, Verification]:
    """A live client whose verification stands at this status."""
    client = cast.make_client(verified=False, balance=0, **changes)  # type: ignore[arg-type]  # a whole number will do
    decided = status in {Status.APPROVED, Status.REJECTED, Status.ACTION_REQUIRED}
    reviewer = cast.carol_staff(email=f"{uuid4()}@example.com").user if decided else None
    return client, Verification.objects.create(owner=client.user, status=status, reviewed_by=reviewer)


def review(row: Verification, outcome: str, staff: StaffMember, reason: str = "Looked at it") -> Verification:
    return verifications.review_verification(verification_id=row.pk, outcome=outcome, reason=reason, actor=staff.actor)


def hand_in(client: CastMember, *documents: Any) -> Any:
    return client.api.post(URL, {"documents": list(documents or [PASSPORT])})


# --- Every step there is --------------------------------------------------------------------------------------------

ALLOWED = {
    (Status.SUBMITTED, Status.IN_REVIEW),
    (Status.IN_REVIEW, Status.APPROVED),
    (Status.IN_REVIEW, Status.REJECTED),
    (Status.IN_REVIEW, Status.ACTION_REQUIRED),
}
EVERY_REVIEW = [(before, after) for before in Status for after in Status]


@pytest.mark.parametrize("before,after", EVERY_REVIEW)
def test_a_review_takes_the_steps_of_the_table_and_no_other(db: None, before: Status, after: Status) -> None:
    client, row = dave(before)
    staff = cast.carol_staff()
    if (before, after) in ALLOWED:
        assert review(row, after, staff).status == after
        event = AuditEvent.objects.get(action="accounts.verification.reviewed")
        assert (event.actor_id, event.owner, event.reason) == (staff.user.pk, client.id, "Looked at it")
        assert (event.before, event.after) == ({"status": before}, {"status": after})
    else:
        with pytest.raises(verifications.VerificationStateRefused) as refused:
            review(row, after, staff)
        assert refused.value.context == {"status": before, "wanted": after}
        assert not AuditEvent.objects.exists()
    row.refresh_from_db()
    assert row.status == (after if (before, after) in ALLOWED else before)
    is_open = (before, after) == (Status.IN_REVIEW, Status.APPROVED)
    assert set(Wallet.objects.filter(owner=client.user).values_list("verified", flat=True)) == {is_open}


@pytest.mark.parametrize("before", Status)
def test_documents_are_taken_when_they_are_wanted(db: None, before: Status) -> None:
    client, row = dave(before)
    response = hand_in(client)
    if before in {Status.PENDING, Status.ACTION_REQUIRED, Status.REJECTED}:
        assert (outcome(response), body(response)["status"]) == ((201, ""), "SUBMITTED")
        assert Verification.objects.count() == (2 if before == Status.REJECTED else 1)
        assert body(client.api.get(URL))["documents"][0]["reference"] == "uploads/1"
    else:
        assert outcome(response) == (409, "VERIFICATION_STATE_REFUSED")
        row.refresh_from_db()
        assert (row.status, row.documents, Verification.objects.count()) == (before, [], 1)


def test_an_approval_opens_live_wallets_only(db: None) -> None:
    client, row = dave(Status.IN_REVIEW)
    demo = cast.make_client(environment=Environment.DEMO)
    Wallet.objects.filter(pk=demo.cash.pk).update(verified=False)
    review(row, Status.APPROVED, cast.carol_staff())
    for wallet in Wallet.objects.filter(owner=client.user):
        assert wallet.verified
    demo.cash.refresh_from_db()
    assert not demo.cash.verified


def test_who_was_asked_for_more_reads_why_and_hands_it_in(db: None) -> None:
    client, row = dave()
    staff = cast.carol_staff()
    hand_in(client)
    review(row, Status.IN_REVIEW, staff)
    review(row, Status.ACTION_REQUIRED, staff, "The second page is missing.")
    shown = body(client.api.get(URL))
    assert (shown["status"], shown["action_required"]) == ("ACTION_REQUIRED", "The second page is missing.")
    shown = body(hand_in(client, {"kind": "PROOF_OF_ADDRESS", "reference": "uploads/2"}))
    assert [document["reference"] for document in shown["documents"]] == ["uploads/1", "uploads/2"]
    assert shown["action_required"] == ""


def test_a_rejections_reason_stays_inside(db: None) -> None:
    client, row = dave(Status.IN_REVIEW)
    review(row, Status.REJECTED, cast.carol_staff(), "On a sanctions list")
    for path in (URL, "/api/v1/me"):
        assert "sanctions" not in client.api.get(path).content.decode()


# --- Who decides ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", ["", "   ", "x" * 501])
def test_a_decision_needs_a_reason(db: None, reason: str) -> None:
    _, row = dave(Status.IN_REVIEW)
    with pytest.raises(ReasonRequired):
        review(row, Status.APPROVED, cast.carol_staff(), reason)
    row.refresh_from_db()
    assert row.status == Status.IN_REVIEW


def test_nobody_decides_about_themselves(db: None) -> None:
    client, row = dave(Status.IN_REVIEW)
    with pytest.raises(ApprovalOfOneself):
        verifications.review_verification(
            verification_id=row.pk,
            outcome=Status.APPROVED,
            reason="I know me",
            actor=Actor(client.user.pk, ActorKind.STAFF),
        )
    assert not Wallet.objects.filter(owner=client.user, verified=True).exists()


def test_what_does_not_exist_is_not_decided(db: None) -> None:
    with pytest.raises(verifications.VerificationNotFound):
        verifications.review_verification(
            verification_id=UUID(int=7), outcome=Status.APPROVED, reason="Who?", actor=cast.carol_staff().actor
        )


def test_of_two_deciding_at_once_one_decides(committed_db: Clone) -> None:
    client, row = dave(Status.IN_REVIEW)
    reviewers = [cast.carol_staff(email=f"kyc-{number}@example.com") for number in range(4)]
    outcomes = [Status.APPROVED, Status.REJECTED, Status.APPROVED, Status.ACTION_REQUIRED]

    def decide(staff: StaffMember, wanted: str) -> str:
        try:
            return review(row, wanted, staff).status
        except DomainError as refusal:
            return refusal.code

    acts = [
        lambda staff=staff, wanted=wanted: decide(staff, wanted)
        for staff, wanted in zip(reviewers, outcomes, strict=True)
    ]
    decided = [said for said in together(acts) if said != "VERIFICATION_STATE_REFUSED"]
    row.refresh_from_db()
    assert decided == [row.status]
    verified = set(Wallet.objects.filter(owner=client.user).values_list("verified", flat=True))
    assert verified == {row.status == Status.APPROVED}


def test_of_two_new_attempts_after_a_rejection_one_is_taken(committed_db: Clone) -> None:
    client, _ = dave(Status.REJECTED)
    outcomes = sorted(outcome(response) for response in together([lambda: hand_in(client)] * 4))
    assert outcomes == [(201, ""), *[(409, "VERIFICATION_STATE_REFUSED")] * 3]
    assert Verification.objects.filter(status=Status.SUBMITTED).count() == 1


# --- What is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "terms,named",
    [
        ({}, "documents"),
        ({"documents": []}, "documents"),
        ({"documents": "PASSPORT"}, "documents"),
        ({"documents": [PASSPORT] * 11}, "documents"),
        ({"documents": [PASSPORT | {"kind": "SELF_PORTRAIT"}]}, "documents.0.kind"),
        ({"documents": [PASSPORT, PASSPORT | {"reference": ""}]}, "documents.1.reference"),
        ({"documents": [PASSPORT | {"status": "APPROVED"}]}, "documents.0.status"),
        ({"documents": [PASSPORT], "status": "APPROVED"}, "status"),
    ],
)
def test_refuses_by_name_what_cannot_be(db: None, terms: dict[str, Any], named: str) -> None:
    client, row = dave()
    response = client.api.post(URL, terms)
    assert (response.status_code, fields(response)) == (400, [named])
    row.refresh_from_db()
    assert (row.status, row.documents) == (Status.PENDING, [])


def test_documents_do_not_pile_up(db: None) -> None:
    client, row = dave(Status.ACTION_REQUIRED)
    Verification.objects.filter(pk=row.pk).update(documents=[PASSPORT] * 50)
    assert outcome(hand_in(client)) == (422, "TOO_MANY_DOCUMENTS")


def test_a_demo_client_has_nothing_to_verify(db: None) -> None:
    client = cast.make_client(environment=Environment.DEMO)
    assert outcome(client.api.get(URL)) == (404, "NOT_FOUND")
    assert outcome(hand_in(client)) == (409, "NOTHING_TO_VERIFY")


def test_nobody_sees_anothers(db: None) -> None:
    client, row = dave(Status.SUBMITTED)
    bob = cast.bob()
    assert outcome(bob.api.get(URL)) == (404, "NOT_FOUND")
    assert body(client.api.get(URL))["id"] == str(row.pk)
