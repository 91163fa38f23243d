"""What an order would mean: its execution, what it reserves while it waits, and its preview are reckoned alike."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import partial
from typing import Any

from accounts.models import TradingAccount
from core.errors import DomainError
from core.money import CURRENCIES, show
from trading import margin
from trading.engine.figures import price_text, quote_inputs, terms_of, trimmed
from trading.engine.limits import count_refusal, least_volume, limit, volume_refusal
from trading.engine.prices import Instruction, deviation_refusal, expiry_refusal, price_refusals
from trading.engine.state import account_state, commission_of
from trading.errors import (
    ConversionRateUnavailable,
    InstrumentNotTradable,
    MarginInsufficient,
    MarketClosed,
    QuoteStale,
    QuoteUnavailable,
    SelfTradingDisabled,
    TradingFrozen,
    TradingHalted,
    VolumeTooSmall,
)
from trading.leverage import Leverage, leverage_of
from trading.margin import AccountState, Charge, Margin, Price, Rates, Side
from trading.market import Book, Market, Tick
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


@dataclass
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
    #: Asked for by previews and refusals alone, and dear: it is reckoned when it is asked for.
    find_max_volume: Callable[[], Decimal] | None = None
    refusals: list[DomainError] = field(default_factory=list)

    @property
    def price(self) -> Decimal | None:
        return None if self.tick is None else self.tick.price.to_open(self.side)

    @functools.cached_property
    def max_volume(self) -> Decimal | None:
        return None if self.find_max_volume is None else self.find_max_volume()


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
    """Reckon everything about opening `volume` lots at the market now; `book` is without the order that asks for it."""
    return evaluate_order(
        Instruction(side, volume),
        account=account,
        wallet=wallet,
        kill_switches=kill_switches,
        instrument=instrument,
        book=book,
        market=market,
    )


@margin.exact
def evaluate_order(
    instruction: Instruction,
    *,
    account: TradingAccount,
    wallet: LockedWallet | Wallet,
    kill_switches: frozenset[str],
    instrument: Instrument,
    book: Book,
    market: Market,
) -> Opening:
    """
    Reckon everything about an order: the function behind execution, a working order's reserve and a preview alike.

    An order that waits is reckoned as if it were filled at its own price, while what the account has now is worth what
    it is at the market's. It never raises a refusal: it collects them, so that a preview can show them all and
    execution takes the first.
    """
    leverage = leverage_of(account, instrument, market)
    opening = Opening(side=instruction.side, volume=instruction.volume, leverage=leverage)
    refusals = opening.refusals
    refusals.extend(_gates(account, wallet, kill_switches, instrument, opening.side))
    try:
        market.require_open(instrument.symbol)
    except MarketClosed as refusal:
        refusals.append(refusal)
    _append(refusals, volume_refusal(instrument, opening.volume))
    _append(refusals, count_refusal(book, waits=instruction.waits))
    _append(refusals, expiry_refusal(instruction.expires_at, market.now))
    try:
        tick = market.fresh(instrument.symbol)
        refusals.extend(price_refusals(instruction, instrument=instrument, tick=tick))
        opening.tick = instruction.supposed(tick, instrument)
        opening.state_before = account_state(wallet, book.positions, market)
        is_within_limits = limit(
            refusals=refusals,
            instrument=instrument,
            side=opening.side,
            volume=opening.volume,
            price=opening.tick.price.to_open(opening.side),
            currency=wallet.currency,
            book=book,
            market=market,
        )
        _reckon(opening, wallet, instrument, book, market, is_within_limits)
        if instruction.tolerance is not None:
            price = opening.tick.price.to_open(opening.side)
            tolerance = instruction.tolerance
            late = deviation_refusal(price, side=opening.side, tolerance=tolerance, instrument=instrument)
            _append(refusals, late)
    except margin.RateUnavailable as missing:
        refusals.append(ConversionRateUnavailable(source=missing.source, target=missing.target))
    except (QuoteUnavailable, QuoteStale, ConversionRateUnavailable) as refusal:
        refusals.append(refusal)
    return opening


def _append(refusals: list[DomainError], refusal: DomainError | None) -> None:
    if refusal is not None:
        refusals.append(refusal)


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
    supposed = market
    if opening.tick is not market.ticks[instrument.symbol]:
        supposed = replace(market, ticks={**market.ticks, instrument.symbol: opening.tick})
    cost = functools.cache(
        partial(
            _cost,
            side=opening.side,
            price=opening.tick.price,
            instrument=instrument,
            leverage=opening.leverage.applied,
            currency=currency,
            rates=supposed.rates(fresh_only=True),
        )
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

    def least() -> Decimal:
        return least_volume(instrument, lambda volume: bool(cost(volume)[0].amount))

    opening.find_max_volume = lambda: margin.max_volume(
        free_margin=free,
        required=lambda volume: required(volume) if is_within_limits(volume) else _UNAFFORDABLE,
        volume_min=least(),
        volume_max=instrument.volume_max,
        volume_step=instrument.volume_step,
    )
    if not opening.margin.amount:
        opening.refusals.append(_nothing_locked(opening, instrument, least(), currency))
    if (needed := required(opening.volume)) > free:
        assert opening.max_volume is not None
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
    charge = commission_of(instrument, volume, currency=currency, rates=rates)
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


def _nothing_locked(opening: Opening, instrument: Instrument, least: Decimal, currency: str) -> VolumeTooSmall:
    return VolumeTooSmall(
        volume=trimmed(opening.volume), symbol=instrument.symbol, min=trimmed(least), currency=currency
    )


def _margin_refusal(needed: Decimal, free: Decimal, currency: str, max_volume: Decimal) -> MarginInsufficient:
    return MarginInsufficient(
        required=show(needed, currency),
        available=show(free, currency),
        shortfall=show(needed - free, currency),
        currency=currency,
        max_volume=trimmed(max_volume),
    )


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
