"""The dashboards: every number on them was computed before, so a page costs the same however big the desk is."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase
from django.urls import reverse
from django.utils import timezone

from config.back_office.dashboards import overview, selectors, shapes
from config.back_office.dashboards.readers.risk import COMMON, LEVELS
from config.back_office.dashboards.selectors import ZERO, Ledger, Told
from config.back_office.dashboards.shapes import BLUE, ORANGE, PURPLE, TEAL, Cell, Chart, Row, Series, Table
from config.back_office.pages import page, show
from core.models import JobRun
from wallets.models import Environment

# --- Money ----------------------------------------------------------------------------------------------------------


@page("dashboards/money", name="dashboards_money", title="Money", permission=overview.PERMISSION)
def money(request: HttpRequest) -> HttpResponseBase:
    """What clients paid in and took out, and what they and the house made of it; live, and demo by itself below."""
    if not request.user.has_perm(overview.MONEY_PERMISSION):
        raise PermissionDenied
    told = selectors.told(now=timezone.now(), daily=["money"])
    currencies = selectors.currencies(told, Environment.LIVE)
    chosen = request.GET.get("currency", "")
    currency = chosen if chosen in currencies else (currencies[0] if currencies else "")
    return show(
        request,
        "dashboards/money.html",
        title="Money",
        board=overview.Board.of(told, "dashboards_money", request),
        currency=currency,
        choices=[{"title": one, "link": f"?currency={one}", "active": one == currency} for one in currencies],
        charts=_money_charts(told, currency) if currency else [],
        live=_money_table(told, Environment.LIVE, currency) if currency else None,
        days=len(told.days),
        is_mirrored=_is_mirrored(told),
        demo=[(one, _money_table(told, Environment.DEMO, one)) for one in selectors.currencies(told, Environment.DEMO)],
    )


def _money_charts(told: Told, currency: str) -> list[Chart]:
    labels = shapes.days_as_labels(told.days)
    days = [selectors.ledger(told, Environment.LIVE, currency, [day]) for day in told.days]
    return [
        Chart(
            f"Deposits and withdrawals, {currency} a day",
            labels,
            [
                Series("Deposits", [day.deposits - day.reversed for day in days], BLUE),
                Series("Withdrawals", [day.withdrawals for day in days], ORANGE),
            ],
        ),
        Chart(
            f"Profit of clients and of the house, {currency} a day",
            labels,
            [
                Series("Clients", [day.client_profit for day in days], PURPLE),
                Series("House", [day.house_profit for day in days], TEAL),
            ],
        ),
    ]


def _money_table(told: Told, environment: str, currency: str) -> Table:
    spans = (told.days[-1:], told.days[-2:-1], told.days[-7:], told.days)
    columns = [selectors.ledger(told, environment, currency, days) for days in spans]

    def row(title: str, amounts: Sequence[Decimal], mark: str = "") -> Row:
        return [Cell(title, mark=mark), *(Cell(shapes.money(amount, currency), mark=mark) for amount in amounts)]

    def client(reason: str) -> list[Decimal]:
        return [column.client.get(reason, ZERO) for column in columns]

    def spent(kind: str) -> list[Decimal]:
        return [column.spent(kind) for column in columns]

    funding = [row("Demo funding", spent("HOUSE_DEMO_FUNDING"))] if environment == Environment.DEMO else []
    rows = [
        *funding,
        row("Deposits", [column.deposits for column in columns]),
        row("Deposits reversed", [column.reversed for column in columns]),
        row("Withdrawals", [column.withdrawals for column in columns]),
        row("Net deposits", [column.net_deposits for column in columns], "desk-sum"),
        row("Clients: profit and loss", client("TRADE_PNL")),
        row("Clients: commission", client("COMMISSION")),
        row("Clients: swaps", client("SWAP")),
        row("Clients: losses made good", client("NEGATIVE_BALANCE_PROTECTION")),
        row("Clients together", [column.client_profit for column in columns], "desk-sum"),
        row("House", [column.house_profit for column in columns], "desk-sum"),
        row("Paid to referrers", spent("HOUSE_REFERRAL_EXPENSE")),
        row("Bonuses, net of what lapsed", spent("HOUSE_BONUS_EXPENSE")),
        row("Adjustments", spent("HOUSE_ADJUSTMENT")),
    ]
    return Table([f"{currency}", "Today", "Yesterday", "7 days", f"{len(told.days)} days"], rows)


def _is_mirrored(told: Told) -> bool:
    """Whether what clients made is what the house lost, everywhere; the two are read from different wallets."""
    ledgers: list[Ledger] = [
        selectors.ledger(told, environment, currency, told.days)
        for environment in Environment.values
        for currency in selectors.currencies(told, environment)
    ]
    return all(one.is_mirrored for one in ledgers)


# --- Risk -----------------------------------------------------------------------------------------------------------


@page("dashboards/risk", name="dashboards_risk", title="Risk", permission=overview.PERMISSION)
def risk(request: HttpRequest) -> HttpResponseBase:
    """What is open, how close accounts are to a stop-out, and whether prices are fresh enough to say so."""
    sources = ["exposure", "margin_levels", "stop_outs", "prices"]
    told = selectors.told(now=timezone.now(), last=sources, daily=["margin_events"])
    return show(
        request,
        "dashboards/risk.html",
        title="Risk",
        board=overview.Board.of(told, "dashboards_risk", request),
        tiles=overview.price_tiles(told),
        charts=[_exposure_chart(told), _levels_chart(told, Environment.LIVE), _events_chart(told)],
        live=_exposure(told, Environment.LIVE),
        demo=_exposure(told, Environment.DEMO),
        demo_levels=_levels_chart(told, Environment.DEMO),
        stop_outs=_stop_outs(told, Environment.LIVE),
        demo_stop_outs=_stop_outs(told, Environment.DEMO),
        stale=_stale(told),
    )


def _exposure(told: Told, environment: str) -> Table:
    rows: list[Row] = []
    for symbol, lots, values in _holdings(told, environment):
        cells = [shapes.number(lots[0]), shapes.number(lots[1]), shapes.number(lots[0] - lots[1])]
        if None in values:
            cells += ["no rate"] * 3
        else:
            long, short = (value or ZERO for value in values)
            cells += [shapes.money(one, COMMON) for one in (long, short, long - short)]
        rows.append([symbol, *cells])
    headers = [
        "Instrument",
        "Long, lots",
        "Short, lots",
        "Net, lots",
        f"Long, {COMMON}",
        f"Short, {COMMON}",
        f"Net, {COMMON}",
    ]
    return Table(headers, rows, empty="No position is open.")


Sides = tuple[Decimal, Decimal]


def _holdings(told: Told, environment: str) -> list[tuple[str, Sides, tuple[Decimal | None, Decimal | None]]]:
    """By instrument: lots long and short, and what they are worth; None where no rate says so."""
    found = {
        (one.label, one.name): one.value
        for side in ("BUY", "SELL")
        for one in told.latest(f"exposure.lots.{side}", f"exposure.value.{side}", environment=environment)
    }
    holdings = []
    for symbol in sorted({symbol for symbol, _ in found}):
        long, short = (found.get((symbol, f"exposure.lots.{side}"), ZERO) for side in ("BUY", "SELL"))
        values = [
            found.get((symbol, f"exposure.value.{side}"), None if lots else ZERO)
            for side, lots in (("BUY", long), ("SELL", short))
        ]
        holdings.append((symbol, (long, short), (values[0], values[1])))
    return holdings


def _exposure_chart(told: Told) -> Chart:
    net = [(symbol, (long or ZERO) - (short or ZERO)) for symbol, _, (long, short) in _holdings(told, Environment.LIVE)]
    largest = sorted(net, key=lambda pair: -abs(pair[1]))[:12]
    return Chart(
        f"Net exposure, {COMMON}", [symbol for symbol, _ in largest], [Series("Net", [v for _, v in largest], TEAL)]
    )


def _levels_chart(told: Told, environment: str) -> Chart:
    found = {one.label: one.value for one in told.latest("margin.accounts", environment=environment)}
    labels = [*LEVELS, *(label for label in found if label not in LEVELS)]
    values = [found.get(label, ZERO) for label in labels]
    rows = [[label, shapes.number(value)] for label, value in zip(labels, values, strict=True)]
    return Chart(
        "Accounts with open positions, by margin level",
        labels,
        [Series("Accounts", values, PURPLE)],
        rows=Table(["Margin level", "Accounts"], rows),
    )


def _events_chart(told: Told) -> Chart:
    def events(kind: str) -> list[Decimal]:
        return told.history("margin.events", environment=Environment.LIVE, label=kind)

    series = [
        Series("Margin calls", events("MARGIN_CALL"), ORANGE),
        Series("Stop-outs", events("STOP_OUT"), PURPLE),
    ]
    return Chart("Margin calls and stop-outs a day", shapes.days_as_labels(told.days), series)


def _stop_outs(told: Told, environment: str) -> Table:
    events = sorted(
        told.latest("stop_out.equity", environment=environment), key=lambda one: str(one.moment), reverse=True
    )
    link = reverse("admin:trading_marginevent_changelist")
    rows: list[Row] = [
        [
            Cell(one.label, href=f"{link}?q={one.label}"),
            f"{one.moment:%Y-%m-%d %H:%M:%S}",
            f"{shapes.money(one.value, one.currency)} {one.currency}",
        ]
        for one in events
    ]
    return Table(["Account", "When (UTC)", "Equity before"], rows, empty="No account was stopped out.")


def _stale(told: Told) -> Table:
    rows = [[one.label, shapes.duration(one.value)] for one in told.latest("price.stale")]
    return Table(["Instrument", "Age of its price"], rows, empty="Every open market has a fresh price.")


# --- Operations -----------------------------------------------------------------------------------------------------


@page("dashboards/operations", name="dashboards_operations", title="Operations", permission=overview.PERMISSION)
def operations(request: HttpRequest) -> HttpResponseBase:
    """What waits for somebody, and how the desk itself is doing."""
    told = selectors.told(now=timezone.now(), last=overview.sources_of_now())
    window = told.first("metrics.window")
    used = sum((one.value for one in told.latest("connections.used")), start=ZERO)
    most = told.first("connections.max")
    return show(
        request,
        "dashboards/operations.html",
        title="Operations",
        board=overview.Board.of(told, "dashboards_operations", request),
        tiles=[*overview.latency_tiles(told), *overview.price_tiles(told)],
        queues=_queues(told),
        routes=_routes(told),
        window=shapes.duration(window.value) if window and window.value else "",
        counts=_counts(told),
        connections=_connections(told),
        usage=f"{shapes.number(used)} of {shapes.number(most.value)}" if most else "",
        percent=int(used * 100 / most.value) if most and most.value else 0,
        jobs=_jobs(told),
    )


def _queues(told: Told) -> Table:
    oldest = {one.label: one.value for one in told.latest("queue.oldest")}
    rows = [
        [
            one.label,
            shapes.number(one.value),
            shapes.duration(oldest[one.label]) if one.label in oldest else "–",
        ]
        for one in told.latest("queue.waiting")
    ]
    return Table(["Queue", "Waiting", "Oldest has waited"], rows)


def _routes(told: Told) -> Table:
    found: dict[str, dict[str, Decimal]] = {}
    for one in told.latest(*(f"latency.{name}" for name in ("requests", "failed", "p50", "p95", "p99"))):
        found.setdefault(one.label, {})[one.name.removeprefix("latency.")] = one.value
    rows: list[Row] = [
        [
            Cell(route or "All requests", mark="" if route else "desk-sum"),
            shapes.number(facts["requests"]),
            shapes.number(facts["failed"]),
            *(shapes.latency(facts[name]) for name in ("p50", "p95", "p99")),
        ]
        for route, facts in sorted(found.items(), key=lambda pair: (pair[0] != "", -pair[1]["requests"]))
    ]
    return Table(["Route", "Requests", "Failed (5xx)", "Half within", "95 % within", "99 % within"], rows)


_COUNTED = (
    ("retries", "Transactions run again"),
    ("retries.spent", "Transactions given up"),
    ("sheds", "Requests turned away for load"),
)


def _counts(told: Told) -> Table:
    rows = [
        [title, one.label or "–", shapes.number(one.value)] for name, title in _COUNTED for one in told.latest(name)
    ]
    return Table(["What", "Why", "Times"], rows, numbers_from=2, empty="No retries, and nothing turned away.")


def _connections(told: Told) -> Table:
    rows = [[one.label, shapes.number(one.value)] for one in told.latest("connections.used")]
    return Table(["Application", "Connections"], rows)


def _jobs(told: Told) -> Table:
    bad = f"job.{JobRun.Status.FAILED.lower()}"
    link = reverse("admin:core_jobrun_changelist")
    rows: list[Row] = [
        [
            Cell(one.label, href=f"{link}?q={one.label}"),
            Cell(one.name.removeprefix("job."), mark="desk-bad" if one.name == bad else ""),
            f"{one.moment:%Y-%m-%d %H:%M:%S}",
            shapes.duration(one.value),
        ]
        for one in told.latest(*(f"job.{status.lower()}" for status in JobRun.Status.values))
    ]
    return Table(["Job", "State", "Last sign of life (UTC)", "Ago"], rows, numbers_from=2, empty="No job has run yet.")
