"""The queue and the page of an alert, for those who may; and not a word of it for the client."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client

from config.back_office.alerts.models import Alert, AlertNote
from core.errors import REGISTRY
from tests import cast
from tests.accounts.test_back_office import enlist, office
from tests.back_office import suspects
from tests.back_office.suspects import client, logs_in, pays_in, takes_out
from tests.back_office.test_alerts_workflow import assign, close, make_alert
from tests.cast import CastMember
from tests.wallets import calls

QUEUE = "/admin/alerts/alert/"

READERS = ("kyc", "finance", "auditor")
OTHERS = ("support", "dealing")


def page(alert: Alert) -> str:
    return f"/admin/alerts/{alert.pk}/"


def step(desk: Client, alert: Alert, name: str, **form: Any) -> str:
    response = desk.post(f"{page(alert)}{name}/", form, follow=True)
    assert response.status_code == 200
    text: str = response.content.decode()
    return text


@pytest.fixture
def large(db: None) -> Alert:
    suspects.load_rules()
    pays_in(client(name="Lena Large"), "12500.00")
    suspects.raise_alerts()
    return Alert.objects.get()


# --- Looking --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", READERS)
def test_those_who_may_look_see_the_queue_and_the_page(large: Alert, role: str) -> None:
    desk = office(role)
    queue = desk.get(QUEUE).content.decode()
    assert "Lena Large" in queue
    text = desk.get(page(large)).content.decode()
    (deposit,) = large.facts["deposits"]
    assert "Paid in 12500.00 USD at once." in text
    assert f"/admin/wallets/ledgertransaction/{deposit['id']}/change/" in text
    assert str(large.owner_id) in text
    assert desk.get(f"/admin/wallets/ledgertransaction/{deposit['id']}/change/").status_code == 200


@pytest.mark.parametrize("role", OTHERS)
def test_the_others_see_nothing(large: Alert, role: str) -> None:
    desk = office(role)
    for path in (QUEUE, page(large), f"{QUEUE}{large.pk}/change/"):
        assert desk.get(path).status_code == 403
    assert QUEUE not in desk.get("/admin/").content.decode()


def test_nobody_gets_in_without_the_second_factor(large: Alert) -> None:
    desk = Client()
    desk.force_login(enlist("kyc"))
    for path in (QUEUE, page(large)):
        assert desk.get(path).status_code == 302


def test_the_queue_is_narrowed_down_to_one_client(large: Alert) -> None:
    make_alert(cast.bob().user)
    desk = office("kyc")
    assert {alert.pk for alert in desk.get(f"{QUEUE}?owner__id={large.owner_id}").context["cl"].queryset} == {large.pk}
    assert desk.get(f"{QUEUE}?status__exact=CLOSED").context["cl"].result_count == 0
    assert desk.get(f"{QUEUE}?hands=nobody").context["cl"].result_count == 2
    assert desk.get(f"{QUEUE}?hands=mine").context["cl"].result_count == 0


def test_the_queue_asks_the_database_as_often_for_one_as_for_many(
    large: Alert, django_assert_max_num_queries: Any
) -> None:
    desk = office("kyc")
    for _ in range(20):
        make_alert()
    with django_assert_max_num_queries(14):
        assert desk.get(QUEUE).context["cl"].result_count == 21


def test_a_link_to_the_row_leads_to_the_page(large: Alert) -> None:
    response = office("kyc").get(f"{QUEUE}{large.pk}/change/")
    assert (response.status_code, response.headers["Location"]) == (302, page(large))


def test_an_alert_that_is_not_there_is_not_found(large: Alert) -> None:
    desk = office("kyc")
    assert desk.get("/admin/alerts/01999999-0000-7000-8000-000000000000/").status_code == 404
    assert desk.post(f"{page(large)}forget/", {"reason": "Never mind"}).status_code == 404


def test_every_kind_of_alert_has_its_page(db: None) -> None:
    suspects.load_rules()
    referrer = client(balance=Decimal(1_000))
    first, second = (client(referred_by=referrer.user) for _ in range(2))
    suspect(first, second)
    pays_in(client(days_old=400), "2000.00")
    suspects.raise_alerts()
    desk = office("auditor")
    alerts = list(Alert.objects.all())
    assert len({alert.code for alert in alerts}) == 7
    for alert in alerts:
        assert desk.get(page(alert)).status_code == 200


def suspect(first: CastMember, second: CastMember) -> None:
    """Everything that two clients can do to be asked about."""
    pays_in(first, "10000.00")
    for _ in range(3):
        pays_in(first, "4000.00")
    calls.bank_account(first)
    calls.bank_account(second)
    takes_out(first, "22000.00")
    for who in (first, second):
        logs_in(who, "203.0.113.7")


# --- Working --------------------------------------------------------------------------------------------------------


def test_an_alert_is_worked_off_on_its_page(large: Alert) -> None:
    desk, kyc = office("kyc"), enlist("kyc")
    assert "Assigned." in step(desk, large, "assign", assignee=kyc.pk, seen="", reason="My turn")
    assert "Noted." in step(desk, large, "note", text="Sold a flat; the contract is on file")
    text = step(desk, large, "close", outcome="EXPLAINED", reason="Contract seen")
    assert "Closed." in text
    assert "Sold a flat; the contract is on file" in text
    large.refresh_from_db()
    assert (large.status, large.outcome, large.closed_by_id) == ("CLOSED", "EXPLAINED", kyc.pk)


def test_a_refusal_is_said_and_changes_nothing(large: Alert) -> None:
    desk = office("kyc")
    before = Alert.objects.values().get()
    assert "Say why" in step(desk, large, "assign", assignee=enlist("kyc").pk, seen="", reason="")
    assert "possible only from" in step(desk, large, "close", outcome="EXPLAINED", reason="Done")
    assert "Outcome: Select a valid choice" in step(desk, large, "close", outcome="FORGOTTEN", reason="Done")
    assert "Assignee:" in step(desk, large, "assign", assignee=cast.bob().user.pk, reason="His own")
    assert Alert.objects.values().get() == before


def test_who_looked_too_long_is_told(large: Alert) -> None:
    desk, colleague = office("kyc"), enlist("kyc", "second@desk.example")
    assign(large, colleague)
    assert "Somebody else has changed who works on this alert" in step(
        desk, large, "assign", assignee=enlist("kyc").pk, seen="", reason="Mine"
    )
    large.refresh_from_db()
    assert large.assignee_id == colleague.pk


@pytest.mark.parametrize("role", ["finance", "auditor", *OTHERS])
@pytest.mark.parametrize("name", ["assign", "escalate", "close", "reopen"])
def test_only_compliance_decides(large: Alert, role: str, name: str) -> None:
    before = Alert.objects.values().get()
    response = office(role).post(f"{page(large)}{name}/", {"reason": "Because"})
    assert (response.status_code, Alert.objects.values().get()) == (403, before)


def test_finance_notes_what_it_knows_and_an_auditor_writes_nothing(large: Alert) -> None:
    assert "Noted." in step(office("finance"), large, "note", text="The bank confirms the sender")
    assert office("auditor").post(f"{page(large)}note/", {"text": "Hm"}).status_code == 403
    assert AlertNote.objects.count() == 1


def test_the_page_offers_what_can_be_done(large: Alert) -> None:
    kyc = enlist("kyc")
    desk = office("kyc")
    assert offered(desk, large) == {"assign", "note"}
    assign(large, kyc)
    assert offered(desk, large) == {"assign", "note", "escalate", "close"}
    close(large, kyc)
    assert offered(desk, large) == {"note", "reopen"}
    assert offered(office("auditor"), large) == set()


def offered(desk: Client, alert: Alert) -> set[str]:
    return set(re.findall(rf'action="{page(alert)}(\w+)/"', desk.get(page(alert)).content.decode()))


def test_a_step_is_posted_with_a_token_of_the_page(large: Alert) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = office("kyc").cookies
    assert strict.post(f"{page(large)}note/", {"text": "Forged"}).status_code == 403
    assert strict.get(f"{page(large)}close/").status_code == 405
    assert AlertNote.objects.count() == 0


# --- The client -----------------------------------------------------------------------------------------------------


def readings(who: CastMember) -> dict[str, Any]:
    """Everything that the API lets this client read, by path, as their client app sees it."""
    paths = who.api.get("/api/schema").json()["paths"]
    ids: dict[str, list[Any]] = {
        "/api/v1/wallets/{number}": [who.cash.number, who.margin.number],
        "/api/v1/wallets/{number}/entries": [who.cash.number, who.margin.number],
        "/api/v1/trading-accounts/{number}": [who.account.number],
        "/api/v1/trading-accounts/{number}/changes": [who.account.number],
        "/api/v1/deposits/{deposit_id}": list(who.user.deposits.values_list("pk", flat=True)),
        "/api/v1/withdrawals/{withdrawal_id}": list(who.user.withdrawals.values_list("pk", flat=True)),
    }
    read: dict[str, Any] = {}
    for path, operations in paths.items():
        if "get" not in operations:
            continue
        places = [path] if "{" not in path else [re.sub(r"{\w+}", str(one), path) for one in ids.get(path, [])]
        for place in places:
            response = who.api.get(place)
            read[place] = (response.status_code, re.sub(rb'"request_id":"[^"]*"', b"", response.content))
    return read


def test_a_client_reads_the_same_with_alerts_as_without(db: None) -> None:
    suspects.load_rules()
    referrer = client(balance=Decimal(1_000))
    first, second = (client(referred_by=referrer.user) for _ in range(2))
    suspect(first, second)
    with suspects.ago(days=0):  # a clock that stands still, as some answers tell the time
        before = [readings(who) for who in (referrer, first, second)]
        assert suspects.raise_alerts()["raised"] >= 5
        kyc = enlist("kyc")
        for alert in Alert.objects.all():
            assign(alert, kyc)
            close(alert, kyc, "REPORTED")
        after = [readings(who) for who in (referrer, first, second)]
    for whose, (was, now) in enumerate(zip(before, after, strict=True)):
        assert {path: now[path] for path in now if now[path] != was[path]} == {}, whose
    assert sum(status == 200 for status, _ in before[1].values()) > 20
    assert before[1][f"/api/v1/deposits/{first.user.deposits.earliest('pk').pk}"][0] == 200
    assert before[1][f"/api/v1/withdrawals/{first.user.withdrawals.get().pk}"][0] == 200


def test_a_client_can_do_the_same_with_alerts_as_without(large: Alert) -> None:
    who = suspects.signed_in(cast.make_client())
    for status in ("raised", "closed"):
        who_alert = make_alert(who.user)
        if status == "closed":
            kyc = enlist("kyc")
            assign(who_alert, kyc)
            close(who_alert, kyc)
        assert calls.deposit(who, "10000.00").status_code == 201
        takes_out(who, "100.00")
        logs_in(who, "203.0.113.9")


def test_no_document_of_the_api_speaks_of_alerts(db: None) -> None:
    api = cast.api_client()
    schema = json.dumps(api.get("/api/schema").json())
    codes = {entry["code"] for entry in api.get("/api/v1/error-codes").json()["results"]}
    ours = {code for code, refusal in REGISTRY.items() if refusal.__module__.startswith("config.back_office.alerts")}
    assert len(ours) > 5
    assert codes & ours == set()
    assert not any(code in schema for code in ours)
    # Price feeds are told which of their quotes nobody believes; that is another kind of alert.
    assert re.findall(r"(?i)[\w -]{0,40}alert[\w -]{0,40}", schema) == [" all but OVERTAKEN alert"]
    assert re.findall(r"(?i)structuring|dormant|suspicio", schema) == []
