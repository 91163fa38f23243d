"""However many jobs accrue and pay at once, and whatever dies under them, a deal pays a level once."""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from threading import Barrier
from typing import TYPE_CHECKING, Any

import pytest

from tests.database import Clone
from tests.faults.kill import AFTER_COMMIT, BEFORE_COMMIT, Fault, session_dies, worker_dies

if TYPE_CHECKING:  # models cannot be imported before the settings are made
    from uuid import UUID

    from tests.cast import CastMember
    from tests.trading.prices import Push

D = Decimal
JOBS = 4
SECONDS_UNDER_FIRE = 10.0
SECONDS_MAX = 40.0

#: What the standard plan's 5.00, 1.00 and 0.50 come to when 60 % of 10.00 of spread is all there is.
SHARES = [(1, D("4.61")), (2, D("0.92")), (3, D("0.46"))]


@pytest.fixture
def market(committed_db: Clone) -> Push:
    from tests.trading import prices

    return prices.open_market()


@pytest.fixture
def family(market: Push) -> tuple[CastMember, list[CastMember], UUID]:
    """A client, those who referred them, and a deal of theirs to copy."""
    from tests.concurrency.accruing import idle_deal
    from tests.referrals.deals import lineage, plan

    plan()
    client, chain = lineage()
    return client, chain, idle_deal(client, market)


def each_deal_paid_each_level_once(deals: int) -> None:
    from django.db.models import Count

    from referrals.models import Accrual, Commission

    assert Accrual.objects.filter(outcome="ACCRUED").count() == Accrual.objects.count() == deals
    groups = Commission.objects.values_list("level", "amount").annotate(
        count=Count("pk"), deals=Count("deal", distinct=True)
    )
    assert sorted(groups) == [(level, amount, deals, deals) for level, amount in SHARES]


def books_are_clean() -> None:
    from django.db import transaction

    from core import snapshot
    from referrals.verification import verify_commissions
    from tests.trading import nights

    with transaction.atomic():
        snapshot.take()
        report = verify_commissions()
    assert report.is_clean, report.breaks
    nights.books_are_clean()


def at_once(count: int, act: Any) -> list[Any]:
    """Let so many threads act at the same moment."""
    from django.db import connections

    together = Barrier(count)

    def run(_: int) -> Any:
        try:
            together.wait(30)
            return act()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


@pytest.mark.timeout(120)
def test_jobs_that_are_killed_at_random_leave_every_deal_paid_once(
    family: tuple[CastMember, list[CastMember], UUID],
) -> None:
    """Four processes share what comes in, and one of them is killed twice a second."""
    from tests.concurrency import accruing

    _, _, deal = family
    dice, made = random.Random(4), 1
    jobs = accruing.Jobs(JOBS, batch=5)
    started = time.monotonic()
    try:
        jobs.start()
        kill_at = started
        while time.monotonic() < started + SECONDS_UNDER_FIRE:
            accruing.copy_deal(deal, 5)
            made += 5
            if time.monotonic() > kill_at:
                jobs.kill_one(dice)
                kill_at = time.monotonic() + dice.uniform(0.2, 0.8)
            time.sleep(0.05)
        while accruing.waiting() and time.monotonic() < started + SECONDS_MAX:
            time.sleep(0.1)
    finally:
        jobs.stop()
    assert jobs.kills >= 10
    assert made >= 100
    each_deal_paid_each_level_once(made)
    books_are_clean()


def test_jobs_at_once_share_the_deals(family: tuple[CastMember, list[CastMember], UUID]) -> None:
    from tests.concurrency import accruing
    from tests.referrals.deals import run

    accruing.copy_deal(family[2], 199)
    counts = at_once(JOBS, lambda: run("accrue_commissions", batch=10))
    assert sum(count["deals"] for count in counts) == 200
    assert sum(count["commissions"] for count in counts) == 600
    each_deal_paid_each_level_once(200)


def test_a_deal_that_commits_late_is_not_missed(family: tuple[CastMember, list[CastMember], UUID]) -> None:
    """It was made before deals that are decided about, and shows up only after them."""
    from threading import Event

    from django.db import connections, transaction

    from tests.concurrency import accruing
    from tests.referrals.deals import run

    is_made, may_commit = Event(), Event()

    def late() -> None:
        try:
            with transaction.atomic():
                accruing.copy_deal(family[2], 3)
                is_made.set()
                assert may_commit.wait(30)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(late)
        assert is_made.wait(30)
        accruing.copy_deal(family[2], 5)
        assert run("accrue_commissions")["deals"] == 6  # those five, and the one that they were copied from
        may_commit.set()
        slow.result(30)
    assert run("accrue_commissions")["deals"] == 3
    each_deal_paid_each_level_once(9)


def test_payouts_at_once_pay_each_referrer_once(family: tuple[CastMember, list[CastMember], UUID]) -> None:
    from tests.concurrency import accruing
    from tests.referrals.deals import cash, run
    from wallets.models import LedgerTransaction

    _, chain, deal = family
    accruing.copy_deal(deal, 99)
    run("accrue_commissions")
    at_once(JOBS, lambda: run("pay_commissions", hold_days=0, batch=50))
    # Whoever approved last may have come after everybody else had paid.
    run("pay_commissions", hold_days=0)
    assert [cash(who) for who in chain] == [D("461.00"), D("92.00"), D("46.00")]
    assert LedgerTransaction.objects.filter(type="REFERRAL").count() <= 3 * (JOBS + 1)
    books_are_clean()


def test_a_commission_reversed_while_it_is_paid_is_taken_back_or_never_paid(
    family: tuple[CastMember, list[CastMember], UUID],
) -> None:
    from contextlib import suppress

    from django.utils import timezone

    from core.errors import Contended
    from referrals.models import Commission
    from referrals.services import approvals, reversals
    from tests.cast import carol_staff
    from tests.concurrency import accruing
    from tests.referrals.deals import cash, run

    _, chain, deal = family
    actor = carol_staff().actor
    accruing.copy_deal(deal, 19)
    run("accrue_commissions")
    approvals.approve_due(created_before=timezone.now())
    ids = list(Commission.objects.filter(level=1).order_by("id").values_list("pk", flat=True))

    def reverse_all() -> None:
        for id_ in ids:
            while True:
                with suppress(Contended):
                    reversals.reverse_commission(commission_id=id_, reason="wash trading", actor=actor)
                    break

    def pay_all() -> None:
        run("pay_commissions", hold_days=0)

    sides = [reverse_all, pay_all]
    at_once(2, lambda: sides.pop()())  # noqa: PLW0108 - each takes a side of its own
    assert set(Commission.objects.filter(level=1).values_list("status", flat=True)) == {"REVERSED"}
    assert cash(chain[0]) == 0
    books_are_clean()


@pytest.mark.timeout(300)
def test_whenever_a_job_dies_the_next_one_finishes_it(
    committed_db: Clone, family: tuple[CastMember, list[CastMember], UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before, between and within accruing, approving and paying, and around COMMIT: first its session, then it."""
    from contextlib import suppress

    from django.core.management import CommandError
    from django.db import OperationalError, connection

    from core.errors import DomainError
    from tests.concurrency import accruing
    from tests.referrals.deals import cash, run

    _, chain, deal = family
    deals = 1

    def sweep() -> None:
        run("accrue_commissions")
        run("pay_commissions", hold_days=0)

    def everything_is_paid_once() -> None:
        each_deal_paid_each_level_once(deals)
        assert [cash(who) for who in chain] == [amount * deals for _, amount in SHARES]

    with session_dies(committed_db.url, 0, monkeypatch) as counting:
        sweep()
    assert counting.statements > 30
    everything_is_paid_once()
    for at in moments(counting):
        accruing.copy_deal(deal, 1)
        deals += 1
        with (
            suppress(CommandError, OperationalError, DomainError),
            session_dies(committed_db.url, at, monkeypatch) as fault,
        ):
            sweep()
        assert fault.struck, at
        connection.close()
        sweep()
        everything_is_paid_once()
    for at in moments(counting)[::4]:
        accruing.copy_deal(deal, 1)
        deals += 1
        worker_dies(at, monkeypatch, sweep)
        sweep()
        everything_is_paid_once()
    books_are_clean()


def moments(counting: Fault) -> list[Any]:
    return [BEFORE_COMMIT, *range(1, counting.statements + 1), AFTER_COMMIT]
