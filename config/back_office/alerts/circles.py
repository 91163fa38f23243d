"""A circle is two or more people with live money who share one thing, in the order in which they came to it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

from config.back_office.alerts import streams

SQL = Path(__file__).resolve().parent / "sql"
_BANK_SQL = (SQL / "bank_circles.sql").read_text()
_ADDRESS_SQL = (SQL / "address_circles.sql").read_text()
_TRANSFER_SQL = (SQL / "transfer_circles.sql").read_text()

BANK_ACCOUNT, ADDRESS, TRANSFER = "BANK_ACCOUNT", "ADDRESS", "TRANSFER"


@dataclass(frozen=True, slots=True)
class Circle:
    """
    What they share, what it is called among staff, and who shares it.

    For a bank account `rows` are each one's own record of it; a transfer's sender comes first.
    """

    kind: str
    shared: str
    people: tuple[UUID, ...]
    rows: tuple[UUID, ...] = ()


def around_bank_accounts(people: Collection[UUID]) -> list[Circle]:
    """Everybody who has a bank account on file that one of these people has."""
    found = streams.fetch(_BANK_SQL, {"people": list(people)})
    return [Circle(BANK_ACCOUNT, last_four, tuple(owners), tuple(rows)) for _, owners, rows, last_four in found]


def around_addresses(
    addresses: Collection[str], *, since: datetime, within: timedelta, people_max: int, networks_passed_over: list[str]
) -> list[Circle]:
    """
    Everybody who acted from one of these network addresses since a moment.

    An address wanders from one client to the next: whoever came to it longer than `within` after all before them had
    left begins a circle of their own.
    """
    params = {
        "addresses": list(addresses),
        "networks": networks_passed_over,
        "people_max": people_max,
        "since": since,
    }
    return [
        Circle(ADDRESS, address, people)
        for address, *visits in streams.fetch(_ADDRESS_SQL, params)
        for people in _together(zip(*visits, strict=True), within)
    ]


def _together(visits: Iterable[tuple[UUID, datetime, datetime]], within: timedelta) -> Iterator[tuple[UUID, ...]]:
    """Who was there when, in the order of coming; parted where nobody was there for too long."""
    group: list[UUID] = []
    left_at: datetime | None = None
    for person, came_at, last_at in visits:
        if left_at is not None and came_at - left_at >= within:
            yield from [tuple(group)] if len(group) > 1 else []
            group = []
        group.append(person)
        left_at = last_at if left_at is None else max(left_at, last_at)
    yield from [tuple(group)] if len(group) > 1 else []


def of_transfers(people: Collection[UUID], *, since: datetime) -> list[Circle]:
    """Each pair of whom one, of these people, sent the other money since a moment."""
    params = {"people": list(people), "since": since, "earliest": streams.ids_from(since)}
    return [Circle(TRANSFER, "", pair) for pair in streams.fetch(_TRANSFER_SQL, params)]


def addresses_of(people: Iterable[UUID], *, since: datetime) -> list[str]:
    """The network addresses these people acted from since a moment."""
    found = streams.fetch(
        """
        SELECT DISTINCT host(e.address) FROM core_auditevent e
         WHERE e.owner = ANY (%(people)s) AND e.id >= %(earliest)s AND e.created_at > %(since)s
           AND e.actor_kind = 'CLIENT' AND e.address IS NOT NULL
        """,
        {"people": list(people), "since": since, "earliest": streams.ids_from(since)},
    )
    return [address for (address,) in found]


def addresses_in(events: Collection[UUID]) -> list[str]:
    """The network addresses that these audit events came from."""
    found = streams.fetch(
        "SELECT DISTINCT host(address) FROM core_auditevent WHERE id = ANY (%(events)s)", {"events": list(events)}
    )
    return [address for (address,) in found]
