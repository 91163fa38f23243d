"""Demo money and live money never meet: not by the API, not by a service, not by SQL."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.db import Error as DatabaseFault
from django.db import connection, transaction
from django.db.models import F

from core.audit import Actor
from core.idempotency import Claim, system_digest
from core.ids import uuid7
from tests import cast, database
from tests.cast import CastMember
from tests.wallets.calls import books, key, refused, transfer
from wallets import ledger
from wallets.ledger import Leg, Reason, Type
from wallets.models import Entry, Environment, Kind, Wallet
from wallets.rules import EnvironmentMismatch
from wallets.services import transfers

TEN = Decimal("10.00")


@pytest.fixture
def demo(db: None) -> CastMember:
    return cast.make_client(environment=Environment.DEMO)


# --- By the API -----------------------------------------------------------------------------------------------------


def test_the_api_refuses_a_transfer_from_demo_to_live(demo: CastMember, alice: CastMember) -> None:
    before = books()
    assert refused(transfer(demo, alice.cash, "10.00"), 422, "ENVIRONMENT_MISMATCH")
    assert books() == before


def test_the_api_refuses_a_transfer_from_live_to_demo(demo: CastMember, alice: CastMember) -> None:
    before = books()
    assert refused(transfer(alice, demo.cash, "10.00"), 422, "ENVIRONMENT_MISMATCH")
    assert books() == before


def test_the_api_refuses_it_between_a_clients_own_wallets(alice: CastMember) -> None:
    """The same person's demo and live wallets are as far apart as anybody's."""
    with transaction.atomic():
        opened = ledger.open_wallet(
            owner=alice.user.pk, environment=Environment.DEMO, kind=Kind.MARGIN, currency="USD", verified=True
        )
    before = books()
    assert refused(transfer(alice, Wallet.objects.get(pk=opened.id), "10.00"), 422, "ENVIRONMENT_MISMATCH")
    assert books() == before


# --- By a service ---------------------------------------------------------------------------------------------------


def test_the_service_refuses_it(demo: CastMember, alice: CastMember) -> None:
    terms: dict[str, Any] = {"source": demo.cash.number, "target": alice.cash.number, "amount": TEN}
    claim = Claim.make(operation=transfers.TRANSFER, owner=demo.user.pk, key=key(), request=terms)
    before = books()
    answer = transfers.transfer_funds(**terms, claim=claim, actor=demo.actor)
    assert (answer.status, answer.document["code"]) == (422, EnvironmentMismatch.code)
    assert books() == before


@pytest.mark.parametrize("counterpart", ["a client's", "the house's"])
def test_the_ledger_refuses_to_post_it(demo: CastMember, alice: CastMember, counterpart: str) -> None:
    before = books()
    with pytest.raises(AssertionError, match="one currency and environment"), transaction.atomic():
        _post_across(demo, alice, counterpart)
    assert books() == before


def _post_across(demo: CastMember, alice: CastMember, counterpart: str) -> None:
    source, target = ledger.lock_wallets(demo.cash.number, alice.cash.number)
    house = ledger.house(Kind.HOUSE_PAYMENT_CLEARING, "USD", Environment.LIVE)
    ledger.post(
        [
            Leg(source, -TEN, Reason.TRANSFER),
            Leg(target if counterpart == "a client's" else house, TEN, Reason.TRANSFER),
        ],
        type=Type.TRANSFER,
        owner=source.owner,
        actor=Actor.system(),
        now=datetime.now(UTC),
        digest=system_digest(key()),
    )


# --- By SQL ---------------------------------------------------------------------------------------------------------

POST = """
WITH moved AS (
    UPDATE wallets_wallet SET balance = balance + CASE id WHEN %(source)s THEN -10 ELSE 10 END,
           version = version + 1, head = %(head)s
     WHERE id IN (%(source)s, %(target)s) AND kind IN ('CASH', 'MARGIN')
    RETURNING id
), posted AS (
    INSERT INTO wallets_ledgertransaction
           (id, owner_id, type, environment, actor_id, actor_kind, reason, reference, idempotency_digest, request_id,
            posted_at, effective_at)
    VALUES (%(id)s, %(owner)s, 'TRANSFER', %(environment)s, %(owner)s, 'CLIENT', '', '', %(digest)s, '', now(), now())
)
INSERT INTO wallets_entry
       (id, transaction_id, owner_id, wallet_id, currency, amount, reason, balance_after, wallet_version, digest,
        posted_at)
SELECT gen_random_uuid(), %(id)s, w.owner_id, w.id, w.currency, leg.amount, 'TRANSFER', w.balance + leg.amount,
       w.version + 1, %(head)s, now()
  FROM (VALUES (%(source)s::uuid, -10.00), (%(target)s::uuid, 10.00)) AS leg (wallet_id, amount)
  JOIN wallets_wallet w ON w.id = leg.wallet_id
"""


def post_by_hand(source: Wallet, target: Wallet, *, environment: str, owner: UUID | None = None) -> None:
    """A transfer as somebody with a database console would craft it: balanced, chained, and right in every column."""
    params: dict[str, Any] = {
        "id": uuid7(),
        "source": source.pk,
        "target": target.pk,
        "owner": owner or source.owner_id,
        "environment": environment,
        "digest": bytes(32),
        "head": b"\x01" * 32,
    }
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(POST, params)


def test_what_is_crafted_within_one_environment_passes_the_guards(alice: CastMember, bob: CastMember) -> None:
    """Else the refusals below would prove nothing about environments."""
    post_by_hand(alice.cash, bob.cash, environment="LIVE")
    bob.cash.refresh_from_db()
    assert bob.cash.balance == Decimal("1010.00")


@pytest.mark.parametrize("environment", ["DEMO", "LIVE"])
def test_the_database_refuses_a_crafted_transaction_between_them(
    demo: CastMember, alice: CastMember, environment: str
) -> None:
    before = books()
    with pytest.raises(DatabaseFault, match="entry_stays_in_one_environment"):
        post_by_hand(demo.cash, alice.cash, environment=environment)
    assert books() == before


def test_the_database_refuses_a_leg_added_later(demo: CastMember, alice: CastMember) -> None:
    posted = Entry.objects.filter(wallet=demo.cash).values_list("transaction_id", flat=True).get()
    before = books()
    with pytest.raises(DatabaseFault, match="entry_"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO wallets_entry (id, transaction_id, owner_id, wallet_id, currency, amount, reason, balance_after,
                                       wallet_version, digest, posted_at)
            SELECT gen_random_uuid(), %s, owner_id, id, currency, 10, 'TRANSFER', balance, version, head, now()
              FROM wallets_wallet WHERE id = %s
            """,
            [posted, alice.cash.pk],
        )
    assert books() == before


def test_a_wallet_cannot_change_sides(demo: CastMember) -> None:
    with pytest.raises(DatabaseFault, match="append-only"), transaction.atomic():
        Wallet.objects.filter(pk=demo.cash.pk).update(environment=Environment.LIVE)
    demo.cash.refresh_from_db()
    assert demo.cash.environment == "DEMO"


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE wallets_ledgertransaction SET environment = 'LIVE'",
        "UPDATE wallets_entry SET wallet_id = %(target)s",
        "DELETE FROM wallets_entry",
        "TRUNCATE wallets_entry",
        "DELETE FROM wallets_wallet",
    ],
)
def test_what_was_posted_cannot_be_moved_over(demo: CastMember, alice: CastMember, statement: str) -> None:
    before = books()
    with pytest.raises(DatabaseFault, match="append-only"), transaction.atomic(), database.as_owner() as cursor:
        cursor.execute(statement, {"target": alice.cash.pk})
    assert books() == before


def test_no_house_wallet_serves_both(db: None) -> None:
    ids = {
        ledger.house(kind, "USD", environment).id
        for kind in Kind
        if kind not in {Kind.CASH, Kind.MARGIN}
        for environment in Environment
    }
    assert len(ids) == 2 * (len(Kind) - 2)
    assert not Wallet.objects.filter(pk__in=ids).exclude(number__endswith=F("environment")).exists()
