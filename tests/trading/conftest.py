"""A market for every trading test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # models cannot be imported before the settings are made
    from tests.trading.prices import Push


@pytest.fixture
def market(db: None) -> Push:
    """Instruments and fresh prices; call it to move a price: `market(EURUSD=("1.21000", "1.21010"))`."""
    from tests.trading import prices

    return prices.open_market()


@pytest.fixture
def committed_market(committed_db: object) -> Push:
    """The same, really committed, for threads and real servers."""
    from tests.trading import prices

    return prices.open_market()
