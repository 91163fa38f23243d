"""What the risk engine knows of an account is what the account has come to, after every operation and at once."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tests.cast import CastMember, make_client
from tests.trading.calls import close, place
from tests.trading.prices import Push
from trading.models import AccountWatch, PriceBand
from wallets.models import Wallet


@pytest.fixture
def who(market: Push) -> CastMember:
    return make_client(margin=Decimal("1000.00"))


def assert_the_watch_knows(who: CastMember) -> Wallet:
    """Funds and margin are the wallet's own, and nothing is to be done at the prices that are."""
    wallet = Wallet.objects.get(pk=who.margin.pk)
    watch = AccountWatch.objects.get(account__wallet=wallet)
    assert (watch.funds, watch.held) == (wallet.balance + wallet.credit, wallet.held)
    return wallet


def test_funds_and_margin_are_known_after_every_operation(who: CastMember, market: Push) -> None:
    position = place(who, volume="0.20").json()["position"]["id"]
    opened = assert_the_watch_knows(who)
    assert opened.balance < Decimal("1000.00"), "a commission was charged with it"
    before = {band.instrument_id: (band.low, band.high) for band in PriceBand.objects.filter(owner_id=who.user.pk)}
    market(EURUSD=("1.19900", "1.19910"))
    close(who, position, volume="0.10")
    after_loss = assert_the_watch_knows(who)
    assert after_loss.balance < opened.balance
    after = {band.instrument_id: (band.low, band.high) for band in PriceBand.objects.filter(owner_id=who.user.pk)}
    assert before != after
    close(who, position)
    closed = assert_the_watch_knows(who)
    assert closed.held == 0
