"""Every check of the ledger is proven: change exactly what it guards, and exactly it speaks up."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import transaction

from core import metrics
from core.ids import uuid7
from core.models import JobRun
from tests import database, ledger_cast
from tests.database import Clone
from tests.wallets import books
from tests.wallets.books import Books, breaks, corrupt, query_none, rechain, without_constraint
from wallets import ledger, seals, verification
from wallets.models import Kind, Wallet

Corruption = Callable[[Books], None]


@pytest.fixture(autouse=True)
def seal_folder(settings: Any, tmp_path: Any) -> None:
    settings.LEDGER_SEAL_DIR = tmp_path


@pytest.fixture
def day(committed_db: Clone) -> Books:
    return books.keep()


def test_the_services_leave_books_that_agree(day: Books) -> None:
    report = verification.verify_ledger()
    assert (report.breaks, dict(report.found)) == ([], {})
    assert report.checked == {
        "wallets": 204,
        "transactions": 15,
        "entries": 32,
        "unfolded_legs": 15,
        "deposits": 2,
        "withdrawals": 2,
        "transfers": 1,
        "adjustments": 1,
        "keys": 6,
        "seals": 0,
    }


# --- Each check -----------------------------------------------------------------------------------------------------


def on_wallet(assignment: str) -> Corruption:
    return lambda day: corrupt(f"UPDATE wallets_wallet SET {assignment} WHERE id = %s", day.alice)


def on_entry(assignment: str, *, version: int) -> Corruption:
    where = "wallet_id = %s AND wallet_version = %s"
    return lambda day: corrupt(f"UPDATE wallets_entry SET {assignment} WHERE {where}", day.alice, version)


CREDIT = "UPDATE wallets_wallet SET credit"
GIFT = "wallet_id = %s AND wallet_version = (SELECT max(wallet_version) FROM wallets_entry WHERE reason = 'CREDIT_IN')"


def gift_turns_into_money(day: Books) -> None:
    """The last twenty are said to have been an adjustment, and the wallet's figures are made to fit."""
    corrupt(f"UPDATE wallets_entry SET reason = 'ADJUSTMENT' WHERE {GIFT}", day.margin)
    corrupt("UPDATE wallets_wallet SET balance = balance + 20, credit = credit - 20 WHERE id = %s", day.margin)


def gift_turns_into_money_throughout(day: Books) -> None:
    """The same by somebody who thinks of the balance after it too, but has to leave the digest as it is."""
    corrupt(f"UPDATE wallets_entry SET balance_after = balance_after + 20 WHERE {GIFT}", day.margin)
    gift_turns_into_money(day)


def on_house_leg(assignment: str) -> Corruption:
    where = "transaction_id = %s AND wallet_version IS NULL"
    return lambda day: corrupt(f"UPDATE wallets_entry SET {assignment} WHERE {where}", day.posting(day.alice, 1))


def on(row: str, assignment: str) -> Corruption:
    """Change a column of one of the day's rows."""

    def change(day: Books) -> None:
        instance = getattr(day, row)
        corrupt(f"UPDATE {instance._meta.db_table} SET {assignment} WHERE id = %s", instance)

    return change


def then_rechain(corruption: Corruption) -> Corruption:
    def change(day: Books) -> None:
        corruption(day)
        rechain(day.alice)

    return change


def house_leg_and_its_tail(day: Books) -> None:
    where = "transaction_id = %s AND wallet_version IS NULL"
    posting = day.posting(day.alice, 1)
    corrupt(
        "UPDATE wallets_unfoldedleg SET amount = amount - 1"
        f" WHERE entry_id IN (SELECT id FROM wallets_entry WHERE {where})",
        posting,
    )
    corrupt(f"UPDATE wallets_entry SET amount = amount - 1 WHERE {where}", posting)


def bare_transaction(day: Books) -> None:
    corrupt(
        "INSERT INTO wallets_ledgertransaction SELECT (jsonb_populate_record(t,"
        " jsonb_build_object('id', gen_random_uuid(), 'idempotency_digest', '\\x01'))).*"
        " FROM wallets_ledgertransaction t WHERE id = %s",
        day.adjustment,
    )


def folded_leg_lost(day: Books) -> None:
    corrupt(
        "DELETE FROM wallets_unfoldedleg WHERE entry_id = (SELECT min(entry_id::text)::uuid FROM wallets_unfoldedleg)"
    )


def two_tails_swapped(day: Books) -> None:
    house = ledger.house(Kind.HOUSE_ADJUSTMENT, "USD", "LIVE").id
    corrupt(
        "WITH two AS (SELECT entry_id, row_number() OVER (ORDER BY entry_id) AS place FROM wallets_unfoldedleg"
        " WHERE wallet_id = %s LIMIT 2)"
        " UPDATE wallets_unfoldedleg u SET amount = amount + CASE place WHEN 1 THEN 1 ELSE -1 END"
        " FROM two WHERE two.entry_id = u.entry_id",
        house,
    )


def gap_before_the_last(day: Books) -> None:
    where = "wallet_id = %s AND wallet_version = (SELECT version FROM wallets_wallet WHERE id = wallet_id)"
    corrupt(f"UPDATE wallets_entry SET wallet_version = wallet_version + 1 WHERE {where}", day.alice)
    corrupt("UPDATE wallets_wallet SET version = version + 1 WHERE id = %s", day.alice)
    rechain(day.alice)


def whole_transaction_backdated(day: Books) -> None:
    posting = day.posting(day.alice, 2)
    corrupt("UPDATE wallets_entry SET posted_at = posted_at - interval '1 day' WHERE transaction_id = %s", posting)
    corrupt("UPDATE wallets_ledgertransaction SET posted_at = posted_at - interval '1 day' WHERE id = %s", posting)


def live_turns_demo(day: Books) -> None:
    posting = day.posting(day.margin, 1)
    corrupt("UPDATE wallets_ledgertransaction SET environment = 'DEMO' WHERE id = %s", posting)


def deposit_forgotten(day: Books) -> None:
    corrupt("DELETE FROM core_idempotencykey WHERE effect_id = %s", day.deposit)
    corrupt("DELETE FROM wallets_deposit WHERE id = %s", day.deposit)


def refused_key_that_moved_money(day: Books) -> None:
    corrupt(
        "UPDATE core_idempotencykey SET digest = (SELECT idempotency_digest FROM wallets_ledgertransaction"
        " WHERE owner_id = owner AND type = 'ADJUSTMENT' LIMIT 1) WHERE id = %s",
        day.refused_key,
    )


def on_transfers_key(assignment: str) -> Corruption:
    return lambda day: corrupt(
        f"UPDATE core_idempotencykey SET {assignment} WHERE effect_id = %s", day.transfer.transaction
    )


#: Each check, and what somebody might do that it alone notices.
CORRUPTIONS: dict[str, dict[str, Corruption]] = {
    "zero_sum": {"a leg grows": house_leg_and_its_tail, "no legs": bare_transaction},
    "balance_is_sum_of_entries": {
        "a balance grows": on_wallet("balance = balance + 0.01"),
        "a house balance shrinks": lambda day: corrupt(
            "UPDATE wallets_wallet SET balance = balance - 1 WHERE number = 'HOUSE_COMMISSION-USD-LIVE'"
        ),
        "a tail is lost": folded_leg_lost,
    },
    "credit_is_sum_of_entries": {
        "more to play with": lambda day: corrupt(f"{CREDIT} = credit + 1 WHERE id = %s", day.margin),
        "none left": lambda day: corrupt(f"{CREDIT} = 0 WHERE id = %s", day.margin),
    },
    "realized_profit_is_sum_of_entries": {"a better year": on_wallet("realized_profit = 5")},
    "unfolded_legs_fit_their_entries": {"two tails trade a dollar": two_tails_swapped},
    "versions_gapless": {"a version too many": on_wallet("version = version + 1"), "a gap": gap_before_the_last},
    "balance_after_chain": {
        "one balance": then_rechain(on_entry("balance_after = balance_after + 1", version=2)),
        "a gift turns into money": gift_turns_into_money,
    },
    "digest_chain": {
        "one digest": on_entry("digest = sha256('forged')", version=2),
        "backdated": whole_transaction_backdated,
        "a gift turns into money, with its balance": gift_turns_into_money_throughout,
    },
    "head_matches": {"another head": on_wallet("head = sha256('forged')")},
    "held_is_pending_withdrawals": {
        "a hold is let go": on_wallet("held = 0"),
        "a withdrawal vanishes from the queue": on("pending", "status = 'CANCELLED'"),
        "a withdrawal grows": on("pending", "amount = amount + 1"),
    },
    "entries_fit_their_wallets": {
        "a house leg of nobody": on_house_leg(f"owner_id = '{uuid7()}'"),
        "a house leg at another time": on_house_leg("posted_at = posted_at + interval '1 second'"),
        "a house leg with a digest": on_house_leg("digest = '\\x00', balance_after = 0, wallet_version = 1"),
        "a client's leg of another": on_entry(f"owner_id = '{uuid7()}'", version=1),
    },
    "environments_never_meet": {"live turns demo": live_turns_demo},
    "keys_completed_have_their_effect": {
        "an effect elsewhere": on_transfers_key("effect_id = gen_random_uuid()"),
        "no effect": on_transfers_key("digest = sha256(digest)"),
        "half-way": on_transfers_key("status = 'PROCESSING'"),
        "of no operation": on_transfers_key("operation = 'GIFT'"),
        "refused, yet done": refused_key_that_moved_money,
    },
    "deposits_agree": {
        "it was more": on("deposit", "amount = amount + 1"),
        "it was euros": on("deposit", "currency = 'EUR'"),
        "it was not reversed": on("reversed_deposit", "status = 'COMPLETED'"),
        "it was reversed": on("deposit", "status = 'REVERSED'"),
        "it was another's": lambda day: corrupt(
            "UPDATE wallets_deposit SET wallet_id = %s WHERE id = %s", day.bob, day.reversed_deposit
        ),
        "there was none": deposit_forgotten,
    },
    "withdrawals_agree": {
        "it was less": on("paid", "amount = amount - 1"),
        "another posting": lambda day: corrupt(
            "UPDATE wallets_withdrawal SET transaction_id = %s WHERE id = %s", day.posting(day.alice, 1), day.paid
        ),
    },
    "adjustments_agree": {
        "it was less": on("correction", "amount = amount - 1"),
        "it was a debit": on("correction", "direction = 'DEBIT'"),
        "nobody approved it": lambda day: corrupt(
            "UPDATE wallets_adjustment SET status = 'PROPOSED', transaction_id = NULL, decided_by_id = NULL,"
            " decided_at = NULL WHERE id = %s",
            day.correction,
        ),
        "somebody else approved it": on(
            "correction", "decided_by_id = (SELECT min(id::text)::uuid FROM accounts_user)"
        ),
        "there was none": lambda day: corrupt("DELETE FROM wallets_adjustment WHERE id = %s", day.correction),
    },
    "transfers_agree": {
        "it was more": on("transfer", "amount = amount + 1"),
        "the other way": on("transfer", "source_id = target_id, target_id = source_id"),
        "there was none": lambda day: corrupt("DELETE FROM wallets_transfer WHERE id = %s", day.transfer),
    },
}
CASES = [(check, case) for check, cases in CORRUPTIONS.items() for case in cases]

#: Proven further down, since a constraint or a trigger has to be taken away first.
WITH_CONSTRAINTS_GONE = {"wallets_within_bounds", "digests_used_once", "reversed_at_most_once", "guards_are_on_duty"}


@pytest.mark.parametrize("check,case", CASES, ids=[f"{check}: {case}" for check, case in CASES])
def test_a_corruption_is_noticed_by_its_check_and_no_other(day: Books, check: str, case: str) -> None:
    CORRUPTIONS[check][case](day)
    assert set(breaks()) == {check}


@pytest.mark.parametrize(
    "constraint,change",
    [
        ("wallet_credit_not_negative", "credit = -1"),
        ("wallet_credit_not_negative", "credit = 'NaN'"),
        ("wallet_held_not_negative", "held = -1"),
    ],
)
def test_a_wallet_out_of_bounds_is_noticed(day: Books, committed_db: Clone, constraint: str, change: str) -> None:
    with without_constraint(committed_db, "wallets_wallet", constraint):
        corrupt(f"UPDATE wallets_wallet SET {change} WHERE id = %s", day.margin)
        found = breaks()
        if "credit" in change:  # nor is it the sum of what was given
            assert found.pop("credit_is_sum_of_entries") == 1
        assert found == {"wallets_within_bounds": 1}


def test_credit_in_a_cash_wallet_is_noticed(day: Books, committed_db: Clone) -> None:
    with without_constraint(committed_db, "wallets_wallet", "wallet_cash_has_no_credit"):
        corrupt("UPDATE wallets_wallet SET credit = 5 WHERE id = %s", day.alice)
        assert breaks() == {"wallets_within_bounds": 1, "credit_is_sum_of_entries": 1}


def test_an_overdrawn_wallet_is_noticed(day: Books, committed_db: Clone) -> None:
    with without_constraint(committed_db, "wallets_wallet", "wallet_balance_not_negative"):
        with transaction.atomic():
            (locked,) = ledger.lock_wallets(day.margin.number)
            ledger_cast.adjust(locked, -locked.balance - 1)
        assert breaks() == {"wallets_within_bounds": 1}


def test_a_digest_used_twice_is_noticed(day: Books, committed_db: Clone) -> None:
    with without_constraint(committed_db, "wallets_ledgertransaction", "ledgertransaction_idempotency_digest"):
        corrupt(
            "UPDATE wallets_ledgertransaction SET idempotency_digest = %s WHERE id = %s",
            bytes(day.adjustment.idempotency_digest),
            day.reversal,
        )
        assert breaks() == {"digests_used_once": 1}


def test_a_second_reversal_is_noticed(day: Books, committed_db: Clone) -> None:
    with without_constraint(committed_db, "wallets_ledgertransaction", "wallets_ledgertransaction_reverses_id_key"):
        corrupt(
            "UPDATE wallets_ledgertransaction SET type = 'REVERSAL', reverses_id = %s WHERE id = %s",
            day.adjustment,
            day.posting(day.margin, 2),
        )
        assert breaks() == {"reversed_at_most_once": 1}


@pytest.mark.parametrize("original", ["gen_random_uuid()", "id"])
def test_a_reversal_of_nothing_is_noticed(day: Books, original: str) -> None:
    corrupt(f"UPDATE wallets_ledgertransaction SET reverses_id = {original} WHERE id = %s", day.reversal)
    assert breaks() == {"reversed_at_most_once": 1}


@pytest.mark.parametrize(
    "asleep,awake",
    [
        (
            "ALTER TABLE wallets_entry DISABLE TRIGGER entry_is_judged",
            "ALTER TABLE wallets_entry ENABLE TRIGGER entry_is_judged",
        ),
        (
            "ALTER TRIGGER seal_is_append_only ON wallets_seal RENAME TO seal_is_whatever",
            "ALTER TRIGGER seal_is_whatever ON wallets_seal RENAME TO seal_is_append_only",
        ),
        (
            "ALTER TABLE trading_deal DISABLE TRIGGER deal_is_append_only",
            "ALTER TABLE trading_deal ENABLE TRIGGER deal_is_append_only",
        ),
    ],
)
def test_a_guard_that_sleeps_is_noticed(committed_db: Clone, asleep: str, awake: str) -> None:
    query_none(asleep)
    try:
        assert breaks() == {"guards_are_on_duty": 1}
    finally:
        query_none(awake)
    assert breaks() == {}


def test_no_check_is_left_unproven() -> None:
    sealed = {seals.GENUINE, seals.STANDING}  # tests/wallets/test_seal_ledger.py
    assert set(CORRUPTIONS) | WITH_CONSTRAINTS_GONE | sealed == set(verification.CHECKS)


def test_many_breaks_are_counted_and_the_first_are_told(day: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification, "BREAKS_TOLD_MAX", 2)
    corrupt("UPDATE wallets_wallet SET balance = balance + 1 WHERE kind = 'HOUSE_SWAP'")
    report = verification.verify_ledger()
    assert report.found == {"balance_is_sum_of_entries": 20}
    assert len(report.breaks) == 2


# --- The command ----------------------------------------------------------------------------------------------------


def test_clean_books_exit_0_and_say_so_in_json(day: Books, committed_db: Clone, tmp_path: Any) -> None:
    done = books.manage(committed_db, "verify_ledger", "--json", LEDGER_SEAL_DIR=str(tmp_path))
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    told = json.loads(line)
    assert (told["breaks"], told["seal"], told["checked"]["entries"]) == ([], None, 32)
    assert told["checks"] == dict.fromkeys(verification.CHECKS, 0)
    assert told["rate"] > 0
    assert float(told["seconds"]) > 0


def test_broken_books_exit_1_and_say_where_in_json(day: Books, committed_db: Clone, tmp_path: Any) -> None:
    corrupt("UPDATE wallets_wallet SET balance = balance + 0.01 WHERE id = %s", day.alice)
    done = books.manage(committed_db, "verify_ledger", "--json", LEDGER_SEAL_DIR=str(tmp_path))
    assert done.returncode == 1
    told = json.loads(done.stdout)
    balance = Wallet.objects.get(pk=day.alice.pk).balance
    assert told["breaks"] == [
        {
            "check": "balance_is_sum_of_entries",
            "subject": f"wallet {day.alice.number}",
            "detail": f"balance {balance} and unfolded 0, entries sum to {day.alice.balance}",
        }
    ]
    assert told["checks"]["balance_is_sum_of_entries"] == 1
    assert "1 breaks in the ledger" in done.stderr


def test_a_person_is_told_in_words(day: Books) -> None:
    corrupt("UPDATE wallets_wallet SET head = sha256('forged') WHERE id = %s", day.alice)
    out, err = StringIO(), StringIO()
    with pytest.raises(CommandError, match="1 breaks in the ledger"):
        call_command("verify_ledger", stdout=out, stderr=err)
    assert err.getvalue().startswith(f"head_matches: wallet {day.alice.number}: its head is ")
    assert "entries per second, 1 breaks" in out.getvalue()
    assert f"{len(verification.CHECKS)} checks of 204 wallets" in out.getvalue()


def gauge() -> float:
    (metric,) = metrics.LEDGER_BREAKS.collect()
    return metric.samples[0].value


def test_the_run_is_on_record_and_on_the_gauge(day: Books) -> None:
    call_command("verify_ledger", "--json", stdout=StringIO())
    assert gauge() == 0
    corrupt("UPDATE wallets_wallet SET held = 0 WHERE id = %s", day.alice)
    with pytest.raises(CommandError):
        call_command("verify_ledger", "--json", stdout=StringIO())
    assert gauge() == 1
    runs = list(JobRun.objects.filter(name="verify_ledger").order_by("started_at"))
    assert [run.status for run in runs] == ["SUCCEEDED", "FAILED"]
    assert runs[1].counts["checks"]["held_is_pending_withdrawals"] == 1


def test_verifying_changes_nothing_and_blocks_nobody(day: Books) -> None:
    locked: list[Any] = []

    def look(step: str, _done: int, _total: int) -> None:
        if step == "chains" and not locked:
            locked.extend(ledger_cast.at_once(lambda: ledger_cast.transfer(day.alice, day.bob, "1.00").status))

    report = verification.verify_ledger(on_progress=look)
    # A transfer was committed while the chains were walked; the books it saw are those of the beginning.
    assert (locked, report.breaks, report.checked["transactions"]) == ([201], [], 15)
    assert breaks() == {}


@pytest.mark.timeout(300)
def test_a_hundred_thousand_entries_are_verified_within_a_minute(
    committed_db: Clone, capsys: pytest.CaptureFixture[str]
) -> None:
    wallets = [ledger_cast.wallet("100") for _ in range(50)]
    ledger_cast.post_in_bulk(wallets, entries=100_000)
    with database.as_owner() as cursor:
        # What autovacuum leaves when it looks at a table that is being filled: the worst case for a planner.
        cursor.execute(
            "UPDATE pg_class SET reltuples = 0, relpages = pg_relation_size(oid) / 8192"
            " WHERE relname LIKE 'wallets_%' AND relkind = 'r'"
        )
    report = verification.verify_ledger()
    with capsys.disabled():
        print(f"\n{report.checked['entries']} entries verified in {report.seconds} s, {report.rate} per second")
    assert report.breaks == []
    assert report.checked["entries"] == 100_100
    assert report.seconds < 60
