"""What a closing deal pays, to whom, and when it pays nothing."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from accounts.models import User
from accounts.services import referrers
from referrals.models import Accrual, Commission
from tests import database
from tests.cast import carol_staff, make_client
from tests.referrals.deals import close_part, closed, lineage, opened, outcome, plan, rewards, run
from tests.trading.prices import Push
from trading.models import Deal, Instrument, Position
from wallets.models import BankAccount

D = Decimal


def accrue(**options: Any) -> dict[str, Any]:
    return run("accrue_commissions", **options)


def test_a_closed_lot_pays_three_levels(market: Push) -> None:
    plan()
    client, chain = lineage()
    deal = closed(client)
    counts = accrue()
    # Earned: 2 · 3.50 commission and 10 points · 100,000 = 10.00 of spread; 60 % of 17.00 is 10.20.
    accrual = Accrual.objects.get(pk=deal)
    assert (accrual.commission, accrual.spread, accrual.revenue, accrual.pool) == (7, 10, 17, D("10.20"))
    assert rewards(deal) == [(1, chain[0].id, 5), (2, chain[1].id, 1), (3, chain[2].id, D("0.50"))]
    assert counts == {
        "job": "accrue_commissions",
        "deals": 1,
        "commissions": 3,
        "first_deposits": 0,
        "accrued": 1,
        "amounts": {"USD": "6.50"},
    }


def test_ten_lots_pay_what_the_published_example_says(market: Push) -> None:
    plan(rates=["3", "1", "2"])
    client, chain = lineage(margin=D("1000000.00"))
    deal = closed(client, volume="10")
    accrue()
    assert rewards(deal) == [(1, chain[0].id, 30), (2, chain[1].id, 10), (3, chain[2].id, 20)]


def test_a_deal_is_decided_about_once(market: Push) -> None:
    plan()
    client, _ = lineage()
    deal = closed(client)
    accrue()
    before = rewards(deal)
    assert accrue()["deals"] == 0
    assert rewards(deal) == before


def test_every_level_gives_way_alike_where_the_cap_bites(market: Push) -> None:
    plan(rates=["20", "4", "2"])  # 26.00, of which 10.20 may be paid
    client, _ = lineage()
    deal = closed(client)
    accrue()
    assert [amount for _, _, amount in rewards(deal)] == [D("7.84"), D("1.56"), D("0.78")]


def test_parts_of_a_position_are_rewarded_one_by_one(market: Push) -> None:
    plan()
    client, _ = lineage(1)
    position = opened(client, volume="1")
    parts = [close_part(client, position, volume) for volume in ("0.25", "0.25", "ALL")]
    accrue()
    assert [rewards(deal)[0][2] for deal in parts] == [D("1.25"), D("1.25"), D("2.50")]


def test_an_instruments_weight_counts(market: Push) -> None:
    plan(weights={"EURUSD": "0.1"})
    client, _ = lineage(1)
    deal = closed(client)
    accrue()
    assert rewards(deal)[0][2] == D("0.50")


def test_a_percentage_is_of_the_commission(market: Push) -> None:
    plan(kind="PERCENT_OF_COMMISSION", currency="", rates=["20", "5"])
    client, chain = lineage(3)
    deal = closed(client)
    accrue()
    assert rewards(deal) == [(1, chain[0].id, D("1.40")), (2, chain[1].id, D("0.35"))]


def test_a_symbol_without_commission_pays_out_of_its_spread(market: Push) -> None:
    plan()
    Instrument.objects.filter(pk="EURUSD").update(commission_per_lot=0)
    client, _ = lineage()
    deal = closed(client)
    accrue()
    # 60 % of 10.00 of spread
    assert [amount for _, _, amount in rewards(deal)] == [D("4.61"), D("0.92"), D("0.46")]


def test_an_account_in_another_currency_pays_in_it_by_the_deals_own_prices(market: Push) -> None:
    plan()
    client, chain = lineage(1, currency="EUR")
    deal = closed(client)
    accrue()
    # 5.00 dollars at 1.20000, the bid: buying dollars is selling euros
    assert rewards(deal) == [(1, chain[0].id, D("4.16"))]
    assert Commission.objects.get().currency == "EUR"


def test_a_currency_the_deal_never_met_pays_nothing_rather_than_a_guess(market: Push) -> None:
    plan(currency="GBP")
    client, _ = lineage()
    deal = closed(client)
    accrue()
    assert (outcome(deal), rewards(deal)) == ("NO_RATE", [])


# --- Who -------------------------------------------------------------------------------------------------------------


def test_a_client_nobody_referred_never_waits(market: Push) -> None:
    plan()
    deal = closed(make_client(margin=D("10000.00")))
    assert outcome(deal) == "UNREFERRED"
    assert accrue()["deals"] == 0


def test_demo_money_earns_nobody_anything(market: Push) -> None:
    plan()
    client, _ = lineage(environment="DEMO")
    deal = closed(client)
    assert not Accrual.objects.filter(pk=deal).exists()
    assert accrue()["deals"] == 0


def test_an_opening_is_not_rewarded(market: Push) -> None:
    plan()
    client, _ = lineage()
    opened(client, volume="1")
    assert not Accrual.objects.exists()


def test_who_referred_the_client_when_the_deal_was_made_is_paid(market: Push) -> None:
    plan()
    client, chain = lineage(1)
    deal = closed(client)
    carol, dora = carol_staff(), carol_staff(email="dora@example.com", name="Dora Dean")
    for moved in (client, chain[0]):
        change = referrers.propose_referrer(
            client_id=moved.user.pk, referrer_id=make_client().user.pk, reason="A letter", actor=carol.actor
        )
        referrers.approve_referrer(change_id=change.pk, reason="Read it", actor=dora.actor)
    accrue()
    assert [(level, referrer) for level, referrer, _ in rewards(deal)] == [(1, chain[0].id)]


def test_who_shares_a_bank_account_with_the_client_is_passed_over_from_then_on(market: Push) -> None:
    plan()
    client, chain = lineage(2)
    before = closed(client)
    for owner in (client.user, chain[0].user):
        BankAccount.objects.create(
            owner=owner, holder="H", bank_name="B", code_type="IBAN", number_encrypted=b"-", number_hash=b"one",
            number_last_four="0000",
        )  # fmt: skip
    after = closed(client)
    accrue()
    assert [(level, referrer) for level, referrer, _ in rewards(before)] == [(1, chain[0].id), (2, chain[1].id)]
    assert (outcome(after), rewards(after)) == ("NOBODY_ENTITLED", [])


def test_somebody_who_is_no_longer_active_is_passed_over_and_nobody_moves_up(market: Push) -> None:
    plan()
    client, chain = lineage()
    User.objects.filter(pk=chain[0].user.pk).update(is_active=False)
    deal = closed(client)
    accrue()
    assert rewards(deal) == [(2, chain[1].id, 1), (3, chain[2].id, D("0.50"))]


def test_where_incentives_are_barred_nothing_is_paid(market: Push) -> None:
    plan(countries_barred=["BE"])
    client, _ = lineage(country="BE")
    deal = closed(client)
    accrue()
    assert (outcome(deal), rewards(deal)) == ("COUNTRY_BARRED", [])


def test_a_referrer_who_lives_there_is_passed_over(market: Push) -> None:
    plan(countries_barred=["BE"])
    client, chain = lineage(2)
    User.objects.filter(pk=chain[0].user.pk).update(country="BE")
    deal = closed(client)
    accrue()
    assert rewards(deal) == [(2, chain[1].id, 1)]


def test_where_nobody_is_entitled_the_deal_says_so(market: Push) -> None:
    plan()
    client, chain = lineage(1)
    User.objects.filter(pk=chain[0].user.pk).update(is_active=False)
    deal = closed(client)
    accrue()
    assert (outcome(deal), rewards(deal)) == ("NOBODY_ENTITLED", [])


def test_a_circle_would_pay_nobody_for_themselves(market: Push) -> None:
    plan()
    client, chain = lineage(2)
    User.objects.filter(pk=chain[0].user.pk).update(referred_by=client.user)
    deal = closed(client)
    accrue()
    assert [(level, referrer) for level, referrer, _ in rewards(deal)] == [(1, chain[0].id), (3, chain[0].id)]


# --- When ------------------------------------------------------------------------------------------------------------


def test_a_position_closed_too_soon_pays_nothing(market: Push) -> None:
    plan()
    client, _ = lineage()
    short = closed(client, held=timedelta(seconds=170))
    long = closed(client, held=timedelta(seconds=181))
    accrue()
    assert (outcome(short), outcome(long)) == ("HELD_TOO_SHORT", "ACCRUED")
    assert rewards(short) == []


def test_without_a_plan_nothing_is_paid_then_or_later(market: Push) -> None:
    client, _ = lineage()
    deal = closed(client)
    accrue()
    plan()
    assert accrue()["deals"] == 0
    assert (outcome(deal), rewards(deal)) == ("NO_PLAN", [])


def test_the_plan_that_was_in_force_then_counts(market: Push) -> None:
    plan()
    client, _ = lineage(1)
    before = closed(client)
    plan(version=2, rates=["1.00"])
    after = closed(client)
    accrue()
    assert [rewards(deal)[0][2] for deal in (before, after)] == [5, 1]


def test_a_share_that_rounds_to_nothing_is_none(market: Push) -> None:
    plan(rates=["0.001"])
    client, _ = lineage()
    deal = closed(client)
    accrue()
    assert (outcome(deal), rewards(deal)) == ("NOTHING_LEFT", [])


def test_a_loss_that_the_house_made_good_is_no_revenue(market: Push) -> None:
    plan()
    client, _ = lineage(margin=D("5000.00"))
    position = opened(client, volume="1")
    market(EURUSD=("1.14000", "1.14010"))  # 6,010 down on 5,000
    deal = close_part(client, position, "ALL")
    assert Deal.objects.get(pk=deal).compensation > 17
    accrue()
    assert (outcome(deal), Accrual.objects.get(pk=deal).revenue) == ("NOTHING_LEFT", 0)


def test_a_deal_that_cannot_be_read_holds_nobody_up(market: Push) -> None:
    plan()
    client, _ = lineage(1)
    broken, sound = closed(client), closed(client)
    with database.unguarded() as cursor:
        cursor.execute("UPDATE trading_deal SET inputs = inputs - 'quote' WHERE id = %s", [broken])
    counts = accrue()
    assert (outcome(broken), outcome(sound)) == ("UNREADABLE", "ACCRUED")
    assert counts["unreadable"] == 1


# --- How -------------------------------------------------------------------------------------------------------------


def test_a_dry_run_counts_the_same_and_writes_nothing(market: Push) -> None:
    plan()
    client, _ = lineage()
    for _ in range(3):
        closed(client)
    shown = accrue(dry_run=True, batch=2)
    assert Commission.objects.count() == 0
    assert shown == accrue(batch=2)
    assert shown["commissions"] == 9


def test_accruing_touches_no_wallet(market: Push) -> None:
    plan()
    client, chain = lineage()
    closed(client)
    before = [(who.cash.balance, who.cash.version) for who in chain]
    with connection.execute_wrapper(_no_wallets):
        accrue()
    for who in chain:
        who.cash.refresh_from_db()
    assert [(who.cash.balance, who.cash.version) for who in chain] == before


def _no_wallets(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
    assert "wallets_wallet" not in sql
    return execute(sql, params, many, context)


def test_waiting_deals_are_found_by_an_index_that_holds_nothing_else(market: Push) -> None:
    plan()
    client, _ = lineage(1)
    closed(client)
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("SET LOCAL enable_bitmapscan = off")
        cursor.execute(
            "EXPLAIN SELECT deal_id FROM referrals_accrual WHERE outcome = 'PENDING' ORDER BY deal_id LIMIT 200"
        )
        plan_text = "\n".join(line for (line,) in cursor.fetchall())
    assert "accrual_waiting" in plan_text
    assert "Sort" not in plan_text


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE referrals_accrual SET outcome = 'NO_PLAN'",
        "UPDATE referrals_accrual SET outcome = 'PENDING', accrued_at = NULL",
        "DELETE FROM referrals_accrual",
        "UPDATE referrals_commission SET amount = amount + 1",
        "UPDATE referrals_commission SET owner_id = client_id",
        "UPDATE referrals_commission SET status = 'PAID'",
        "DELETE FROM referrals_commission",
        "UPDATE referrals_commissionplan SET rates = '{9}'",
        "DELETE FROM referrals_commissionplan",
    ],
)
def test_the_database_refuses_to_rewrite_what_was_decided(market: Push, change: str) -> None:
    plan()
    client, _ = lineage(1)
    closed(client)
    accrue()
    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic(), database.as_owner() as cursor:
        cursor.execute(change)


def test_the_database_refuses_a_second_commission_for_a_level(market: Push) -> None:
    plan()
    client, _ = lineage(1)
    closed(client)
    accrue()
    row = Commission.objects.get()
    row.pk = None
    with pytest.raises(IntegrityError, match="commission_deal_level"), transaction.atomic():
        Commission.objects.create(
            owner=row.owner,
            client=row.client,
            deal=row.deal,
            level=1,
            plan=row.plan,
            volume=1,
            amount=1,
            currency="USD",
            created_at=timezone.now(),
        )
    assert Position.objects.count() == 1
