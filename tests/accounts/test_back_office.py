"""Nobody gets into the back office without a second factor, and nobody does there what their role does not name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import time_machine
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django_otp.oath import totp
from django_otp.plugins.otp_totp.models import TOTPDevice

from accounts import rules
from accounts.credentials import PasswordHash
from accounts.models import ApiToken, Freeze, ReferrerChange, User, Verification
from accounts.services import freezes, staff
from accounts.services.staff import EmailIsAClients
from core.audit import Actor
from core.models import AuditEvent
from tests import cast, factories
from tests.cast import CastMember
from wallets.models import Wallet

KEY = bytes(range(20))
LOGIN = "/admin/login/"
VERIFICATIONS = "/admin/accounts/verification/"
USERS = "/admin/accounts/user/"
FREEZES = "/admin/accounts/freeze/"
CHANGES = "/admin/accounts/referrerchange/"


@pytest.fixture(autouse=True)
def noon() -> Iterator[time_machine.Traveller]:
    """A code is good for half a minute; here that does not pass by itself."""
    with time_machine.travel(timezone.now().replace(second=1), tick=False) as clock:
        yield clock


def enlist(role: str, email: str | None = None, key: bytes = KEY) -> User:
    staff.define_roles()
    return staff.enlist_staff(
        email=email or f"{role}@desk.example",
        name=role.title(),
        role=role,
        password=PasswordHash(factories.password_hash()),
        totp_key=key,
        actor=Actor.system("test"),
    )


def log_in(user: User, *, password: str = cast.PASSWORD, code: str | None = None, **form: str) -> Any:
    client = Client(REMOTE_ADDR="198.51.100.9")
    code = code if code is not None else f"{totp(KEY):06d}"
    response = client.post(LOGIN, {"username": user.email, "password": password, "otp_token": code, **form})
    return client, response


def office(role: str) -> Client:
    client, response = log_in(enlist(role))
    assert response.status_code == 302
    return client  # type: ignore[no-any-return]  # the pair is Any to spare every caller a cast


def act(client: Client, path: str, action: str, row: Any, reason: str = "Passport seen", **more: str) -> Any:
    form = {"action": action, "_selected_action": str(row.pk), "index": "0", "reason": reason, **more}
    return client.post(path, form, follow=True)


def submitted() -> tuple[CastMember, Verification]:
    client = cast.make_client(verified=False)
    return client, Verification.objects.create(owner=client.user, status=Verification.Status.SUBMITTED)


# --- Getting in -----------------------------------------------------------------------------------------------------


def test_password_and_code_open_the_door(db: None) -> None:
    client, response = log_in(enlist("kyc"))
    assert (response.status_code, response.headers["Location"]) == (302, "/admin/")
    page = client.get("/admin/")
    assert page.status_code == 200
    assert "Dealing Desk" in page.content.decode()


@pytest.mark.parametrize("code", ["", "000000", "abcdef", "１２３４５６"])
def test_a_password_alone_does_not(db: None, code: str) -> None:
    client, response = log_in(enlist("admin"), code=code)
    assert response.status_code == 200
    assert cast.PASSWORD not in response.content.decode()
    assert client.get("/admin/").status_code == 302


def test_a_code_alone_does_not(db: None) -> None:
    client, response = log_in(enlist("admin"), password="wrong-password-1")
    assert response.status_code == 200
    assert client.get("/admin/").status_code == 302


def test_a_code_works_once(db: None, noon: time_machine.Traveller) -> None:
    user = enlist("kyc")
    code = f"{totp(KEY):06d}"
    assert log_in(user, code=code)[1].status_code == 302
    assert log_in(user, code=code)[1].status_code == 200
    noon.shift(60)
    assert log_in(user)[1].status_code == 302


def test_somebody_elses_device_does_not(db: None) -> None:
    other = enlist("finance", key=KEY)
    user = enlist("kyc", key=bytes(20))
    device = TOTPDevice.objects.get(user=other)
    client, response = log_in(user, otp_device=device.persistent_id)
    assert response.status_code == 200
    assert client.get("/admin/").status_code == 302


def test_superusers_and_clients_without_a_device_stay_outside(db: None) -> None:
    carol, alice = cast.carol_staff(), cast.alice()
    for user, status in ((carol.user, 302), (alice.user, 200)):  # staff are led to the set-up of one
        client, response = log_in(user)
        assert response.status_code == status
        assert client.get("/admin/").headers["Location"].startswith(LOGIN)
    forced = Client()
    forced.force_login(carol.user)
    assert forced.get(USERS).status_code == 302


def test_guessing_gets_slower(db: None) -> None:
    user = enlist("kyc")
    for _ in range(5):
        assert "correct" in log_in(user, password="wrong-password-1")[1].content.decode()
    client, response = log_in(user)
    assert "Too many attempts" in response.content.decode()
    assert client.get("/admin/").status_code == 302


def test_next_leads_nowhere_else(db: None) -> None:
    _, response = log_in(enlist("kyc"), next="https://evil.example/")
    assert response.headers["Location"] == "/admin/"


def test_a_forged_form_is_refused(db: None) -> None:
    user = enlist("kyc")
    client = Client(enforce_csrf_checks=True)
    form = {"username": user.email, "password": cast.PASSWORD, "otp_token": f"{totp(KEY):06d}"}
    assert client.post(LOGIN, form).status_code == 403


# --- Roles ----------------------------------------------------------------------------------------------------------


def test_roles_may_look_and_change_what_is_named(db: None) -> None:
    for role in rules.ROLES:
        user = enlist(role)
        may = {name for name in user.get_all_permissions() if ".view_" not in name}
        assert may == set(rules.ROLES[role].does)
        assert user.has_perm("wallets.view_entry") is (role != "admin")
        assert not user.is_superuser
    assert not Permission.objects.filter(group__isnull=False, codename__startswith="delete_").exists()


def test_a_clients_address_never_becomes_staff(db: None) -> None:
    alice = cast.alice()
    with pytest.raises(EmailIsAClients):
        enlist("admin", email="Alice@example.com")
    alice.user.refresh_from_db()
    assert (alice.user.is_staff, alice.user.groups.count()) == (False, 0)


def test_a_new_device_replaces_the_old_one(db: None) -> None:
    enlist("kyc")
    user = enlist("kyc", key=b"x" * 20)
    assert [device.bin_key for device in TOTPDevice.objects.filter(user=user)] == [b"x" * 20]


# --- What staff do --------------------------------------------------------------------------------------------------


def test_compliance_reviews_and_approves_with_a_reason(db: None) -> None:
    client, row = submitted()
    kyc = office("kyc")
    for action in ("start_review", "approve"):
        page = act(kyc, VERIFICATIONS, action, row)
        assert "errornote" not in page.content.decode()
    row.refresh_from_db()
    assert (row.status, row.reviewed_by, row.reason) == (
        "APPROVED",
        User.objects.get(email="kyc@desk.example"),
        "Passport seen",
    )
    assert set(Wallet.objects.filter(owner=client.user).values_list("verified", flat=True)) == {True}
    event = AuditEvent.objects.filter(action="accounts.verification.reviewed").latest("pk")
    assert (event.actor_kind, event.reason) == ("STAFF", "Passport seen")


def test_what_a_service_refuses_is_told(db: None) -> None:
    _, row = submitted()
    kyc = office("kyc")
    assert "cannot become APPROVED" in act(kyc, VERIFICATIONS, "approve", row).content.decode()
    assert "Say why" in act(kyc, VERIFICATIONS, "start_review", row, reason="").content.decode()
    row.refresh_from_db()
    assert row.status == "SUBMITTED"


@pytest.mark.parametrize("role", ["support", "finance", "dealing", "auditor"])
def test_other_roles_look_on(db: None, role: str) -> None:
    client, row = submitted()
    staff_client = office(role)
    assert staff_client.get(VERIFICATIONS).status_code == 200
    act(staff_client, VERIFICATIONS, "start_review", row)
    act(staff_client, USERS, "freeze_login", client.user)
    row.refresh_from_db()
    assert (row.status, Freeze.objects.count()) == ("SUBMITTED", 0)


def test_one_freezes_and_another_one_lifts(db: None) -> None:
    client, _ = submitted()
    kim, (eve, _) = office("kyc"), log_in(enlist("kyc", "eve@desk.example"))
    for scope in ("login", "trading", "deposits", "withdrawals"):
        act(kim, USERS, f"freeze_{scope}", client.user, reason="Alert 7")
    assert Freeze.objects.filter(owner=client.user, reason="Alert 7").count() == 4
    assert not ApiToken.objects.filter(owner=client.user, revoked_at__isnull=True).exists()
    for row in Freeze.objects.all():
        page = act(kim, FREEZES, "lift", row, reason="False alarm")
        assert "Whoever placed a freeze does not lift it" in page.content.decode()
        act(eve, FREEZES, "lift", row, reason="False alarm")
    assert Freeze.objects.filter(lifted_at__isnull=True).count() == 0
    assert set(Wallet.objects.filter(owner=client.user).values_list("withdrawals_enabled", flat=True)) == {True}


def test_who_referred_a_client_is_changed_by_two_people(db: None) -> None:
    code = rules.new_referral_code()
    client, referrer = cast.alice().user, factories.Person.create(referral_code=code)
    kim, (kit, _) = office("kyc"), log_in(enlist("kyc", email="kit@desk.example"))
    act(kim, USERS, "propose_referrer", client, reason="His letter", code="NOSUCHCO")
    assert not ReferrerChange.objects.exists()
    act(kim, USERS, "propose_referrer", client, reason="His letter", code=code.lower())
    change = ReferrerChange.objects.get()
    page = act(kim, CHANGES, "approve", change)
    assert "Whoever proposed a change does not decide about it" in page.content.decode()
    for colleague, status in ((office("support"), "PROPOSED"), (kit, "APPROVED")):
        act(colleague, CHANGES, "approve", change)
        change.refresh_from_db()
        assert change.status == status
    client.refresh_from_db()
    assert (client.referred_by, change.referrer) == (referrer, referrer)


PEOPLE = [model for model in admin.site._registry if model._meta.app_label == "accounts"]


@pytest.mark.parametrize("model", PEOPLE, ids=lambda model: model.__name__)
def test_nothing_about_people_is_typed_over_even_by_superusers(db: None, model: Any) -> None:
    client, _ = submitted()
    freezes.place_freeze(owner=client.user.pk, scope="LOGIN", reason="x", actor=Actor.system())
    user = enlist("admin")
    ReferrerChange.objects.create(owner=client.user, proposed_by=user, reason="x")
    User.objects.filter(pk=user.pk).update(is_superuser=True)
    ada, _ = log_in(user)
    name = f"admin:accounts_{model._meta.model_name}"
    row = model.objects.exclude(pk=user.pk).latest("pk")
    listing = ada.get(reverse(f"{name}_changelist"))
    page = ada.get(reverse(f"{name}_change", args=[row.pk]))
    assert (listing.status_code, page.status_code) == (200, 200)
    for secret in (client.user.password, bytes(ApiToken.objects.latest("pk").digest).hex()):
        assert secret not in page.content.decode()
    assert ada.get(reverse(f"{name}_add")).status_code == 403
    assert ada.post(reverse(f"{name}_change", args=[row.pk]), {"is_staff": "on"}).status_code == 403
    assert ada.post(reverse(f"{name}_delete", args=[row.pk]), {"post": "yes"}).status_code == 403
    assert "delete_selected" not in listing.content.decode()
    assert model.objects.filter(pk=row.pk).exists()
