"""A new password ends every session; a letter opens one account, once, and tells nobody else that it exists."""

from __future__ import annotations

import smtplib
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.contrib.auth.hashers import check_password
from django.core import mail
from django.utils import timezone
from pytest_django import Settings

from accounts.models import ApiToken, User
from core.models import AuditEvent
from tests import cast, factories
from tests.accounts import bodies, letters
from tests.accounts.crowd import together
from tests.accounts.problems import body, fields, outcome
from tests.database import Clone

CHANGE = "/api/v1/auth/password/change"
RESET = "/api/v1/auth/password/reset"
RESET_CONFIRM = "/api/v1/auth/password/reset/confirm"
EMAIL_CONFIRM = "/api/v1/auth/email/confirm"
NEW = "a-brand-new-heron-42"


def stored(email: str) -> User:
    return User.objects.get(email=email)


def ask(email: str) -> Any:
    return cast.api_client().post(RESET, {"email": email})


def confirm(link: dict[str, str], password: str = NEW) -> Any:
    return cast.api_client().post(RESET_CONFIRM, {**link, "password": password})


# --- Changing it ----------------------------------------------------------------------------------------------------


def test_a_change_ends_every_session_and_is_told_by_mail(committed_db: Clone) -> None:
    alice, bob = cast.alice(), cast.bob()
    other = cast.api_client(cast.issue_token(alice.user))
    response = alice.api.post(CHANGE, {"current_password": cast.PASSWORD, "new_password": NEW})
    assert response.status_code == 204
    assert check_password(NEW, stored("alice@example.com").password)
    for dead in (alice.api, other):
        assert outcome(dead.get("/api/v1/me")) == (401, "TOKEN_INVALID")
    assert bob.api.get("/api/v1/me").status_code == 200
    (letter,) = letters.wait_for(1)
    assert (letter.to, letter.subject) == (["alice@example.com"], "Your password was changed")
    assert NEW not in str(letter.body)
    event = AuditEvent.objects.get(action="accounts.password.changed")
    assert (event.owner, event.after) == (alice.id, {"tokens_revoked": 2})


@pytest.mark.parametrize(
    "terms,expected,named",
    [
        ({"current_password": "not-my-password-1"}, (401, "INVALID_CREDENTIALS"), []),
        ({"new_password": "short"}, (400, "PASSWORD_TOO_WEAK"), ["new_password"]),
        ({"new_password": "alice@example.com"}, (400, "PASSWORD_TOO_WEAK"), ["new_password"]),
        ({"new_password": None}, (400, "VALIDATION_FAILED"), ["new_password"]),
        ({"user": "x"}, (400, "UNKNOWN_FIELD"), ["user"]),
    ],
)
def test_a_refused_change_changes_nothing(db: None, terms: dict[str, Any], expected: Any, named: list[str]) -> None:
    alice = cast.alice()
    response = alice.api.post(CHANGE, {"current_password": cast.PASSWORD, "new_password": NEW} | terms)
    assert (outcome(response), fields(response)) == (expected, named)
    assert check_password(cast.PASSWORD, stored("alice@example.com").password)
    assert alice.api.get("/api/v1/me").status_code == 200


def test_guessing_the_old_password_is_counted(db: None) -> None:
    alice = cast.alice()
    terms = {"current_password": "not-my-password-1", "new_password": NEW}
    assert [alice.api.post(CHANGE, terms).status_code for _ in range(6)] == [401] * 5 + [429]


# --- Resetting it ---------------------------------------------------------------------------------------------------


def test_a_reset_by_mail_works_once_and_ends_every_session(committed_db: Clone) -> None:
    alice = cast.alice()
    assert ask("ALICE@example.com").status_code == 202
    (letter,) = letters.wait_for(1)
    assert letter.to == ["alice@example.com"]
    link = letters.link(letter)
    assert confirm(link).status_code == 204
    user = stored("alice@example.com")
    assert check_password(NEW, user.password)
    assert user.email_confirmed_at is not None
    assert outcome(alice.api.get("/api/v1/me")) == (401, "TOKEN_INVALID")
    assert outcome(confirm(link, "another-heron-43")) == (422, "LINK_INVALID")
    assert check_password(NEW, stored("alice@example.com").password)
    assert AuditEvent.objects.get(action="accounts.password.reset").actor_id == alice.id
    letters.wait_for(2)


def test_a_letter_used_twice_at_once_works_once(committed_db: Clone) -> None:
    cast.alice()
    ask("alice@example.com")
    link = letters.link(letters.wait_for(1)[0])
    responses = together([lambda word=word: confirm(link, f"{word}-heron-43") for word in ("grey", "blue", "pale")])  # type: ignore[misc]
    assert sorted(map(outcome, responses)) == [(204, ""), (422, "LINK_INVALID"), (422, "LINK_INVALID")]
    assert AuditEvent.objects.filter(action="accounts.password.reset").count() == 1


def test_the_answer_tells_nobody_who_has_an_account(committed_db: Clone) -> None:
    cast.alice()
    factories.Person.create(email="gone@example.com", is_active=False)
    cast.carol_staff()
    emails = ("alice@example.com", "nobody@example.com", "gone@example.com", "carol@example.com", "house@desk.invalid")
    answers = [ask(email) for email in emails]
    assert {(answer.status_code, answer.content) for answer in answers} == {(202, b"")}
    (letter,) = letters.wait_for(1)
    assert letter.to == ["alice@example.com"]


def test_a_dead_post_office_delays_and_betrays_nobody(committed_db: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    cast.alice()

    def refuse(*_: Any, **__: Any) -> int:
        raise smtplib.SMTPServerDisconnected

    monkeypatch.setattr("django.core.mail.backends.locmem.EmailBackend.send_messages", refuse)
    assert ask("alice@example.com").status_code == 202


def test_letters_to_one_mailbox_are_limited(db: None) -> None:
    assert [ask("nobody@example.com").status_code for _ in range(6)] == [202] * 5 + [429]
    assert ask("somebody@example.com").status_code == 202


@pytest.mark.parametrize("how", ["late", "token", "other user", "no user", "after log-in"])
def test_a_letter_opens_nothing_else(committed_db: Clone, how: str) -> None:
    alice, bob = cast.alice(), cast.bob()
    start = timezone.now()
    with time_machine.travel(start) as clock:
        ask("alice@example.com")
        link = letters.link(letters.wait_for(1)[0])
        match how:
            case "late":
                clock.shift(timedelta(hours=24, seconds=2))
            case "token":
                link["token"] = link["token"][:-1] + ("0" if link["token"][-1] != "0" else "1")
            case "other user":
                link["user"] = str(bob.id)
            case "no user":
                link["user"] = "01890a5d-ac96-774b-bcce-b302099a8057"
            case "after log-in":
                clock.shift(timedelta(seconds=2))
                cast.api_client().post("/api/v1/auth/token", {"email": "alice@example.com", "password": cast.PASSWORD})
        assert outcome(confirm(link)) == (422, "LINK_INVALID")
    for member in (alice, bob):
        assert check_password(cast.PASSWORD, stored(member.user.email).password)
    assert not ApiToken.objects.filter(revoked_at__isnull=False).exists()


def test_a_weak_password_leaves_the_letter_good(committed_db: Clone) -> None:
    cast.alice()
    ask("alice@example.com")
    link = letters.link(letters.wait_for(1)[0])
    response = confirm(link, "short")
    assert (outcome(response), set(fields(response))) == ((400, "PASSWORD_TOO_WEAK"), {"password"})
    assert confirm(link).status_code == 204
    letters.wait_for(2)


# --- Confirming the address -----------------------------------------------------------------------------------------


def test_sign_up_asks_to_confirm_the_address(committed_db: Clone, settings: Settings) -> None:
    settings.CLIENT_APP_URL = "https://app.example.com/"
    form = bodies.demo()
    cast.api_client().post("/api/v1/signup/demo", form, **bodies.key())
    (letter,) = letters.wait_for(1)
    assert letter.to == [form["email"]]
    assert "https://app.example.com/confirm-email?" in str(letter.body)
    assert form["password"] not in str(letter.body)
    link = letters.link(letter)
    assert cast.api_client().post(EMAIL_CONFIRM, link).status_code == 204
    user = stored(form["email"])
    assert user.email_confirmed_at is not None
    assert body(cast.api_client(cast.issue_token(user)).get("/api/v1/me"))["email_confirmed"] is True
    assert outcome(cast.api_client().post(EMAIL_CONFIRM, link)) == (422, "LINK_INVALID")
    assert outcome(confirm(link)) == (422, "LINK_INVALID")
    assert AuditEvent.objects.get(action="accounts.email.confirmed").actor_id == user.pk


def test_a_refused_sign_up_sends_nothing(committed_db: Clone) -> None:
    factories.Person.create(email="taken@example.com")
    cast.api_client().post("/api/v1/signup/demo", bodies.demo(email="taken@example.com"), **bodies.key())
    cast.api_client().post("/api/v1/signup/demo", bodies.demo(), **bodies.key())
    (letter,) = letters.wait_for(1)
    assert letter.to != ["taken@example.com"]
    assert len(mail.outbox) == 1
