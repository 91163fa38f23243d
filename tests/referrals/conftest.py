"""A market for every test about referrals; what they reward is trading."""

from tests.trading.conftest import committed_market, market

__all__ = ["committed_market", "market"]
