"""Equity is what would be left if everything closed now; what positions do not hold of it is free."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from trading.margin.figures import ZERO, booked, exact


@dataclass(frozen=True, slots=True)
class AccountState:
    """What an account is worth now and how much of it is free, all in its own currency."""

    balance: Decimal
    credit: Decimal
    floating: Decimal
    held: Decimal

    def __post_init__(self) -> None:
        figures = (self.balance, self.credit, self.floating, self.held)
        assert all(figure.is_finite() for figure in figures), "an account's figures are numbers"
        assert min(self.credit, self.held) >= 0, "credit and margin are never owed"

    @property
    @exact
    def equity(self) -> Decimal:
        """What would be left if everything were closed now, credit included."""
        return self.balance + self.credit + self.floating

    @property
    @exact
    def free_margin(self) -> Decimal:
        """What may still be locked by new positions; negative when the market has eaten into the locked margin."""
        return self.equity - self.held

    @property
    @exact
    def margin_level(self) -> Decimal | None:
        """Equity in percent of held margin, unrounded: compare this, show `shown_level`. None with nothing held."""
        return self.equity * 100 / self.held if self.held else None


def shown_level(level: Decimal | None, *, decimals: int = 2) -> Decimal | None:
    """A margin level as it is displayed: rounded half-even, None with nothing held."""
    return None if level is None else booked(level, decimals)


@exact
def negative_balance_compensation(balance: Decimal) -> Decimal:
    """What the broker adds, once nothing is open, so that a client never owes: the overdraft, or 0."""
    assert balance.is_finite(), "a balance is a number"
    return max(-balance, ZERO)
