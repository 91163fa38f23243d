"""A circle is two or more people with live money who share one thing, in the order in which they came to it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
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
    addresses: Collection[str], *, since: datetime, people_max: int, networks_passed_over: list[str]
) -> list[Circle]:
    """Everybody who acted from one of these network addresses since a moment."""
    params = {
        "addresses": list(addresses),
        "networks": networks_passed_over,
        "people_max": people_max,
        "since": since,
    }
    return [Circle(ADDRESS, address, tuple(owners)) for address, owners in streams.fetch(_ADDRESS_SQL, params)]


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
