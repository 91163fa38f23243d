"""
The whole desk as one would keep it on paper: plain decimals and the rules of the design, and nothing of its code.

Every step says with which code the desk must refuse it, or does what the desk must do and says None. Three clients have
a cash wallet and a trading account each: Alice was referred by Bob and Bob by Cleo, who keeps her books in euro.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import ROUND_DOWN, Decimal
from typing import Any

from tests.models import account
from tests.models.account import CENT, Account, Closed, Resting
from tests.models.sheets import Bonus, Commission, Deposit, Key, Purse, Refused, Withdrawal, keyed, refuse, step
from tests.trading.programs import TERMS, VOLUME_MAX, VOLUME_STEP, ZERO, Prices

ALICE, BOB, CLEO = CLIENTS = range(3)
CURRENCIES = ("USD", "USD", "EUR")
UPLINES = ((BOB, CLEO), (CLEO,), ())
CASH, FUNDS, LEVERAGE = (Decimal(5_000), Decimal(20), Decimal(5_000)), Decimal(1_300), 30

#: A Wednesday, in New York's winter.
BEGINNING = datetime(2026, 1, 14, 12, tzinfo=UTC)
QUOTE_AGE_MAX, KEY_AGE_MAX, GRACE = timedelta(seconds=60), timedelta(hours=1), timedelta(seconds=5)
DEPOSIT_AGE_MAX = {"manual": timedelta(days=14), "webhook": timedelta(days=1)}
DEPOSIT_MIN = WITHDRAWAL_MIN = Decimal(1)
TWO_PEOPLE_FROM = Decimal(1_000)

RATES, REVENUE_SHARE, HELD_MIN = (Decimal(5), Decimal(1), Decimal("0.5")), Decimal("0.6"), timedelta(seconds=3)
BONUS, BONUS_DEPOSIT, BONUS_AGE_MAX = Decimal(50), Decimal(100), timedelta(days=5)

#: A withdrawal's steps: from where each can be taken, and where it leads.
WAYS = {
    "start_review": ({"REQUESTED"}, "IN_REVIEW"),
    "approve_withdrawal": ({"IN_REVIEW"}, "APPROVED"),
    "reject_withdrawal": ({"REQUESTED", "IN_REVIEW", "APPROVED"}, "REJECTED"),
    "mark_sent": ({"APPROVED"}, "SENT"),
    "complete_withdrawal": ({"SENT"}, "COMPLETED"),
    "fail_withdrawal": ({"SENT"}, "FAILED"),
}


@dataclass
class Paper:
    """Everything the desk knows of money. Wallets go by number: of client n, 2n is the cash and 2n + 1 the margin."""

    now: datetime = BEGINNING
    prices: Prices = field(default_factory=dict)
    quoted_at: datetime = BEGINNING
    batch: int = 0
    frozen: list[set[str]] = field(default_factory=lambda: [set() for _ in CLIENTS])
    purses: list[Purse] = field(default_factory=lambda: [Purse(*terms) for terms in zip(CURRENCIES, CASH, strict=True)])
    house: defaultdict[tuple[str, str], Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    deposits: list[Deposit] = field(default_factory=list)
    withdrawals: list[Withdrawal] = field(default_factory=list)
    orders_placed: int = 0
    closed: dict[int, list[Closed]] = field(default_factory=dict)
    not_accrued: list[tuple[int, Closed, int]] = field(default_factory=list)
    commissions: list[Commission] = field(default_factory=list)
    debts: list[Decimal] = field(default_factory=lambda: [ZERO for _ in CLIENTS])
    bonuses: dict[int, Bonus] = field(default_factory=dict)
    keys: list[Key] = field(default_factory=list)
    #: How often something happened that nobody asked for.
    told: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.accounts = [Account(currency, LEVERAGE, FUNDS, self.prices) for currency in CURRENCIES]

    def wallet(self, number: int) -> Purse | Account:
        return self.accounts[number // 2] if number % 2 else self.purses[number // 2]

    def move(self, number: int, amount: Decimal, house: str) -> None:
        """Into a client's wallet, out of the house's; or the other way round."""
        wallet = self.wallet(number)
        wallet.balance += amount
        self.house[house, wallet.currency] -= amount

    def give_credit(self, who: int, amount: Decimal) -> None:
        self.accounts[who].credit += amount
        self.house["BONUS_EXPENSE", CURRENCIES[who]] -= amount

    @property
    def is_stale(self) -> bool:
        return self.now - self.quoted_at > QUOTE_AGE_MAX

    # --- In -----------------------------------------------------------------------------------------------------------

    @keyed
    def deposit(self, wallet: int, amount: Decimal, provider: str) -> None:
        refuse("DEPOSIT_OUT_OF_RANGE", when=amount < DEPOSIT_MIN)
        refuse("DEPOSITS_FROZEN", when="DEPOSITS" in self.frozen[wallet // 2])
        is_here = provider == "sandbox"
        ends = self.now + DEPOSIT_AGE_MAX.get(provider, timedelta(days=1))
        made = Deposit(wallet, amount, provider, "COMPLETED" if is_here else "PENDING", ends)
        self.deposits.append(made)
        if is_here:
            self.move(wallet, amount, "PAYMENT_CLEARING")

    @step
    def approve_deposit(self, nth: int) -> None:
        self._complete(self.deposits[nth])

    @step
    def reject_deposit(self, nth: int) -> None:
        refuse("DEPOSIT_STATE_REFUSED", when=self.deposits[nth].status != "PENDING")
        self.deposits[nth].status = "REJECTED"

    @step
    def report_deposit(self, nth: int, succeeded: bool) -> None:
        """The provider's word, always under the same reference; once is enough."""
        deposit = self.deposits[nth]
        refuse("DEPOSIT_NOT_FOUND", when=deposit.provider != "webhook")
        ends = {"COMPLETED", "REVERSED"} if succeeded else {"REJECTED"}
        if deposit.reference and deposit.status in ends:
            return
        refuse("DEPOSIT_STATE_REFUSED", when=deposit.status != "PENDING")
        deposit.reference = "known"
        if succeeded:
            self._complete(deposit)
        else:
            deposit.status = "REJECTED"

    def _complete(self, deposit: Deposit) -> None:
        refuse("DEPOSIT_STATE_REFUSED", when=deposit.status != "PENDING")
        deposit.status = "COMPLETED"
        self.move(deposit.wallet, deposit.amount, "PAYMENT_CLEARING")

    @step
    def reverse_deposit(self, nth: int) -> None:
        deposit = self.deposits[nth]
        refuse("DEPOSIT_STATE_REFUSED", when=deposit.status != "COMPLETED")
        wallet, amount = self.wallet(deposit.wallet), deposit.amount
        if isinstance(wallet, Account):
            refuse("INSUFFICIENT_FUNDS", when=wallet.held > 0 or wallet.balance < amount)
            self.give_credit(deposit.wallet // 2, -wallet.credit_lost_with(amount))
        else:
            refuse("INSUFFICIENT_FUNDS", when=wallet.available < amount)
        self.move(deposit.wallet, -amount, "PAYMENT_CLEARING")
        deposit.status = "REVERSED"

    @step
    def adjust(self, who: int, amount: Decimal) -> None:
        refuse("INSUFFICIENT_FUNDS", when=amount < 0 and self.purses[who].available < -amount)
        self.move(2 * who, amount, "ADJUSTMENT")

    # --- Out ----------------------------------------------------------------------------------------------------------

    def _require_may_leave(self, who: int) -> None:
        refuse("WITHDRAWALS_FROZEN", when="WITHDRAWALS" in self.frozen[who])

    @keyed
    def withdraw(self, wallet: int, amount: Decimal) -> None:
        purse = self.wallet(wallet)
        if not isinstance(purse, Purse):
            raise Refused("MARGIN_SOURCE_REFUSED")
        self._require_may_leave(wallet // 2)
        refuse("WITHDRAWAL_BELOW_MINIMUM", when=amount < WITHDRAWAL_MIN)
        refuse("INSUFFICIENT_FUNDS", when=purse.available < amount)
        purse.held += amount
        self.withdrawals.append(Withdrawal(wallet // 2, amount))

    @keyed
    def cancel_withdrawal(self, nth: int) -> None:
        withdrawal = self.withdrawals[nth]
        refuse("WITHDRAWAL_STATE_REFUSED", when=withdrawal.status not in {"REQUESTED", "IN_REVIEW"})
        self._let_go(withdrawal, "CANCELLED")

    @step
    def decide_withdrawal(self, nth: int, what: str, staff: int) -> None:
        withdrawal = self.withdrawals[nth]
        sources, target = WAYS[what]
        refuse("WITHDRAWAL_STATE_REFUSED", when=withdrawal.status not in sources)
        if what == "approve_withdrawal":
            refuse("SECOND_APPROVER_REQUIRED", when=staff in withdrawal.approved_by)
            self._require_may_leave(withdrawal.who)
            withdrawal.approved_by.append(staff)
            people = 2 if withdrawal.amount >= TWO_PEOPLE_FROM else 1
            withdrawal.status = target if len(withdrawal.approved_by) == people else "IN_REVIEW"
        elif what in {"reject_withdrawal", "fail_withdrawal"}:
            self._let_go(withdrawal, target)
        else:
            if what == "mark_sent":
                self._require_may_leave(withdrawal.who)
            if what == "complete_withdrawal":
                self._let_go(withdrawal, target)
                self.move(2 * withdrawal.who, -withdrawal.amount, "WITHDRAWAL_CLEARING")
            withdrawal.status = target

    def _let_go(self, withdrawal: Withdrawal, status: str) -> None:
        withdrawal.status = status
        self.purses[withdrawal.who].held -= withdrawal.amount

    # --- Between ------------------------------------------------------------------------------------------------------

    @keyed
    def transfer(self, source: int, target: int, amount: Decimal) -> None:
        refuse("SAME_WALLET", when=source == target)
        payer, payee = self.wallet(source), self.wallet(target)
        if not isinstance(payer, Purse):
            raise Refused("MARGIN_SOURCE_REFUSED")
        refuse("CURRENCY_MISMATCH", when=payer.currency != payee.currency)
        refuse("TARGET_NOT_ALLOWED", when=source // 2 != target // 2 and isinstance(payee, Account))
        self._require_may_leave(source // 2)
        refuse("INSUFFICIENT_FUNDS", when=payer.available < amount)
        payer.balance -= amount
        payee.balance += amount

    @keyed
    def release(self, who: int, amount: Decimal) -> None:
        """From the trading account into the cash wallet, with its share of the credit."""
        wallet = self.accounts[who]
        self._require_may_leave(who)
        refuse("QUOTE_STALE", when=bool(wallet.positions) and self.is_stale)
        refuse("FREE_MARGIN_INSUFFICIENT", when=amount > wallet.available)
        self.give_credit(who, -wallet.credit_lost_with(amount))
        wallet.balance -= amount
        self.purses[who].balance += amount

    @step
    def freeze(self, who: int, scope: str) -> None:
        refuse("FREEZE_IN_FORCE", when=scope in self.frozen[who])
        self.frozen[who].add(scope)

    @step
    def lift(self, who: int, scope: str) -> None:
        self.frozen[who].remove(scope)

    # --- Trading ------------------------------------------------------------------------------------------------------

    def _require_may_open(self, who: int, volume: Decimal) -> None:
        refuse("TRADING_FROZEN", when="TRADING" in self.frozen[who])
        refuse("VOLUME_INVALID", when=volume % VOLUME_STEP != 0 or not VOLUME_STEP <= volume <= VOLUME_MAX)
        refuse("QUOTE_STALE", when=self.is_stale)

    @keyed
    def open(self, who: int, symbol: str, side: str, volume: Decimal) -> None:
        self._require_may_open(who, volume)
        judged = self.accounts[who].judged(symbol, side, volume)
        refuse("MARGIN_INSUFFICIENT", when=not judged.is_carried)
        self._open(who, self._number_order(), symbol, side, volume)

    @keyed
    def rest(self, who: int, symbol: str, side: str, kind: str, away: int, volume: Decimal, lasts: int | None) -> None:
        """An order that waits so many ticks away from the price, for so many seconds."""
        self._require_may_open(who, volume)
        wallet, price = self.accounts[who], self.price_away(symbol, side, kind, away)
        refuse("ORDER_PRICE_INVALID", when=away < 1)
        judged = wallet.judged(symbol, side, volume, at=price)
        refuse("MARGIN_INSUFFICIENT", when=not judged.is_carried)
        ends = None if lasts is None else self.now + timedelta(seconds=lasts)
        order = Resting(symbol, side, volume, price, judged.margin, kind=kind, expires_at=ends)
        wallet.orders[self._number_order()] = order

    def price_away(self, symbol: str, side: str, kind: str, away: int) -> Decimal:
        """A price for an order to wait at, on the right side of the market's if `away` is positive."""
        tick = Decimal(1).scaleb(-TERMS[symbol].digits)
        now = self.prices[symbol][side == "BUY"]
        return now - away * tick if (kind == "LIMIT") == (side == "BUY") else now + away * tick

    def _number_order(self) -> int:
        self.orders_placed += 1
        return self.orders_placed - 1

    def _open(self, who: int, name: int, symbol: str, side: str, volume: Decimal) -> None:
        wallet = self.accounts[who]
        judged = wallet.judged(symbol, side, volume)
        wallet.opens(name, symbol, side, volume, judged, self.now)
        self.house["COMMISSION", wallet.currency] += judged.commission

    @step
    def cancel_order(self, who: int, name: int) -> None:
        del self.accounts[who].orders[name]

    @step
    def guard(self, who: int, name: int, loss: int | None, gain: int | None) -> None:
        """Stop a position so many ticks behind the price, and so many ahead of it; None is no stop."""
        one = self.accounts[who].positions[name]
        stops = self.stops_away(who, name, loss, gain)
        if stops == (one.stop_loss, one.take_profit):
            return
        refuse("QUOTE_STALE", when=stops != (None, None) and self.is_stale)
        one.stop_loss, one.take_profit = stops

    def stops_away(
        self, who: int, name: int, loss: int | None, gain: int | None
    ) -> tuple[Decimal | None, Decimal | None]:
        one = self.accounts[who].positions[name]
        now = self.accounts[who].price(one.symbol, one.side, is_opening=False)
        ahead = Decimal(1 if one.side == "BUY" else -1).scaleb(-TERMS[one.symbol].digits)
        return None if loss is None else now - loss * ahead, None if gain is None else now + gain * ahead

    @keyed
    def close(self, who: int, name: int, volume: Decimal) -> None:
        refuse("QUOTE_STALE", when=self.is_stale)
        self._close(who, name, volume)

    def _close(self, who: int, name: int, volume: Decimal) -> None:
        wallet = self.accounts[who]
        currency, credit = wallet.currency, wallet.credit
        closed = wallet.closes(name, volume, self.now)
        self.house["TRADING_PNL", currency] -= closed.parted.profit
        self.house["COMMISSION", currency] += closed.parted.commission
        self.house["NEGATIVE_BALANCE", currency] -= closed.parted.compensation
        self.house["BONUS_EXPENSE", currency] += credit - wallet.credit
        self.told["compensated"] += closed.parted.compensation > 0
        self.closed.setdefault(name, []).append(closed)
        self.not_accrued.append((who, closed, len(self.closed[name]) - 1))

    # --- What comes by itself -----------------------------------------------------------------------------------------

    @step
    def tick(self, prices: Prices) -> None:
        """New prices, and everything that they do to everybody."""
        self.prices.update(prices)
        self.quoted_at, self.batch = self.now, self.batch + 1
        self._look_at_all()

    def _look_at_all(self) -> None:
        expired_by = max(self.quoted_at, self.now - GRACE)
        for who, wallet in enumerate(self.accounts):
            gone = [n for n, order in wallet.orders.items() if order.expires_at and order.expires_at <= expired_by]
            for name in gone:
                del wallet.orders[name]
                self.told["expired"] += 1
            for name in wallet.stopped():
                self.told["stopped"] += 1
                self._close(who, name, wallet.positions[name].volume)
            for name, order in wallet.triggered():
                is_carried = wallet.judged(order.symbol, order.side, order.volume).is_carried
                self.told[f"triggered, {'' if is_carried else 'not '}carried"] += 1
                if is_carried and "TRADING" not in self.frozen[who]:
                    self._open(who, name, order.symbol, order.side, order.volume)
            if wallet.is_to_be_stopped_out and wallet.stopped_out_at < self.batch:
                wallet.stopped_out_at = self.batch
                self.told["stopped out"] += 1
                for name in wallet.worst_first():
                    self._close(who, name, wallet.positions[name].volume)

    @step
    def wait(self, seconds: int) -> None:
        """Time passes; then the jobs run: nights, bonuses, deposits, and the risk engine's look around."""
        since, self.now = self.now, self.now + timedelta(seconds=seconds)
        for who, wallet in enumerate(self.accounts):
            for end in account.nights(since, self.now):
                for one in wallet.positions.values():
                    charge = wallet.night(one, end)
                    one.swap += charge
                    self.told["nights"] += 1
                    self.move(2 * who + 1, charge, "SWAP")
        for who, bonus in self.bonuses.items():
            if bonus.status == "ACTIVE" and bonus.expires_at <= self.now:
                bonus.status = "EXPIRED"
                self.give_credit(who, -min(BONUS, self.accounts[who].credit))
        for deposit in self.deposits:
            if deposit.status == "PENDING" and deposit.expires_at < self.now:
                deposit.status = "EXPIRED"
        self._look_at_all()

    # --- Rewards ------------------------------------------------------------------------------------------------------

    @step
    def accrue(self) -> None:
        for who, closed, nth in self.not_accrued:
            if closed.held >= HELD_MIN:
                self.commissions += self._rewards(who, closed, nth)
        self.not_accrued.clear()

    def _rewards(self, who: int, closed: Closed, nth: int) -> Iterator[Commission]:
        chain = UPLINES[who]
        wanted = [RATES[place] * closed.volume for place in range(len(chain))]
        total = sum(wanted, start=ZERO)
        pool = (closed.revenue * REVENUE_SHARE).quantize(CENT, ROUND_DOWN)
        for place, owner in enumerate(chain):
            share = wanted[place] if total <= pool else wanted[place] * pool / total
            if amount := share.quantize(CENT, ROUND_DOWN):
                yield Commission(closed.name, nth, place + 1, owner, amount)

    @step
    def pay(self) -> None:
        """Approve everything, and pay whoever has a wallet for it; what they owe is withheld."""
        for one in self.commissions:
            one.status = "APPROVED" if one.status == "PENDING" else one.status
        for who in CLIENTS:
            due = [one for one in self.commissions if (one.owner, one.status) == (who, "APPROVED")]
            if CURRENCIES[who] != "USD":
                continue
            gross = sum((one.amount for one in due), start=ZERO)
            withheld = min(gross, self.debts[who])
            self.told["withheld"] += withheld > 0
            self.debts[who] -= withheld
            self.move(2 * who, gross - withheld, "REFERRAL_EXPENSE")
            for one in due:
                one.status = "PAID"

    @step
    def reverse_commission(self, nth: int) -> None:
        one = self.commissions[nth]
        refuse("COMMISSION_STATE_REFUSED", when=one.status == "REVERSED")
        if one.status == "PAID":
            taken = min(one.amount, self.purses[one.owner].available)
            self.move(2 * one.owner, -taken, "REFERRAL_EXPENSE")
            self.debts[one.owner] += one.amount - taken
            self.told["owed"] += taken < one.amount
        one.status = "REVERSED"

    @keyed
    def claim_bonus(self, who: int) -> None:
        refuse("BONUS_NOT_OFFERED", when=CURRENCIES[who] != "USD")
        refuse("BONUS_CLAIMED", when=who in self.bonuses)
        paid_in = [one.amount for one in self.deposits if (one.wallet // 2, one.status) == (who, "COMPLETED")]
        available = min(sum(paid_in, start=ZERO), self.accounts[who].balance)
        refuse("BONUS_DEPOSIT_MISSING", when=available < BONUS_DEPOSIT)
        self.bonuses[who] = Bonus(self.now + BONUS_AGE_MAX)
        self.give_credit(who, BONUS)

    # --- The same again -----------------------------------------------------------------------------------------------

    @property
    def repeatable(self) -> list[int]:
        """
        Requests that the desk has to know when they come again.

        What was refused may be asked anew when its key is gone, and a cancellation may be refused as a new one.
        """
        return [
            place
            for place, key in enumerate(self.keys)
            if not (key.is_purged and (key.refusal or key.what == "cancel_withdrawal"))
        ]

    def repeat(self, nth: int, *, changed: bool) -> str | None:
        key = self.keys[nth]
        if key.is_purged:
            return "IDEMPOTENCY_KEY_EXPIRED"
        if changed:
            return "IDEMPOTENCY_KEY_REUSED"
        is_over = key.refusal is None and key.used_at + KEY_AGE_MAX <= self.now
        return "IDEMPOTENCY_KEY_EXPIRED" if is_over else key.refusal

    @step
    def purge(self) -> None:
        for key in self.keys:
            key.is_purged = key.is_purged or key.used_at + KEY_AGE_MAX < self.now

    # --- All of it ----------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """What the desk must know after this."""
        wallets = [self.wallet(number) for number in range(2 * len(CLIENTS))]
        positions = {name: one for wallet in self.accounts for name, one in wallet.positions.items()}
        return {
            "wallets": [(one.balance, one.held, one.credit) for one in wallets],
            "house": {place: amount for place, amount in self.house.items() if amount},
            "positions": {
                name: (
                    one.symbol,
                    one.side,
                    one.volume,
                    one.price_open,
                    one.locked,
                    one.swap,
                    one.stop_loss,
                    one.take_profit,
                )
                for name, one in positions.items()
            },
            "orders": {name: order.locked for wallet in self.accounts for name, order in wallet.orders.items()},
            "closed": {name: [_figures(one) for one in parts] for name, parts in self.closed.items()},
            "deposits": [one.status for one in self.deposits],
            "withdrawals": [one.status for one in self.withdrawals],
            "commissions": sorted(
                (one.position, one.nth, one.level, one.owner, one.amount, one.status) for one in self.commissions
            ),
            "debts": list(self.debts),
            "bonuses": {who: bonus.status for who, bonus in self.bonuses.items()},
        }


def _figures(one: Closed) -> tuple[Decimal, ...]:
    return one.volume, one.parted.profit, one.parted.commission, one.parted.compensation, one.parted.released
