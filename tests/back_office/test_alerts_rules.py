"""Each rule raises from where its terms say on, and not a hair before; play money never counts."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.db import transaction

from config.back_office.alerts import telling
from config.back_office.alerts.models import Alert, AlertRule
from core import audit
from core.audit import Actor, ActorKind
from tests import cast
from tests.back_office import suspects
from tests.back_office.suspects import amend, client, found, logs_in, pays_in, takes_out
from tests.cast import CastMember
from tests.trading import prices
from tests.trading.calls import close, place
from tests.wallets import calls
from wallets import ledger
from wallets.models import Kind, Wallet

Code = AlertRule.Code

HOME = "203.0.113.7"
OTHER_IBAN = "FR1420041010050500013M02606"


@pytest.fixture(autouse=True)
def rules(db: None) -> None:
    suspects.load_rules()


def only(code: str) -> Alert:
    (alert,) = found(code)
    return alert


# --- A large deposit ------------------------------------------------------------------------------------------------


def test_a_deposit_of_the_amount_is_large() -> None:
    who = client()
    posting = pays_in(who, "10000.00")
    alert = only(Code.LARGE_DEPOSIT)
    assert (alert.owner_id, alert.status, alert.severity) == (who.user.pk, "OPEN", "MEDIUM")
    assert alert.facts["deposits"][0]["id"] == posting
    assert alert.facts["deposits"][0]["amount"] == "10000.00"


def test_a_deposit_a_cent_below_is_not() -> None:
    pays_in(client(), "9999.99")
    assert found(Code.LARGE_DEPOSIT) == []


def test_what_is_large_depends_on_the_currency() -> None:
    pounds, yen = client(currency="GBP"), client(currency="JPY")
    pays_in(pounds, "8000.00")
    pays_in(yen, "10000")
    assert only(Code.LARGE_DEPOSIT).owner_id == pounds.user.pk


def test_a_deposit_that_was_not_completed_is_none(settings: Any) -> None:
    settings.PAYMENT_PROVIDER = "manual"
    assert calls.deposit(client(), "10000.00").json()["status"] == "PENDING"
    assert found(Code.LARGE_DEPOSIT) == []


# --- Structuring ----------------------------------------------------------------------------------------------------


def test_small_deposits_that_add_up_are_structuring() -> None:
    who = client()
    postings = [pays_in(who, "4000.00", days=3), pays_in(who, "4000.00", days=2), pays_in(who, "2000.00")]
    alert = only(Code.STRUCTURING)
    assert [one["id"] for one in alert.facts["deposits"]] == postings
    assert (alert.facts["total"], alert.facts["from"]) == ("10000.00", "10000.00")


def test_a_cent_less_in_all_is_not() -> None:
    who = client()
    for amount in ("4000.00", "4000.00", "1999.99"):
        pays_in(who, amount)
    assert found(Code.STRUCTURING) == []


def test_fewer_deposits_than_that_are_not() -> None:
    who = client()
    for amount in ("9000.00", "9000.00"):
        pays_in(who, amount)
    assert found(Code.STRUCTURING) == []


def test_deposits_further_apart_are_not() -> None:
    who = client()
    pays_in(who, "4000.00", days=7.001)
    pays_in(who, "4000.00", days=2)
    pays_in(who, "4000.00")
    assert found(Code.STRUCTURING) == []


def test_a_deposit_that_is_large_by_itself_is_no_part_of_it() -> None:
    who = client()
    for amount in ("10000.00", "100.00", "100.00"):
        pays_in(who, amount)
    assert found(Code.STRUCTURING) == []
    assert Alert.objects.get().code == Code.LARGE_DEPOSIT


def test_currencies_and_clients_are_not_added_together() -> None:
    who, other = client(), client()
    for payer in (who, who, other):
        pays_in(payer, "5000.00")
    assert found(Code.STRUCTURING) == []


def test_deposits_that_were_told_of_count_for_no_second_alert() -> None:
    who = client()
    for _ in range(3):
        pays_in(who, "4000.00")
    assert len(found(Code.STRUCTURING)) == 1
    pays_in(who, "4000.00")
    assert len(found(Code.STRUCTURING)) == 1
    for _ in range(2):
        pays_in(who, "4000.00")
    first, second = found(Code.STRUCTURING)
    ids = [{one["id"] for one in alert.facts["deposits"]} for alert in (first, second)]
    assert (len(ids[0]), len(ids[1]), ids[0] & ids[1]) == (3, 3, set())


# --- In and out without trading -------------------------------------------------------------------------------------


def test_taking_most_of_it_out_again_untraded_is_asked_about() -> None:
    who = client()
    deposit = pays_in(who, "1000.00", days=5)
    withdrawal = takes_out(who, "800.00")
    alert = only(Code.IN_AND_OUT)
    assert [one["id"] for one in alert.facts["deposits"]] == [deposit]
    assert [one["id"] for one in alert.facts["withdrawals"]] == [withdrawal]
    assert (alert.facts["paid_in"], alert.facts["paid_out"]) == ("1000.00", "800.00")


def test_taking_out_a_cent_less_is_not() -> None:
    who = client()
    pays_in(who, "1000.00", days=5)
    takes_out(who, "799.99")
    assert found(Code.IN_AND_OUT) == []


def test_parts_are_added_and_told_of_once() -> None:
    who = client()
    pays_in(who, "1000.00")
    takes_out(who, "400.00")
    assert found(Code.IN_AND_OUT) == []
    takes_out(who, "400.00")
    assert len(found(Code.IN_AND_OUT)) == 1
    takes_out(who, "100.00")
    assert len(found(Code.IN_AND_OUT)) == 1


def test_a_withdrawal_that_was_taken_back_is_no_part_of_it() -> None:
    who = client()
    pays_in(who, "1000.00")
    assert calls.cancel(who, takes_out(who, "400.00")).status_code == 200
    takes_out(who, "400.00")
    assert found(Code.IN_AND_OUT) == []


def test_a_deposit_longer_ago_is_not_what_goes_out() -> None:
    who = client()
    pays_in(who, "1000.00", days=30.001)
    takes_out(who, "1000.00")
    assert found(Code.IN_AND_OUT) == []


def test_small_change_is_not_asked_about() -> None:
    who = client()
    pays_in(who, "499.99")
    takes_out(who, "499.99")
    assert found(Code.IN_AND_OUT) == []


@pytest.mark.parametrize("volume,count", [("0.24", 1), ("0.25", 0)])
def test_who_traded_enough_in_between_is_not(volume: str, count: int) -> None:
    """Opened and closed: twice the volume, and from half a lot on nobody asks."""
    prices.open_market()
    who = client(margin=Decimal("50000.00"))
    pays_in(who, "1000.00")
    position = place(who, volume=volume).json()["position"]["id"]
    assert close(who, position, volume="ALL").status_code == 201
    takes_out(who, "1000.00")
    assert len(found(Code.IN_AND_OUT)) == count


# --- A dormant account wakes up -------------------------------------------------------------------------------------


def test_a_large_deposit_after_a_long_silence_is_asked_about() -> None:
    who = client(days_old=400)
    pays_in(who, "50.00", days=181)
    posting = pays_in(who, "2000.00")
    alert = only(Code.DORMANT_WAKING)
    assert [one["id"] for one in alert.facts["deposits"]] == [posting]


def test_a_cent_less_wakes_nobody() -> None:
    pays_in(client(days_old=400), "1999.99")
    assert found(Code.DORMANT_WAKING) == []


def test_a_day_less_is_no_silence() -> None:
    who = client(days_old=400)
    pays_in(who, "50.00", days=179)
    pays_in(who, "2000.00")
    assert found(Code.DORMANT_WAKING) == []


def test_a_newcomer_is_not_dormant() -> None:
    pays_in(client(days_old=179), "2000.00")
    assert found(Code.DORMANT_WAKING) == []


def test_a_small_deposit_first_hides_nothing() -> None:
    who = client(days_old=400)
    pays_in(who, "1.00", days=6)
    pays_in(who, "2000.00")
    assert len(found(Code.DORMANT_WAKING)) == 1


def test_who_has_been_awake_for_longer_is_awake() -> None:
    who = client(days_old=400)
    pays_in(who, "1.00", days=7.001)
    pays_in(who, "2000.00")
    assert found(Code.DORMANT_WAKING) == []


def test_a_large_withdrawal_wakes_too_and_both_are_one_waking() -> None:
    who = client(days_old=400)
    with suspects.ago(days=300):
        fund(who.cash, "5000.00")
    withdrawal = takes_out(who, "2000.00")
    alert = only(Code.DORMANT_WAKING)
    assert [one["id"] for one in alert.facts["withdrawals"]] == [withdrawal]
    pays_in(who, "3000.00")
    assert len(found(Code.DORMANT_WAKING)) == 1


def test_who_trades_is_awake() -> None:
    who = client(days_old=400, margin=Decimal("5000.00"))
    with suspects.ago(days=20):
        prices.open_market()
        assert place(suspects.signed_in(who)).status_code == 201
    pays_in(who, "2000.00")
    assert found(Code.DORMANT_WAKING) == []


def fund(wallet: Wallet, amount: str) -> None:
    with transaction.atomic():
        (locked,) = ledger.lock_wallets(wallet.number)
        cast.fund(locked, Decimal(amount))


# --- Something in common --------------------------------------------------------------------------------------------


def test_a_second_client_with_a_bank_account_is_told_of() -> None:
    first, second = client(), client()
    calls.bank_account(first)
    assert found(Code.SHARED_BANK_ACCOUNT) == []
    calls.bank_account(second)
    alert = only(Code.SHARED_BANK_ACCOUNT)
    assert alert.owner_id == second.user.pk
    assert alert.facts == {"last_four": "3000", "people": [{"id": str(first.user.pk)}]}


def test_different_bank_accounts_are_not_shared() -> None:
    calls.bank_account(client())
    calls.bank_account(client(), number=OTHER_IBAN)
    assert found(Code.SHARED_BANK_ACCOUNT) == []


def test_a_rule_may_ask_for_a_third() -> None:
    amend(Code.SHARED_BANK_ACCOUNT, people_min=3)
    people = [client() for _ in range(3)]
    for who in people[:2]:
        calls.bank_account(who)
    assert found(Code.SHARED_BANK_ACCOUNT) == []
    calls.bank_account(people[2])
    assert only(Code.SHARED_BANK_ACCOUNT).owner_id == people[2].user.pk


def test_a_network_address_in_common_is_told_of_whoever_came_later() -> None:
    first, second = client(), client()
    logs_in(first, HOME)
    logs_in(second, "203.0.113.8")
    assert found(Code.SHARED_ADDRESS) == []
    logs_in(second, HOME)
    logs_in(first, HOME)
    alert = only(Code.SHARED_ADDRESS)
    assert (alert.owner_id, alert.facts["address"]) == (second.user.pk, HOME)
    assert alert.facts["people"] == [{"id": str(first.user.pk)}]


@pytest.mark.parametrize("days,count", [(29, 1), (31, 0)])
def test_addresses_wander_from_one_client_to_the_next(days: int, count: int) -> None:
    first, second = client(), client()
    with suspects.ago(days=days):
        logs_in(first, HOME)
    logs_in(second, HOME)
    assert len(found(Code.SHARED_ADDRESS)) == count


@pytest.mark.parametrize("people,count", [(3, 2), (4, 0)])
def test_an_address_of_many_is_a_network(people: int, count: int) -> None:
    amend(Code.SHARED_ADDRESS, people_max=3)
    for _ in range(people):
        logs_in(client(), HOME)
    assert len(found(Code.SHARED_ADDRESS)) == count


@pytest.mark.parametrize("address", ["127.0.0.1", "10.1.2.3", "192.168.1.20", "fd00::1"])
def test_private_networks_are_passed_over(address: str) -> None:
    for _ in range(2):
        logs_in(client(), address)
    assert found(Code.SHARED_ADDRESS) == []


def test_staff_at_the_same_address_are_not_counted() -> None:
    who, carol = client(), cast.carol_staff()
    logs_in(who, HOME)
    colleague = Actor(id=carol.user.pk, kind=ActorKind.STAFF, address=HOME)
    audit.record("accounts.freeze.placed", actor=colleague, owner=client().user.pk, subject=who.user)
    assert found(Code.SHARED_ADDRESS) == []


# --- Referral rings -------------------------------------------------------------------------------------------------


def family(referees: int) -> tuple[CastMember, list[CastMember]]:
    referrer = client(balance=Decimal(1_000))
    return referrer, [client(referred_by=referrer.user) for _ in range(referees)]


def test_two_referees_with_something_in_common_are_a_ring() -> None:
    referrer, (first, second) = family(2)
    calls.bank_account(first)
    calls.bank_account(second)
    alert = only(Code.REFERRAL_RING)
    assert alert.owner_id == referrer.user.pk
    assert alert.facts["people"] == [
        {"id": str(who.user.pk), "by": ["BANK_ACCOUNT"]} for who in sorted((first, second), key=lambda who: who.user.pk)
    ]


def test_one_referee_is_not_yet() -> None:
    referrer, (first, _) = family(2)
    calls.bank_account(referrer)
    calls.bank_account(first)
    assert found(Code.REFERRAL_RING) == []


def test_different_ties_to_the_referrer_add_up() -> None:
    referrer, (first, second) = family(2)
    logs_in(referrer, HOME)
    logs_in(first, HOME)
    assert found(Code.REFERRAL_RING) == []
    assert calls.transfer(referrer, second.cash, "100.00").status_code == 201
    by = {one["id"]: one["by"] for one in only(Code.REFERRAL_RING).facts["people"]}
    assert by == {str(first.user.pk): ["ADDRESS"], str(second.user.pk): ["TRANSFER"]}


def test_strangers_with_something_in_common_are_no_ring() -> None:
    _, (first,) = family(1)
    _, (second,) = family(1)
    for who in (first, second, client()):
        calls.bank_account(who)
    assert found(Code.REFERRAL_RING) == []


def test_a_ring_is_told_of_again_when_it_grows() -> None:
    referrer, (first, second, third) = family(3)
    for who in (first, second):
        calls.bank_account(who)
    assert len(found(Code.REFERRAL_RING)) == 1
    logs_in(referrer, HOME)
    assert len(found(Code.REFERRAL_RING)) == 1
    calls.bank_account(third)
    assert [len(alert.facts["people"]) for alert in found(Code.REFERRAL_RING)] == [2, 3]


# --- Play money -----------------------------------------------------------------------------------------------------


def test_play_money_raises_nothing() -> None:
    """Whatever a rule asks for, done by people who have nothing but a demo account."""
    prices.open_market()
    referrer = client(environment="DEMO", balance=Decimal("50000"))
    people = [client(environment="DEMO", days_old=400, referred_by=referrer.user) for _ in range(3)]
    for who in people:
        for _ in range(3):
            pays_in(who, "4000.00")
        pays_in(who, "50000.00")
        calls.bank_account(who)
        logs_in(who, HOME)
        assert calls.transfer(referrer, who.cash, "100.00").status_code == 201
    counts = suspects.raise_alerts()
    assert (counts["raised"], Alert.objects.count()) == (0, 0)


def test_who_opens_a_live_account_later_is_looked_at_then() -> None:
    live, player = client(), client(environment="DEMO", balance=Decimal(0))
    for who in (live, player):
        calls.bank_account(who)
        logs_in(who, HOME)
    assert suspects.raise_alerts()["raised"] == 0
    with transaction.atomic():
        ledger.open_wallet(owner=player.user.pk, environment="LIVE", kind=Kind.CASH, currency="USD", verified=True)
    assert [alert.owner_id for alert in found(Code.SHARED_BANK_ACCOUNT)] == [player.user.pk]
    assert [alert.owner_id for alert in found(Code.SHARED_ADDRESS)] == [player.user.pk]


# --- In words -------------------------------------------------------------------------------------------------------


def test_every_rule_tells_what_it_found_in_sentences() -> None:
    _, (first, second) = family(2)
    old = client(days_old=400)
    pays_in(old, "10000.00")
    for _ in range(3):
        pays_in(first, "4000.00")
    takes_out(first, "12000.00")
    for who in (first, second):
        calls.bank_account(who)
        logs_in(who, HOME)
    suspects.raise_alerts()
    alerts = list(Alert.objects.all())
    assert {alert.code for alert in alerts} == set(Code)
    for alert in alerts:
        told = telling.sentences(alert)
        assert told
        assert all(sentence[0].isupper() and sentence.endswith(".") for sentence in told), told
