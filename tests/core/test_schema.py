"""The API document names keys, scopes and refusals, and its page needs nothing from outside."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib.staticfiles import finders
from django.test import Client
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.validation import validate_schema

from core.api import schema
from core.errors import REGISTRY

pytestmark = pytest.mark.urls("tests.core.edge")


@pytest.fixture(scope="module")
def document() -> Any:
    from tests.core import edge

    return SchemaGenerator(patterns=edge.urlpatterns).get_schema(request=None, public=True)


def test_it_is_a_valid_openapi_document(document: Any) -> None:
    validate_schema(document)


def test_an_operation_asks_for_its_key(document: Any) -> None:
    operation = document["paths"]["/api/v1/notes"]["post"]
    (key,) = [parameter for parameter in operation["parameters"] if parameter["name"] == "Idempotency-Key"]
    assert (key["in"], key["required"]) == ("header", True)
    assert key["schema"]["pattern"] == "^[A-Za-z0-9._:-]{16,128}$"
    assert "Idempotent-Replayed" in operation["responses"]["201"]["headers"]
    listing = document["paths"]["/api/v1/notes"]["get"]
    assert {parameter["name"] for parameter in listing["parameters"]} == {"cursor", "limit"}


def test_an_operation_names_every_refusal_it_can_give(document: Any) -> None:
    responses = document["paths"]["/api/v1/notes"]["post"]["responses"]
    expected = {
        "400": ("VALIDATION_FAILED", "MALFORMED_JSON", "UNKNOWN_FIELD", "IDEMPOTENCY_KEY_REQUIRED"),
        "401": ("NOT_AUTHENTICATED",),
        "403": ("SCOPE_MISSING",),
        "409": ("IDEMPOTENCY_IN_PROGRESS", "IDEMPOTENCY_KEY_EXPIRED"),
        "413": ("PAYLOAD_TOO_LARGE",),
        "415": ("UNSUPPORTED_MEDIA_TYPE",),
        "422": ("TEST_NOTE_REFUSED", "IDEMPOTENCY_KEY_REUSED"),
        "429": ("RATE_LIMITED",),
        "503": ("SERVICE_UNAVAILABLE", "LOCK_TIMEOUT", "OUTCOME_UNKNOWN"),
    }
    for status, codes in expected.items():
        assert list(responses[status]["content"]) == ["application/problem+json"]
        for code in codes:
            assert f"`{code}`" in responses[status]["description"]
            assert REGISTRY[code].status == int(status)


def test_a_reading_view_lists_rows_in_pages(document: Any) -> None:
    response = document["paths"]["/api/v1/notes"]["get"]["responses"]["200"]
    reference = response["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    assert set(document["components"]["schemas"][reference]["properties"]) == {"results", "next", "previous"}


def test_it_says_who_may_call(document: Any) -> None:
    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    assert document["paths"]["/api/v1/notes"]["post"]["security"] == [{"bearer": []}]
    assert "security" not in document["paths"]["/api/v1/error-codes"]["get"]
    assert document["paths"]["/api/v1/error-codes"]["get"]["tags"] == ["core"]


def test_our_fields_are_described_as_they_are_read(document: Any) -> None:
    name = document["components"]["schemas"]["NoteTerms"]["properties"]["name"]
    assert name == {"type": "string", "maxLength": 20, "minLength": 1}


def test_it_is_made_once_per_process(monkeypatch: pytest.MonkeyPatch) -> None:
    schema._document.cache_clear()
    made = []
    real: Any = SchemaGenerator.get_schema

    def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        made.append(1)
        return real(self, *args, **kwargs)

    monkeypatch.setattr(SchemaGenerator, "get_schema", counted)
    first, second = (Client().get("/api/schema") for _ in range(2))
    assert json.loads(first.content) == json.loads(second.content)
    assert len(made) == 1
    schema._document.cache_clear()


def test_the_page_loads_only_from_here() -> None:
    page = Client().get("/api/docs").content.decode()
    assert "http://" not in page
    assert "https://" not in page
    for name in ("swagger-ui.css", "swagger-ui-bundle.js", "swagger-ui-standalone-preset.js"):
        assert f"drf_spectacular_sidecar/swagger-ui-dist/{name}" in page
        assert finders.find(f"drf_spectacular_sidecar/swagger-ui-dist/{name}")
    script = Client().get("/api/docs?script=")
    assert script.headers["Content-Type"].startswith("application/javascript")
    assert b"/api/schema" in script.content


@pytest.mark.urls("config.urls")
def test_the_desks_own_document_is_valid_and_complete() -> None:
    GENERATOR_STATS.reset()
    made = SchemaGenerator().get_schema(request=None, public=True)
    validate_schema(made)
    assert (GENERATOR_STATS._warn_cache, GENERATOR_STATS._error_cache) == ({}, {})
    for path, operations in made["paths"].items():
        for method, operation in operations.items():
            problems = [response for status, response in operation["responses"].items() if status >= "400"]
            assert problems, (path, method)
            assert all(list(problem["content"]) == ["application/problem+json"] for problem in problems)
    ids = [operation["operationId"] for operations in made["paths"].values() for operation in operations.values()]
    assert len(ids) == len(set(ids))
