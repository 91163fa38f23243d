"""
Every operation that locks a client's wallet, each ready to be carried out on Bob's.

Bob has enough for any one that takes money out and not for two, open positions, an order that waits, a night to be
charged for, income from a client he referred, and one payment at every stage.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import Any

from accounts.models import Verification
from accounts.services import freezes, verifications
from referrals.models import Commission, SignupBonus
from referrals.services import approvals, bonuses, payouts, reversals
from tests.models.account import SWAPS
from tests.models.desk import Desk, Stage, refusal_of
from tests.models.paper import ALICE, BEGINNING, BOB, BONUS_AGE_MAX
from tests.trading.programs import TERMS, Prices
from trading import selectors as trades
from trading.services import accounts, changes, orders, positions, risk, swaps
from wallets.models import Adjustment
from wallets.services import adjustments, deposits, transfers, withdrawals

CASH, MARGIN, COMMISSION = "the cash wallet", "the trading account", "a commission"
ALICES_CASH, BOBS_CASH, BOBS_MARGIN = 2 * ALICE, 2 * BOB, 2 * BOB + 1

#: Of what is there: a deposit at every stage, withdrawals, positions and an order.
PENDING, REPORTED, ARRIVED = range(3)
REQUESTED, IN_REVIEW, APPROVED, SENT = range(4)
LONG, SHORT, WAITING = 2, 3, 4

Act = Callable[[Desk], str | None]


@dataclass(frozen=True, slots=True)
class Operation:
    """
    One service at work on what it `meets` others at.

    `prepare` makes what only this one needs. `yields`: it leaves to others what they are at, or locks no wallet.
    """

    service: Callable[..., Any]
    act: Act
    meets: tuple[str, ...]
    prepare: Callable[[Desk], object] | None = None
    yields: bool = False


def prices(**moved: Decimal) -> Prices:
    """The prices of the beginning, or so many times that."""
    found = {}
    for symbol in SWAPS:
        tick = Decimal(1).scaleb(-TERMS[symbol].digits)
        bid = (TERMS[symbol].start * moved.get(symbol, Decimal(1))).quantize(tick)
        found[symbol] = (bid, bid + 10 * tick)
    return found


def furnish(stage: Stage) -> Desk:
    """The desk that every operation finds."""
    desk = Desk(stage)
    desk.clock.now = BEGINNING
    desk.tick(prices())
    for wallet, amount, provider in (
        (BOBS_CASH, 300, "manual"),
        (BOBS_CASH, 300, "webhook"),
        (BOBS_CASH, 400, "sandbox"),
        (BOBS_MARGIN, 1_900, "sandbox"),
        (BOBS_CASH, 5_000, "sandbox"),
    ):
        assert desk.deposit(wallet, Decimal(amount), provider) is None
    for nth, steps in enumerate(((), ("start_review",), ("start_review", "approve_withdrawal"))):
        assert desk.withdraw(BOBS_CASH, Decimal(500)) is None
        assert [desk.decide_withdrawal(nth, step, 0) for step in steps] == [None] * len(steps)
    assert desk.withdraw(BOBS_CASH, Decimal(500)) is None
    for step in ("start_review", "approve_withdrawal", "mark_sent"):
        assert desk.decide_withdrawal(SENT, step, 0) is None
    for name in range(2):  # what Alice closes is Bob's income: once paid, once to be paid
        assert desk.open(ALICE, "EURUSD", "BUY", Decimal("0.2")) is None
        desk.clock.now += timedelta(seconds=5)
        assert desk.close(ALICE, name, Decimal("0.2")) is None
        desk.accrue()
        approvals.approve_due(created_before=desk.clock.now)
        if name == 0:
            desk.pay()
    assert desk.open(BOB, "EURUSD", "BUY", Decimal("0.1")) is None
    assert desk.open(BOB, "USDJPY", "SELL", Decimal("0.1")) is None
    assert desk.rest(BOB, "EURUSD", "BUY", "LIMIT", Decimal("1.19000"), Decimal("0.1"), None) is None
    terms: Any = {"wallet": desk.clients[BOB].cash.number, "direction": "CREDIT", "amount": Decimal(25)}
    adjustments.propose_adjustment(
        **terms, reason="a drill", actor=stage.staff[0].actor, key="a form that was filled in"
    )
    Verification.objects.create(owner=desk.clients[BOB].user, status="IN_REVIEW", documents=[])
    desk.clock.now += timedelta(days=1)
    desk.tick(prices())
    return desk


def at_hand(furnished: Desk, name: str) -> Desk:
    """The same desk for somebody of that name, with keys of their own."""
    desk = copy.copy(furnished)
    desk.name, desk.sent, desk.memory = name, [], risk.Memory()
    for kept in ("deposits", "withdrawals", "orders"):
        setattr(desk, kept, list(getattr(furnished, kept)))
    return desk


# --- Acts that are no steps of the model ------------------------------------------------------------------------------


def decide_adjustment(service: Callable[..., Any], staff: int) -> Act:
    return lambda desk: desk.staff(service, staff, adjustment_id=Adjustment.objects.get(direction="CREDIT").pk)


def decide(nth: int, what: str) -> Act:
    return lambda desk: desk.decide_withdrawal(nth, what, 1)


def approve_verification(desk: Desk) -> str | None:
    known = Verification.objects.get(owner=desk.clients[BOB].user)
    return desk.staff(verifications.review_verification, verification_id=known.pk, outcome="APPROVED")


def pay_out(desk: Desk) -> str | None:
    return refusal_of(lambda: payouts.pay_referrer(referrer=desk.clients[BOB].user.pk))


def reverse_commission(status: str) -> Act:
    """Known by what it was before anybody came: what is paid meanwhile is still the same commission."""

    def act(desk: Desk) -> str | None:
        mine = Commission.objects.filter(owner=desk.clients[BOB].user).order_by("id").values_list("pk", flat=True)
        return desk.staff(reversals.reverse_commission, commission_id=mine[0 if status == "PAID" else 1])

    return act


def expire_bonus(desk: Desk) -> str | None:
    bonus = SignupBonus.objects.get()
    return refusal_of(lambda: bonuses.expire_bonus(bonus_id=bonus.pk, until=desk.clock.now))


def with_an_old_bonus(desk: Desk) -> None:
    assert desk.claim_bonus(BOB) is None
    desk.clock.now += BONUS_AGE_MAX
    desk.quote(prices())


def modify_order(desk: Desk) -> str | None:
    bob, order = desk.clients[BOB], desk.orders[WAITING]
    terms: Any = {"order_id": order, "changes": {"price": Decimal("1.18000")}}
    return refusal_of(lambda: changes.modify_order(owner=bob.user.pk, actor=bob.actor, **terms))


def charge_swaps(desk: Desk) -> str | None:
    now, account = desk.clock.now, desk.clients[BOB].account.pk
    market = trades.market(now)
    return refusal_of(lambda: swaps.charge_account(account_id=account, until=now, market=market))


def work_off(desk: Desk) -> str | None:
    return refusal_of(desk.work_off)


def with_a_move(desk: Desk, factor: str) -> None:
    desk.quote(prices(EURUSD=Decimal(factor)))


def with_a_freeze(desk: Desk) -> None:
    assert desk.freeze(BOB, "WITHDRAWALS") is None


BOTH = (CASH, MARGIN)
TEN, MUCH = Decimal(10), Decimal(2_000)

OPERATIONS: dict[str, Operation] = {
    "deposit": Operation(deposits.create_deposit, lambda d: d.deposit(BOBS_CASH, TEN, "sandbox"), (CASH,)),
    "fund": Operation(deposits.create_deposit, lambda d: d.deposit(BOBS_MARGIN, TEN, "sandbox"), (MARGIN,)),
    "approve deposit": Operation(deposits.approve_deposit, lambda d: d.approve_deposit(PENDING), (CASH,)),
    "reject deposit": Operation(deposits.reject_deposit, lambda d: d.reject_deposit(PENDING), (CASH,)),
    "report deposit": Operation(deposits.settle_deposit, lambda d: d.report_deposit(REPORTED, True), (CASH,)),
    "reverse deposit": Operation(deposits.reverse_deposit, lambda d: d.reverse_deposit(ARRIVED), (CASH,)),
    "withdraw": Operation(withdrawals.request_withdrawal, lambda d: d.withdraw(BOBS_CASH, MUCH), (CASH,)),
    "cancel": Operation(withdrawals.cancel_withdrawal, lambda d: d.cancel_withdrawal(REQUESTED), (CASH,)),
    "review": Operation(withdrawals.start_review, decide(REQUESTED, "start_review"), (CASH,)),
    "approve": Operation(withdrawals.approve_withdrawal, decide(IN_REVIEW, "approve_withdrawal"), (CASH,)),
    "reject": Operation(withdrawals.reject_withdrawal, decide(IN_REVIEW, "reject_withdrawal"), (CASH,)),
    "send": Operation(withdrawals.mark_sent, decide(APPROVED, "mark_sent"), (CASH,)),
    "complete": Operation(withdrawals.complete_withdrawal, decide(SENT, "complete_withdrawal"), (CASH,)),
    "fail": Operation(withdrawals.fail_withdrawal, decide(SENT, "fail_withdrawal"), (CASH,)),
    "transfer out": Operation(transfers.transfer_funds, lambda d: d.transfer(BOBS_CASH, ALICES_CASH, MUCH), (CASH,)),
    "transfer in": Operation(transfers.transfer_funds, lambda d: d.transfer(ALICES_CASH, BOBS_CASH, TEN), (CASH,)),
    "transfer over": Operation(transfers.transfer_funds, lambda d: d.transfer(BOBS_CASH, BOBS_MARGIN, MUCH), BOTH),
    "release": Operation(accounts.release_funds, lambda d: d.release(BOB, Decimal(800)), BOTH),
    "approve adjustment": Operation(
        adjustments.approve_adjustment, decide_adjustment(adjustments.approve_adjustment, 1), (CASH,)
    ),
    "reject adjustment": Operation(
        adjustments.reject_adjustment, decide_adjustment(adjustments.reject_adjustment, 1), (CASH,)
    ),
    "withdraw adjustment": Operation(
        adjustments.withdraw_adjustment, decide_adjustment(adjustments.withdraw_adjustment, 0), (CASH,)
    ),
    "adjust": Operation(adjustments.approve_adjustment, lambda d: d.adjust(BOB, -MUCH), (CASH,)),
    "pay out": Operation(payouts.pay_referrer, pay_out, (CASH, COMMISSION), yields=True),
    "reverse what was paid": Operation(reversals.reverse_commission, reverse_commission("PAID"), (CASH, COMMISSION)),
    "reverse what will be paid": Operation(
        reversals.reverse_commission, reverse_commission("APPROVED"), (COMMISSION,), yields=True
    ),
    "freeze": Operation(freezes.place_freeze, lambda d: d.freeze(BOB, "TRADING"), BOTH),
    "lift": Operation(freezes.lift_freeze, lambda d: d.lift(BOB, "WITHDRAWALS"), BOTH, with_a_freeze),
    "verify": Operation(verifications.review_verification, approve_verification, BOTH),
    "open": Operation(orders.place_order, lambda d: d.open(BOB, "EURUSD", "BUY", Decimal("0.2")), (MARGIN,)),
    "hedge": Operation(orders.place_order, lambda d: d.open(BOB, "EURUSD", "SELL", Decimal("0.3")), (MARGIN,)),
    "rest": Operation(
        orders.place_order,
        lambda d: d.rest(BOB, "ETHUSD", "BUY", "LIMIT", Decimal(2_900), Decimal("0.2"), None),
        (MARGIN,),
    ),
    "modify order": Operation(changes.modify_order, modify_order, (MARGIN,)),
    "cancel order": Operation(changes.cancel_order, lambda d: d.cancel_order(BOB, WAITING), (MARGIN,)),
    "guard": Operation(changes.modify_position, lambda d: d.guard(BOB, LONG, (Decimal("1.15"), None)), (MARGIN,)),
    "close": Operation(positions.close_position, lambda d: d.close(BOB, LONG, Decimal("0.1")), (MARGIN,)),
    "close other": Operation(positions.close_position, lambda d: d.close(BOB, SHORT, Decimal("0.1")), (MARGIN,)),
    "stop out": Operation(risk.work_off, work_off, (MARGIN,), partial(with_a_move, factor="0.76"), yields=True),
    "fill": Operation(risk.work_off, work_off, (MARGIN,), partial(with_a_move, factor="0.99"), yields=True),
    "night": Operation(swaps.charge_account, charge_swaps, (MARGIN,), yields=True),
    "claim bonus": Operation(bonuses.claim_bonus, lambda d: d.claim_bonus(BOB), (MARGIN,)),
    "expire bonus": Operation(bonuses.expire_bonus, expire_bonus, (MARGIN,), with_an_old_bonus),
}

#: Services that lock a wallet and are not here, each with the reason.
ELSEWHERE = {
    "accounts.services.sign_up.open_live_account": "locks a person's wallets to open others, and moves nothing",
    "trading.services.accounts.reset_demo": "a demo account's: raced in tests/concurrency/test_trading_at_once.py",
}
