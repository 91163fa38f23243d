"""
One box is where we start: nothing in the model or the code may stand in the way of a second.

The rules are those that let tables be distributed by client: read off the models, the database and the source, so that
what is added later is covered the day it is added. Each exception has its reason, and goes when the reason goes.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from typing import Any

import pytest
from django.db import connection, models

from core.ids import uuid7
from tests import cast, source
from tests.wallets.calls import transfer

#: Tables that belong to nobody: small and copied to every shard, or the broker's own.
GLOBAL = {
    "core.JobRun": "runs of the desk's own commands",
    "core.KillSwitch": "a handful of switches, read everywhere",
    "core.ThrottleWindow": "counts attempts, also of people who are nobody yet",
    "reconciliation.Break": "a difference in the desk's own books, which staff look after",
    "reconciliation.Run": "comparisons of the desk's own books",
    "wallets.PaymentReport": "what a provider said, before anybody knows whose it is",
    "wallets.Seal": "covers every wallet at once",
    "wallets.UnfoldedLeg": "legs of the house's wallets, which are the house's",
    "accounts.User": "is the owner",
    "trading.Instrument": "terms that are the same for everybody",
    "trading.Quote": "prices that are the same for everybody",
    "trading.QuoteTick": "prices that were the same for everybody",
    "trading.PriceBatch": "what one feed delivered at once, for everybody",
    "trading.PriceClock": "numbers the batches",
    "trading.QuoteAlert": "prices nobody got",
    "trading.RiskCursor": "how far the prices of everybody are worked off",
    "trading.LeverageCap": "what the law says, for everybody it protects",
    "trading.TradingSession": "hours that are the same for everybody",
    "referrals.BonusPolicy": "terms that are the same for everybody",
    "trading.Holiday": "days that are the same for everybody",
    "referrals.CommissionPlan": "terms that are the same for everybody",
    "alerts.AlertRule": "terms that are the same for everybody",
    "alerts.AlertCursor": "how far the rows of everybody are looked at",
    "dashboards.FigureSet": "sums over all clients",
    "dashboards.Figure": "sums over all clients",
}

#: Keys that are not made by `uuid7`.
NATURAL_KEYS = {
    "core.KillSwitch": "the scope is its name",
    "core.ThrottleWindow": "a digest of what is counted",
    "wallets.UnfoldedLeg": "the id of the entry it repeats, itself a version 7",
    "trading.Instrument": "the symbol is its name",
    "trading.Quote": "one per instrument",
    "trading.QuoteTick": "a version 7 all the same, made from its batch so that ids follow the batches' order",
    "trading.PriceBatch": "its number is what a consumer counts by: without gaps, in the order of commits",
    "trading.PriceClock": "there is one",
    "trading.QuoteAlert": "a log that nothing refers to, numbered where it is written",
    "trading.AccountWatch": "one per account, whose id it is",
    "trading.RiskTask": "one per account, whose id it is",
    "trading.RiskCursor": "there is one",
    "referrals.Accrual": "one per closing deal, whose id it is",
    "alerts.AlertCursor": "the stream is its name",
}

#: What is unique over all clients, although a shard can only see its own. Past one box, a small directory that is not
#: distributed (number → owner) keeps each of these, as it is needed for finding the shard anyway.
GLOBALLY_UNIQUE = {
    "wallets.Wallet.number": "a transfer names its target by it, without knowing whose it is",
    "wallets.Deposit.provider,provider_reference": "one payment at the provider is one credit here, whoever it is for",
    "accounts.TradingAccount.number": "what a client says on the telephone",
    "accounts.ApiToken.digest": "a token is looked up before its owner is known",
    "accounts.StaffSession.digest": "a session is looked up by its key; staff are on every shard",
    "referrals.BonusIdentity.digest": "one bonus for one human being, under however many names",
    "trading.Position.number": "what a client says on the telephone",
    "referrals.Commission.deal,level": "kept by the deal's own row, on the client's shard, which is decided about once",
    "referrals.Commission.deposit,level": "as for deals: decided about where the client's deposits and deals are",
    "referrals.Commission.client,level": "as above",
}

#: A row's one partner row, of the same owner: unique within the owner already, since the partner's id is.
SAME_OWNERS_PARTNER = (models.OneToOneField,)

#: Integers that count nothing: bounded by what they mean.
BOUNDED_INTEGERS = {
    "core.IdempotencyKey.response_status": "an HTTP status",
    "accounts.TradingAccount.leverage": "1 to 10,000, by a CHECK",
    "referrals.BonusPolicy.days_valid": "days, 1 to 3,650 by a CHECK",
    "trading.Instrument.digits": "decimals of a price",
    "trading.Instrument.leverage_max": "a leverage",
    "trading.Instrument.quote_age_seconds_max": "seconds",
    "trading.Instrument.replay_spread_points": "points",
    "trading.LeverageCap.leverage_max": "a leverage",
    "trading.Position.leverage": "a leverage",
    "trading.Instrument.stop_distance": "points",
    "trading.Instrument.swap_triple_weekday": "a day of the week",
    "trading.TradingSession.weekday": "a day of the week",
    "trading.Swap.nights": "one, or three on the triple day",
    "trading.Order.deviation_max": "points",
    "trading.PriceBatch.size": "prices in one batch",
    "trading.RiskCursor.id": "always 1",
    "trading.PriceClock.id": "always 1",
    "referrals.CommissionPlan.version": "versions of one plan",
    "referrals.CommissionPlan.seconds_held_min": "seconds",
    "referrals.Commission.level": "1 to 3, by a CHECK",
}

#: Triggers that look at more than the row at hand, and what would happen without them.
TRIGGERS_THAT_LOOK_AROUND = {
    "entry_is_judged": "reads one posting and its wallets; across shards a posting is two, each with both its legs,"
    " and either is right without being judged, since the ledger builds it right",
    "ledgertransaction_is_judged": "reads the entries of one posting",
    **dict.fromkeys(
        (
            "instrument_is_noted",
            "tradingsession_is_noted",
            "holiday_is_noted",
            "leveragecap_is_noted",
            "quote_is_noted",
        ),
        "changes the version of what is the same for everybody, on whichever shard it is",
    ),
    "deal_awaits_accrual": "reads users, who are on every shard, and writes a row of the deal's own client",
}


def models_of_ours() -> list[type[models.Model]]:
    return [model for app in source.our_apps() for model in app.get_models()]


def label(model: type[models.Model]) -> str:
    return model._meta.label


def owned() -> list[type[models.Model]]:
    return [model for model in models_of_ours() if label(model) not in GLOBAL]


def _own_field(model: type[models.Model], name: str) -> models.Field[Any, Any]:
    (field,) = (field for field in model._meta.local_fields if field.name == name)
    return field


def names(model: type[models.Model]) -> set[str]:
    return {field.name for field in model._meta.local_fields}


# --- Rule 1: every client-owned row says whose it is ------------------------------------------------------------------


def test_every_client_owned_row_has_an_owner() -> None:
    without = [label(model) for model in owned() if "owner" not in names(model)]
    assert without == [], "add `owner`, or list the table as global with a reason"
    nullable = [label(model) for model in owned() if _own_field(model, "owner").null]
    assert nullable == []


def test_no_table_is_called_global_for_nothing() -> None:
    known = {label(model): model for model in models_of_ours()}
    assert set(GLOBAL) <= set(known)
    assert [name for name in GLOBAL if "owner" in names(known[name])] == []


def test_nobody_changes_an_owner() -> None:
    """A row that moved to another shard would leave its history behind."""
    changes = []
    for module in source.modules():
        for node in ast.walk(module.tree):
            targets = getattr(node, "targets", [getattr(node, "target", None)])
            if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign):
                changes += [
                    module.at(node)
                    for target in targets
                    if isinstance(target, ast.Attribute) and target.attr in {"owner", "owner_id"}
                ]
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "update":
                changes += [module.at(node) for word in node.keywords if word.arg in {"owner", "owner_id"}]
    changes += [place for place, sql in source.statements() if _sets_owner(sql)]
    assert changes == []


def _sets_owner(sql: str) -> bool:
    """Whether an UPDATE assigns the owner, between its SET and what ends the list of assignments."""
    assignments = re.findall(r"\bUPDATE\b.*?\bSET\b(.*?)(?:\bFROM\b|\bWHERE\b|\bRETURNING\b|$)", sql, re.DOTALL)
    return any(re.search(r"\bowner(_id)?\s*=", part) for part in assignments)


# --- Rule 2: ids are made here, public numbers are something else -----------------------------------------------------


def test_primary_keys_are_version_7_made_by_the_application() -> None:
    others = []
    for model in models_of_ours():
        key = model._meta.pk
        if not (isinstance(key, models.UUIDField) and key.default is uuid7):
            others.append(label(model))
    assert sorted(others) == sorted(NATURAL_KEYS)


def test_public_numbers_are_not_keys() -> None:
    numbered = [model for model in owned() if "number" in names(model)]
    assert numbered
    numbers = {label(model): _own_field(model, "number") for model in numbered}
    assert [name for name, field in numbers.items() if field.primary_key or not field.unique] == []


# --- Rule 3: what is unique is unique within an owner -----------------------------------------------------------------


def unique_sets(model: type[models.Model]) -> list[tuple[str, ...]]:
    fields = [
        (field.name,)
        for field in model._meta.local_fields
        if field.unique and not field.primary_key and not isinstance(field, SAME_OWNERS_PARTNER)
    ]
    constraints = [
        tuple(constraint.fields)
        for constraint in model._meta.constraints
        if isinstance(constraint, models.UniqueConstraint)
    ]
    return fields + constraints + [tuple(names) for names in model._meta.unique_together]


def test_unique_constraints_contain_the_owner() -> None:
    found = {
        f"{label(model)}.{','.join(columns)}"
        for model in owned()
        for columns in unique_sets(model)
        if "owner" not in columns
    }
    assert sorted(found) == sorted(GLOBALLY_UNIQUE)


def test_a_partner_row_has_the_same_owner() -> None:
    partners = [
        (label(model), field.related_model)
        for model in owned()
        for field in model._meta.local_fields
        if isinstance(field, SAME_OWNERS_PARTNER)
    ]
    assert partners
    assert [name for name, partner in partners if label(partner) in GLOBAL] == []


# --- Rule 4: what two clients do is a part for each -------------------------------------------------------------------


def test_a_move_between_clients_is_one_leg_with_whoever_gets_it_and_all_else_with_the_sender(db: None) -> None:
    """So the credit could be a posting of its own on another shard, under the key that the debit has left for it."""
    alice, bob = cast.alice(), cast.bob()
    before = {who.id: _rows_of(who.id) for who in (alice, bob)}
    assert transfer(alice, bob.cash, "1.00").status_code == 201
    made = {who.id: _rows_of(who.id) - before[who.id] for who in (alice, bob)}
    assert made[bob.id] == Counter({"wallets.Entry": 1})
    assert made[alice.id] == Counter(
        {"wallets.Entry": 1, "wallets.LedgerTransaction": 1, "wallets.Transfer": 1, "core.IdempotencyKey": 1}
    )


def _rows_of(owner: object) -> Counter[str]:
    return Counter({label(model): model._default_manager.filter(owner=owner).count() for model in owned()})


# --- Rule 5: one order of locks ---------------------------------------------------------------------------------------


def test_wallets_are_locked_by_owner_and_id() -> None:
    """That is the order in which their shards would be asked, one after the other."""
    locks = [sql for place, sql in source.statements() if place.startswith("wallets/ledger.py") and "FOR NO KEY" in sql]
    assert len(locks) >= 2
    assert [sql for sql in locks if not re.search(r"ORDER BY w\.owner_id, w\.id\s+FOR NO KEY UPDATE", sql)] == []


# --- Rule 6: nothing that needs one session or one server -------------------------------------------------------------


@pytest.mark.parametrize(
    "pattern,example",
    [
        # a session's lock outlives its transaction, and behind a pooler its client
        (r"\bpg_(try_)?advisory_(un)?lock(_shared|_all)?\b", "SELECT pg_advisory_lock(1)"),
        (r"\bLISTEN\s+\w|\bNOTIFY\s+\w|\bpg_notify\b", "LISTEN prices"),
        (r"\bWITH\s+HOLD\b", "DECLARE c CURSOR WITH HOLD FOR SELECT 1"),
        (r"\bCREATE\s+(TEMP|TEMPORARY)\b", "CREATE TEMP TABLE mine (id uuid)"),
        (r"\bLOCK\s+TABLE\b", "LOCK TABLE wallets_wallet"),
        (r"\b(BIG)?SERIAL\b", "CREATE TABLE mine (id BIGSERIAL)"),
    ],
)
def test_no_sql_needs_a_session_or_the_only_server(pattern: str, example: str) -> None:
    assert re.search(pattern, example)
    assert not re.search(pattern, "SELECT pg_try_advisory_xact_lock(1)")
    assert [place for place, sql in source.statements() if re.search(pattern, sql, re.IGNORECASE)] == []


def test_cursors_on_the_server_are_opened_in_one_place() -> None:
    """`core.snapshot` opens them inside a transaction; a queryset's own would be held beyond it."""
    opened = [
        module.at(node)
        for module in source.modules()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Attribute) and node.attr in {"iterator", "aiterator", "chunked_cursor"}
    ]
    assert opened == []
    declared = {place.partition(":")[0] for place, sql in source.statements() if re.search(r"\bDECLARE \{?\w", sql)}
    assert declared <= {"core/snapshot.py"}


def test_triggers_judge_rows_and_not_tables(db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT t.tgname FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid JOIN pg_class c ON c.oid = t.tgrelid"
            " WHERE NOT t.tgisinternal AND c.relnamespace = 'public'::regnamespace"
            "   AND p.proname <> 'desk_refuse_change'"
        )
        assert sorted(name for (name,) in cursor.fetchall()) == sorted(TRIGGERS_THAT_LOOK_AROUND)


# --- Rule 7: clocks are the application's ----------------------------------------------------------------------------


def test_timestamps_come_from_the_application() -> None:
    automatic = [
        f"{label(model)}.{field.name}"
        for model in models_of_ours()
        for field in model._meta.local_fields
        if getattr(field, "auto_now", False)
        or getattr(field, "auto_now_add", False)
        or (field.has_db_default() and isinstance(field, models.DateField))  # moments included; constants are no clock
    ]
    assert automatic == []


#: What looks at clocks because it compares them.
LOOKS_AT_CLOCKS = {"core/sql/audit/events_are_as_old_as_their_ids.sql"}


def test_no_sql_asks_the_servers_clock() -> None:
    """Two servers have two: a moment that both agree on is passed in."""
    clock = re.compile(
        r"\b(now|(clock|statement|transaction)_timestamp|timeofday)\(\)|\bCURRENT_(TIME|DATE)|\bLOCALTIME"
    )
    assert clock.search("SELECT now()")
    assert {place for place, sql in source.statements() if clock.search(sql)} == LOOKS_AT_CLOCKS


# --- Rule 8: counters do not run out ----------------------------------------------------------------------------------


def test_counters_are_bigint() -> None:
    small = {
        f"{label(model)}.{field.name}"
        for model in models_of_ours()
        for field in model._meta.local_fields
        if isinstance(field, models.IntegerField) and not isinstance(field, models.BigIntegerField)
    }
    assert sorted(small) == sorted(BOUNDED_INTEGERS)


def test_sequences_are_bigint(db: None) -> None:
    tables = tuple(f"{app.label}_%" for app in source.our_apps())
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT sequencename FROM pg_sequences WHERE sequencename LIKE ANY (%s) AND data_type <> 'bigint'::regtype",
            [list(tables)],
        )
        assert cursor.fetchall() == []
        cursor.execute("SELECT count(*) FROM pg_sequences WHERE sequencename LIKE ANY (%s)", [list(tables)])
        assert cursor.fetchone() != (0,)
