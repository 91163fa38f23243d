"""What a referrer sees of the people they referred and of what it earned them, and what nobody sees."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from accounts.models import User
from referrals.models import Commission
from referrals.selectors import masked
from referrals.services import reversals
from tests.cast import CastMember, api_client, bob, carol_staff, issue_token, make_client
from tests.referrals.deals import closed, lineage, pay, plan, run
from tests.referrals.test_first_deposits import WELCOME, deposit
from tests.referrals.test_reversals import spend
from tests.trading.prices import Push

REFERRALS, COMMISSIONS, STATISTICS = (f"/api/v1/referrals{path}" for path in ("", "/commissions", "/statistics"))


def get(who: CastMember, path: str, **query: Any) -> Any:
    response = who.api.get(path, query)
    assert response.status_code == 200, response.json()
    return response.json()


@pytest.fixture
def family(market: Push) -> tuple[CastMember, list[CastMember]]:
    plan()
    client, chain = lineage(2, name="Dora Maria Diaz", email="dora@example.com")
    for member, code in zip(chain, ("ABCD1234", "EFGH5678"), strict=True):
        User.objects.filter(pk=member.user.pk).update(referral_code=code)
    return client, chain


# --- People ----------------------------------------------------------------------------------------------------------


def test_names_are_masked() -> None:
    assert masked("Alice Archer") == "A••• A•••"
    assert masked("Björk") == "B•••"
    assert masked("  ") == "•••"


def test_lists_whom_one_has_referred_with_how_far_they_have_come(family: tuple[CastMember, list[CastMember]]) -> None:
    _, (referrer, _) = family
    make_client(name="Nia New", verified=False, referred_by=referrer.user)
    make_client(name="Vera Verified", referred_by=referrer.user)
    funded = make_client(name="Fay Funded", referred_by=referrer.user)
    deposit(funded)
    closed(family[0])
    page = get(referrer, REFERRALS)
    assert (page["code"], page["link"]) == (
        "ABCD1234",
        "http://localhost:8000/signup?referral_code=ABCD1234",
    )
    assert [(row["name"], row["status"]) for row in page["results"]] == [
        ("F••• F•••", "FUNDED"),
        ("V••• V•••", "VERIFIED"),
        ("N••• N•••", "SIGNED_UP"),
        ("D••• M••• D•••", "TRADED"),
    ]
    assert set(page["results"][0]) == {"name", "joined_at", "status"}


def test_demo_trading_is_no_step(market: Push) -> None:
    client, (referrer,) = lineage(1, environment="DEMO")
    deposit_free = get(referrer, REFERRALS)["results"]
    closed(client)
    assert [row["status"] for row in deposit_free] == ["SIGNED_UP"]
    assert get(referrer, REFERRALS)["results"] == deposit_free


def test_pages_follow_one_another(market: Push) -> None:
    _, (referrer,) = lineage(1)
    for number in range(4):
        make_client(name=f"{chr(65 + number)} {number}", referred_by=referrer.user)
    first = get(referrer, REFERRALS, limit=3)
    assert len(first["results"]) == 3
    assert first["previous"] is None
    second = referrer.api.get(first["next"]).json()
    assert len(second["results"]) == 2
    assert (second["code"], second["next"]) == (first["code"], None)


# --- Commissions -----------------------------------------------------------------------------------------------------


def test_a_commission_can_be_traced_from_the_deal_to_the_posting_and_back(
    family: tuple[CastMember, list[CastMember]],
) -> None:
    client, (referrer, _) = family
    deal = closed(client, volume="2")
    pay()
    spend(referrer, "4.00")
    row = Commission.objects.get(owner=referrer.user)
    reversals.reverse_commission(commission_id=row.pk, reason="the file's alone", actor=carol_staff().actor)
    row.refresh_from_db()
    (shown,) = get(referrer, COMMISSIONS)["results"]
    moments = [shown.pop(name) for name in ("created_at", "approved_at", "paid_at", "reversed_at")]
    assert all(moments)
    assert shown.pop("deal").items() >= {"id": str(deal), "symbol": "EURUSD", "volume": "2"}.items()
    assert shown == {
        "id": str(row.pk),
        "status": "REVERSED",
        "level": 1,
        "amount": "10.00",
        "currency": "USD",
        "client": "D••• M••• D•••",
        "plan": {"code": "standard", "version": 1, "kind": "PER_LOT"},
        "deposit": None,
        "transaction": str(row.transaction_id),
        "reversal": str(row.reversal_id),
        "owed": "4.00",
    }
    entries = get(referrer, f"/api/v1/wallets/{referrer.cash.number}/entries")["results"]
    assert {entry["transaction"] for entry in entries} >= {str(row.transaction_id), str(row.reversal_id)}


def test_a_reward_for_a_deposit_names_it(market: Push) -> None:
    plan(**WELCOME)
    client, (referrer, _) = lineage(2)
    first = deposit(client)
    closed(client, volume="3")
    run("accrue_commissions")
    (shown,) = get(referrer, COMMISSIONS)["results"]
    assert (shown["deal"], shown["deposit"], shown["amount"]) == (None, str(first), "25.00")


@pytest.mark.parametrize(
    "query, count",
    [
        ({}, 2),
        ({"status": "PAID"}, 1),
        ({"status": "PENDING"}, 1),
        ({"level": "1"}, 2),
        ({"level": "2"}, 0),
        ({"currency": "EUR"}, 0),
        ({"from": "2020-01-01T00:00:00Z"}, 2),
        ({"to": "2020-01-01T00:00:00Z"}, 0),
        ({"limit": "1"}, 1),
    ],
    ids=str,
)
def test_filters(family: tuple[CastMember, list[CastMember]], query: dict[str, str], count: int) -> None:
    client, (referrer, _) = family
    closed(client)
    pay()
    closed(client)
    run("accrue_commissions")
    assert len(get(referrer, COMMISSIONS, **query)["results"]) == count


def test_a_deal_can_be_asked_for(family: tuple[CastMember, list[CastMember]]) -> None:
    client, (referrer, _) = family
    deals = [closed(client), closed(client)]
    run("accrue_commissions")
    (shown,) = get(referrer, COMMISSIONS, deal=str(deals[0]))["results"]
    assert shown["deal"]["id"] == str(deals[0])


def test_a_filter_that_makes_no_sense_is_refused(family: tuple[CastMember, list[CastMember]]) -> None:
    _, (referrer, _) = family
    for query in ({"status": "MINE"}, {"deal": "x"}, {"from": "soon"}):
        assert referrer.api.get(COMMISSIONS, query).status_code == 400


# --- Statistics ------------------------------------------------------------------------------------------------------


def test_statistics_add_up(family: tuple[CastMember, list[CastMember]]) -> None:
    client, (referrer, above) = family
    make_client(verified=False, referred_by=referrer.user)
    make_client(referred_by=referrer.user)
    closed(client)
    pay()
    closed(client, volume="0.50")
    run("accrue_commissions")
    found = get(referrer, STATISTICS)
    assert found["funnel"] == {"signed_up": 3, "verified": 2, "funded": 1, "traded": 1}
    assert (found["active_clients"], found["lots"], found["owed"]) == (1, "1.5", {})
    groups = [
        (row["level"], row["status"], row["currency"], row["count"], row["amount"]) for row in found["commissions"]
    ]
    assert groups == [(1, "PAID", "USD", 1, "5.00"), (1, "PENDING", "USD", 1, "2.50")]
    (upper,) = [row for row in get(above, STATISTICS)["commissions"] if row["status"] == "PAID"]
    assert (upper["level"], upper["amount"]) == (2, "1.00")
    assert get(client, STATISTICS) == {
        "funnel": {"signed_up": 0, "verified": 0, "funded": 0, "traded": 0},
        "active_clients": 0,
        "lots": "0",
        "commissions": [],
        "owed": {},
    }


def test_statistics_are_of_the_period_asked_for(family: tuple[CastMember, list[CastMember]]) -> None:
    client, (referrer, _) = family
    closed(client)
    run("accrue_commissions")
    past = get(referrer, STATISTICS, to="2020-01-01T00:00:00Z")
    assert (past["funnel"]["signed_up"], past["commissions"]) == (0, [])
    day = get(referrer, STATISTICS, **{"from": "2020-01-01T00:00:00Z"}, period="day")["commissions"]
    month = get(referrer, STATISTICS, period="month")["commissions"]
    created = Commission.objects.earliest("id").created_at.date()
    assert day[0]["period"] == created.isoformat()
    assert month[0]["period"] == created.replace(day=1).isoformat()


@pytest.mark.parametrize("query", [{"period": "hour"}, {"from": "yesterday"}, {"client": "all"}], ids=str)
def test_a_question_that_makes_no_sense_is_refused(market: Push, query: dict[str, str]) -> None:
    who = bob()
    response = who.api.get(STATISTICS, query)
    assert response.status_code == 400
    assert [error["field"] for error in response.json()["errors"]] == list(query)


def test_a_debt_is_shown(family: tuple[CastMember, list[CastMember]]) -> None:
    client, (referrer, _) = family
    closed(client)
    pay()
    spend(referrer, "5.00")
    row = Commission.objects.get(owner=referrer.user)
    reversals.reverse_commission(commission_id=row.pk, reason="wash trading", actor=carol_staff().actor)
    assert get(referrer, STATISTICS)["owed"] == {"USD": "5.00"}


# --- What nobody sees ------------------------------------------------------------------------------------------------


def test_nothing_says_who_a_client_is_or_what_they_have(family: tuple[CastMember, list[CastMember]]) -> None:
    client, (referrer, above) = family
    closed(client)
    pay()
    client.margin.refresh_from_db()
    secrets = ["Dora", "Maria", "Diaz", "dora@example.com", str(client.user.phone), str(client.id)]
    secrets += [client.account.number, client.margin.number, client.cash.number, f"{client.margin.balance:.2f}"]
    for who in (referrer, above):
        for path in (REFERRALS, COMMISSIONS, STATISTICS):
            text = json.dumps(get(who, path), ensure_ascii=False)
            assert [secret for secret in secrets if secret in text] == [], path


def test_everybody_sees_their_own_alone(family: tuple[CastMember, list[CastMember]]) -> None:
    client, (referrer, _) = family
    closed(client)
    run("accrue_commissions")
    stranger = bob()
    row = Commission.objects.get(owner=referrer.user)
    assert get(stranger, REFERRALS)["results"] == []
    assert get(stranger, COMMISSIONS)["results"] == []
    assert get(stranger, COMMISSIONS, deal=str(row.deal_id))["results"] == []
    assert get(stranger, STATISTICS)["commissions"] == []


def test_a_token_that_may_read_is_needed(market: Push) -> None:
    who = bob()
    for path in (REFERRALS, COMMISSIONS, STATISTICS):
        assert api_client().get(path).status_code == 401
        assert api_client(issue_token(who.user, scopes=["trade"])).get(path).status_code == 403
        assert who.api.post(path, {}).status_code == 405


def test_a_list_costs_the_same_however_long_it_is(
    family: tuple[CastMember, list[CastMember]], django_assert_max_num_queries: Any
) -> None:
    client, (referrer, _) = family
    for _ in range(5):
        closed(client, volume="0.10")
    pay()
    assert Commission.objects.filter(owner=referrer.user, amount=Decimal("0.50")).count() == 5
    for path in (REFERRALS, COMMISSIONS, STATISTICS):
        with django_assert_max_num_queries(6):
            get(referrer, path)
