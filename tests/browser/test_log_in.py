"""The way in, as a person takes it."""

from __future__ import annotations

from collections.abc import Callable

from accounts import rules
from tests import factories
from tests.browser.visit import SignIn, Visit, enlist

KEY = bytes(range(20))


def test_password_and_code_lead_to_the_back_office(sign_in: SignIn) -> None:
    office = sign_in("kyc")
    assert office.page.url.endswith("/admin/")
    assert "Dealing Desk" in office.text()
    assert office.side_bar()


def test_a_wrong_code_is_told_and_leads_nowhere(visit: Callable[[], Visit]) -> None:
    office = visit()
    office.log_in(enlist("kyc", key=KEY).email, factories.PASSWORD, KEY, code="000000")
    assert "/login/" in office.page.url
    assert "token" in office.text().lower()
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
