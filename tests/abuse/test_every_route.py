"""Every route, method and caller there is: the table says what is answered, and what is refused has changed nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import uuid4

import pytest
from django.contrib.auth.models import Group
from django.utils import timezone
from rest_framework.test import APIClient

from accounts import rules
from accounts.models import ApiToken, Freeze
from accounts.services import freezes, staff
from core.audit import Actor
from core.ids import uuid7
from tests import cast
from tests.abuse.routes import ANY, METHODS, OPEN, ROOT, ROUTES, Call, path, routes
from tests.abuse.world import Holding, World, books, description, document, undone, unsafe
from tests.cast import CLIENT_SCOPES, CastMember
from tests.wallets.calls import deposit, transfer
from tests.wallets.test_back_office import signed_in

#: Ids of the right shape that nobody has.
NOBODYS = {"wallets": "W99999999", "trading-accounts": "9999999", "symbol": "XYZABC"}

TOKEN_INVALID, TOKEN_EXPIRED = (401, "TOKEN_INVALID"), (401, "TOKEN_EXPIRED")

#: Tokens that are all right but for what they lack: these scopes and no others.
LIMITED = {
    "owner": set(CLIENT_SCOPES),
    **{f"without {scope}": set(CLIENT_SCOPES) - {scope} for scope in CLIENT_SCOPES},
    "read only": {"read"},
    "without scopes": set(),
}
#: Callers with all scopes who are in another place.
OTHERS = ("stranger", "demo", "frozen")
#: Callers whose token is none, and what they are told.
DEAD = {
    "expired": TOKEN_EXPIRED,
    "unused for too long": TOKEN_EXPIRED,
    "revoked": TOKEN_INVALID,
    "made up": TOKEN_INVALID,
    "another scheme": TOKEN_INVALID,
    "shut out": TOKEN_INVALID,
    "from elsewhere": (403, "TOKEN_ADDRESS_REFUSED"),
}
#: Cookies open nothing here.
STAFF = tuple(f"staff: {role}" for role in (*rules.ROLES, "superuser"))
CALLERS = ("anonymous", *LIMITED, "feed", *OTHERS, *DEAD, *STAFF)


class Caller(NamedTuple):
    """Somebody with a client to send with: as whom they act, whose ids they ask for, and what they may."""

    name: str
    api: APIClient
    me: Holding
    ids: dict[str, str]
    scopes: frozenset[str] = frozenset()
    dead: tuple[int, str] | None = None
    is_nobody: bool = False


def caller(name: str, world: World) -> Caller:
    alice = world.alice
    if name in LIMITED:
        api = cast.api_client(cast.issue_token(alice.who.user, scopes=LIMITED[name]))
        return Caller(name, api, alice, alice.ids, frozenset(LIMITED[name]))
    if name == "feed":
        return Caller(name, cast.market_data_client(), alice, alice.ids, frozenset({"market_data"}))
    if name == "anonymous":
        return Caller(name, cast.api_client(), alice, alice.ids, is_nobody=True)
    if name in STAFF:
        return Caller(name, _browser(name.partition(": ")[2]), alice, alice.ids, is_nobody=True)
    if name in DEAD:
        return Caller(name, _dead(name, alice), alice, alice.ids, dead=DEAD[name])
    everything = frozenset(CLIENT_SCOPES)
    if name == "frozen":
        for scope in ("TRADING", "DEPOSITS", "WITHDRAWALS"):
            freezes.place_freeze(owner=alice.who.user.pk, scope=scope, reason="x", actor=Actor.system("test"))
        return Caller(name, alice.who.api, alice, alice.ids, everything)
    me = {"stranger": world.bob, "demo": world.dora}[name]
    own = {} if name == "stranger" else me.ids
    return Caller(name, me.who.api, me, alice.ids | own, everything)


def _browser(role: str) -> APIClient:
    """Somebody of staff who is signed in to the back office, cookie and all."""
    staff.define_roles()
    is_superuser = role == "superuser"
    member = cast.carol_staff(email=f"{uuid4()}@desk.example", superuser=is_superuser)
    if not is_superuser:
        member.user.groups.add(Group.objects.get(name=role))
    api = APIClient()
    api.cookies = signed_in(member).cookies
    return api


def _dead(name: str, alice: Holding) -> APIClient:
    user, now = alice.who.user, timezone.now()
    addresses = ("203.0.113.0/24",) if name == "from elsewhere" else ()
    token = cast.issue_token(user, addresses=addresses)
    row = ApiToken.objects.filter(owner=user).order_by("id")
    newest = ApiToken.objects.filter(pk=row.last().pk)  # type: ignore[union-attr]  # there is the one just made
    if name == "expired":
        newest.update(created_at=now - timedelta(days=9), expires_at=now - timedelta(seconds=1))
    if name == "unused for too long":
        newest.update(created_at=now - timedelta(days=9), last_used_at=now - timedelta(days=8))
    if name == "revoked":
        newest.update(revoked_at=now)
    if name == "shut out":
        freezes.place_freeze(owner=user.pk, scope=Freeze.Scope.LOGIN, reason="x", actor=Actor.system("test"))
    if name == "made up":
        token = f"dd_aaaaaaaa_{'A' * 43}"
    api = cast.api_client(token)
    if name == "another scheme":
        api.credentials(HTTP_AUTHORIZATION=f"Token {token}")
    return api


# --- What the table says ----------------------------------------------------------------------------------------------


def expected(route: str, method: str, who: Caller) -> tuple[int, str]:
    """Status and code of the answer; an answer that is no refusal has no code."""
    calls = ROUTES[route]
    call = calls.get("GET" if method == "HEAD" else method)
    if call is not None and call.scope == OPEN:
        return call.but.get(who.name, (call.status, call.code))
    if any(one.scope != OPEN for one in calls.values()):  # it reads tokens
        visitors = max(one.visitors for one in calls.values())
        if who.dead is not None:
            return who.dead
        if who.is_nobody and not visitors:
            return 401, "NOT_AUTHENTICATED"
        if who.is_nobody and call is not None:
            return visitors, ""
        if call is not None and call.scope != ANY and call.scope not in who.scopes:
            return 403, "SCOPE_MISSING"
    if call is None:
        return 405, "METHOD_NOT_ALLOWED"
    if is_about_others(route, who):
        return 404, "NOT_FOUND"
    return call.but.get(who.name, (call.status, call.code))


def is_about_others(route: str, who: Caller) -> bool:
    """Whether the path names what is not the caller's own."""
    own = dict.fromkeys(who.ids, "?") | who.me.ids
    return "<str:symbol>" not in route and path(route, own) != path(route, who.ids)


def send(who: Caller, method: str, address: str, call: Call | None) -> Any:
    body = {} if call is None else call.body(who.me)
    return who.api.generic(
        method,
        address,
        "" if method in {"GET", "HEAD", "OPTIONS"} else json.dumps(body),
        content_type="application/json",
        headers={"Idempotency-Key": str(uuid7())},
    )


def answered(response: Any) -> tuple[int, str]:
    return response.status_code, document(response).get("code", "") if response.status_code >= 400 else ""


def are_alike(got: tuple[int, str], wanted: tuple[int, str], method: str) -> bool:
    if method == "HEAD":  # which has no body to have a code in
        return got[0] == wanted[0]
    return got == wanted or (wanted[0] == 404 == got[0] and got[1].endswith("NOT_FOUND"))


# --- The matrix -------------------------------------------------------------------------------------------------------


def test_the_table_has_every_route_and_no_other() -> None:
    """A new route has to say in the table who may do what there."""
    assert sorted(route for route, _ in routes()) == sorted(ROUTES)


def test_the_table_has_every_method_that_is_answered() -> None:
    handled = {
        route: {method for method in METHODS if method not in {"HEAD", "OPTIONS"} and hasattr(view, method.lower())}
        for route, view in routes()
    }
    assert handled == {route: set(calls) for route, calls in ROUTES.items()}


@pytest.mark.parametrize("name", CALLERS)
def test_everybody_is_answered_as_the_table_says_and_refused_without_effect(world: World, name: str) -> None:
    who = caller(name, world)
    before, wrong = books(), list[Any]()
    for route, calls in ROUTES.items():
        for method in METHODS:
            wanted = expected(route, method, who)
            has_effect = wanted[0] < 400 or wanted[0] == 422  # if only a refusal that is kept under its key
            with undone() if has_effect else nullcontext():
                response = send(who, method, path(route, who.ids), calls.get(method))
            if not are_alike(answered(response), wanted, method):
                wrong.append((method, route, wanted, answered(response)))
            wrong += [(method, route, what) for what in unsafe(response)]
    assert wrong == []
    assert books() == before


# --- What is somebody else's does not exist ---------------------------------------------------------------------------


def same_but_for(response: Any, ids: Mapping[str, str]) -> tuple[int, str]:
    """An answer without what the request itself put into it."""
    said = document(response) | {"instance": "", "request_id": ""}
    text = json.dumps(said, sort_keys=True)
    for name, value in ids.items():
        text = text.replace(value, f"<{name}>")
    return response.status_code, text


@pytest.mark.parametrize("name", ["stranger", "demo"])
def test_somebody_elses_is_answered_like_what_does_not_exist(world: World, name: str) -> None:
    who = caller(name, world)
    before, tried = books(), 0
    nobodys = NOBODYS | {name: str(uuid7()) for name in who.ids if name not in NOBODYS}
    theirs = world.alice.ids
    for route, calls in ROUTES.items():
        if "<" not in route or "<str:symbol>" in route:
            continue
        for method, call in (*calls.items(), ("HEAD", None)):
            there = same_but_for(send(who, method, path(route, theirs), call), theirs)
            nowhere = same_but_for(send(who, method, path(route, nobodys), call), nobodys)
            assert (method, route, *there) == (method, route, *nowhere)
            assert method == "HEAD" or there[0] == 404, (method, route, there)
            tried += 1
    assert tried > 25
    assert books() == before


def test_a_body_that_names_somebody_elses_is_answered_like_one_that_names_nobodys(world: World) -> None:
    """But for where money is sent: that may be anybody's, and is said to be there."""
    who = caller("stranger", world)
    before, tried = books(), set()
    nobodys = {name: NOBODYS.get(name, str(uuid7())) for name in world.alice.ids} | {"margin": "W99999998"}
    for route, calls in ROUTES.items():
        for method, call in calls.items():
            for field, value in call.body(world.bob).items():
                named = next((name for name, own in world.bob.ids.items() if own == value and name != "symbol"), None)
                if named is None or (route, field) == ("transfers", "target"):
                    continue
                answers = [
                    same_but_for(_with(who, method, route, call, {field: ids[named]}), ids)
                    for ids in (world.alice.ids, nobodys)
                ]
                assert answers[0] == answers[1], (route, field)
                assert answers[0][0] in {403, 404, 422}, (route, field, answers[0])
                tried.add((route, field))
    assert tried == {
        ("transfers", "source"),
        ("deposits", "wallet"),
        ("withdrawals", "wallet"),
        ("withdrawals", "bank_account"),
        ("payments/webhook", "deposit"),
        ("orders", "account"),
        ("orders/preview", "account"),
        ("trading-accounts/<str:number>/release", "target"),
        ("referrals/bonuses", "account"),
    }
    assert books() == before


def _with(who: Caller, method: str, route: str, call: Call, change: dict[str, str]) -> Any:
    changed = call._replace(body=lambda me: call.body(me) | change)
    with undone():
        return send(who, method, path(route, who.ids | who.me.ids), changed)


# --- Lists ------------------------------------------------------------------------------------------------------------


def filters(operation: Mapping[str, Any], ids: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Every filter of a list by itself: with each of its values where they are few, and with each id that fits."""
    yield {}
    for parameter in operation.get("parameters", []):
        if parameter["in"] != "query" or parameter["name"] in {"cursor", "format"}:
            continue
        name, schema = parameter["name"], parameter["schema"]
        values = schema.get("enum") or FITTING.get(schema.get("format", schema["type"]))
        if values is None:
            is_uuid = schema.get("format") == "uuid"
            values = [value for value in ids.values() if ("-" in value) == is_uuid]
        yield from ({name: str(value)} for value in values)


#: What fits a filter that is no list of values and takes no id.
FITTING = {"date-time": ("2000-01-01T00:00:00Z", "2099-01-01T00:00:00Z"), "integer": ("1", "200"), "number": ("1", "2")}


def shown(who: CastMember, address: str, operation: Mapping[str, Any], ids: Mapping[str, str]) -> set[str]:
    """Which of these ids a list shows a client, whatever it is filtered by."""
    seen: set[str] = set()
    for query in filters(operation, ids):
        response = who.api.get(address, query)
        assert response.status_code in {200, 400, 409}, (address, query, response.content)
        if response.status_code == 200:
            rows = json.dumps(response.json() | {"next": "", "previous": ""})  # which repeat the filter
            seen |= {name for name, value in ids.items() if f'"{value}"' in rows}
    return seen


def test_no_list_reaches_anothers_rows_whatever_the_filter(world: World) -> None:
    """Each of the two clients knows all ids of the other one, and asks for them by name."""
    paths, met = description()["paths"], set()
    alices = {name: value for name, value in world.alice.ids.items() if name != "symbol"}
    bobs = {f"bob's {name}": value for name, value in world.bob.ids.items() if name != "symbol"}
    for route, calls in ROUTES.items():
        if "GET" not in calls or "_id>" in route:
            continue
        operation = paths[f"/{ROOT}" + re.sub(r"<\w+:(\w+)>", r"{\1}", route)]["get"]
        for one, own, others in ((world.alice, alices, bobs), (world.bob, bobs, alices)):
            seen = shown(one.who, path(route, one.ids), operation, own | others)
            assert seen & others.keys() == set(), route
            met |= seen
    assert met >= {*alices, *bobs} - {"swap", "bob's swap"}  # which are listed by position alone


def test_anothers_cursor_leads_through_ones_own_rows(world: World) -> None:
    met = 0
    for route in ("orders", "positions", "deals", "deposits", "transfers", "auth/tokens"):
        cast.issue_token(world.alice.who.user)
        deposit(world.alice.who, "1.00")
        transfer(world.alice.who, world.alice.who.margin, "1.00")
        page = world.alice.who.api.get(path(route, {}), {"limit": "1"}).json()
        if page["next"] is None:
            continue
        met += 1
        followed = world.bob.who.api.get(page["next"]).json()
        owners = {row["id"] for row in world.bob.who.api.get(path(route, {}), {"limit": "200"}).json()["results"]}
        assert {row["id"] for row in followed["results"]} <= owners
    assert met >= 4
