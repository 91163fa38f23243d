"""The side bar: what a day's work needs, in the order it is needed; nobody is shown a door that is locked to them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from django.apps import apps
from django.http import HttpRequest
from django.urls import reverse

from config.back_office.dashboards import overview
from config.back_office.pages import PAGES


class Door(NamedTuple):
    """
    A page by its name, or a model's list by its label (`wallets.Withdrawal`); icons are Material Symbols.

    `index` is the first page, which shows the overview to whoever may see it.
    """

    to: str
    title: str
    icon: str


#: Section by section.
SECTIONS: dict[str, tuple[Door, ...]] = {
    "Overview": (
        Door("index", "Overview", "dashboard"),
        Door("dashboards_money", "Money", "payments"),
        Door("dashboards_risk", "Risk", "monitoring"),
        Door("dashboards_operations", "Operations", "speed"),
    ),
    "Clients": (
        Door("find", "Find a client", "person_search"),
        Door("accounts.User", "People", "group"),
        Door("accounts.TradingAccount", "Trading accounts", "account_balance_wallet"),
        Door("wallets.BankAccount", "Bank accounts", "account_balance"),
        Door("freezes", "Freezes", "ac_unit"),
    ),
    "Queues": (
        Door("queues", "All queues", "inbox"),
        Door("withdrawal_queue", "Withdrawals", "north_east"),
        Door("verification_queue", "Verifications", "badge"),
        Door("deposit_queue", "Deposits", "south_west"),
        Door("adjustment_queue", "Adjustments", "tune"),
        Door("commission_queue", "Commissions", "percent"),
        Door("accounts.ReferrerChange", "Referrer changes", "swap_horiz"),
        Door("alerts.Alert", "Alerts", "notifications"),
    ),
    "Trading": (
        Door("trading.Order", "Orders", "receipt_long"),
        Door("trading.Position", "Positions", "candlestick_chart"),
        Door("trading.Deal", "Deals", "handshake"),
        Door("trading.MarginEvent", "Margin events", "warning"),
        Door("trading.Instrument", "Instruments", "currency_exchange"),
        Door("trading.QuoteAlert", "Refused quotes", "report"),
        Door("trading.RiskTask", "Risk tasks", "pending_actions"),
        Door("kill_switches", "Kill switches", "emergency_home"),
    ),
    "Referrals": (
        Door("referrals.Commission", "Commissions", "percent"),
        Door("referrals.CommissionPlan", "Plans", "description"),
        Door("referrals.SignupBonus", "Bonuses", "redeem"),
        Door("referrals.Debt", "Debts", "undo"),
    ),
    "Evidence": (
        Door("wallets.LedgerTransaction", "Ledger transactions", "receipt"),
        Door("wallets.Entry", "Entries", "list_alt"),
        Door("wallets.Wallet", "Wallets", "wallet"),
        Door("wallets.Deposit", "Deposits", "south_west"),
        Door("wallets.Withdrawal", "Withdrawals", "north_east"),
        Door("wallets.Adjustment", "Adjustments", "tune"),
        Door("wallets.Seal", "Seals", "verified"),
        Door("audit", "Audit events", "history"),
        Door("keys", "Idempotency keys", "key"),
        Door("jobs", "Jobs", "schedule"),
        Door("reconciliation", "Reconciliation", "balance"),
        Door("exports.Export", "Exports", "folder_zip"),
        Door("export_instrument", "Export an instrument", "download"),
    ),
    "Who works here": (
        Door("staff", "Staff", "badge"),
        Door("sessions", "Sessions", "devices"),
        Door("recovery_codes", "Recovery codes", "lock_reset"),
    ),
}


def side_bar(request: HttpRequest) -> list[dict[str, Any]]:
    """What unfold's side bar is drawn from, for this member of staff."""
    sections = [
        {"title": title, "separator": True, "collapsible": True, "items": list(_items(request, doors))}
        for title, doors in SECTIONS.items()
    ]
    return [section for section in sections if section["items"]]


def _items(request: HttpRequest, doors: tuple[Door, ...]) -> Iterator[dict[str, Any]]:
    for door in doors:
        link, permission = _behind(door.to)
        if request.user.has_perm(permission):
            yield {"title": door.title, "icon": door.icon, "link": link}


def _behind(to: str) -> tuple[str, str]:
    """Where a door leads, and the permission it takes."""
    if to == "index":
        return reverse("admin:index"), overview.PERMISSION
    if to in PAGES:
        return reverse(f"admin:{to}"), PAGES[to].permission
    options = apps.get_model(to)._meta
    return (
        reverse(f"admin:{options.app_label}_{options.model_name}_changelist"),
        f"{options.app_label}.view_{options.model_name}",
    )
