"""The requests a trading test makes, with a fresh Idempotency-Key unless it brings its own."""

from __future__ import annotations

from typing import Any

from core.ids import uuid7
from tests.cast import CastMember

Response = Any


def key() -> str:
    return str(uuid7())


def place(who: CastMember, *, symbol: str = "EURUSD", side: str = "BUY", volume: str = "0.10", **more: Any) -> Response:
    headers = {"Idempotency-Key": more.pop("key", None) or key()}
    body = {"account": more.pop("account", who.account.number), "symbol": symbol, "side": side, "volume": volume}
    return who.api.post("/api/v1/orders", {**body, "type": "MARKET", **more}, headers=headers)


def close(who: CastMember, position: str, **body: Any) -> Response:
    headers = {"Idempotency-Key": body.pop("key", None) or key()}
    return who.api.post(f"/api/v1/positions/{position}/close", body, headers=headers)


def release(who: CastMember, *, amount: str, target: str, account: str | None = None) -> Response:
    number = account or who.account.number
    body = {"amount": amount, "target": target}
    return who.api.post(f"/api/v1/trading-accounts/{number}/release", body, headers={"Idempotency-Key": key()})


def account(who: CastMember) -> dict[str, Any]:
    document: dict[str, Any] = who.api.get(f"/api/v1/trading-accounts/{who.account.number}").json()
    return document


def preview(
    who: CastMember, *, symbol: str = "EURUSD", side: str = "BUY", volume: str = "0.10", **more: Any
) -> Response:
    body = {"account": who.account.number, "symbol": symbol, "side": side, "volume": volume}
    return who.api.post("/api/v1/orders/preview", {**body, **more})


def change(who: CastMember, order: str, **body: Any) -> Response:
    return who.api.patch(f"/api/v1/orders/{order}", body)


def cancel(who: CastMember, order: str) -> Response:
    return who.api.delete(f"/api/v1/orders/{order}")


def stops(who: CastMember, position: str, **body: Any) -> Response:
    return who.api.patch(f"/api/v1/positions/{position}", body)
