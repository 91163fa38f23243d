"""What a client has, what came and went, and what they did with it; every list by an index of its owner's rows."""

from __future__ import annotations

from typing import Any

from config.back_office.cells import anchor
from config.back_office.clients.looks import (
    Look,
    Table,
    environment_label,
    listed,
    moment,
    money,
    number,
    status_label,
)
from trading import selectors as trading
from trading.models import Deal, Order, Position
from wallets import selectors
from wallets.models import Adjustment, BankAccount, Deposit, Entry, Transfer, Wallet, Withdrawal

# --- Wallets ----------------------------------------------------------------------------------------------------------


def wallets(look: Look) -> list[Table]:
    """All wallets, and the running statement of the one that is named; of the first if none is."""
    rows = list(selectors.wallets(look.client.pk).order_by("id"))  # sign-up opens three, and nothing opens more
    tables = [
        Table(
            "Wallets",
            ("Number", "Environment", "Kind", "Balance", "Held", "Available", "Credit", "Status", "Stopped"),
            [_wallet(look, row) for row in rows],
            remark="A number leads to the wallet's statement.",
        )
    ]
    if rows and look.may("wallets.view_entry"):
        named = look.request.GET.get("wallet", "")
        tables.append(_statement(look, next((row for row in rows if row.number == named), rows[0])))
    return tables


def _wallet(look: Look, row: Wallet) -> list[Any]:
    gates = {"deposits": row.deposits_enabled, "withdrawals": row.withdrawals_enabled, "trading": row.trading_enabled}
    return [
        anchor(look.link("wallets", wallet=row.number), row.number),
        environment_label(row.environment),
        row.kind,
        money(row.balance, row.currency),
        money(row.held, row.currency),
        money(row.balance - row.held, row.currency),
        money(row.credit, row.currency),
        status_label(row.status),
        listed(name for name, is_open in gates.items() if not is_open),
    ]


def _statement(look: Look, wallet: Wallet) -> Table:
    return look.table(
        "entries",
        selectors.entries(wallet),
        lambda row: _entry(look, row),
        title=f"Statement of {wallet.number} ({wallet.environment})",
        headers=("Line", "Time", "Type", "Reason", "Amount", "Balance after", "Reference", "Transaction"),
        key="wallet_version",
        remark="CREDIT_IN and CREDIT_OUT move the credit and leave the balance as it is.",
        wallet=wallet.number,
    )


def _entry(look: Look, row: Entry) -> list[Any]:
    return [
        row.wallet_version,
        moment(row.posted_at),
        row.transaction.type,
        row.reason,
        money(row.amount, row.currency),
        money(row.balance_after, row.currency),
        row.transaction.reference,
        look.to(row.transaction, str(row.transaction_id)),
    ]


# --- Cash -------------------------------------------------------------------------------------------------------------


def cash(look: Look) -> list[Table]:
    """What came from outside and went there, and what moved between wallets; each for those who may see it."""
    lists = {
        "wallets.view_deposit": _deposits,
        "wallets.view_withdrawal": _withdrawals,
        "wallets.view_transfer": _transfers,
        "wallets.view_adjustment": _adjustments,
        "wallets.view_bankaccount": _bank_accounts,
    }
    return [build(look) for permission, build in lists.items() if look.may(permission)]


def _deposits(look: Look) -> Table:
    def cells(row: Deposit) -> list[Any]:
        return [
            look.to(row, moment(row.created_at)),
            environment_label(row.wallet.environment),
            row.wallet.number,
            money(row.amount, row.currency),
            status_label(row.status),
            row.provider,
            row.provider_reference,
            moment(row.completed_at),
        ]

    return look.table(
        "deposits",
        selectors.deposits(look.client.pk),
        cells,
        title="Deposits",
        headers=("Time", "Environment", "Wallet", "Amount", "Status", "Provider", "Reference", "Completed"),
    )


def _withdrawals(look: Look) -> Table:
    def cells(row: Withdrawal) -> list[Any]:
        return [
            look.to(row, moment(row.created_at)),
            environment_label(row.wallet.environment),
            row.wallet.number,
            money(row.amount, row.currency),
            status_label(row.status),
            row.bank_account,
            row.bank_reference,
            moment(row.completed_at),
        ]

    return look.table(
        "withdrawals",
        selectors.withdrawals(look.client.pk),
        cells,
        title="Withdrawals",
        headers=("Time", "Environment", "Wallet", "Amount", "Status", "To", "Reference", "Completed"),
    )


def _transfers(look: Look) -> Table:
    def cells(row: Transfer) -> list[Any]:
        return [
            look.to(row, moment(row.created_at)),
            environment_label(row.source.environment),
            row.source.number,
            row.target.number,
            money(row.amount, row.currency),
        ]

    return look.table(
        "transfers",
        selectors.transfers(look.client.pk),
        cells,
        title="Transfers sent",
        headers=("Time", "Environment", "From", "To", "Amount"),
        remark="Those received from other clients stand in the statements of the wallets.",
    )


def _adjustments(look: Look) -> Table:
    def cells(row: Adjustment) -> list[Any]:
        return [
            look.to(row, moment(row.proposed_at)),
            environment_label(row.wallet.environment),
            row.wallet.number,
            row.direction,
            money(row.amount, row.currency),
            status_label(row.status),
            row.reason,
            moment(row.decided_at),
        ]

    return look.table(
        "adjustments",
        selectors.adjustments(look.client.pk),
        cells,
        title="Adjustments",
        headers=("Time", "Environment", "Wallet", "Direction", "Amount", "Status", "Why", "Decided"),
    )


def _bank_accounts(look: Look) -> Table:
    def cells(row: BankAccount) -> list[Any]:
        return [
            look.to(row, f"···{row.number_last_four}"),
            row.holder,
            row.bank_name,
            row.code_type,
            "yes" if row.is_default else "",
            moment(row.created_at),
        ]

    rows = selectors.bank_accounts(look.client.pk).order_by("id")  # few: `bank.BANK_ACCOUNTS_MAX`
    headers = ("Number", "Holder", "Bank", "Scheme", "Default", "Added")
    return Table("Bank accounts", headers, [cells(row) for row in rows])


# --- Trading ----------------------------------------------------------------------------------------------------------


def orders(look: Look) -> list[Table]:
    def cells(row: Order) -> list[Any]:
        return [
            look.to(row, moment(row.created_at)),
            environment_label(row.account.environment),
            row.account.number,
            row.instrument_id,
            f"{row.type} {row.side}",
            number(row.volume),
            number(row.price),
            status_label(row.status),
            row.reject_code or row.cancel_reason,
            number(row.price_filled),
        ]

    headers = ("Time", "Environment", "Account", "Symbol", "Order", "Lots", "Price", "Status", "Why", "Filled at")
    return [look.table("orders", trading.orders(look.client.pk), cells, title="Orders", headers=headers)]


def positions(look: Look) -> list[Table]:
    def cells(row: Position) -> list[Any]:
        return [
            look.to(row, str(row.number)),
            environment_label(row.account.environment),
            row.account.number,
            row.instrument_id,
            row.side,
            f"{number(row.volume)} of {number(row.volume_initial)}",
            number(row.price_open),
            status_label(row.status),
            money(row.profit, row.account.currency),
            money(row.swap, row.account.currency),
            money(row.commission, row.account.currency),
            moment(row.opened_at),
            moment(row.closed_at),
        ]

    headers = (
        "Number", "Environment", "Account", "Symbol", "Side", "Lots", "Price", "Status", "Profit", "Swap", "Commission",
        "Opened", "Closed",
    )  # fmt: skip
    return [look.table("positions", trading.positions(look.client.pk), cells, title="Positions", headers=headers)]


def deals(look: Look) -> list[Table]:
    def cells(row: Deal) -> list[Any]:
        return [
            look.to(row, moment(row.executed_at)),
            environment_label(row.account.environment),
            row.account.number,
            look.to(row.position, str(row.position.number)),
            row.instrument_id,
            f"{row.entry} {row.side}",
            row.cause,
            number(row.volume),
            number(row.price),
            money(row.profit, row.account.currency),
            money(row.commission, row.account.currency),
        ]

    headers = (
        "Time", "Environment", "Account", "Position", "Symbol", "Deal", "Cause", "Lots", "Price", "Profit",
        "Commission",
    )  # fmt: skip
    return [look.table("deals", trading.deals(look.client.pk), cells, title="Deals", headers=headers)]
