"""The sections of a client's page, and what it takes to be shown each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from config.back_office.clients import money, people, timeline
from config.back_office.clients.looks import Look, Table

MONEY = "wallets.view_wallet"


@dataclass(frozen=True, slots=True)
class Section:
    """One tab: what builds it, and every permission it takes. Whatever shows money takes MONEY."""

    key: str
    title: str
    build: Callable[[Look], list[Table]]
    permissions: tuple[str, ...]


SECTIONS = {
    section.key: section
    for section in (
        Section("overview", "Overview", people.overview, ("accounts.view_user",)),
        Section("wallets", "Wallets", money.wallets, (MONEY,)),
        Section("orders", "Orders", money.orders, (MONEY, "trading.view_order")),
        Section("positions", "Positions", money.positions, (MONEY, "trading.view_position")),
        Section("deals", "Deals", money.deals, (MONEY, "trading.view_deal")),
        Section("cash", "Cash", money.cash, (MONEY, "wallets.view_deposit")),
        Section("referrals", "Referrals", people.referred, (MONEY, "referrals.view_commission")),
        Section("access", "Access", people.access, ("accounts.view_apitoken",)),
        Section("freezes", "Freezes", people.freezes, ("accounts.view_freeze",)),
        Section("notes", "Notes", people.notes, ("clients.view_clientnote",)),
        Section("timeline", "Timeline", timeline.timeline, (MONEY, "trading.view_order")),
    )
}
