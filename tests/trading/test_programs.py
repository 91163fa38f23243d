"""Ten thousand random accounts lived through the desk's own functions, beside a reckoning that knows only formulas."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from random import Random
from uuid import UUID

import pytest

from accounts.models import TradingAccount
from core.ids import uuid7
from core.money import show
from tests.cast import CastMember, make_client
from tests.trading import programs
from tests.trading.calls import account as summary_of
from tests.trading.calls import close, place
from tests.trading.prices import Push
from tests.trading.programs import TERMS, Cancel, Close, Open, Program, Quote, Reckoning, Rest
from trading import engine, margin, verification
from trading.margin import Side
from trading.market import Book, Market, OpenPosition, Tick, WorkingOrder
from trading.models import Instrument, Position
from trading.sessions import Schedule
from wallets.ledger import LockedWallet
from wallets.models import Environment, Kind, Wallet

PROGRAMS = 10_000
PARTS = 10  # so that several processes share them
STEPS_THROUGH_SERVICES = 250

NOW = datetime(2026, 1, 14, 12, tzinfo=UTC)


def instrument(symbol: str) -> Instrument:
    terms = TERMS[symbol]
    return Instrument(
        symbol=symbol,
        name=symbol,
        asset_class="FOREX",
        base=terms.base,
        quote=terms.quote,
        margin_currency=terms.base if terms.mode == "FOREX" else terms.quote,
        digits=terms.digits,
        tick_size=Decimal(1).scaleb(-terms.digits),
        pip_size=Decimal(1).scaleb(-terms.digits),
        contract_size=terms.contract_size,
        volume_min=programs.VOLUME_STEP,
        volume_max=programs.VOLUME_MAX,
        volume_step=programs.VOLUME_STEP,
        calculation=terms.mode,
        margin_rate=terms.margin_rate,
        leverage_class=Instrument.LeverageClass.FX_MAJOR,  # whose caps are above what programs trade with
        leverage_max=terms.leverage_max,
        commission_per_lot=terms.commission_per_lot,
    )


INSTRUMENTS = {symbol: instrument(symbol) for symbol in TERMS}
SCHEDULES = {symbol: Schedule("UTC", (), ()) for symbol in TERMS}
NO_CAPS: dict[str, dict[str, int]] = {symbol: {} for symbol in TERMS}


def reckoning(of: Program) -> Reckoning:
    return Reckoning(of.currency, of.leverage, of.funds, dict(of.start))


# --- In memory: the functions that services call under the lock, on rows that are never saved -------------------------


@dataclass(slots=True)
class Life:
    """One account of a program, held by the desk's own types."""

    account: TradingAccount
    wallet: LockedWallet
    market: Market
    chance: Random
    flat: dict[str, Tick] = field(default_factory=dict)  # the same bids, asked without a spread
    book: Book = field(default_factory=Book)
    rows: dict[UUID, Position] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, program: Program) -> Life:
        owner, wallet_id = uuid7(), uuid7()
        wallet = LockedWallet(
            id=wallet_id,
            number="W1",
            owner=owner,
            environment=Environment.LIVE,
            kind=Kind.MARGIN,
            currency=program.currency,
            balance=program.funds,
            held=Decimal(0),
            credit=Decimal(0),
            realized_profit=Decimal(0),
            status=Wallet.Status.ACTIVE,
            deposits_enabled=True,
            withdrawals_enabled=True,
            trading_enabled=True,
            verified=True,
            version=0,
            head=bytes(32),
        )
        account = TradingAccount(
            number="1",
            owner_id=owner,
            wallet_id=wallet_id,
            environment=Environment.LIVE,
            currency=program.currency,
            leverage=program.leverage,
        )
        market = Market(INSTRUMENTS, {}, NOW, schedules=SCHEDULES, leverage_caps=NO_CAPS)
        life = cls(account, wallet, market, Random(program.seed))
        life.quote(program.start)
        return life

    def quote(self, prices: programs.Prices) -> None:
        ticks = {symbol: Tick(bid, ask, "test", NOW, NOW, 1) for symbol, (bid, ask) in prices.items()}
        self.market = replace(self.market, ticks={**self.market.ticks, **ticks})
        self.flat.update({symbol: Tick(bid, bid, "test", NOW, NOW, 1) for symbol, (bid, _) in prices.items()})

    def evaluate(self, order: Open) -> engine.Opening:
        return engine.evaluate_opening(
            account=self.account,
            wallet=self.wallet,
            kill_switches=frozenset(),
            instrument=INSTRUMENTS[order.symbol],
            side=Side(order.side),
            volume=order.volume,
            book=self.book,
            market=self.market,
        )

    def open(self, order: Open, opening: engine.Opening) -> UUID:
        assert opening.margin
        assert opening.commission
        assert opening.held_after is not None
        locked = opening.margin.amount
        row = Position(
            number=len(self.rows) + 1,
            instrument_id=order.symbol,
            side=order.side,
            volume_initial=order.volume,
            volume=order.volume,
            price_open=opening.price,
            margin_initial=locked,
            margin_locked=locked,
        )
        self.rows[row.id] = row
        self.book = self.book.with_position(OpenPosition.of(row))
        self.wallet.balance -= opening.commission.amount
        self.wallet.held = opening.held_after
        return row.id

    def closing(self, row: Position, volume: Decimal, *, market: Market | None = None) -> engine.Closing:
        return engine.evaluate_closing(row, volume=volume, currency=self.wallet.currency, market=market or self.market)

    def close(self, row: Position, closing: engine.Closing) -> Decimal:
        rest = closing.rest_of(row)
        self.book = self.book.without_position(row.id) if rest is None else self.book.with_position(rest)
        self.wallet.balance += closing.profit.amount - closing.commission.amount
        compensation = Decimal(0)
        if not self.book.positions:
            compensation = margin.negative_balance_compensation(self.wallet.balance)
        self.wallet.balance += compensation
        self.wallet.held = self.book.held
        row.volume -= closing.volume
        row.margin_locked -= closing.released
        return compensation

    # What the desk does, against what it should do.

    def live(self, step: programs.Step, model: Reckoning) -> None:
        match step:
            case Quote(prices):
                self.quote(prices)
                model.prices.update(prices)
            case Open():
                self.try_to_open(step, model)
            case Close() if (picked := model.picked(step)) is not None:
                name, volume = picked
                assert isinstance(name, UUID)
                self.close_some(name, volume, model)
            case Rest():
                self.rest(step, model)
            case Cancel(pick) if self.book.orders:
                id_ = self.book.orders[pick % len(self.book.orders)].id
                self.book = self.book.without_order(id_)
                del model.orders[id_]
        self.counts[type(step).__name__] += 1

    def try_to_open(self, order: Open, model: Reckoning) -> None:
        opening, judged = self.evaluate(order), model.judge(order.symbol, order.side, order.volume)
        if not judged.is_carried:
            (refusal,) = opening.refusals
            currency = self.wallet.currency
            assert refusal.code == "MARGIN_INSUFFICIENT"
            assert refusal.context["required"] == show(judged.required, currency)
            assert refusal.context["available"] == show(judged.available, currency)
            self.counts["refused"] += 1
            return
        assert opening.refusals == []
        assert opening.margin
        assert opening.commission
        assert (opening.margin.amount, opening.commission.amount) == (judged.margin, judged.commission)
        model.open(self.open(order, opening), order, judged)
        assert opening.state_after == engine.account_state(self.wallet, self.book.positions, self.market)
        self.counts["filled"] += 1

    def rest(self, order: Rest, model: Reckoning) -> None:
        """A limit at today's price, as far as the margin goes: what it reserves is a fill's margin now."""
        opening = self.evaluate(Open(order.symbol, order.side, order.volume))
        if opening.refusals:
            return
        assert opening.margin
        resting = WorkingOrder(uuid7(), order.symbol, Side(order.side), order.volume, opening.margin.amount)
        self.book = self.book.with_order(resting)
        model.orders[resting.id] = programs.Holding(
            order.symbol, order.side, order.volume, Decimal(0), model.margin(order.symbol, order.side, order.volume)
        )

    def close_some(self, name: UUID, volume: Decimal, model: Reckoning) -> None:
        row = self.rows[name]
        whole = self.closing(row, row.volume)
        closing = whole if volume == row.volume else self.closing(row, volume)
        self.assert_parts_make_the_whole(row, closing, whole)
        self.assert_sides_are_opposite(row, volume)
        expected = model.close(name, volume)
        compensation = self.close(row, closing)
        figures = (closing.profit.amount, closing.commission.amount, closing.released, compensation)
        assert figures == (expected.profit, expected.commission, expected.released, expected.compensation)
        assert row.volume or not row.margin_locked
        self.counts["closed" if not row.volume else "parted"] += 1
        self.counts["compensated"] += bool(compensation)

    def assert_parts_make_the_whole(self, row: Position, part: engine.Closing, whole: engine.Closing) -> None:
        """At one price, a part and the rest release exactly what the whole would, and earn it but for the rounding."""
        assert whole.released == row.margin_locked
        if part.volume == row.volume:
            return
        rest = self.closing(
            Position(
                instrument_id=row.instrument_id,
                side=row.side,
                volume_initial=row.volume_initial,
                volume=row.volume - part.volume,
                price_open=row.price_open,
                margin_initial=row.margin_initial,
                margin_locked=row.margin_locked - part.released,
            ),
            row.volume - part.volume,
        )
        assert part.released + rest.released == whole.released
        assert part.profit.in_quote + rest.profit.in_quote == whole.profit.in_quote
        unit = Decimal(1).scaleb(-programs.DIGITS[self.wallet.currency])
        assert abs(part.profit.amount + rest.profit.amount - whole.profit.amount) <= unit

    def assert_sides_are_opposite(self, row: Position, volume: Decimal) -> None:
        """Where nothing is spread, what one side of a trade earns is what the other loses."""
        market = replace(self.market, ticks=self.flat)
        mirrored = Position(
            instrument_id=row.instrument_id,
            side=Side(row.side).opposite.value,
            volume_initial=row.volume_initial,
            volume=row.volume,
            price_open=row.price_open,
            margin_initial=row.margin_initial,
            margin_locked=row.margin_locked,
        )
        one, other = (self.closing(each, volume, market=market).profit for each in (row, mirrored))
        assert one.amount == -other.amount
        assert one.in_quote == -other.in_quote

    def assert_as_reckoned(self, model: Reckoning) -> None:
        assert self.wallet.held == self.book.held == model.held
        assert bool(self.book.positions) == bool(self.wallet.held)
        assert self.book.reserved == model.locked(is_reserving=True) - model.held
        assert self.wallet.balance == model.balance
        state = engine.account_state(self.wallet, self.book.positions, self.market)
        assert (state.equity, state.free_margin) == (model.equity, model.equity - model.held)
        if len(self.book.positions) < 2:
            return
        shuffled, ticks = list(self.book.positions), list(self.market.ticks.items())
        self.chance.shuffle(shuffled)
        self.chance.shuffle(ticks)
        assert engine.account_state(self.wallet, shuffled, replace(self.market, ticks=dict(ticks))) == state
        assert Book(tuple(shuffled), self.book.orders[::-1]).held == state.held


@pytest.mark.parametrize("part", range(PARTS))
def test_ten_thousand_programs_do_what_the_formulas_say(part: int) -> None:
    ran = 0
    counts: Counter[str] = Counter()
    for seed in range(part, PROGRAMS, PARTS):
        program = programs.program(seed)
        life, model = Life.of(program), reckoning(program)
        assert 5 <= len(program.steps) <= 15
        for step in program.steps:
            life.live(step, model)
            life.assert_as_reckoned(model)
        for name in list(model.positions):
            assert isinstance(name, UUID)
            life.close_some(name, model.positions[name].volume, model)
        life.assert_as_reckoned(model)
        assert (life.wallet.held, life.book.held, life.book.positions) == (0, 0, ())
        assert life.wallet.balance >= 0
        counts += life.counts
        ran += 1
    print(f"{ran} programs: {dict(counts)}")
    assert ran * PARTS == PROGRAMS
    # Programs in which nothing happens would show nothing.
    assert min(counts[name] for name in ("filled", "refused", "closed", "parted", "Quote", "Rest", "Cancel")) > ran / 10
    assert counts["compensated"]


# --- Through REST, on rows in the database ----------------------------------------------------------------------------


def push(market: Push, quoted: programs.Prices) -> None:
    market(**{symbol: (str(bid), str(ask)) for symbol, (bid, ask) in quoted.items()})


def act(who: CastMember, step: programs.Step, model: Reckoning, market: Push) -> str:
    """Do over REST what the step says, expect what the formulas say, and name what it was."""
    match step:
        case Quote(quoted):
            push(market, quoted)
            model.prices.update(quoted)
            return "quoted"
        case Open():
            return place_one(who, step, model)
        case Close() if (picked := model.picked(step)) is not None:
            close_one(who, *picked, model)
            return "closed"
    return "skipped"


def place_one(who: CastMember, order: Open, model: Reckoning) -> str:
    judged = model.judge(order.symbol, order.side, order.volume)
    body = place(who, symbol=order.symbol, side=order.side, volume=str(order.volume)).json()
    if not judged.is_carried:
        assert body["code"] == "MARGIN_INSUFFICIENT"
        assert body["context"]["shortfall"] == show(judged.required - judged.available, model.currency)
        return "refused"
    figures = [show(amount, model.currency) for amount in (judged.margin, judged.commission)]
    assert [body["margin"], body["commission"]] == figures, body
    model.open(body["position"]["id"], order, judged)
    return "filled"


def close_one(who: CastMember, name: object, volume: Decimal, model: Reckoning) -> None:
    text = "ALL" if volume == model.positions[name].volume else str(volume)
    expected = model.close(name, volume)
    body = close(who, str(name), volume=text).json()
    names = ("profit", "commission", "margin_released", "compensation")
    amounts = (expected.profit, expected.commission, expected.released, expected.compensation)
    assert [body[one] for one in names] == [show(amount, model.currency) for amount in amounts], body


def assert_shown_as_reckoned(who: CastMember, model: Reckoning) -> None:
    summary, currency = summary_of(who), model.currency
    shown = [summary[name] for name in ("balance", "held", "floating", "equity", "free_margin")]
    figures = [model.balance, model.held, model.floating, model.equity, model.equity - model.held]
    assert shown == [show(figure, currency) for figure in figures]
    path = f"/api/v1/positions?account={who.account.number}&status=OPEN&limit=200"
    rows = {row["id"]: row for row in who.api.get(path).json()["results"]}
    assert rows.keys() == model.positions.keys()
    for name, one in model.positions.items():
        row = rows[str(name)]
        shown = [row["margin_locked"], row["floating"]]
        assert shown == [show(one.locked, currency), show(model.floating_of(one), currency)]
        assert Decimal(row["volume"]) == one.volume


@pytest.mark.timeout(300)
def test_the_same_programs_do_the_same_over_rest(market: Push) -> None:
    for one in INSTRUMENTS.values():
        instrument(one.symbol).save()
    counts: Counter[str] = Counter()
    seed = 0
    while counts.total() - counts["skipped"] < STEPS_THROUGH_SERVICES:
        program = programs.program(seed)
        model = reckoning(program)
        who = make_client(
            currency=program.currency, leverage=program.leverage, balance=Decimal(0), margin=program.funds
        )
        push(market, program.start)
        for step in program.steps:
            counts[act(who, step, model, market)] += 1
            assert_shown_as_reckoned(who, model)
        for name in list(model.positions):
            close_one(who, name, model.positions[name].volume, model)
        assert_shown_as_reckoned(who, model)
        assert summary_of(who)["held"] == show(Decimal(0), program.currency)
        seed += 1
    print(f"{seed} programs over REST: {dict(counts)}")
    assert min(counts[name] for name in ("filled", "refused", "closed", "quoted")) > 20
    found = verification.verify_positions()
    assert found.is_clean, found.breaks
