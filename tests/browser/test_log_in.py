"""The way in, as a person takes it."""

from __future__ import annotations

import base64
from collections.abc import Callable

from django_otp.oath import totp

from accounts import rules
from accounts.credentials import PasswordHash
from accounts.services import staff
from core.audit import Actor
from tests import factories
from tests.browser.visit import SignIn, Visit, enlist

KEY = bytes(range(20))
NEW_PASSWORD = "heron-lantern-quartz-4"


def test_password_and_code_lead_to_the_back_office(sign_in: SignIn) -> None:
    office = sign_in("kyc")
    assert office.page.url.endswith("/admin/")
    assert "Dealing Desk" in office.text()
    assert office.side_bar()


def test_a_wrong_code_is_told_and_leads_nowhere(visit: Callable[[], Visit]) -> None:
    office = visit()
    office.log_in(enlist("kyc", key=KEY).email, factories.PASSWORD, KEY, code="000000")
    assert "/login/" in office.page.url
    assert "code is not right" in office.text()
    assert office.page.input_value("input[name=password]") == ""


def test_every_door_of_the_side_bar_opens(sign_in: SignIn) -> None:
    opened: set[str] = set()
    for role in rules.ROLES:
        office = sign_in(role)
        doors = office.side_bar()
        assert len(doors) > 5
        for door in doors:
            if door not in opened:  # what is behind it is much the same for everybody
                office.open(door)
                opened.add(door)


def test_a_newcomer_scans_a_picture_and_is_in(visit: Callable[[], Visit]) -> None:
    staff.define_roles()
    newcomer = staff.take_on_staff(
        email="new@desk.example",
        name="Newcomer",
        role="kyc",
        password=PasswordHash(factories.password_hash()),
        reason="Starts today",
        actor=Actor.system("test"),
    )
    office = visit()
    office.log_in(newcomer.email, factories.PASSWORD, KEY, code="")
    assert "/set-up/" in office.page.url
    assert office.page.eval_on_selector("img[alt*='QR']", "picture => picture.naturalWidth") > 50
    secret = office.page.inner_text("#secret").replace(" ", "")
    office.page.fill("input[name=code]", f"{totp(base64.b32decode(secret)):06d}")
    office.page.fill("input[name=password]", NEW_PASSWORD)
    office.page.fill("input[name=again]", NEW_PASSWORD)
    office.page.click("#set-up-form [type=submit]")
    office.page.wait_for_load_state()
    office.open("/admin/")
    assert "/admin/login/" not in office.page.url
    assert office.side_bar()
