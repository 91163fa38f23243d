"""What a client gets is what the API document says it gets."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from accounts.models import User, Verification
from accounts.serializers import DemoWelcome, LiveWelcome, Profile, SessionReceipt, TokenSummary, VerificationSummary
from tests import cast
from tests.accounts import bodies
from tests.accounts.problems import body


def shape(document: Any) -> Any:
    """The names in a document, nested ones included."""
    if isinstance(document, dict):
        return {name: shape(value) for name, value in document.items()}
    if isinstance(document, list) and document and isinstance(document[0], dict):
        return [shape(document[0])]
    return None


def promised(kind: Any) -> Any:
    """The names that a serializer declares, nested ones included."""
    promise: dict[str, Any] = {}
    for name, field in (kind() if isinstance(kind, type) else kind).fields.items():
        if isinstance(field, serializers.ListSerializer):
            promise[name] = [promised(field.child)]
        elif isinstance(field, serializers.Serializer):
            promise[name] = promised(field)
        else:
            promise[name] = None
    return promise


def test_of_sign_up(db: None) -> None:
    api = cast.api_client()
    demo = body(api.post("/api/v1/signup/demo", bodies.demo(), **bodies.key()))
    assert shape(
        demo | {"user": demo["user"] | {"address": bodies.live()["address"] | {"line2": "", "region": ""}}}
    ) == promised(DemoWelcome)
    live = body(api.post("/api/v1/signup/live", bodies.live(), **bodies.key()))
    assert shape(live) | {"verification": None} == promised(LiveWelcome) | {"verification": None}


def test_of_people_and_their_tokens(db: None) -> None:
    live = body(cast.api_client().post("/api/v1/signup/live", bodies.live(), **bodies.key()))
    user = User.objects.get(pk=live["user"]["id"])
    api = cast.api_client(cast.issue_token(user))
    documents = {"documents": [{"kind": "PASSPORT", "reference": "uploads/1"}]}
    assert shape(body(api.post("/api/v1/me/verification", documents))) == promised(VerificationSummary)
    assert shape(body(api.get("/api/v1/me"))) == promised(Profile)
    assert shape(body(api.post("/api/v1/auth/tokens", {"name": "x", "scopes": ["read"]}))) == promised(SessionReceipt)
    assert shape(body(api.get("/api/v1/auth/tokens"))["results"][0]) == promised(TokenSummary)
    assert Verification.objects.count() == 1


def test_names_every_way_in_and_every_field(db: None) -> None:
    document = body(cast.api_client().get("/api/schema"))
    paths = document["paths"]
    for path, methods in {
        "/api/v1/signup/demo": {"post"},
        "/api/v1/signup/live": {"post"},
        "/api/v1/auth/token": {"post", "delete"},
        "/api/v1/auth/tokens": {"get", "post", "delete"},
        "/api/v1/auth/tokens/{token_id}": {"delete"},
        "/api/v1/me": {"get", "patch"},
        "/api/v1/me/verification": {"get", "post"},
    }.items():
        assert methods <= set(paths[path])
    schemas = document["components"]["schemas"]
    assert set(schemas["LiveForm"]["required"]) == {
        "email",
        "password",
        "name",
        "phone",
        "country",
        "date_of_birth",
        "address",
        "bank",
    }
    assert "EMAIL_TAKEN" in str(paths["/api/v1/signup/demo"]["post"]["responses"]["409"])
