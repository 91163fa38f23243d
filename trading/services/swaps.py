"""
Nights are charged by a sweep that may come late, twice, or several at once, and charges each night once.

* What a position owes is reckoned from the position itself (when it was opened, reduced and closed), never from when
  the sweep last ran: a sweep that was missed is caught up by the next, with the same rows as if it had not been.
* A night is one posting with a digest of its own, and one `Swap`, unique per position and night. Both are written under
  the wallet's lock in the transaction that moves `rollover_due_at` on, so a crash leaves a night charged or owed.
* Charging is no trade. Freezes, kill switches and closed markets do not stop it: the position is held, and so is paid.
* A charge may take the balance below zero while margin is held, as a hedge's losing leg may: the position is worth
  something yet, and what it leaves is settled when it closes. With nothing held there is nothing to wait for (the
  position was closed before a late sweep came, and its money may have left): the house makes good what is owed, in
  the same posting. A client never owes for a night that we were late to charge.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import partial
from uuid import UUID

import structlog
from django.db import transaction
from django.utils import timezone

from accounts.models import TradingAccount
from core import db
from core.audit import Actor
from core.db import retry_on_conflict
from core.idempotency import system_digest
from core.ids import uuid7
from trading import execution, margin, overnight, selectors, sessions
from trading.errors import ConversionRateUnavailable, QuoteUnavailable
from trading.market import Market
from trading.models import AccountChange, Position, Swap
from trading.overnight import Night, NightCharge, Past
from trading.watch import LockedAccount, touch
from wallets import ledger
from wallets.ledger import Leg, LockedWallet, Reason, Type
from wallets.models import Kind

logger = structlog.get_logger(__name__)

ACTOR = Actor.system("charge_swaps")

#: Nights charged in one transaction. It keeps a client waiting for as long as that takes; what is left comes next.
CHARGES_MAX = 200

# Sweeps side by side share the accounts out: whoever comes second leaves the account to the first.
_CLAIM_SQL = "SELECT pg_try_advisory_xact_lock(hashtextextended('trading.swaps:' || %(account)s::text, 0))"


@dataclass(frozen=True, slots=True)
class Sweep:
    """What one transaction did to one account."""

    environment: str
    currency: str
    amounts: list[Decimal] = field(default_factory=list)
    compensated: int = 0
    unpriced: int = 0
    is_busy: bool = False
    is_done: bool = True


@retry_on_conflict
@transaction.atomic(durable=True)
def charge_account(
    *, account_id: UUID, until: datetime, market: Market, past: Past | None = None, waits: bool = False
) -> Sweep:
    """
    Charge or pay an account for the nights its positions were held up to `until`, oldest first, each once.

    At most `CHARGES_MAX` of them; `is_done` says whether that was all. An account that another sweep is at is left to
    it (`is_busy`), unless this one `waits`. A position that cannot be priced or converted stays due, and is counted in
    `unpriced`; the others are charged. A sweep of many accounts hands the same `past` to all of them. If the outcome of
    the commit is unknown, call it again.
    """
    until = min(until, timezone.now())  # a night is charged when it has begun, whatever a clock said before
    account = TradingAccount.objects.get(pk=account_id)
    if not waits and not db.fetch_all(_CLAIM_SQL, {"account": str(account_id)})[0][0]:
        return Sweep(account.environment, account.currency, is_busy=True)

    (wallet,) = ledger.lock_wallets_by_id(account.wallet_id)
    due = selectors.positions_owing_nights(account_id, until).select_for_update(no_key=True).order_by("id")
    positions = list(due)

    owed, stuck = _reckon(positions, currency=wallet.currency, market=market, past=past or Past(), until=until)
    now = timezone.now()
    charges = owed[:CHARGES_MAX]
    swaps = [_post(charge, account, wallet, now) for charge in charges]
    Swap.objects.bulk_create(swaps)
    left = [charge.night for charge in owed[CHARGES_MAX:]] + stuck
    _move_on(positions, swaps, left=left, market=market, until=until, now=now)
    if swaps:
        locked = LockedAccount(account, wallet, selectors.book(account_id), market)
        for swap in swaps:
            locked.note(AccountChange.Kind.SWAP, swap.id)
        touch(locked, now=now)
        event = partial(logger.info, "trading.swaps.charged", account_id=str(account_id), nights=len(swaps))
        transaction.on_commit(event, robust=True)
    return Sweep(
        environment=wallet.environment,
        currency=wallet.currency,
        amounts=[swap.amount for swap in swaps],
        compensated=sum(1 for swap in swaps if swap.compensation),
        unpriced=len(stuck),
        is_done=len(owed) <= CHARGES_MAX,
    )


def preview_account(*, account_id: UUID, until: datetime, market: Market, past: Past | None = None) -> Sweep:
    """What `charge_account` would do, all of it, by the same reckoning, without a lock and without doing it."""
    account = TradingAccount.objects.get(pk=account_id)
    positions = list(selectors.positions_owing_nights(account_id, until).order_by("id"))
    owed, stuck = _reckon(positions, currency=account.currency, market=market, past=past or Past(), until=until)
    amounts = [charge.amount for charge in owed]
    return Sweep(account.environment, account.currency, amounts, unpriced=len(stuck))


def _reckon(
    positions: list[Position], *, currency: str, market: Market, past: Past, until: datetime
) -> tuple[list[NightCharge], list[Night]]:
    """Every night owed in the order they passed, and of each position that cannot be priced the first."""
    reductions = selectors.reductions(positions)
    charged = selectors.nights_charged(positions)
    charges: list[NightCharge] = []
    stuck: list[Night] = []
    for position in positions:
        instrument = market.instruments[position.instrument_id]
        for night in overnight.nights_owed(
            position,
            instrument,
            reductions=reductions.get(position.id, []),
            charged=charged.get(position.id, set()),
            until=until,
        ):
            try:
                charges.append(overnight.evaluate_night(night, currency=currency, market=market, past=past))
            except (QuoteUnavailable, ConversionRateUnavailable):
                stuck.append(night)
                break
    charges.sort(key=lambda charge: (charge.night.rollover_at, charge.night.position.id))
    return charges, stuck


def _post(charge: NightCharge, account: TradingAccount, wallet: LockedWallet, now: datetime) -> Swap:
    """Move the night's money, and return the row that says why; one that rounds to nothing moves nothing."""
    night, swap = charge.night, charge.swap
    compensation = Decimal(0) if wallet.held else margin.negative_balance_compensation(wallet.balance + charge.amount)
    compensation = compensation if charge.amount < 0 else Decimal(0)
    transaction_id = None
    if charge.amount:
        transaction_id = ledger.post(
            _legs(wallet, amount=charge.amount, compensation=compensation),
            type=Type.SWAP,
            owner=wallet.owner,
            actor=ACTOR,
            now=now,
            digest=system_digest("swap", str(night.position.id), night.day.isoformat()),
            reference=f"position {night.position.number}",
            reason=f"Night of {night.day.isoformat()}",
            effective_at=night.rollover_at,
        ).id
    return Swap(
        id=uuid7(),
        owner_id=wallet.owner,
        account=account,
        position=night.position,
        instrument_id=night.position.instrument_id,
        night=night.day,
        rollover_at=night.rollover_at,
        nights=night.nights,
        side=night.position.side,
        volume=night.volume,
        mode=swap.rate.mode.value,
        rate=swap.rate.value,
        price=swap.price,
        price_basis=charge.price_basis,
        amount=charge.amount,
        compensation=compensation,
        inputs=charge.inputs,
        transaction_id=transaction_id,
        charged_at=now,
    )


def _legs(wallet: LockedWallet, *, amount: Decimal, compensation: Decimal) -> list[Leg]:
    """Both sides of the night, and of what the house makes good."""
    income = ledger.house(Kind.HOUSE_SWAP, wallet.currency, wallet.environment)
    legs = [Leg(wallet, amount, Reason.SWAP), Leg(income, -amount, Reason.SWAP)]
    return legs + execution.compensation_legs(wallet, compensation)


def _move_on(
    positions: list[Position],
    swaps: list[Swap],
    *,
    left: list[Night],
    market: Market,
    until: datetime,
    now: datetime,
) -> None:
    """Add up what each position was charged, and note the first end of a day that it was not yet charged for."""
    first_left: dict[UUID, datetime] = {}
    for night in sorted(left, key=lambda night: night.rollover_at):
        first_left.setdefault(night.position.id, night.rollover_at)
    for position in positions:
        instrument = market.instruments[position.instrument_id]
        position.swap += sum((swap.amount for swap in swaps if swap.position_id == position.id), start=Decimal(0))
        position.rollover_due_at = first_left.get(position.id) or sessions.next_rollover(
            instrument.time_zone, instrument.rollover_at, after=until
        )
        position.updated_at = now
    Position.objects.bulk_update(positions, ["swap", "rollover_due_at", "updated_at"])
