"""Every check of `verify_commissions`, proven by breaking exactly what it guards."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.core.management import CommandError

from referrals import verification
from referrals.models import Commission
from referrals.services import reversals
from tests import database
from tests.cast import CastMember, carol_staff
from tests.referrals.deals import books_are_clean, closed, lineage, pay, plan, run
from tests.referrals.test_first_deposits import WELCOME, deposit
from tests.referrals.test_reversals import spend
from tests.trading.prices import Push


@pytest.fixture
def who(market: Push) -> CastMember:
    """
    A referrer with a commission in every state: one paid that withheld an old debt, one reversed and owed in part, one
    on hold, and one for a first deposit; and a client nobody referred.
    """
    plan(**WELCOME, countries_barred=[])
    plan()
    client, (referrer,) = lineage(1)
    first = closed(client)
    pay()
    spend(referrer, "2.00")
    row = Commission.objects.get(deal=first)
    reversals.reverse_commission(commission_id=row.pk, reason="wash trading", actor=carol_staff().actor)
    closed(client)
    pay()
    deposit(client)
    closed(client, volume="9")
    run("accrue_commissions")
    assert sorted(Commission.objects.values_list("status", flat=True)) == ["PAID", "PENDING", "PENDING", "REVERSED"]
    return referrer


#: What would stand in the way of a corruption, until the test's transaction rolls back.
DROPPED = (
    "ALTER TABLE referrals_commission DROP CONSTRAINT commission_deal_level",
    "ALTER TABLE referrals_commission DROP CONSTRAINT commission_nobody_refers_themselves",
    "ALTER TABLE referrals_commission DROP CONSTRAINT commission_state_has_its_facts",
    "ALTER TABLE referrals_accrual DROP CONSTRAINT accrual_pool_within_the_revenue",
    "ALTER TABLE referrals_debt DROP CONSTRAINT debt_is_settled_when_all_of_it_is",
)


def corrupt(sql: str) -> None:
    """Change rows behind the guards' backs, as only a superuser can."""
    with database.unguarded() as cursor:
        for constraint in DROPPED:
            cursor.execute(constraint)
        cursor.execute(sql)
        assert cursor.rowcount == 1, "the corruption hit its row"


def found() -> dict[str, int]:
    counts = verification.verify_commissions().counts
    return {name: count for name, count in counts.items() if count}


def test_finds_nothing_in_clean_books(who: CastMember) -> None:
    report = verification.verify_commissions()
    assert report.is_clean, report.breaks
    assert report.counts == dict.fromkeys(verification.NAMES, 0)
    assert report.deals == 3


PAID = "(SELECT id FROM referrals_commission WHERE status = 'PAID')"
#: Of the three deals, the one whose commission waits.
WAITING = "(SELECT deal_id FROM referrals_commission WHERE status = 'PENDING' AND deal_id IS NOT NULL)"

CORRUPTIONS: list[tuple[str, str, set[str]]] = [
    (
        "closing_deals_have_their_accrual",
        "DELETE FROM referrals_accrual WHERE deal_id IN " + WAITING,
        {"commissions_fit_what_they_are_for", "deposits_cost_no_more_than_was_earned"},
    ),
    (
        "accruals_are_of_live_closing_deals",
        "UPDATE referrals_accrual SET executed_at = executed_at - interval '1 day' WHERE deal_id IN " + WAITING,
        set(),
    ),
    (
        "accruals_are_of_live_closing_deals",
        "UPDATE accounts_tradingaccount SET environment = 'DEMO' WHERE id IN"
        " (SELECT account_id FROM trading_deal WHERE id IN " + WAITING + ")",
        set(),
    ),
    (
        "levels_are_paid_once",
        "INSERT INTO referrals_commission (id, owner_id, client_id, deal_id, level, plan_id, volume, amount, currency,"
        " status, reason, created_at) SELECT gen_random_uuid(), owner_id, client_id, deal_id, level, plan_id, volume,"
        " 0.01, currency, status, reason, created_at FROM referrals_commission WHERE deal_id IN " + WAITING,
        {verification.RECKONED},
    ),
    (
        "pools_are_within_the_cap",
        "UPDATE referrals_accrual SET pool = revenue WHERE deal_id IN " + WAITING,
        {verification.RECKONED},
    ),
    (
        "commissions_are_within_the_pool",
        "UPDATE referrals_accrual SET pool = 1 WHERE deal_id IN " + WAITING,
        {verification.RECKONED},
    ),
    (
        "deposits_cost_no_more_than_was_earned",
        "UPDATE referrals_commission SET amount = 500 WHERE deposit_id IS NOT NULL",
        set(),
    ),
    (
        "commissions_fit_what_they_are_for",
        "UPDATE referrals_commission SET volume = volume + 1 WHERE deal_id IN " + WAITING,
        set(),
    ),
    (
        "commissions_fit_what_they_are_for",
        "UPDATE referrals_commission SET currency = 'EUR' WHERE deposit_id IS NOT NULL",
        {"deposits_cost_no_more_than_was_earned"},
    ),
    (
        "plans_were_in_force_and_kept",
        "UPDATE trading_position SET opened_at = closed_at WHERE id IN"
        " (SELECT position_id FROM trading_deal WHERE id IN " + WAITING + ")",
        set(),
    ),
    (
        "nobody_refers_themselves",
        "UPDATE referrals_commission SET owner_id = client_id WHERE deposit_id IS NOT NULL",
        set(),
    ),
    (
        "states_have_their_facts",
        "UPDATE referrals_commission SET status = 'PAID' WHERE deposit_id IS NOT NULL",
        set(),
    ),
    (
        "payouts_are_the_sum_of_their_commissions",
        (
            "UPDATE wallets_entry SET amount = amount + 1 WHERE wallet_version IS NOT NULL"
            " AND reason = 'REFERRAL_COMMISSION' AND transaction_id = (SELECT transaction_id FROM referrals_commission"
            " WHERE status = 'PAID')"
        ),
        set(),
    ),
    (
        "payouts_are_the_sum_of_their_commissions",
        (
            "UPDATE wallets_ledgertransaction SET environment = 'DEMO' WHERE id = (SELECT transaction_id"
            " FROM referrals_commission WHERE status = 'PAID')"
        ),
        set(),
    ),
    (
        "reversals_took_back_what_was_paid",
        "UPDATE referrals_debt SET amount = amount + 1",
        set(),
    ),
    (
        "debts_are_the_sum_of_their_settlements",
        "UPDATE referrals_debt SET settled = settled - 1",
        set(),
    ),
    (
        "payouts_withheld_what_was_settled",
        "UPDATE referrals_debtsettlement SET amount = amount + 1",
        {"debts_are_the_sum_of_their_settlements"},
    ),
    (
        "referral_postings_have_their_commission",
        (
            "INSERT INTO wallets_ledgertransaction (id, owner_id, type, environment, actor_id, actor_kind, reason,"
            " reference, idempotency_digest, request_id, posted_at, effective_at)"
            " SELECT gen_random_uuid(), owner_id, 'REFERRAL', environment, actor_id, actor_kind, '', '', '\\x00', '',"
            " now(), now() FROM wallets_ledgertransaction WHERE type = 'REFERRAL' LIMIT 1"
        ),
        set(),
    ),
    (
        verification.RECKONED,
        "UPDATE referrals_accrual SET spread = spread + 0.01, revenue = revenue + 0.01 WHERE deal_id IN " + WAITING,
        set(),
    ),
    (
        verification.RECKONED,
        "UPDATE referrals_commission SET amount = amount - 0.01 WHERE deal_id IN " + WAITING,
        set(),
    ),
]


@pytest.mark.parametrize("check, sql, besides", CORRUPTIONS)
def test_notices(who: CastMember, check: str, sql: str, besides: set[str]) -> None:
    corrupt(sql)
    noticed = found()
    assert noticed.keys() >= {check}
    assert noticed.keys() <= {check} | besides


def test_every_check_has_its_corruption() -> None:
    assert {check for check, _, _ in CORRUPTIONS} == set(verification.NAMES)


@pytest.mark.usefixtures("committed_market")
def test_the_command_fails_on_a_break_and_names_it(capsys: Any) -> None:
    plan()
    client, _ = lineage(1)
    closed(client)
    pay()
    clean = run("verify_commissions")
    assert (clean["breaks"], clean["deals"]) == ([], 1)
    with database.unguarded() as cursor:
        cursor.execute("UPDATE referrals_commission SET amount = amount - 1")
    with pytest.raises(CommandError, match="2 breaks"):
        run("verify_commissions")
    assert Decimal(Commission.objects.get().amount) == 4


def test_a_clean_desk_without_referrals_is_clean(market: Push) -> None:
    books_are_clean()
