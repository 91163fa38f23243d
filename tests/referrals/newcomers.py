"""Newcomers who may have a bonus, the policy that offers it, and the requests they make."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

from accounts.models import TradingAccount
from core.audit import Actor
from core.ids import uuid7
from referrals.services import bonuses
from tests.cast import CastMember, make_client
from tests.wallets.calls import deposit
from wallets.models import Wallet

TERMS: dict[str, Any] = {
    "currency": "USD",
    "version": 1,
    "is_offered": True,
    "amount": "50.00",
    "deposit_min": "100.00",
    "days_valid": 90,
    "jurisdictions_barred": ["ASIC", "ESMA", "FCA"],
    "countries_barred": ["US"],
    "valid_from": "2021-01-01T00:00:00+00:00",
}


def offer(**changes: Any) -> None:
    """Put a policy in force; a test changes the one term it is about."""
    assert bonuses.load_policy(document=TERMS | changes, actor=Actor.system("test"))


def newcomer(*, deposited: str = "100.00", jurisdiction: str = "DESK", **facts: Any) -> CastMember:
    """A verified live client from where bonuses are allowed, with this much deposited into the trading account."""
    terms = {"balance": Decimal(0), "country": "AE", "date_of_birth": date(1990, 5, 17), **facts}
    who = make_client(**terms)
    TradingAccount.objects.filter(pk=who.account.pk).update(jurisdiction=jurisdiction)
    if Decimal(deposited):
        assert deposit(who, deposited, wallet=who.margin).status_code == 201
    return who


def claim(who: CastMember, *, key: str | None = None, account: Any = None) -> Any:
    headers = {"Idempotency-Key": key or str(uuid7())}
    number = who.account.number if account is None else account
    return who.api.post("/api/v1/referrals/bonuses", {"account": number}, headers=headers)


def listed(who: CastMember) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = who.api.get("/api/v1/referrals/bonuses").json()["results"]
    return results


def margin(who: CastMember) -> Wallet:
    """The wallet of the trading account as it is now."""
    return Wallet.objects.get(pk=who.margin.pk)
