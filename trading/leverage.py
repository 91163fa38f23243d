"""A client trades with the strictest leverage of everybody who has a say: account, desk, instrument, jurisdiction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.conf import settings

from accounts.models import TradingAccount
from trading import margin
from trading.margin import Line
from trading.market import Market
from trading.models import Instrument


@dataclass(frozen=True, slots=True, kw_only=True)
class Leverage:
    """What each of them allows an account in an instrument at one moment; None is no limit."""

    account: int
    desk: int
    instrument: int | None
    jurisdiction: int | None
    jurisdiction_name: str
    leverage_class: str

    @property
    def applied(self) -> int:
        return margin.effective_leverage(self.account, self.desk, self.instrument, self.jurisdiction)

    def inputs(self) -> dict[str, Any]:
        """What a deal keeps of it, so that it can say which limit was the strictest after they have changed."""
        return {
            "leverage": self.applied,
            "leverage_limits": {
                "account": self.account,
                "desk": self.desk,
                "instrument": self.instrument,
                "jurisdiction": self.jurisdiction,
            },
            "jurisdiction": self.jurisdiction_name,
            "leverage_class": self.leverage_class,
        }


def leverage_of(account: TradingAccount, instrument: Instrument, market: Market) -> Leverage:
    """The leverage that an account would open a position of this instrument with, and who limits it."""
    return Leverage(
        account=account.leverage,
        desk=settings.LEVERAGE_MAX,
        instrument=instrument.leverage_max,
        jurisdiction=market.leverage_caps[instrument.symbol].get(account.jurisdiction),
        jurisdiction_name=account.jurisdiction,
        leverage_class=instrument.leverage_class,
    )


def explain_leverage(inputs: dict[str, Any]) -> list[Line]:
    """Every limit that a deal was opened under, which of them decided, and by how much; none if it kept none."""
    if "leverage_limits" not in inputs:
        return []
    limits, symbol = inputs["leverage_limits"], inputs["terms"]["symbol"]
    named = {
        "the account": limits["account"],
        "the desk": limits["desk"],
        f"the desk in {symbol}": limits["instrument"],
        f"{inputs['jurisdiction']} in {inputs['leverage_class']}": limits["jurisdiction"],
    }
    allowed = {who: limit for who, limit in named.items() if limit is not None}
    strictest = min(allowed.values())
    deciding = " and ".join(who for who, limit in allowed.items() if limit == strictest)
    looser = [limit for limit in allowed.values() if limit > strictest]
    gap = f", {min(looser) - strictest} below the next" if looser else ""
    return [
        *(
            Line(label=f"Leverage allowed by {who}", formula=str(limit), value=str(limit))
            for who, limit in allowed.items()
        ),
        Line(
            label=f"The strictest, of {deciding}{gap}",
            formula=f"min({', '.join(map(str, allowed.values()))})",
            value=str(strictest),
        ),
    ]
