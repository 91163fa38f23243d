"""What Python promises, the database refuses to let anybody break: every trigger and every constraint, by plain SQL."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.apps import apps
from django.db import DatabaseError, IntegrityError, connection, models, transaction
from django.utils import timezone

from core import audit
from core.audit import Actor
from core.db import constraint
from core.ids import HOUSE, uuid7
from core.models import AuditEvent, IdempotencyKey
from tests import database, ledger_cast
from wallets import ledger
from wallets.ledger import Leg, Reason, Type
from wallets.models import (
    Adjustment,
    BankAccount,
    Deposit,
    Entry,
    Kind,
    LedgerTransaction,
    PaymentReport,
    Seal,
    Transfer,
    UnfoldedLeg,
    Wallet,
    Withdrawal,
)

ROOMS = ("core", "wallets", "accounts", "trading", "referrals")


def execute(sql: str, params: Any = None) -> int:
    """Run one statement in a savepoint of its own, as somebody who has every right; how many rows it touched."""
    with transaction.atomic(), database.as_owner() as cursor:
        cursor.execute(sql, params)
        return int(cursor.rowcount)


def refusal(sql: str, params: Any = None) -> str:
    """The name of the constraint or trigger that refuses this statement."""
    with pytest.raises(IntegrityError) as refused:
        execute(sql, params)
    return constraint(refused.value)


def row_of(instance: models.Model) -> dict[str, Any]:
    """The row as JSON, as the database spells it."""
    table, key = instance._meta.db_table, instance._meta.pk.column
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT to_jsonb(t) FROM {table} t WHERE {key} = %s", [instance.pk])
        (row,) = cursor.fetchone() or ("",)
    decoded: dict[str, Any] = json.loads(row)
    return decoded


INSERT = "INSERT INTO {table} SELECT * FROM jsonb_populate_recordset(NULL::{table}, %s::jsonb)"


def refused_copy(instance: models.Model, **other: Any) -> str:
    """What refuses a row that is like this one but for its key and the columns named."""
    table = instance._meta.db_table
    row = row_of(instance) | {instance._meta.pk.column: str(uuid7())} | other
    return refusal(INSERT.format(table=table), [json.dumps([row], default=str)])


# --- Append-only ----------------------------------------------------------------------------------------------------


@pytest.fixture
def history(db: None) -> Iterator[None]:
    """A row in every append-only table, and proof that nothing has happened to them."""
    row = ledger_cast.wallet("10")
    Seal.objects.create(
        sealed_at=timezone.now(),
        wallets=1,
        entries=1,
        digest=bytes(32),
        signature=bytes(64),
        public_key=bytes(32),
        export="x.seal",
    )
    with transaction.atomic():
        audit.record("tests.row.written", actor=Actor.system(), owner=row.owner_id, subject=row)
    execute("SET CONSTRAINTS ALL IMMEDIATE")  # else TRUNCATE stumbles over foreign keys that still have to be checked
    kept = (LedgerTransaction, Entry, Seal, AuditEvent, Wallet)
    before = [sorted(model.objects.values_list(), key=str) for model in kept]
    assert all(before)
    yield
    assert [sorted(model.objects.values_list(), key=str) for model in kept] == before


@pytest.mark.parametrize(
    "statement,trigger",
    [
        ("UPDATE wallets_ledgertransaction SET reason = 'better'", "ledgertransaction_is_append_only"),
        ("UPDATE wallets_ledgertransaction SET reason = 'better' WHERE false", "ledgertransaction_is_append_only"),
        ("DELETE FROM wallets_ledgertransaction", "ledgertransaction_is_append_only"),
        ("TRUNCATE wallets_ledgertransaction CASCADE", "ledgertransaction_is_append_only"),
        ("UPDATE wallets_entry SET amount = amount * 2", "entry_is_append_only"),
        ("DELETE FROM wallets_entry", "entry_is_append_only"),
        ("TRUNCATE wallets_entry", "entry_is_append_only"),
        ("UPDATE wallets_seal SET digest = ''", "seal_is_append_only"),
        ("DELETE FROM wallets_seal", "seal_is_append_only"),
        ("TRUNCATE wallets_seal", "seal_is_append_only"),
        ("UPDATE core_auditevent SET action = 'nothing'", "auditevent_is_append_only"),
        ("DELETE FROM core_auditevent", "auditevent_is_append_only"),
        ("TRUNCATE core_auditevent", "auditevent_is_append_only"),
        ("DELETE FROM wallets_wallet", "wallet_is_never_deleted"),
        ("DELETE FROM wallets_wallet WHERE balance = 0", "wallet_is_never_deleted"),
        ("UPDATE wallets_wallet SET number = 'X' || number", "wallet_keeps_its_identity"),
        ("UPDATE wallets_wallet SET id = gen_random_uuid()", "wallet_keeps_its_identity"),
        ("UPDATE wallets_wallet SET currency = 'EUR'", "wallet_keeps_its_identity"),
        ("UPDATE wallets_wallet SET kind = 'MARGIN'", "wallet_keeps_its_identity"),
        ("UPDATE wallets_wallet SET environment = 'DEMO'", "wallet_keeps_its_identity"),
    ],
)
def test_what_happened_cannot_be_changed(history: None, statement: str, trigger: str) -> None:
    assert refusal(statement) == trigger


def test_a_table_is_not_emptied_by_way_of_another(history: None) -> None:
    # Which table's trigger speaks first is the server's choice; that one does is ours.
    assert refusal("TRUNCATE wallets_wallet CASCADE").endswith(("_is_append_only", "_is_never_deleted"))
    assert refusal("TRUNCATE accounts_user CASCADE").endswith(("_is_append_only", "_is_never_deleted"))


def test_a_wallet_keeps_its_owner(history: None) -> None:
    assert refusal("UPDATE wallets_wallet SET owner_id = %s", [ledger_cast.person()]) == "wallet_keeps_its_identity"


def test_a_wallet_may_change_in_everything_else(db: None) -> None:
    row = ledger_cast.wallet("10")
    assert execute("UPDATE wallets_wallet SET status = 'FROZEN', number = number WHERE id = %s", [row.pk]) == 1


# --- Postings -------------------------------------------------------------------------------------------------------

POST = """
WITH moved AS (
    UPDATE wallets_wallet w
       SET balance = w.balance + s.amount, version = s.version, head = decode(s.head, 'hex')
      FROM jsonb_to_recordset(%(wallets)s::jsonb) AS s (id uuid, amount numeric, version bigint, head text)
     WHERE w.id = s.id
), posted AS (
    INSERT INTO wallets_ledgertransaction
    SELECT * FROM jsonb_populate_recordset(NULL::wallets_ledgertransaction, %(transactions)s::jsonb)
)
INSERT INTO wallets_entry SELECT * FROM jsonb_populate_recordset(NULL::wallets_entry, %(entries)s::jsonb)
"""


@dataclass
class Forgery:
    """A posting by hand, right until a test spoils it: a dollar from the house to a client."""

    client: Wallet
    transaction: dict[str, Any] = field(default_factory=dict)
    wallets: list[dict[str, Any]] = field(default_factory=list)
    entries: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def right(cls) -> Forgery:
        client = ledger_cast.wallet("10")
        some = LedgerTransaction.objects.get(owner=client.owner_id)
        forged = cls(client, row_of(some) | {"id": str(uuid7()), "idempotency_digest": "\\x" + uuid7().hex})
        forged.wallets = [{"id": str(client.pk), "amount": "1", "version": 2, "head": "ab" * 32}]
        forged.entries = [
            forged.entry(client.pk, "1", balance_after="11", wallet_version=2, digest="\\x" + "ab" * 32),
            forged.entry(house_id(Kind.HOUSE_ADJUSTMENT), "-1"),
        ]
        return forged

    def entry(self, wallet: UUID, amount: str, **other: Any) -> dict[str, Any]:
        return {
            "id": str(uuid7()),
            "transaction_id": self.transaction["id"],
            "owner_id": str(self.client.owner_id),
            "wallet_id": str(wallet),
            "currency": "USD",
            "amount": amount,
            "reason": "ADJUSTMENT",
            "posted_at": self.transaction["posted_at"],
        } | other

    def params(self) -> dict[str, str]:
        rows = {"transactions": [self.transaction], "wallets": self.wallets, "entries": self.entries}
        return {name: json.dumps(value, default=str) for name, value in rows.items()}

    def refused_by(self) -> str:
        before = LedgerTransaction.objects.count(), Entry.objects.count()
        name = refusal(POST, self.params())
        assert (LedgerTransaction.objects.count(), Entry.objects.count()) == before
        assert ledger_cast.balance_of(self.client) == 10
        return name


def house_id(kind: Kind, currency: str = "USD", environment: str = "LIVE") -> UUID:
    return ledger.house(kind, currency, environment).id


def test_a_right_posting_is_let_through(db: None) -> None:
    forged = Forgery.right()
    assert execute(POST, forged.params()) == 2
    assert ledger_cast.balance_of(forged.client) == 11


def test_legs_sum_to_zero(db: None) -> None:
    forged = Forgery.right()
    forged.entries[1]["amount"] = "-0.99999999"
    assert forged.refused_by() == "entry_legs_sum_to_zero"


def test_legs_sum_to_zero_in_each_currency(db: None) -> None:
    forged = Forgery.right()
    forged.entries[1] |= {"wallet_id": str(house_id(Kind.HOUSE_ADJUSTMENT, "EUR")), "currency": "EUR"}
    assert forged.refused_by() == "entry_legs_sum_to_zero"


def test_one_leg_is_no_posting(db: None) -> None:
    forged = Forgery.right()
    del forged.entries[1]
    assert forged.refused_by() == "entry_legs_sum_to_zero"


def test_a_transaction_moves_something(db: None) -> None:
    forged = Forgery.right()
    forged.entries, forged.wallets = [], []
    assert forged.refused_by() == "ledgertransaction_has_legs"


def test_a_leg_moves_something(db: None) -> None:
    forged = Forgery.right()
    forged.entries.append(forged.entry(house_id(Kind.HOUSE_ADJUSTMENT), "0"))
    assert forged.refused_by() == "entry_amount_moves_something"


def test_demo_and_live_never_meet(db: None) -> None:
    forged = Forgery.right()
    forged.entries[1]["wallet_id"] = str(house_id(Kind.HOUSE_ADJUSTMENT, environment="DEMO"))
    assert forged.refused_by() == "entry_stays_in_one_environment"


def test_a_transaction_says_its_environment(db: None) -> None:
    forged = Forgery.right()
    forged.transaction["environment"] = "DEMO"
    assert forged.refused_by() == "entry_stays_in_one_environment"


def test_an_entry_has_its_wallets_currency(db: None) -> None:
    forged = Forgery.right()
    for entry in forged.entries:
        entry["currency"] = "EUR"
    assert forged.refused_by() == "entry_has_its_wallets_currency"


def test_an_entry_has_its_wallets_owner(db: None) -> None:
    forged = Forgery.right()
    forged.entries[0]["owner_id"] = str(ledger_cast.person())
    assert forged.refused_by() == "entry_has_its_wallets_owner"


def test_a_leg_of_the_house_has_its_transactions_owner(db: None) -> None:
    forged = Forgery.right()
    forged.entries[1]["owner_id"] = str(HOUSE)
    assert forged.refused_by() == "entry_of_the_house_has_its_transactions_owner"


def test_an_entry_belongs_to_a_transaction(db: None) -> None:
    forged = Forgery.right()
    forged.entries += [forged.entry(house_id(kind), "5", transaction_id=str(uuid7())) for kind in (Kind.HOUSE_SWAP,)]
    assert forged.refused_by() == "entry_transaction_exists"


def test_an_entry_belongs_to_a_wallet(db: None) -> None:
    forged = Forgery.right()
    forged.entries[1]["wallet_id"] = str(uuid7())
    assert forged.refused_by() == "entry_wallet_exists"


def test_the_head_of_the_chain_is_the_wallets_head(db: None) -> None:
    forged = Forgery.right()
    forged.wallets[0]["head"] = "cd" * 32
    assert forged.refused_by() == "entry_is_the_wallets_head"


def test_the_last_balance_is_the_wallets_balance(db: None) -> None:
    forged = Forgery.right()
    forged.entries[0]["balance_after"] = "12"
    assert forged.refused_by() == "entry_is_the_wallets_head"


def test_an_entry_cannot_run_ahead_of_its_wallet(db: None) -> None:
    forged = Forgery.right()
    forged.wallets = []
    assert forged.refused_by() == "entry_is_chained"


@pytest.mark.parametrize("reason,amount", [("CREDIT_IN", "1"), ("CREDIT_OUT", "-1")])
def test_a_cash_wallet_gets_no_credit(db: None, reason: str, amount: str) -> None:
    forged = Forgery.right()
    for entry, signed in zip(forged.entries, (amount, str(-int(amount))), strict=True):
        entry |= {"reason": reason, "amount": signed}
    forged.wallets[0]["amount"] = "0"
    forged.entries[0]["balance_after"] = "10"
    assert forged.refused_by() == "entry_of_credit_is_a_margin_wallets"


@pytest.mark.parametrize("reason,amount", [("CREDIT_IN", "-1"), ("CREDIT_OUT", "1")])
def test_credit_that_goes_the_wrong_way_is_refused(db: None, reason: str, amount: str) -> None:
    forged = Forgery.right()
    forged.entries[0] |= {"reason": reason, "amount": amount}
    assert forged.refused_by() == "entry_credit_says_its_direction"


def test_a_clients_entry_is_chained(db: None) -> None:
    forged = Forgery.right()
    forged.entries[0] |= {"balance_after": None, "wallet_version": None, "digest": None}
    assert forged.refused_by() == "entry_is_chained"


@pytest.mark.parametrize("column", ["balance_after", "wallet_version", "digest"])
def test_a_chained_entry_is_whole(db: None, column: str) -> None:
    forged = Forgery.right()
    forged.entries[0][column] = None
    assert forged.refused_by() == "entry_is_chained_or_house"


def test_an_entry_of_the_house_is_not_chained(db: None) -> None:
    forged = Forgery.right()
    forged.entries[1] |= {"balance_after": "-11", "wallet_version": 1, "digest": "\\x" + "ab" * 32}
    assert forged.refused_by() == "entry_of_the_house_is_not_chained"


def test_no_version_is_used_twice(db: None) -> None:
    forged = Forgery.right()
    forged.entries[0] |= {"wallet_version": 1}
    assert forged.refused_by() == "entry_wallet_version"


def test_nothing_is_added_to_a_posted_transaction(db: None) -> None:
    forged = Forgery.right()
    execute(POST, forged.params())
    for currency in ("USD", "EUR"):
        legs = [
            forged.entry(house_id(kind, currency), amount, currency=currency)
            for kind, amount in ((Kind.HOUSE_SWAP, "7"), (Kind.HOUSE_COMMISSION, "-7"))
        ]
        insert = INSERT.format(table="wallets_entry")
        assert refusal(insert, [json.dumps(legs, default=str)]) == "entry_joins_nothing_posted"
    assert Entry.objects.filter(transaction=forged.transaction["id"]).count() == 2


def test_one_bad_posting_spoils_the_statement_it_is_in(db: None) -> None:
    forged = Forgery.right()
    other = row_of(LedgerTransaction.objects.get(owner=forged.client.owner_id)) | {
        "id": str(uuid7()),
        "idempotency_digest": "\\x" + uuid7().hex,
    }
    forged.entries += [
        forged.entry(house_id(Kind.HOUSE_SWAP), "5", transaction_id=other["id"]),
        forged.entry(house_id(Kind.HOUSE_COMMISSION), "-4", transaction_id=other["id"]),
    ]
    params = forged.params() | {"transactions": json.dumps([forged.transaction, other], default=str)}
    assert refusal(POST, params) == "entry_legs_sum_to_zero"
    assert ledger_cast.balance_of(forged.client) == 10


# --- Constraints ----------------------------------------------------------------------------------------------------


def a_wallet() -> Wallet:
    return ledger_cast.wallet("10")


def a_margin_wallet() -> Wallet:
    return ledger_cast.wallet("10", kind=Kind.MARGIN)


def a_house_wallet() -> Wallet:
    return Wallet.objects.get(number="HOUSE_SWAP-USD-LIVE")


def a_transaction() -> LedgerTransaction:
    return LedgerTransaction.objects.get(owner=ledger_cast.wallet("10").owner_id)


def an_entry() -> Entry:
    return Entry.objects.get(wallet=ledger_cast.wallet("10"))


def an_unfolded_leg() -> UnfoldedLeg:
    ledger_cast.wallet("10")
    return UnfoldedLeg.objects.get()


def a_deposit() -> Deposit:
    wallet = ledger_cast.wallet("10")
    return Deposit.objects.create(
        owner_id=wallet.owner_id,
        wallet=wallet,
        amount=Decimal("5.00"),
        currency="USD",
        status="PENDING",
        provider="manual",
        idempotency_digest=uuid7().bytes,
        expires_at=timezone.now(),
    )


def a_withdrawal(**columns: Any) -> Withdrawal:
    wallet = ledger_cast.wallet("10")
    account = a_bank_account(wallet.owner_id)
    return Withdrawal.objects.create(
        owner_id=wallet.owner_id,
        wallet=wallet,
        bank_account=account,
        amount=Decimal("5.00"),
        currency="USD",
        status="REQUESTED",
        idempotency_digest=uuid7().bytes,
        **columns,
    )


def a_bank_account(owner: UUID) -> BankAccount:
    return BankAccount.objects.create(
        owner_id=owner,
        holder="H",
        bank_name="B",
        code_type="IBAN",
        number_encrypted=b"x",
        number_hash=uuid7().bytes,
        number_last_four="1234",
    )


def a_payment_report() -> PaymentReport:
    now = timezone.now()
    return PaymentReport.objects.create(
        provider="webhook",
        reference="pay_1",
        deposit_ref=uuid7(),
        succeeded=True,
        amount=Decimal("5.00"),
        currency="USD",
        first_received_at=now,
        last_received_at=now,
    )


def an_adjustment(**columns: Any) -> Adjustment:
    wallet = ledger_cast.wallet("10")
    return Adjustment.objects.create(
        owner_id=wallet.owner_id,
        wallet=wallet,
        direction="CREDIT",
        amount=Decimal("5.00"),
        currency="USD",
        reason="R",
        idempotency_digest=uuid7().bytes,
        proposed_by_id=ledger_cast.person(),
        **columns,
    )


def a_transfer() -> Transfer:
    source, target = ledger_cast.wallet("10"), ledger_cast.wallet("10")
    ledger_cast.transfer(source, target, "1.00")
    return Transfer.objects.get(source=source)


def a_decided_adjustment() -> Adjustment:
    return an_adjustment(status="REJECTED", decided_by_id=ledger_cast.person(), decided_at=timezone.now(), decision="D")


def a_key() -> IdempotencyKey:
    a_transfer()
    return IdempotencyKey.objects.get()


#: Every CHECK of these rooms, a row that keeps it, and what breaks it.
CHECKS: dict[str, tuple[Any, dict[str, Any]]] = {
    "wallet_balance_bounded": (a_wallet, {"balance": "NaN"}),
    "wallet_balance_not_negative": (a_margin_wallet, {"balance": "-0.01"}),
    "wallet_held_not_negative": (a_wallet, {"held": "-0.01"}),
    "wallet_cash_covers_its_holds": (a_wallet, {"held": "10.01"}),
    "wallet_credit_not_negative": (a_margin_wallet, {"credit": "-0.01"}),
    "wallet_cash_has_no_credit": (a_wallet, {"credit": "0.01"}),
    "wallet_realized_profit_bounded": (a_wallet, {"realized_profit": "NaN"}),
    "wallet_version_not_negative": (a_wallet, {"version": -1}),
    "wallet_currency_known": (a_wallet, {"currency": "DEM"}),
    "wallet_environment_known": (a_wallet, {"environment": "TEST"}),
    "wallet_kind_known": (a_house_wallet, {"kind": "SLUSH"}),
    "wallet_house_is_append_only": (a_house_wallet, {"version": 1}),
    "ledgertransaction_reversal_names_its_original": (a_transaction, {"type": "REVERSAL"}),
    "entry_amount_moves_something": (an_entry, {"amount": "0"}),
    "entry_credit_says_its_direction": (an_entry, {"reason": "CREDIT_OUT"}),
    "entry_is_chained_or_house": (an_entry, {"digest": None}),
    "unfoldedleg_amount_moves_something": (an_unfolded_leg, {"amount": "0"}),
    "deposit_amount_positive": (a_deposit, {"amount": "0"}),
    "deposit_is_posted_when_completed": (a_deposit, {"status": "COMPLETED"}),
    "withdrawal_amount_positive": (a_withdrawal, {"amount": "-5"}),
    "withdrawal_approver_is_not_its_owner": (a_withdrawal, {"approved_by_id": "owner_id"}),
    "withdrawal_approvers_are_two_people": (a_withdrawal, {"second_approved_by_id": str(HOUSE)}),
    "withdrawal_is_approved_before_it_leaves": (a_withdrawal, {"status": "APPROVED"}),
    "withdrawal_is_posted_when_completed": (a_withdrawal, {"status": "COMPLETED", "approved_by_id": str(HOUSE)}),
    "adjustment_amount_positive": (an_adjustment, {"amount": "0"}),
    "adjustment_direction_known": (an_adjustment, {"direction": "ASIDE"}),
    "adjustment_has_its_reasons": (an_adjustment, {"reason": ""}),
    "adjustment_is_decided_by_someone": (an_adjustment, {"decided_by_id": str(HOUSE)}),
    "adjustment_is_posted_when_approved": (
        an_adjustment,
        {"status": "APPROVED", "decided_by_id": str(HOUSE), "decided_at": "proposed_at", "decision": "D"},
    ),
    "adjustment_takes_two_other_people": (an_adjustment, {"proposed_by_id": "owner_id"}),
    "paymentreport_amount_positive": (a_payment_report, {"amount": "NaN"}),
    "transfer_amount_positive": (a_transfer, {"amount": "0"}),
    "transfer_wallets_differ": (a_transfer, {"target_id": "source_id"}),
    "idempotencykey_answered_when_ended": (a_key, {"response_body": None}),
}


@pytest.mark.parametrize("name", CHECKS)
def test_every_check_refuses_what_breaks_it(db: None, name: str) -> None:
    make, other = CHECKS[name]
    instance = make()
    row = row_of(instance)
    # A value that names another column stands for what is in that column.
    other = {column: row.get(value, value) if isinstance(value, str) else value for column, value in other.items()}
    # Constraints are judged before unique indexes and triggers, so a copy of the row will do.
    assert refused_copy(instance, **other) == name


def test_no_check_is_forgotten(db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT conname FROM pg_constraint"
            " WHERE contype = 'c' AND conrelid::regclass::text ~ '^(core|wallets)_' ORDER BY conname"
        )
        assert [name for (name,) in cursor.fetchall()] == sorted(CHECKS)


@pytest.mark.parametrize(
    "make,change",
    [
        (an_adjustment, "amount = amount + 1"),
        (an_adjustment, "direction = 'DEBIT'"),
        (an_adjustment, "reason = 'Better'"),
        (an_adjustment, "proposed_by_id = decided_by_id"),
        (a_decided_adjustment, "status = 'PROPOSED', decided_by_id = NULL, decided_at = NULL"),
        (a_decided_adjustment, "decision = 'Better'"),
    ],
)
def test_an_adjustment_keeps_what_two_people_said(db: None, make: Any, change: str) -> None:
    row = make()
    assert refusal(f"UPDATE wallets_adjustment SET {change} WHERE id = %s", [row.pk]) == "adjustment_keeps_its_terms"
    assert refusal("DELETE FROM wallets_adjustment WHERE id = %s", [row.pk]) == "adjustment_is_never_deleted"


def test_a_house_wallet_holds_nothing_back(db: None) -> None:
    house = a_house_wallet()
    for column in ("held", "credit"):
        assert refusal(f"UPDATE wallets_wallet SET {column} = 1 WHERE id = %s", [house.pk]) == (
            "wallet_house_is_append_only"
        )
    assert execute("UPDATE wallets_wallet SET balance = -5 WHERE id = %s", [house.pk]) == 1  # it may owe


def test_a_house_wallet_exists_once(db: None) -> None:
    assert refused_copy(a_house_wallet(), number="ANOTHER") == "wallet_house_exists_once"


def test_a_transaction_is_reversed_once(db: None) -> None:
    row = ledger_cast.wallet("10")
    original = LedgerTransaction.objects.get(owner=row.owner_id)

    def reverse() -> None:
        with transaction.atomic():
            (locked,) = ledger.lock_wallets(row.number)
            house = ledger_cast.house(Kind.HOUSE_ADJUSTMENT, locked)
            legs = [
                Leg(locked, Decimal("-1.00"), Reason.REVERSAL),
                Leg(house, Decimal("1.00"), Reason.REVERSAL),
            ]
            ledger_cast.post(legs, type=Type.REVERSAL, owner=locked.owner, reverses=original.pk)

    reverse()
    with pytest.raises(IntegrityError) as refused:
        reverse()
    assert constraint(refused.value) == "wallets_ledgertransaction_reverses_id_key"
    assert ledger_cast.balance_of(row) == 9


def test_a_withdrawal_is_approved_by_others_and_a_large_one_by_two(db: None) -> None:
    small, large = a_withdrawal(), a_withdrawal(two_person=True)
    one, another = ledger_cast.person(), ledger_cast.person()

    def refused(row: Withdrawal, **columns: object) -> str:
        names = ", ".join(f"{column} = %s" for column in columns)
        return refusal(f"UPDATE wallets_withdrawal SET {names} WHERE id = %s", [*columns.values(), row.pk])

    def accepted(row: Withdrawal, **columns: object) -> bool:
        names = ", ".join(f"{column} = %s" for column in columns)
        return execute(f"UPDATE wallets_withdrawal SET {names} WHERE id = %s", [*columns.values(), row.pk]) == 1

    for row in (small, large):
        for status in ("APPROVED", "SENT"):
            assert refused(row, status=status) == "withdrawal_is_approved_before_it_leaves"
        assert refused(row, approved_by_id=row.owner_id) == "withdrawal_approver_is_not_its_owner"
        assert refused(row, second_approved_by_id=one) == "withdrawal_approvers_are_two_people"
    assert refused(large, status="SENT", approved_by_id=one) == "withdrawal_is_approved_before_it_leaves"
    for second in (one, large.owner_id):
        columns = {"status": "APPROVED", "approved_by_id": one, "second_approved_by_id": second}
        assert refused(large, **columns) == "withdrawal_approvers_are_two_people"
    assert accepted(large, status="APPROVED", approved_by_id=one, second_approved_by_id=another)
    assert accepted(small, status="SENT", approved_by_id=one)


# --- NaN ------------------------------------------------------------------------------------------------------------


def numeric_columns() -> list[tuple[str, str]]:
    """Every NUMERIC column of every table of ours, as the models have them."""
    return [
        (model._meta.db_table, str(column.column))
        for room in ROOMS
        for model in apps.get_app_config(room).get_models()
        for column in model._meta.local_fields
        if isinstance(column, models.DecimalField)
    ]


def test_no_numeric_column_takes_nan(db: None) -> None:
    """NaN passes `x >= 0` and every other lower bound; so each column needs an upper one, for NaN is above all."""
    columns = numeric_columns()
    assert len(columns) > 10
    assert [f"{table}.{column}" for table, column in columns if _takes_nan(table, column)] == []


def _takes_nan(table: str, column: str) -> bool:
    """Ask the table's own constraints about this column alone (NULL passes them) and, if others bound it, beside 1."""
    numeric = [name for owner, name in numeric_columns() if owner == table]
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"CREATE TEMP TABLE probe (LIKE {table} INCLUDING CONSTRAINTS)")
        cursor.execute(
            "SELECT string_agg(format('ALTER COLUMN %I DROP NOT NULL', attname), ', ') FROM pg_attribute"
            " WHERE attrelid = 'probe'::regclass AND attnum > 0"
        )
        (relax,) = cursor.fetchone() or ("",)
        cursor.execute(f"ALTER TABLE probe {relax}")
        alone = _accepts({column: "NaN"})
        ones = dict.fromkeys(numeric, "1")
        beside_others = not _accepts(ones) or _accepts(ones | {column: "NaN"})
        cursor.execute("DROP TABLE probe")
    return alone and beside_others


def _accepts(row: dict[str, str]) -> bool:
    try:
        execute(f"INSERT INTO probe ({', '.join(row)}) VALUES ({', '.join(['%s'] * len(row))})", list(row.values()))
    except IntegrityError:
        return False
    return True


def test_no_numeric_column_takes_infinity(db: None) -> None:
    row = ledger_cast.wallet("10")
    with pytest.raises(DatabaseError, match="numeric field overflow"):
        execute("UPDATE wallets_wallet SET credit = 'Infinity' WHERE id = %s", [row.pk])
    with pytest.raises(DatabaseError, match="numeric field overflow"):
        execute("INSERT INTO wallets_unfoldedleg VALUES (gen_random_uuid(), '-Infinity', %s)", [row.pk])
    assert UnfoldedLeg.objects.filter(wallet=row).count() == 0
