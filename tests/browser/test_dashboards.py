"""The dashboards, with charts that are really drawn."""

from __future__ import annotations

from decimal import Decimal
from io import StringIO

import pytest
from django.core.management import call_command

from config.back_office.navigation import SECTIONS
from config.back_office.pages import PAGES
from tests import cast
from tests.browser.visit import SignIn
from tests.trading import prices
from tests.trading.calls import close, place
from tests.wallets.calls import deposit

BOARDS = [name for name in PAGES if name.startswith("dashboards_")]


@pytest.fixture
def a_days_figures(committed_db: object) -> None:
    """Somebody has deposited and traded, and the figures of it are computed."""
    prices.open_market()
    client = cast.make_client(margin=Decimal("2000.00"))
    assert deposit(client, "500.00").status_code == 201
    opened = [place(client, symbol=symbol).json() for symbol in ("EURUSD", "GBPUSD")]
    assert close(client, opened[0]["position"]["id"], volume="ALL").status_code == 201
    call_command("compute_figures", verbosity=0, stdout=StringIO())


def test_every_dashboard_is_seen(a_days_figures: None, sign_in: SignIn) -> None:
    assert {door.to for door in SECTIONS["Overview"]} > set(BOARDS)
    office = sign_in("auditor")
    drawn = 0
    for name in BOARDS:
        assert PAGES[name].title in office.open(f"/admin/{PAGES[name].route}")
        charts = office.page.locator("canvas")
        for number in range(charts.count()):
            # A chart that was not drawn is a canvas of its default size, wholly transparent.
            drawn += charts.nth(number).evaluate(
                "canvas => canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.some(Boolean)"
            )
    assert drawn > 0
