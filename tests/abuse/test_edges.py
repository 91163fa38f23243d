"""Addresses, hosts, schemes and redirects are said by whoever asks, and are believed only where they cannot lie."""

from __future__ import annotations

import re

import pytest
from django.conf import settings as desk_settings
from django.db import connection
from django.test import Client
from django_otp.oath import totp
from pytest_django import Settings

from tests import cast
from tests.accounts.test_back_office import KEY, LOGIN, enlist, noon  # noqa: F401  # noon is a fixture
from tests.cast import CastMember
from tests.core.test_live_edge import ask
from tests.live_desk import LiveDesk
from tests.wallets.calls import books, deposit, key

ELSEWHERE = (
    "https://evil.example/",
    "//evil.example/",
    "///evil.example",
    r"/\evil.example",
    r"\\evil.example",
    "http:evil.example",
    "https:/evil.example",
    "javascript:alert(1)",
    "data:text/html,x",
    "/admin/\r\nSet-Cookie: x=y",
    "https://testserver@evil.example/",
    "\x08//evil.example",
)


@pytest.mark.parametrize("address", ELSEWHERE)
def test_a_log_in_leads_to_no_address_but_our_own(db: None, address: str) -> None:
    user = enlist("kyc")
    client = Client()
    client.get(LOGIN, {"next": address})
    form = {"username": user.email, "password": cast.PASSWORD, "otp_token": f"{totp(KEY):06d}", "next": address}
    response = client.post(LOGIN, form, query_params={"next": address})
    assert response.status_code == 302
    assert re.fullmatch(r"/admin/[!-~]*", response.headers["Location"])
    assert "x" not in response.cookies


@pytest.mark.parametrize("where", ["query", "body", "cookie"])
def test_a_token_counts_in_its_header_alone(db: None, where: str) -> None:
    """What stands in an address stands in histories and logs; what a browser sends by itself can be forged."""
    alice, api = cast.alice(), cast.api_client()
    if where == "cookie":
        api.cookies["token"] = api.cookies["Authorization"] = alice.token
    query = {"token": alice.token, "access_token": alice.token, "Authorization": f"Bearer {alice.token}"}
    response = api.get("/api/v1/me", query if where == "query" else {})
    if where == "body":
        body = {"wallet": alice.cash.number, "amount": "1.00", "access_token": alice.token}
        response = api.post("/api/v1/deposits", body, headers={"Idempotency-Key": key()})
    assert (response.status_code, response.json()["code"]) == (401, "NOT_AUTHENTICATED")


def test_no_answer_has_a_token_in_an_address(db: None) -> None:
    alice = cast.alice()
    for _ in range(2):
        assert deposit(alice, "1.00").status_code == 201
    page = alice.api.get("/api/v1/deposits", {"limit": "1"}).json()
    assert page["next"].startswith("http://testserver/api/v1/deposits?")
    assert alice.token not in page["next"]


@pytest.mark.parametrize(
    "path", ["transfers/", "deposits//", "/transfers", "Transfers", "transfers.json", "transfers%20"]
)
def test_another_spelling_of_an_address_is_no_address(db: None, path: str) -> None:
    """A POST that was led to another one would arrive there without its body."""
    alice = cast.alice()
    before = books()
    body = {"source": alice.cash.number, "target": alice.margin.number, "amount": "1.00"}
    response = alice.api.post(f"/api/v1/{path}", body, headers={"Idempotency-Key": key()})
    assert (response.status_code, response.json()["code"]) == (404, "ROUTE_NOT_FOUND")
    assert books() == before
    assert not desk_settings.APPEND_SLASH


def test_a_host_that_is_not_ours_is_refused(db: None) -> None:
    alice = cast.alice()
    for host in ("evil.example", "testserver.evil.example", "testserver@evil.example", "testserver:80:80"):
        assert alice.api.get("/api/v1/deposits", headers={"Host": host}).status_code == 400


def test_made_up_proxy_headers_change_no_address_in_an_answer(db: None) -> None:
    alice = cast.alice()
    for _ in range(2):
        assert deposit(alice, "1.00").status_code == 201
    plain = alice.api.get("/api/v1/deposits", {"limit": "1"}).json()["next"]
    claims = {
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Port": "1",
        "Forwarded": "host=evil.example;proto=https",
        "X-Original-URL": "/admin/",
        "X-Rewrite-URL": "/admin/",
        "X-HTTP-Method-Override": "DELETE",
    }
    response = alice.api.get("/api/v1/deposits", {"limit": "1"}, headers=claims)
    assert (response.status_code, response.json()["next"]) == (200, plain)


@pytest.mark.parametrize(
    "path", ["/api/v1/error-codes", "/api/v1/nowhere", "/admin/login/", "/nowhere", "/favicon.ico"]
)
def test_over_tls_every_answer_says_to_stay_with_it(db: None, settings: Settings, path: str) -> None:
    settings.SECURE_HSTS_SECONDS, settings.SECURE_HSTS_INCLUDE_SUBDOMAINS = 31_536_000, True
    response = Client().get(path, secure=True)
    assert response.headers["Strict-Transport-Security"] == "max-age=31536000; includeSubDomains"


def test_without_tls_there_is_only_the_way_to_it(db: None, settings: Settings) -> None:
    settings.SECURE_SSL_REDIRECT = True
    response = Client().get("/api/v1/me?limit=1", headers={"X-Forwarded-Proto": "https"})
    assert (response.status_code, response.headers["Location"]) == (301, "https://testserver/api/v1/me?limit=1")


def test_a_server_tells_nobody_its_version(live_desk: LiveDesk) -> None:
    for path in ("/api/v1/me", "/api/v1/nowhere", "/nowhere", "/admin/login/", "/health/live"):
        _, headers, body = ask(live_desk, "GET", path)
        assert not any(character.isdigit() for character in headers.get("Server", ""))
        assert "X-Powered-By" not in headers
        assert b"gunicorn/" not in body
        assert b"Django" not in body


def test_times_are_utc_here_and_in_the_database(db: None) -> None:
    assert (desk_settings.TIME_ZONE, desk_settings.USE_TZ) == ("UTC", True)
    with connection.cursor() as cursor:
        cursor.execute("SHOW timezone")
        assert cursor.fetchone() == ("UTC",)


@pytest.mark.parametrize("status", ["FROZEN", "CLOSED"])
def test_a_wallet_that_is_blocked_moves_nothing(db: None, status: str) -> None:
    from wallets.models import Wallet

    alice: CastMember = cast.alice()
    Wallet.objects.filter(owner=alice.user).update(status=status)
    before = books()
    for path, body in (
        ("transfers", {"source": alice.cash.number, "target": alice.margin.number, "amount": "1.00"}),
        ("deposits", {"wallet": alice.cash.number, "amount": "1.00"}),
    ):
        response = alice.api.post(f"/api/v1/{path}", body, headers={"Idempotency-Key": key()})
        assert (response.status_code, response.json()["code"]) == (422, "WALLET_NOT_ACTIVE")
    assert books() == before
