"""Looking twice raises nothing twice; a crash, a late commit or a second job loses nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from io import StringIO
from pathlib import Path
from threading import Event
from typing import Any
from uuid import UUID

import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.db import IntegrityError, InternalError, connection, transaction
from django.utils import timezone

from config.back_office.alerts import streams
from config.back_office.alerts.models import Alert, AlertCursor, AlertNote, AlertRule
from config.back_office.alerts.rules import RuleChanged, RuleMalformed
from config.back_office.alerts.services import raising, rulebook
from core.audit import Actor
from core.models import AuditEvent, JobRun
from tests import cast, database, ledger_cast
from tests.back_office import suspects
from tests.back_office.suspects import amend, client, found, pays_in, raise_alerts
from tests.wallets import calls

Code = AlertRule.Code
Stream = AlertCursor.Stream

RULE: dict[str, Any] = {
    "code": "LARGE_DEPOSIT",
    "version": 7,
    "is_on": True,
    "severity": "LOW",
    "terms": {"amounts": dict.fromkeys(("USD", "EUR", "GBP", "CHF", "CAD", "AUD", "JPY", "KWD", "BTC", "ETH"), "1")},
}


@pytest.fixture
def rules(db: None) -> None:
    suspects.load_rules()


@pytest.fixture
def committed_rules(committed_db: object) -> None:
    suspects.load_rules()


@pytest.fixture
def later() -> Iterator[None]:
    """A quarter of an hour from now: what is committed now lies behind the horizon by then."""
    with time_machine.travel(timezone.now().timestamp() + 900, tick=True):
        yield


def place_of(stream: str) -> UUID:
    return AlertCursor.objects.get(pk=stream).position


# --- Twice ----------------------------------------------------------------------------------------------------------


def test_a_second_look_raises_nothing_again(rules: None) -> None:
    for _ in range(3):
        pays_in(client(), "10000.00")
    assert (first := raise_alerts())["raised"] == first["large_deposit"] == 3
    assert (second := raise_alerts())["rows"] > 0, "what is recent is looked at again"
    assert (second["raised"], Alert.objects.count()) == (0, 3)
    assert AuditEvent.objects.filter(action="config.alert.raised").count() == 3


def test_a_look_back_raises_nothing_again(rules: None) -> None:
    pays_in(client(), "10000.00")
    raise_alerts()
    assert raise_alerts("--since=2020-01-01")["raised"] == 0


def test_rows_that_are_complete_are_left_behind(committed_rules: None, later: None) -> None:
    pays_in(client(), "10000.00")
    assert raise_alerts()["raised"] == 1
    assert raise_alerts()["rows"] == 0


def test_a_dry_run_counts_and_leaves_no_trace(rules: None) -> None:
    pays_in(client(), "10000.00")
    before = (place_of(Stream.DEPOSITS), AuditEvent.objects.count(), JobRun.objects.count())
    assert raise_alerts(dry_run=True)["large_deposit"] == 1
    assert Alert.objects.count() == 0
    assert (place_of(Stream.DEPOSITS), AuditEvent.objects.count(), JobRun.objects.count()) == before
    raise_alerts()
    assert raise_alerts(dry_run=True)["raised"] == 0


def test_a_look_from_a_later_moment_leaves_no_gap(committed_rules: None, later: None) -> None:
    pays_in(client(), "10000.00")
    begun = place_of(Stream.DEPOSITS)
    assert raise_alerts(f"--since={timezone.now():%Y-%m-%dT%H:%M}")["raised"] == 0
    assert place_of(Stream.DEPOSITS) == begun
    assert raise_alerts()["raised"] == 1


# --- Crashes, late commits, several jobs ----------------------------------------------------------------------------


class Struck(Exception):
    pass


@contextmanager
def struck_at(fragment: str, nth: int) -> Iterator[None]:
    """The job dies right before its nth statement of this kind."""
    seen = 0

    def strike(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        nonlocal seen
        if fragment in sql:
            seen += 1
            if seen == nth:
                raise Struck
        return execute(sql, params, many, context)

    with connection.execute_wrapper(strike):
        yield


@pytest.mark.parametrize(
    "fragment", ["INSERT INTO alerts_alert", 'UPDATE "alerts_alertcursor"', 'INSERT INTO "core_auditevent"']
)
def test_a_crash_between_batches_loses_nothing(committed_rules: None, later: None, fragment: str) -> None:
    for _ in range(3):
        pays_in(client(), "10000.00")
    with struck_at(fragment, 2), pytest.raises(CommandError):
        raise_alerts(batch=1)
    assert Alert.objects.count() == 1, "the first batch was committed, and nothing of the second"
    assert AuditEvent.objects.filter(action="config.alert.raised").count() == 1
    reached = place_of(Stream.DEPOSITS)
    assert raise_alerts(batch=1)["large_deposit"] == 2
    assert place_of(Stream.DEPOSITS) > reached
    assert Alert.objects.count() == AuditEvent.objects.filter(action="config.alert.raised").count() == 3


def test_a_late_commit_is_not_lost(committed_rules: None, later: None) -> None:
    """The first client's bank account gets its id early and becomes visible after the second one's was looked at."""
    first, second = client(), client()
    written, looked_at = Event(), Event()

    def slow() -> None:
        with transaction.atomic():
            calls.bank_account(first)
            written.set()
            assert looked_at.wait(30)

    def quick() -> None:
        assert written.wait(30)
        try:
            calls.bank_account(second)
            assert raise_alerts()["shared_bank_account"] == 0
        finally:
            looked_at.set()

    ledger_cast.at_once(slow, quick)
    (alert,) = found(Code.SHARED_BANK_ACCOUNT)
    assert alert.owner_id == second.user.pk


@pytest.mark.parametrize("is_its_age_known", [True, False])
def test_the_horizon_is_no_younger_than_the_oldest_transaction(
    committed_rules: None, later: None, is_its_age_known: bool
) -> None:
    """The sessions of these tests log in as somebody whose doings are hidden from the desk."""
    begun, looked_at = Event(), Event()

    def slow() -> None:
        with transaction.atomic():
            calls.bank_account(client())
            begun.set()
            assert looked_at.wait(30)

    def look() -> tuple[UUID, UUID]:
        assert begun.wait(30)
        try:
            with database.as_owner() if is_its_age_known else nullcontext():
                return streams.horizon(timezone.now()), streams.ids_from(timezone.now())
        finally:
            looked_at.set()

    _, (held_back, free) = ledger_cast.at_once(slow, look)
    assert held_back < free
    assert (held_back > streams.BEGINNING) == is_its_age_known
    assert streams.horizon(timezone.now()) >= free


def test_jobs_at_once_raise_everything_once(committed_rules: None, later: None) -> None:
    for _ in range(6):
        pays_in(client(), "10000.00")
    counts = ledger_cast.at_once(*[lambda: raise_alerts(batch=2)] * 3)
    assert raise_alerts(batch=2)["raised"] + sum(one["raised"] for one in counts) == 6
    assert Alert.objects.count() == AuditEvent.objects.filter(action="config.alert.raised").count() == 6


# --- Versions -------------------------------------------------------------------------------------------------------


def test_an_alert_keeps_the_version_it_was_raised_under(rules: None) -> None:
    pays_in(client(), "10000.00")
    (old,) = found(Code.LARGE_DEPOSIT)
    newer = amend(Code.LARGE_DEPOSIT, amounts=RULE["terms"]["amounts"] | {"USD": "10"}, severity="LOW")
    pays_in(client(), "10.00")
    same, new = found(Code.LARGE_DEPOSIT)
    assert (same.pk, str(same.rule), same.severity) == (old.pk, "LARGE_DEPOSIT v1", "MEDIUM")
    assert (new.rule_id, str(new.rule), new.severity) == (newer.pk, "LARGE_DEPOSIT v2", "LOW")


def test_a_new_version_looks_back_only_when_told_to(committed_rules: None, later: None) -> None:
    pays_in(client(), "9000.00")
    assert raise_alerts()["raised"] == 0
    amend(Code.LARGE_DEPOSIT, amounts=RULE["terms"]["amounts"])
    assert raise_alerts()["raised"] == 0
    assert raise_alerts("--since=2020-01-01")["large_deposit"] == 1


def test_a_rule_that_is_off_raises_nothing(rules: None) -> None:
    amend(Code.LARGE_DEPOSIT, is_on=False)
    pays_in(client(), "10000.00")
    assert raise_alerts()["raised"] == 0


def test_loading_the_file_again_changes_nothing(rules: None) -> None:
    out = StringIO()
    call_command("load_alert_rules", as_json=True, stdout=out)
    assert json.loads(out.getvalue())["known"] == len(Code) == AlertRule.objects.count()
    assert AuditEvent.objects.filter(action="config.alert_rule.loaded").count() == len(Code)


def test_a_version_never_changes(rules: None, tmp_path: Path) -> None:
    assert rulebook.load_rule(document=RULE, actor=Actor.system("test"))
    with pytest.raises(RuleChanged) as refusal:
        rulebook.load_rule(document=RULE | {"severity": "HIGH"}, actor=Actor.system("test"))
    assert refusal.value.code == "ALERT_RULE_CHANGED"
    assert AlertRule.objects.get(version=7).severity == "LOW"
    file = tmp_path / "rules.json"
    file.write_text(json.dumps([RULE | {"is_on": False}]))
    with pytest.raises(CommandError):
        call_command("load_alert_rules", file=file, stdout=StringIO())


@pytest.mark.parametrize(
    "changes",
    [
        {"code": "WHATEVER"},
        {"version": 0},
        {"version": "1"},
        {"is_on": "yes"},
        {"severity": "URGENT"},
        {"terms": {}},
        {"terms": {"amounts": {"USD": "10"}}},
        {"terms": RULE["terms"] | {"days": 3}},
        {"terms": {"amounts": RULE["terms"]["amounts"] | {"USD": "0"}}},
        {"terms": {"amounts": RULE["terms"]["amounts"] | {"USD": "NaN"}}},
        {"code": "IN_AND_OUT", "terms": {**RULE["terms"], "percent": "101", "lots": "1", "days": 1}},
        {"code": "SHARED_BANK_ACCOUNT", "terms": {"people_min": 1}},
        {"remark": "x"},
    ],
)
def test_what_is_no_rule_is_refused(db: None, changes: dict[str, Any]) -> None:
    with pytest.raises(RuleMalformed) as refusal:
        rulebook.load_rule(document=RULE | changes, actor=Actor.system("test"))
    assert refusal.value.code == "ALERT_RULE_MALFORMED"
    assert AlertRule.objects.count() == 0


# --- Guards ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE alerts_alert SET facts = '{}'",
        "UPDATE alerts_alert SET severity = 'LOW'",
        "UPDATE alerts_alert SET owner_id = (SELECT id FROM accounts_user WHERE email = 'bob@example.com')",
        "DELETE FROM alerts_alert",
        "UPDATE alerts_alertnote SET text = 'never mind'",
        "DELETE FROM alerts_alertnote",
        "UPDATE alerts_alertrule SET terms = '{}'",
        "DELETE FROM alerts_alertrule",
    ],
)
def test_what_was_found_and_said_stays(rules: None, sql: str) -> None:
    cast.bob()
    pays_in(client(), "10000.00")
    (alert,) = found(Code.LARGE_DEPOSIT)
    AlertNote.objects.create(owner=alert.owner, alert=alert, author=cast.carol_staff().user, text="Salary")
    with pytest.raises((InternalError, IntegrityError)), transaction.atomic(), database.as_owner() as cursor:
        cursor.execute(sql)
    assert Alert.objects.values("facts", "owner_id", "severity").get() == {
        "facts": alert.facts,
        "owner_id": alert.owner_id,
        "severity": "MEDIUM",
    }


def test_a_batch_is_as_large_as_asked_for(rules: None) -> None:
    for _ in range(3):
        pays_in(client(), "10.00")
    first = raising.raise_batch(stream=Stream.DEPOSITS, limit=2)
    assert (first.rows, first.last is not None) == (2, True)
    second = raising.raise_batch(stream=Stream.DEPOSITS, after=first.last, limit=2)
    assert (second.rows, second.last) == (1, None)
