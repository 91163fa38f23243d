"""What the back office's tests share with those of the rooms below."""

from __future__ import annotations

from tests.trading.conftest import committed_market, market

__all__ = ["committed_market", "market"]
