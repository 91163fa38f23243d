"""What a price does to an account: the one place where opening, closing and previewing reckon alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from decimal import ROUND_FLOOR, Decimal
from typing import Any

from django.conf import settings

from accounts.models import TradingAccount
from core.errors import DomainError, Malformed
from core.money import CURRENCIES, PrecisionExceeded, show
from trading import margin
from trading.errors import (
    ConversionRateUnavailable,
    DeviationExceeded,
    ExposureLimitReached,
    InstrumentNotTradable,
    MarginInsufficient,
    MarketClosed,
    PositionsLimitReached,
    QuoteStale,
    QuoteUnavailable,
    SelfTradingDisabled,
    TradingFrozen,
    TradingHalted,
    VolumeInvalid,
    VolumeLimitReached,
)
from trading.margin import AccountState, Charge, Margin, Rates, Side
from trading.market import Market, OpenPosition, Tick
from trading.models import Instrument, Position
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


def held_by(positions: Iterable[OpenPosition]) -> Decimal:
    """What open positions hold together: per symbol the larger leg."""
    return margin.held(position.leg for position in positions)


def floating_of(position: OpenPosition, *, market: Market, currency: str, rates: Rates) -> margin.Profit:
    """
    A position's profit if it were closed at the last known price.

    :raises ConversionRateUnavailable: if its currency cannot be converted at all
    """
    tick = market.ticks[position.symbol]  # a position was opened at a price, so there is one
    try:
        return margin.floating(
            market.instruments[position.symbol].contract(),
            side=position.side,
            volume=position.volume,
            price_open=position.price_open,
            price=tick.price,
            account_currency=currency,
            rates=rates,
            currency_digits=CURRENCIES[currency].digits,
        )
    except margin.RateUnavailable as missing:
        raise ConversionRateUnavailable(source=missing.source, target=missing.target) from missing


def account_state(wallet: LockedWallet | Wallet, positions: Iterable[OpenPosition], market: Market) -> AccountState:
    """
    What an account is worth now, at the last known prices.

    :raises ConversionRateUnavailable: if a position's profit cannot be converted
    """
    rates = market.rates(fresh_only=False)
    floating = sum(
        (floating_of(one, market=market, currency=wallet.currency, rates=rates).amount for one in positions),
        start=ZERO,
    )
    return AccountState(
        balance=wallet.balance,
        credit=wallet.credit,
        floating=floating,
        held=wallet.held,
    )


@dataclass(frozen=True, slots=True)
class AccountSummary:
    """An account and what it is worth at one moment; `state` is None where a profit cannot be converted."""

    account: TradingAccount
    state: AccountState | None
    open_positions: int


def summarise(account: TradingAccount, positions: Sequence[OpenPosition], market: Market) -> AccountSummary:
    """An account with its wallet, as its owner sees it."""
    try:
        state = account_state(account.wallet, positions, market)
    except ConversionRateUnavailable:
        state = None
    return AccountSummary(account, state, len(positions))


# --- Opening --------------------------------------------------------------------------------------------------------


def evaluate_opening(
    *,
    account: TradingAccount,
    wallet: LockedWallet | Wallet,
    kill_switches: frozenset[str],
    instrument: Instrument,
    side: Side,
    volume: Decimal,
    positions: Sequence[OpenPosition],
    market: Market,
) -> Opening:
    """
    Reckon everything about opening `volume` lots now: the function behind execution and preview alike.

    It never raises a refusal: it collects them, so that a preview can show them all and execution takes the first.
    """
    opening = Opening(side=side, volume=volume)
    refusals = opening.refusals
    refusals.extend(_gates(account, wallet, kill_switches, instrument, side))
    try:
        market.require_open(instrument.symbol)
    except MarketClosed as refusal:
        refusals.append(refusal)
    if (invalid := volume_refusal(instrument, volume)) is not None:
        refusals.append(invalid)
    if len(positions) >= settings.POSITIONS_MAX:
        refusals.append(PositionsLimitReached(count=len(positions), max=settings.POSITIONS_MAX))
    try:
        opening.tick = market.fresh(instrument.symbol)
        opening.state_before = account_state(wallet, positions, market)
        is_within_limits = _limit(opening, wallet, instrument, positions, market)
        _reckon(opening, account, wallet, instrument, positions, market, is_within_limits)
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


def volume_refusal(instrument: Instrument, volume: Decimal) -> VolumeInvalid | None:
    """Why this volume is off the instrument's grid, with the nearest that is on it; None if it is fine."""
    low, high, step = instrument.volume_min, instrument.volume_max, instrument.volume_step
    if low <= volume <= high and volume % step == 0:
        return None
    nearest = min(max((volume / step).to_integral_value(rounding=ROUND_FLOOR) * step, low), high)
    return VolumeInvalid(
        volume=volume.normalize(),
        symbol=instrument.symbol,
        min=trimmed(low),
        max=trimmed(high),
        step=trimmed(step),
        nearest=trimmed(nearest),
    )


def volume_limit_refusal(
    instrument: Instrument, side: Side, volume: Decimal, positions: Iterable[OpenPosition]
) -> VolumeLimitReached | None:
    """Why these lots would be too many in one direction on one account; None if they are not."""
    if instrument.volume_limit is None:
        return None
    same = (one.volume for one in positions if (one.symbol, one.side) == (instrument.symbol, side))
    current = sum(same, start=ZERO)
    if current + volume <= instrument.volume_limit:
        return None
    return VolumeLimitReached(
        symbol=instrument.symbol,
        side=side.value,
        max=trimmed(instrument.volume_limit),
        current=trimmed(current),
        available=trimmed(max(ZERO, instrument.volume_limit - current)),
    )


def exposure_of(positions: Iterable[OpenPosition], *, market: Market, currency: str) -> Decimal:
    """
    What open positions are worth together at the last known prices, hedges counted twice.

    :raises margin.RateUnavailable: if one cannot be converted
    """
    rates = market.rates(fresh_only=False)
    return sum(
        (
            margin.exposure(
                market.instruments[one.symbol].contract(),
                side=one.side,
                volume=one.volume,
                price=market.ticks[one.symbol].price.to_close(one.side),
                account_currency=currency,
                rates=rates,
                currency_digits=CURRENCIES[currency].digits,
            )
            for one in positions
        ),
        start=ZERO,
    )


def _limit(
    opening: Opening,
    wallet: LockedWallet | Wallet,
    instrument: Instrument,
    positions: Sequence[OpenPosition],
    market: Market,
) -> Callable[[Decimal], bool]:
    """Refuse what the account's limits do not leave room for, and return the test itself, by volume."""
    assert opening.price is not None
    price, side, currency, rates = opening.price, opening.side, wallet.currency, market.rates(fresh_only=True)
    contract, digits = instrument.contract(), CURRENCIES[wallet.currency].digits
    current = exposure_of(positions, market=market, currency=currency)
    available = max(ZERO, settings.EXPOSURE_MAX - current)

    def added(volume: Decimal) -> Decimal:
        return margin.exposure(
            contract,
            side=side,
            volume=volume,
            price=price,
            account_currency=currency,
            rates=rates,
            currency_digits=digits,
        )

    if (too_many := volume_limit_refusal(instrument, side, opening.volume, positions)) is not None:
        opening.refusals.append(too_many)
    if (required := added(opening.volume)) > available:
        opening.refusals.append(
            ExposureLimitReached(
                max=show(settings.EXPOSURE_MAX, currency),
                current=show(current, currency),
                available=show(available, currency),
                required=show(required, currency),
                currency=currency,
            )
        )
    return lambda volume: (
        volume_limit_refusal(instrument, side, volume, positions) is None and added(volume) <= available
    )


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
    account: TradingAccount,
    wallet: LockedWallet | Wallet,
    instrument: Instrument,
    positions: Sequence[OpenPosition],
    market: Market,
    is_within_limits: Callable[[Decimal], bool],
) -> None:
    """Fill in the figures of an opening whose price is fresh, and refuse it if the free margin does not carry it."""
    assert opening.tick is not None
    assert opening.state_before is not None
    before, price = opening.state_before, opening.tick.price
    rates, currency = market.rates(fresh_only=True), wallet.currency
    contract, held_before = instrument.contract(), held_by(positions)

    def cost(volume: Decimal) -> tuple[Margin, Charge, Decimal, Decimal]:
        locked = margin.required_margin(
            contract,
            side=opening.side,
            volume=volume,
            price=price.to_open(opening.side),
            leverage=min(account.leverage, settings.LEVERAGE_MAX),
            account_currency=currency,
            rates=rates,
            currency_digits=CURRENCIES[currency].digits,
        )
        charge = margin.commission(
            volume=volume,
            rate=instrument.commission_per_lot,
            rate_currency=instrument.commission_currency,
            account_currency=currency,
            rates=rates,
            currency_digits=CURRENCIES[currency].digits,
        )
        spread = -margin.floating(
            contract,
            side=opening.side,
            volume=volume,
            price_open=price.to_open(opening.side),
            price=price,
            account_currency=currency,
            rates=rates,
            currency_digits=CURRENCIES[currency].digits,
        ).amount
        legs = [position.leg for position in positions]
        held_after = margin.held([*legs, (instrument.symbol, opening.side, locked.amount)])
        return locked, charge, spread, held_after

    def required(volume: Decimal) -> Decimal:
        _, charge, spread, held_after = cost(volume)
        return held_after - held_before + charge.amount + spread

    opening.margin, opening.commission, opening.spread_cost, opening.held_after = cost(opening.volume)
    opening.state_after = replace(
        before,
        balance=before.balance - opening.commission.amount,
        floating=before.floating - opening.spread_cost,
        held=opening.held_after,
    )
    opening.max_volume = margin.max_volume(
        free_margin=before.free_margin,
        required=lambda volume: required(volume) if is_within_limits(volume) else _UNAFFORDABLE,
        volume_min=instrument.volume_min,
        volume_max=instrument.volume_max,
        volume_step=instrument.volume_step,
    )
    if (needed := required(opening.volume)) > before.free_margin:
        opening.refusals.append(_margin_refusal(needed, before.free_margin, currency, opening.max_volume))


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
    positions: Sequence[OpenPosition],
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
    everything = [*positions, new]
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


def trimmed(value: Decimal) -> str:
    """A volume or price without trailing zeros, as people write it."""
    return format(value.normalize() if value else ZERO, "f")


def price_text(value: Decimal, instrument: Instrument) -> str:
    """A price with its instrument's digits."""
    return format(value.quantize(Decimal(1).scaleb(-instrument.digits)), "f")


def terms_of(instrument: Instrument) -> dict[str, Any]:
    """The contract terms a deal keeps, so that it can be explained after they have changed."""
    return {
        "symbol": instrument.symbol,
        "base": instrument.base,
        "quote": instrument.quote,
        "margin_currency": instrument.margin_currency,
        "contract_size": trimmed(instrument.contract_size),
        "mode": instrument.calculation,
        "margin_rate": trimmed(instrument.margin_rate),
        "leverage_max": instrument.leverage_max,
        "tick_size": trimmed(instrument.tick_size),
        "digits": instrument.digits,
        "commission_per_lot": trimmed(instrument.commission_per_lot),
        "commission_currency": instrument.commission_currency,
    }


def opening_inputs(opening: Opening, instrument: Instrument, currency: str) -> dict[str, Any]:
    """Everything an opening deal's figures came from."""
    assert opening.tick
    assert opening.margin
    assert opening.commission
    return {
        "terms": terms_of(instrument),
        "quote": quote_inputs(opening.tick),
        "currency": currency,
        "leverage": opening.margin.leverage,
        "margin_path": list(opening.margin.conversion.path),
        "commission_path": list(opening.commission.conversion.path),
    }


def quote_inputs(tick: Tick) -> dict[str, Any]:
    """The quote a deal was made on, so that it can be shown for ever."""
    return {
        "bid": trimmed(tick.bid),
        "ask": trimmed(tick.ask),
        "source": tick.source,
        "sequence": tick.sequence,
        "quoted_at": tick.quoted_at.isoformat(),
        "received_at": tick.received_at.isoformat(),
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


# --- Closing --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Closing:
    """What closing part or all of a position means, before any of it is written."""

    volume: Decimal
    price: Decimal
    price_text: str
    price_open_text: str
    profit: margin.Profit
    commission: Charge
    released: Decimal
    inputs: dict[str, Any]

    def rest_of(self, position: Position) -> list[OpenPosition]:
        """What stays open of the position: itself with less, or nothing."""
        if self.volume == position.volume:
            return []
        rest = OpenPosition.of(position)
        return [replace(rest, volume=rest.volume - self.volume, margin_locked=rest.margin_locked - self.released)]


def evaluate_closing(position: Position, *, volume: Decimal, currency: str, market: Market) -> Closing:
    """
    Reckon the closing of `volume` lots of a position at the current price.

    :raises MarketClosed, QuoteUnavailable, QuoteStale: if there is no price to close at
    :raises ConversionRateUnavailable: if profit or commission cannot be converted
    """
    market.require_open(position.instrument_id)
    tick = market.fresh(position.instrument_id)
    instrument = market.instruments[position.instrument_id]
    side, digits, rates = Side(position.side), CURRENCIES[currency].digits, market.rates(fresh_only=True)
    price = tick.price.to_close(side)
    try:
        profit = margin.profit(
            instrument.contract(),
            side=side,
            volume=volume,
            price_open=position.price_open,
            price_close=price,
            account_currency=currency,
            rates=rates,
            currency_digits=digits,
        )
        commission = margin.commission(
            volume=volume,
            rate=instrument.commission_per_lot,
            rate_currency=instrument.commission_currency,
            account_currency=currency,
            rates=rates,
            currency_digits=digits,
        )
    except margin.RateUnavailable as missing:
        raise ConversionRateUnavailable(source=missing.source, target=missing.target) from missing
    released = margin.released(
        locked_initial=position.margin_initial,
        locked_remaining=position.margin_locked,
        volume_initial=position.volume_initial,
        volume_remaining=position.volume,
        volume_closed=volume,
        currency_digits=digits,
    )
    inputs = {
        "terms": terms_of(instrument),
        "quote": quote_inputs(tick),
        "currency": currency,
        "profit_path": list(profit.conversion.path),
        "commission_path": list(commission.conversion.path),
        "margin_initial": show(position.margin_initial, currency),
        "margin_locked_before": show(position.margin_locked, currency),
        "volume_initial": trimmed(position.volume_initial),
        "volume_before": trimmed(position.volume),
    }
    return Closing(
        volume=volume,
        price=price,
        price_text=price_text(price, instrument),
        price_open_text=price_text(position.price_open, instrument),
        profit=profit,
        commission=commission,
        released=released,
        inputs=inputs,
    )
