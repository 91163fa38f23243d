"""How far the price would have to go until an order's account were stopped out, and what would be closed first then."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any
from uuid import UUID

from core.money import show
from trading.engine.opening import STOP_OUT_LEVEL, Opening
from trading.engine.state import account_state, largest_loss_first
from trading.margin import AccountState
from trading.market import Book, Market, OpenPosition
from trading.models import Instrument
from wallets.ledger import LockedWallet
from wallets.models import Wallet

ZERO = Decimal(0)

#: The id of a position that does not exist yet: younger than every other.
_NOT_YET = UUID(int=2**128 - 1)


def stop_out_price(
    opening: Opening,
    *,
    instrument: Instrument,
    wallet: LockedWallet | Wallet,
    book: Book,
    market: Market,
) -> Decimal | None:
    """
    The instrument's bid at which the account would be stopped out, all else unchanged; None if no price does.

    Found by bisection over whole ticks, with the account reckoned at each price as it would be then (conversion
    through the moving pair included), because no closed formula covers an account kept in the base currency.
    """
    if opening.tick is None or opening.state_after is None or opening.held_after is None:
        return None
    tick, balance, held = opening.tick, opening.state_after.balance, opening.held_after
    everything = _everything(opening, instrument, book)
    step = instrument.tick_size

    def is_stopped_out(ticks_away: int) -> bool:
        then = _at(market, opening, instrument, bid=tick.bid + ticks_away * step)
        floating = account_state(wallet, everything, then).floating
        level = AccountState(balance, wallet.credit, floating, held).margin_level
        return level is not None and level < STOP_OUT_LEVEL

    if is_stopped_out(0):
        return tick.bid
    net = sum((one.side.sign * one.volume for one in everything if one.symbol == instrument.symbol), start=ZERO)
    if net == 0:
        return None
    direction = -1 if net > 0 else 1
    far = int(tick.bid / step) - 1 if direction < 0 else int(tick.bid / step) * 9
    if far < 1 or not is_stopped_out(direction * far):
        return None
    near = 0
    while far - near > 1:
        middle = (near + far) // 2
        near, far = (near, middle) if is_stopped_out(direction * middle) else (middle, far)
    stopped_out_at: Decimal = tick.bid + direction * far * step
    return stopped_out_at


def closes_first(
    opening: Opening,
    stop_out: Decimal | None,
    *,
    instrument: Instrument,
    wallet: LockedWallet | Wallet,
    book: Book,
    market: Market,
) -> dict[str, Any] | None:
    """
    What a stop-out at that price would close first, and its floating profit there; None where no price stops out.

    `position` is the number of an open position, or None where it is the order's own that would go first.
    """
    if stop_out is None:
        return None
    then = _at(market, opening, instrument, bid=stop_out)
    first, floating = largest_loss_first(_everything(opening, instrument, book), market=then, currency=wallet.currency)[
        0
    ]
    return {
        "position": first.number or None,
        "symbol": first.symbol,
        "side": first.side.value,
        "volume": format(first.volume.normalize(), "f"),
        "floating": show(floating, wallet.currency),
    }


def _everything(opening: Opening, instrument: Instrument, book: Book) -> list[OpenPosition]:
    """What is open, and the position that the order would open."""
    assert opening.price is not None
    new = OpenPosition(
        id=_NOT_YET,
        number=0,
        symbol=instrument.symbol,
        side=opening.side,
        volume=opening.volume,
        price_open=opening.price,
        margin_locked=ZERO,
    )
    return [*book.positions, new]


def _at(market: Market, opening: Opening, instrument: Instrument, *, bid: Decimal) -> Market:
    """The market with the instrument at another bid, and its spread as it is."""
    tick = opening.tick
    assert tick is not None
    moved = replace(tick, bid=bid, ask=bid + (tick.ask - tick.bid))
    return replace(market, ticks={**market.ticks, instrument.symbol: moved})
