"""Who referred a client: settled at sign-up, changed by two members of staff, asked for as it stood at a moment."""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts import selectors
from accounts.models import ReferrerChange, User
from accounts.selectors import Upline
from accounts.services import referrers
from core.errors import DomainError
from core.models import AuditEvent, IdempotencyKey
from tests import cast, factories, ledger_cast
from tests.accounts import bodies
from tests.accounts.problems import body, outcome
from tests.cast import StaffMember
from tests.wallets.calls import IBAN_DETAILS
from wallets.models import BankAccount, Wallet

REASON = "Came through Bob, who complained in time"


def sign_up(form: dict[str, Any], **headers: Any) -> Any:
    kind = "live" if "bank" in form else "demo"
    return cast.api_client().post(f"/api/v1/signup/{kind}", form, **(headers or bodies.key()))


def person(referred_by: User | None = None, **facts: Any) -> User:
    return factories.Person.create(referred_by=referred_by, **facts)


@pytest.fixture
def carol(db: None) -> StaffMember:
    return cast.carol_staff()


@pytest.fixture
def dora(db: None) -> StaffMember:
    return cast.carol_staff(email="dora@example.com", name="Dora Dean")


def counted() -> tuple[int, ...]:
    return tuple(model._default_manager.count() for model in (User, Wallet, BankAccount, ReferrerChange, AuditEvent))


# --- At sign-up -----------------------------------------------------------------------------------------------------


@pytest.fixture
def referrer(db: None) -> User:
    """A live client with a code, a phone and a bank account."""
    answer = body(sign_up(bodies.live(email="rita@example.com", phone="+442079460900")))
    return User.objects.get(pk=answer["user"]["id"])


def wrong_check(code: str) -> str:
    return code[:7] + ("A" if code[7] != "A" else "B")


def live_elsewhere(**changes: Any) -> dict[str, Any]:
    """A live form with another bank account than everybody's."""
    return bodies.live(bank=IBAN_DETAILS, **changes)


@pytest.mark.parametrize("make", [bodies.demo, live_elsewhere])
@pytest.mark.parametrize(
    "spell", [wrong_check, lambda code: "00000000", lambda code: "hello", lambda code: "'; DROP --"]
)
def test_a_code_that_nobody_gave_out_is_refused_and_may_be_corrected(referrer: User, make: Any, spell: Any) -> None:
    form, used, before = make(referral_code=spell(referrer.referral_code)), bodies.key(), counted()
    response = sign_up(form, **used)
    assert outcome(response) == (400, "REFERRAL_CODE_INVALID")
    assert [error["field"] for error in body(response)["errors"]] == ["referral_code"]
    assert counted() == before
    assert not IdempotencyKey.objects.filter(response_status=400).exists()
    again = sign_up(form | {"referral_code": referrer.referral_code}, **used)
    assert outcome(again) == (201, "")
    assert User.objects.get(pk=body(again)["user"]["id"]).referred_by == referrer


def test_the_code_of_somebody_who_was_shut_out_is_refused(referrer: User) -> None:
    User.objects.filter(pk=referrer.pk).update(is_active=False)
    assert outcome(sign_up(bodies.demo(referral_code=referrer.referral_code))) == (400, "REFERRAL_CODE_INVALID")


@pytest.mark.parametrize(
    "change",
    [{"phone": "+442079460900"}, {"email": "rita+second@example.com"}, {"email": "Rita+2+3@Example.com"}],
)
@pytest.mark.parametrize("make", [bodies.demo, live_elsewhere])
def test_nobody_signs_up_under_their_own_code(referrer: User, make: Any, change: dict[str, str]) -> None:
    before = counted()
    response = sign_up(make(referral_code=referrer.referral_code, **change))
    assert outcome(response) == (422, "SELF_REFERRAL")
    assert [error["field"] for error in body(response)["errors"]] == ["referral_code"]
    assert counted() == before


def test_a_bank_account_of_the_referrer_is_a_self_referral(referrer: User) -> None:
    before = counted()
    form = bodies.live(referral_code=referrer.referral_code)
    spaced = form["bank"] | {"number": "gb33 bukb 2020 1555 5555 55"}
    assert outcome(sign_up(form | {"bank": spaced})) == (422, "SELF_REFERRAL")
    assert counted() == before
    assert outcome(sign_up(form | {"bank": IBAN_DETAILS})) == (201, "")


@pytest.mark.parametrize("email", ["rita.second@example.com", "rita@example.org", "r.ita@example.com"])
def test_another_mailbox_is_another_person(referrer: User, email: str) -> None:
    assert outcome(sign_up(bodies.demo(email=email, referral_code=referrer.referral_code))) == (201, "")


def going_live(user: User, **changes: Any) -> Any:
    form = {name: value for name, value in bodies.live().items() if name not in {"email", "password", "phone"}}
    api = cast.api_client(cast.issue_token(user))
    return api.post("/api/v1/signup/live", form | changes, **bodies.key())


def demo_person(**form: Any) -> User:
    return User.objects.get(pk=body(sign_up(bodies.demo(**form)))["user"]["id"])


def test_a_code_cannot_come_late(referrer: User) -> None:
    user, before = demo_person(), counted()
    for code in (referrer.referral_code, user.referral_code, wrong_check(user.referral_code)):  # type: ignore[arg-type]
        response = going_live(user, referral_code=code)
        assert outcome(response) == (422, "ATTRIBUTION_FIXED")
        assert [error["field"] for error in body(response)["errors"]] == ["referral_code"]
    assert counted() == before
    user.refresh_from_db()
    assert user.referred_by is None


def test_the_code_they_came_with_may_be_spelled_another_way(referrer: User) -> None:
    code = referrer.referral_code
    assert code is not None
    user = demo_person(referral_code=code)
    typed = f"{code[:3]}-{code[3:]}".lower()
    response = going_live(user, referral_code=typed, bank=IBAN_DETAILS)
    assert outcome(response) == (201, "")
    user.refresh_from_db()
    assert (user.referred_by, user.referral_code_entered) == (referrer, code)


def test_a_client_cannot_change_their_referrer(referrer: User) -> None:
    user = demo_person()
    api = cast.api_client(cast.issue_token(user))
    for name in ("referral_code", "referred_by", "referral_code_entered"):
        response = api.patch("/api/v1/me", {name: str(referrer.pk)}, **bodies.key())
        assert outcome(response) == (400, "UNKNOWN_FIELD")
    user.refresh_from_db()
    assert user.referred_by is None


# --- As it stood at a moment ----------------------------------------------------------------------------------------


def test_the_chain_has_the_nearest_first_and_an_end(db: None) -> None:
    top = person()
    line = [top]
    for _ in range(4):
        line.append(person(referred_by=line[-1]))
    now = timezone.now()
    above = [one.pk for one in reversed(line[:-1])]
    assert selectors.referral_chain(line[-1].pk, now) == [Upline(1, above[0]), Upline(2, above[1]), Upline(3, above[2])]
    assert selectors.referral_chain(line[-1].pk, now, levels=9) == [Upline(n, id_) for n, id_ in enumerate(above, 1)]
    assert selectors.referral_chain(line[1].pk, now) == [Upline(1, top.pk)]
    assert selectors.referral_chain(top.pk, now) == []
    assert selectors.referrer_at(line[-1].pk, now) == above[0]
    assert selectors.referrer_at(top.pk, now) is None


def test_a_change_counts_from_its_approval_on(carol: StaffMember, dora: StaffMember) -> None:
    first, second = person(), person()
    client = person(referred_by=first)
    moments = [timezone.now()]
    for referrer_id in (second.pk, None, first.pk):
        change = referrers.propose_referrer(
            client_id=client.pk, referrer_id=referrer_id, reason=REASON, actor=carol.actor
        )
        assert selectors.referrer_at(client.pk, timezone.now()) == User.objects.get(pk=client.pk).referred_by_id
        referrers.approve_referrer(change_id=change.pk, reason="Checked", actor=dora.actor)
        moments.append(timezone.now())
    wanted = [first.pk, second.pk, None, first.pk]
    assert [selectors.referrer_at(client.pk, moment) for moment in moments] == wanted
    changes = ReferrerChange.objects.order_by("id")
    assert [(one.previous_id, one.referrer_id) for one in changes] == list(itertools.pairwise(wanted))
    # To the microsecond: what happened at the moment itself counts for the new one, before it for the old.
    at = changes[0].effective_from
    assert at is not None
    assert selectors.referrer_at(client.pk, at) == second.pk
    assert selectors.referrer_at(client.pk, at - timedelta(microseconds=1)) == first.pk


def share_a_bank_account(one: User, other: User, number: bytes = b"one and the same number, hashed.") -> None:
    for owner in (one, other):
        BankAccount.objects.create(
            owner=owner, holder="H", bank_name="B", code_type="IBAN", number_encrypted=b"-", number_hash=number,
            number_last_four="0000",
        )  # fmt: skip


def test_a_bank_account_shared_later_ends_the_attribution_from_then_on(db: None) -> None:
    top = person()
    middle = person(referred_by=top)
    client = person(referred_by=middle)
    before = timezone.now()
    share_a_bank_account(client, middle)
    now = timezone.now()
    assert selectors.referrer_at(client.pk, now) is None
    assert selectors.referral_chain(client.pk, now) == []
    assert selectors.referral_chain(client.pk, before) == [Upline(1, middle.pk), Upline(2, top.pk)]
    assert selectors.referral_chain(middle.pk, now) == [Upline(1, top.pk)]


def test_a_person_two_levels_above_themselves_gets_nothing(db: None) -> None:
    top = person()
    himself = person(referred_by=top)
    middle = person(referred_by=himself)
    client = person(referred_by=middle)
    share_a_bank_account(client, himself)
    assert selectors.referral_chain(client.pk, timezone.now()) == [Upline(1, middle.pk), Upline(3, top.pk)]


# --- By staff -------------------------------------------------------------------------------------------------------


def proposal(client: User, referrer: User | None, by: StaffMember) -> ReferrerChange:
    return referrers.propose_referrer(
        client_id=client.pk, referrer_id=None if referrer is None else referrer.pk, reason=REASON, actor=by.actor
    )


def refused(code: str, act: Any, **arguments: Any) -> None:
    before = counted()
    referred = list(User.objects.order_by("pk").values_list("referred_by", flat=True))
    with pytest.raises(DomainError) as caught:
        act(**arguments)
    assert caught.value.code == code
    assert counted() == before
    assert list(User.objects.order_by("pk").values_list("referred_by", flat=True)) == referred


def test_a_change_is_on_record_with_both_people_and_their_reasons(carol: StaffMember, dora: StaffMember) -> None:
    old, new = person(), person()
    client = person(referred_by=old)
    change = proposal(client, new, carol)
    referrers.approve_referrer(change_id=change.pk, reason="Mail of 3 May seen", actor=dora.actor)
    proposed, approved = AuditEvent.objects.filter(object_id=str(change.pk)).order_by("id")
    assert (proposed.action, proposed.actor_id, proposed.reason) == (
        "accounts.referrer_change.proposed", carol.user.pk, REASON,
    )  # fmt: skip
    assert (approved.action, approved.actor_id, approved.reason) == (
        "accounts.referrer_change.approved", dora.user.pk, "Mail of 3 May seen",
    )  # fmt: skip
    assert approved.before == {"referrer": str(old.pk)}
    assert approved.after is not None
    assert (approved.after["referrer"], approved.after["status"]) == (str(new.pk), "APPROVED")
    assert approved.owner == client.pk


def test_one_person_is_not_two(carol: StaffMember, dora: StaffMember) -> None:
    assert carol.user.is_superuser
    change, now = proposal(person(), person(), carol), timezone.now()
    for decide in (referrers.approve_referrer, referrers.reject_referrer):
        refused("PROPOSER_DECIDES", decide, change_id=change.pk, reason="Fine", actor=carol.actor)
    with transaction.atomic(), pytest.raises(IntegrityError, match="referrerchange_takes_two_other_people"):
        ReferrerChange.objects.filter(pk=change.pk).update(
            status="APPROVED", decided_by=carol.user, decided_at=now, effective_from=now, decision="Fine"
        )


def test_the_past_cannot_be_changed(carol: StaffMember, dora: StaffMember) -> None:
    change, now = proposal(person(), person(), carol), timezone.now()
    with transaction.atomic(), pytest.raises(IntegrityError, match="referrerchange_is_never_retroactive"):
        ReferrerChange.objects.filter(pk=change.pk).update(
            status="APPROVED", decided_by=dora.user, decided_at=now, effective_from=now - timedelta(days=1),
            decision="Fine",
        )  # fmt: skip


def test_what_is_decided_stays_decided(carol: StaffMember, dora: StaffMember) -> None:
    client = person()
    change = proposal(client, person(), carol)
    referrers.reject_referrer(change_id=change.pk, reason="No proof", actor=dora.actor)
    for decide in (referrers.approve_referrer, referrers.reject_referrer):
        refused("REFERRER_CHANGE_DECIDED", decide, change_id=change.pk, reason="Again", actor=dora.actor)
    client.refresh_from_db()
    assert client.referred_by is None
    assert proposal(client, person(), carol).status == "PROPOSED"


@pytest.mark.parametrize("distance", [1, 2, 7])
def test_nobody_is_referred_by_those_below_them(carol: StaffMember, distance: int) -> None:
    top = last = person()
    for _ in range(distance):
        last = person(referred_by=last)
    refused(
        "REFERRAL_CYCLE",
        referrers.propose_referrer,
        client_id=top.pk, referrer_id=last.pk, reason=REASON, actor=carol.actor,
    )  # fmt: skip


def test_what_cannot_be_is_refused(carol: StaffMember, dora: StaffMember) -> None:
    referrer = person()
    client = person(referred_by=referrer)
    gone = person(is_active=False)
    for code, arguments in (
        ("SELF_REFERRAL", {"client_id": client.pk, "referrer_id": client.pk}),
        ("REFERRER_UNCHANGED", {"client_id": client.pk, "referrer_id": referrer.pk}),
        ("REFERRER_UNCHANGED", {"client_id": referrer.pk, "referrer_id": None}),
        ("CLIENT_NOT_FOUND", {"client_id": dora.user.pk, "referrer_id": referrer.pk}),
        ("CLIENT_NOT_FOUND", {"client_id": client.pk, "referrer_id": dora.user.pk}),
        ("CLIENT_NOT_FOUND", {"client_id": client.pk, "referrer_id": gone.pk}),
        ("REASON_REQUIRED", {"client_id": client.pk, "referrer_id": None, "reason": " "}),
    ):
        refused(code, referrers.propose_referrer, **({"reason": REASON, "actor": carol.actor} | arguments))
    proposal(client, None, carol)
    refused(
        "REFERRER_CHANGE_PENDING",
        referrers.propose_referrer,
        client_id=client.pk, referrer_id=person().pk, reason=REASON, actor=dora.actor,
    )  # fmt: skip
    refused(
        "REFERRER_CHANGE_NOT_FOUND",
        referrers.approve_referrer,
        change_id=client.pk, reason=REASON, actor=dora.actor,
    )  # fmt: skip


def test_a_cycle_that_closed_while_a_proposal_waited_is_refused(carol: StaffMember, dora: StaffMember) -> None:
    one, other = person(), person()
    first, second = proposal(one, other, carol), proposal(other, one, carol)
    referrers.approve_referrer(change_id=first.pk, reason="Checked", actor=dora.actor)
    refused("REFERRAL_CYCLE", referrers.approve_referrer, change_id=second.pk, reason="Checked", actor=dora.actor)


def cycles() -> int:
    """How many clients are found above themselves."""
    links = dict(User.objects.filter(referred_by__isnull=False).values_list("pk", "referred_by"))
    count = 0
    for start in links:
        at, steps = links.get(start), 0
        while at is not None and at != start and steps <= len(links):
            at, steps = links.get(at), steps + 1
        count += at == start
    return count


def test_no_cycle_is_made_by_approvals_at_once(committed_db: object) -> None:
    """A ring of six proposals, any five of which are fine: all six at once, twenty times over."""
    carol, dora = cast.carol_staff(), cast.carol_staff(email="dora@example.com")

    def approve(change: ReferrerChange) -> Any:
        def act() -> str:
            try:
                referrers.approve_referrer(change_id=change.pk, reason="Checked", actor=dora.actor)
            except DomainError as refusal:
                return refusal.code
            return "APPROVED"

        return act

    for _ in range(20):
        ring = [person() for _ in range(6)]
        changes = [proposal(ring[place], ring[place - 1], carol) for place in range(6)]
        outcomes = ledger_cast.at_once(*map(approve, changes))
        assert sorted(outcomes) == ["APPROVED"] * 5 + ["REFERRAL_CYCLE"]
    assert cycles() == 0


def test_one_proposal_is_approved_once(committed_db: object) -> None:
    carol, dora = cast.carol_staff(), cast.carol_staff(email="dora@example.com")
    change = proposal(person(), person(), carol)

    def act() -> str:
        try:
            referrers.approve_referrer(change_id=change.pk, reason="Checked", actor=dora.actor)
        except DomainError as refusal:
            return refusal.code
        return "APPROVED"

    outcomes = ledger_cast.at_once(*[act] * 12)
    assert sorted(outcomes) == ["APPROVED"] + ["REFERRER_CHANGE_DECIDED"] * 11
    assert AuditEvent.objects.filter(action="accounts.referrer_change.approved").count() == 1
