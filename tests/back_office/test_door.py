"""Nobody is inside without a second factor of their own, and whoever is inside can be seen and shown out."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
import time_machine
from django.conf import settings
from django.contrib import admin
from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django_otp import DEVICE_ID_SESSION_KEY
from django_otp.oath import totp
from django_otp.plugins.otp_static.models import StaticDevice, StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice

from accounts.credentials import PasswordHash
from accounts.models import StaffSession, User
from accounts.services import staff
from config.back_office.door.sessions import stored_key
from core.admin import ReadOnlyAdmin
from core.audit import Actor, ActorKind
from core.models import AuditEvent
from tests import cast, database, factories
from tests.accounts.test_back_office import KEY, LOGIN, USERS, enlist, log_in, noon, office  # noqa: F401  # a fixture

SET_UP = "/admin/set-up/"
CODES = "/admin/recovery-codes/"
SESSIONS = "/admin/sessions/"
OWN_PASSWORD = "orchard-lantern-4417"


def newcomer(role: str = "kyc") -> User:
    """Somebody taken on today: a role and a first password, and no device."""
    staff.define_roles()
    ada = factories.Staff.create(email=f"boss-of-{role}@desk.example")
    return staff.take_on_staff(
        email=f"new-{role}@desk.example",
        name="Nia New",
        role=role,
        password=PasswordHash(factories.password_hash()),
        reason="starts today",
        actor=Actor(ada.pk, ActorKind.STAFF),
    )


def begun(user: User) -> Client:
    client, response = log_in(user, code="")
    assert (response.status_code, response.headers["Location"]) == (302, SET_UP)
    assert isinstance(client, Client)
    return client


def key_of(user: User) -> bytes:
    key: bytes = TOTPDevice.objects.get(user=user).bin_key
    return key


def finish(client: Client, user: User, **changed: str) -> Any:
    form = {"code": f"{totp(key_of(user)):06d}", "password": OWN_PASSWORD, "again": OWN_PASSWORD}
    return client.post(SET_UP, form | changed)


def is_inside(client: Client) -> bool:
    return client.get("/admin/").status_code == 200


def codes_on(page: Any) -> list[str]:
    return re.findall(r"<li>([a-z0-9-]{14})</li>", page.content.decode())


def audited(action: str) -> list[AuditEvent]:
    return list(AuditEvent.objects.filter(action=f"accounts.{action}").order_by("id"))


# --- Set-up -----------------------------------------------------------------------------------------------------------


def test_a_password_alone_leads_to_the_set_up_and_nowhere_else(db: None) -> None:
    client = begun(newcomer("admin"))
    assert SESSION_KEY not in client.session
    for path in ("/admin/", USERS, SESSIONS, CODES, "/admin/staff/", "/admin/password_change/", "/admin/search/?s=a"):
        response = client.get(path)
        assert (response.status_code, response.headers["Location"].split("?")[0]) == (302, LOGIN)
    assert not StaffSession.objects.exists()


def test_the_set_up_page_shows_the_secret_as_picture_and_text(db: None) -> None:
    user = newcomer()
    page = begun(user).get(SET_UP)
    text = page.content.decode()
    assert "data:image/svg+xml" in text
    shown = re.search(r'id="secret">([A-Z2-7 ]+)<', text)
    assert shown is not None
    assert shown[1].replace(" ", "") == TOTPDevice.objects.get(user=user).config_url.partition("secret=")[2][:32]
    assert (page.status_code, "no-store" in page.headers["Cache-Control"]) == (200, True)


def test_a_code_and_a_password_of_ones_own_finish_it(db: None) -> None:
    user = newcomer()
    client = begun(user)
    page = finish(client, user)
    assert (page.status_code, len(set(codes_on(page)))) == (200, 10)
    assert is_inside(client)
    user.refresh_from_db()
    assert user.check_password(OWN_PASSWORD)
    assert TOTPDevice.objects.get(user=user).confirmed
    assert [event.owner for event in audited("second_factor.set_up")] == [user.pk]
    assert StaffSession.objects.get(ended_at=None).owner == user
    assert client.get(SET_UP).headers["Location"].startswith(LOGIN)  # which sends who is inside on
    written = str([vars(event) for event in AuditEvent.objects.all()])
    secrets = (OWN_PASSWORD, cast.PASSWORD, TOTPDevice.objects.get(user=user).key, *codes_on(page))
    assert [secret for secret in secrets if secret in written] == []


@pytest.mark.parametrize(
    "wrong,said",
    [
        ({"code": "000000"}, "not the code"),
        ({"code": "１２３４５６"}, "not the code"),
        ({"code": ""}, "required"),
        ({"again": "something-else-9"}, "differ"),
        ({"password": "short", "again": "short"}, "too short"),
        ({"password": "new-kyc@desk.example", "again": "new-kyc@desk.example"}, "too similar"),
    ],
)
def test_a_set_up_that_is_wrong_changes_nothing(db: None, wrong: dict[str, str], said: str) -> None:
    user = newcomer()
    client = begun(user)
    page = finish(client, user, **wrong)
    assert (page.status_code, said in page.content.decode()) == (200, True)
    assert not TOTPDevice.objects.filter(confirmed=True).exists()
    assert not StaticToken.objects.exists()
    user.refresh_from_db()
    assert user.check_password(cast.PASSWORD)
    assert not is_inside(client)


def test_the_code_of_the_set_up_does_not_log_in_as_well(db: None) -> None:
    user = newcomer()
    client = begun(user)
    code = f"{totp(key_of(user)):06d}"
    finish(client, user)
    _, response = log_in(user, password=OWN_PASSWORD, code=code)
    assert response.status_code == 200


def test_a_set_up_ends_with_its_time(db: None, noon: time_machine.Traveller) -> None:  # noqa: F811
    user = newcomer()
    client = begun(user)
    noon.shift(60 * settings.STAFF_IDLE_MINUTES + 1)
    assert finish(client, user).headers["Location"] == LOGIN
    assert not TOTPDevice.objects.filter(confirmed=True).exists()


def test_a_set_up_ends_with_the_next_one_begun(db: None) -> None:
    user = newcomer()
    first = begun(user)
    second = begun(user)
    assert finish(first, user).headers["Location"] == LOGIN
    assert finish(second, user).status_code == 200
    assert TOTPDevice.objects.filter(user=user).count() == 1


def test_a_set_up_ends_with_the_password_it_began_with(db: None) -> None:
    user = newcomer()
    client = begun(user)
    user.set_password("another-password-77")
    user.save(update_fields=["password"])
    assert finish(client, user).headers["Location"] == LOGIN


def test_who_has_left_sets_nothing_up(db: None) -> None:
    user = newcomer()
    client = begun(user)
    User.objects.filter(pk=user.pk).update(is_active=False)
    assert finish(client, user).headers["Location"] == LOGIN


def test_nobody_sets_up_by_coming_to_the_page(db: None) -> None:
    newcomer()
    for response in (Client().get(SET_UP), Client().post(SET_UP, {"code": "000000"})):
        assert (response.status_code, response.headers["Location"]) == (302, LOGIN)


def test_who_has_a_device_cannot_be_led_to_another_set_up(db: None) -> None:
    user = enlist("kyc")
    client, response = log_in(user, code="")
    assert response.status_code == 200
    assert client.get(SET_UP).headers["Location"] == LOGIN


def test_a_forged_set_up_is_refused(db: None) -> None:
    user = newcomer()
    client = begun(user)
    forger = Client(enforce_csrf_checks=True)
    forger.cookies = client.cookies
    assert finish(forger, user).status_code == 403
    assert not TOTPDevice.objects.filter(confirmed=True).exists()


# --- Session keys -----------------------------------------------------------------------------------------------------


def test_a_key_from_before_the_log_in_opens_nothing(db: None) -> None:
    """Who has planted a session in somebody's browser does not find themselves inside when they log in."""
    client = Client()
    session = client.session
    session["planted"] = "yes"
    session.save()
    planted = str(session.session_key)
    client.cookies[settings.SESSION_COOKIE_NAME] = planted
    user = enlist("kyc")
    client.post(LOGIN, {"username": user.email, "password": cast.PASSWORD, "otp_token": f"{totp(KEY):06d}"})
    assert client.cookies[settings.SESSION_COOKIE_NAME].value != planted
    assert is_inside(client)
    attacker = Client()
    attacker.cookies[settings.SESSION_COOKIE_NAME] = planted
    assert not is_inside(attacker)


def test_every_step_has_a_key_of_its_own(db: None) -> None:
    user = newcomer()
    client = begun(user)
    before = client.cookies[settings.SESSION_COOKIE_NAME].value
    finish(client, user)
    assert client.cookies[settings.SESSION_COOKIE_NAME].value != before
    after = client.cookies[settings.SESSION_COOKIE_NAME].value
    assert after != before
    assert [row.session_key for row in Session.objects.all()] == [stored_key(after)]


def test_who_reads_the_table_of_sessions_cannot_come_in_with_it(db: None) -> None:
    client = Client()
    client.force_login(cast.carol_staff().user)
    thief = Client()
    (thief.cookies[settings.SESSION_COOKIE_NAME],) = Session.objects.values_list("session_key", flat=True)
    assert client.cookies[settings.SESSION_COOKIE_NAME].value != thief.cookies[settings.SESSION_COOKIE_NAME].value
    assert (len(thief.session.items()), len(client.session.items())) == (0, 3)


# --- Recovery codes ---------------------------------------------------------------------------------------------------


def recovered(user: User, client: Client) -> list[str]:
    """Ten codes, made in the next half minute: the code that logged in is spent."""
    page = client.post(CODES, {"code": f"{totp(KEY):06d}"})
    assert page.status_code == 200
    return codes_on(page)


@pytest.fixture
def kim(db: None, noon: time_machine.Traveller) -> tuple[User, Client, list[str]]:  # noqa: F811
    """A member of staff who is inside and has recovery codes."""
    client = office("kyc")
    user = User.objects.get(email="kyc@desk.example")
    noon.shift(30)
    codes = recovered(user, client)
    assert len(codes) == 10
    return user, client, codes


def test_a_recovery_code_opens_once(kim: tuple[User, Client, list[str]]) -> None:
    user, _, codes = kim
    client, response = log_in(user, code=codes[3].upper().replace("-", " "))
    assert response.status_code == 302
    assert is_inside(client)
    assert log_in(user, code=codes[3])[1].status_code == 200
    assert StaticToken.objects.count() == 9
    assert audited("staff.logged_in")[-1].after == {"second_factor": "StaticDevice"}


def test_a_recovery_code_is_stored_as_a_digest(kim: tuple[User, Client, list[str]]) -> None:
    user, _, codes = kim
    stored = set(StaticToken.objects.values_list("token", flat=True))
    assert not stored & {*codes, *(code.replace("-", "") for code in codes)}
    _, response = log_in(user, code=next(iter(stored)))  # what the table shows is no code
    assert response.status_code == 200


def test_a_recovery_code_alone_or_somebody_elses_opens_nothing(kim: tuple[User, Client, list[str]]) -> None:
    user, _, codes = kim
    assert log_in(user, password="wrong-password-1", code=codes[0])[1].status_code == 200
    assert log_in(enlist("finance"), code=codes[0])[1].status_code == 200
    assert StaticToken.objects.count() == 10


def test_new_codes_need_a_fresh_code_and_end_the_old(
    kim: tuple[User, Client, list[str]],
    noon: time_machine.Traveller,  # noqa: F811
) -> None:
    user, client, codes = kim
    for wrong in (f"{totp(KEY):06d}", codes[0][:6], ""):  # used, of another kind, none
        assert codes_on(client.post(CODES, {"code": wrong})) == []
    noon.shift(30)
    assert set(recovered(user, client)) & set(codes) == set()
    assert log_in(user, code=codes[0])[1].status_code == 200
    assert StaticDevice.objects.filter(user=user).count() == 1
    assert len(audited("recovery_codes.replaced")) == 2


def test_guessing_at_an_unlocked_screen_is_stopped(kim: tuple[User, Client, list[str]]) -> None:
    _, client, _ = kim
    for _ in range(5):
        assert "not the code" in client.post(CODES, {"code": "000000"}).content.decode()
    assert "Too many attempts" in client.post(CODES, {"code": "000000"}).content.decode()


# --- One's own password -----------------------------------------------------------------------------------------------


def test_a_password_is_changed_for_a_code_and_ends_every_session(
    kim: tuple[User, Client, list[str]],
    noon: time_machine.Traveller,  # noqa: F811
) -> None:
    user, client, _ = kim
    form = {"code": f"{totp(KEY):06d}", "password": OWN_PASSWORD, "again": OWN_PASSWORD}
    assert "not the code" in client.post("/admin/password_change/", form).content.decode()
    user.refresh_from_db()
    assert user.check_password(cast.PASSWORD)
    noon.shift(30)
    form["code"] = f"{totp(KEY):06d}"
    assert client.post("/admin/password_change/", form).headers["Location"] == LOGIN
    assert not is_inside(client)
    assert not StaffSession.objects.filter(owner=user, ended_at=None).exists()
    noon.shift(30)
    assert log_in(user)[1].status_code == 200
    assert log_in(user, password=OWN_PASSWORD)[1].status_code == 302
    assert len(audited("password.changed")) == 1


# --- Two at once ------------------------------------------------------------------------------------------------------


def test_one_code_lets_one_of_many_in(committed_db: database.Clone) -> None:
    user = enlist("kyc")
    many, code = 6, f"{totp(KEY):06d}"
    barrier = Barrier(many)

    def enter() -> int:
        try:
            barrier.wait()
            return int(log_in(user, code=code)[1].status_code)
        finally:
            connection.close()

    with ThreadPoolExecutor(many) as pool:
        statuses = sorted(future.result() for future in [pool.submit(enter) for _ in range(many)])
    assert statuses == [200] * (many - 1) + [302]
    assert StaffSession.objects.count() == 1


# --- Idle, and too long -----------------------------------------------------------------------------------------------


def test_an_idle_session_is_over(db: None, noon: time_machine.Traveller) -> None:  # noqa: F811
    client = office("kyc")
    assert is_inside(client)
    noon.shift(60 * settings.STAFF_IDLE_MINUTES + 1)
    page = client.get(USERS, follow=True)
    assert page.redirect_chain[0][0].startswith(LOGIN)
    assert "idle for 15 minutes" in page.content.decode()
    assert not is_inside(client)
    session = StaffSession.objects.get()
    assert (session.reason, session.ended_by) == ("Idle for 15 minutes", None)
    assert audited("staff.logged_out")[0].actor_kind == "SYSTEM"


def test_an_idle_sessions_post_does_nothing(db: None, noon: time_machine.Traveller) -> None:  # noqa: F811
    ada, sam = office("admin"), enlist("support")
    noon.shift(60 * settings.STAFF_IDLE_MINUTES + 1)
    ada.post(f"/admin/staff/{sam.pk}/", {"decision": "deactivate", "reason": "x"})
    sam.refresh_from_db()
    assert sam.is_active


def test_a_busy_session_lasts_and_writes_once_a_minute(db: None, noon: time_machine.Traveller) -> None:  # noqa: F811
    client = office("kyc")
    noon.shift(50)
    with CaptureQueriesContext(connection) as queries:
        for _ in range(5):
            assert is_inside(client)
    assert [query for query in queries if "UPDATE" in query["sql"]] == []
    noon.shift(20)
    with CaptureQueriesContext(connection) as queries:
        for _ in range(5):
            assert is_inside(client)
    assert len([query for query in queries if 'UPDATE "accounts_staffsession"' in query["sql"]]) == 1
    for _ in range(10):
        noon.shift(60 * 10)
        assert is_inside(client)


def test_nobody_stays_for_more_than_a_days_work(db: None, noon: time_machine.Traveller) -> None:  # noqa: F811
    client = office("kyc")
    for _ in range(settings.SESSION_COOKIE_AGE // 600):
        noon.shift(600)
        session = client.session
        session["busy"] = session.get("busy", 0) + 1  # Django starts its eight hours anew with every change
        session.save()
        assert is_inside(client)
    noon.shift(60)
    assert not is_inside(client)
    assert StaffSession.objects.get().reason == "Logged in for 8 hours"


# --- The list of sessions ---------------------------------------------------------------------------------------------


def test_log_in_and_log_out_are_on_the_list_and_in_the_audit_trail(db: None) -> None:
    client = office("kyc")
    session = StaffSession.objects.get()
    assert (str(session.address), session.ended_at) == ("198.51.100.9", None)
    assert bytes(session.digest) != str(client.session.session_key).encode()
    client.post("/admin/logout/")
    session.refresh_from_db()
    assert (session.reason, session.ended_by, session.ended_at is None) == ("Logged out", session.owner, False)
    assert [event.object_id for event in audited("staff.logged_in") + audited("staff.logged_out")] == [
        str(session.pk)
    ] * 2
    assert not is_inside(client)


def test_who_is_refused_is_remembered_without_what_they_typed(db: None) -> None:
    user = enlist("kyc")
    log_in(user, password="wrong-password-1")
    log_in(user, code="000000")
    Client(REMOTE_ADDR="198.51.100.9").post(LOGIN, {"username": "hunter2-my-password", "password": "x"})
    events = audited("staff.log_in_refused")
    assert [(event.owner == user.pk, event.after) for event in events] == [
        (True, {"why": "invalid_login"}),
        (True, {"why": "invalid_token"}),
        (False, {"why": "invalid_login"}),
    ]
    assert {str(event.address) for event in events} == {"198.51.100.9"}
    assert "hunter2" not in str([vars(event) for event in events])


def test_guessing_does_not_fill_the_audit_trail(db: None) -> None:
    user = enlist("kyc")
    for _ in range(12):
        log_in(user, password="wrong-password-1")
    assert len(audited("staff.log_in_refused")) == 5


def test_one_ends_ones_own_session_and_it_is_over_at_its_next_request(db: None) -> None:
    user = enlist("kyc")
    here, _ = log_in(user)
    there = Client()
    there.force_login(user)
    session = there.session
    session[DEVICE_ID_SESSION_KEY] = TOTPDevice.objects.get(user=user).persistent_id
    session.save()
    assert is_inside(there)
    other = StaffSession.objects.exclude(address="198.51.100.9").get()  # nobody saw it log in; it is on the list
    page = here.get(SESSIONS).content.decode()
    assert (str(other.pk) in page, "This one" in page) == (True, True)
    here.post(SESSIONS, {"session": str(other.pk)})
    assert not is_inside(there)
    assert is_inside(here)
    other.refresh_from_db()
    assert (other.ended_by, other.reason) == (user, "Ended by its owner")


def test_an_admin_ends_anybodys_session_with_a_reason(db: None) -> None:
    kim, ada = office("kyc"), office("admin")
    session = StaffSession.objects.get(owner__email="kyc@desk.example")
    page = ada.post(SESSIONS, {"session": str(session.pk), "reason": ""}, follow=True)
    assert "Say why" in page.content.decode()
    assert is_inside(kim)
    ada.post(SESSIONS, {"session": str(session.pk), "reason": "laptop stolen"})
    assert not is_inside(kim)
    assert audited("staff.logged_out")[0].reason == "laptop stolen"


@pytest.mark.parametrize("role", ["support", "kyc", "finance", "dealing", "auditor"])
def test_others_end_nobodys_but_their_own(db: None, role: str) -> None:
    ada, other = office("admin"), office(role)
    session = StaffSession.objects.get(owner__email="admin@desk.example")
    shown = other.get(SESSIONS).content.decode()
    assert ("Admin" in shown) is (role == "auditor")
    assert other.post(SESSIONS, {"session": str(session.pk), "reason": "x"}).status_code == 404
    assert is_inside(ada)


# --- Staff ------------------------------------------------------------------------------------------------------------


def test_an_admin_takes_somebody_on_who_then_sets_up(db: None) -> None:
    ada = office("admin")
    form = {"email": "Noor@desk.example", "name": "Noor", "role": "finance", "reason": "vacancy 7"}
    page = ada.post("/admin/staff/new/", form)
    shown = re.search(r'id="password">([\w-]{20})<', page.content.decode())
    assert shown is not None
    user = User.objects.get(email="noor@desk.example")
    client, response = log_in(user, password=shown[1], code="")
    assert response.headers["Location"] == SET_UP
    assert finish(client, user).status_code == 200
    assert is_inside(client)
    assert user.has_perm("wallets.change_withdrawal")
    assert log_in(user, password=shown[1])[1].status_code == 200
    (event,) = audited("staff.taken_on")
    assert (event.reason, event.after, event.actor_id) == (
        "vacancy 7",
        {"role": "finance"},
        User.objects.get(email="admin@desk.example").pk,
    )


@pytest.mark.parametrize(
    "changed,said",
    [
        ({"email": "alice@example.com"}, "A client has this email address"),
        ({"email": "ADMIN@desk.example"}, "Somebody who works here"),
        ({"reason": ""}, "required"),
        ({"role": "root"}, "not one of the available choices"),
    ],
)
def test_nobody_is_taken_on_who_may_not_be(db: None, changed: dict[str, str], said: str) -> None:
    cast.alice()
    ada = office("admin")
    before = list(User.objects.order_by("pk").values())
    form = {"email": "noor@desk.example", "name": "Noor", "role": "finance", "reason": "vacancy 7"}
    page = ada.post("/admin/staff/new/", form | changed)
    assert said in page.content.decode()
    assert list(User.objects.order_by("pk").values()) == before


def decide(client: Client, user: User, decision: str, **terms: str) -> Any:
    return client.post(f"/admin/staff/{user.pk}/", {"decision": decision, **terms}, follow=True)


def test_a_role_changes_from_the_next_request_on(db: None) -> None:
    ada, dee = office("admin"), office("dealing")
    user = User.objects.get(email="dealing@desk.example")
    token = cast.issue_token(user, scopes=["market_data"])
    assert dee.get("/admin/trading/instrument/").status_code == 200
    decide(ada, user, "role", role="admin", reason="new job")
    assert dee.get("/admin/trading/instrument/").status_code == 403
    assert cast.api_client(token).get("/api/v1/me").status_code == 401
    (event,) = audited("staff.role_changed")
    assert (event.before, event.after, event.reason) == (
        {"roles": ["dealing"]},
        {"roles": ["admin"], "tokens_revoked": 1},
        "new job",
    )


def test_a_reset_ends_the_sessions_and_leads_to_a_new_set_up(
    kim: tuple[User, Client, list[str]],
) -> None:
    user, client, codes = kim
    ada = office("admin")
    decide(ada, user, "second_factor", reason="phone lost")
    assert not is_inside(client)
    assert (TOTPDevice.objects.filter(user=user).count(), StaticToken.objects.count()) == (0, 0)
    _, response = log_in(user, code=codes[0])
    assert response.headers["Location"] == SET_UP
    assert audited("second_factor.reset")[0].reason == "phone lost"


def test_who_is_deactivated_is_out_at_once(db: None) -> None:
    ada, kim = office("admin"), office("kyc")
    user = User.objects.get(email="kyc@desk.example")
    token = cast.issue_token(user)
    decide(ada, user, "deactivate", reason="has left")
    assert not is_inside(kim)
    assert cast.api_client(token).get("/api/v1/me").status_code == 401
    assert log_in(user)[1].status_code == 200
    assert not StaffSession.objects.filter(owner=user, ended_at=None).exists()
    (event,) = audited("staff.deactivated")
    assert event.after == {"is_active": False, "sessions_ended": 1, "tokens_revoked": 1}


DECISIONS: list[tuple[str, dict[str, str]]] = [("role", {"role": "support"}), ("second_factor", {}), ("deactivate", {})]


def access() -> list[Any]:
    """What decides who may do what."""
    return [
        list(User.objects.order_by("pk").values("pk", "is_active", "is_superuser", "password", "groups__name")),
        list(TOTPDevice.objects.order_by("pk").values()),
        list(StaffSession.objects.filter(ended_at=None).order_by("pk").values("pk")),
    ]


@pytest.mark.parametrize("decision,terms", DECISIONS)
def test_nobody_decides_about_their_own_access(db: None, decision: str, terms: dict[str, str]) -> None:
    ada = office("admin")
    before = access()
    page = decide(ada, User.objects.get(email="admin@desk.example"), decision, reason="because", **terms)
    assert "Nobody decides about their own access" in page.content.decode()
    assert access() == before


@pytest.mark.parametrize("decision,terms", DECISIONS)
def test_nobody_here_decides_about_a_superuser_or_a_client(db: None, decision: str, terms: dict[str, str]) -> None:
    carol, alice, ada = cast.carol_staff(), cast.alice(), office("admin")
    before = access()
    page = decide(ada, carol.user, decision, reason="because", **terms)
    assert "What a superuser may do is decided on the server" in page.content.decode()
    assert decide(ada, alice.user, decision, reason="because", **terms).status_code == 404
    assert access() == before


@pytest.mark.parametrize("decision,terms", DECISIONS)
def test_every_decision_has_a_reason(db: None, decision: str, terms: dict[str, str]) -> None:
    ada, user = office("admin"), enlist("kyc")
    before = access()
    assert "Reason: This field is required" in decide(ada, user, decision, **terms).content.decode()
    assert access() == before


@pytest.mark.parametrize("role", ["support", "kyc", "finance", "dealing", "auditor"])
def test_other_roles_decide_nothing_about_staff(db: None, role: str) -> None:
    office("admin")
    other, user = office(role), enlist("kyc", email="kit@desk.example")
    before = access()
    assert other.get("/admin/staff/").status_code == (200 if role == "auditor" else 403)
    assert other.get("/admin/staff/new/").status_code == 403
    for decision, terms in DECISIONS:
        assert decide(other, user, decision, reason="because", **terms).status_code == 403
    assert access() == before


def test_who_comes_back_sets_up_anew(db: None) -> None:
    ada, user = office("admin"), enlist("kyc")
    decide(ada, user, "deactivate", reason="has left")
    ada.post("/admin/staff/new/", {"email": user.email, "name": "Kim", "role": "support", "reason": "is back"})
    user.refresh_from_db()
    assert (user.is_active, [group.name for group in user.groups.all()]) == (True, ["support"])
    assert not TOTPDevice.objects.filter(user=user).exists()


# --- No other way -----------------------------------------------------------------------------------------------------


def test_every_list_is_one_that_nobody_can_edit() -> None:
    assert [model for model, row in admin.site._registry.items() if not isinstance(row, ReadOnlyAdmin)] == []
    kinds = {model._meta.label for model in admin.site._registry}
    assert not kinds & {"auth.Group", "otp_totp.TOTPDevice", "otp_static.StaticDevice"}
    assert {"accounts.User", "wallets.Wallet"} <= kinds


def test_nothing_is_searched_through_a_field_that_completes_itself(db: None) -> None:
    path = reverse("admin:autocomplete")
    query = {"app_label": "wallets", "model_name": "wallet", "field_name": "owner", "term": "a"}
    assert office("support").get(path, query).status_code == 404
