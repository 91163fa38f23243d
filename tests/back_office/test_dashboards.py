"""Figures are computed once, tell of a day the same whenever they are asked, and are all that a dashboard reads."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from html import unescape
from io import StringIO
from pathlib import Path
from random import Random
from typing import Any

import pytest
import time_machine
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from config.back_office import figures as readers
from config.back_office.dashboards import selectors, shapes
from config.back_office.dashboards.management.commands import compute_figures
from config.back_office.dashboards.models import Figure, FigureSet
from config.back_office.dashboards.readers import risk, system
from config.back_office.dashboards.services import figures
from config.back_office.figures import READERS, NothingToRead, Reading
from core import snapshot
from core.admin import readable
from core.audit import Actor
from core.models import JobRun
from tests.accounts.test_back_office import office
from tests.cast import CastMember, StaffMember, carol_staff, make_client
from tests.database import Clone
from tests.trading import prices
from tests.trading.calls import close, place
from tests.trading.prices import Push
from tests.trading.risk import opened, run_risk, trader
from tests.wallets.calls import bank_account, deposit, withdraw
from trading import engine
from trading import selectors as trading_selectors
from trading.models import MarginEvent, Position
from wallets.models import Deposit, Withdrawal
from wallets.services import deposits, withdrawals

ROOT = Path(__file__).resolve().parents[2]
NOON = datetime(2026, 11, 18, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
PAGES = ("", "dashboards/money", "dashboards/risk", "dashboards/operations")


@pytest.fixture
def clock(db: None) -> Iterator[time_machine.Traveller]:
    with time_machine.travel(NOON, tick=False) as traveller:
        yield traveller


@pytest.fixture
def staff(clock: object) -> StaffMember:
    return carol_staff()


@pytest.fixture
def market(clock: object) -> Push:
    return prices.open_market()


Compute = Callable[..., dict[str, Any]]


@pytest.fixture
def compute(clock: time_machine.Traveller, monkeypatch: pytest.MonkeyPatch) -> Compute:
    """
    Runs the command a second later: what happens at this very moment is of the next look.

    A few days are made good instead of a month, which only takes longer.
    """
    monkeypatch.setattr(compute_figures, "DAYS_KEPT_UP", 3)

    def run(**options: Any) -> dict[str, Any]:
        clock.shift(1)
        out = StringIO()
        call_command("compute_figures", as_json=True, stdout=out, **options)
        counts: dict[str, Any] = json.loads(out.getvalue())
        return counts

    return run


def rows() -> list[Any]:
    """Every figure with its row's own id, but for those that tell how long ago something was."""
    found = Figure.objects.exclude(unit="seconds").exclude(set__source__in=["database", "jobs"])
    return sorted(found.values_list("id", "set__source", "set__day", "name", "environment", "label", "value"))


def figure(name: str, *, day: date | None = None, **where: str) -> Any:
    found = Figure.objects.filter(name=name, set__day=day or timezone.now().date(), **where)
    return found.get().value if found else None


def ledger_of(day: date, *, environment: str = "LIVE", currency: str = "USD") -> selectors.Ledger:
    told = selectors.told(now=timezone.now(), daily=["money"])
    return selectors.ledger(told, environment, currency, [day])


def read(source: str, end: datetime) -> list[Reading]:
    start = end.replace(hour=0, minute=0, second=0, microsecond=0)
    with snapshot.of_one_moment():
        return list(READERS[source].read(start, end))


def page(client: Client, path: str = "") -> str:
    response = client.get(f"/admin/{path}")
    assert response.status_code == 200
    return unescape(response.content.decode())


# --- What a day was -------------------------------------------------------------------------------------------------


def test_the_same_run_twice_leaves_the_same_rows(clock: time_machine.Traveller, compute: Compute) -> None:
    alice = make_client()
    assert deposit(alice, "250.00").status_code == 201
    compute()
    before = rows()
    assert figure("ledger.client", environment="LIVE", label="DEPOSIT") == 250
    compute()
    assert rows() == before


def test_today_grows_with_what_happens(clock: time_machine.Traveller, compute: Compute) -> None:
    alice = make_client()
    for amount, sum_ in (("250.00", 250), ("1.01", Decimal("251.01"))):
        deposit(alice, amount)
        clock.shift(60)
        compute()
        assert figure("ledger.client", environment="LIVE", label="DEPOSIT") == sum_


def test_a_day_is_the_same_whenever_it_is_computed(clock: time_machine.Traveller, compute: Compute) -> None:
    alice = make_client()
    deposit(alice, "250.00")
    clock.shift(DAY)
    compute()
    day = NOON.date()
    first = list(Figure.objects.filter(set__day=day).order_by("id").values_list("id", "name", "label", "value"))
    assert first
    deposit(make_client(), "77.00")
    clock.shift(5 * DAY)
    compute(days=10)
    again = list(Figure.objects.filter(set__day=day).order_by("id").values_list("id", "name", "label", "value"))
    assert again == first


def test_a_day_that_is_over_is_computed_once_and_again_only_on_request(
    clock: time_machine.Traveller, compute: Compute
) -> None:
    deposit(make_client(), "250.00")
    clock.shift(DAY)
    compute()
    wrong = Figure.objects.filter(set__day=NOON.date(), name="ledger.client", label="DEPOSIT")
    wrong.update(value=1)
    compute()
    assert wrong.get().value == 1
    compute(days=2)
    assert wrong.get().value == 250


def test_a_day_is_final_when_nothing_of_it_can_be_under_way(clock: time_machine.Traveller, compute: Compute) -> None:
    clock.move_to(NOON.replace(hour=23, minute=59))
    deposit(make_client(), "250.00")
    for minutes, is_final in ((0, False), (10, False), (12, True)):
        clock.move_to(NOON.replace(hour=23, minute=59) + timedelta(minutes=minutes))
        compute()
        assert FigureSet.objects.get(source="money", day=NOON.date()).is_final is is_final
        assert figure("ledger.client", day=NOON.date(), label="DEPOSIT") == 250


def test_a_reversal_is_of_the_day_it_happens(
    clock: time_machine.Traveller, staff: StaffMember, compute: Compute
) -> None:
    alice = make_client()
    deposit(alice, "250.00")
    clock.shift(DAY)
    made = Deposit.objects.get()
    deposits.reverse_deposit(deposit_id=made.pk, reason="charged back", actor=staff.actor)
    compute()
    first, second = ledger_of(NOON.date()), ledger_of((NOON + DAY).date())
    assert (first.deposits, first.reversed, first.net_deposits) == (250, 0, 250)
    assert (second.deposits, second.reversed, second.net_deposits) == (0, 250, -250)


def test_a_withdrawal_counts_when_it_is_paid(
    clock: time_machine.Traveller, staff: StaffMember, compute: Compute
) -> None:
    alice = make_client()
    bank_account(alice)
    assert withdraw(alice, "100.00").status_code == 201
    compute()
    assert ledger_of(NOON.date()).withdrawals == 0
    assert figure("queue.waiting", label="Withdrawals to decide") == 1
    clock.shift(timedelta(hours=2))
    made = Withdrawal.objects.get()
    terms: Any = {"withdrawal_id": made.pk, "reason": "checked", "actor": staff.actor}
    for step in (withdrawals.start_review, withdrawals.approve_withdrawal, withdrawals.mark_sent):
        step(**terms)
    compute()
    assert figure("queue.waiting", label="Withdrawals to decide") == 0
    assert figure("queue.oldest", label="Withdrawals to decide") is None
    assert figure("queue.waiting", label="Withdrawals on their way") == 1
    withdrawals.complete_withdrawal(**terms)
    compute()
    assert (ledger_of(NOON.date()).withdrawals, ledger_of(NOON.date()).net_deposits) == (100, -100)


def test_what_clients_make_is_what_the_house_loses(
    clock: time_machine.Traveller, market: Push, compute: Compute
) -> None:
    for environment, volume in (("LIVE", "0.10"), ("DEMO", "0.50")):
        alice = trader(environment=environment)
        position = opened(alice, volume=volume)
        market(EURUSD=("1.20500", "1.20510"))
        assert close(alice, str(position), volume="ALL").status_code == 201
        market(EURUSD=("1.20000", "1.20010"))
    compute()
    live, demo = (ledger_of(NOON.date(), environment=environment) for environment in ("LIVE", "DEMO"))
    assert live.client["TRADE_PNL"] == 49
    assert live.client["COMMISSION"] < 0
    assert live.client_profit == live.client["TRADE_PNL"] + live.client["COMMISSION"] == -live.house_profit
    assert demo.client["TRADE_PNL"] == 245
    assert live.is_mirrored
    assert demo.is_mirrored
    assert not selectors.Ledger({"SWAP": Decimal(1)}, {"HOUSE_SWAP": Decimal(1)}).is_mirrored


def test_sign_ups_and_decisions_are_counted_once(
    clock: time_machine.Traveller, staff: StaffMember, compute: Compute
) -> None:
    from accounts.models import TradingAccount, Verification
    from accounts.services import verifications

    alice, _ = make_client(), make_client(environment="DEMO")
    TradingAccount.objects.create(
        number="9999999", owner=alice.user, wallet_id=alice.cash.pk, environment="LIVE", currency="USD", leverage=30
    )
    row = Verification.objects.create(owner=alice.user, status="SUBMITTED")
    for outcome in ("IN_REVIEW", "ACTION_REQUIRED"):
        verifications.review_verification(verification_id=row.pk, outcome=outcome, reason="blurred", actor=staff.actor)
    documents = [{"kind": "PASSPORT", "reference": "x"}]
    verifications.submit_verification(owner=alice.user.pk, documents=documents, actor=Actor.system())
    compute()
    assert [figure("people.signups", environment=one) for one in ("LIVE", "DEMO")] == [1, 1]
    steps = {label: figure("people.verifications", label=label) for label in ("SUBMITTED", "ACTION_REQUIRED")}
    assert steps == {"SUBMITTED": 1, "ACTION_REQUIRED": 1}


# --- What is so now -------------------------------------------------------------------------------------------------


def test_exposure_tells_both_sides_of_every_instrument(
    clock: time_machine.Traveller, market: Push, compute: Compute
) -> None:
    alice, demo = trader(), trader(environment="DEMO")
    for who, side, volume in ((alice, "BUY", "0.30"), (alice, "SELL", "0.10"), (demo, "BUY", "0.05")):
        opened(who, side=side, volume=volume)
    compute()
    lots = {
        (one.environment, one.name): one.value
        for one in Figure.objects.filter(name__startswith="exposure.", label="EURUSD")
    }
    assert lots["LIVE", "exposure.lots.BUY"] == Decimal("0.3")
    assert lots["LIVE", "exposure.lots.SELL"] == Decimal("0.1")
    assert lots["DEMO", "exposure.lots.BUY"] == Decimal("0.05")
    assert lots["LIVE", "exposure.value.BUY"] == 30_000 * Decimal("1.20010")  # what buying that many euros costs
    assert lots["LIVE", "exposure.value.SELL"] == 10_000 * Decimal("1.20000")


def level_of(who: CastMember) -> str:
    """The group an account belongs to, by the arithmetic that decides about it."""
    book, market = trading_selectors.book(who.account.pk), trading_selectors.market(timezone.now())
    who.margin.refresh_from_db()
    level = engine.account_state(who.margin, book.positions, market).margin_level
    assert level is not None
    return risk.LEVELS[sum(level >= bound for bound in risk.BOUNDS)]


def test_margin_levels_are_those_that_the_desk_acts_on(clock: time_machine.Traveller, market: Push) -> None:
    chance, clients = Random(7), []
    for index in range(14):
        who = trader(margin="1500.00" if index % 2 else "4000.00", currency=("USD", "EUR", "GBP", "CHF")[index % 4])
        for symbol in chance.sample(["EURUSD", "GBPUSD", "USDJPY", "USDCHF", "GBPJPY"], 2):
            place(who, symbol=symbol, side=chance.choice(["BUY", "SELL"]), volume=chance.choice(["0.05", "0.20"]))
        if Position.objects.filter(account=who.account).exists():
            clients.append(who)
    market(EURUSD=("1.23000", "1.23010"), GBPUSD=("1.36000", "1.36012"), USDJPY=("111.900", "111.910"))
    expected = Counter(level_of(who) for who in clients)
    assert len(expected) > 2, "the prices spread the accounts over the groups"
    found = {one.label: one.value for one in read("margin_levels", timezone.now())}
    assert found == expected


def test_an_account_that_cannot_be_valued_is_told_of(clock: time_machine.Traveller, market: Push) -> None:
    opened(trader(currency="EUR"), symbol="USDJPY")
    assert {one.label for one in read("margin_levels", timezone.now())} <= set(risk.LEVELS)
    # Yen come to euros through the dollar, by this pair and no other.
    prices.forget("EURUSD")
    (only,) = read("margin_levels", timezone.now())
    assert (only.label, only.value) == (risk.UNPRICED, 1)


def test_nothing_open_is_nothing_told(clock: time_machine.Traveller, market: Push) -> None:
    assert read("margin_levels", timezone.now()) == []
    assert read("exposure", timezone.now()) == []


def test_stop_outs_are_counted_and_the_latest_listed(
    clock: time_machine.Traveller, market: Push, compute: Compute
) -> None:
    alice = trader(margin="500.00")
    opened(alice, volume="0.10")
    market(EURUSD=("1.15300", "1.15310"))
    run_risk()
    assert MarginEvent.objects.filter(kind="STOP_OUT").count() == 1
    compute()
    assert figure("margin.events", environment="LIVE", label="STOP_OUT") == 1
    told = Figure.objects.get(name="stop_out.equity")
    event = MarginEvent.objects.get(kind="STOP_OUT")
    assert (told.label, told.value, told.moment) == (alice.account.number, event.equity, event.created_at)


def test_prices_are_stale_where_their_instrument_says_so(clock: time_machine.Traveller, market: Push) -> None:
    clock.shift(30)
    market(EURUSD=("1.20000", "1.20010"))
    clock.shift(45)
    found = {one.label: one.name for one in read("prices", timezone.now()) if one.name.startswith("price.")}
    assert (found["EURUSD"], found["GBPUSD"]) == ("price.fresh", "price.stale")


# --- Latency --------------------------------------------------------------------------------------------------------

_SERVED = """
from core import metrics
for seconds, status in [(0.02, 200)] * 90 + [(0.2, 200)] * 8 + [(60, 500)] * 2:
    metrics.REQUEST_SECONDS.labels("GET", "api/v1/wallets", status).observe(seconds)
metrics.REQUEST_SECONDS.labels("GET", "health/ready", 200).observe(9)
metrics.RETRIES.labels("40P01").inc(3)
"""


def serve(folder: Path) -> None:
    """Let another process count requests, as a web worker does, and end."""
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder)}
    subprocess.run([sys.executable, "-c", _SERVED], check=True, env=environment, cwd=ROOT)


def test_latency_is_read_from_what_all_processes_count(
    clock: time_machine.Traveller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    system._scrapes.clear()
    serve(tmp_path)
    found = {(one.name, one.label): one.value for one in read("metrics", timezone.now())}
    for label in ("", "GET /api/v1/wallets"):
        assert (found["latency.requests", label], found["latency.failed", label]) == (100, 2)
        assert found["latency.p50", label] == Decimal("0.025")
        assert found["latency.p95", label] == Decimal("0.25")
    assert found["retries", "40P01"] == 3
    clock.shift(60)
    serve(tmp_path)
    found = {(one.name, one.label): one.value for one in read("metrics", timezone.now())}
    assert (found["metrics.window", ""], found["latency.requests", ""], found["retries", "40P01"]) == (60, 100, 3)
    system._scrapes.clear()


def test_counters_that_began_anew_count_from_there() -> None:
    key, other = ("desk_x_total", ()), ("desk_y_total", ())
    before: system.Samples = {key: Decimal(10), other: Decimal(4)}
    assert system.growth(before, {key: Decimal(3), other: Decimal(9)}) == {key: 3, other: 5}


def test_without_metrics_the_board_says_what_to_do(
    clock: time_machine.Traveller, monkeypatch: pytest.MonkeyPatch, compute: Compute
) -> None:
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    assert compute()["failed"] == 0
    assert not Figure.objects.filter(set__source="metrics").exists()
    assert "No metrics source: set PROMETHEUS_MULTIPROC_DIR" in page(office("finance"), "dashboards/operations")


# --- Keeping figures ------------------------------------------------------------------------------------------------


def store(as_of: datetime, *readings: Reading, note: str = "") -> bool:
    return figures.store_figures(
        source="test", day=NOON.date(), readings=readings, as_of=as_of, is_final=False, note=note
    )


def test_an_older_look_never_replaces_a_later_one(clock: object) -> None:
    assert store(NOON, Reading("x", 1, "items"), Reading("y", 1, "items"))
    ids = dict(Figure.objects.values_list("name", "id"))
    assert store(NOON + DAY, Reading("x", 2, "items"))
    assert not store(NOON, Reading("x", 3, "items"), Reading("z", 3, "items"))
    assert list(Figure.objects.values_list("id", "name", "value")) == [(ids["x"], "x", 2)]


def test_runs_at_once_leave_one_whole_set(committed_db: Clone) -> None:
    """Whoever looked last is believed, and nothing of the others is left."""
    start, faults = threading.Barrier(4), []

    def run(number: int) -> None:
        try:
            start.wait()
            for turn in range(10):
                moment = NOON + timedelta(seconds=10 * number + turn)
                names = [f"f{index}" for index in range(number, number + 5)]
                store(moment, *(Reading(name, 100 * number + turn, "items") for name in reversed(names)))
        except Exception as fault:  # noqa: BLE001 - the test's own thread reports it
            faults.append(fault)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert FigureSet.objects.get().as_of == NOON + timedelta(seconds=39)
    assert dict(Figure.objects.values_list("name", "value")) == {f"f{index}": 309 for index in range(3, 8)}


def test_old_figures_go(clock: time_machine.Traveller, compute: Compute) -> None:
    store(NOON, Reading("x", 1, "items"))
    clock.shift(40 * DAY)
    assert compute(keep=40)["purged"] == 0
    clock.shift(DAY)
    assert compute(keep=40)["purged"] == 1
    assert not Figure.objects.filter(set__source="test").exists()


def test_a_source_that_cannot_be_read_keeps_its_figures_and_fails_the_job(
    clock: time_machine.Traveller, monkeypatch: pytest.MonkeyPatch, compute: Compute
) -> None:
    compute()
    clock.shift(60)

    def broken(_start: datetime, _end: datetime) -> Iterator[Reading]:
        yield Reading("queue.waiting", 99, "items", label="Deposits")
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 / 0")

    monkeypatch.setitem(READERS, "queues", readers.Reader("queues", readers.Tells.NOW, broken))
    with pytest.raises(CommandError, match="not every source could be read"):
        compute()
    assert figure("queue.waiting", label="Deposits") == 0
    as_of = dict(FigureSet.objects.filter(day=NOON.date()).values_list("source", "as_of"))
    assert (as_of["queues"], as_of["people"]) == (NOON + timedelta(seconds=1), NOON + timedelta(seconds=62))
    assert JobRun.objects.latest("id").counts["failed"] == 1


def test_a_reader_cannot_write(committed_db: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    def writing(_start: datetime, _end: datetime) -> Iterator[Reading]:
        JobRun.objects.create(name="by a reader")
        yield Reading("x", 1, "items")

    for source in list(READERS):
        monkeypatch.delitem(READERS, source)
    monkeypatch.setitem(READERS, "test", readers.Reader("test", readers.Tells.NOW, writing))
    with pytest.raises(CommandError, match="not every source"):
        call_command("compute_figures")
    assert not JobRun.objects.filter(name="by a reader").exists()
    assert not FigureSet.objects.exists()


def test_another_part_of_the_back_office_adds_its_queue(
    clock: object, monkeypatch: pytest.MonkeyPatch, compute: Compute
) -> None:
    JobRun.objects.create(name="x", started_at=NOON - timedelta(hours=30))

    def errands(_start: datetime, end: datetime) -> Iterator[Reading]:
        yield from readers.waiting("Errands", JobRun.objects.filter(name="x"), since="started_at", at=end)

    monkeypatch.setitem(READERS, "errands", readers.Reader("errands", readers.Tells.NOW, errands))
    compute()
    assert (figure("queue.waiting", label="Errands"), figure("queue.oldest", label="Errands")) == (1, 30 * 3600 + 1)
    assert "1 d 6 h" in page(office("auditor"), "dashboards/operations")
    with pytest.raises(AssertionError, match="two sources"):
        readers.now("errands")(errands)


# --- Looking at them ------------------------------------------------------------------------------------------------

#: What any page of the back office asks for.
_ANY_PAGE = re.compile(
    r'"(dashboards_|django_session|django_content_type|auth_|accounts_user|accounts_staffsession|otp_)'
)


@pytest.mark.parametrize("path", PAGES)
def test_a_page_reads_figures_and_no_other_table(clock: object, market: Push, path: str, compute: Compute) -> None:
    alice = trader()
    opened(alice)
    deposit(alice, "10.00")
    compute()
    client = office("finance")
    client.get(f"/admin/{path}")
    with CaptureQueriesContext(connection) as queries:
        page(client, path)
    tables = {name for query in queries for name in re.findall(r'(?:FROM|JOIN|INTO|UPDATE) ("\w+)', query["sql"])}
    assert tables
    assert {name for name in tables if not _ANY_PAGE.match(name)} == set()
    asked = [query["sql"] for query in queries if '"dashboards_' in query["sql"]]
    assert 2 <= len(asked) <= 4


@pytest.mark.parametrize("role,may", [("kyc", True), ("finance", True), ("dealing", True), ("auditor", True),
                                      ("support", False), ("admin", False)])  # fmt: skip
def test_roles_see_what_is_theirs(clock: object, role: str, may: bool, compute: Compute) -> None:
    compute()
    client = office(role)
    for path in PAGES[1:]:
        assert client.get(f"/admin/{path}").status_code == (200 if may else 403)
        assert client.post(f"/admin/{path}").status_code == (405 if may else 403)
    assert ("Sign-ups today" in page(client)) is may
    assert ("/admin/dashboards/risk" in page(client)) is may
    assert ("desk-doors" in page(client)) is not may


def test_sums_of_money_take_the_right_to_see_entries(clock: object, compute: Compute) -> None:
    from django.contrib.auth.models import Group, Permission

    deposit(make_client(), "250.00")
    compute()
    client = office("dealing")
    assert "Net deposits today" in page(client)
    Group.objects.get(name="dealing").permissions.remove(Permission.objects.get(codename="view_entry"))
    assert client.get("/admin/dashboards/money").status_code == 403
    assert client.get("/admin/dashboards/figure/").status_code == 403
    assert "Net deposits" not in page(client)
    assert "250" not in page(client)
    assert client.get("/admin/dashboards/risk").status_code == 200


@pytest.mark.parametrize("path", PAGES)
def test_an_empty_board_says_how_to_fill_it(clock: object, path: str) -> None:
    assert "Run `python manage.py compute_figures`" in page(office("auditor"), path)


@pytest.mark.parametrize("path", PAGES)
def test_old_figures_are_called_old(clock: time_machine.Traveller, path: str, compute: Compute) -> None:
    compute()
    client = office("auditor")
    clock.shift(15 * 60)
    assert "As of 2026-11-18 12:00:01 UTC, 15 min ago" in page(client, path)
    assert "older than 15 minutes" not in page(client, path)
    clock.shift(1)
    assert "older than 15 minutes" in page(client, path)
    assert "compute_figures --watch" in page(client, path)


def charts(html: str) -> list[dict[str, Any]]:
    return [json.loads(data) for data in re.findall(r'data-value="(\{.*?\})"', html)]


def test_charts_hold_a_month_of_exact_figures(clock: time_machine.Traveller, compute: Compute) -> None:
    deposit(make_client(), "250.10")
    clock.shift(DAY)
    deposit(make_client(), "1.20")
    compute()
    flows = charts(page(office("finance"), "dashboards/money"))[0]
    assert (len(flows["labels"]), flows["labels"][-2:]) == (30, ["18 Nov", "19 Nov"])
    assert flows["datasets"][0]["data"][-3:] == ["0", "250.1", "1.2"]


def test_demo_is_marked_and_in_no_sum_of_live(clock: object, compute: Compute) -> None:
    deposit(make_client(), "250.00")
    deposit(make_client(environment="DEMO"), "99.00")
    compute()
    live, _, demo = page(office("finance"), "dashboards/money").partition('<span class="desk-demo">DEMO</span>')
    assert "250.00" in live
    assert "99.00" not in live
    assert "99.00" in demo
    assert "250.00" not in demo


def test_a_currency_that_nobody_has_is_not_shown(clock: object, compute: Compute) -> None:
    deposit(make_client(), "250.00")
    deposit(make_client(currency="EUR"), "70.00")
    compute()
    client = office("finance")
    assert "70.00" in page(client, "dashboards/money?currency=EUR")
    assert "250.00" in page(client, "dashboards/money?currency=USD")
    assert "70.00" in page(client, "dashboards/money?currency=XXX")


def test_a_ledger_whose_sides_differ_is_told_of(clock: object, compute: Compute) -> None:
    deposit(make_client(), "250.00")
    compute()
    client = office("auditor")
    assert "the ledger may be broken" not in page(client, "dashboards/money")
    known = FigureSet.objects.get(source="money", day=NOON.date())
    Figure.objects.create(
        set=known, name="ledger.client", environment="LIVE", currency="USD", label="SWAP", value=1, unit="USD"
    )
    assert "the ledger may be broken" in page(client, "dashboards/money")


@pytest.mark.parametrize(
    "seconds,text", [(0, "0 s"), (59, "59 s"), (61, "1 min 1 s"), (3600, "1 h"), (90_061, "1 d 1 h")]
)
def test_ages_are_told_in_two_units(seconds: int, text: str) -> None:
    assert shapes.duration(seconds) == text


@pytest.mark.parametrize(
    "amount,currency,text",
    [("1234567.891", "USD", "1,234,567.89"), ("-1234.5", "USD", "−1,234.50"), ("-0.001", "USD", "0.00"),
     ("1234", "JPY", "1,234")],
)  # fmt: skip
def test_money_is_written_in_its_currency(amount: str, currency: str, text: str) -> None:
    assert shapes.money(Decimal(amount), currency) == text


@pytest.mark.parametrize("value,text", [("1000.00000000", "1,000.00"), ("0.9125000000", "0.9125"), ("-0.5", "-0.50")])
def test_lists_leave_out_zeros_that_say_nothing(value: str, text: str) -> None:
    assert readable(Decimal(value)) == text


def test_lists_write_moments_and_numbers_to_be_compared(clock: object, market: Push) -> None:
    opened(trader(), volume="0.10")
    client = office("auditor")
    shown = page(client, "trading/order/")
    assert "2026-11-18 12:00:00" in shown
    assert ">0.10</td>" in shown
    assert "0.1000" not in shown


def test_browsers_find_the_icon(db: None) -> None:
    response = Client().get("/favicon.ico")
    assert response.status_code == 302
    assert response.headers["Location"].endswith("back_office/icon.svg")


def test_a_reader_that_has_nothing_says_why(clock: object, monkeypatch: pytest.MonkeyPatch, compute: Compute) -> None:
    store(NOON, Reading("x", 1, "items"))

    def nothing(_start: datetime, _end: datetime) -> Iterator[Reading]:
        raise NothingToRead("Buy a thermometer.")

    monkeypatch.setitem(READERS, "test", readers.Reader("test", readers.Tells.NOW, nothing))
    compute()
    assert (FigureSet.objects.get(source="test").note, Figure.objects.filter(set__source="test").count()) == (
        "Buy a thermometer.",
        0,
    )
