"""What a closing deal pays, to whom, and when it pays nothing."""

from __future__ import annotations

from decimal import Decimal

from tests.referrals.deals import closed, lineage, outcome, plan, rewards, run
from tests.trading.prices import Push


def test_a_closed_lot_pays_three_levels(market: Push) -> None:
    plan()
    client, chain = lineage()
    deal = closed(client)
    counts = run("accrue_commissions")
    # Earned: 2 · 3.50 commission and 10 points · 100,000 = 10.00 of spread; 60 % of 17.00 is 10.20.
    assert rewards(deal) == [
        (1, chain[0].id, Decimal("5.00")),
        (2, chain[1].id, Decimal("1.00")),
        (3, chain[2].id, Decimal("0.50")),
    ]
    assert outcome(deal) == "ACCRUED"
    assert counts["deals"] == counts["accrued"] == 1
    assert counts["commissions"] == 3
    assert counts["amounts"] == {"USD": "6.50"} or Decimal(counts["amounts"]["USD"]) == Decimal("6.50")
