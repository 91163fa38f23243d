"""Orders that wait, positions with stops, and the engine run over the prices that came."""

from __future__ import annotations

import json
from decimal import Decimal
from io import StringIO
from threading import Event
from typing import Any
from uuid import UUID

from django.core.management import call_command
from django.db import transaction
from django.utils import timezone

from core.ids import uuid7
from tests.cast import CastMember, make_client
from tests.trading.calls import place
from trading import selectors
from trading.management.commands.run_risk import Command
from trading.models import Deal, Instrument, MarginEvent, Order, Position, PriceClock
from trading.watch import LockedAccount, touch
from wallets import ledger

Row = tuple[Any, ...]


def trader(margin: str = "10000.00", **options: Any) -> CastMember:
    return make_client(margin=Decimal(margin), **options)


def no_commission() -> None:
    """So that only prices change a balance."""
    Instrument.objects.update(commission_per_lot=0)


def run_risk(**options: Any) -> dict[str, int]:
    """Run the command over all batches, and read what it counted, but for what it did not do."""
    out = StringIO()
    call_command("run_risk", as_json=True, stdout=out, **options)
    counts: dict[str, Any] = json.loads(out.getvalue())
    return {name: count for name, count in counts.items() if name not in {"job", "batches", "accounts"} and count}


def engine() -> Command:
    """The command itself, for tests that run it in threads or round by round."""
    command = Command()
    command.stopping, command.as_json, command.is_watching = Event(), True, True
    return command


def opened(who: CastMember, **order: Any) -> UUID:
    """Open a position at the market through the API."""
    stop_loss, take_profit = order.pop("stop_loss", None), order.pop("take_profit", None)
    response = place(who, **order)
    assert response.status_code == 201, response.json()
    position = UUID(response.json()["position"]["id"])
    if stop_loss or take_profit:
        guard(who, position, stop_loss=stop_loss, take_profit=take_profit)
    return position


def guard(who: CastMember, position: UUID, *, stop_loss: str | None = None, take_profit: str | None = None) -> None:
    """Set a stop and a target, to be triggered by prices later than the last known one."""
    Position.objects.filter(pk=position).update(
        stop_loss=stop_loss and Decimal(stop_loss),
        take_profit=take_profit and Decimal(take_profit),
        watched_after=PriceClock.objects.get().number,
    )
    reckon_anew(who)


def waiting(
    who: CastMember,
    price: str,
    *,
    type: str = "LIMIT",  # noqa: A002 - the column's own name
    side: str = "BUY",
    symbol: str = "EURUSD",
    volume: str = "0.10",
    reserved: str = "400.00",
    **more: Any,
) -> Order:
    """An order that waits for its price, from the last known batch on."""
    order = Order.objects.create(
        owner_id=who.user.pk,
        account=who.account,
        instrument_id=symbol,
        side=side,
        type=type,
        volume=Decimal(volume),
        price=Decimal(price),
        time_in_force=Order.TimeInForce.GTD if more.get("expires_at") else Order.TimeInForce.GTC,
        status=Order.Status.WORKING,
        margin_reserved=Decimal(reserved),
        idempotency_digest=uuid7().bytes * 2,
        **{"watched_after": PriceClock.objects.get().number, **more},
    )
    reckon_anew(who)
    return order


def reckon_anew(who: CastMember) -> None:
    """What every service does last: say again at which prices the account has to be looked at."""
    now = timezone.now()
    with transaction.atomic():
        (wallet,) = ledger.lock_wallets_by_id(who.margin.pk)
        touch(LockedAccount(who.account, wallet, selectors.book(who.account.pk), selectors.market(now)), now=now)


def deals(cause: str | None = None) -> list[Row]:
    """Every deal that a price caused: symbol, side, entry, cause, price, profit."""
    rows = Deal.objects.exclude(cause="CLIENT").order_by("id")
    rows = rows if cause is None else rows.filter(cause=cause)
    return list(rows.values_list("instrument_id", "side", "entry", "cause", "price", "profit"))


def events(who: CastMember) -> list[str]:
    return list(MarginEvent.objects.filter(account=who.account).order_by("id").values_list("kind", flat=True))


def status(order: Order) -> str:
    order.refresh_from_db()
    return str(order.status)


def is_open(position: UUID) -> bool:
    return Position.objects.filter(pk=position, status="OPEN").exists()


def money(who: CastMember) -> tuple[Decimal, Decimal]:
    """Balance and held margin."""
    who.margin.refresh_from_db()
    return who.margin.balance, who.margin.held
