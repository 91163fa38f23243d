"""The API keeps to its own document: whatever is made up from it, no answer is an error or one it does not name."""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.ids import uuid7
from tests import cast
from tests.abuse.routes import ROOT, ROUTES, Call
from tests.abuse.world import World, description, undone

#: Of each kind for each operation; `make schemathesis EXAMPLES=100` tries more.
EXAMPLES = int(os.environ.get("SCHEMATHESIS_EXAMPLES", "5"))
OPERATIONS = [(method, route) for route, calls in ROUTES.items() for method in calls]


@cache
def app() -> WSGIHandler:
    return WSGIHandler()


@cache
def document() -> Any:
    import schemathesis

    made = copy.deepcopy(description())
    for calls in made["paths"].values():
        for call in calls.values():
            call.pop("security", None)  # tokens are ours to choose
    return schemathesis.openapi.from_dict(made)


@pytest.fixture(autouse=True)
def kept_connection(world: World) -> Iterator[None]:
    """As Django's own test client has it: a request does not close the connection that the world is in."""
    document()  # which is asked for by that client, who connects the signals again
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


def operation(method: str, route: str) -> Any:
    return document()[f"/{ROOT}" + re.sub(r"<\w+:(\w+)>", r"{\1}", route)][method]


def path_parameters(route: str, ids: Any) -> dict[str, str]:
    return {
        name: ids[route.partition("/")[0]] if name == "number" else ids[name]
        for name in re.findall(r"<\w+:(\w+)>", route)
    }


def checks() -> list[Any]:
    from schemathesis.checks import CHECKS, load_all_checks

    load_all_checks()
    return CHECKS.get_by_names(
        [
            "not_a_server_error",
            "status_code_conformance",
            "content_type_conformance",
            "response_schema_conformance",
            "response_headers_conformance",
            "negative_data_rejection",
        ]
    )


def tokens(world: World, call: Call) -> list[str]:
    """Those of two clients; where only a feed may come, a feed's."""
    if call.scope == "market_data":
        feed: Any = cast.market_data_client()
        return [feed._credentials["HTTP_AUTHORIZATION"]]
    return [f"Bearer {each.who.token}" for each in (world.alice, world.bob)]


#: No example is kept or looked for again: what was found is mended, and has its test.
QUIETLY: Any = {
    "deadline": None,
    "database": None,
    "derandomize": EXAMPLES < 10,
    "suppress_health_check": list(HealthCheck),
}


@pytest.mark.parametrize("method,route", OPERATIONS)
def test_an_operation_answers_as_the_document_says(world: World, method: str, route: str) -> None:
    from schemathesis import GenerationMode

    it, names, call = operation(method, route), checks(), ROUTES[route][method]
    own = {"path_parameters": path_parameters(route, world.alice.ids)}
    valid, invalid = (it.as_strategy(mode, **own) for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE))

    def send(case: Any, token: str) -> Any:
        with undone():
            response = case.call(app=app(), headers={"Authorization": token}, base_url="http://testserver")
            case.validate_response(response, checks=names)
        return response

    @settings(max_examples=EXAMPLES, **QUIETLY)
    @given(case=valid | invalid, token=st.sampled_from(tokens(world, call)))
    def run(case: Any, token: str) -> None:
        send(case, token)

    body = {"body": call.body(world.alice), "media_type": "application/json"} if it.body else {}
    right = it.Case(**own, **body, headers={"Idempotency-Key": str(uuid7())})
    assert send(right, tokens(world, call)[0]).status_code == call.status
    run()
