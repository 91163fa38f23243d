"""What goes into an export: each table says which of its rows concern the subject, and which of those the period."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from uuid import UUID

from django.apps import apps
from django.db.models import Exists, Field, Model, OuterRef, Q, QuerySet

from accounts.models import ApiToken, Freeze, ReferrerChange, TradingAccount, User, Verification
from config.back_office.alerts.models import Alert, AlertNote
from config.back_office.exports.periods import Period
from core.ids import uuid7_at
from core.models import AuditEvent, KillSwitch
from referrals.models import Commission, Debt, DebtSettlement, SignupBonus
from trading.models import (
    Deal,
    Instrument,
    MarginEvent,
    Order,
    Position,
    PriceBatch,
    QuoteTick,
    Swap,
    TradingSession,
)
from wallets.models import (
    HOUSE_KINDS,
    Adjustment,
    BankAccount,
    Deposit,
    Entry,
    LedgerTransaction,
    Transfer,
    Wallet,
    Withdrawal,
)

#: Columns that never leave the desk, whatever table they are in.
WITHHELD = frozenset({"password", "is_superuser", "idempotency_digest", "number_encrypted", "number_hash"})


@dataclass(frozen=True, slots=True)
class Scope:
    """Whom or what an export is about, and when."""

    period: Period
    client: UUID | None = None
    symbol: str | None = None


Chosen = Callable[[Scope], Q]


@dataclass(frozen=True)
class Table:
    """
    One table of an export, its files named after it.

    `coverage` says in a sentence which rows of the subject are in it. `account` is the column that names a trading
    account, whose wallet's chain the export then gives.
    """

    name: str
    model: type[Model]
    concerns: Chosen
    during: Chosen
    coverage: str
    withheld: frozenset[str] = frozenset()
    account: str | None = None

    @cached_property
    def fields(self) -> tuple[Field[Any, Any], ...]:
        """The columns that are exported, in the model's order."""
        hidden = WITHHELD | self.withheld
        return tuple(field for field in self.model._meta.concrete_fields if field.name not in hidden)

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(field.name for field in self.fields)

    def rows(self, scope: Scope) -> QuerySet[Any, tuple[Any, ...]]:
        """The rows, in the order of their key, each as a tuple of `columns`."""
        chosen = self.concerns(scope) & self.during(scope)
        return QuerySet[Any](self.model).filter(chosen).order_by("pk").values_list(*self.columns)


# --- Periods --------------------------------------------------------------------------------------------------------


def _as_it_stands(_scope: Scope) -> Q:
    return Q()


def _at(moment: str) -> Chosen:
    """What happened in the period."""

    def chosen(scope: Scope) -> Q:
        return Q(**{f"{moment}__gte": scope.period.start, f"{moment}__lt": scope.period.end})

    return chosen


def _alive(began: str, *changed: str, still: Q) -> Chosen:
    """What began before the period's end and was not over before its start: still open, or changed since."""

    def chosen(scope: Scope) -> Q:
        is_over_later = still
        for column in changed:
            is_over_later |= Q(**{f"{column}__gte": scope.period.start})
        return Q(**{f"{began}__lt": scope.period.end}) & is_over_later

    return chosen


def _received(scope: Scope) -> Q:
    """A tick's id begins with the moment it was received, so the key alone answers."""
    return Q(id__gte=uuid7_at(scope.period.start, 0), id__lt=uuid7_at(scope.period.end, 0))


#: What staff have noted about clients: the model of an app above this one, so it is asked for by its name.
NOTES: str = "clients.ClientNote"

STANDS = "As it was at the moment of the snapshot."


def _happened(moment: str) -> str:
    return f"Rows whose {moment} lies in the period."


ALIVE = "Rows that were open at some time in the period, as they were at the moment of the snapshot."

# --- Subjects -------------------------------------------------------------------------------------------------------


def _theirs(scope: Scope) -> Q:
    return Q(owner=scope.client)


def _with_their_money(key: str) -> Chosen:
    """By the postings that moved one of the client's wallets, whoever asked for them: others send transfers too."""

    def chosen(scope: Scope) -> Q:
        entries = Entry.objects.filter(_theirs(scope) & _at("posted_at")(scope))
        return Q(**{f"{key}__in": entries.values("transaction")})

    return chosen


def _of_the_instrument(scope: Scope) -> Q:
    return Q(instrument=scope.symbol)


def _switches(scope: Scope) -> tuple[str, ...]:
    return ("TRADING", f"TRADING:{scope.symbol}")


def _about_the_instrument(scope: Scope) -> Q:
    switch, instrument = KillSwitch._meta.label_lower, Instrument._meta.label_lower
    return Q(object_type=switch, object_id__in=_switches(scope)) | Q(object_type=instrument, object_id=scope.symbol)


def _with_its_prices(scope: Scope) -> Q:
    return Q(Exists(QuoteTick.objects.filter(batch=OuterRef("pk"), instrument=scope.symbol)))


# --- The tables -----------------------------------------------------------------------------------------------------

WITHDRAWALS_OPEN = Q(status__in=Withdrawal.HOLDING)
DEPOSITS_OPEN = Q(status__in=[Deposit.Status.CREATED, Deposit.Status.PENDING])
COMMISSIONS_OPEN = Q(status__in=[Commission.Status.PENDING, Commission.Status.APPROVED])

_ORDERS = _alive("created_at", "updated_at", still=Q(status=Order.Status.WORKING))
_POSITIONS = _alive("opened_at", "closed_at", still=Q(closed_at__isnull=True))


def _trading(concerns: Chosen) -> tuple[Table, ...]:
    return (
        Table("orders", Order, concerns, _ORDERS, ALIVE, account="account"),
        Table("positions", Position, concerns, _POSITIONS, ALIVE, account="account"),
        Table("deals", Deal, concerns, _at("executed_at"), _happened("executed_at"), account="account"),
        Table("swaps", Swap, concerns, _at("charged_at"), _happened("charged_at"), account="account"),
    )


_CLIENT_TABLES = (
    Table("profile", User, lambda scope: Q(pk=scope.client), _as_it_stands, STANDS),
    Table(
        "verifications",
        Verification,
        _theirs,
        _alive("created_at", "reviewed_at", still=Q(reviewed_at__isnull=True)),
        ALIVE,
    ),
    Table(
        "referrer_changes",
        ReferrerChange,
        _theirs,
        _alive("proposed_at", "decided_at", still=Q(decided_at__isnull=True)),
        ALIVE,
    ),
    Table("trading_accounts", TradingAccount, _theirs, _as_it_stands, STANDS),
    Table("wallets", Wallet, _theirs, _as_it_stands, STANDS),
    Table("bank_accounts", BankAccount, _theirs, _as_it_stands, f"{STANDS} Numbers by their last four alone."),
    Table("api_tokens", ApiToken, _theirs, _as_it_stands, STANDS, withheld=frozenset({"digest"})),
    Table(
        "ledger_transactions",
        LedgerTransaction,
        _with_their_money("pk"),
        _as_it_stands,
        "Every transaction that moved one of the client's wallets in the period, whoever asked for it.",
    ),
    Table(
        "entries",
        Entry,
        _theirs,
        _at("posted_at"),
        f"Legs in the client's wallets, and the house's side of them. {_happened('posted_at')}",
    ),
    Table("deposits", Deposit, _theirs, _alive("created_at", "updated_at", still=DEPOSITS_OPEN), ALIVE),
    Table("withdrawals", Withdrawal, _theirs, _alive("created_at", "updated_at", still=WITHDRAWALS_OPEN), ALIVE),
    Table(
        "transfers",
        Transfer,
        _with_their_money("transaction"),
        _as_it_stands,
        "Transfers into and out of the client's wallets in the period.",
    ),
    *_trading(_theirs),
    Table("margin_events", MarginEvent, _theirs, _at("created_at"), _happened("created_at")),
    Table(
        "commissions",
        Commission,
        _theirs,
        _alive("created_at", "paid_at", "reversed_at", still=COMMISSIONS_OPEN),
        f"What the client got for referring others. {ALIVE}",
    ),
    Table("debts", Debt, _theirs, _alive("created_at", "settled_at", still=Q(settled_at__isnull=True)), ALIVE),
    Table("debt_settlements", DebtSettlement, _theirs, _at("settled_at"), _happened("settled_at")),
    Table(
        "signup_bonuses", SignupBonus, _theirs, _alive("granted_at", "ended_at", still=Q(ended_at__isnull=True)), ALIVE
    ),
    Table(
        "adjustments",
        Adjustment,
        _theirs,
        _alive("proposed_at", "decided_at", still=Q(decided_at__isnull=True)),
        ALIVE,
    ),
    Table("freezes", Freeze, _theirs, _alive("placed_at", "lifted_at", still=Q(lifted_at__isnull=True)), ALIVE),
    Table("alerts", Alert, _theirs, _alive("raised_at", "closed_at", still=Q(closed_at__isnull=True)), ALIVE),
    Table("alert_notes", AlertNote, _theirs, _at("written_at"), _happened("written_at")),
    Table("audit_events", AuditEvent, _theirs, _at("created_at"), _happened("created_at")),
)

_INSTRUMENT_TABLES = (
    Table("instrument", Instrument, lambda scope: Q(pk=scope.symbol), _as_it_stands, STANDS),
    Table("trading_sessions", TradingSession, _of_the_instrument, _as_it_stands, STANDS),
    *_trading(_of_the_instrument),
    Table("quotes", QuoteTick, _of_the_instrument, _received, _happened("received_at")),
    Table(
        "price_batches",
        PriceBatch,
        _with_its_prices,
        _at("received_at"),
        f"Batches that brought a price of the instrument. {_happened('received_at')}",
    ),
    Table("kill_switches", KillSwitch, lambda scope: Q(pk__in=_switches(scope)), _as_it_stands, STANDS),
    Table(
        "audit_events",
        AuditEvent,
        _about_the_instrument,
        _at("created_at"),
        f"About the instrument and the switches that stop it. {_happened('created_at')}",
    ),
)


def tables(scope: Scope) -> tuple[Table, ...]:
    """The tables of a client's export, or of an instrument's."""
    if scope.client is None:
        return _INSTRUMENT_TABLES
    notes = Table("notes", apps.get_model(NOTES), _theirs, _at("created_at"), _happened("created_at"))
    return (*_CLIENT_TABLES, notes)


def wallets_of(client: UUID) -> QuerySet[Wallet]:
    """The wallets whose chains a client's export gives."""
    return Wallet.objects.filter(owner_id=client).exclude(kind__in=HOUSE_KINDS).order_by("pk")


def wallets_behind(accounts: list[UUID]) -> QuerySet[Wallet]:
    """The wallets that these trading accounts trade with."""
    return Wallet.objects.filter(trading_account__in=accounts).order_by("pk")
