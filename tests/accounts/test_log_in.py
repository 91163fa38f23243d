"""A log-in tells nobody who has an account, and guessing gets slower before it gets anywhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import time_machine
from django.contrib.auth.hashers import Argon2PasswordHasher
from django.utils import timezone
from pytest_django import Settings

from accounts import credentials, hashers
from accounts.models import ApiToken, Freeze, User
from accounts.services import freezes, sessions
from core.audit import Actor
from core.errors import Unavailable
from core.models import AuditEvent
from tests import cast, factories
from tests.accounts.crowd import together
from tests.accounts.problems import body, fields, outcome
from tests.database import Clone

URL = "/api/v1/auth/token"


def log_in(email: str, password: str = cast.PASSWORD, *, address: str = "198.51.100.1", **terms: Any) -> Any:
    return cast.api_client().post(URL, {"email": email, "password": password, **terms}, REMOTE_ADDR=address)


def test_gives_a_token_once(db: None) -> None:
    alice = cast.alice()
    response = log_in("Alice@Example.com", name="phone")
    receipt = body(response)
    assert (response.status_code, response.headers["Cache-Control"]) == (201, "no-store")
    assert receipt["scopes"] == ["read", "trade", "transfer", "withdraw"]
    stored = ApiToken.objects.get(pk=receipt["token_id"])
    assert (stored.owner_id, stored.name, stored.prefix) == (alice.id, "phone", receipt["prefix"])
    assert cast.api_client(receipt["token"]).get("/api/v1/me").status_code == 200
    event = AuditEvent.objects.get(action="accounts.session.opened")
    assert (event.actor_id, event.address, event.object_id) == (alice.id, "198.51.100.1", receipt["token_id"])
    alice.user.refresh_from_db()
    assert alice.user.last_login is not None


def test_gives_no_more_scopes_than_asked_for(db: None) -> None:
    cast.alice()
    token = body(log_in("alice@example.com", scopes=["read"]))["token"]
    assert outcome(cast.api_client(token).patch("/api/v1/me", {"name": "X"})) == (403, "SCOPE_MISSING")


@pytest.mark.parametrize("scopes", [["market_data"], [], "read", None, ["read", 5]])
def test_offers_no_other_scopes(db: None, scopes: Any) -> None:
    cast.alice()
    response = log_in("alice@example.com", scopes=scopes)
    assert response.status_code == 400
    assert fields(response)[0].startswith("scopes")
    assert ApiToken.objects.count() == 1


@pytest.mark.parametrize(
    "terms,named",
    [
        ({"email": "alice"}, "email"),
        ({"email": None}, "email"),
        ({"password": ""}, "password"),
        ({"password": None}, "password"),
        ({"password": 5}, "password"),
        ({"password": "x" * 129}, "password"),
        ({"otp": "123456"}, "otp"),
    ],
)
def test_refuses_by_name_what_cannot_be(db: None, terms: dict[str, Any], named: str) -> None:
    cast.alice()
    response = cast.api_client().post(URL, {"email": "alice@example.com", "password": cast.PASSWORD, **terms})
    assert (response.status_code, fields(response)) == (400, [named])


# --- Nobody learns who has an account -------------------------------------------------------------------------------


def test_answers_alike_whatever_was_wrong(db: None) -> None:
    cast.alice()
    factories.Person.create(email="gone@example.com", is_active=False)
    factories.Person.create(email="unset@example.com", password="!")
    answers = [
        body(log_in(email, password))
        for email, password in (
            ("alice@example.com", "wrong-password-1"),
            ("nobody@example.com", "wrong-password-1"),
            ("gone@example.com", cast.PASSWORD),
            ("unset@example.com", "!"),
            ("house@desk.invalid", "!"),
        )
    ]
    for answer in answers:
        del answer["request_id"]
        assert answer["code"] == "INVALID_CREDENTIALS"
    assert all(answer == answers[0] for answer in answers)
    assert ApiToken.objects.count() == 1


def test_hashes_once_for_known_and_unknown_names(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    cast.alice()
    log_in("nobody@example.com", "warm-up")
    hashes: list[str] = []
    place = hashers._place

    def counting() -> Any:
        hashes.append("")
        return place()

    monkeypatch.setattr(hashers, "_place", counting)
    counts = []
    for email in ("alice@example.com", "nobody@example.com"):
        hashes.clear()
        log_in(email, "wrong-password-1")
        counts.append(len(hashes))
    assert counts == [1, 1]


# --- Back-off -------------------------------------------------------------------------------------------------------


def test_the_sixth_wrong_password_from_one_address_has_to_wait(db: None) -> None:
    cast.alice()
    outcomes = [outcome(log_in("alice@example.com", "wrong-password-1")) for _ in range(6)]
    assert outcomes == [(401, "INVALID_CREDENTIALS")] * 5 + [(429, "RATE_LIMITED")]
    blocked = log_in("alice@example.com")
    assert outcome(blocked) == (429, "RATE_LIMITED")
    assert 1 <= int(blocked.headers["Retry-After"]) <= 12
    assert log_in("alice@example.com", address="198.51.100.2").status_code == 201
    assert log_in("bob@example.com", "wrong-password-1").status_code == 401


def test_waiting_helps(db: None) -> None:
    cast.alice()
    with time_machine.travel(timezone.now()) as clock:
        for _ in range(6):
            response = log_in("alice@example.com", "wrong-password-1")
        clock.shift(int(response.headers["Retry-After"]))
        assert log_in("alice@example.com").status_code == 201


def test_two_hundred_names_from_one_address_have_to_wait(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes = [log_in(f"guess-{number}@example.com", "Winter2026!!").status_code for number in range(200)]
    assert outcomes.index(429) == 20
    assert set(outcomes[:20]) == {401}
    assert outcomes.count(401) <= 30  # a few more as the window moves on


def test_the_right_password_costs_no_attempts(db: None) -> None:
    cast.alice()
    assert [log_in("alice@example.com").status_code for _ in range(25)] == [201] * 25


def test_guesses_at_the_same_moment_are_all_counted(committed_db: Clone) -> None:
    cast.alice()
    guesses: list[Callable[[], Any]] = [lambda: log_in("alice@example.com", "wrong-password-1")] * 12
    outcomes = [outcome(response) for response in together(guesses)]
    assert sorted(outcomes) == [(401, "INVALID_CREDENTIALS")] * 5 + [(429, "RATE_LIMITED")] * 7


def test_at_most_four_hash_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    inside, peak, lock = 0, 0, threading.Lock()
    encoded = factories.password_hash()
    verify = Argon2PasswordHasher.verify

    def watched(self: Any, password: str, encoded: str) -> bool:
        nonlocal inside, peak
        with lock:
            inside += 1
            peak = max(peak, inside)
        try:
            return bool(verify(self, password, encoded))
        finally:
            with lock:
                inside -= 1

    monkeypatch.setattr(Argon2PasswordHasher, "verify", watched)
    monkeypatch.setattr(hashers, "HASH_WAIT_SECONDS_MAX", 60.0)  # however slow this machine is
    hasher = hashers.DeskArgon2()
    assert all(together([lambda: hasher.verify(cast.PASSWORD, encoded)] * 50))
    assert 2 <= peak <= 4


def test_a_full_gate_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashers, "HASH_WAIT_SECONDS_MAX", 0.05)
    encoded = factories.password_hash()
    for _ in range(4):
        hashers._gate.acquire()
    try:
        started = time.monotonic()
        with pytest.raises(Unavailable):
            hashers.DeskArgon2().verify(cast.PASSWORD, encoded)
        assert time.monotonic() - started < 1
    finally:
        for _ in range(4):
            hashers._gate.release()
    assert hashers.DeskArgon2().verify(cast.PASSWORD, encoded)


# --- Who may not ----------------------------------------------------------------------------------------------------


def test_staff_do_not_log_in_here(db: None) -> None:
    cast.carol_staff()
    assert outcome(log_in("carol@example.com")) == (403, "STAFF_LOGIN_REFUSED")
    assert ApiToken.objects.count() == 0


def test_a_frozen_log_in_is_told_only_to_who_knows_the_password(db: None) -> None:
    alice, staff = cast.alice(), cast.carol_staff()
    freezes.place_freeze(owner=alice.user.pk, scope=Freeze.Scope.LOGIN, reason="Stolen phone", actor=staff.actor)
    assert outcome(log_in("alice@example.com")) == (403, "LOGIN_FROZEN")
    assert outcome(log_in("alice@example.com", "wrong-password-1")) == (401, "INVALID_CREDENTIALS")
    assert ApiToken.objects.filter(revoked_at__isnull=True).count() == 0


def test_no_session_survives_a_freeze_placed_at_the_same_moment(committed_db: Clone, settings: Settings) -> None:
    settings.THROTTLES = settings.THROTTLES | {"login_account": "1000/m", "login_address": "1000/m"}
    alice, staff = cast.alice(), cast.carol_staff()

    def freeze() -> Any:
        return freezes.place_freeze(owner=alice.user.pk, scope=Freeze.Scope.LOGIN, reason="Stolen", actor=staff.actor)

    together([freeze, *[lambda: log_in("alice@example.com")] * 6])
    assert ApiToken.objects.filter(revoked_at__isnull=True).count() == 0
    assert outcome(alice.api.get("/api/v1/me")) == (401, "TOKEN_INVALID")


def test_a_password_changed_meanwhile_opens_nothing(db: None) -> None:
    alice = cast.alice()
    person = credentials.prove(email="alice@example.com", password=cast.PASSWORD, address=None)
    User.objects.filter(pk=alice.user.pk).update(password=credentials.hash_password("some-other-password-7"))
    with pytest.raises(credentials.InvalidCredentials):
        sessions.log_in(person=person, actor=Actor.system())
    assert ApiToken.objects.count() == 1
