"""No column leaves the desk without a sentence that says what it is, in what unit, and what it refers to."""

from __future__ import annotations

from typing import Any, NamedTuple

from django.contrib.postgres.fields import ArrayField
from django.db import models

from config.back_office.exports.tables import Table

#: Headers of the dictionary's CSV.
COLUMNS = ("table", "column", "type", "unit", "may_be_empty", "values", "refers_to", "meaning")

_CLIENT = "The client whose row it is."
_STAFF = "The member of staff who did so."
_COUNTERPART = "The ledger transaction that posted it."

#: What a column means wherever it is; a table's own entry (`table.column`) or its model's help text comes before.
COMMON = {
    "account": "The trading account.",
    "amount": "How much.",
    "approved_at": "When it was approved.",
    "approved_by": "The member of staff who approved it.",
    "commission": "What the desk charged for it.",
    "completed_at": "When it was completed.",
    "created_at": "When the row was made.",
    "currency": "The currency of its amounts.",
    "environment": "Play money (DEMO) or real money (LIVE); the two never meet.",
    "expires_at": "When it ends by itself.",
    "id": "The row's own id (UUID version 7).",
    "instrument": "The instrument's symbol.",
    "kind": "Of which kind it is.",
    "leverage": "The account's leverage: how many units of exposure one unit of margin carries.",
    "name": "Its name.",
    "number": "The public number.",
    "owner": _CLIENT,
    "position": "The position it belongs to.",
    "quoted_at": "When the source says the price was made.",
    "reason": "Why, in words.",
    "received_at": "When the desk received it.",
    "request_id": "The request that did it, as the logs have it.",
    "reviewed_at": "When a member of staff decided.",
    "reviewed_by": "The member of staff who decided.",
    "side": "BUY gains when the price rises, SELL when it falls.",
    "status": "Where it stands.",
    "transaction": _COUNTERPART,
    "updated_at": "When the row was last changed.",
    "volume": "How many lots.",
    "wallet": "The wallet it moves.",
}

OWN = {
    "api_tokens.expires_at": "When the token ends by itself.",
    "api_tokens.last_used_at": "When it was last used; empty if never.",
    "api_tokens.name": "What the client calls the token.",
    "api_tokens.prefix": "The beginning of the token, to tell it from others; the token itself is not kept.",
    "api_tokens.revoked_at": "When it was revoked; empty if it was not.",
    "api_tokens.scopes": "What the token may be used for.",
    "audit_events.action": "What was done, as a dotted name.",
    "audit_events.actor_id": "Who did it.",
    "audit_events.actor_kind": "Whether a client, a member of staff, a payment provider or the system did it.",
    "audit_events.address": "The network address it came from.",
    "audit_events.after": "The changed fields afterwards.",
    "audit_events.before": "The changed fields before.",
    "audit_events.created_at": "When it was done.",
    "audit_events.object_id": "The key of the row it was done to.",
    "audit_events.object_type": "The table of the row it was done to.",
    "bank_accounts.bank_name": "The bank.",
    "bank_accounts.branch": "The bank's branch.",
    "bank_accounts.code_type": "How the bank is identified.",
    "bank_accounts.holder": "Whose account it is at the bank.",
    "bank_accounts.is_default": "Whether withdrawals go there unless told otherwise.",
    "bank_accounts.number_last_four": "The last four characters of the account number; the whole is never exported.",
    "commissions.amount": "What the client gets.",
    "commissions.client": "The referred client who traded or paid in.",
    "commissions.deal": "The deal it is for; empty if it is for a first deposit.",
    "commissions.deposit": "The first deposit it is for; empty if it is for a deal.",
    "commissions.level": "1 if the client referred them, 2 if somebody did whom the client referred, and so on.",
    "commissions.owner": "The client who gets it.",
    "commissions.paid_at": "When it was paid.",
    "commissions.plan": "The version of the commission plan that says how much.",
    "commissions.reversal": "The ledger transaction that took it back.",
    "commissions.reversed_at": "When it was taken back.",
    "commissions.reversed_by": "The member of staff who took it back.",
    "commissions.transaction": "The ledger transaction that paid it.",
    "deals.commission": "What the client paid for this deal, as a positive amount.",
    "deals.entry": "IN opens a position, OUT closes all or part of it.",
    "deals.cause": "What made it happen: the client, or a price that came.",
    "deals.executed_at": "When it was executed.",
    "deals.order": "The order that was filled; empty where a position was closed without one.",
    "deals.price": "At which price it was executed.",
    "deals.profit": "What closing gained or lost, before commission and swap.",
    "deals.side": "The position's side, also for a deal that closes it.",
    "debt_settlements.amount": "What the payout withheld.",
    "debt_settlements.debt": "The debt it settles.",
    "debt_settlements.settled_at": "When it was withheld.",
    "debt_settlements.transaction": "The ledger transaction of the payout.",
    "debts.amount": "What could not be taken back.",
    "debts.commission": "The reversed commission.",
    "debts.settled": "How much of it later payouts have withheld.",
    "debts.settled_at": "When all of it was settled.",
    "deposits.amount": "What is paid in.",
    "deposits.provider": "The payment provider.",
    "deposits.provider_reference": "The provider's own number of the payment.",
    "deposits.wallet": "The wallet that is credited.",
    "entries.amount": "What moved: positive into the wallet, negative out of it.",
    "entries.balance_after": "The wallet's balance after this entry, as it was for credit; empty for the house.",
    "entries.digest": "The entry's link of the wallet's hash chain, SHA-256; empty for the house.",
    "entries.owner": "The client whose wallet it is, or whose operation the house is the other side of.",
    "entries.posted_at": "When it was posted.",
    "entries.reason": "Why this leg moved.",
    "entries.transaction": "The transaction it is a leg of.",
    "entries.wallet_version": "The entry's number within its wallet, without gaps from 1; empty for the house.",
    "freezes.lift_reason": "Why it was lifted.",
    "freezes.lifted_at": "When it was lifted; empty while in force.",
    "freezes.lifted_by": "Who lifted it.",
    "freezes.placed_at": "When it was placed.",
    "freezes.placed_by": "Who placed it.",
    "freezes.reason": "Why it was placed.",
    "freezes.scope": "What the client may not do meanwhile.",
    "instrument.asset_class": "What sort of thing it is.",
    "instrument.calculation": "How its margin and profit are reckoned.",
    "instrument.commission_currency": "The currency of `commission_per_lot`.",
    "instrument.contract_size": "How much of the base one lot is.",
    "instrument.digits": "Decimals of its price.",
    "instrument.margin_currency": "The currency its margin is reckoned in before conversion.",
    "instrument.margin_rate": "What its margin is multiplied by.",
    "instrument.pip_size": "The step of price that traders count in.",
    "instrument.quote_age_seconds_max": "A price older than this is not traded on.",
    "instrument.swap_mode": "How `swap_long` and `swap_short` are to be read.",
    "instrument.swap_short": "As `swap_long`, for positions that were sold.",
    "instrument.symbol": "The symbol, which is the instrument's key.",
    "instrument.tick_size": "The smallest step of its price.",
    "instrument.time_zone": "Whose wall clock its hours are told by.",
    "instrument.trade_mode": "What may be done with it.",
    "instrument.volume_max": "The most that one order may be for.",
    "instrument.volume_min": "The least that one order may be for.",
    "instrument.volume_step": "Volumes are multiples of this.",
    "kill_switches.actor_id": "Who changed it last.",
    "kill_switches.changed_at": "When it was changed last.",
    "kill_switches.engaged": "Whether it stops what it stands for.",
    "kill_switches.reason": "Why it was changed last.",
    "ledger_transactions.actor_id": "Who did it.",
    "ledger_transactions.actor_kind": "Whether a client, a member of staff, a payment provider or the system did it.",
    "ledger_transactions.effective_at": "When it counts from; the same as `posted_at` unless it was booked late.",
    "ledger_transactions.owner": "The client whose operation it is; a transfer is its sender's.",
    "ledger_transactions.posted_at": "When it was posted.",
    "ledger_transactions.reverses": "The transaction that it takes back.",
    "ledger_transactions.type": "Which operation it is.",
    "margin_events.created_at": "When it happened.",
    "margin_events.equity": "Balance, credit and floating profit at that moment.",
    "margin_events.held": "The margin that open positions held at that moment.",
    "margin_events.kind": "What the desk told or did.",
    "margin_events.report": "The account's state before and after, and every step, to be recomputed by anybody.",
    "notes.author": "The member of staff who wrote it.",
    "notes.text": "What they noted for the next one.",
    "orders.cancel_reason": "Who or what cancelled it.",
    "orders.client_order_id": "The client's own name for it.",
    "orders.created_at": "When it was placed.",
    "orders.expires_at": "Until when it may wait.",
    "orders.price_filled": "At which price it was filled.",
    "orders.reject_code": "Why it was rejected, by its stable code.",
    "orders.reject_context": "The figures it was rejected on.",
    "orders.time_in_force": "How long it lives: IOC now or never, GTC until cancelled, GTD until `expires_at`.",
    "orders.type": "MARKET at once; LIMIT at its price or better; STOP at the market once it has come to its price.",
    "positions.closed_at": "When nothing was left of it; empty while open.",
    "positions.margin_initial": "The margin that it locked when it was opened.",
    "positions.margin_locked": "The margin that the rest of it locks.",
    "positions.opened_at": "When it was opened.",
    "positions.order": "The order that opened it.",
    "positions.price_open": "At which price it was opened.",
    "positions.volume_initial": "How many lots were opened.",
    "price_batches.number": "The batch's number, without gaps, in the order in which batches became known.",
    "price_batches.source": "The feed that delivered it.",
    "profile.country": "Where they live, ISO 3166-1 alpha-2.",
    "profile.created_at": "When they signed up.",
    "profile.date_of_birth": "Their date of birth.",
    "profile.email": "Their email address, which they log in with.",
    "profile.email_confirmed_at": "When they confirmed the address.",
    "profile.is_active": "Whether they may log in.",
    "profile.is_staff": "Whether they are staff.",
    "profile.last_login": "When they last logged in to a page.",
    "profile.name": "Their name, as they gave it.",
    "profile.phone": "Their telephone number, E.164.",
    "profile.referral_code": "The code that they give to people they refer.",
    "profile.referred_by": "Who referred them.",
    "quotes.ask": "What a buyer paid.",
    "quotes.batch": "The batch that brought it.",
    "quotes.bid": "What a seller got.",
    "quotes.source": "The feed it came from.",
    "referrer_changes.decided_at": "When it was approved or rejected.",
    "referrer_changes.decided_by": _STAFF,
    "referrer_changes.effective_from": "From when on it counts.",
    "referrer_changes.previous": "Who had referred the client before; empty for nobody.",
    "referrer_changes.proposed_at": "When it was proposed.",
    "referrer_changes.proposed_by": "The member of staff who proposed it.",
    "referrer_changes.reason": "Why it was proposed.",
    "referrer_changes.referrer": "Who is to have referred the client; empty for nobody.",
    "signup_bonuses.amount": "What was given.",
    "signup_bonuses.ended_at": "When it ended.",
    "signup_bonuses.granted_at": "When it was given.",
    "signup_bonuses.policy": "The version of the terms it was given on.",
    "signup_bonuses.removal": "The ledger transaction that took the rest back.",
    "signup_bonuses.transaction": "The ledger transaction that gave it.",
    "swaps.amount": "Charged (negative) or paid for the night.",
    "swaps.charged_at": "When it was posted.",
    "swaps.mode": "How `rate` is to be read.",
    "swaps.nights": "How many nights it is for: 3 on the day that carries the weekend.",
    "swaps.price": "The price that the position was valued at.",
    "swaps.price_basis": "Whether that was the price at the end of the trading day, or the last known later.",
    "swaps.rate": "The instrument's swap rate for the side.",
    "trading_accounts.currency": "The currency the account is kept in.",
    "trading_accounts.is_self_trading": "Whether the client trades themselves.",
    "trading_accounts.wallet": "The margin wallet that carries its risk.",
    "trading_sessions.closes": "When it closes; on the next day if that is not after it opens.",
    "trading_sessions.opens": "When it opens.",
    "transfers.amount": "What was moved.",
    "transfers.owner": "The client who sent it.",
    "transfers.source": "The wallet it came out of.",
    "transfers.target": "The wallet it went into.",
    "verifications.submitted_at": "When the client submitted documents.",
    "wallets.balance": "What is in it.",
    "wallets.credit": "Bonus that can be lost by trading, and never be paid out.",
    "wallets.deposits_enabled": "Whether deposits are let in.",
    "wallets.head": "The digest at the end of its hash chain, SHA-256.",
    "wallets.held": "What of it is not free: pending withdrawals, or the margin of open positions.",
    "wallets.kind": "CASH, or the MARGIN wallet of a trading account.",
    "wallets.realized_profit": "What trading has gained or lost in it so far.",
    "wallets.trading_enabled": "Whether it may be traded with.",
    "wallets.version": "How many entries it has.",
    "wallets.withdrawals_enabled": "Whether money may leave it.",
    "withdrawals.amount": "What is paid out.",
    "withdrawals.bank_account": "Where it goes.",
    "withdrawals.bank_reference": "The bank's own number of the payment.",
    "withdrawals.second_approved_by": "The second member of staff who approved it.",
    "withdrawals.sent_at": "When it was handed to the bank.",
    "withdrawals.wallet": "The wallet it is taken from.",
}

#: Units that the column's type does not tell.
UNITS = {
    "deals.inputs": "see the explanation of the deal",
    "instrument.commission_per_lot": "money in `commission_currency`, per lot and side",
    "instrument.contract_size": "units of `base`",
    "instrument.digits": "decimals",
    "instrument.margin_rate": "ratio",
    "instrument.quote_age_seconds_max": "seconds",
    "instrument.replay_spread_points": "points of price",
    "instrument.stop_distance": "points of price",
    "instrument.swap_long": "by `swap_mode`: points of price a lot and night, or percent a year",
    "instrument.swap_short": "by `swap_mode`: points of price a lot and night, or percent a year",
    "instrument.tick_jump_max": "fraction of the last price",
    "orders.deviation_max": "points of price",
    "swaps.nights": "nights",
    "swaps.rate": "by `mode`: points of price a lot and night, or percent a year",
}

_TYPES: tuple[tuple[type[models.Field[Any, Any]], str, str], ...] = (
    (models.UUIDField, "UUID", ""),
    (models.DateTimeField, "moment", "UTC, ISO 8601 with microseconds"),
    (models.DateField, "day", "ISO 8601"),
    (models.TimeField, "time of day", "wall clock"),
    (models.BooleanField, "true or false", ""),
    (models.BinaryField, "bytes", "hexadecimal"),
    (models.JSONField, "JSON", ""),
    (ArrayField, "list of text", "JSON"),
    (models.IntegerField, "whole number", ""),
    (models.CharField, "text", ""),
    (models.TextField, "text", ""),
    (models.GenericIPAddressField, "text", ""),
)

_DECIMALS = {8: "money", 10: "price: `quote` currency per unit of `base`", 4: "lots", 12: "rate"}


class Meaning(NamedTuple):
    """One line of the dictionary, in the order of COLUMNS."""

    table: str
    column: str
    type: str
    unit: str
    may_be_empty: bool
    values: str
    refers_to: str
    meaning: str


def meaning(table: Table, field: models.Field[Any, Any]) -> Meaning:
    """What one column of an export is: what is said of it here, else in its model, else of all columns of its name."""
    name = f"{table.name}.{field.name}"
    said = OWN.get(name) or str(field.help_text) or COMMON.get(field.name, "")
    target: Any = field.remote_field.model if field.remote_field else None
    stored = field.target_field if isinstance(field, models.ForeignKey) else field
    kind, unit = _type(table, stored)
    return Meaning(
        table=table.name,
        column=field.name,
        type=kind,
        unit=UNITS.get(name, unit),
        may_be_empty=field.null or bool(getattr(field, "blank", False)),
        values=" ".join(str(value) for value, _ in field.flatchoices) if field.choices else "",
        refers_to=f"{target._meta.label}.{stored.name}" if target is not None else "",
        meaning=said,
    )


def _type(table: Table, field: models.Field[Any, Any]) -> tuple[str, str]:
    if isinstance(field, models.DecimalField):
        unit = _DECIMALS.get(field.decimal_places, "")
        if unit == "money":
            unit = "money in `currency`" if "currency" in table.columns else "money in the account's currency"
        return f"decimal, {field.decimal_places} places", unit
    return next((kind, unit) for known, kind, unit in _TYPES if isinstance(field, known))
