"""The desk at a glance, on the first page of the back office: whatever this member of staff may see of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from config.back_office.dashboards import selectors, shapes
from config.back_office.dashboards.readers.risk import LEVELS
from config.back_office.dashboards.selectors import ZERO, Told
from config.back_office.dashboards.shapes import BLUE, GREY, ORANGE, TEAL, Chart, Series, Tile
from config.back_office.figures import READERS, Tells
from trading.engine import MARGIN_CALL_LEVEL
from wallets.models import Environment

PERMISSION = "dashboards.view_figure"
#: What takes it to see sums of clients' money.
MONEY_PERMISSION = "wallets.view_entry"

#: Groups of accounts that are in margin call, or worse.
CALLED = LEVELS[:2]
#: Slower than this is told of in red: what 95 of 100 requests are done in.
P95_SECONDS_MAX = 1
#: A queue whose oldest has waited longer is told of in red.
WAITING_MAX = timedelta(days=1)

_TABS = (
    ("index", "Overview", PERMISSION),
    ("dashboards_money", "Money", MONEY_PERMISSION),
    ("dashboards_risk", "Risk", PERMISSION),
    ("dashboards_operations", "Operations", PERMISSION),
)


@dataclass(frozen=True, slots=True)
class Board:
    """What is around every dashboard: the way to the others, and whether these figures are any good."""

    tabs: list[dict[str, Any]]
    as_of: datetime | None
    age: str
    is_stale: bool
    notes: list[str]

    @classmethod
    def of(cls, told: Told, name: str, request: HttpRequest) -> Board:
        as_of = told.as_of
        return cls(
            tabs=[
                {"title": title, "link": reverse(f"admin:{tab}"), "active": tab == name}
                for tab, title, permission in _TABS
                if request.user.has_perm(permission)
            ],
            as_of=as_of,
            age=shapes.duration(max(0, int((told.now - as_of).total_seconds()))) if as_of else "",
            is_stale=told.is_stale,
            notes=told.notes,
        )


def sources_of_now() -> list[str]:
    """Every source of what is so now, those of other parts of the back office included."""
    return [source for source, reader in READERS.items() if reader.tells is Tells.NOW]


def add_board(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Called by the admin's first page; who may see no figures finds the doors that are theirs."""
    if not request.user.has_perm(PERMISSION):
        return context
    may_see_money = request.user.has_perm(MONEY_PERMISSION)
    daily = ["people", "money"] if may_see_money else ["people"]
    told = selectors.told(now=timezone.now(), last=sources_of_now(), daily=daily)
    tiles = [*_people_tiles(told), *(_money_tiles(told) if may_see_money else ())]
    charts = [_signups_chart(told), *(_money_charts(told) if may_see_money else ())]
    return {
        **context,
        "title": "Overview",
        "board": Board.of(told, "index", request),
        "tiles": [*tiles, *_margin_tiles(told), *price_tiles(told), *latency_tiles(told)],
        "queue_tiles": list(_queue_tiles(told)),
        "charts": charts,
    }


def _people_tiles(told: Told) -> Iterable[Tile]:
    live, demo = (told.history("people.signups", environment=one)[-1] for one in (Environment.LIVE, Environment.DEMO))
    approved = told.history("people.verifications", label="APPROVED")[-1]
    yield Tile("Sign-ups today", shapes.number(live), f"live; {shapes.number(demo)} demo")
    yield Tile("Verified today", shapes.number(approved), "people")


def _money_tiles(told: Told) -> Iterable[Tile]:
    link = reverse("admin:dashboards_money")
    for currency in selectors.currencies(told, Environment.LIVE)[:2]:
        today = selectors.ledger(told, Environment.LIVE, currency, told.days[-1:])
        href = f"{link}?currency={currency}"
        yield Tile("Net deposits today", shapes.money(today.net_deposits, currency), f"{currency}, live", href)
        yield Tile("House profit today", shapes.money(today.house_profit, currency), f"{currency}, live", href)


def _margin_tiles(told: Told) -> Iterable[Tile]:
    accounts = told.latest("margin.accounts", environment=Environment.LIVE)
    called = sum((one.value for one in accounts if one.label in CALLED), start=ZERO)
    every = sum((one.value for one in accounts), start=ZERO)
    yield Tile(
        f"Accounts below {MARGIN_CALL_LEVEL} %",
        shapes.number(called),
        f"of {shapes.number(every)} live with open positions",
        reverse("admin:dashboards_risk"),
        is_bad=bool(called),
    )


def price_tiles(told: Told) -> list[Tile]:
    """How fresh prices are, and whether the risk engine keeps up with them."""
    fresh, stale = told.latest("price.fresh"), told.latest("price.stale")
    link = reverse("admin:dashboards_risk")
    tiles = []
    if fresh or stale:
        newest = min(one.value for one in [*fresh, *stale])
        below = f"of {len(fresh) + len(stale)} open markets; the newest is {shapes.duration(newest)} old"
        tiles.append(Tile("Stale prices", str(len(stale)), below, link, is_bad=bool(stale)))
    behind, aside = told.first("risk.batches_behind"), told.first("risk.set_aside")
    if behind is not None and aside is not None:
        below = f"{shapes.number(aside.value)} accounts set aside"
        tiles.append(Tile("Price batches behind", shapes.number(behind.value), below, link, is_bad=bool(aside.value)))
    return tiles


def latency_tiles(told: Told) -> list[Tile]:
    """What most requests are done in, where there is a source that says so."""
    p95, requests, failed = (told.first(f"latency.{name}") for name in ("p95", "requests", "failed"))
    if p95 is None or requests is None or failed is None:
        return []
    below = f"of {shapes.number(requests.value)} requests; {shapes.number(failed.value)} failed"
    is_bad = p95.value > P95_SECONDS_MAX or failed.value > 0
    link = reverse("admin:dashboards_operations")
    return [Tile("95 % answered within", shapes.latency(p95.value), below, link, is_bad=is_bad)]


def _queue_tiles(told: Told) -> Iterable[Tile]:
    oldest = {one.label: one.value for one in told.latest("queue.oldest")}
    for one in sorted(told.latest("queue.waiting"), key=lambda one: (not one.value, one.label)):
        age = oldest.get(one.label)
        below = f"oldest {shapes.duration(age)}" if age is not None else "nobody waits"
        is_bad = age is not None and age > WAITING_MAX.total_seconds()
        yield Tile(one.label, shapes.number(one.value), below, reverse("admin:dashboards_operations"), is_bad=is_bad)


def _signups_chart(told: Told) -> Chart:
    series = [
        Series("Live", told.history("people.signups", environment=Environment.LIVE), BLUE),
        Series("Demo", told.history("people.signups", environment=Environment.DEMO), GREY),
    ]
    return Chart("Sign-ups a day", shapes.days_as_labels(told.days), series)


def _money_charts(told: Told) -> Iterable[Chart]:
    for currency in selectors.currencies(told, Environment.LIVE)[:1]:
        days = [selectors.ledger(told, Environment.LIVE, currency, [day]) for day in told.days]
        series = [
            Series("Net deposits", [day.net_deposits for day in days], ORANGE),
            Series("House profit", [day.house_profit for day in days], TEAL),
        ]
        yield Chart(f"Net deposits and house profit, {currency} a day", shapes.days_as_labels(told.days), series)
