"""A repeated request finds either its whole answer or nothing at all."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from config.database.access import RUNTIME
from core import db, metrics
from core.errors import DatabaseUnavailable, DomainError, plain
from core.idempotency import (
    OPERATIONS,
    Answer,
    Claim,
    IdempotencyKeyExpired,
    IdempotencyKeyReused,
    Operation,
    canonical,
    complete,
    conceal,
    exactly_once,
    system_digest,
)
from core.ids import frame
from core.models import IdempotencyKey
from tests import database
from tests.core import effects
from tests.core.effects import claim, notes, take_note
from tests.database import Clone

Status = IdempotencyKey.Status


def refuse(error: DomainError) -> Callable[[], None]:
    def raise_it() -> None:
        raise error

    return raise_it


def test_first_use_acts_and_stores_the_answer(db: None) -> None:
    answer = take_note(name="a", claim=claim())
    assert (answer.status, answer.replayed, answer.stored) == (201, False, True)
    key = IdempotencyKey.objects.get()
    assert (key.owner, key.operation, key.status) == (effects.ALICE, "NOTE", Status.COMPLETED)
    assert bytes(key.response_body or b"") == answer.body
    assert (key.response_status, key.effect_id) == (201, UUID(answer.document["id"]))
    assert key.expires_at - key.created_at == timedelta(hours=1)
    assert key.completed_at is not None


def test_the_key_itself_is_never_stored(db: None) -> None:
    take_note(name="a", claim=claim("a-very-recognisable-key"))
    with connection.cursor() as cursor:
        cursor.execute("SELECT core_idempotencykey::text FROM core_idempotencykey")
        assert "recognisable" not in cursor.fetchone()[0]


def test_a_repetition_is_answered_with_the_stored_bytes(db: None) -> None:
    first = take_note(name="a", claim=claim())
    second = take_note(name="a", claim=claim())
    assert (second.status, second.body, second.effect_id) == (first.status, first.body, first.effect_id)
    assert second.replayed
    assert notes("a") == 1


def test_another_request_under_the_key_is_refused_and_changes_nothing(db: None) -> None:
    take_note(name="a", claim=claim())
    with pytest.raises(IdempotencyKeyReused) as caught:
        take_note(name="b", claim=claim(name="b"))
    assert (caught.value.status, caught.value.final) == (422, False)
    assert notes("b") == 0
    assert IdempotencyKey.objects.count() == 1


def test_the_same_words_for_another_operation_are_another_request(db: None) -> None:
    take_note(name="a", claim=claim())

    @transaction.atomic(durable=True)
    @exactly_once(effects.OTHER)
    def other(*, claim: Claim) -> Answer:
        return Answer.of({})

    with pytest.raises(IdempotencyKeyReused):
        other(claim=claim(operation=effects.OTHER))
    with pytest.raises(AssertionError):
        other(claim=claim())


def test_owners_do_not_meet(db: None) -> None:
    take_note(name="a", claim=claim())
    assert not take_note(name="a", claim=claim(owner=effects.BOB)).replayed
    assert notes("a") == 2


def test_a_refusal_before_the_first_write_is_final(db: None) -> None:
    refused = take_note(name="a", claim=claim(), before_write=refuse(effects.NoteRefused(name="a")))
    assert (refused.status, refused.refused, refused.replayed) == (422, True, False)
    assert refused.document["code"] == "TEST_NOTE_REFUSED"
    assert IdempotencyKey.objects.get().status == Status.FAILED
    again = take_note(name="a", claim=claim())  # it would be accepted now, but a no stays a no
    assert (again.body, again.replayed) == (refused.body, True)
    assert notes("a") == 0


def test_a_refusal_after_a_write_is_a_bug_and_undoes_everything(db: None) -> None:
    with pytest.raises(AssertionError, match="TEST_NOTE_REFUSED was raised after a write"):
        take_note(name="a", claim=claim(), after_write=refuse(effects.NoteRefused(name="a")))
    assert notes("a") == 0
    assert not IdempotencyKey.objects.exists()
    assert take_note(name="a", claim=claim()).status == 201


@pytest.mark.parametrize("point", ["before_write", "after_write"])
@pytest.mark.parametrize("error", [effects.NoteNotFound(), DatabaseUnavailable(), ZeroDivisionError()])
def test_whatever_is_not_final_leaves_the_key_free(db: None, point: str, error: Exception) -> None:
    with pytest.raises(type(error)):
        take_note(name="a", claim=claim(), **{point: refuse(error)})  # type: ignore[arg-type]
    assert notes("a") == 0
    assert not IdempotencyKey.objects.exists()
    assert not take_note(name="a", claim=claim()).replayed
    assert notes("a") == 1


def test_an_answer_that_ran_out_names_what_was_done(db: None) -> None:
    done = take_note(name="a", claim=claim())
    IdempotencyKey.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    with pytest.raises(IdempotencyKeyExpired) as caught:
        take_note(name="a", claim=claim())
    assert caught.value.status == 409
    assert caught.value.context == {"transaction_id": str(done.effect_id)}
    assert notes("a") == 1


def test_a_refusal_stays_a_refusal_as_long_as_it_is_stored(db: None) -> None:
    take_note(name="a", claim=claim(), before_write=refuse(effects.NoteRefused(name="a")))
    IdempotencyKey.objects.update(expires_at=timezone.now() - timedelta(days=1))
    assert take_note(name="a", claim=claim()).refused
    assert notes("a") == 0


LASTING = Operation("LASTING", "test_effect")
BLIND = Operation("BLIND", None)


@pytest.fixture
def lasting(db: None) -> Callable[..., Answer]:
    """An operation whose effects carry the permanent digest, as ledger transactions do."""
    with database.as_owner() as cursor:
        cursor.execute(
            "CREATE TABLE test_effect (id uuid PRIMARY KEY, owner_id uuid NOT NULL, idempotency_digest bytea NOT NULL,"
            " CONSTRAINT test_effect_idempotency_digest UNIQUE (owner_id, idempotency_digest))"
        )
        cursor.execute(f"GRANT SELECT, INSERT ON test_effect TO {RUNTIME}")

    @transaction.atomic(durable=True)
    @exactly_once(LASTING)
    def act(*, claim: Claim) -> Answer:
        effect_id = effects.some_id()
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO test_effect VALUES (%s, %s, %s)", [effect_id, claim.owner, claim.digest])
        return Answer.of({"id": effect_id}, effect_id=effect_id)

    return act


def test_an_effect_is_recognised_after_its_key_was_purged(lasting: Callable[..., Answer]) -> None:
    done = lasting(claim=claim(operation=LASTING))
    IdempotencyKey.objects.all().delete()
    with pytest.raises(IdempotencyKeyExpired) as caught:
        lasting(claim=claim(operation=LASTING))
    assert caught.value.context == {"transaction_id": str(done.effect_id)}
    assert not IdempotencyKey.objects.exists()
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM test_effect")
        assert cursor.fetchone() == (1,)


def test_the_constraint_stands_behind_the_claim(lasting: Callable[..., Answer]) -> None:
    """Even a claim that did not see the effect cannot make a second one."""
    lasting(claim=claim(operation=LASTING))
    IdempotencyKey.objects.all().delete()

    @transaction.atomic(durable=True)
    @exactly_once(BLIND)
    def blind(*, claim: Claim) -> Answer:
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO test_effect VALUES (%s, %s, %s)", [effects.some_id(), claim.owner, claim.digest]
            )
        return Answer.of({})

    with pytest.raises(IdempotencyKeyExpired):
        blind(claim=claim(operation=BLIND))
    assert not IdempotencyKey.objects.exists()


def test_another_constraint_is_not_taken_for_the_keys(lasting: Callable[..., Answer]) -> None:
    """Only the key's and the effect's own say that it was done before; what any other says is a bug's business."""

    @transaction.atomic(durable=True)
    @exactly_once(LASTING)
    def clumsy(*, claim: Claim) -> Answer:
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO core_killswitch SELECT 'A', false, '', NULL, now() FROM generate_series(1, 2)")
        return Answer.of({})

    with pytest.raises(IntegrityError, match="core_killswitch_pkey"):
        clumsy(claim=claim(operation=LASTING))
    assert not IdempotencyKey.objects.exists()


def test_one_name_is_one_operation() -> None:
    assert Operation("NOTE", effects.NOTE.effect_table) == effects.NOTE  # the same again
    with pytest.raises(TypeError, match="declared twice"):
        Operation("NOTE", "somewhere_else")
    assert OPERATIONS["NOTE"] is effects.NOTE


def test_a_replay_is_counted_and_says_so(db: None) -> None:
    replays = metrics.REPLAYS._value.get()
    first, again = (take_note(name="a", claim=claim()) for _ in range(2))
    assert (first.replayed, first.stored, again.replayed, again.stored) == (False, True, True, True)
    assert metrics.REPLAYS._value.get() == replays + 1


def test_an_answer_is_stored_in_its_own_transaction_or_not_at_all(committed_db: Clone) -> None:
    with pytest.raises(AssertionError, match="only inside the caller's transaction"):
        complete(claim(), Answer.of({}))
    assert not IdempotencyKey.objects.exists()


@pytest.mark.parametrize("status,refused", [(200, False), (201, False), (399, False), (400, True), (422, True)])
def test_what_is_a_refusal(status: int, refused: bool) -> None:
    assert Answer.of({}, status=status).refused is refused


def test_a_claim_needs_a_transaction(db: None) -> None:
    @exactly_once(effects.NOTE)
    def naked(*, claim: Claim) -> Answer:
        return Answer.of({})

    # The rollback fixture is a transaction itself, so the assertion is asked outside of one.
    connection_in_block, connection.in_atomic_block = connection.in_atomic_block, False
    try:
        with pytest.raises(AssertionError, match="only inside the caller's transaction"):
            naked(claim=claim())
    finally:
        connection.in_atomic_block = connection_in_block


def in_thread(act: Callable[[], Any]) -> Any:
    """What `act` returns or raises on a connection of its own."""

    def run() -> Any:
        try:
            return act()
        except DomainError as error:
            return error
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(run).result(30)


def test_a_request_in_flight_is_not_waited_for(committed_db: Clone) -> None:
    entered, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        entered.set()
        assert let_go.wait(20)

    with ThreadPoolExecutor(1) as first:

        def act() -> Answer:
            try:
                return take_note(name="a", claim=claim(), before_write=hold)
            finally:
                connection.close()

        running = first.submit(act)
        assert entered.wait(20)
        for busy_claim in (claim(), claim(name="another request")):
            started = timezone.now()
            busy = in_thread(partial(take_note, name="a", claim=busy_claim))
            assert isinstance(busy, db.ClaimHeldElsewhere)
            assert (busy.status, busy.retry_after_seconds) == (409, 1)
            assert timezone.now() - started < timedelta(seconds=1)
        assert not in_thread(lambda: take_note(name="other", claim=claim("another-key-0123456789"))).replayed
        let_go.set()
        done = running.result(20)
    replay = take_note(name="a", claim=claim())
    assert (replay.replayed, replay.body) == (True, done.body)
    assert notes("a") == 1


def test_fifty_at_once_have_one_effect_and_one_answer(committed_db: Clone) -> None:
    def act(_: int) -> Answer | str:
        try:
            return take_note(name="a", claim=claim())
        except db.ClaimHeldElsewhere:
            return "busy"
        finally:
            connection.close()

    with ThreadPoolExecutor(16) as threads:
        outcomes = list(threads.map(act, range(50)))
    answers = [outcome for outcome in outcomes if isinstance(outcome, Answer)]
    assert Counter(answer.replayed for answer in answers)[False] == 1
    assert len({answer.body for answer in answers}) == 1
    assert notes("a") == 1


def done_elsewhere(document: dict[str, Any]) -> Answer:
    """The same request, carried out and committed by another that did not meet our lock."""
    done: Answer = in_thread(transaction.atomic()(partial(complete, claim(), Answer.of(document))))
    return done


def test_what_was_done_since_the_claim_is_replayed_and_not_done_again(committed_db: Clone) -> None:
    """The other one committed between our statement's snapshot and its lock: we think ourselves the first."""
    theirs: list[Answer] = []

    def be_overtaken() -> None:
        theirs[:] = theirs or [done_elsewhere({"id": "theirs"})]

    mine = take_note(name="a", claim=claim(), before_write=be_overtaken)
    assert (mine.replayed, mine.body) == (True, theirs[0].body)
    assert notes("a") == 0
    assert IdempotencyKey.objects.count() == 1


def test_a_refusal_that_was_overtaken_is_forgotten(committed_db: Clone) -> None:
    theirs: list[Answer] = []

    def be_overtaken_and_refuse() -> None:
        theirs[:] = theirs or [done_elsewhere({"id": "theirs"})]
        raise effects.NoteRefused(name="a")

    mine = take_note(name="a", claim=claim(), before_write=be_overtaken_and_refuse)
    assert (mine.replayed, mine.status, mine.body) == (True, 201, theirs[0].body)
    assert IdempotencyKey.objects.count() == 1


def test_a_worker_that_dies_takes_its_claim_along(committed_db: Clone) -> None:
    def die() -> None:
        connection.connection.close()  # the socket goes, as in a kill -9
        raise SystemExit

    def act() -> None:
        try:
            take_note(name="a", claim=claim(), after_write=die)
        except SystemExit:
            pass
        finally:
            connection.close()

    in_thread(act)
    answer = None
    deadline = timezone.now() + timedelta(seconds=10)
    while answer is None and timezone.now() < deadline:
        outcome = in_thread(lambda: take_note(name="a", claim=claim()))
        answer = outcome if isinstance(outcome, Answer) else None
    assert answer is not None
    assert not answer.replayed
    assert notes("a") == 1


@pytest.mark.parametrize(
    "one,other",
    [
        ({"amount": Decimal("1.50")}, {"amount": Decimal("1.5")}),
        ({"amount": Decimal("100")}, {"amount": Decimal("1E+2")}),
        ({"amount": Decimal("0.00")}, {"amount": Decimal(0)}),
        ({"b": 1, "a": 2}, {"a": 2, "b": 1}),
        ({"a": None}, {}),
        ({"id": effects.ALICE}, {"id": str(effects.ALICE)}),
        ({"at": [1, (2, 3)]}, {"at": [1, [2, 3]]}),
    ],
)
def test_one_meaning_has_one_hash(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert canonical(one) == canonical(other)


@pytest.mark.parametrize(
    "one,other",
    [
        ({"amount": Decimal("1.5")}, {"amount": Decimal("15")}),
        ({"a": "1"}, {"a": 1}),
        ({"a": True}, {"a": 1}),
        ({"a": "x", "b": "y"}, {"a": "y", "b": "x"}),
        ({"a": ["x", "y"]}, {"a": ["y", "x"]}),
        ({"a": ""}, {}),
        ({"a": {"b": 1}}, {"a.b": 1}),
        ({"a": "é"}, {"a": "e\u0301"}),
    ],
)
def test_two_meanings_have_two_hashes(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert canonical(one) != canonical(other)


def test_a_request_is_hashed_as_this_text() -> None:
    """Keys of yesterday's version have to be recognised by today's: the spelling is for ever."""
    request = {
        "b": [Decimal("1E+2"), Decimal("-0.00"), Decimal("0.10")],
        "a": {"at": datetime(2026, 1, 31, 17, tzinfo=UTC), "name": "é", "absent": None},
    }
    assert canonical(request) == '{"a":{"at":"2026-01-31T17:00:00+00:00","name":"\\u00e9"},"b":["100","0","0.1"]}'


def test_what_the_system_does_once_has_a_digest_of_its_own() -> None:
    assert system_digest("a", "b") == system_digest("a", "b")
    digests = {
        system_digest("a", "b"),
        system_digest("ab"),
        system_digest("b", "a"),
        frame("a", "b"),
        frame("", "a", "b"),
    }
    assert len(digests) == 5


def test_a_concealed_secret_is_stable_and_unreadable() -> None:
    assert conceal("hunter2") == conceal("hunter2") != conceal("hunter3")
    assert "hunter2" not in conceal("hunter2")


def test_answers_carry_money_ids_and_times_as_strings() -> None:
    document = {
        "amount": Decimal("1E+2"),
        "id": effects.ALICE,
        "at": datetime(2026, 1, 31, 17, tzinfo=UTC),
        "n": 7,
        "ok": True,
        "none": None,
    }
    assert plain(document) == {
        "amount": "100",
        "id": str(effects.ALICE),
        "at": "2026-01-31T17:00:00.000000Z",
        "n": 7,
        "ok": True,
        "none": None,
    }
