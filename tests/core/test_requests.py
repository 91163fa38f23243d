"""A key, an actor and an address are read from a request one way, or not at all."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import RequestFactory

from core.api import actor_of, answer_response, claim_for, client_address, idempotency_key
from core.audit import ActorKind
from core.errors import DomainError
from core.idempotency import Answer, Claim, IdempotencyKeyInvalid, IdempotencyKeyRequired
from tests.core import effects
from tests.core.edge import Grant, Principal


def request(**meta: str) -> Any:
    made: Any = RequestFactory().post("/notes", **meta)  # type: ignore[arg-type]  # WSGI names, all of them strings
    made.user, made.auth, made.request_id = Principal(), Grant(), "request-1"
    return made


@pytest.mark.parametrize("key", ["a" * 16, "a" * 128, "A-z0.9_:-aaaaaaaa", "01890a5d-ac96-774b-bcce-b302099a8057"])
def test_a_key_comes_bare_or_quoted(key: str) -> None:
    assert idempotency_key(request(HTTP_IDEMPOTENCY_KEY=key)) == key
    assert idempotency_key(request(HTTP_IDEMPOTENCY_KEY=f'"{key}"')) == key


@pytest.mark.parametrize("meta", [{}, {"HTTP_IDEMPOTENCY_KEY": ""}])
def test_a_missing_key_is_asked_for(meta: dict[str, str]) -> None:
    with pytest.raises(IdempotencyKeyRequired):
        idempotency_key(request(**meta))


@pytest.mark.parametrize(
    "key",
    [
        "a" * 15,
        "a" * 129,
        '"' + "a" * 15 + '"',
        '"' + "a" * 16,
        "a" * 16 + '"',
        '""' + "a" * 16 + '""',
        "'" + "a" * 16 + "'",
        " " + "a" * 16,
        "a" * 16 + " ",
        "a" * 16 + "\n",
        "a" * 8 + " " + "a" * 8,
        "a" * 16 + "/",
        "a" * 16 + ",b" + "b" * 16,
        "é" * 16,
        "１" * 16,
        '""',
    ],
)
def test_a_malformed_key_is_refused(key: str) -> None:
    with pytest.raises(IdempotencyKeyInvalid):
        idempotency_key(request(HTTP_IDEMPOTENCY_KEY=key))


def claimed(key: str = effects.KEY, **options: Any) -> Claim:
    terms = options.pop("terms", {"amount": "1"})
    return claim_for(request(HTTP_IDEMPOTENCY_KEY=key), effects.NOTE, terms, **options)


def test_a_claim_knows_whose_it_is_and_where_it_came_from() -> None:
    claim = claimed()
    assert (claim.owner, claim.instance, claim.request_id) == (effects.ALICE, "/notes", "request-1")
    assert claimed(owner=effects.BOB).owner == effects.BOB


def test_a_claim_differs_by_owner_key_path_and_body() -> None:
    claim = claimed()
    assert claimed().digest == claim.digest
    assert claimed(f'"{effects.KEY}"').digest == claim.digest
    assert claimed(owner=effects.BOB).digest != claim.digest
    assert claimed("another-key-of-theirs").digest != claim.digest
    assert claimed(path={"id": "7"}).request_hash != claim.request_hash
    assert claimed(terms={"amount": "2"}).request_hash != claim.request_hash
    assert claimed(path={"amount": "1"}, terms={}).request_hash != claim.request_hash


def test_an_actor_is_the_tokens_owner() -> None:
    actor = actor_of(request(REMOTE_ADDR="192.0.2.7"))
    assert (actor.id, actor.kind, actor.request_id, actor.address) == (
        effects.ALICE,
        ActorKind.CLIENT,
        "request-1",
        "192.0.2.7",
    )


def test_an_actor_of_the_admin_is_staff() -> None:
    made = request()
    made.auth = None
    made.user = type("Staff", (), {"id": effects.BOB, "is_staff": True})()
    assert actor_of(made).kind == ActorKind.STAFF
    made.auth = Grant()
    assert actor_of(made).kind == ActorKind.CLIENT


@pytest.mark.parametrize(
    "address,expected",
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:DB8::0:1", "2001:db8::1"),
        ("", None),
        ("unix:", None),
        ("not an address", None),
    ],
)
def test_an_address_has_one_spelling(address: str, expected: str | None) -> None:
    assert client_address(request(REMOTE_ADDR=address)) == expected


def test_a_forwarded_address_counts_only_behind_our_own_proxy(settings: Any) -> None:
    forwarded = request(REMOTE_ADDR="127.0.0.1", HTTP_X_FORWARDED_FOR="203.0.113.9, 198.51.100.4")
    settings.TRUST_PROXY_HEADERS = False
    assert client_address(forwarded) == "127.0.0.1"
    settings.TRUST_PROXY_HEADERS = True
    assert client_address(forwarded) == "198.51.100.4"
    assert client_address(request(REMOTE_ADDR="127.0.0.1")) == "127.0.0.1"


def test_an_answer_goes_out_as_it_is_stored() -> None:
    body = b'{"a":  1}'
    response = answer_response(Answer(201, body, replayed=True))
    assert (response.status_code, response.content) == (201, body)
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["Idempotent-Replayed"] == "true"
    assert response.headers["Cache-Control"] == "no-store"


def test_a_stored_refusal_is_a_problem_document() -> None:
    refusal: DomainError = effects.NoteRefused(name="x")
    response = answer_response(Answer.refusal(refusal, effects.claim()))
    assert response.status_code == 422
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.headers["Idempotent-Replayed"] == "false"
    assert response.code == "TEST_NOTE_REFUSED"
