"""What a withdrawal is looked at for before it is approved: reckoned for the few on the page, and for no others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_DOWN, Decimal
from typing import NamedTuple
from uuid import UUID

from django.conf import settings

from config.back_office.queues.names import Likeness, likeness
from core import db
from core.money import show
from wallets.models import Withdrawal

# Each lateral walks an index on the client or on one of their accounts, so what this costs grows with the page and with
# what one client has, never with the tables. Only live money counts: who trades on a demo account has not traded.
_FACTS_SQL = """
SELECT w.id, before.paid, deposited.total, deposited.last_at, traded.last_at, frozen.scopes, opened.number, shared.known
  FROM unnest(%(ids)s::uuid[]) AS asked (id)
  JOIN wallets_withdrawal w ON w.id = asked.id
  JOIN wallets_bankaccount b ON b.id = w.bank_account_id
 CROSS JOIN LATERAL (
       SELECT EXISTS (SELECT FROM wallets_withdrawal o
                       WHERE o.owner_id = w.owner_id AND o.id <> w.id AND o.status IN ('SENT', 'COMPLETED')) AS paid
       ) before
 CROSS JOIN LATERAL (
       SELECT coalesce(sum(d.amount) FILTER (WHERE d.currency = w.currency), 0) AS total,
              max(d.completed_at) AS last_at
         FROM wallets_deposit d
         JOIN wallets_wallet into_ ON into_.id = d.wallet_id AND into_.environment = 'LIVE'
        WHERE d.owner_id = w.owner_id AND d.status = 'COMPLETED'
       ) deposited
 CROSS JOIN LATERAL (
       SELECT max(latest.executed_at) AS last_at
         FROM accounts_tradingaccount a
        CROSS JOIN LATERAL (SELECT e.executed_at FROM trading_deal e
                             WHERE e.account_id = a.id ORDER BY e.id DESC LIMIT 1) latest
        WHERE a.owner_id = w.owner_id AND a.environment = 'LIVE'
       ) traded
 CROSS JOIN LATERAL (
       SELECT array_agg(f.scope ORDER BY f.scope) AS scopes
         FROM accounts_freeze f WHERE f.owner_id = w.owner_id AND f.lifted_at IS NULL
       ) frozen
 CROSS JOIN LATERAL (
       SELECT count(*) AS number
         FROM accounts_tradingaccount a
         JOIN trading_position p ON p.account_id = a.id AND p.status = 'OPEN'
        WHERE a.owner_id = w.owner_id AND a.environment = 'LIVE'
       ) opened
 CROSS JOIN LATERAL (
       SELECT EXISTS (SELECT FROM wallets_bankaccount s
                       WHERE s.number_hash = b.number_hash AND s.owner_id <> b.owner_id) AS known
       ) shared
"""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known about the client behind a withdrawal; amounts in its currency, live money alone."""

    paid_before: bool
    deposited: Decimal
    deposited_last: datetime | None
    traded_last: datetime | None
    frozen: tuple[str, ...]
    positions_open: int
    bank_account_shared: bool


class Check(NamedTuple):
    """One thing to look at: what it is, what was found, and how bad that is (`info`, `warning`, `danger`; or fine)."""

    title: str
    finding: str
    variant: str = ""


def facts_of(withdrawals: Sequence[UUID]) -> dict[UUID, Facts]:
    """The facts behind each of these withdrawals, in one query."""
    rows = db.fetch_all(_FACTS_SQL, {"ids": list(withdrawals)})
    return {
        id_: Facts(paid, deposited, deposited_last, traded_last, tuple(frozen or ()), positions, is_shared)
        for id_, paid, deposited, deposited_last, traded_last, frozen, positions, is_shared in rows
    }


def checks(withdrawal: Withdrawal, facts: Facts) -> list[Check]:
    """Every check with its finding; `withdrawal` comes with its owner and bank account."""
    return [
        _name(withdrawal),
        Check("First withdrawal", "Nothing was paid out to this client before.", "info")
        if not facts.paid_before
        else Check("First withdrawal", "No: this client has been paid before."),
        _bank_account(withdrawal),
        Check("Shared bank account", "Another client has this number on file too.", "danger")
        if facts.bank_account_shared
        else Check("Shared bank account", "No other client has this number on file."),
        _trading(facts),
        _share(withdrawal, facts),
        Check("Frozen", f"In force: {', '.join(facts.frozen)}.", "danger")
        if facts.frozen
        else Check("Frozen", "Nothing is frozen for this client."),
        Check("Open positions", f"{facts.positions_open} open on live accounts.", "info")
        if facts.positions_open
        else Check("Open positions", "None on live accounts."),
    ]


def _name(withdrawal: Withdrawal) -> Check:
    holder, client = withdrawal.bank_account.holder, withdrawal.owner.name
    match likeness(holder, client):
        case Likeness.SAME:
            return Check("Name", f"The account holder is {holder}, as the client.")
        case Likeness.SIMILAR:
            return Check("Name similar", f"The account holder is {holder}, the client {client}.", "warning")
    return Check("Name differs", f"The account holder is {holder}, the client {client}.", "danger")


def _bank_account(withdrawal: Withdrawal) -> Check:
    age = withdrawal.created_at - withdrawal.bank_account.created_at
    found = f"On file for {max(age.days, 0)} days when the money was asked for."
    is_new = age < timedelta(days=settings.BANK_ACCOUNT_NEW_DAYS)
    return Check("New bank account", found, "warning" if is_new else "")


def _trading(facts: Facts) -> Check:
    if facts.deposited_last is None:
        return Check("In and out", "Nothing was ever deposited.")
    since = f"the last deposit, of {facts.deposited_last:%Y-%m-%d %H:%M}"
    if facts.traded_last is None or facts.traded_last < facts.deposited_last:
        return Check("In and out", f"Not traded since {since}.", "warning")
    return Check("In and out", f"Traded since {since}.")


def _share(withdrawal: Withdrawal, facts: Facts) -> Check:
    currency = withdrawal.currency
    if not facts.deposited:
        return Check(
            "Never deposited", f"Nothing was deposited in {currency}: it came by trading or from others.", "warning"
        )
    percent = (withdrawal.amount * 100 / facts.deposited).quantize(Decimal(1), rounding=ROUND_DOWN)
    found = f"{percent} % of the {show(facts.deposited, currency)} {currency} that was deposited."
    is_large = percent >= settings.WITHDRAWAL_LARGE_PERCENT
    return Check("Large share of deposits", found, "warning" if is_large else "")
