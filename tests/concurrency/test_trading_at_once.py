"""However many try at once, a position is closed once, and an account is reset once."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from tests.live_desk import LiveDesk

if TYPE_CHECKING:  # models cannot be imported before the settings are made
    from tests.cast import CastMember
    from tests.trading.prices import Push

CLIENTS = 50


@pytest.fixture
def market(committed_db: object) -> Push:
    from tests.trading import prices

    return prices.open_market()


def post(desk: LiveDesk, who: CastMember, path: str, body: dict[str, Any], key: str) -> tuple[int, dict[str, Any]]:
    """One request of an app; whatever the status, the body is JSON."""
    headers = {"Authorization": f"Bearer {who.token}", "Idempotency-Key": key, "Content-Type": "application/json"}
    request = urllib.request.Request(f"{desk.url}/api/v1{path}", json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refusal:
        return refusal.code, json.load(refusal)


def opened(desk: LiveDesk, who: CastMember) -> str:
    from tests.trading.calls import key

    body = {"account": who.account.number, "symbol": "EURUSD", "side": "BUY", "type": "MARKET", "volume": "0.50"}
    status, order = post(desk, who, "/orders", body, key())
    assert status == 201, order
    position: str = order["position"]["id"]
    return position


def test_fifty_closes_with_keys_of_their_own_close_once(live_desk: LiveDesk, market: Push) -> None:
    from tests.cast import make_client
    from tests.trading.calls import key
    from trading.models import Deal, Position

    who = make_client(margin=Decimal("10000.00"))
    path = f"/positions/{opened(live_desk, who)}/close"
    with ThreadPoolExecutor(CLIENTS) as pool:
        answers = list(pool.map(lambda _: post(live_desk, who, path, {"volume": "ALL"}, key()), range(CLIENTS)))
    outcomes = Counter((status, body.get("code")) for status, body in answers)
    assert outcomes == {(201, None): 1, (422, "POSITION_CLOSED"): CLIENTS - 1}
    assert Deal.objects.filter(entry="OUT").count() == 1
    assert Position.objects.get().status == "CLOSED"
    who.margin.refresh_from_db()
    # 10,000.00 − 5.00 spread − 2 · 1.75 commission
    assert (who.margin.balance, who.margin.held) == (Decimal("9991.50"), 0)
    assert_books_are_clean()


def test_parts_closed_at_once_never_close_more_than_there_is(live_desk: LiveDesk, market: Push) -> None:
    from tests.cast import make_client
    from tests.trading.calls import key
    from trading.models import Deal, Position

    who = make_client(margin=Decimal("10000.00"))
    path = f"/positions/{opened(live_desk, who)}/close"
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: post(live_desk, who, path, {"volume": "0.03"}, key()), range(20)))
    closed = [body for status, body in answers if status == 201]
    # 16 · 0.03 = 0.48 fit into 0.50; the rest is refused, as 0.02 is less than what was asked for.
    assert len(closed) == 16
    assert {body["code"] for status, body in answers if status != 201} == {"VOLUME_INVALID"}
    assert sum(deal.volume for deal in Deal.objects.filter(entry="OUT")) == Decimal("0.48")
    assert Position.objects.get().volume == Decimal("0.02")
    assert_books_are_clean()


def test_opening_closing_and_releasing_at_once_keep_the_books(live_desk: LiveDesk, market: Push) -> None:
    from tests.cast import make_client
    from tests.trading.calls import key
    from trading.models import Position
    from wallets.models import Wallet

    who = make_client(margin=Decimal("3000.00"))
    positions = [opened(live_desk, who)]
    order = {"account": who.account.number, "symbol": "EURUSD", "side": "SELL", "type": "MARKET", "volume": "0.10"}
    release = {"amount": "400.00", "target": who.cash.number}

    def act(number: int) -> int:
        if number % 3 == 0:
            return post(live_desk, who, "/orders", order, key())[0]
        if number % 3 == 1:
            return post(live_desk, who, f"/positions/{positions[0]}/close", {"volume": "0.05"}, key())[0]
        return post(live_desk, who, f"/trading-accounts/{who.account.number}/release", release, key())[0]

    with ThreadPoolExecutor(12) as pool:
        statuses = Counter(pool.map(act, range(60)))
    assert set(statuses) <= {201, 422}
    assert statuses[201] >= 10
    wallets = Wallet.objects.filter(owner=who.user)
    commissions = Decimal("1.75") + Decimal("0.35") * (Position.objects.count() - 1)
    assert all(wallet.balance >= 0 for wallet in wallets)
    assert sum(wallet.balance for wallet in wallets) <= Decimal("4000.00") - commissions
    assert_books_are_clean()


def test_twenty_resets_of_a_demo_account_fund_it_once(live_desk: LiveDesk, market: Push) -> None:
    from tests.cast import make_client
    from tests.trading.calls import key
    from wallets.models import LedgerTransaction

    who = make_client(environment="DEMO", margin=Decimal("123.45"))
    path = f"/trading-accounts/{who.account.number}/demo-reset"
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: post(live_desk, who, path, {}, key()), range(20)))
    assert [(status, body["balance"]) for status, body in answers] == [(201, "10000.00")] * 20
    assert len([body for _, body in answers if body["transaction"] is not None]) == 1
    assert LedgerTransaction.objects.filter(owner=who.user, type="ADJUSTMENT").count() == 1
    who.margin.refresh_from_db()
    assert who.margin.balance == Decimal("10000.00")
    assert_books_are_clean()


def assert_books_are_clean() -> None:
    from django.db import transaction

    from core import snapshot
    from trading import verification

    with transaction.atomic():
        snapshot.take()
        report = verification.verify_positions()
    assert report.is_clean, report.breaks
