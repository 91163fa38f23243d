"""Secrets go through every door of a real server that logs all it can, and none of them is in what it writes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from django.core import mail
from django.db import connection
from django_otp.oath import totp
from pytest_django import Settings

from accounts import credentials
from accounts.models import User
from core.ids import uuid7
from tests import cast
from tests.accounts import bodies
from tests.accounts.test_back_office import KEY, enlist
from tests.core.test_live_edge import ask, lines
from tests.database import Clone, as_owner
from tests.live_desk import LiveDesk
from wallets import payments

API = "/api/v1/"
#: As a secret is that nothing else looks like.
CANARY = "canary-7f3a9c-staple"
IBAN = "DE89370400440532013000"


@pytest.fixture
def desk(committed_db: Clone, tmp_path: Path) -> Iterator[LiveDesk]:
    """A server that logs everything there is to log, gunicorn's own access log too, and whose mail goes nowhere."""
    told = {
        "LOG_LEVEL": "DEBUG",
        "GUNICORN_CMD_ARGS": "--access-logfile -",
        "EMAIL_BACKEND": "django.core.mail.backends.smtp.EmailBackend",
        "EMAIL_PORT": "1",
        "WEB_WORKERS": "1",
    }
    with LiveDesk.serve(committed_db.url, tmp_path, **told) as served:
        yield served


class Sent:
    """Sends requests, and remembers what may never be read anywhere."""

    def __init__(self, desk: LiveDesk) -> None:
        self.desk = desk
        self.secrets: set[str] = {IBAN, IBAN[4:], CANARY}
        self.requests: list[str] = []

    def secret(self, text: str) -> str:
        self.secrets.add(text)
        return text

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        is_page = path.startswith("/admin/")
        data = body if isinstance(body, bytes) else (urlencode(body or {}) if is_page else json.dumps(body)).encode()
        request_id = f"canary.{uuid7()}"
        self.requests.append(request_id)
        kind = "application/x-www-form-urlencoded" if is_page else "application/json"
        key = self.secret(f"key-{CANARY}-{uuid7()}")
        headers = {"X_Request_ID": request_id, "Idempotency_Key": key, "Content_Type": kind} | headers
        status, answered, content = ask(self.desk, method, path, data, **headers)
        document = json.loads(content) if content[:1] == b"{" else {}
        return status, answered, document


def sign_up_and_in(sent: Sent) -> str:
    """A newcomer with everything, who mistypes; their token."""
    password = sent.secret(f"{CANARY}-password")
    form = bodies.live(email="new@example.com", password=password)
    form["bank"]["number"] = IBAN
    assert sent("POST", f"{API}signup/live", form)[0] == 201
    assert sent("POST", f"{API}signup/demo", bodies.demo(password=sent.secret(f"{CANARY}-2"), is_staff=True))[0] == 400
    log_in = {"email": "new@example.com", "password": password}
    for wrong in (
        log_in | {"password": sent.secret(f"{CANARY}-wrong")},
        log_in | {"email": f"{CANARY}@example.com"},
        log_in | {"otp": sent.secret(f"{CANARY}-otp")},
        json.dumps(log_in).encode()[:-1],
        json.dumps(log_in | {"password": f"{CANARY}\u0000"}).encode(),
    ):
        assert sent("POST", f"{API}auth/token", wrong)[0] in {400, 401}
    status, _, session = sent("POST", f"{API}auth/token", log_in)
    assert status == 201
    return sent.secret(session["token"])


def passwords_and_letters(sent: Sent, bearer: dict[str, str]) -> None:
    """A letter that cannot be sent, links that are right and wrong, and another password."""
    user = User.objects.get(email="new@example.com")
    assert sent("POST", f"{API}auth/password/reset", {"email": user.email})[0] == 202
    code = sent.secret(credentials.email_confirmation.make_token(user))
    assert sent("POST", f"{API}auth/email/confirm", {"user": str(user.pk), "token": f"{CANARY}-code"})[0] == 422
    assert sent("POST", f"{API}auth/email/confirm", {"user": str(user.pk), "token": code})[0] == 204
    change = {"current_password": f"{CANARY}-password", "new_password": sent.secret(f"{CANARY}-brand-new")}
    status, _, made = sent("POST", f"{API}auth/tokens", {"name": "bot", "scopes": ["read"]}, **bearer)
    assert status == 201
    sent.secret(made["token"])
    assert sent("POST", f"{API}auth/password/change", change, **bearer)[0] == 204
    token = sent.secret(credentials.password_reset.make_token(User.objects.get(pk=user.pk)))
    reset = {"user": str(user.pk), "token": token, "password": sent.secret(f"{CANARY}-after-the-letter")}
    assert sent("POST", f"{API}auth/password/reset/confirm", reset)[0] == 204


def money(sent: Sent, alice: cast.CastMember, bearer: dict[str, str]) -> None:
    """Every way that money goes, and a provider's word on it, rightly and wrongly signed."""
    bank = {"holder": "Alice Archer", "bank_name": "Bank", "code_type": "IBAN", "number": IBAN}
    cash = alice.cash.number
    assert sent("POST", f"{API}me/bank-accounts", bank, **bearer)[0] == 201
    assert sent("POST", f"{API}me/bank-accounts", bank | {"number": f"{IBAN[:-1]}1"}, **bearer)[0] == 400
    for path, body in (
        ("deposits", {"wallet": cash, "amount": "5.00"}),
        ("withdrawals", {"wallet": cash, "amount": "5.00"}),
        ("transfers", {"source": cash, "target": alice.margin.number, "amount": "5.00"}),
    ):
        assert sent("POST", f"{API}{path}", body, **bearer)[0] == 201
    report = json.dumps({"deposit": str(uuid7()), "reference": "pay_1", "status": "COMPLETED", "amount": "5.00",
                         "currency": "USD"}).encode()  # fmt: skip
    signature = sent.secret(payments.sign(report, timestamp="1767225600"))
    for given in (signature, sent.secret(f"v1={CANARY}")):
        signed = {"Payment_Timestamp": "1767225600", "Payment_Signature": given}
        assert sent("POST", f"{API}payments/webhook", report, **signed)[0] == 403


def misplaced(sent: Sent, token: str) -> None:
    """Secrets where they do not belong, and lines that are none."""
    forged = quote('\n{"event": "forged", "level": "info"}\r\n')
    sent("GET", f"{API}me?token={token}&access_token={CANARY}")
    sent(
        "GET", f"{API}wallets/{forged}?x={forged}", Authorization=f"Bearer {token}x", Referer=f"http://x/?token={token}"
    )
    sent("GET", f"/{forged}", Authorization=f"Basic {CANARY}", Cookie=f"sessionid={CANARY}; csrftoken={CANARY}")
    sent("GET", f"{API}me", User_Agent='"}{"event": "forged"}\x85\x9b2K', X_Forwarded_For=f"password={CANARY}")
    sent("TRACE", f"{API}me?password={CANARY}", Authorization=f"Bearer {CANARY}")
    assert sent("GET", "/metrics", Authorization=f"Bearer {CANARY}")[0] in {200, 403}


def staff(sent: Sent) -> str:
    """A member of staff comes in and looks around, and somebody else tries another code; their cookies."""
    carol = enlist("finance", key=KEY)
    jar = SimpleCookie(sent("GET", "/admin/login/")[1]["Set-Cookie"])
    csrf = sent.secret(jar["csrftoken"].value)
    form = {"username": carol.email, "password": cast.PASSWORD, "csrfmiddlewaretoken": csrf}
    for code, wanted in ((sent.secret(f"{totp(KEY):06d}"), 302), (sent.secret("739154"), 200)):
        answer = sent("POST", "/admin/login/", form | {"otp_token": code}, Cookie=f"csrftoken={csrf}")
        assert answer[0] == wanted
        for cookie in answer[1].get_all("Set-Cookie") or ():
            jar.load(cookie)
    sent.secret(cast.PASSWORD)
    session = sent.secret(jar["sessionid"].value)
    cookies = f"sessionid={session}; csrftoken={jar['csrftoken'].value}"
    assert sent("GET", "/admin/", Cookie=cookies)[0] == 200
    return cookies


def breakdowns(sent: Sent, bearer: dict[str, str], cookies: str) -> None:
    """What nobody foresaw, in the API and in a page, with secrets in hand: real errors with their tracebacks."""
    with broken("wallets_bankaccount"):
        bank = {"holder": CANARY, "bank_name": CANARY, "code_type": "IBAN", "number": IBAN}
        assert sent("POST", f"{API}me/bank-accounts", bank, **bearer)[0] == 500
    with broken("accounts_user"):
        log_in = {"email": f"{CANARY}@example.com", "password": f"{CANARY}-wrong"}
        assert sent("POST", f"{API}auth/token", log_in)[0] == 500
        assert sent("GET", f"/admin/?token={CANARY}", Cookie=cookies)[0] == 500


@contextmanager
def broken(table: str) -> Iterator[None]:
    """A table that is not there for a moment: as a migration that went wrong would leave it."""
    with as_owner() as cursor:
        cursor.execute(f"ALTER TABLE {table} RENAME TO {table}_gone")
        try:
            yield
        finally:
            cursor.execute(f"ALTER TABLE {table}_gone RENAME TO {table}")


def found_in(text: str, secrets: set[str]) -> set[str]:
    """Which secrets stand in a text; a code of six digits not as a part of a longer number or a time."""
    codes = {secret for secret in secrets if secret.isdigit()}
    found = {secret for secret in secrets - codes if secret in text}
    return found | {code for code in codes if re.search(rf"(?<![\d.]){code}(?!\d)", text)}


def test_no_secret_is_in_anything_that_a_server_writes(desk: LiveDesk) -> None:
    sent, alice = Sent(desk), cast.alice()
    sent.secret(alice.token)
    bearer = {"Authorization": f"Bearer {sign_up_and_in(sent)}"}
    alices = {"Authorization": f"Bearer {alice.token}"}
    passwords_and_letters(sent, bearer)
    money(sent, alice, alices)
    misplaced(sent, alice.token)
    cookies = staff(sent)
    breakdowns(sent, alices, cookies)

    told = [event for request_id in sent.requests for event in lines(desk, request_id)]
    written = desk.log.read_text()
    assert [line for line in written.splitlines() if found_in(line, sent.secrets)] == []
    assert "token=" not in re.sub(r"token=\[redacted\]", "", written)
    events = [json.loads(line) for line in written.splitlines()]  # each line is one event, whatever was in it
    assert "forged" not in {event["event"] for event in events}
    assert {event["level"] for event in events} >= {"debug", "info", "error"}
    assert len([event for event in told if "exception" in event]) >= 3
    assert [event for event in events if "letter" in event["event"]]
    assert stored(sent.secrets) == {}


def stored(secrets: set[str]) -> dict[str, set[str]]:
    """What stands in the database in clear, by table."""
    found = {}
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f"SELECT coalesce(string_agg(t::text, ' '), '') FROM {table} t")
            (text,) = cursor.fetchone() or ("",)
            here = found_in(text, {secret for secret in secrets if not secret.isdigit() and len(secret) > 16})
            if here:
                found[table] = here
    return found


def test_nobody_is_mailed_what_went_wrong(committed_db: Clone, settings: Settings) -> None:
    settings.ADMINS = settings.MANAGERS = [("Ops", "ops@example.com")]
    api = cast.alice().api
    api.raise_request_exception = False
    with broken("wallets_transfer"):
        assert api.get(f"{API}transfers").status_code == 500
    assert mail.outbox == []
