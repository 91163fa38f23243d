"""
What each rule finds among new rows: who it is about, what it was found in, and the figures.

Detection only reads. It looks at each new row together with everything that happened before it, so a row that becomes
visible late is judged as if it had been there in time.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

from config.back_office.alerts import circles, rings, streams
from config.back_office.alerts.circles import Circle
from config.back_office.alerts.models import Alert
from config.back_office.alerts.rules import Code, Rule
from config.back_office.alerts.streams import Row, Stream
from core.errors import plain
from core.money import show

SQL = Path(__file__).resolve().parent / "sql"
_IN_AND_OUT_SQL = (SQL / "in_and_out.sql").read_text()
_WAKING_SQL = (SQL / "waking.sql").read_text()

_LARGE_DEPOSITS_SQL = """
SELECT t.owner_id, t.id, d.amount, d.currency, t.posted_at
  FROM wallets_ledgertransaction t
  JOIN wallets_deposit d ON d.transaction_id = t.id
 WHERE t.id = ANY (%(ids)s) AND d.amount >= (%(amounts)s::jsonb ->> d.currency)::numeric
 ORDER BY t.id
"""

_SMALL_DEPOSITS_SQL = """
SELECT d.owner_id, d.transaction_id, d.amount, d.currency, d.completed_at
  FROM wallets_deposit d
  JOIN wallets_wallet w ON w.id = d.wallet_id AND w.environment = 'LIVE'
 WHERE d.owner_id = ANY (%(people)s) AND d.transaction_id IS NOT NULL AND d.completed_at > %(since)s
   AND d.amount < (%(amounts)s::jsonb ->> d.currency)::numeric
 ORDER BY d.completed_at, d.id
"""

#: Others named in one alert; of a larger crowd the first to come.
PEOPLE_NAMED_MAX = 20


@dataclass(frozen=True, slots=True)
class Candidate:
    """Something a rule found; whether it was found before is for `services.raising` to say."""

    owner: UUID
    rule: Rule
    fingerprint: str
    facts: dict[str, Any]

    @property
    def code(self) -> str:
        return self.rule.row.code


@dataclass(frozen=True, slots=True)
class Movement:
    """Money that came in or was asked out."""

    owner: UUID
    id: UUID
    amount: Decimal
    currency: str
    at: datetime

    def told(self) -> dict[str, Any]:
        return {"id": str(self.id), "amount": show(self.amount, self.currency), "at": plain(self.at)}


def look(stream: str, rows: Sequence[Row], rules: Mapping[str, Rule]) -> list[Candidate]:
    """Everything that the rules in force find in these rows of a stream."""
    if not rows:
        return []
    finders = FINDERS[stream]
    return [candidate for code in finders if code in rules for candidate in finders[code](rules[code], rows)]


# --- Money ----------------------------------------------------------------------------------------------------------


def large_deposits(rule: Rule, rows: Sequence[Row]) -> Iterator[Candidate]:
    """Each deposit from the amount on that the rule names for its currency."""
    amounts = rule.terms["amounts"]
    for found in streams.fetch(_LARGE_DEPOSITS_SQL, {"ids": _ids(rows), "amounts": _json(amounts)}):
        deposit = Movement(*found)
        facts = {
            "currency": deposit.currency,
            "from": show(amounts[deposit.currency], deposit.currency),
            "deposits": [deposit.told()],
        }
        yield Candidate(deposit.owner, rule, str(deposit.id), facts)


def structuring(rule: Rule, rows: Sequence[Row]) -> Iterator[Candidate]:
    """
    Several deposits within some days, each below the amount and together not.

    A deposit that an alert has named counts for no second one.
    """
    amounts, window = rule.terms["amounts"], timedelta(days=rule.terms["days"])
    people = {row.owner for row in rows}
    params = {"people": list(people), "since": min(row.at for row in rows) - window, "amounts": _json(amounts)}
    named = {
        deposit["id"]
        for facts in Alert.objects.filter(owner__in=people, code=Code.STRUCTURING).values_list("facts", flat=True)
        for deposit in facts["deposits"]
    }
    series: dict[tuple[UUID, str], list[Movement]] = defaultdict(list)
    for found in streams.fetch(_SMALL_DEPOSITS_SQL, params):
        deposit = Movement(*found)
        if str(deposit.id) in named:
            continue
        key = (deposit.owner, deposit.currency)
        recent = [one for one in series[key] if one.at > deposit.at - window] + [deposit]
        total = sum((one.amount for one in recent), Decimal(0))
        if len(recent) < rule.terms["deposits_min"] or total < amounts[deposit.currency]:
            series[key] = recent
            continue
        series[key] = []
        facts = {
            "currency": deposit.currency,
            "from": show(amounts[deposit.currency], deposit.currency),
            "total": show(total, deposit.currency),
            "days": rule.terms["days"],
            "deposits": [one.told() for one in recent],
        }
        yield Candidate(deposit.owner, rule, str(deposit.id), facts)


def in_and_out(rule: Rule, rows: Sequence[Row]) -> Iterator[Candidate]:
    """
    Withdrawals of most of what was paid in shortly before and hardly traded with.

    Once per last deposit: whoever takes it out in parts is told of once.
    """
    terms = rule.terms
    params = {
        "ids": _ids(rows),
        "amounts": _json(terms["amounts"]),
        "days": terms["days"],
        "percent": terms["percent"],
        "lots": terms["lots"],
        "earliest": streams.ids_from(min(row.at for row in rows) - timedelta(days=terms["days"])),
    }
    for *found, ids, amounts, moments, paid_in, paid_out, lots in streams.fetch(_IN_AND_OUT_SQL, params):
        withdrawal = Movement(*found)
        deposits = [
            Movement(withdrawal.owner, id_, amount, withdrawal.currency, at)
            for id_, amount, at in zip(ids, amounts, moments, strict=True)
        ]
        facts = {
            "currency": withdrawal.currency,
            "paid_in": show(paid_in, withdrawal.currency),
            "paid_out": show(paid_out, withdrawal.currency),
            "percent": plain(terms["percent"]),
            "lots": plain(lots),
            "lots_from": plain(terms["lots"]),
            "days": terms["days"],
            "deposits": [deposit.told() for deposit in deposits],
            "withdrawals": [withdrawal.told()],
        }
        yield Candidate(withdrawal.owner, rule, str(deposits[-1].id), facts)


def waking_by_deposit(rule: Rule, rows: Sequence[Row]) -> Iterator[Candidate]:
    """Large deposits of clients who had long been dormant."""
    yield from _waking(rule, rows, deposits=_ids(rows), withdrawals=[])


def waking_by_withdrawal(rule: Rule, rows: Sequence[Row]) -> Iterator[Candidate]:
    """Large withdrawals of clients who had long been dormant."""
    yield from _waking(rule, rows, deposits=[], withdrawals=_ids(rows))


def _waking(rule: Rule, rows: Sequence[Row], *, deposits: list[UUID], withdrawals: list[UUID]) -> Iterator[Candidate]:
    """Once per time they woke up, whatever they moved first."""
    terms = rule.terms
    reach = timedelta(days=terms["days"] + terms["days_awake"])
    params = {
        "deposits": deposits,
        "withdrawals": withdrawals,
        "amounts": _json(terms["amounts"]),
        "days": terms["days"],
        "days_awake": terms["days_awake"],
        "earliest": streams.ids_from(min(row.at for row in rows) - reach),
    }
    for owner, id_, what, amount, currency, at, woke_at in streams.fetch(_WAKING_SQL, params):
        movement = Movement(owner, id_, amount, currency, at)
        facts = {
            "currency": currency,
            "from": show(terms["amounts"][currency], currency),
            "days": terms["days"],
            "woke_at": plain(woke_at),
            "deposits" if what == "DEPOSIT" else "withdrawals": [movement.told()],
        }
        yield Candidate(owner, rule, plain(woke_at), facts)


# --- People ---------------------------------------------------------------------------------------------------------


def shared_bank_accounts(rule: Rule, rows: Sequence[Row]) -> Iterator[Candidate]:
    """Whoever put a bank account on file that others had before them, once they are so many."""
    for circle in circles.around_bank_accounts({row.owner for row in rows}):
        for place in range(rule.terms["people_min"] - 1, len(circle.people)):
            facts = {"last_four": circle.shared, "people": _named(circle.people[:place])}
            yield Candidate(circle.people[place], rule, str(circle.rows[place]), facts)


def shared_addresses(rule: Rule, rows: Sequence[Row]) -> Iterator[Candidate]:
    """Whoever acted from a network address that others had used before them, once they are so many."""
    yield from _at_addresses(rule, rows, circles.addresses_in(_ids(rows)))


def shared_addresses_of_newcomers(rule: Rule, rows: Sequence[Row]) -> Iterator[Candidate]:
    """The same for people who now have live money, and acted from there before."""
    since = min(row.at for row in rows) - timedelta(days=rule.terms["days"])
    yield from _at_addresses(rule, rows, circles.addresses_of({row.owner for row in rows}, since=since))


def _at_addresses(rule: Rule, rows: Sequence[Row], addresses: list[str]) -> Iterator[Candidate]:
    terms = rule.terms
    found = circles.around_addresses(
        addresses,
        since=min(row.at for row in rows) - timedelta(days=terms["days"]),
        within=timedelta(days=terms["days"]),
        people_max=terms["people_max"],
        networks_passed_over=terms["networks_passed_over"],
    )
    for circle in found:
        for place in range(terms["people_min"] - 1, len(circle.people)):
            facts = {"address": circle.shared, "days": terms["days"], "people": _named(circle.people[:place])}
            yield Candidate(circle.people[place], rule, circle.shared, facts)


def rings_by_bank_account(rule: Rule, rows: Sequence[Row]) -> Iterator[Candidate]:
    """Referrers with referees who share bank accounts, with them or among each other."""
    yield from _rings(rule, rows, circles.around_bank_accounts({row.owner for row in rows}))


def rings_by_address(rule: Rule, rows: Sequence[Row]) -> Iterator[Candidate]:
    """The same for network addresses."""
    since = min(row.at for row in rows) - timedelta(days=rule.terms["days"])
    yield from _rings(rule, rows, rings.addresses(rule, circles.addresses_in(_ids(rows)), since=since))


def rings_by_transfer(rule: Rule, rows: Sequence[Row]) -> Iterator[Candidate]:
    """The same for money they move to each other."""
    since = min(row.at for row in rows) - streams.SLACK
    yield from _rings(rule, rows, circles.of_transfers({row.owner for row in rows}, since=since))


def rings_of_newcomers(rule: Rule, rows: Sequence[Row]) -> Iterator[Candidate]:
    """The same for people who now have live money, and shared something before."""
    since = min(row.at for row in rows) - timedelta(days=rule.terms["days"])
    people = {row.owner for row in rows}
    found = circles.around_bank_accounts(people)
    found += rings.addresses(rule, circles.addresses_of(people, since=since), since=since)
    yield from _rings(rule, rows, found)


def _rings(rule: Rule, rows: Sequence[Row], found: list[Circle]) -> Iterator[Candidate]:
    """A referrer is told of again only once somebody takes part whom no alert has named yet."""
    since = min(row.at for row in rows) - timedelta(days=rule.terms["days"])
    for referrer in sorted(rings.referrers_in(found)):
        links = rings.links_of(referrer, rule, since=since)
        alerts = Alert.objects.filter(owner=referrer, code=Code.REFERRAL_RING).values_list("facts", flat=True)
        known = {person["id"] for facts in alerts for person in facts["people"]}
        newest = max((person for person in links if str(person) not in known), default=None)
        if newest is None or len(links) < rule.terms["referees_min"]:
            continue
        facts = {
            "days": rule.terms["days"],
            "people": [{"id": str(person), "by": sorted(links[person])} for person in sorted(links)],
            "commissions": rings.commissions(referrer, links, since=since),
        }
        yield Candidate(referrer, rule, f"{newest}", facts)


# --- Helpers --------------------------------------------------------------------------------------------------------


def _ids(rows: Iterable[Row]) -> list[UUID]:
    return [row.id for row in rows]


def _json(amounts: Mapping[str, Decimal]) -> str:
    return json.dumps(plain(dict(amounts)))


def _named(people: Sequence[UUID]) -> list[dict[str, Any]]:
    return [{"id": str(person)} for person in people[:PEOPLE_NAMED_MAX]]


Finder = Callable[[Rule, Sequence[Row]], Iterator[Candidate]]

#: Which rules look at what is new in a stream.
FINDERS: Mapping[str, Mapping[str, Finder]] = {
    Stream.DEPOSITS: {
        Code.LARGE_DEPOSIT: large_deposits,
        Code.STRUCTURING: structuring,
        Code.DORMANT_WAKING: waking_by_deposit,
    },
    Stream.WITHDRAWALS: {Code.IN_AND_OUT: in_and_out, Code.DORMANT_WAKING: waking_by_withdrawal},
    Stream.LIVE_WALLETS: {
        Code.SHARED_BANK_ACCOUNT: shared_bank_accounts,
        Code.SHARED_ADDRESS: shared_addresses_of_newcomers,
        Code.REFERRAL_RING: rings_of_newcomers,
    },
    Stream.BANK_ACCOUNTS: {
        Code.SHARED_BANK_ACCOUNT: shared_bank_accounts,
        Code.REFERRAL_RING: rings_by_bank_account,
    },
    Stream.ADDRESSES: {Code.SHARED_ADDRESS: shared_addresses, Code.REFERRAL_RING: rings_by_address},
    Stream.TRANSFERS: {Code.REFERRAL_RING: rings_by_transfer},
}
