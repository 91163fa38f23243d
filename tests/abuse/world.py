"""A desk where everything has happened once to each of two clients, so that there is something to reach."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from functools import cache
from typing import Any

from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.db import connection, transaction
from django.utils import timezone
from rest_framework.test import APIClient

from accounts.models import ApiToken, TradingAccount, Verification
from referrals.models import Commission
from tests import cast, source
from tests.cast import CastMember
from tests.referrals.deals import closed, plan, run
from tests.referrals.newcomers import claim, offer
from tests.trading import nights, prices
from tests.trading.calls import place
from tests.wallets.calls import bank_account, deposit, transfer, withdraw
from trading.models import Deal, MarginEvent, Order, Position, Swap
from wallets.models import BankAccount, Deposit, Environment, Transfer, Withdrawal

#: Requests here come by the thousand from one client; throttles have tests of their own.
UNLIMITED = dict.fromkeys(settings.THROTTLES, "1000000/s")

#: What counts attempts, which refused requests do too.
COUNTERS = {"core_throttlewindow"}


@dataclass(frozen=True)
class Holding:
    """A client, and by the names that routes and bodies have for it, what of theirs somebody could ask for."""

    who: CastMember
    ids: dict[str, str]

    def __getitem__(self, name: str) -> str:
        return self.ids[name]


@dataclass(frozen=True)
class World:
    """Two live clients with one of everything, and a demo client beside them."""

    alice: Holding
    bob: Holding
    dora: Holding


def build() -> World:
    prices.open_market()
    plan()
    offer()
    alice = _client("alice@example.com", "Alice Archer", iban="DE89370400440532013000")
    bob = _client("bob@example.com", "Bob Bennett", iban="GB82WEST12345698765432")
    dora = cast.make_client(environment=Environment.DEMO, email="dora@example.com", margin=Decimal("50000.00"))
    assert claim(bob).status_code == 201
    nights.charge()
    run("accrue_commissions")
    return World(_holding(alice), _holding(bob), Holding(dora, _accounts(dora)))


def _client(email: str, name: str, *, iban: str) -> CastMember:
    who = cast.make_client(
        email=email,
        name=name,
        balance=Decimal("5000.00"),
        margin=Decimal("50000.00"),
        country="AE",
        date_of_birth=date(1990, 5, 17),
        referral_code=name[:5].upper().ljust(8, "Q"),
        password=make_password(cast.PASSWORD),
    )
    TradingAccount.objects.filter(pk=who.account.pk).update(jurisdiction="DESK")
    bank_account(who, number=iban)
    nights.hold(who, since=timezone.now() - timedelta(days=4))
    for made in (
        deposit(who, "100.00", wallet=who.margin),
        withdraw(who, "20.00"),
        transfer(who, who.margin, "30.00"),
        place(who, type="LIMIT", price="1.10000"),
    ):
        assert made.status_code == 201, made.json()
    Verification.objects.create(owner=who.user, status=Verification.Status.PENDING)
    closed(cast.make_client(margin=Decimal("50000.00"), referred_by=who.user))
    MarginEvent.objects.create(
        owner=who.user, account=who.account, kind="MARGIN_CALL", batch=1, equity=1, held=1, report={},
        created_at=timezone.now(),
    )  # fmt: skip
    return who


def _accounts(who: CastMember) -> dict[str, str]:
    return {
        "wallets": who.cash.number,
        "margin": who.margin.number,
        "trading-accounts": who.account.number,
        "symbol": "EURUSD",
    }


def _holding(who: CastMember) -> Holding:
    """The ids of what there is, by the names of the routes' parameters."""
    owner = who.user
    rows: dict[str, Any] = {
        "transfer_id": Transfer,
        "deposit_id": Deposit,
        "withdrawal_id": Withdrawal,
        "token_id": ApiToken,
        "event_id": MarginEvent,
        "deal_id": Deal,
        "swap": Swap,
        "commission": Commission,
        "bank_account": BankAccount,
    }
    ids = {name: str(model.objects.filter(owner=owner).latest("id").pk) for name, model in rows.items()}
    ids["order_id"] = str(Order.objects.get(owner=owner, status="WORKING").pk)
    ids["position_id"] = str(Position.objects.get(owner=owner, status="OPEN").pk)
    return Holding(who, ids | _accounts(who))


# --- What has changed -----------------------------------------------------------------------------------------------


def books() -> dict[str, str]:
    """A digest of every row of every table of ours, in one statement; attempts that were counted apart."""
    tables = sorted({model._meta.db_table for app in source.our_apps() for model in app.get_models()} - COUNTERS)
    sums = " UNION ALL ".join(
        f"SELECT '{table}', count(*) || ' ' || coalesce(sum(hashtextextended(t::text, 0)), 0) FROM {table} t"
        for table in tables
    )
    with connection.cursor() as cursor:
        cursor.execute(sums)
        return dict(cursor.fetchall())


@contextmanager
def undone() -> Iterator[None]:
    """What the block does to the database is taken back."""
    point = transaction.savepoint()
    try:
        yield
    finally:
        transaction.savepoint_rollback(point)


def document(response: Any) -> dict[str, Any]:
    """A problem document or receipt; empty where there is none."""
    if not response.content or "json" not in response.headers.get("Content-Type", ""):
        return {}
    read: dict[str, Any] = response.json()
    return read


# --- What is in every answer ----------------------------------------------------------------------------------------

#: Nothing of this may be in a refusal: it is about us, and not about the request.
INTERNAL = re.compile(
    r"Traceback|psycopg|django|rest_framework|SELECT |INSERT |line \d+|\.py\b|/(?:home|work|usr|tmp)/"
)


def unsafe(response: Any) -> list[str]:
    """What is wrong with an answer, whatever it says."""
    wrong = []
    headers = response.headers
    wanted = {
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "same-origin",
        "Cache-Control": "no-store",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": settings.PERMISSIONS_POLICY,
    }
    wrong += [f"{name}: {headers.get(name)}" for name, value in wanted.items() if headers.get(name) != value]
    if not headers["Content-Security-Policy"].startswith("default-src 'none'"):
        wrong.append("its Content-Security-Policy lets something in")
    kind = "application/problem+json" if response.status_code >= 400 else "application/json"
    if response.content and headers["Content-Type"] != kind:
        wrong.append(f"Content-Type: {headers['Content-Type']}")
    if set(headers) & {"Server", "X-Powered-By", "Set-Cookie", "Location"}:
        wrong.append(f"it says too much: {sorted(headers)}")
    if response.status_code >= 400 and (found := INTERNAL.search(response.content.decode())):
        wrong.append(f"it tells {found[0]!r}")
    if response.status_code >= 400 and response.content and document(response)["request_id"] != headers["X-Request-ID"]:
        wrong.append("it is not to be found again by its request id")
    return wrong


@cache
def description() -> dict[str, Any]:
    """The API's own document, as it is served."""
    made: dict[str, Any] = APIClient().get("/api/schema").json()
    return made
