"""Every route of the API by method: the scope it asks for, what it is sent when all is well, and what it says then."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from django.urls import URLPattern, URLResolver, get_resolver

from core.ids import uuid7
from tests.abuse.world import Holding
from tests.accounts import bodies
from tests.cast import PASSWORD

ROOT = "api/v1/"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

#: In place of a scope: for everybody, whatever they send along; for any token.
OPEN, ANY = "", "any"

Body = Callable[[Holding], dict[str, Any]]


def _empty(_me: Holding) -> dict[str, Any]:
    return {}


class Call(NamedTuple):
    """
    What a method of a route asks for and answers.

    `code` is for what is refused although all is well with the caller; `but` names who is answered otherwise, and how;
    `visitors` is the answer to who has no token at all, where they may come.
    """

    scope: str
    status: int = 200
    body: Body = _empty
    but: Mapping[str, tuple[int, str]] = {}
    code: str = ""
    visitors: int = 0


def _order(me: Holding) -> dict[str, Any]:
    return {
        "account": me["trading-accounts"],
        "symbol": "EURUSD",
        "side": "BUY",
        "type": "LIMIT",
        "volume": "0.10",
        "price": "1.10000",
        "stop_loss": "1.05000",
        "take_profit": "1.25000",
        "time_in_force": "GTD",
        "expires_at": "2099-01-01T00:00:00Z",
    }


def _bank(_me: Holding) -> dict[str, Any]:
    return {
        "holder": "Alice Archer",
        "bank_name": "Barclays",
        "branch": "City",
        "code_type": "IBAN",
        "code": "",
        "number": "GB33BUKB20201555555555",
    }


def _live(_me: Holding) -> dict[str, Any]:
    form = bodies.live(password=PASSWORD, referral_code="", currency="USD", leverage=30)
    form["address"] |= {"line2": "", "region": ""}
    form["bank"] |= {"branch": "", "code": ""}
    return form


def _signed_report(me: Holding) -> dict[str, Any]:
    return {
        "deposit": me.ids.get("deposit_id", str(uuid7())),
        "reference": "pay_1",
        "status": "COMPLETED",
        "amount": "100.00",
        "currency": "USD",
    }


def _link(me: Holding) -> dict[str, Any]:
    return {"user": str(me.who.id), "token": "c1a2b3-0123456789abcdef"}


FROZEN_IN = {code: {"frozen": (422, f"{code}_FROZEN")} for code in ("TRADING", "DEPOSITS", "WITHDRAWALS")}
DEMO_HAS_NONE = {"demo": (404, "NOT_FOUND")}

ROUTES: dict[str, dict[str, Call]] = {
    # Signing up and in
    "signup/demo": {"POST": Call(OPEN, 201, lambda me: bodies.demo(referral_code="", currency="USD", leverage=30))},
    "signup/live": {"POST": Call("withdraw", 409, _live, code="NOT_YOUR_EMAIL", visitors=201)},
    "auth/token": {
        "POST": Call(
            OPEN,
            201,
            lambda me: {"email": me.who.user.email, "password": PASSWORD, "scopes": ["read"], "name": "phone"},
            {"shut out": (403, "LOGIN_FROZEN")},
        ),
        "DELETE": Call(ANY, 204),
    },
    "auth/tokens": {
        "GET": Call("read"),
        "POST": Call(
            "withdraw",
            201,
            lambda me: {"name": "bot", "scopes": ["read"], "addresses": ["203.0.113.0/24"], "expires_in_hours": 5},
            {"without read": (403, "SCOPE_NOT_HELD")},
        ),
        "DELETE": Call("withdraw", 204),
    },
    "auth/tokens/<uuid:token_id>": {"DELETE": Call("withdraw", 204)},
    "auth/password/change": {
        "POST": Call(
            "withdraw", 204, lambda me: {"current_password": PASSWORD, "new_password": "another-staple-battery-8"}
        )
    },
    "auth/password/reset": {"POST": Call(OPEN, 202, lambda me: {"email": me.who.user.email})},
    "auth/password/reset/confirm": {
        "POST": Call(OPEN, 422, lambda me: _link(me) | {"password": "another-staple-battery-8"}, code="LINK_INVALID")
    },
    "auth/email/confirm": {"POST": Call(OPEN, 422, _link, code="LINK_INVALID")},
    # Oneself
    "me": {
        "GET": Call("read"),
        "PATCH": Call(
            "withdraw",
            200,
            lambda me: {
                "name": "Alice A. Archer",
                "phone": "+442079460999",
                "address": {
                    "line1": "1 Acacia Avenue",
                    "line2": "Flat 2",
                    "city": "London",
                    "region": "Kent",
                    "postal_code": "N1",
                    "country": "GB",
                },
            },
        ),
    },
    "me/verification": {
        "GET": Call("read", but=DEMO_HAS_NONE),
        "POST": Call(
            "withdraw",
            201,
            lambda me: {"documents": [{"kind": "PASSPORT", "reference": "uploads/1"}]},
            but={"demo": (409, "NOTHING_TO_VERIFY")},
        ),
    },
    "me/bank-accounts": {"GET": Call("read"), "POST": Call("withdraw", 201, _bank)},
    # Money at rest
    "wallets": {"GET": Call("read")},
    "wallets/<str:number>": {"GET": Call("read")},
    "wallets/<str:number>/entries": {"GET": Call("read")},
    "transfers": {
        "GET": Call("read"),
        "POST": Call(
            "transfer",
            201,
            lambda me: {"source": me["wallets"], "target": me["margin"], "amount": "1.00"},
            FROZEN_IN["WITHDRAWALS"],
        ),
    },
    "transfers/<uuid:transfer_id>": {"GET": Call("read")},
    "deposits": {
        "GET": Call("read"),
        "POST": Call("transfer", 201, lambda me: {"wallet": me["wallets"], "amount": "1.00"}, FROZEN_IN["DEPOSITS"]),
    },
    "deposits/<uuid:deposit_id>": {"GET": Call("read")},
    "withdrawals": {
        "GET": Call("read"),
        "POST": Call(
            "withdraw",
            201,
            lambda me: {
                "wallet": me["wallets"],
                "amount": "1.00",
                "bank_account": me.ids.get("bank_account", str(uuid7())),
            },
            FROZEN_IN["WITHDRAWALS"] | {"demo": (404, "BANK_ACCOUNT_NOT_FOUND")},
        ),
    },
    "withdrawals/<uuid:withdrawal_id>": {"GET": Call("read")},
    "withdrawals/<uuid:withdrawal_id>/cancel": {"POST": Call("withdraw", 200)},
    "payments/webhook": {"POST": Call(OPEN, 403, _signed_report, code="WEBHOOK_SIGNATURE_INVALID")},
    # Markets
    "instruments": {"GET": Call("read")},
    "instruments/<str:symbol>": {"GET": Call("read")},
    "quotes": {
        "GET": Call("read"),
        "POST": Call(
            "market_data",
            200,
            lambda me: {
                "quotes": [{"symbol": "EURUSD", "bid": "1.20001", "ask": "1.20011", "time": "2026-01-01T00:00:00Z"}]
            },
        ),
    },
    "quotes/<str:symbol>/history": {"GET": Call("read")},
    # Trading
    "orders": {
        "GET": Call("read"),
        "POST": Call("trade", 201, lambda me: _order(me) | {"client_order_id": "mine-1"}, FROZEN_IN["TRADING"]),
    },
    "orders/preview": {"POST": Call("read", 200, _order)},
    "orders/<uuid:order_id>": {
        "GET": Call("read"),
        "PATCH": Call(
            "trade",
            200,
            lambda me: {
                "price": "1.11000",
                "stop_loss": "1.05000",
                "take_profit": None,
                "time_in_force": "GTD",
                "expires_at": "2099-01-01T00:00:00Z",
            },
            FROZEN_IN["TRADING"],
        ),
        "DELETE": Call("trade", 200),
    },
    "positions": {"GET": Call("read")},
    "positions/<uuid:position_id>": {
        "GET": Call("read"),
        "PATCH": Call("trade", 200, lambda me: {"stop_loss": "1.10000", "take_profit": "1.30000"}),
    },
    "positions/<uuid:position_id>/close": {"POST": Call("trade", 201, lambda me: {"volume": "0.05"})},
    "positions/<uuid:position_id>/swaps": {"GET": Call("read")},
    "deals": {"GET": Call("read")},
    "deals/<uuid:deal_id>/explain": {"GET": Call("read")},
    "trading-accounts": {"GET": Call("read")},
    "trading-accounts/<str:number>": {"GET": Call("read")},
    "trading-accounts/<str:number>/changes": {"GET": Call("read")},
    "trading-accounts/<str:number>/margin-events": {"GET": Call("read")},
    "trading-accounts/<str:number>/release": {
        "POST": Call("transfer", 201, lambda me: {"amount": "1.00", "target": me["wallets"]}, FROZEN_IN["WITHDRAWALS"])
    },
    "trading-accounts/<str:number>/demo-reset": {"POST": Call("trade", 422, code="DEMO_ONLY", but={"demo": (201, "")})},
    "margin-events/<uuid:event_id>": {"GET": Call("read")},
    # Referrals
    "referrals": {"GET": Call("read")},
    "referrals/commissions": {"GET": Call("read")},
    "referrals/statistics": {"GET": Call("read")},
    "referrals/bonuses": {
        "GET": Call("read"),
        "POST": Call(
            "trade",
            201,
            lambda me: {"account": me["trading-accounts"]},
            {"stranger": (409, "BONUS_CLAIMED"), "demo": (422, "BONUS_NOT_OFFERED")},
        ),
    },
    # The API about itself
    "error-codes": {"GET": Call(OPEN)},
}


def routes() -> list[tuple[str, Any]]:
    """Every route below the API's root as its pattern spells it, and its view's class; what is added later included."""
    return [
        (route.removeprefix(ROOT), pattern.callback.view_class)
        for route, pattern in _patterns(get_resolver().url_patterns, "")
        if route.startswith(ROOT)
    ]


def _patterns(patterns: list[Any], prefix: str) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for pattern in patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            found += _patterns(pattern.url_patterns, route)
        elif isinstance(pattern, URLPattern):
            found.append((route, pattern))
    return found


def path(route: str, ids: Mapping[str, str]) -> str:
    """The route's address with these ids in it; a `number` is of what the route begins with."""
    if "<str:number>" in route:
        route = route.replace("<str:number>", ids[route.partition("/")[0]])
    for name, value in ids.items():
        for kind in ("uuid", "str"):
            route = route.replace(f"<{kind}:{name}>", value)
    assert "<" not in route, f"say what {route} is about"
    return f"/{ROOT}{route}"
