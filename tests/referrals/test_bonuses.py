"""A newcomer gets a bonus once, as credit: margin to trade with, and never money."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from functools import partial
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from accounts.models import TradingAccount, User
from core import verification as audit_verification
from core.audit import Actor
from core.models import AuditEvent, IdempotencyKey, JobRun
from referrals.models import BonusIdentity, BonusPolicy, SignupBonus
from referrals.services import bonuses
from tests import cast, database, ledger_cast
from tests.cast import CastMember
from tests.referrals.newcomers import TERMS, claim, listed, margin, newcomer, offer
from tests.trading import prices
from tests.trading.calls import account, close, place, release
from tests.trading.prices import Push
from tests.wallets.books import breaks
from tests.wallets.calls import bank_account, deposit, transfer, withdraw
from tests.wallets.test_guards import refusal
from trading.models import AccountWatch
from wallets import ledger
from wallets.models import Entry, LedgerTransaction, Wallet


@pytest.fixture
def market(db: None) -> Push:
    push = prices.open_market()
    offer()
    return push


@pytest.fixture
def committed(committed_db: object) -> Push:
    push = prices.open_market()
    offer()
    return push


def outcome(response: Any) -> tuple[int, str]:
    body = response.json()
    return response.status_code, body.get("code", "")


def counted() -> tuple[int, ...]:
    rows = (SignupBonus, BonusIdentity, LedgerTransaction, Entry, AuditEvent)
    return tuple(model._default_manager.count() for model in rows)


def nothing_is_broken() -> None:
    assert breaks() == {}
    with transaction.atomic():
        assert audit_verification.verify_audit() == []


# --- Given ----------------------------------------------------------------------------------------------------------


def test_it_is_credit_and_says_for_how_long(committed: Push) -> None:
    who = newcomer()
    response = claim(who)
    body = response.json()
    assert response.status_code == 201, body
    bonus = SignupBonus.objects.get()
    assert (body["id"], body["account"], body["transaction"]) == (
        str(bonus.pk), who.account.number, str(bonus.transaction_id),
    )  # fmt: skip
    assert (body["amount"], body["remaining"], body["credit"], body["status"]) == ("50.00", "50.00", "50.00", "ACTIVE")
    assert bonus.expires_at - bonus.granted_at == timedelta(days=90)
    wallet = margin(who)
    assert (wallet.balance, wallet.credit, wallet.held) == (Decimal("100.00"), Decimal("50.00"), 0)
    state = account(who)
    assert (state["balance"], state["credit"], state["equity"], state["free_margin"]) == (
        "100.00", "50.00", "150.00", "150.00",
    )  # fmt: skip
    assert AccountWatch.objects.get(account=who.account).funds == Decimal("150.00")
    (line,) = Entry.objects.filter(wallet=wallet, transaction=bonus.transaction_id)
    assert (line.reason, line.amount, line.balance_after) == ("CREDIT_IN", Decimal("50.00"), Decimal("100.00"))
    assert bonus.transaction.type == "BONUS"
    (shown,) = listed(who)
    assert {name: body[name] for name in shown} == shown
    nothing_is_broken()


def test_it_is_margin_to_trade_with(market: Push) -> None:
    who = newcomer(leverage=30)
    assert outcome(place(who, volume="0.03")) == (422, "MARGIN_INSUFFICIENT")
    claim(who)
    opened = place(who, volume="0.03")
    assert opened.status_code == 201, opened.content
    assert margin(who).held == Decimal("120.01")


def test_it_cannot_be_taken_out(market: Push) -> None:
    who = newcomer()
    claim(who)
    response = release(who, amount="100.01", target=who.cash.number)
    assert outcome(response) == (422, "FREE_MARGIN_INSUFFICIENT")
    assert response.json()["context"]["available"] == "100.00"
    assert outcome(transfer(who, who.cash, "1.00", source=who.margin)) == (422, "MARGIN_SOURCE_REFUSED")
    assert outcome(withdraw(who, "1.00", wallet=who.margin))[0] == 422
    assert (margin(who).balance, margin(who).credit) == (Decimal("100.00"), Decimal("50.00"))


def test_it_goes_with_the_money_in_proportion(committed: Push) -> None:
    offer(version=2, amount="1000.00")
    who = newcomer(deposited="1500.00")
    assert claim(who).json()["credit"] == "1000.00"
    body = release(who, amount="750.00", target=who.cash.number).json()
    assert (body["credit_removed"], body["balance"]) == ("500.00", "750.00")
    assert [(one["remaining"], one["status"]) for one in listed(who)] == [("500.00", "ACTIVE")]
    nothing_is_broken()


def test_nothing_is_left_of_it_after_a_loss_that_the_house_has_paid(committed: Push) -> None:
    who = newcomer(deposited="500.00")
    claim(who)
    opened = place(who, volume="0.10").json()
    committed(EURUSD=("1.14000", "1.14010"))
    closed = close(who, opened["position"]["id"]).json()
    assert (closed["compensation"], closed["balance"]) == ("101.70", "0.00")
    assert margin(who).credit == 0
    assert [(one["remaining"], one["status"]) for one in listed(who)] == [("0.00", "ACTIVE")]
    nothing_is_broken()


# --- Once -----------------------------------------------------------------------------------------------------------


def test_one_key_has_one_answer(market: Push) -> None:
    who = newcomer()
    first, again = claim(who, key="bonus-claim-key-0001"), claim(who, key="bonus-claim-key-0001")
    assert (first.status_code, again.status_code) == (201, 201)
    assert (again.content, again.headers["Idempotent-Replayed"]) == (first.content, "true")
    assert margin(who).credit == Decimal("50.00")


def test_another_key_gets_no_second_one(market: Push) -> None:
    who = newcomer()
    claim(who)
    before = counted()
    assert outcome(claim(who)) == (409, "BONUS_CLAIMED")
    assert counted() == before
    assert margin(who).credit == Decimal("50.00")


@pytest.mark.parametrize("one_key", [True, False])
def test_fifty_claims_at_once_have_one_effect(committed: Push, one_key: bool) -> None:
    who = newcomer()
    keys = ["fifty-claims-0000001" if one_key else f"fifty-claims-{number:07}" for number in range(50)]

    def act(used: str) -> Any:
        client = cast.api_client(who.token)
        return lambda: client.post(
            "/api/v1/referrals/bonuses", {"account": who.account.number}, headers={"Idempotency-Key": used}
        )

    responses = ledger_cast.at_once(*map(act, keys))
    outcomes = [outcome(response) for response in responses]
    bodies = {response.content for response in responses if response.status_code == 201}
    assert len(bodies) == 1
    refused = {"IDEMPOTENCY_IN_PROGRESS"} if one_key else {"BONUS_CLAIMED", "LOCK_TIMEOUT"}
    assert {code for status, code in outcomes if status != 201} <= refused
    assert one_key or outcomes.count((201, "")) == 1
    assert (SignupBonus.objects.count(), margin(who).credit) == (1, Decimal("50.00"))
    assert LedgerTransaction.objects.filter(type="BONUS").count() == 1
    nothing_is_broken()


def test_an_answer_that_is_gone_is_not_given_again(market: Push) -> None:
    who = newcomer()
    claim(who, key="bonus-claim-key-0001")
    IdempotencyKey.objects.all().delete()
    assert outcome(claim(who, key="bonus-claim-key-0001")) == (409, "IDEMPOTENCY_KEY_EXPIRED")
    assert margin(who).credit == Decimal("50.00")


def first_phone(first: CastMember) -> dict[str, Any]:
    """The first person got themselves another number, and the second has the old one."""
    phone = first.user.phone
    User.objects.filter(pk=first.user.pk).update(phone="+971500000001")
    return {"phone": phone}


#: How the same human being comes again, each time with one thing that gives them away.
DISGUISES: dict[str, Any] = {
    "their phone": first_phone,
    "their mailbox": lambda first: {"email": "amal+again@example.com"},
    "their name and birthday": lambda first: {"name": " AMAL  Haddad ", "date_of_birth": date(1988, 2, 29)},
}


@pytest.mark.parametrize("disguise", DISGUISES)
def test_the_same_person_under_another_account_gets_none(market: Push, disguise: str) -> None:
    first = newcomer(email="amal@example.com", name="Amal Haddad", date_of_birth=date(1988, 2, 29))
    claim(first)
    second = newcomer(**DISGUISES[disguise](first))
    before = counted()
    assert outcome(claim(second)) == (409, "BONUS_CLAIMED")
    assert (counted(), margin(second).credit) == (before, 0)


def test_the_same_bank_account_gets_none(market: Push) -> None:
    first, second, third = newcomer(), newcomer(), newcomer()
    bank_account(first)
    claim(first)
    bank_account(second)
    before = counted()
    assert outcome(claim(second)) == (409, "BONUS_CLAIMED")
    assert (counted(), margin(second).credit) == (before, 0)
    bank_account(third, number="GB33BUKB20201555555555")
    assert claim(third).status_code == 201


def test_other_people_get_theirs(market: Push) -> None:
    """Of one name, or born on one day."""
    people = [
        newcomer(name="Amal Haddad", date_of_birth=date(1988, 2, 29)),
        newcomer(name="Amal Haddad", date_of_birth=date(1988, 3, 1)),
        newcomer(name="Amal Hadad", date_of_birth=date(1988, 2, 29)),
        newcomer(name="Amal Haddad", date_of_birth=date(1988, 2, 29), country="KE"),
    ]
    assert [claim(who).status_code for who in people] == [201] * 4


def test_ten_accounts_of_one_person_at_once_get_one(committed: Push) -> None:
    people = [newcomer(name="Amal Haddad") for _ in range(10)]
    for who in people:
        bank_account(who)
    responses = ledger_cast.at_once(*[lambda who=who: claim(who) for who in people])
    assert sorted(map(outcome, responses)) == [(201, ""), *[(409, "BONUS_CLAIMED")] * 9]
    assert sorted(margin(who).credit for who in people) == [0] * 9 + [Decimal("50.00")]
    assert set(BonusIdentity.objects.values_list("bonus", flat=True)) == {SignupBonus.objects.get().pk}
    nothing_is_broken()


# --- Not for everybody ----------------------------------------------------------------------------------------------


def refused(who: CastMember, code: str, status: int = 422, **request: Any) -> dict[str, Any]:
    """The refusal has this code, and nothing was written for it."""
    before, wallet = counted(), margin(who)
    response = claim(who, **request)
    assert outcome(response) == (status, code)
    assert counted() == before
    assert (margin(who).credit, margin(who).version) == (wallet.credit, wallet.version)
    body: dict[str, Any] = response.json()
    return body


@pytest.mark.parametrize("country", ["DE", "FR", "RE", "NO", "GB", "AU", "US"])
def test_where_incentives_are_barred_nobody_gets_one(market: Push, country: str) -> None:
    refused(newcomer(country=country), "BONUS_BARRED")


@pytest.mark.parametrize("jurisdiction", ["ESMA", "FCA", "ASIC"])
def test_an_account_stays_under_the_rules_it_was_opened_under(market: Push, jurisdiction: str) -> None:
    refused(newcomer(jurisdiction=jurisdiction), "BONUS_BARRED")


def test_a_demo_account_gets_none(market: Push) -> None:
    who = cast.make_client(environment="DEMO", country="AE")
    TradingAccount.objects.filter(pk=who.account.pk).update(jurisdiction="DESK")
    assert refused(who, "BONUS_NOT_OFFERED")["context"]["environment"] == "DEMO"


def test_a_currency_without_a_policy_has_none(market: Push) -> None:
    refused(newcomer(currency="EUR"), "BONUS_NOT_OFFERED")


def test_a_policy_is_in_force_from_its_beginning_until_the_next(market: Push) -> None:
    later = timezone.now() + timedelta(days=1)
    offer(version=2, is_offered=False, valid_from=later.isoformat())
    assert claim(newcomer()).status_code == 201
    offer(version=3, is_offered=False)
    refused(newcomer(), "BONUS_NOT_OFFERED")
    offer(version=4, amount="75.00")
    assert claim(newcomer()).json()["amount"] == "75.00"


def test_an_unproven_client_gets_none_yet(market: Push) -> None:
    who = newcomer(verified=False)
    refused(who, "VERIFICATION_REQUIRED")
    Wallet.objects.filter(pk=who.margin.pk).update(verified=True)
    assert claim(who).status_code == 201


def test_a_frozen_account_gets_none(market: Push) -> None:
    who = newcomer()
    Wallet.objects.filter(pk=who.margin.pk).update(status="FROZEN")
    refused(who, "WALLET_NOT_ACTIVE")


def test_it_takes_a_deposit_that_is_still_there(market: Push) -> None:
    who = newcomer(deposited="0")
    with transaction.atomic():
        (locked,) = ledger.lock_wallets(who.margin.number)
        cast.fund(locked, Decimal("500.00"))  # not deposited by anybody
    context = refused(who, "BONUS_DEPOSIT_MISSING")["context"]
    assert (context["required"], context["available"], context["shortfall"]) == ("100.00", "0.00", "100.00")
    assert deposit(who, "90.00", wallet=who.margin).status_code == 201
    assert refused(who, "BONUS_DEPOSIT_MISSING")["context"]["shortfall"] == "10.00"
    assert deposit(who, "10.00", wallet=who.cash).status_code == 201
    assert claim(who).status_code == 201


def test_a_deposit_that_has_left_the_account_does_not_count(market: Push) -> None:
    who = newcomer(deposited="100.00")
    release(who, amount="0.01", target=who.cash.number)
    assert refused(who, "BONUS_DEPOSIT_MISSING")["context"]["available"] == "99.99"


def test_somebody_elses_account_does_not_exist(market: Push) -> None:
    who, other = newcomer(), newcomer()
    before = counted()
    for number in (other.account.number, "99999999"):
        assert outcome(claim(who, account=number)) == (404, "TRADING_ACCOUNT_NOT_FOUND")
    assert counted() == before
    assert listed(other) == []


HOSTILE: list[Any] = [
    None, 5, 1.5, True, [], {}, "", " ", "1 ", "\n", "1\u0000", "１２３", "abc", "-1", "1e5", "'; DROP--", "9" * 21,
    ["1"], "\u202e1",
]  # fmt: skip


@pytest.mark.parametrize("bad", HOSTILE)
def test_an_account_number_that_cannot_be_is_refused_by_name(market: Push, bad: Any) -> None:
    who = newcomer()
    before = counted()
    headers = {"Idempotency-Key": "hostile-account-0001"}
    response = who.api.post("/api/v1/referrals/bonuses", {"account": bad}, format="json", headers=headers)
    assert response.status_code == 400, response.content
    assert [error["field"] for error in response.json()["errors"]] == ["account"]
    assert counted() == before
    assert claim(who, key="hostile-account-0001").status_code == 201  # the key is still free


@pytest.mark.parametrize("extra", ["amount", "credit", "owner", "policy", "expires_at", "environment"])
def test_nobody_says_how_much_they_get(market: Push, extra: str) -> None:
    who = newcomer()
    body = {"account": who.account.number, extra: "1000000.00"}
    response = who.api.post("/api/v1/referrals/bonuses", body, headers={"Idempotency-Key": "generous-to-myself"})
    assert outcome(response) == (400, "UNKNOWN_FIELD")
    assert not SignupBonus.objects.exists()


def test_it_needs_a_key_a_token_and_the_right_to_trade(market: Push) -> None:
    who = newcomer()
    reader = cast.api_client(cast.issue_token(who.user, scopes=["read"]))
    path, body = "/api/v1/referrals/bonuses", {"account": who.account.number}
    assert outcome(who.api.post(path, body)) == (400, "IDEMPOTENCY_KEY_REQUIRED")
    assert outcome(cast.api_client().post(path, body)) == (401, "NOT_AUTHENTICATED")
    headers = {"Idempotency-Key": "only-looking-00001"}
    assert outcome(reader.post(path, body, headers=headers)) == (403, "SCOPE_MISSING")
    assert reader.get(path).status_code == 200
    assert not SignupBonus.objects.exists()


# --- Taken back -----------------------------------------------------------------------------------------------------


def granted(**facts: Any) -> CastMember:
    who = newcomer(**facts)
    assert claim(who).status_code == 201
    return who


def let_time_pass(days: int = 90) -> None:
    """Date all bonuses back, behind the guard that keeps them as they are."""
    with transaction.atomic(), database.unguarded() as cursor:
        cursor.execute(
            "UPDATE referrals_signupbonus SET granted_at = granted_at - past.time, expires_at = expires_at - past.time"
            "  FROM (SELECT make_interval(days => %s) AS time) past",
            [days],
        )


def expire(**options: Any) -> dict[str, Any]:
    call_command("expire_bonuses", as_json=True, stdout=StringIO(), **options)
    counts: dict[str, Any] = JobRun.objects.filter(name="expire_bonuses").latest("started_at").counts
    return counts


def test_it_stays_until_its_day(market: Push) -> None:
    who = granted()
    let_time_pass(days=89)
    assert expire() == {"due": 0, "expired": 0, "unfinished": 0, "removed": {}}
    bonus = SignupBonus.objects.get()
    for early in (bonus.expires_at - timedelta(microseconds=1), bonus.expires_at + timedelta(days=1)):
        assert bonuses.expire_bonus(bonus_id=bonus.pk, until=early) is None  # the second is a clock that runs ahead
    assert margin(who).credit == Decimal("50.00")


def test_what_is_left_is_taken_back_once(committed: Push) -> None:
    who, spent = granted(), granted()
    release(who, amount="20.00", target=who.cash.number)
    release(spent, amount="100.00", target=spent.cash.number)
    let_time_pass()
    assert expire() == {"due": 2, "expired": 2, "unfinished": 0, "removed": {"USD": "40.00"}}
    assert expire() == {"due": 0, "expired": 0, "unfinished": 0, "removed": {}}
    assert [(margin(one).credit, margin(one).balance) for one in (who, spent)] == [(0, Decimal("80.00")), (0, 0)]
    left, nothing = (SignupBonus.objects.get(owner=one.user) for one in (who, spent))
    assert (left.status, left.removed, nothing.status, nothing.removed) == ("EXPIRED", Decimal("40.00"), "EXPIRED", 0)
    assert left.removal is not None
    assert (left.removal.reason, left.removal.type) == ("The bonus has expired", "BONUS")
    assert nothing.removal is None
    assert AccountWatch.objects.get(account=who.account).funds == Decimal("80.00")
    (shown,) = listed(who)
    assert (shown["remaining"], shown["status"], shown["ended_at"] is None) == ("0.00", "EXPIRED", False)
    nothing_is_broken()


def test_a_dry_run_takes_nothing(market: Push) -> None:
    who = granted()
    let_time_pass()
    out = StringIO()
    call_command("expire_bonuses", dry_run=True, stdout=out)
    assert "due: 1" in out.getvalue()
    assert "50.00" in out.getvalue()
    assert margin(who).credit == Decimal("50.00")


def test_an_ended_bonus_is_not_given_again(market: Push) -> None:
    who = granted()
    let_time_pass()
    expire()
    assert outcome(claim(who)) == (409, "BONUS_CLAIMED")


def test_any_number_of_sweeps_take_it_once(committed: Push) -> None:
    people = [granted() for _ in range(4)]
    let_time_pass()
    ids, now = list(SignupBonus.objects.values_list("pk", flat=True)), timezone.now()
    sweeps = [lambda id_=id_: bonuses.expire_bonus(bonus_id=id_, until=now) for id_ in ids for _ in range(6)]
    done = [one for one in ledger_cast.at_once(*sweeps) if one is not None]
    assert [one.removed for one in done] == [Decimal("50.00")] * 4
    assert {margin(who).credit for who in people} == {Decimal(0)}
    nothing_is_broken()


def test_even_a_row_that_was_put_back_is_not_taken_twice(committed: Push) -> None:
    who = granted()
    let_time_pass()
    expire()
    with transaction.atomic(), database.unguarded() as cursor:
        cursor.execute(
            "UPDATE referrals_signupbonus SET status = 'ACTIVE', removed = NULL, removal_id = NULL, ended_at = NULL"
        )
    ledger_cast.give_credit(who.margin, "30.00")
    with pytest.raises(IntegrityError, match="ledgertransaction_idempotency_digest"):
        bonuses.expire_bonus(bonus_id=SignupBonus.objects.get().pk, until=timezone.now())
    assert margin(who).credit == Decimal("30.00")


def test_neither_a_freeze_nor_an_open_position_keeps_it(market: Push) -> None:
    who = granted()
    assert place(who, volume="0.03").status_code == 201
    Wallet.objects.filter(pk=who.margin.pk).update(status="FROZEN", trading_enabled=False)
    let_time_pass()
    before = AccountWatch.objects.get(account=who.account)
    assert before.called_at is None
    expire()
    after = AccountWatch.objects.get(account=who.account)
    assert (before.funds - after.funds, margin(who).credit) == (Decimal("50.00"), 0)
    assert Decimal(account(who)["margin_level"]) < 100  # what the risk engine sees next


def test_money_leaves_and_the_bonus_ends_at_once(committed: Push) -> None:
    """Both want the wallet; whoever comes second reckons with what the first has left."""
    for _ in range(5):
        who = granted()
        let_time_pass()
        bonus = SignupBonus.objects.get(owner=who.user)
        api = cast.api_client(who.token)
        path = f"/api/v1/trading-accounts/{who.account.number}/release"

        def leave(number: int, api: Any = api, path: str = path, target: str = who.cash.number) -> int:
            headers = {"Idempotency-Key": f"leaving-{target}-{number:04}"}
            status: int = api.post(path, {"amount": "10.00", "target": target}, headers=headers).status_code
            return status

        actions = [partial(leave, number) for number in range(4)]
        ledger_cast.at_once(*actions, partial(bonuses.expire_bonus, bonus_id=bonus.pk, until=timezone.now()))
        assert (margin(who).balance, margin(who).credit) == (Decimal("60.00"), 0)
    nothing_is_broken()


# --- On what terms --------------------------------------------------------------------------------------------------


def load(**options: Any) -> str:
    out = StringIO()
    call_command("load_bonus_policies", stdout=out, **options)
    return out.getvalue()


def test_the_desks_own_policies_are_loaded_once(db: None) -> None:
    assert "loaded: 1" in load()
    assert "loaded: 0" in load()
    policy = BonusPolicy.objects.get()
    assert {"ASIC", "ESMA", "FCA"} <= set(policy.jurisdictions_barred)
    assert AuditEvent.objects.filter(action="referrals.bonus_policy.loaded", object_id=str(policy.pk)).count() == 1


def test_a_version_never_changes(db: None, tmp_path: Any) -> None:
    offer()
    with pytest.raises(bonuses.BonusPolicyChanged) as caught:
        bonuses.load_policy(document=TERMS | {"amount": "60.00", "days_valid": 30}, actor=Actor.system())
    assert caught.value.context["differs"] == "amount, days_valid"
    file = tmp_path / "policies.json"
    file.write_text('[{"currency": "USD"}]')
    with pytest.raises(CommandError):
        load(file=file)
    assert BonusPolicy.objects.get().amount == Decimal("50.00")


@pytest.mark.parametrize(
    "change",
    [
        {"amount": "0"},
        {"amount": "-5.00"},
        {"amount": "NaN"},
        {"amount": "5.001"},
        {"amount": "plenty"},
        {"amount": None},
        {"deposit_min": "-0.01"},
        {"days_valid": 0},
        {"days_valid": 3_651},
        {"version": 0},
        {"currency": "DEM"},
        {"is_offered": "yes"},
        {"version": "2"},
        {"days_valid": "long"},
        {"valid_from": "soon"},
        {"valid_from": "2021-01-01"},
        {"jurisdictions_barred": ["MARS"]},
        {"countries_barred": ["EU"]},
        {"sponsor": "us"},
    ],
)
def test_what_is_no_policy_is_refused(db: None, change: dict[str, Any]) -> None:
    with pytest.raises(bonuses.BonusPolicyMalformed):
        offer(**change)
    assert not BonusPolicy.objects.exists()


@pytest.mark.parametrize(
    "statement,trigger",
    [
        ("UPDATE referrals_bonuspolicy SET amount = 1", "bonuspolicy_is_append_only"),
        ("DELETE FROM referrals_bonuspolicy", "bonuspolicy_is_append_only"),
        ("UPDATE referrals_bonusidentity SET digest = '\\x00'", "bonusidentity_is_append_only"),
        ("DELETE FROM referrals_bonusidentity", "bonusidentity_is_append_only"),
        ("TRUNCATE referrals_bonusidentity", "bonusidentity_is_append_only"),
        ("DELETE FROM referrals_signupbonus", "signupbonus_is_never_deleted"),
        ("UPDATE referrals_signupbonus SET amount = 1000", "signupbonus_only_ends"),
        ("UPDATE referrals_signupbonus SET expires_at = expires_at + interval '1 year'", "signupbonus_only_ends"),
        ("UPDATE referrals_signupbonus SET owner_id = gen_random_uuid()", "signupbonus_only_ends"),
    ],
)
def test_what_was_given_cannot_be_changed(market: Push, statement: str, trigger: str) -> None:
    granted()
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    assert refusal(statement) == trigger


def test_a_bonus_tells_nobody_who_it_was(market: Push) -> None:
    who = granted(phone="+971501234567", email="quiet@example.com", name="Quiet Person")
    bank_account(who)
    kept = b"".join(bytes(one.digest) for one in BonusIdentity.objects.all())
    assert BonusIdentity.objects.count() == 3  # the bank account came later
    assert not any(secret in kept for secret in (b"971501234567", b"quiet", b"Quiet"))
