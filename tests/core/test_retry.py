"""A conflict is run again, a spent statement is not, and a lost COMMIT is asked about before anything else happens."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import psycopg
import psycopg_pool
import pytest
from django.db import (
    DatabaseError,
    IntegrityError,
    InternalError,
    NotSupportedError,
    OperationalError,
    connection,
    transaction,
)
from structlog.testing import capture_logs

from bench.faults.proxy import Proxy, When, fatal
from core import db, metrics
from core.db import ClaimHeldElsewhere, Fault, classify, deadline, retry_on_conflict
from core.errors import (
    Contended,
    DatabaseUnavailable,
    DeadlineExceeded,
    Deadlocked,
    DomainError,
    Internal,
    OutcomeUnknown,
    SerializationFailed,
    Unavailable,
)
from core.idempotency import Answer, Claim, exactly_once
from core.models import KillSwitch
from core.postgres.base import CommitOutcomeUnknown
from tests.core import effects, link
from tests.core.effects import claim, notes, take_note
from tests.database import Clone


@pytest.fixture
def switches(committed_db: Clone) -> None:
    KillSwitch.objects.bulk_create(KillSwitch(scope=scope) for scope in ("A", "B"))


def caused(error: DatabaseError, cause: psycopg.Error) -> DatabaseError:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error,fault,refusal",
    [
        (caused(OperationalError(), psycopg.errors.DeadlockDetected()), Fault.CONFLICT, Deadlocked),
        (caused(OperationalError(), psycopg.errors.SerializationFailure()), Fault.CONFLICT, SerializationFailed),
        (caused(OperationalError(), psycopg.errors.LockNotAvailable()), Fault.LOCK_TIMEOUT, Contended),
        (caused(OperationalError(), psycopg.errors.QueryCanceled()), Fault.STATEMENT_TIMEOUT, DeadlineExceeded),
        (caused(OperationalError(), psycopg.errors.AdminShutdown()), Fault.LINK_LOST, DatabaseUnavailable),
        (caused(OperationalError(), psycopg.errors.CrashShutdown()), Fault.LINK_LOST, DatabaseUnavailable),
        (caused(OperationalError(), psycopg.errors.CannotConnectNow()), Fault.LINK_LOST, DatabaseUnavailable),
        (caused(OperationalError(), psycopg.errors.ConnectionFailure()), Fault.LINK_LOST, DatabaseUnavailable),
        (caused(OperationalError(), psycopg.OperationalError("gone")), Fault.LINK_LOST, DatabaseUnavailable),
        (caused(InternalError(), psycopg.errors.ReadOnlySqlTransaction()), Fault.READ_ONLY, DatabaseUnavailable),
        (caused(InternalError(), psycopg.errors.IdleInTransactionSessionTimeout()), Fault.IDLE_TIMEOUT, Unavailable),
        (caused(InternalError(), psycopg.errors.InFailedSqlTransaction()), Fault.OTHER, Internal),
        (caused(OperationalError(), psycopg_pool.PoolTimeout()), Fault.SATURATED, Unavailable),
        (caused(OperationalError(), psycopg_pool.TooManyRequests()), Fault.SATURATED, Unavailable),
        (
            caused(OperationalError("query_wait_timeout"), psycopg.errors.ProtocolViolation()),
            Fault.SATURATED,
            Unavailable,
        ),
        (caused(OperationalError(), psycopg.errors.ProtocolViolation()), Fault.LINK_LOST, DatabaseUnavailable),
        (caused(OperationalError(), psycopg.errors.DiskFull()), Fault.NO_ROOM, DatabaseUnavailable),
        (caused(OperationalError(), psycopg.errors.OutOfMemory()), Fault.NO_ROOM, DatabaseUnavailable),
        (caused(OperationalError(), psycopg.errors.TooManyConnections()), Fault.NO_ROOM, DatabaseUnavailable),
        (caused(NotSupportedError(), psycopg.errors.FeatureNotSupported()), Fault.OTHER, Internal),
        (caused(InternalError(), psycopg.InternalError("two answers")), Fault.LINK_LOST, DatabaseUnavailable),
        (caused(IntegrityError(), psycopg.errors.CheckViolation()), Fault.OTHER, Internal),
        (DatabaseError(), Fault.OTHER, Internal),
    ],
)
def test_every_fault_is_told_apart(error: DatabaseError, fault: Fault, refusal: type[DomainError]) -> None:
    assert classify(error) is fault
    assert type(db.refusal_for(error)) is refusal


def test_what_the_server_said_is_read_from_its_error_and_from_djangos() -> None:
    deadlock = psycopg.errors.DeadlockDetected()
    assert db.sqlstate(deadlock) == db.sqlstate(caused(OperationalError(), deadlock)) == "40P01"
    assert db.sqlstate(OperationalError()) is None
    assert db.constraint(IntegrityError()) == ""


def sql(statement: str, *params: Any) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(statement, params)
        return cursor.fetchone() if cursor.description else None


def elsewhere(statement: str, *params: Any) -> None:
    """Run one statement on a connection of its own, committed."""
    info = connection.connection.info
    with closing(psycopg.connect(info.dsn, password=info.password, autocommit=True)) as other:
        other.execute(statement, params)


class Service:
    """A durable service whose body differs by attempt: `bodies[0]` first, the last one from then on."""

    def __init__(self, *bodies: Callable[[], None]) -> None:
        self.bodies = bodies
        self.attempts = 0

    def __call__(self) -> str:
        @retry_on_conflict
        @transaction.atomic(durable=True)
        def run() -> str:
            body = self.bodies[min(self.attempts, len(self.bodies) - 1)]
            self.attempts += 1
            sql("UPDATE core_killswitch SET reason = reason || '+' WHERE scope = 'A'")
            body()
            return "done"

        return run()


def effect() -> str:
    """One plus sign per time that a service's body was committed."""
    return KillSwitch.objects.get(scope="A").reason


def test_a_deadlock_is_run_again_and_both_succeed(switches: None) -> None:
    both_hold_one = threading.Barrier(2)
    attempts: list[str] = []

    def locker(first: str, second: str) -> Callable[[], str]:
        @retry_on_conflict
        @transaction.atomic(durable=True)
        def lock() -> str:
            attempts.append(first)
            is_first_time = attempts.count(first) == 1
            sql("UPDATE core_killswitch SET reason = reason || %s WHERE scope = %s", first, first)
            if is_first_time:
                both_hold_one.wait(10)
            sql("UPDATE core_killswitch SET reason = reason || %s WHERE scope = %s", first, second)
            return first

        def run() -> str:
            try:
                return lock()
            finally:
                connection.close()

        return run

    retries = metrics.RETRIES.labels("40P01")._value.get()
    with capture_logs() as logs, ThreadPoolExecutor(2) as threads:
        running = [threads.submit(locker("A", "B")), threads.submit(locker("B", "A"))]
        assert [future.result(20) for future in running] == ["A", "B"]
    assert sorted(attempts) in (["A", "A", "B"], ["A", "B", "B"])
    assert {len(switch.reason) for switch in KillSwitch.objects.all()} == {2}
    (retry,) = [log for log in logs if log["event"] == "core.transaction.retried"]
    assert (retry["sqlstate"], retry["attempt"]) == ("40P01", 1)
    assert 10 <= retry["wait_ms"] <= 40
    assert metrics.RETRIES.labels("40P01")._value.get() == retries + 1


def test_a_serialization_failure_is_run_again(switches: None) -> None:
    attempts = 0

    @retry_on_conflict
    @transaction.atomic(durable=True)
    def run() -> None:
        nonlocal attempts
        attempts += 1
        sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        sql("SELECT * FROM core_killswitch")
        if attempts == 1:
            elsewhere("UPDATE core_killswitch SET reason = 'theirs' WHERE scope = 'A'")
        sql("UPDATE core_killswitch SET reason = reason || '+' WHERE scope = 'A'")

    run()
    assert attempts == 2
    assert effect() == "theirs+"


@pytest.fixture
def held_row(switches: None) -> Iterator[Callable[[], None]]:
    """Row B is locked by another session until the function is called."""
    connection.ensure_connection()
    info = connection.connection.info
    with closing(psycopg.connect(info.dsn, password=info.password)) as holder:
        holder.execute("UPDATE core_killswitch SET reason = 'held' WHERE scope = 'B'")
        yield holder.rollback


def want_row_b() -> None:
    sql("SELECT set_config('lock_timeout', '60ms', true)")
    sql("UPDATE core_killswitch SET reason = 'mine' WHERE scope = 'B'")


def test_a_lock_timeout_is_run_again(held_row: Callable[[], None]) -> None:
    def release_and_want() -> None:
        held_row()
        want_row_b()

    service = Service(want_row_b, release_and_want)
    assert service() == "done"
    assert service.attempts == 2
    assert effect() == "+"


def test_a_lock_that_is_never_had_is_given_up_after_three_retries(held_row: Callable[[], None]) -> None:
    spent = metrics.RETRIES_SPENT.labels("lock_timeout")._value.get()
    service = Service(want_row_b)
    with capture_logs() as logs, pytest.raises(Contended) as caught:
        service()
    assert service.attempts == 4
    assert (caught.value.status, caught.value.retry_after_seconds) == (503, 1)
    assert effect() == ""
    waits = [log["wait_ms"] for log in logs if log["event"] == "core.transaction.retried"]
    assert len(waits) == 3
    assert all(10 <= wait <= most for wait, most in zip(waits, (40, 80, 100), strict=True))
    assert metrics.RETRIES_SPENT.labels("lock_timeout")._value.get() == spent + 1


def test_each_wait_may_be_longer_than_the_one_before(
    held_row: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Uniform between 10 ms and a most that doubles, up to 100 ms; here the dice always fall on the most."""
    asked: list[tuple[float, float]] = []

    def most(least: float, most: float) -> float:
        asked.append((least, most))
        return most

    monkeypatch.setattr("random.uniform", most)
    with capture_logs() as logs, pytest.raises(Contended):
        Service(want_row_b)()
    assert asked[:3] == [(10, 40), (10, 80), (10, 100)]
    last = logs[-1]
    assert (last["event"], last["fault"], last["attempt"]) == ("core.transaction.gave_up", "lock_timeout", 4)


def echo(*faults: Exception) -> tuple[Callable[[], str], list[int]]:
    """A service that runs through its key and meets these faults one after the other; and its attempts."""
    attempts: list[int] = []

    def service() -> str:
        attempts.append(1)
        if len(attempts) <= len(faults):
            raise faults[len(attempts) - 1]
        return "done"

    service.answers_through_its_key = True  # type: ignore[attr-defined]
    return retry_on_conflict(service), attempts


def test_between_two_attempts_the_wait_is_waited(switches: None) -> None:
    conflicts = [caused(OperationalError(), psycopg.errors.DeadlockDetected()) for _ in range(3)]
    service, attempts = echo(*conflicts)
    started = time.monotonic()
    with capture_logs() as logs:
        assert service() == "done"
    assert len(attempts) == 4
    assert time.monotonic() - started >= (sum(log["wait_ms"] for log in logs) - len(logs)) / 1000


def lost() -> CommitOutcomeUnknown:
    error = CommitOutcomeUnknown()
    error.__cause__ = psycopg.OperationalError("gone")
    return error


def test_a_claim_held_elsewhere_is_another_request_and_is_not_waited_for(switches: None) -> None:
    service, attempts = echo(ClaimHeldElsewhere())
    with pytest.raises(ClaimHeldElsewhere):
        service()
    assert len(attempts) == 1


def test_after_a_lost_commit_a_held_claim_is_our_own_echo(switches: None) -> None:
    service, attempts = echo(lost(), ClaimHeldElsewhere(), ClaimHeldElsewhere())
    assert service() == "done"
    assert len(attempts) == 4


def test_an_echo_that_does_not_end_leaves_the_outcome_unknown(switches: None) -> None:
    service, attempts = echo(lost(), *(ClaimHeldElsewhere() for _ in range(9)))
    with pytest.raises(OutcomeUnknown):
        service()
    assert len(attempts) == 4


def test_services_that_answer_through_their_key_say_so() -> None:
    @db.retry_on_conflict
    @exactly_once(effects.NOTE)
    def service(*, claim: Claim) -> Answer:
        return Answer.of({})

    assert service.__wrapped__.answers_through_its_key  # type: ignore[attr-defined]


def test_no_retry_starts_that_would_outlive_the_deadline(held_row: Callable[[], None]) -> None:
    service = Service(want_row_b)
    started = time.monotonic()
    with deadline(0.065), pytest.raises((Contended, DeadlineExceeded)):
        service()
    assert service.attempts == 1
    assert time.monotonic() - started < 0.5
    assert effect() == ""


def test_a_statement_that_took_its_time_is_not_run_again(switches: None) -> None:
    def sleep() -> None:
        sql("SELECT set_config('statement_timeout', '50ms', true)")
        sql("SELECT pg_sleep(5)")

    service = Service(sleep)
    with pytest.raises(DeadlineExceeded):
        service()
    assert service.attempts == 1
    assert effect() == ""


def kill_own_session() -> None:
    elsewhere("SELECT pg_terminate_backend(%s)", *sql("SELECT pg_backend_pid()"))
    sql("SELECT 1")


def test_a_session_that_is_killed_in_the_body_is_replaced(switches: None) -> None:
    service = Service(kill_own_session, lambda: None)
    assert service() == "done"
    assert service.attempts == 2
    assert effect() == "+"


def test_a_session_that_is_always_killed_is_given_up(switches: None) -> None:
    service = Service(kill_own_session)
    with pytest.raises(DatabaseUnavailable):
        service()
    assert service.attempts == 4
    assert effect() == ""


def test_a_read_only_session_is_replaced_once(switches: None) -> None:
    def run_with(bodies: list[str]) -> int:
        attempts = 0

        @retry_on_conflict
        @transaction.atomic(durable=True)
        def run() -> None:
            nonlocal attempts
            attempts += 1
            if bodies[min(attempts, len(bodies)) - 1] == "read only":
                sql("SET TRANSACTION READ ONLY")
            sql("UPDATE core_killswitch SET reason = reason || '+' WHERE scope = 'A'")

        try:
            run()
        except DatabaseUnavailable:
            return -attempts
        return attempts

    assert run_with(["read only", "ordinary"]) == 2
    assert run_with(["read only"]) == -2
    assert effect() == "+"


def test_a_session_that_idled_in_its_transaction_is_replaced_once(switches: None) -> None:
    def idle() -> None:
        sql("SELECT set_config('idle_in_transaction_session_timeout', '50ms', true)")
        time.sleep(0.3)
        sql("SELECT 1")

    service = Service(idle, lambda: None)
    assert service() == "done"
    assert service.attempts == 2
    assert effect() == "+"


def test_a_full_disk_is_said_to_be_none_of_the_clients_business(switches: None) -> None:
    service = Service(lambda: sql("DO $$ BEGIN RAISE disk_full; END $$"))
    with pytest.raises(DatabaseUnavailable) as caught:
        service()
    assert service.attempts == 1
    assert (caught.value.status, caught.value.retry_after_seconds) == (503, 2)
    assert effect() == ""


def test_a_broken_rule_and_an_aborted_transaction_are_not_run_again(switches: None) -> None:
    def break_rule() -> None:
        sql("INSERT INTO core_killswitch (scope, engaged, reason, changed_at) VALUES ('A', false, '', now())")

    def go_on_regardless() -> None:
        try:
            break_rule()
        except IntegrityError:
            connection.needs_rollback = False
            sql("SELECT 1")

    for body, error in ((break_rule, IntegrityError), (go_on_regardless, InternalError)):
        service = Service(body)
        with pytest.raises(error):
            service()
        assert service.attempts == 1
    assert effect() == ""


def test_an_empty_pool_is_not_queued_for_again(switches: None) -> None:
    def wait_for_a_connection() -> None:
        with (
            connection.wrap_database_errors,
            psycopg_pool.ConnectionPool(
                connection.connection.info.dsn, min_size=1, max_size=1, timeout=0.05, open=True
            ) as pool,
        ):
            pool.wait(10)
            with pool.connection(), pool.connection():
                raise AssertionError("there is only one")

    service = Service(wait_for_a_connection)
    with pytest.raises(Unavailable) as caught:
        service()
    assert service.attempts == 1
    assert caught.value.retry_after_seconds == 1
    assert effect() == ""


def test_a_refusal_is_not_run_again(switches: None) -> None:
    def refuse() -> None:
        raise effects.NoteRefused(name="a")

    service = Service(refuse)
    with pytest.raises(effects.NoteRefused):
        service()
    assert service.attempts == 1
    assert effect() == ""


def test_a_service_in_a_service_is_an_error(switches: None) -> None:
    with transaction.atomic(), pytest.raises(RuntimeError):
        Service(lambda: None)()


@pytest.fixture
def cuttable_link(switches: None) -> Iterator[Proxy]:
    with link.cuttable() as made:
        yield made


def test_the_link_passes_everything_on(cuttable_link: Proxy) -> None:
    assert Service(lambda: None)() == "done"
    assert effect() == "+"
    assert cuttable_link.cuts == 0


#: What PgBouncer says where its server ends the session: that it did, and then that it is gone.
TWICE = fatal("57P01", "terminating connection due to administrator command") + fatal("08P01", "server conn crashed?")


@pytest.mark.parametrize("last_words", [b"", TWICE], ids=["silently", "with two reasons"])
@pytest.mark.parametrize("when,committed", [("before", ""), ("after", "+")])
def test_a_commit_whose_outcome_nobody_knows_is_never_simply_run_again(
    cuttable_link: Proxy, when: When, committed: str, last_words: bytes
) -> None:
    cuttable_link.last_words = last_words
    service = Service(lambda: cuttable_link.cut_at_commit(when))
    with pytest.raises(OutcomeUnknown) as caught:
        service()
    assert (caught.value.status, caught.value.retry_after_seconds) == (503, 1)
    assert (service.attempts, cuttable_link.cuts) == (1, 1)
    assert effect() == committed


def test_with_a_key_a_commit_that_arrived_is_answered_from_the_key(cuttable_link: Proxy) -> None:
    answer = take_note(name="a", claim=claim(), after_write=lambda: cuttable_link.cut_at_commit("after"))
    assert (answer.status, answer.replayed) == (201, True)
    assert cuttable_link.cuts == 1
    assert notes("a") == 1


def test_with_a_key_a_commit_that_never_arrived_is_made_up_for(cuttable_link: Proxy) -> None:
    arm: list[Callable[[], None]] = [lambda: cuttable_link.cut_at_commit("before")]
    answer = take_note(name="a", claim=claim(), after_write=lambda: arm.pop()() if arm else None)
    assert (answer.status, answer.replayed) == (201, False)
    assert cuttable_link.cuts == 1
    assert notes("a") == 1


def test_forty_cuts_at_commit_lose_and_double_nothing(cuttable_link: Proxy) -> None:
    for number in range(40):
        when: When = "before" if number % 2 else "after"
        arm = [when]

        def cut(arm: list[When] = arm) -> None:
            if arm:
                cuttable_link.cut_at_commit(arm.pop())

        take_note(name="many", claim=claim(f"key-number-{number:06}"), after_write=cut)
    assert cuttable_link.cuts == 40
    assert notes("many") == 40


def test_a_link_that_is_cut_at_every_commit_is_given_up(cuttable_link: Proxy) -> None:
    with pytest.raises((OutcomeUnknown, DatabaseUnavailable)):
        take_note(name="a", claim=claim(), after_write=lambda: cuttable_link.cut_at_commit("before"))
    assert cuttable_link.cuts == 4
    assert notes("a") == 0
    assert take_note(name="a", claim=claim()).status == 201
    assert notes("a") == 1
