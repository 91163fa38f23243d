"""What should agree and does not is found once, belongs to somebody, and does not go away by itself."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal
from io import StringIO
from pathlib import Path
from time import time
from typing import Any
from uuid import UUID

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, transaction
from django.test import Client
from django.utils import timezone
from pytest_django import Settings
from rest_framework.test import APIClient

from config.back_office.reconciliation import statements
from config.back_office.reconciliation.books import VERIFICATIONS
from config.back_office.reconciliation.models import Break, Run
from config.back_office.reconciliation.services import breaks
from config.back_office.reconciliation.services.breaks import BreakIsResolved, BreakNotFound, ResolutionUnknown
from config.back_office.reconciliation.statements import StatementUnreadable
from core.audit import Actor, ActorKind
from core.errors import DomainError
from core.ids import uuid7
from core.models import AuditEvent, JobRun
from tests import cast, ledger_cast
from tests.accounts.test_back_office import office
from tests.database import Clone
from tests.wallets import books
from tests.wallets.books import Books, corrupt
from tests.wallets.calls import bank_account, deposit, report, withdraw
from wallets.models import Deposit, PaymentReport, Withdrawal
from wallets.services import deposits, withdrawals

Kind = Break.Kind


@pytest.fixture(autouse=True)
def seal_folder(settings: Any, tmp_path: Any) -> None:
    settings.LEDGER_SEAL_DIR = tmp_path


@pytest.fixture
def day(committed_db: Clone) -> Books:
    return books.keep()


def reconcile(**options: Any) -> dict[str, Any]:
    out = StringIO()
    call_command("reconcile", as_json=True, stdout=out, **options)
    counts: dict[str, Any] = json.loads(out.getvalue())
    return counts


def found() -> list[tuple[str, str, str, str]]:
    return list(Break.objects.order_by("kind", "subject").values_list("kind", "subject", "expected", "found"))


def one(**columns: Any) -> Break:
    now = timezone.now()
    given = {"kind": Kind.MISSING_HERE, "subject": "manual pay_1", "expected": "1.00 USD", "found": "nothing"}
    return Break.objects.create(**{**given, "first_seen_at": now, "last_seen_at": now, **columns})


# --- The desk's own books -------------------------------------------------------------------------------------------


def test_a_clean_desk_has_no_breaks(committed_db: Clone) -> None:
    alice, carol = cast.alice(), cast.carol_staff()
    assert deposit(alice, "250.00").status_code == 201
    bank_account(alice)
    asked = UUID(withdraw(alice, "75.00").json()["id"])
    for step in (
        withdrawals.start_review,
        withdrawals.approve_withdrawal,
        withdrawals.mark_sent,
        withdrawals.complete_withdrawal,
    ):
        step(withdrawal_id=asked, reason="checked", actor=carol.actor)
    for verify in VERIFICATIONS:
        call_command(verify, stdout=StringIO(), stderr=StringIO())
    counts = reconcile()
    assert counts == {
        "job": "reconcile",
        "clearing_wallets": counts["clearing_wallets"],  # one of each kind, per currency and environment
        "payment_reports": 0,
        "withdrawals_sent": 0,
        "verifications": 4,
        "found": 0,
        "opened": 0,
        "reopened": 0,
    }
    assert counts["clearing_wallets"] > 0
    assert found() == []
    assert Run.objects.get().found == 0


def test_a_clearing_wallet_that_differs_from_its_payments_is_found_once(day: Books) -> None:
    corrupt("UPDATE wallets_unfoldedleg SET amount = amount - 5 WHERE amount = -250")
    assert reconcile()["opened"] == 1
    assert found() == [
        (Kind.CLEARING_DIFFERS, "HOUSE_PAYMENT_CLEARING USD LIVE", "-250.00 USD", "-255.00 USD"),
    ]
    first = Break.objects.get()
    again = reconcile()
    assert (again["found"], again["opened"], again["reopened"]) == (1, 0, 0)
    row = Break.objects.get()
    assert (row.pk, row.first_seen_at) == (first.pk, first.first_seen_at)
    assert row.last_seen_at > first.last_seen_at


def test_withdrawals_have_their_own_clearing(day: Books) -> None:
    corrupt("UPDATE wallets_withdrawal SET amount = 80 WHERE id = %s", day.paid)
    reconcile()
    assert [(kind, expected, held) for kind, _, expected, held in found()] == [
        (Kind.CLEARING_DIFFERS, "80.00 USD", "75.00 USD"),
        (Kind.WITHDRAWAL_NOT_POSTED, "posted as it says", "80.00000000 USD, posted 75.00000000 USD"),
    ]
    assert Break.objects.get(kind=Kind.WITHDRAWAL_NOT_POSTED).about_id == day.paid.pk


def test_a_deposit_that_is_completed_and_not_posted_is_found(day: Books) -> None:
    corrupt("UPDATE wallets_deposit SET transaction_id = gen_random_uuid() WHERE id = %s", day.deposit)
    reconcile()
    ((kind, subject, _, _),) = [row for row in found() if row[0] == Kind.DEPOSIT_NOT_POSTED and "deposit " in row[1]]
    assert (kind, subject) == (Kind.DEPOSIT_NOT_POSTED, f"deposit {day.deposit.pk}")


def test_a_withdrawal_that_nobody_confirms_is_found_after_some_days(day: Books, settings: Settings) -> None:
    settings.WITHDRAWAL_CONFIRMED_WITHIN_DAYS = 3
    staff = Actor(id=ledger_cast.person(), kind=ActorKind.STAFF)
    for step in (withdrawals.start_review, withdrawals.approve_withdrawal, withdrawals.mark_sent):
        step(withdrawal_id=day.pending.pk, reason="checked", actor=staff)
    assert reconcile()["found"] == 0
    Withdrawal.objects.filter(pk=day.pending.pk).update(sent_at=timezone.now() - timedelta(days=3, minutes=1))
    reconcile()
    row = Break.objects.get()
    assert (row.kind, row.about_id, row.expected) == (
        Kind.WITHDRAWAL_UNCONFIRMED,
        day.pending.pk,
        "60.00 USD paid or returned",
    )


def test_a_failed_verification_is_taken_over_break_by_break(day: Books) -> None:
    corrupt("UPDATE wallets_entry SET amount = amount + 1 WHERE wallet_id = %s AND wallet_version = 3", day.alice)
    with pytest.raises(CommandError):
        call_command("verify_ledger", stdout=StringIO(), stderr=StringIO())
    reconcile()
    told = Break.objects.filter(kind=Kind.VERIFICATION_FAILED)
    chain = told.get(subject=f"verify_ledger digest_chain wallet {day.alice.number}")
    assert "does not follow" in chain.found
    run = JobRun.objects.get(name="verify_ledger")
    assert (chain.last_seen_at, told.count()) == (run.ended_at, len(run.counts["breaks"]))


def test_breaks_of_the_other_rooms_are_told_by_their_facts(day: Books) -> None:
    with pytest.raises(CommandError):
        call_command("verify_positions", stdout=StringIO(), stderr=StringIO())
    JobRun.objects.create(name="verify_audit", status="FAILED", error="OperationalError: gone", ended_at=timezone.now())
    reconcile()
    told = Break.objects.filter(kind=Kind.VERIFICATION_FAILED).order_by("subject").values_list("subject", "found")
    assert list(told) == [
        ("verify_audit", "OperationalError: gone"),
        (f"verify_positions postings_have_their_deal {day.posting(day.margin, 2)}", "CLOSE"),
    ]


# --- What a provider has said ---------------------------------------------------------------------------------------


def pending(settings: Settings) -> tuple[Deposit, dict[str, Any]]:
    settings.PAYMENT_PROVIDER = "webhook"
    made = Deposit.objects.get(pk=deposit(cast.alice(), "100.00").json()["id"])
    said = {"reference": "pay_1", "status": "COMPLETED", "amount": "100.00", "currency": "USD"}
    return made, {"deposit": str(made.pk), **said}


def say(message: dict[str, Any]) -> int:
    status: int = report(APIClient(), message, timestamp=int(time())).status_code
    return status


def test_a_payment_reported_after_its_deposit_expired_is_a_break(committed_db: Clone, settings: Settings) -> None:
    made, message = pending(settings)
    later = timezone.now() + timedelta(days=2)
    assert deposits.expire_deposits(now=later, limit=10) == 1
    assert say(message) == 422
    assert say(message) == 422
    kept = PaymentReport.objects.get()
    assert (kept.deposit_ref, kept.amount, kept.succeeded) == (made.pk, Decimal("100.00"), True)
    assert kept.last_received_at > kept.first_received_at
    reconcile()
    reconcile()
    assert found() == [
        (Kind.PAYMENT_NOT_CREDITED, "webhook pay_1 100.00 USD", "credited 100.00 USD", "deposit EXPIRED")
    ]
    assert Break.objects.get().about_id == made.pk


@pytest.mark.parametrize(
    "change,detail",
    [
        ({"amount": "99.00"}, "deposit PENDING"),
        ({"currency": "EUR"}, "deposit PENDING"),
        ({"deposit": str(uuid7())}, "no such deposit"),
    ],
)
def test_a_payment_that_fits_no_deposit_is_a_break(
    committed_db: Clone, settings: Settings, change: dict[str, str], detail: str
) -> None:
    _, message = pending(settings)
    assert say(message | change) in {404, 422}
    reconcile()
    assert [row[3] for row in found()] == [detail]


def test_what_is_credited_rejected_or_reversed_is_no_break(committed_db: Clone, settings: Settings) -> None:
    made, message = pending(settings)
    assert say(message) == 200
    reconcile()
    assert found() == []
    staff = Actor(id=ledger_cast.person(), kind=ActorKind.STAFF)
    deposits.reverse_deposit(deposit_id=made.pk, reason="charged back", actor=staff)
    reconcile()
    assert found() == []
    assert say(message | {"reference": "pay_2", "status": "FAILED"}) == 422
    reconcile()
    assert found() == []
    assert PaymentReport.objects.count() == 2


def test_a_second_payment_for_a_credited_deposit_is_a_break(committed_db: Clone, settings: Settings) -> None:
    _, message = pending(settings)
    assert say(message) == 200
    assert say(message | {"reference": "pay_2"}) == 422
    reconcile()
    assert [row[3] for row in found()] == ["deposit COMPLETED, by payment pay_1"]


def test_what_was_resolved_stays_so_until_the_provider_says_it_again(committed_db: Clone, settings: Settings) -> None:
    _, message = pending(settings)
    deposits.expire_deposits(now=timezone.now() + timedelta(days=2), limit=10)
    say(message)
    reconcile()
    row = Break.objects.get()
    staff = Actor(id=ledger_cast.person(), kind=ActorKind.STAFF)
    breaks.resolve_break(break_id=row.pk, resolution="RETURNED", note="Sent back today", actor=staff)
    assert reconcile()["reopened"] == 0
    row.refresh_from_db()
    assert row.status == "RESOLVED"
    say(message)
    assert reconcile()["reopened"] == 1
    row.refresh_from_db()
    assert (row.status, row.assignee, row.resolution, row.note) == ("OPEN", None, "", "")
    told = AuditEvent.objects.get(action="reconciliation.break.reopened")
    assert told.before == {"status": "RESOLVED", "resolution": "RETURNED", "note": "Sent back today"}


# --- Statements -----------------------------------------------------------------------------------------------------


def statement(tmp_path: Path, *lines: str, header: str = "reference,amount,currency,booked_on") -> Path:
    path = tmp_path / "statement.csv"
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def today() -> str:
    return timezone.now().date().isoformat()


def of_sandbox(row: Deposit, figure: str = "250.00") -> str:
    return f"{row.provider_reference},{figure},USD,{today()}"


def test_a_statement_that_says_what_the_books_say_has_no_breaks(day: Books, tmp_path: Path) -> None:
    path = statement(tmp_path, of_sandbox(day.deposit), of_sandbox(day.reversed_deposit, "40.00"))
    counts = reconcile(statement=path, provider="sandbox")
    assert (counts["lines"], counts["booked"], counts["found"]) == (2, 2, 0)
    run = Run.objects.get()
    assert (run.provider, run.file_name, len(run.file_digest)) == ("sandbox", "statement.csv", 64)


def test_a_statement_finds_each_kind_of_difference_and_the_same_ones_again(day: Books, tmp_path: Path) -> None:
    path = statement(
        tmp_path,
        of_sandbox(day.deposit, "250.01"),
        f"stranger,12.5,USD,{today()}",
        f"twice,1,USD,{today()}",
        f"twice,1.00,USD,{today()}",
        f"out_1,-75.00,USD,{today()}",
    )
    corrupt("UPDATE wallets_deposit SET provider_reference = 'twice', amount = 1 WHERE id = %s", day.reversed_deposit)
    corrupt("UPDATE wallets_withdrawal SET bank_reference = 'elsewhere' WHERE id = %s", day.paid)
    for opened in (5, 0):
        counts = reconcile(statement=path, provider="sandbox")
        assert (counts["found"], counts["opened"], counts["reopened"]) == (5, opened, 0)
        assert found() == [
            (Kind.AMOUNT_DIFFERS, f"sandbox {day.deposit.provider_reference}", "250.01 USD", "250.00 USD"),
            (Kind.DUPLICATE, "sandbox twice", "once", "2 times, 2.00 USD together"),
            (Kind.MISSING_HERE, "sandbox out_1", "-75.00 USD", "not in the books"),
            (Kind.MISSING_HERE, "sandbox stranger", "12.50 USD", "not in the books"),
            (Kind.MISSING_THERE, "sandbox elsewhere", "-75.00 USD", "not on the statement"),
        ]


def test_a_payment_of_another_day_or_provider_is_not_missed(day: Books, tmp_path: Path) -> None:
    Deposit.objects.filter(pk=day.deposit.pk).update(completed_at=timezone.now() - timedelta(days=2))
    corrupt("UPDATE wallets_deposit SET provider = 'manual' WHERE id = %s", day.reversed_deposit)
    path = statement(tmp_path, f"stranger,12.5,USD,{today()}")
    reconcile(statement=path, provider="sandbox")
    assert [row[:2] for row in found()] == [(Kind.MISSING_HERE, "sandbox stranger")]


def test_money_the_bank_has_paid_and_we_have_not_completed_says_where_it_is(day: Books, tmp_path: Path) -> None:
    staff = Actor(id=ledger_cast.person(), kind=ActorKind.STAFF)
    withdrawals.start_review(withdrawal_id=day.pending.pk, reason="checked", actor=staff)
    withdrawals.approve_withdrawal(withdrawal_id=day.pending.pk, reason="checked", actor=staff)
    withdrawals.mark_sent(withdrawal_id=day.pending.pk, reason="sent", actor=staff, bank_reference="out_2")
    corrupt("UPDATE wallets_withdrawal SET bank_reference = 'out_1' WHERE id = %s", day.paid)
    path = statement(tmp_path, f"out_1,-75.00,USD,{today()}", f"out_2,-60.00,USD,{today()}")
    reconcile(statement=path, provider="manual")
    assert found() == [(Kind.MISSING_HERE, "manual out_2", "-60.00 USD", "SENT")]


@pytest.mark.parametrize(
    "content,why",
    [
        (b"", "columns"),
        (b"reference,amount\n", "columns"),
        (b"reference,amount,currency,booked_on\n", "no lines"),
        (b"\xff\xfe", "UTF-8"),
        (b'reference,amount,currency,booked_on\n"a,1,USD,2026-01-01\n', "CSV"),
        *(
            (b"reference,amount,currency,booked_on\na,1,USD,2026-01-01\n" + line, "line 3")
            for line in (
                b"b,1,USD",
                b",1,USD,2026-01-01",
                b"b,NaN,USD,2026-01-01",
                b"b,1e3,USD,2026-01-01",
                b"b,0,USD,2026-01-01",
                b"b,1,XXX,2026-01-01",
                b"b,1,USD,01.01.2026",
                b"b,1234567890123,USD,2026-01-01",
                b"b" * 129 + b",1,USD,2026-01-01",
            )
        ),
    ],
)
def test_a_statement_that_cannot_be_read_is_refused_whole(content: bytes, why: str) -> None:
    with pytest.raises(StatementUnreadable) as refusal:
        statements.read(content, provider="manual", file_name="x.csv")
    assert why in refusal.value.detail


def test_a_refused_statement_leaves_nothing_but_a_failed_job(day: Books, tmp_path: Path) -> None:
    with pytest.raises(CommandError):
        reconcile(statement=statement(tmp_path, "a,1,USD,never"), provider="manual")
    with pytest.raises(CommandError):
        reconcile(provider="manual")
    assert (Run.objects.count(), Break.objects.count()) == (0, 0)
    assert set(JobRun.objects.values_list("status", flat=True)) == {"FAILED"}


# --- Who looks after it ---------------------------------------------------------------------------------------------


def test_one_open_break_a_subject(db: None) -> None:
    one()
    with pytest.raises(IntegrityError, match="break_once_per_subject"), transaction.atomic():
        one()
    with pytest.raises(IntegrityError, match="break_state_has_its_facts"), transaction.atomic():
        one(subject="other", status="RESOLVED")


def test_only_whoever_may_decide_takes_and_resolves(db: None) -> None:
    row = one()
    form = {"resolution": "TIMING", "note": "It came a day later"}
    for role in ("auditor", "support"):
        client = office(role)
        for step in ("assign", "resolve"):
            assert client.post(f"/admin/reconciliation/{row.pk}/{step}/", form).status_code == 403
    assert Client().post(f"/admin/reconciliation/{row.pk}/assign/").status_code == 302
    row.refresh_from_db()
    assert (row.status, AuditEvent.objects.filter(object_id=row.pk).count()) == ("OPEN", 0)


def test_finance_works_a_break_off_from_its_page(committed_db: Clone) -> None:
    row, client = one(expected="2.00 USD"), office("finance")
    page = client.get("/admin/reconciliation/").content.decode()
    assert "manual pay_1" in page
    assert "Assign to me" in client.get(f"/admin/reconciliation/{row.pk}/").content.decode()
    assert client.post(f"/admin/reconciliation/{row.pk}/assign/").status_code == 302
    assert "manual pay_1" in client.get("/admin/reconciliation/?mine=1&status=ASSIGNED").content.decode()
    for form in (
        {},
        {"resolution": "TIMING"},
        {"resolution": "NONE", "note": "x"},
        {"resolution": "TIMING", "note": " "},
    ):
        refused = client.post(f"/admin/reconciliation/{row.pk}/resolve/", form, follow=True)
        assert "Say how it was resolved" in refused.content.decode()
    row.refresh_from_db()
    assert row.status == "ASSIGNED"
    form = {"resolution": "TIMING", "note": "It came a day later"}
    page = client.post(f"/admin/reconciliation/{row.pk}/resolve/", form, follow=True).content.decode()
    for told in ("Resolved.", "It came a day later", "reconciliation.break.assigned", "reconciliation.break.resolved"):
        assert told in page
    again = client.post(f"/admin/reconciliation/{row.pk}/resolve/", form, follow=True).content.decode()
    assert "The break is resolved" in again
    assert "manual pay_1" not in client.get("/admin/reconciliation/").content.decode()
    assert "manual pay_1" in client.get("/admin/reconciliation/?status=RESOLVED&kind=MISSING_HERE").content.decode()


def test_a_decision_names_its_reason_and_its_break(committed_db: Clone) -> None:
    actor = Actor(id=ledger_cast.person(), kind=ActorKind.STAFF)
    row = one()
    refusals: list[tuple[type[DomainError], dict[str, Any]]] = [
        (DomainError, {"note": " "}),
        (ResolutionUnknown, {"resolution": "GONE"}),
        (BreakNotFound, {"break_id": uuid7()}),
    ]
    for refusal, change in refusals:
        terms = {"break_id": row.pk, "resolution": "TIMING", "note": "why", **change}
        with pytest.raises(refusal):
            breaks.resolve_break(**terms, actor=actor)
    breaks.assign_break(break_id=row.pk, actor=actor)
    breaks.resolve_break(break_id=row.pk, resolution="WRITTEN_OFF", note="one cent", actor=actor)
    with pytest.raises(BreakIsResolved):
        breaks.assign_break(break_id=row.pk, actor=actor)
    told = AuditEvent.objects.get(action="reconciliation.break.resolved")
    assert (told.reason, told.actor_id, told.before) == (
        "one cent",
        actor.id,
        {"status": "ASSIGNED", "assignee": str(actor.id)},
    )


def test_the_board_counts_what_is_old(db: None) -> None:
    old = timezone.now() - timedelta(days=9)
    one(first_seen_at=old, last_seen_at=old)
    page = office("auditor").get("/admin/reconciliation/").content.decode()
    assert "9 d" in page
    assert "Older than 7 days" in page
