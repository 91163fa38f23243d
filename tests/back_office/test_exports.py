"""An export is one moment of the database, whole, in files that prove themselves, and on record before it leaves."""

from __future__ import annotations

import io
import zipfile
from datetime import timedelta

import pytest
from django.utils import timezone

from config.back_office.exports import packing
from config.back_office.exports.periods import Period
from config.back_office.exports.services import exports
from tests import cast
from tests.trading import calls, prices
from tests.trading.prices import Push


@pytest.fixture
def market(db: None) -> Push:
    """Instruments and fresh prices."""
    return prices.open_market()


def test_smoke(market: Push) -> None:
    alice = cast.make_client(margin=cast.Decimal("500"))
    carol = cast.carol_staff()
    position = calls.place(alice).json()
    now = timezone.now()
    period = Period(now - timedelta(days=1), now + timedelta(days=1))
    export = exports.ask_for_client(client=alice.user.pk, period=period, reason="Letter", actor=carol.actor)
    data = b"".join(packing.pack(export, actor=carol.actor))
    open("/tmp/desk/exp_smoke.zip", "wb").write(data)
    with zipfile.ZipFile(io.BytesIO(data)) as z:
        assert z.testzip() is None
    export = exports.ask_for_instrument(symbol="EURUSD", period=period, reason="Letter", actor=carol.actor)
    data = b"".join(packing.pack(export, actor=carol.actor))
    open("/tmp/desk/exp_smoke_i.zip", "wb").write(data)
