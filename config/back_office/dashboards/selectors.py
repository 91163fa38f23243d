"""What the pages of the dashboards ask for: figures that are there already, and how old they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from config.back_office.dashboards.models import Figure, FigureSet

ZERO = Decimal(0)
STALE_AFTER = timedelta(minutes=15)
#: How far back the charts go, today included.
DAYS = 30


@dataclass(frozen=True, slots=True)
class Told:
    """Figures of some sources: what each told last, and what they told of each of the last days."""

    sets: Sequence[FigureSet]
    days: Sequence[date]
    now: datetime

    @property
    def as_of(self) -> datetime | None:
        """When the oldest of the latest sets was read; None if one of the sources was never read."""
        return min((one.as_of for one in self._latest().values()), default=None)

    @property
    def is_stale(self) -> bool:
        return self.as_of is not None and self.now - self.as_of > STALE_AFTER

    @property
    def notes(self) -> list[str]:
        """Why sources have nothing to tell, and what an operator does about it."""
        return [one.note for one in self._latest().values() if one.note]

    def of_day(self, day: date) -> Iterator[Figure]:
        for one in self.sets:
            if one.day == day:
                yield from one.figures.all()

    def latest(self, *names: str, environment: str | None = None) -> list[Figure]:
        """The last told figures of these names, in the order of their labels."""
        found = [
            figure
            for one in self._latest().values()
            for figure in one.figures.all()
            if figure.name in names and environment in {None, figure.environment}
        ]
        return sorted(found, key=lambda figure: (figure.label, figure.currency, figure.environment, figure.name))

    def first(self, name: str, *, label: str = "", environment: str = "") -> Figure | None:
        """The last told figure of this name and label, if there is one."""
        found = self.latest(name, environment=environment)
        return next((figure for figure in found if figure.label == label), None)

    def history(self, name: str, *, environment: str = "", label: str = "", currency: str = "") -> list[Decimal]:
        """A figure of each day, oldest first; 0 where nothing was told."""
        wanted = (name, environment, label, currency)
        found = {
            one.day: figure.value
            for one in self.sets
            for figure in one.figures.all()
            if (figure.name, figure.environment, figure.label, figure.currency) == wanted
        }
        return [found.get(day, ZERO) for day in self.days]

    def _latest(self) -> dict[str, FigureSet]:
        return {one.source: one for one in sorted(self.sets, key=lambda one: one.day)}


def told(*, now: datetime, last: Sequence[str] = (), daily: Sequence[str] = ()) -> Told:
    """What the sources of `last` told last, however long ago, and those of `daily` of the last days."""
    today = now.astimezone(UTC).date()
    span = [today - timedelta(days=back) for back in reversed(range(DAYS))]
    sets = FigureSet.objects.prefetch_related("figures")
    newest = sets.filter(source__in=last).order_by("source", "-day").distinct("source")
    history = sets.filter(source__in=daily, day__gte=span[0]).order_by("day", "source")
    return Told([*newest, *history], span, now)


# --- Money ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ledger:
    """What moved in one environment and currency over some days, as the two sides of the ledger tell it."""

    client: dict[str, Decimal]
    house: dict[str, Decimal]

    @property
    def deposits(self) -> Decimal:
        return self.client.get("DEPOSIT", ZERO)

    @property
    def reversed(self) -> Decimal:
        """Deposits taken back, on the day they were: what went through clearing and is no deposit."""
        return self.house.get("HOUSE_PAYMENT_CLEARING", ZERO) + self.deposits

    @property
    def withdrawals(self) -> Decimal:
        return self.house.get("HOUSE_WITHDRAWAL_CLEARING", ZERO)

    @property
    def net_deposits(self) -> Decimal:
        return self.deposits - self.reversed - self.withdrawals

    @property
    def client_profit(self) -> Decimal:
        """What trading left to clients: profits and losses, commission, swaps, and losses that the desk made good."""
        reasons = ("TRADE_PNL", "COMMISSION", "SWAP", "NEGATIVE_BALANCE_PROTECTION")
        return sum((self.client.get(reason, ZERO) for reason in reasons), start=ZERO)

    @property
    def house_profit(self) -> Decimal:
        """The other side of `client_profit`, from the house's own wallets."""
        kinds = ("HOUSE_TRADING_PNL", "HOUSE_COMMISSION", "HOUSE_SWAP", "HOUSE_NEGATIVE_BALANCE")
        return sum((self.house.get(kind, ZERO) for kind in kinds), start=ZERO)

    @property
    def is_mirrored(self) -> bool:
        return self.client_profit + self.house_profit == 0

    def spent(self, kind: str) -> Decimal:
        return -self.house.get(kind, ZERO)


def currencies(figures: Told, environment: str) -> list[str]:
    """Where anything moved over these days."""
    sets = [figure for one in figures.sets for figure in one.figures.all()]
    return sorted({one.currency for one in sets if one.name == "ledger.client" and one.environment == environment})


def ledger(figures: Told, environment: str, currency: str, days: Sequence[date]) -> Ledger:
    """The two sides of the ledger over some days."""
    sides: dict[str, dict[str, Decimal]] = {"ledger.client": {}, "ledger.house": {}}
    for day in days:
        for one in figures.of_day(day):
            if one.name in sides and (one.environment, one.currency) == (environment, currency):
                side = sides[one.name]
                side[one.label] = side.get(one.label, ZERO) + one.value
    return Ledger(client=sides["ledger.client"], house=sides["ledger.house"])
