"""The floor says what the desk says, and leaves books that are right: else a ratio to it means nothing."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from bench.load import crowd, floor, record
from bench.load.record import Statement
from core.models import IdempotencyKey
from scripts import embedded_postgres
from tests import cast, database, wire
from tests.cast import CastMember
from tests.wallets.calls import transfer
from wallets import verification
from wallets.models import LedgerTransaction, Transfer

CLIENTS, PAYERS, SECONDS = 4, 8, 1.0
RING = floor.Ring(first_number=1, half=PAYERS, clients=CLIENTS, payers=PAYERS)

#: psycopg prepares a statement when it sees it for the fifth time.
WARM_UP = 7


def one_transfer(payer: CastMember, payee: CastMember) -> list[Statement]:
    return record.record(lambda: transfer(payer, payee.cash, "0.01"))


def recorded() -> list[Statement]:
    alice, bob = cast.alice(), cast.bob()
    return record.compared(one_transfer(alice, bob), one_transfer(bob, alice))


def test_everything_the_desk_says_in_a_transfer_is_recorded(committed_db: object) -> None:
    alice, bob = cast.alice(), cast.bob()
    for _ in range(WARM_UP):
        transfer(alice, bob.cash, "0.01")
    said: list[Statement] = []
    sent = wire.statements(lambda: said.extend(one_transfer(alice, bob)))
    assert sent == len(said) + 2  # BEGIN and COMMIT are not sent through a cursor


@pytest.mark.parametrize("pipelined", [False, True])
def test_the_floor_says_each_statement_as_it_was_recorded(committed_db: object, pipelined: bool) -> None:
    """What is between the parameters is the desk's own text; but a pipeline's WITH has one table expression more."""
    said = recorded()
    text, position = floor.script(said, RING, pipelined=pipelined).text, 0
    for statement in said:
        for piece in re.split(r"%\(\w+\)s|WITH ", statement.sql.strip()):
            assert piece in text[position:]
            position = text.index(piece, position) + len(piece)


def test_a_statement_that_the_floor_does_not_know_is_refused(committed_db: object) -> None:
    said = recorded()
    with pytest.raises(ValueError, match="statements"):
        floor.script([*said, said[0]], RING, pipelined=False)
    with pytest.raises(ValueError, match="expects token"):
        floor.script([said[1], said[0], *said[2:]], RING, pipelined=False)


def test_a_parameter_that_differs_each_time_is_not_taken_for_a_constant(committed_db: object) -> None:
    said = recorded()
    token = said[0]
    novel = replace(
        token,
        sql=f"{token.sql} AND id = %(session)s::uuid",
        params=token.params | {"session": "01890000-0000-7000-8000-000000000000"},
        differing=[*token.differing, "session"],
    )
    with pytest.raises(ValueError, match="how to make token's session"):
        floor.script([novel, *said[1:]], RING, pipelined=False)


@pytest.mark.parametrize("pipelined", [False, True])
def test_the_floor_leaves_consistent_books(committed_db: database.Clone, pipelined: bool) -> None:
    said = recorded()
    members = crowd.gather(2 * PAYERS)
    script = floor.script(said, floor.Ring.of(members, clients=CLIENTS, payers=PAYERS), pipelined=pipelined)
    floor.tell_tokens_by_place(committed_db.direct_url, members[:PAYERS])
    before = LedgerTransaction.objects.count(), Transfer.objects.count(), IdempotencyKey.objects.count()

    pgbench = embedded_postgres.locate(database.CLUSTER).binaries / "pgbench"
    shots = floor.fire(pgbench, committed_db.direct_url, script, clients=CLIENTS, seconds=SECONDS)

    after = LedgerTransaction.objects.count(), Transfer.objects.count(), IdempotencyKey.objects.count()
    assert len(shots.due) > 0
    assert [new - old for new, old in zip(after, before, strict=True)] == [len(shots.due)] * 3
    assert not IdempotencyKey.objects.exclude(status="COMPLETED").exists()
    found = verification.verify_ledger().found
    assert {check for check, count in found.items() if count} == {floor.UNCHECKED}
