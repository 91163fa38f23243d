"""Whoever doubts a figure can see where it came from, and whether anybody has touched it since."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import Group, Permission
from django.core.management import get_commands, load_command_class
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import User
from config.back_office.evidence import chains, jobs, ledger, trail
from config.back_office.evidence.jobs import DAY, HOUR, MINUTE, Job
from core.audit import Actor, ActorKind, record
from core.commands import DeskCommand
from core.ids import uuid7
from core.models import AuditEvent, IdempotencyKey, JobRun, KillSwitch
from tests import factories, ledger_cast
from tests.accounts.test_back_office import office
from tests.cast import make_client
from tests.database import Clone
from tests.source import ROOMS
from tests.trading.calls import close, place
from tests.trading.prices import Push
from tests.trading.risk import opened, run_risk
from tests.wallets import books
from tests.wallets.books import Books, corrupt
from trading.models import Deal, MarginEvent, Order, Position
from wallets.models import Entry, LedgerTransaction, Wallet
from wallets.services import house, seals

#: Of any of these pages, however much there is to show: sessions and permissions take a handful.
QUERIES_MAX = 60


@pytest.fixture(autouse=True)
def seal_folder(settings: Any, tmp_path: Any) -> None:
    settings.LEDGER_SEAL_DIR = tmp_path


@pytest.fixture
def day(committed_db: Clone) -> Books:
    return books.keep()


@pytest.fixture
def auditor(db: None) -> Client:
    return office("auditor")


def read(client: Client, path: str) -> str:
    with CaptureQueriesContext(connection) as queries:
        response = client.get(path)
    assert response.status_code == 200, response.status_code
    assert len(queries) <= QUERIES_MAX, len(queries)
    text: str = response.content.decode()
    return text


def entry(wallet: Wallet, version: int) -> Entry:
    return Entry.objects.get(wallet=wallet, wallet_version=version)


def standing_of(wallet: Wallet, version: int) -> tuple[str, str, str]:
    """What the page of an entry's transaction says of it: the link, what rests on it, the seal."""
    found = ledger.evidence(entry(wallet, version).transaction_id)
    (one,) = (side.standing for side in found.sides if side.entry.wallet_version == version and side.standing)
    return one.before.word, one.after.word, one.seal.word


# --- Ledger transactions --------------------------------------------------------------------------------------------


def test_a_transaction_shows_both_sides_that_sum_to_zero(day: Books) -> None:
    found = ledger.evidence(day.posting(day.alice, 2))
    assert [(side.entry.amount, side.is_house) for side in found.sides] == [
        (Decimal("250.00"), False),
        (Decimal("-250.00"), True),
    ]
    assert (found.sums, found.is_balanced) == ({"USD": Decimal(0)}, True)
    client, house_leg = found.sides
    assert (client.balance_before, client.entry.balance_after) == (Decimal("1000.00"), Decimal("1250.00"))
    assert (house_leg.balance_before, house_leg.standing) == (None, None)
    assert [(what, row) for what, row in found.causes] == [("Deposit", day.deposit)]


def test_the_page_of_a_transaction_tells_who_and_why(day: Books) -> None:
    page = read(office("auditor"), f"/admin/ledger/{day.paid.transaction_id}/")
    assert "Both sides sum to zero" in page
    assert "Every link holds" in page
    for told in ("checked", "STAFF", day.alice.number, "HOUSE_WITHDRAWAL_CLEARING", f"/withdrawals/{day.paid.pk}/"):
        assert told in page
    assert f"/{day.alice.owner_id}/" in page  # the way to the client


def test_a_transaction_and_its_reversal_name_each_other(day: Books) -> None:
    client = office("auditor")
    original, reversal = day.reversed_deposit.transaction_id, ledger.evidence(day.adjustment.pk).reversed_by
    assert f"/admin/ledger/{day.reversal.pk}/" in read(client, f"/admin/ledger/{day.adjustment.pk}/")
    assert f"/admin/ledger/{day.adjustment.pk}/" in read(client, f"/admin/ledger/{reversal}/")
    assert "Reversed by" in read(client, f"/admin/ledger/{original}/")


def test_legs_of_the_house_are_unfolded_until_they_are_folded(day: Books) -> None:
    posting = day.posting(day.alice, 2)
    assert [side.is_unfolded for side in ledger.evidence(posting).sides] == [False, True]
    house.fold_house()
    assert [side.is_unfolded for side in ledger.evidence(posting).sides] == [False, False]
    assert "Folded" in read(office("auditor"), f"/admin/ledger/{posting}/")


def test_every_entry_of_an_honest_day_is_intact(day: Books) -> None:
    for posting in LedgerTransaction.objects.values_list("pk", flat=True):
        found = ledger.evidence(posting)
        assert found.is_balanced
        standing = [side.standing for side in found.sides if side.standing is not None]
        assert {one.before.word for one in standing} == {"Intact"}
        assert {one.after.word for one in standing} <= {"Followed", "Last"}


@pytest.mark.parametrize(
    "assignment",
    [
        "amount = amount + 1",
        "balance_after = balance_after + 1",
        "posted_at = posted_at - interval '1 second'",
        "transaction_id = gen_random_uuid()",
    ],
)
def test_a_changed_entry_is_broken_and_no_other_is(day: Books, assignment: str) -> None:
    posting = day.posting(day.alice, 3)
    where = "wallet_id = %s AND wallet_version = 3"
    corrupt(f"UPDATE wallets_entry SET {assignment} WHERE {where}", day.alice)
    standing = chains.standings(Entry.objects.select_related("wallet").order_by("id"))
    broken = [id_ for id_, one in standing.items() if not one.is_intact]
    assert broken == [entry(day.alice, 3).pk]
    if "transaction_id" not in assignment:
        auditor = office("auditor")
        page = read(auditor, f"/admin/ledger/{posting}/")
        assert page.count("Broken") == 1
        assert "The chain is broken here" in page
        intact = read(auditor, f"/admin/ledger/{day.posting(day.alice, 2)}/")
        assert "Broken" not in intact
        assert "Every link holds" in intact


def test_a_digest_that_was_made_to_fit_breaks_what_rests_on_it(day: Books) -> None:
    corrupt("UPDATE wallets_entry SET digest = sha256('forged') WHERE wallet_id = %s AND wallet_version = 3", day.alice)
    assert [standing_of(day.alice, at)[:2] for at in (2, 3, 4)] == [
        ("Intact", "Not followed"),
        ("Broken", "Not followed"),
        ("Broken", "Followed"),
    ]


def test_an_entry_that_is_gone_is_missed_on_both_sides(day: Books) -> None:
    corrupt("DELETE FROM wallets_entry WHERE wallet_id = %s AND wallet_version = 3", day.alice)
    assert standing_of(day.alice, 2)[:2] == ("Intact", "Not followed")
    assert standing_of(day.alice, 4)[0] == "Broken"


def test_a_side_that_is_gone_shows_in_the_sum(day: Books) -> None:
    posting = day.posting(day.alice, 2)
    corrupt("DELETE FROM wallets_entry WHERE transaction_id = %s AND wallet_version IS NULL", posting)
    assert ledger.evidence(posting).sums == {"USD": Decimal("250.00")}
    assert "The sides do not sum to zero" in read(office("auditor"), f"/admin/ledger/{posting}/")


def test_a_seal_covers_what_was_there_when_it_was_made(day: Books) -> None:
    assert standing_of(day.alice, 1)[2] == "Not yet sealed"
    seals.seal_ledger()
    ledger_cast.transfer(day.alice, day.bob, "1.00")
    day.alice.refresh_from_db()
    assert standing_of(day.alice, 1)[2] == "Sealed"
    assert standing_of(day.alice, day.alice.version - 1)[2] == "Sealed"
    assert standing_of(day.alice, day.alice.version)[2] == "Not yet sealed"
    books.rechain(day.bob)  # as it was: nothing is contradicted
    assert standing_of(day.bob, 1)[2] == "Sealed"
    corrupt("UPDATE wallets_entry SET amount = 501 WHERE wallet_id = %s AND wallet_version = 1", day.bob)
    books.rechain(day.bob)
    before, _, seal = standing_of(day.bob, 1)
    assert (before, seal) == ("Broken", "Contradicted")


def test_a_seal_that_cannot_be_read_is_said_to_be_so(day: Books, tmp_path: Any) -> None:
    seal = seals.seal_ledger()
    (tmp_path / seal.export).unlink()
    assert standing_of(day.alice, 1) == ("Intact", "Followed", "Not known")


def test_every_sealed_wallet_is_found_in_its_export(day: Books, tmp_path: Any) -> None:
    from wallets.seals import heads, read_export, sealed_head

    seal = seals.seal_ledger()
    export = read_export(tmp_path / seal.export)
    known = list(heads(export))
    assert len(known) == 4
    assert [sealed_head(export.path, head.wallet) for head in known] == known
    for stranger in (UUID(int=0), uuid7(), UUID(int=2**128 - 1)):
        assert sealed_head(export.path, stranger) is None


def test_the_list_of_transactions_leads_to_both_sides(day: Books) -> None:
    page = read(office("auditor"), "/admin/wallets/ledgertransaction/")
    assert f'href="/admin/ledger/{day.adjustment.pk}/"' in page


def test_a_transaction_that_is_not_there_is_not_found(auditor: Client) -> None:
    for path in ("ledger", "orders", "audit"):
        assert auditor.get(f"/admin/{path}/{uuid7()}/").status_code == 404


# --- Orders ---------------------------------------------------------------------------------------------------------


def test_an_order_is_told_from_beginning_to_end(market: Push, auditor: Client) -> None:
    who = make_client(margin=Decimal("10000.00"))
    position = opened(who, volume="0.20")
    assert close(who, str(position), volume="0.05").status_code == 201
    market(EURUSD=("1.21000", "1.21010"))
    assert close(who, str(position)).status_code == 201
    order = Order.objects.get()
    page = read(auditor, f"/admin/orders/{order.pk}/")
    places = [page.index(title) for title in ("Asked for", "Opened by client", "Closed by client")]
    assert places == sorted(places)
    assert page.count("As booked") == 2 + 4 + 4
    assert "Not as booked" not in page
    for deal in Deal.objects.all():
        assert f"/admin/ledger/{deal.transaction_id}/" in page
    assert "1.21" in page
    assert IdempotencyKey.objects.get(operation="OPEN").status in page


def test_a_refused_order_says_why(market: Push, auditor: Client) -> None:
    who = make_client(margin=Decimal("10.00"))
    assert place(who, volume="1.00").status_code == 422
    order = Order.objects.get(status="REJECTED")
    page = read(auditor, f"/admin/orders/{order.pk}/")
    assert "Refused" in page
    assert order.reject_code in page


def test_a_stop_out_is_told_step_by_step(committed_market: Push) -> None:
    run_risk()
    who = make_client(margin=Decimal("5000.00"))
    position = opened(who, volume="1.00")
    committed_market(EURUSD=("1.16000", "1.16010"))
    run_risk()
    assert MarginEvent.objects.filter(kind="STOP_OUT").exists()
    order = Position.objects.get(pk=position).order_id
    page = read(office("auditor"), f"/admin/orders/{order}/")
    batch = Deal.objects.get(cause="STOP_OUT").batch
    for told in ("Closed by stop out", "POSITION_CLOSED", f"Price batch {batch}", "1.16 / 1.1601", "Position made or"):
        assert told in page


def test_a_recomputed_figure_that_differs_is_said_to_differ(committed_market: Push) -> None:
    who = make_client(margin=Decimal("10000.00"))
    opened(who, volume="0.20")
    order = Order.objects.get()
    corrupt("UPDATE trading_deal SET commission = commission + 1 WHERE order_id = %s", order)
    page = read(office("auditor"), f"/admin/orders/{order.pk}/")
    assert page.count("Not as booked") == 1


# --- Audit events ---------------------------------------------------------------------------------------------------


def tell(action: str = "accounts.profile.updated", kind: ActorKind = ActorKind.STAFF, **facts: Any) -> AuditEvent:
    switch, _ = KillSwitch.objects.get_or_create(scope="TRADING")
    actor = Actor(id=uuid7(), kind=kind, request_id=facts.pop("request_id", "request-0001"))
    with transaction.atomic():
        return record(action, actor=actor, owner=facts.pop("owner", None) or uuid7(), subject=switch, **facts)


def test_the_trail_is_filtered_and_searched_by_what_identifies(auditor: Client) -> None:
    one = tell("wallets.deposit.approved", reason="as agreed")
    other = tell("accounts.freeze.placed", kind=ActorKind.SYSTEM, request_id="nightly", reason="too old")
    for query, found, not_found in (
        ("", [one, other], []),
        ("actor=STAFF", [one], [other]),
        ("action=accounts.freeze.", [other], [one]),
        ("action=accounts.&actor=STAFF", [], [one, other]),
        (f"q={one.owner}", [one], [other]),
        ("q=request-0001", [one], [other]),
        ("q=accounts.freeze.placed", [other], [one]),
        (f"q={one.pk}", [one], [other]),
        ("q=TRADING", [one, other], []),
        ("q=nobody", [], [one, other]),
        ("q=%00'%20OR%201=1", [], [one, other]),
        ("actor=NOBODY&action=x&before=y", [one, other], []),
    ):
        page = read(auditor, f"/admin/audit/?{query}")
        assert all(f"/admin/audit/{event.pk}/" in page for event in found), query
        assert not any(f"/admin/audit/{event.pk}/" in page for event in not_found), query


def test_the_trail_is_read_a_page_at_a_time(auditor: Client) -> None:
    events = [tell() for _ in range(60)]
    first = read(auditor, "/admin/audit/?action=accounts.profile.")  # no such choice: all
    assert f"/admin/audit/{events[-1].pk}/" in first
    assert f"/admin/audit/{events[0].pk}/" not in first
    edge = AuditEvent.objects.order_by("-id")[49]
    assert f"before={edge.pk}" in first
    assert f"/admin/audit/{events[0].pk}/" in read(auditor, f"/admin/audit/?before={edge.pk}")


def test_an_event_shows_what_changed(auditor: Client) -> None:
    owner = factories.Person.create()
    before, after = {"status": "OPEN", "country": "DE"}, {"status": "CLOSED", "country": "DE"}
    event = tell(before=before, after=after, reason="why", owner=owner.pk)
    page = read(auditor, f"/admin/audit/{event.pk}/")
    for told in ("OPEN", "CLOSED", "why", f"/admin/clients/{owner.pk}/", "/admin/requests/request-0001/"):
        assert told in page
    assert page.count("Changed") == 1


def test_personal_data_is_masked_for_whoever_may_not_see_it(db: None) -> None:
    address = {"line1": "Elm Street 1", "city": "Springfield"}
    event = tell(after={"email": "alice@example.com", "phone": "+15550100101", "address": address, "country": "US"})
    client = office("support")
    Group.objects.get(name="support").permissions.add(Permission.objects.get(codename="view_auditevent"))
    page = read(client, f"/admin/audit/{event.pk}/")
    assert "a***@example.com" in page
    assert "•••••••0101" in page
    for hidden in ("alice@example.com", "+15550100101", "Elm Street", "Springfield"):
        assert hidden not in page
    in_clear = {change.name: change.after for change in trail.changes(event, in_clear=True)}
    assert (in_clear["email"], in_clear["address.city"]) == ("alice@example.com", "Springfield")


def test_who_did_it_is_told_by_name(day: Books) -> None:
    told = AuditEvent.objects.get(action="wallets.withdrawal.completed")
    assert told.actor_id is not None
    User.objects.filter(pk=told.actor_id).update(name="Frank Fisher", is_staff=True, number=None)
    auditor = office("auditor")
    for path in (f"ledger/{day.paid.transaction_id}", f"audit/{told.pk}"):
        page = read(auditor, f"/admin/{path}/")
        assert "STAFF Frank Fisher" in page
        assert f"/admin/clients/{told.actor_id}/" not in page  # where there is nothing about a colleague
        assert auditor.get(f"/admin/accounts/user/{told.actor_id}/change/").status_code == 200
        assert f"/admin/accounts/user/{told.actor_id}/change/" in page


def test_everything_of_a_request_is_on_one_page(day: Books) -> None:
    tell(request_id="request-0002")
    corrupt("UPDATE wallets_ledgertransaction SET request_id = 'request-0002' WHERE id = %s", day.adjustment)
    page = read(office("auditor"), "/admin/requests/request-0002/")
    assert "accounts.profile.updated" in page
    assert f"/admin/ledger/{day.adjustment.pk}/" in page


# --- Keys -----------------------------------------------------------------------------------------------------------


def test_keys_are_counted_by_state_and_lead_to_what_they_did(day: Books) -> None:
    auditor = office("auditor")
    page = read(auditor, "/admin/keys/")
    assert f"/admin/ledger/{day.transfer.transaction_id}/" in page
    assert f"/admin/queues/deposits/{day.deposit.pk}/" in page
    assert "can be stuck" in page
    failed = read(auditor, "/admin/keys/?status=FAILED")
    assert f"/admin/core/idempotencykey/{day.refused_key.pk}/change/" in failed
    assert f"/admin/wallets/deposit/{day.deposit.pk}/change/" not in failed


# --- Jobs -----------------------------------------------------------------------------------------------------------

NIGHTLY = Job("verify_ledger", "checks", DAY, DAY + 6 * HOUR)
WATCHED = Job("run_risk", "watches", MINUTE, MINUTE, watched=True)


def ran(name: str, *, ago: timedelta, status: str = "SUCCEEDED", **row: Any) -> JobRun:
    began = timezone.now() - ago
    ended = None if status == "RUNNING" else began + timedelta(seconds=3)
    return JobRun.objects.create(
        name=name, status=status, started_at=began, ended_at=ended, **{"beat_at": began, "counts": {}, **row}
    )


def health(job: Job) -> tuple[str, str]:
    (state,) = jobs.board(timezone.now(), (job,))
    return state.health.word, state.health.variant


def test_a_job_is_well_until_its_last_good_run_is_too_old(db: None) -> None:
    assert health(NIGHTLY) == ("Never ran", "danger")
    ran("verify_ledger", ago=timedelta(hours=31))
    assert health(NIGHTLY) == ("Overdue", "danger")
    ran("verify_ledger", ago=timedelta(hours=29))
    assert health(NIGHTLY) == ("Done", "success")
    ran("verify_ledger", ago=timedelta(minutes=5), status="RUNNING")
    assert health(NIGHTLY) == ("Running", "info")
    ran("verify_ledger", ago=timedelta(minutes=1), status="FAILED", error="3 breaks in the ledger")
    assert health(NIGHTLY) == ("Failed", "danger")


def test_a_watching_job_is_known_by_its_beat(db: None) -> None:
    run = ran("run_risk", ago=timedelta(days=3), status="RUNNING", beat_at=timezone.now() - timedelta(seconds=5))
    assert health(WATCHED) == ("Running", "success")
    JobRun.objects.filter(pk=run.pk).update(beat_at=timezone.now() - timedelta(seconds=90))
    assert health(WATCHED) == ("Silent", "danger")
    ran("run_risk", ago=timedelta(seconds=30))
    assert health(WATCHED) == ("Stopped", "warning")


def test_the_board_shows_every_job_and_takes_two_queries_however_often_they_ran(auditor: Client) -> None:
    for job in jobs.JOBS:
        for hours in range(1, 4):
            ran(job.name, ago=timedelta(hours=hours), counts={"checked": 17, "breaks": []})
    ran("seal_ledger", ago=timedelta(seconds=9), status="FAILED", error="SealRefused: not ours")
    with CaptureQueriesContext(connection) as queries:
        jobs.board(timezone.now())
    assert len(queries) == 2
    page = read(auditor, "/admin/jobs/")
    for job in jobs.JOBS:
        assert f"/admin/jobs/{job.name}/" in page
    for told in ("checked 17", "SealRefused: not ours", "every 1 d"):
        assert told in page
    assert "SealRefused" in read(auditor, "/admin/jobs/seal_ledger/")
    assert auditor.get("/admin/jobs/no_such_job/").status_code == 404


def test_every_command_that_leaves_a_row_is_on_the_board_or_run_by_hand() -> None:
    ours = set()
    for name, app in get_commands().items():
        room = str(app)
        if room.partition(".")[0] in ROOMS and isinstance(load_command_class(room, name), DeskCommand):
            ours.add(name)
    assert ours == {job.name for job in jobs.JOBS} | jobs.BY_HAND


# --- Who may look ---------------------------------------------------------------------------------------------------

PAGES = {
    "wallets.view_ledgertransaction": ("ledger/{id}/",),
    "trading.view_order": ("orders/{id}/",),
    "core.view_auditevent": ("audit/", "audit/{id}/", "requests/request-0001/"),
    "core.view_idempotencykey": ("keys/",),
    "core.view_jobrun": ("jobs/", "jobs/run_risk/"),
    "reconciliation.view_break": ("reconciliation/", "reconciliation/{id}/"),
}


@pytest.mark.parametrize("permission", PAGES)
def test_a_page_is_closed_to_whoever_may_not_see_its_rows(db: None, permission: str) -> None:
    client = office("support")
    codename = permission.partition(".")[2]
    Group.objects.get(name="support").permissions.remove(*Permission.objects.filter(codename=codename))
    for path in PAGES[permission]:
        assert client.get("/admin/" + path.format(id=uuid7())).status_code == 403, path
    Group.objects.get(name="support").permissions.add(*Permission.objects.filter(codename=codename))
    for path in PAGES[permission]:
        assert client.get("/admin/" + path.format(id=uuid7())).status_code in {200, 404}, path


@pytest.mark.parametrize("path", [path for paths in PAGES.values() for path in paths])
def test_nobody_gets_in_without_logging_in_and_nothing_is_posted(auditor: Client, path: str) -> None:
    url = "/admin/" + path.format(id=uuid7())
    assert Client().get(url).status_code == 302
    assert auditor.post(url, {"reason": "x"}).status_code == 405
