"""A token is known by its digest, ends when it should, and cannot make itself more than it is."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
import time_machine
from django.conf import settings as desk_settings
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings
from rest_framework.request import Request

from accounts import credentials, tokens
from accounts.models import ApiToken
from accounts.services import sessions
from core import throttling
from core.models import AuditEvent, ThrottleWindow
from tests import cast
from tests.accounts.crowd import together
from tests.accounts.problems import body, fields, outcome
from tests.cast import CastMember
from tests.database import Clone

ME = "/api/v1/me"
TOKENS = "/api/v1/auth/tokens"


def row(alice: CastMember) -> ApiToken:
    return ApiToken.objects.get(digest=credentials.token_digest(alice.token))


def test_is_256_random_bits_of_which_only_the_digest_is_stored(db: None) -> None:
    alice = cast.alice()
    assert credentials.TOKEN.match(alice.token)
    assert len(alice.token.rpartition("_")[2] if alice.token.count("_") == 2 else alice.token[12:]) == 43
    assert alice.token not in str(ApiToken.objects.values())
    assert row(alice).prefix == alice.token[:11]
    secrets = {credentials.Secret.mint().text for _ in range(100)}
    assert len(secrets) == 100
    assert alice.token not in repr(credentials.Secret(alice.token))


def test_costs_one_indexed_query_and_no_user(db: None) -> None:
    alice = cast.alice()
    request = cast.api_client().get(ME, HTTP_AUTHORIZATION=f"Bearer {alice.token}").wsgi_request
    with CaptureQueriesContext(connection) as queries:
        found = tokens.BearerAuthentication().authenticate(Request(request))
    assert found is not None
    principal, grant = found
    assert (principal.id, principal.is_authenticated, grant.scopes) == (alice.id, True, frozenset(cast.CLIENT_SCOPES))
    assert len(queries) == 1
    assert "accounts_user" not in queries[0]["sql"]
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("EXPLAIN SELECT id FROM accounts_apitoken WHERE digest = %s", [bytes(row(alice).digest)])
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert "Index Scan" in plan
    assert principal.user() == alice.user


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "Basic YTpi",
        "Token {token}",
        "bearer  {token}",
        "Bearer {token} ",
        "Bearer {token}x",
        "Bearer {short}",
        "Bearer dd_aaaaaaaa_" + "A" * 43,
        "Bearer dd_aaaaaaaa_" + "Ａ" * 43,
        "Bearer " + "x" * 10_000,
    ],
)
def test_refuses_what_is_not_a_token_of_ours(db: None, header: str) -> None:
    alice = cast.alice()
    response = cast.api_client().get(ME, HTTP_AUTHORIZATION=header.format(token=alice.token, short=alice.token[:-1]))
    assert outcome(response) == (401, "TOKEN_INVALID")
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="desk", error="invalid_token"'


def test_takes_the_scheme_in_any_case(db: None) -> None:
    alice = cast.alice()
    assert cast.api_client().get(ME, HTTP_AUTHORIZATION=f"bEaReR {alice.token}").status_code == 200


def test_asks_for_a_token_where_there_is_none(db: None) -> None:
    response = cast.api_client().get(ME)
    assert outcome(response) == (401, "NOT_AUTHENTICATED")
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="desk"'


# --- Its end --------------------------------------------------------------------------------------------------------


def test_ends_at_its_absolute_time_however_much_it_is_used(db: None, settings: Settings) -> None:
    settings.TOKEN_IDLE_LIFETIME = timedelta(hours=2)
    start = timezone.now()
    with time_machine.travel(start) as clock:
        alice = cast.alice()
        for _ in range(23):
            clock.shift(timedelta(hours=1))
            assert alice.api.get(ME).status_code == 200
        clock.shift(timedelta(minutes=59))
        assert alice.api.get(ME).status_code == 200
        clock.shift(timedelta(minutes=1))
        assert outcome(alice.api.get(ME)) == (401, "TOKEN_EXPIRED")


def test_ends_when_it_is_not_used(db: None) -> None:
    with time_machine.travel(timezone.now()) as clock:
        alice = cast.alice()
        clock.shift(desk_settings.TOKEN_IDLE_LIFETIME - timedelta(seconds=1))
        assert alice.api.get(ME).status_code == 200
        clock.shift(desk_settings.TOKEN_IDLE_LIFETIME)
        assert outcome(alice.api.get(ME)) == (401, "TOKEN_EXPIRED")
        assert outcome(alice.api.get(ME)) == (401, "TOKEN_EXPIRED")


def test_notes_its_use_only_now_and_then(db: None) -> None:
    with time_machine.travel(timezone.now(), tick=False) as clock:
        alice = cast.alice()
        made = row(alice).last_used_at
        counts = []
        for wait in (timedelta(minutes=4), timedelta(minutes=2), timedelta(minutes=2)):
            clock.shift(wait)
            with CaptureQueriesContext(connection) as queries:
                alice.api.get(ME)
            counts.append(sum("UPDATE accounts_apitoken" in query["sql"] for query in queries))
        assert counts == [0, 1, 0]
        assert row(alice).last_used_at == made + timedelta(minutes=6)  # type: ignore[operator]  # set when issued


def test_does_not_wait_to_note_its_use(committed_db: Clone) -> None:
    alice = cast.alice()
    ApiToken.objects.update(last_used_at=timezone.now() - timedelta(hours=1))
    with connection.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("SELECT id FROM accounts_apitoken FOR UPDATE")
        try:
            (response,) = together([lambda: alice.api.get(ME)])
        finally:
            cursor.execute("ROLLBACK")
    assert response.status_code == 200


def test_is_bound_to_its_networks(db: None, settings: Settings) -> None:
    alice = cast.alice()
    token = cast.issue_token(alice.user, addresses=("203.0.113.0/24", "2001:db8::/32"))
    seen = {}
    for address in ("203.0.113.7", "203.0.114.7", "2001:db8::1", "2001:db9::1", "::ffff:203.0.113.9", ""):
        seen[address] = outcome(cast.api_client(token).get(ME, REMOTE_ADDR=address))
    refused = (403, "TOKEN_ADDRESS_REFUSED")
    assert seen == {
        "203.0.113.7": (200, ""),
        "203.0.114.7": refused,
        "2001:db8::1": (200, ""),
        "2001:db9::1": refused,
        "::ffff:203.0.113.9": (200, ""),
        "": refused,
    }
    forged = cast.api_client(token).get(ME, REMOTE_ADDR="198.51.100.1", HTTP_X_FORWARDED_FOR="203.0.113.7")
    assert outcome(forged) == refused
    settings.TRUST_PROXY_HEADERS = True
    relayed = cast.api_client(token).get(ME, REMOTE_ADDR="127.0.0.1", HTTP_X_FORWARDED_FOR="203.0.113.7")
    assert relayed.status_code == 200


# --- Scopes ---------------------------------------------------------------------------------------------------------

CLOSED = [
    ("get", "/api/v1/me", "read"),
    ("patch", "/api/v1/me", "withdraw"),
    ("get", "/api/v1/me/verification", "read"),
    ("post", "/api/v1/me/verification", "withdraw"),
    ("get", "/api/v1/auth/tokens", "read"),
    ("post", "/api/v1/auth/tokens", "withdraw"),
    ("delete", "/api/v1/auth/tokens", "withdraw"),
    ("delete", "/api/v1/auth/tokens/01890a5d-ac96-774b-bcce-b302099a8057", "withdraw"),
    ("post", "/api/v1/auth/password/change", "withdraw"),
]


@pytest.mark.parametrize("method,path,scope", CLOSED)
def test_opens_only_what_its_scopes_name(db: None, method: str, path: str, scope: str) -> None:
    alice = cast.alice()
    others = [name for name in ApiToken.Scope.values if name != scope]
    lesser = cast.api_client(cast.issue_token(alice.user, scopes=others))
    response = getattr(lesser, method)(path, {})
    assert outcome(response) == (403, "SCOPE_MISSING")
    assert body(response)["context"] == {"required": scope}
    assert outcome(getattr(cast.api_client(), method)(path, {})) == (401, "NOT_AUTHENTICATED")
    assert ApiToken.objects.filter(revoked_at__isnull=False).count() == 0


# --- Making, listing, revoking --------------------------------------------------------------------------------------


def make(alice: CastMember, **terms: Any) -> Any:
    return alice.api.post(TOKENS, {"name": "bot", "scopes": ["read"], **terms})


def test_makes_another_that_is_shown_once(db: None) -> None:
    alice = cast.alice()
    response = make(alice, scopes=["trade", "read"], addresses=["10.0.0.0/8", "::1"], expires_in_hours=48)
    made = body(response)
    assert response.status_code == 201
    assert response.headers["Cache-Control"] == "no-store"
    stored = ApiToken.objects.get(pk=made["token_id"])
    assert stored.scopes == made["scopes"] == ["read", "trade"]
    assert stored.addresses == ["10.0.0.0/8", "::1/128"]
    assert abs(stored.expires_at - timezone.now() - timedelta(hours=48)) < timedelta(minutes=1)
    assert cast.api_client(made["token"]).get(ME, REMOTE_ADDR="10.1.2.3").status_code == 200
    listed = body(alice.api.get(TOKENS))["results"]
    assert [entry["id"] for entry in listed] == [made["token_id"], str(row(alice).pk)]
    assert made["token"] not in str(listed)
    event = AuditEvent.objects.get(action="accounts.token.created")
    assert (event.actor_id, event.owner, event.object_id) == (alice.id, alice.id, made["token_id"])


def test_hands_on_no_scope_it_does_not_have(db: None) -> None:
    alice = cast.alice()
    api = cast.api_client(cast.issue_token(alice.user, scopes=["read", "withdraw"]))
    response = api.post(TOKENS, {"name": "bot", "scopes": ["read", "trade", "transfer"]})
    assert outcome(response) == (403, "SCOPE_NOT_HELD")
    assert body(response)["context"] == {"missing": "trade, transfer"}
    assert ApiToken.objects.count() == 2


@pytest.mark.parametrize(
    "field,named,bad",
    [
        ("scopes", "scopes.0", ["market_data"]),
        ("scopes", "scopes.1", ["read", "admin"]),
        ("scopes", "scopes", []),
        ("scopes", "scopes", "read"),
        ("scopes", "scopes", None),
        ("name", "name", ""),
        ("name", "name", "x" * 65),
        ("addresses", "addresses.0", ["10.0.0.1/8"]),
        ("addresses", "addresses.0", ["localhost"]),
        ("addresses", "addresses.0", [5]),
        ("expires_in_hours", "expires_in_hours", 0),
        ("expires_in_hours", "expires_in_hours", 8761),
        ("expires_in_hours", "expires_in_hours", "1"),
        ("owner", "owner", "01890a5d-ac96-774b-bcce-b302099a8057"),
    ],
)
def test_is_not_made_of_nonsense(db: None, field: str, named: str, bad: Any) -> None:
    alice = cast.alice()
    response = make(alice, **{field: bad})
    assert (response.status_code, fields(response)) == (400, [named])
    assert ApiToken.objects.count() == 1


def test_is_limited_in_number(db: None, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "TOKENS_MAX", 3)
    alice = cast.alice()
    assert [make(alice).status_code for _ in range(3)] == [201, 201, 422]
    assert outcome(make(alice)) == (422, "TOO_MANY_TOKENS")
    assert ApiToken.objects.count() == 3


def test_making_many_is_throttled(db: None, settings: Settings) -> None:
    settings.THROTTLES = settings.THROTTLES | {"token": "2/m"}
    alice = cast.alice()
    assert [make(alice).status_code for _ in range(3)] == [201, 201, 429]


def test_counts_its_owners_attempt_in_the_bucket_that_everything_counts_in(db: None, settings: Settings) -> None:
    settings.THROTTLES = settings.THROTTLES | {"token": "3/h"}
    alice = cast.alice()
    throttling.throttle("token", str(alice.user.id))
    made = [alice.api.post(TOKENS, {"name": f"Token {place}", "scopes": ["read"]}, format="json") for place in range(3)]
    assert [answer.status_code for answer in made] == [201, 201, 429]
    assert body(made[2])["code"] == "RATE_LIMITED"
    with pytest.raises(throttling.RateLimited):
        throttling.throttle("token", str(alice.user.id))
    assert ApiToken.objects.filter(owner_id=alice.user.id, name__startswith="Token").count() == 2


@pytest.mark.parametrize("state", ["revoked", "past its end", "unused for too long"])
def test_counts_nothing_once_it_opens_nothing(db: None, state: str) -> None:
    alice, now = cast.alice(), timezone.now()
    match state:
        case "revoked":
            ApiToken.objects.filter(pk=row(alice).pk).update(revoked_at=now)
        case "past its end":
            ApiToken.objects.filter(pk=row(alice).pk).update(expires_at=now)
        case _:
            ApiToken.objects.filter(pk=row(alice).pk).update(last_used_at=now - desk_settings.TOKEN_IDLE_LIFETIME)
    before = ThrottleWindow.objects.count()
    answer = alice.api.post(TOKENS, {"name": "Another", "scopes": ["read"]}, format="json")
    assert answer.status_code == 401
    assert body(answer)["code"] in {"TOKEN_INVALID", "TOKEN_EXPIRED"}
    assert ThrottleWindow.objects.count() == before
    assert not ApiToken.objects.filter(name="Another").exists()


def test_is_dead_the_moment_it_is_revoked(db: None) -> None:
    alice = cast.alice()
    made = body(make(alice))
    bot = cast.api_client(made["token"])
    assert bot.get(ME).status_code == 200
    assert alice.api.delete(f"{TOKENS}/{made['token_id']}").status_code == 204
    assert outcome(bot.get(ME)) == (401, "TOKEN_INVALID")
    assert alice.api.delete(f"{TOKENS}/{made['token_id']}").status_code == 204
    assert AuditEvent.objects.filter(action="accounts.token.revoked").count() == 1
    assert [entry["id"] for entry in body(alice.api.get(TOKENS))["results"]] == [str(row(alice).pk)]


def test_logs_itself_out(db: None) -> None:
    alice = cast.make_client(scopes=["read"])
    assert alice.api.delete("/api/v1/auth/token").status_code == 204
    assert outcome(alice.api.delete("/api/v1/auth/token")) == (401, "TOKEN_INVALID")


def test_all_end_together(db: None) -> None:
    alice, bob = cast.alice(), cast.bob()
    other = cast.api_client(cast.issue_token(alice.user))
    assert alice.api.delete(TOKENS).status_code == 204
    for dead in (alice.api, other):
        assert outcome(dead.get(ME)) == (401, "TOKEN_INVALID")
    assert bob.api.get(ME).status_code == 200
    event = AuditEvent.objects.get(action="accounts.sessions.revoked")
    assert event.after == {"tokens_revoked": 2}


def test_somebody_elses_does_not_exist(db: None) -> None:
    alice, bob = cast.alice(), cast.bob()
    strangers, nobodys = (alice.api.delete(f"{TOKENS}/{token_id}") for token_id in (row(bob).pk, uuid4()))
    assert outcome(strangers) == outcome(nobodys) == (404, "TOKEN_NOT_FOUND")
    assert body(strangers)["detail"] == body(nobodys)["detail"]
    assert bob.api.get(ME).status_code == 200
    assert str(row(bob).pk) not in alice.api.get(TOKENS).content.decode()


def test_is_deleted_long_after_its_end(db: None) -> None:
    alice = cast.alice()
    cast.issue_token(alice.user, lifetime=-timedelta(days=89))
    cast.issue_token(alice.user, lifetime=-timedelta(days=91))
    call_command("purge_tokens", verbosity=0)
    assert ApiToken.objects.count() == 2
    assert alice.api.get(ME).status_code == 200
