"""The real desk behind the same steps as the paper: real services, really committed, under a clock that steps set."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings
from django.utils import timezone

from accounts.models import Freeze, TradingAccount
from accounts.services import freezes
from core import db, idempotency
from core.errors import DomainError
from core.idempotency import Answer, Claim, Operation
from referrals import selectors as rewards
from referrals.models import Commission, SignupBonus
from referrals.services import accruals, approvals, bonuses, payouts, reversals
from tests.cast import CastMember, StaffMember, carol_staff, make_client
from tests.models import paper
from tests.models.account import SWAPS, WEDNESDAY
from tests.models.paper import CASH, CLIENTS, CURRENCIES, FUNDS, LEVERAGE, TWO_PEOPLE_FROM
from tests.referrals.deals import plan
from tests.referrals.newcomers import offer
from tests.trading.programs import Prices
from tests.trading.test_programs import instrument
from tests.wallets.calls import PROVIDER, bank_account
from trading import selectors as trades
from trading.engine import Instruction
from trading.margin import Side
from trading.models import Deal, Instrument, Order, Position
from trading.services import accounts, changes, orders, positions, quotes, risk, swaps
from trading.services.quotes import NewQuote
from trading.services.risk import Memory, Progress
from wallets.models import Deposit, Withdrawal
from wallets.services import adjustments, deposits, transfers, withdrawals

#: Different people: whoever shares a bank account is one.
IBANS = ("DE89370400440532013000", "GB29NWBK60161331926819", "FR1420041010050500013M02606")

#: Everything that is compared, as of one moment. A position goes by its order.
STATE_SQL = """
SELECT jsonb_build_object(
    'wallets', (SELECT jsonb_agg(jsonb_build_array(w.id, w.balance::text, w.held::text, w.credit::text))
                  FROM wallets_wallet w WHERE w.kind IN ('CASH', 'MARGIN')),
    'house', (SELECT jsonb_agg(jsonb_build_array(h.kind, h.currency, h.sum::text)) FROM (
        SELECT w.kind, w.currency, sum(e.amount) AS sum
          FROM wallets_entry e JOIN wallets_wallet w ON w.id = e.wallet_id
         WHERE e.wallet_version IS NULL GROUP BY w.kind, w.currency) h),
    'positions', (SELECT jsonb_agg(jsonb_build_array(p.order_id, p.symbol, p.side, p.volume::text, p.price_open::text,
                                                     p.margin_locked::text, p.swap::text, p.stop_loss::text,
                                                     p.take_profit::text))
                    FROM trading_position p WHERE p.status = 'OPEN'),
    'orders', (SELECT jsonb_agg(jsonb_build_array(o.id, o.margin_reserved::text))
                 FROM trading_order o WHERE o.status = 'WORKING'),
    'deals', (SELECT jsonb_agg(jsonb_build_array(p.order_id, d.volume::text, d.profit::text, d.commission::text,
                                                 d.compensation::text, d.margin::text) ORDER BY d.id)
                FROM trading_deal d JOIN trading_position p ON p.id = d.position_id WHERE d.entry = 'OUT'),
    'deposits', (SELECT jsonb_agg(jsonb_build_array(d.id, d.status)) FROM wallets_deposit d),
    'withdrawals', (SELECT jsonb_agg(jsonb_build_array(w.id, w.status)) FROM wallets_withdrawal w),
    'commissions', (SELECT jsonb_agg(jsonb_build_array(p.order_id, d.nth, c.level, c.owner_id, c.amount::text,
                                                       c.status))
                      FROM referrals_commission c
                      JOIN (SELECT d.id, d.position_id,
                                   rank() OVER (PARTITION BY d.position_id ORDER BY d.id) - 1 AS nth
                              FROM trading_deal d WHERE d.entry = 'OUT') d ON d.id = c.deal_id
                      JOIN trading_position p ON p.id = d.position_id),
    'gates', (SELECT jsonb_agg(jsonb_build_array(w.id, w.deposits_enabled, w.withdrawals_enabled, w.trading_enabled,
                                                 w.verified, w.version))
                FROM wallets_wallet w WHERE w.kind IN ('CASH', 'MARGIN')),
    'debts', (SELECT jsonb_agg(jsonb_build_array(d.owner_id, (d.amount - d.settled)::text)) FROM referrals_debt d),
    'bonuses', (SELECT jsonb_agg(jsonb_build_array(b.owner_id, b.status)) FROM referrals_signupbonus b)
)::text
"""


@dataclass(slots=True)
class Clock:
    """What the desk takes for the time."""

    now: datetime = paper.BEGINNING

    def __call__(self) -> datetime:
        return self.now


@dataclass(frozen=True, slots=True)
class Stage:
    """Who is there before the first step."""

    clients: list[CastMember]
    staff: list[StaffMember]
    clock: Clock

    @classmethod
    def set(cls, patch: pytest.MonkeyPatch) -> Stage:
        """The cast, the market and the terms that the paper counts on."""
        clock = Clock()
        patch.setattr(timezone, "now", clock)
        patch.setattr(settings, "WITHDRAWAL_TWO_PERSON_FROM", TWO_PEOPLE_FROM)
        patch.setattr(settings, "PAYMENT_PROVIDER", "sandbox")  # steps name others; this puts it back in the end
        for symbol in SWAPS:
            _list(symbol)
        plan(seconds_held_min=int(paper.HELD_MIN.total_seconds()))
        offer(amount=str(paper.BONUS), deposit_min=str(paper.BONUS_DEPOSIT), days_valid=paper.BONUS_AGE_MAX.days)
        clients: list[CastMember] = []
        for who in reversed(CLIENTS):
            upline = clients[0].user if paper.UPLINES[who] else None
            clients.insert(0, _client(who, upline))
        TradingAccount.objects.update(jurisdiction="DESK")
        staff = [carol_staff(), carol_staff(email="dan@example.com")]
        for client in clients:
            client.account.refresh_from_db()
        return cls(clients, staff, clock)


def _list(symbol: str) -> None:
    listed, (mode, rates) = instrument(symbol), SWAPS[symbol]
    listed.swap_mode, listed.swap_long, listed.swap_short = mode, rates["BUY"], rates["SELL"]
    listed.swap_triple_weekday = WEDNESDAY if mode == Instrument.SwapMode.POINTS else None
    listed.tick_jump_max = Decimal("0.9")
    listed.save()


def _client(who: int, upline: Any) -> CastMember:
    client = make_client(
        name=f"Client {'ABC'[who]}",
        currency=CURRENCIES[who],
        balance=CASH[who],
        margin=FUNDS,
        leverage=LEVERAGE,
        country="AE",
        date_of_birth=date(1990, 5, 17),
        referred_by=upline,
    )
    bank_account(client, number=IBANS[who])
    return client


@dataclass(slots=True)
class Sent:
    """A request as it can be sent again, and what it was answered; `request` is what its key stands for."""

    service: Callable[..., Answer]
    operation: Operation
    who: int
    terms: dict[str, Any]
    request: dict[str, Any]
    answer: Answer | None = None


class Desk:
    """The steps of the paper, done. Deposits, withdrawals and orders go by their place in the lists of ids here."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.name = "the desk"  # whose keys they are
        self.clients = stage.clients
        self.deposits: list[UUID] = []
        self.withdrawals: list[UUID] = []
        self.orders: list[UUID] = []
        self.sent: list[Sent] = []
        self.memory = Memory()
        self.house = self._house()

    @property
    def clock(self) -> Clock:
        return self.stage.clock

    # --- Sending ------------------------------------------------------------------------------------------------------

    def _send(
        self,
        service: Callable[..., Answer],
        operation: Operation,
        who: int,
        *,
        request: dict[str, Any] | None = None,
        **terms: Any,
    ) -> tuple[str | None, Answer | None]:
        """Under a key of its own; its code if it is refused, and the answer where there is one."""
        sent = Sent(service, operation, who, terms, terms if request is None else request)
        try:
            sent.answer = self._call(sent, len(self.sent), sent.request)
        except DomainError as refusal:
            return refusal.code, None
        self.sent.append(sent)
        return _code_of(sent.answer), sent.answer

    def _call(self, sent: Sent, serial: int, request: dict[str, Any]) -> Answer:
        client = self.clients[sent.who]
        key = f"{self.name}, key {serial:06}"
        claim = Claim.make(operation=sent.operation, owner=client.user.pk, key=key, request=request)
        return sent.service(**sent.terms, claim=claim, actor=client.actor)

    def repeat(self, nth: int, *, changed: bool) -> str | None:
        """The same request under the same key, or another under it; the answer may not differ by a byte."""
        sent = self.sent[nth]
        assert sent.answer is not None
        try:
            answer = self._call(sent, nth, sent.request | {"changed": "yes"} if changed else sent.request)
        except DomainError as refusal:
            return refusal.code
        assert (answer.body, answer.replayed) == (sent.answer.body, True)
        return _code_of(answer)

    def staff(self, act: Callable[..., Any], staff: int = 0, **terms: Any) -> str | None:
        return refusal_of(lambda: act(**terms, reason="as the model says", actor=self.stage.staff[staff].actor))

    def _number(self, wallet: int) -> str:
        client = self.clients[wallet // 2]
        return (client.margin if wallet % 2 else client.cash).number

    # --- In and out ---------------------------------------------------------------------------------------------------

    def deposit(self, wallet: int, amount: Decimal, provider: str) -> str | None:
        settings.PAYMENT_PROVIDER = provider
        terms: dict[str, Any] = {"wallet": self._number(wallet), "amount": amount}
        code, answer = self._send(deposits.create_deposit, deposits.CREATE_DEPOSIT, wallet // 2, **terms)
        _keep(self.deposits, code, answer)
        return code

    def approve_deposit(self, nth: int) -> str | None:
        return self.staff(deposits.approve_deposit, deposit_id=self.deposits[nth])

    def reject_deposit(self, nth: int) -> str | None:
        return self.staff(deposits.reject_deposit, deposit_id=self.deposits[nth])

    def reverse_deposit(self, nth: int) -> str | None:
        return self.staff(deposits.reverse_deposit, deposit_id=self.deposits[nth])

    def report_deposit(self, nth: int, succeeded: bool) -> str | None:
        known = Deposit.objects.get(pk=self.deposits[nth])
        said = {"amount": known.amount, "currency": known.currency, "succeeded": succeeded, "actor": PROVIDER}
        return refusal_of(lambda: deposits.settle_deposit(deposit_id=known.pk, reference=f"payment {nth}", **said))

    def adjust(self, who: int, amount: Decimal) -> str | None:
        proposed = adjustments.propose_adjustment(
            wallet=self._number(2 * who),
            direction="CREDIT" if amount > 0 else "DEBIT",
            amount=abs(amount),
            reason="as the model says",
            actor=self.stage.staff[0].actor,
            key=f"{self.name}, {self.clock.now}",
        )
        return self.staff(adjustments.approve_adjustment, 1, adjustment_id=proposed.pk)

    def withdraw(self, wallet: int, amount: Decimal) -> str | None:
        terms: dict[str, Any] = {"wallet": self._number(wallet), "amount": amount}
        code, answer = self._send(withdrawals.request_withdrawal, withdrawals.REQUEST_WITHDRAWAL, wallet // 2, **terms)
        _keep(self.withdrawals, code, answer)
        return code

    def cancel_withdrawal(self, nth: int) -> str | None:
        known = Withdrawal.objects.get(pk=self.withdrawals[nth])
        who = next(who for who in CLIENTS if self.clients[who].user.pk == known.owner_id)
        service, operation = withdrawals.cancel_withdrawal, withdrawals.CANCEL_WITHDRAWAL
        return self._send(service, operation, who, withdrawal_id=known.pk)[0]

    def decide_withdrawal(self, nth: int, what: str, staff: int) -> str | None:
        return self.staff(getattr(withdrawals, what), staff, withdrawal_id=self.withdrawals[nth])

    def transfer(self, source: int, target: int, amount: Decimal) -> str | None:
        terms: dict[str, Any] = {"source": self._number(source), "target": self._number(target), "amount": amount}
        return self._send(transfers.transfer_funds, transfers.TRANSFER, source // 2, **terms)[0]

    def release(self, who: int, amount: Decimal) -> str | None:
        terms: dict[str, Any] = {
            "account": self.clients[who].account.number,
            "target": self._number(2 * who),
            "amount": amount,
        }
        return self._send(accounts.release_funds, accounts.RELEASE, who, **terms)[0]

    def freeze(self, who: int, scope: str) -> str | None:
        return self.staff(freezes.place_freeze, owner=self.clients[who].user.pk, scope=scope)

    def lift(self, who: int, scope: str) -> str | None:
        placed = Freeze.objects.filter(owner=self.clients[who].user, scope=scope).latest("placed_at")
        return self.staff(freezes.lift_freeze, 1, freeze_id=placed.pk)

    # --- Trading ------------------------------------------------------------------------------------------------------

    def open(self, who: int, symbol: str, side: str, volume: Decimal) -> str | None:
        return self._place(who, symbol, Instruction(Side(side), volume))

    def rest(
        self, who: int, symbol: str, side: str, kind: str, price: Decimal, volume: Decimal, lasts: int | None
    ) -> str | None:
        instruction = Instruction(
            Side(side),
            volume,
            type=Order.Type(kind),
            price=price,
            time_in_force=Order.TimeInForce.GTC if lasts is None else Order.TimeInForce.GTD,
            expires_at=None if lasts is None else self.clock.now + timedelta(seconds=lasts),
        )
        return self._place(who, symbol, instruction)

    def _place(self, who: int, symbol: str, instruction: Instruction) -> str | None:
        account = self.clients[who].account.number
        terms: dict[str, Any] = {"account": account, "symbol": symbol, "client_order_id": None}
        request = terms | {"instruction": str(instruction)}
        code, answer = self._send(
            orders.place_order, orders.OPEN, who, request=request, instruction=instruction, **terms
        )
        _keep(self.orders, code, answer)
        return code

    def cancel_order(self, who: int, name: int) -> str | None:
        client = self.clients[who]
        return refusal_of(
            lambda: changes.cancel_order(owner=client.user.pk, order_id=self.orders[name], actor=client.actor)
        )

    def guard(self, who: int, name: int, stops: tuple[Decimal | None, Decimal | None]) -> str | None:
        client, (stop_loss, take_profit) = self.clients[who], stops
        return refusal_of(
            lambda: changes.modify_position(
                owner=client.user.pk,
                position_id=self.position(name),
                changes={"stop_loss": stop_loss, "take_profit": take_profit},
                actor=client.actor,
            )
        )

    def close(self, who: int, name: int, volume: Decimal) -> str | None:
        terms: dict[str, Any] = {"position_id": self.position(name), "volume": volume}
        return self._send(positions.close_position, positions.CLOSE, who, **terms)[0]

    def position(self, name: int) -> UUID:
        return Position.objects.values_list("pk", flat=True).get(order=self.orders[name])

    # --- What comes by itself -----------------------------------------------------------------------------------------

    def tick(self, prices: Prices) -> None:
        assert self.quote(prices) is Progress.PUT_DOWN
        self._look_around()

    def quote(self, prices: Prices) -> Progress:
        """New prices, and whom they touch put down; nothing is done to them yet."""
        now = self.clock.now
        batch = [NewQuote(symbol, bid, ask, now) for symbol, (bid, ask) in prices.items()]
        recorded = quotes.record_quotes(quotes=batch, source="model", now=now)
        assert recorded.accepted == len(prices), recorded.refused
        return risk.advance(now=now)

    def _look_around(self) -> None:
        """What prices do to those whom the desk finds by itself, and then what money did that moved without them."""
        self.work_off()
        if risk.look_around(now=self.clock.now, is_sweep=True):
            self.work_off()

    def work_off(self) -> None:
        while risk.work_off(memory=self.memory) is not None:
            pass

    def wait(self, seconds: int) -> None:
        self.clock.now += timedelta(seconds=seconds)
        now = self.clock.now
        market = trades.market(now)
        for account in list(trades.accounts_owing_nights(now)):
            assert swaps.charge_account(account_id=account, until=now, market=market).is_done
        for bonus in SignupBonus.objects.filter(status="ACTIVE", expires_at__lte=now):
            bonuses.expire_bonus(bonus_id=bonus.pk, until=now)
        deposits.expire_deposits(now=now, limit=1_000)
        self._look_around()

    # --- Rewards ------------------------------------------------------------------------------------------------------

    def accrue(self) -> None:
        accruals.accrue_batch()

    def pay(self) -> None:
        approvals.approve_due(created_before=self.clock.now)
        for referrer in rewards.referrers_to_pay():
            payouts.pay_referrer(referrer=referrer)

    def reverse_commission(self, position: int, nth: int, level: int) -> str | None:
        ids = Deal.objects.filter(position__order=self.orders[position], entry="OUT").order_by("id")
        commission = Commission.objects.get(deal=ids[nth], level=level)
        return self.staff(reversals.reverse_commission, commission_id=commission.pk)

    def claim_bonus(self, who: int) -> str | None:
        account = self.clients[who].account.number
        return self._send(bonuses.claim_bonus, bonuses.CLAIM_BONUS, who, account=account)[0]

    def purge(self) -> None:
        idempotency.purge_expired_keys(before=self.clock.now, limit=1_000)

    # --- All of it ----------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """What the desk knows, by the names that the paper uses."""
        found = read()
        order = {str(id_): name for name, id_ in enumerate(self.orders)}
        owner = {str(client.user.pk): who for who, client in enumerate(self.clients)}
        wallets = {id_: tuple(map(Decimal, figures)) for id_, *figures in found["wallets"]}
        house = {(kind.removeprefix("HOUSE_"), currency): Decimal(sum_) for kind, currency, sum_ in found["house"]}
        moved = {place: amount - self.house.get(place, 0) for place, amount in house.items()}
        deals: dict[int, list[Any]] = {}
        for id_, *figures in found["deals"]:
            deals.setdefault(order[id_], []).append(tuple(map(Decimal, figures)))
        debts = [Decimal(0) for _ in CLIENTS]
        for id_, owed in found["debts"]:
            debts[owner[id_]] += Decimal(owed)
        return {
            "wallets": [wallets[str(one.pk)] for client in self.clients for one in (client.cash, client.margin)],
            "house": {place: amount for place, amount in moved.items() if amount},
            "positions": {
                order[id_]: (symbol, side, *(figure and Decimal(figure) for figure in figures))
                for id_, symbol, side, *figures in found["positions"]
            },
            "orders": {order[id_]: Decimal(reserved) for id_, reserved in found["orders"]},
            "closed": deals,
            "deposits": [dict(found["deposits"])[str(id_)] for id_ in self.deposits],
            "withdrawals": [dict(found["withdrawals"])[str(id_)] for id_ in self.withdrawals],
            "commissions": sorted(
                (order[id_], nth, level, owner[payee], Decimal(amount), status)
                for id_, nth, level, payee, amount, status in found["commissions"]
            ),
            "debts": debts,
            "bonuses": {owner[id_]: status for id_, status in found["bonuses"]},
        }

    def _house(self) -> dict[tuple[str, str], Decimal]:
        """What the house had before the first step."""
        return {(k.removeprefix("HOUSE_"), currency): Decimal(sum_) for k, currency, sum_ in read()["house"]}


def read() -> dict[str, list[Any]]:
    ((text,),) = db.fetch_all(STATE_SQL, {})  # prepared: it is asked after every step
    return {name: rows or [] for name, rows in json.loads(text).items()}


def refusal_of(act: Callable[[], Any]) -> str | None:
    try:
        act()
    except DomainError as refusal:
        return refusal.code
    return None


def _code_of(answer: Answer) -> str | None:
    return answer.document["code"] if answer.refused else None


def _keep(ids: list[UUID], code: str | None, answer: Answer | None) -> None:
    """Remember what was made, by its place."""
    if code is None:
        assert answer is not None
        ids.append(UUID(answer.document["id"]))
