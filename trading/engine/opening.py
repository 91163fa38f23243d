"""What opening a position would mean: execution, a working order's trigger and a preview reckon alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import partial
from typing import Any

from django.conf import settings

from accounts.models import TradingAccount
from core.errors import DomainError, Malformed
from core.money import CURRENCIES, PrecisionExceeded, show
from trading import margin
from trading.engine.figures import price_text, quote_inputs, terms_of, trimmed
from trading.engine.limits import limit, volume_refusal
from trading.engine.state import account_state
from trading.errors import (
    ConversionRateUnavailable,
    DeviationExceeded,
    InstrumentNotTradable,
    MarginInsufficient,
    MarketClosed,
    PositionsLimitReached,
    QuoteStale,
    QuoteUnavailable,
    SelfTradingDisabled,
    TradingFrozen,
    TradingHalted,
)
from trading.leverage import Leverage, leverage_of
from trading.margin import AccountState, Charge, Margin, Price, Rates, Side
from trading.market import Book, Market, OpenPosition, Tick
from trading.models import Instrument
from wallets.ledger import LockedWallet
from wallets.models import Wallet
from wallets.rules import VerificationRequired, WalletNotActive

ZERO = Decimal(0)

#: What no free margin covers.
_UNAFFORDABLE = Decimal("Infinity")

#: The kill switches that stop opening: everywhere, or in one symbol.
TRADING_SWITCH = "TRADING"

#: Below this margin level, in percent, positions are closed for the client.
STOP_OUT_LEVEL = Decimal(50)

_SIDES_BARRED = {
    Instrument.TradeMode.FULL: set(),
    Instrument.TradeMode.LONG_ONLY: {Side.SELL},
    Instrument.TradeMode.SHORT_ONLY: {Side.BUY},
    Instrument.TradeMode.CLOSE_ONLY: {Side.BUY, Side.SELL},
    Instrument.TradeMode.DISABLED: {Side.BUY, Side.SELL},
}


@dataclass(frozen=True, slots=True)
class Tolerance:
    """The price a client saw, and by how many points the fill may be worse; a better fill is always welcome."""

    price: Decimal
    points_max: int


@dataclass(slots=True)
class Opening:
    """What opening a position would mean; `refusals` says why it may not be, in the order the desk checks."""

    side: Side
    volume: Decimal
    leverage: Leverage
    tick: Tick | None = None
    margin: Margin | None = None
    commission: Charge | None = None
    spread_cost: Decimal | None = None
    held_after: Decimal | None = None
    state_before: AccountState | None = None
    state_after: AccountState | None = None
    max_volume: Decimal | None = None
    refusals: list[DomainError] = field(default_factory=list)

    @property
    def price(self) -> Decimal | None:
        return None if self.tick is None else self.tick.price.to_open(self.side)


def evaluate_opening(
    *,
    account: TradingAccount,
    wallet: LockedWallet | Wallet,
    kill_switches: frozenset[str],
    instrument: Instrument,
    side: Side,
    volume: Decimal,
    book: Book,
    market: Market,
) -> Opening:
    """
    Reckon everything about opening `volume` lots now: the function behind execution and preview alike.

    It never raises a refusal: it collects them, so that a preview can show them all and execution takes the first.
    """
    opening = Opening(side=side, volume=volume, leverage=leverage_of(account, instrument, market))
    refusals = opening.refusals
    refusals.extend(_gates(account, wallet, kill_switches, instrument, side))
    try:
        market.require_open(instrument.symbol)
    except MarketClosed as refusal:
        refusals.append(refusal)
    if (invalid := volume_refusal(instrument, volume)) is not None:
        refusals.append(invalid)
    if len(book.positions) >= settings.POSITIONS_MAX:
        refusals.append(PositionsLimitReached(count=len(book.positions), max=settings.POSITIONS_MAX))
    try:
        opening.tick = market.fresh(instrument.symbol)
        opening.state_before = account_state(wallet, book.positions, market)
        is_within_limits = limit(
            refusals=refusals,
            instrument=instrument,
            side=side,
            volume=volume,
            price=opening.tick.price.to_open(side),
            currency=wallet.currency,
            book=book,
            market=market,
        )
        _reckon(opening, wallet, instrument, book, market, is_within_limits)
    except margin.RateUnavailable as missing:
        refusals.append(ConversionRateUnavailable(source=missing.source, target=missing.target))
    except (QuoteUnavailable, QuoteStale, ConversionRateUnavailable) as refusal:
        refusals.append(refusal)
    return opening


def _gates(
    account: TradingAccount,
    wallet: LockedWallet | Wallet,
    kill_switches: frozenset[str],
    instrument: Instrument,
    side: Side,
) -> Iterable[DomainError]:
    if wallet.status != Wallet.Status.ACTIVE:
        yield WalletNotActive(number=wallet.number, status=wallet.status)
    if not wallet.trading_enabled:
        yield TradingFrozen(number=account.number)
    if not wallet.verified:
        yield VerificationRequired()
    if not account.is_self_trading:
        yield SelfTradingDisabled(number=account.number)
    for switch, scope in ((TRADING_SWITCH, "all instruments"), (f"TRADING:{instrument.symbol}", instrument.symbol)):
        if switch in kill_switches:
            yield TradingHalted(scope=scope)
    if side in _SIDES_BARRED[Instrument.TradeMode(instrument.trade_mode)]:
        yield InstrumentNotTradable(symbol=instrument.symbol, trade_mode=instrument.trade_mode, side=side.value)


def hold_to(opening: Opening, tolerance: Tolerance | None, instrument: Instrument) -> None:
    """
    Refuse an opening whose price is further from the expected one than the client accepts.

    Only what is worse counts: slippage in the client's favour always fills, and fills at the better price.

    :raises Malformed: if the expected price has more digits than the instrument
    """
    if tolerance is None:
        return
    point = Decimal(1).scaleb(-instrument.digits)
    if tolerance.price % point:
        message = f"{instrument.symbol} has {instrument.digits} decimals."
        raise Malformed(errors=[{"field": "price", "code": PrecisionExceeded.code, "message": message}])
    if opening.price is None:
        return
    points_worse = int((opening.price - tolerance.price) * opening.side.sign / point)
    if points_worse > tolerance.points_max:
        opening.refusals.append(
            DeviationExceeded(
                symbol=instrument.symbol,
                price=price_text(opening.price, instrument),
                expected=price_text(tolerance.price, instrument),
                deviation=points_worse,
                max_deviation=tolerance.points_max,
            )
        )


def _reckon(
    opening: Opening,
    wallet: LockedWallet | Wallet,
    instrument: Instrument,
    book: Book,
    market: Market,
    is_within_limits: Callable[[Decimal], bool],
) -> None:
    """Fill in the figures of an opening whose price is fresh, and refuse it if the free margin does not carry it."""
    assert opening.tick is not None
    assert opening.state_before is not None
    before, currency, spoken_for = opening.state_before, wallet.currency, book.held_with()
    free = before.free_margin - book.reserved
    cost = partial(
        _cost,
        side=opening.side,
        price=opening.tick.price,
        instrument=instrument,
        leverage=opening.leverage.applied,
        currency=currency,
        rates=market.rates(fresh_only=True),
    )

    def required(volume: Decimal) -> Decimal:
        locked, charge, spread = cost(volume)
        held = book.held_with((instrument.symbol, opening.side, locked.amount))
        return held - spoken_for + charge.amount + spread

    opening.margin, opening.commission, opening.spread_cost = cost(opening.volume)
    legs = [position.leg for position in book.positions]
    opening.held_after = margin.held([*legs, (instrument.symbol, opening.side, opening.margin.amount)])
    opening.state_after = replace(
        before,
        balance=before.balance - opening.commission.amount,
        floating=before.floating - opening.spread_cost,
        held=opening.held_after,
    )
    opening.max_volume = margin.max_volume(
        free_margin=free,
        required=lambda volume: required(volume) if is_within_limits(volume) else _UNAFFORDABLE,
        volume_min=instrument.volume_min,
        volume_max=instrument.volume_max,
        volume_step=instrument.volume_step,
    )
    if (needed := required(opening.volume)) > free:
        opening.refusals.append(_margin_refusal(needed, free, currency, opening.max_volume))


def _cost(
    volume: Decimal, *, side: Side, price: Price, instrument: Instrument, leverage: int, currency: str, rates: Rates
) -> tuple[Margin, Charge, Decimal]:
    """The margin, the commission and the spread's loss of so many lots."""
    contract, digits = instrument.contract(), CURRENCIES[currency].digits
    locked = margin.required_margin(
        contract,
        side=side,
        volume=volume,
        price=price.to_open(side),
        leverage=leverage,
        account_currency=currency,
        rates=rates,
        currency_digits=digits,
    )
    charge = margin.commission(
        volume=volume,
        rate=instrument.commission_per_lot,
        rate_currency=instrument.commission_currency,
        account_currency=currency,
        rates=rates,
        currency_digits=digits,
    )
    loss = margin.floating(
        contract,
        side=side,
        volume=volume,
        price_open=price.to_open(side),
        price=price,
        account_currency=currency,
        rates=rates,
        currency_digits=digits,
    )
    return locked, charge, -loss.amount


def _margin_refusal(needed: Decimal, free: Decimal, currency: str, max_volume: Decimal) -> MarginInsufficient:
    return MarginInsufficient(
        required=show(needed, currency),
        available=show(free, currency),
        shortfall=show(needed - free, currency),
        currency=currency,
        max_volume=trimmed(max_volume),
    )


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
    if opening.tick is None or opening.state_after is None or opening.held_after is None or opening.price is None:
        return None
    new = OpenPosition(
        id=wallet.id,  # not a position yet: nothing looks it up
        number=0,
        symbol=instrument.symbol,
        side=opening.side,
        volume=opening.volume,
        price_open=opening.price,
        margin_locked=ZERO,
    )
    tick, balance, held = opening.tick, opening.state_after.balance, opening.held_after
    everything = [*book.positions, new]
    step = instrument.tick_size

    def is_stopped_out(ticks_away: int) -> bool:
        shift = ticks_away * step
        moved = replace(tick, bid=tick.bid + shift, ask=tick.ask + shift)
        then = replace(market, ticks={**market.ticks, instrument.symbol: moved})
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


def opening_inputs(opening: Opening, instrument: Instrument, currency: str) -> dict[str, Any]:
    """Everything an opening deal's figures came from."""
    assert opening.tick
    assert opening.margin
    assert opening.commission
    return {
        "terms": terms_of(instrument),
        "quote": quote_inputs(opening.tick),
        "currency": currency,
        **opening.leverage.inputs(),
        "margin_path": list(opening.margin.conversion.path),
        "commission_path": list(opening.commission.conversion.path),
    }


def opening_document(
    opening: Opening, instrument: Instrument, currency: str, stop_out: Decimal | None
) -> dict[str, Any]:
    """A preview as the client reads it; figures that cannot be known are null."""

    def money(value: Decimal | None) -> str | None:
        return None if value is None else show(value, currency)

    def price(value: Decimal | None) -> str | None:
        return None if value is None else price_text(value, instrument)

    after = opening.state_after
    level = None if after is None else margin.shown_level(after.margin_level)
    return {
        "price": price(opening.price),
        "leverage": opening.leverage.applied,
        "required_margin": money(opening.margin.amount if opening.margin else None),
        "commission": money(opening.commission.amount if opening.commission else None),
        "spread_cost": money(opening.spread_cost),
        "free_margin_after": money(after.free_margin if after else None),
        "margin_level_after": None if level is None else format(level, "f"),
        "max_volume": None if opening.max_volume is None else trimmed(opening.max_volume),
        "stop_out_price": price(stop_out),
        "currency": currency,
        "would_reject": [
            {"code": refusal.code, "detail": refusal.detail, "context": refusal.context} for refusal in opening.refusals
        ],
    }
