"""
Whether two risk engines do to clients what one does.

    python -m bench.engines    a minute of replayed prices for one engine, then the same minute for two

The same clients with the same positions, stops, targets and working orders live through the day on which bitcoin lost
a third, each time in a database of their own; the engines are processes of their own, as in an installation. Every deal
must be the same but for its ids: whose, in what, at which batch's price, why, and for how much. Exit status 1 if one
differs, if anything was done twice, or if a figure of the books does not hold.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from bench import throwaway
from scripts import environment

START = datetime(2021, 5, 19, tzinfo=UTC)
SYMBOLS = ("BTCUSD", "ETHUSD", "EURUSD", "GBPJPY", "USDCAD")
BOOKS = ("verify_ledger", "verify_positions", "verify_audit")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=150)
    parser.add_argument("--seconds", type=int, default=60, help="Of replay; one batch a second.")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    outcomes = []
    with throwaway.server() as url:
        for engines in (1, 2):
            with throwaway.clone(url, f"engines{engines}"):
                outcomes.append(live_through(engines, chosen))
    alone, together = outcomes
    print(f"\nDeals that differ: {len(set(alone) ^ set(together))}")
    return 0 if alone == together and len(set(alone)) == len(alone) else 1


def live_through(engines: int, chosen: Any) -> list[tuple[Any, ...]]:
    """Populate a desk, let prices come with so many engines at work, and return every deal they made."""
    from django.core.management import call_command
    from django.utils import timezone

    from trading.feeds import ReplayFeed
    from trading.models import Instrument, PriceClock, RiskCursor
    from trading.services import instruments, quotes

    instruments.load_instruments()
    feed = ReplayFeed(instruments=Instrument.objects.in_bulk(), start=START, loop=False)
    batches = feed.batches()

    def quote() -> None:
        quotes.record_quotes(quotes=next(batches), source=feed.source, now=timezone.now(), rewinds=True)

    quote()
    populate(chosen.clients, chosen.seed, refresh=lambda: freshen(feed))
    workers = [
        subprocess.Popen([sys.executable, "manage.py", "run_risk", "--watch"], cwd=environment.ROOT)
        for _ in range(engines)
    ]
    try:
        for _ in range(chosen.seconds):
            started = time.monotonic()
            quote()
            time.sleep(max(0.0, 1.0 - (time.monotonic() - started)))
        while RiskCursor.objects.get().batch < PriceClock.objects.get().number:
            time.sleep(0.1)
    finally:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.wait(30)
    call_command("run_risk", verbosity=0, stdout=sys.stderr)
    for book in BOOKS:
        call_command(book, verbosity=0, stdout=sys.stderr)
    deals = done()
    causes = Counter(row[4] for row in deals)
    print(
        f"{engines} engine{'s' if engines > 1 else ''}: {len(deals)} deals, {dict(sorted(causes.items()))}", flush=True
    )
    return deals


def freshen(feed: Any) -> None:
    """The first prices once more, as new ones: filling a desk takes longer than a price is traded on."""
    from django.utils import timezone

    from trading.services import quotes

    quotes.record_quotes(quotes=next(feed.batches()), source=feed.source, now=timezone.now(), rewinds=True)


def populate(clients: int, seed: int, *, refresh: Any) -> None:
    """Clients with positions, some near their stop-out, stops and targets, and orders that wait: all from the seed."""
    from tests.cast import make_client
    from tests.trading.calls import place
    from trading.models import Instrument, Quote

    rng = random.Random(seed)
    ticks = dict(Instrument.objects.values_list("symbol", "tick_size"))
    at = {quote.instrument_id: quote.bid for quote in Quote.objects.all()}

    def away(symbol: str, percent: float) -> str:
        price = at[symbol] * Decimal(str(1 + percent / 100))
        return str(price // ticks[symbol] * ticks[symbol])

    for number in range(clients):
        if number % 20 == 0:
            refresh()
        margin = Decimal(rng.choice([400, 2_000, 20_000]))
        who = make_client(balance=Decimal(0), margin=margin, leverage=500, country="BR")
        for _ in range(3):
            symbol, side = rng.choice(SYMBOLS), rng.choice(["BUY", "SELL"])
            sign = 1 if side == "BUY" else -1
            terms: dict[str, Any] = {
                "symbol": symbol,
                "side": side,
                "volume": rng.choice(["0.02", "0.10", "0.50", "2.00"]),
            }
            if rng.random() < 0.4:
                terms |= {"stop_loss": away(symbol, -sign * rng.uniform(1, 6))}
            if rng.random() < 0.4:
                terms |= {"take_profit": away(symbol, sign * rng.uniform(1, 6))}
            if rng.random() < 0.4:
                terms |= {"type": "LIMIT", "price": away(symbol, -sign * rng.uniform(0.2, 4))}
                terms.pop("stop_loss", None)
                terms.pop("take_profit", None)
            place(who, **terms)


def done() -> list[tuple[Any, ...]]:
    """What the engines did, told without ids: clients are numbered by their accounts, positions by their orders."""
    from accounts.models import TradingAccount
    from trading.models import Deal, Order

    accounts = {
        id_: place for place, id_ in enumerate(TradingAccount.objects.order_by("id").values_list("id", flat=True))
    }
    orders = {id_: place for place, id_ in enumerate(Order.objects.order_by("id").values_list("id", flat=True))}
    rows = Deal.objects.exclude(batch=None).select_related("position").order_by("batch", "account", "id")
    return [
        (
            accounts[deal.account_id],
            orders[deal.position.order_id],
            deal.instrument_id,
            deal.entry,
            deal.cause,
            deal.batch,
            deal.volume,
            deal.price,
            deal.profit,
            deal.compensation,
        )
        for deal in rows
    ]


if __name__ == "__main__":
    raise SystemExit(main())
