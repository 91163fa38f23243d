"""
The floor: pgbench says to PostgreSQL what the desk says in a transfer, with nothing between the two.

The statements are not written here. They are recorded from a real transfer of the desk and turned into a script for
pgbench: what is the same in every transfer stays a parameter with its recorded value, what differs from one to the next
becomes an expression, or a value that an earlier statement returned. Where the script then differs from the desk:

- The client's arithmetic is left to SQL: ids by `uuidv7()`, balances and versions from the locked rows.
- A token's and an idempotency key's digest are the SHA-256 of a number. A link in a wallet's chain is the SHA-256 of
  the link before it and a number, so the chain does not verify; all else does.
- The answer stored under the key and the request's id are the recorded ones each time.
- The lock's two rows come back as one, since pgbench keeps values of one row.
- Without the health check of a kept connection, which asks nothing.

As a pipeline nothing that a statement returns can reach the client before the next is sent. There each statement reads
for itself what it needs: the caller from the token, the wallets from the rows that the lock before it holds.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from bench.load import record, systems
from bench.load.crowd import Member
from bench.load.generator import Shots
from bench.load.record import Statement
from bench.load.systems import Server, System
from scripts import environment

AMOUNT = "0.01"
#: What differs from one transfer to the next, and is the recorded one each time: nothing is looked up by it.
ALIKE = ("response_body", "request_id")
#: The one check of the ledger that the floor's books do not pass.
UNCHECKED = "digest_chain"
PARAMETER = re.compile(r"%\((\w+)\)s")

_NOW = {"now": "now()", "effective_at": "now()", "key_expires_at": "now() + interval '1 hour'"}
_PLACE, _NONCE = "sha256(int8send(:place))", "sha256(int8send(:nonce))"
_SOURCE, _TARGET = "'W' || :source::text", "'W' || :target::text"
_PAIR = f"s.number = {_SOURCE} AND t.number = {_TARGET}"

#: What the posting needs of the two wallets, under the names of its parameters: `s` pays `t`.
_AFTER = ", ".join(
    f"{row}.id AS w{n}_id, {row}.owner_id AS w{n}_owner, {row}.version AS w{n}_seen, {row}.held AS w{n}_seen_held,"
    f" {row}.balance {sign} {AMOUNT} AS w{n}_balance, {row}.held AS w{n}_held, {row}.credit AS w{n}_credit,"
    f" {row}.realized_profit AS w{n}_realized, {row}.version + 1 AS w{n}_version,"
    f" sha256({row}.head || int8send(:nonce)) AS w{n}_head"
    for n, (row, sign) in enumerate((("s", "-"), ("t", "+")))
)
_WALLET_FACTS = ("id", "owner", "seen", "seen_held", "balance", "held", "credit", "realized", "version", "head")
#: An entry repeats what its wallet has become.
_ENTRY_FACTS = {"owner": "owner", "wallet": "id", "balance": "balance", "version": "version", "digest": "head"}
#: The posting's parameters that stand for something the lock knows, and the names of those.
_FROM_THE_LOCK = (
    {f"w{n}_{fact}": f"w{n}_{fact}" for n in (0, 1) for fact in _WALLET_FACTS}
    | {f"e{n}_{fact}": f"w{n}_{wallets}" for n in (0, 1) for fact, wallets in _ENTRY_FACTS.items()}
    | {"id": "posting", "effect_id": "posting", "source": "w0_id", "target": "w1_id"}
)


@dataclass(frozen=True, slots=True)
class Step:
    """One of the desk's statements: how it is known, and what its parameters are each time."""

    name: str
    marker: str
    fresh: Mapping[str, str]
    returned: Mapping[str, str]  # parameters whose value an earlier statement returned, and its name there
    as_one_row: str = ""  # around the statement, so that it returns one row of values to keep
    keeps: bool = False
    known: str = ""  # in a pipeline: the table expression with the values of `returned`


_CALLER = f"SELECT owner_id AS token_owner_id FROM accounts_apitoken WHERE digest = {_PLACE}"  # noqa: S608 - ours
STEPS = (
    Step("token", "FROM accounts_apitoken", {"digest": _PLACE} | _NOW, {}, keeps=True),
    Step(
        "claim",
        "pg_try_advisory_xact_lock",
        {"lock_id": ":nonce", "digest": _NONCE},
        {"owner": "token_owner_id"},
        known=_CALLER,
    ),
    Step(
        "lock",
        "FOR NO KEY UPDATE OF w",
        {"0": _SOURCE, "1": _TARGET},
        {},
        as_one_row=f"WITH locked AS MATERIALIZED ({{}})\nSELECT uuidv7() AS posting, {_AFTER}\n"
        f"  FROM locked s CROSS JOIN locked t WHERE {_PAIR}",
        keeps=True,
    ),
    Step(
        "post",
        "INTO wallets_ledgertransaction",
        dict.fromkeys(("e0_id", "e1_id", "transfer_id", "key_id"), "uuidv7()")
        | dict.fromkeys(("digest", "key_digest", "key_request_hash"), _NONCE)
        | _NOW,
        _FROM_THE_LOCK | dict.fromkeys(("owner", "actor_id", "key_owner"), "token_owner_id"),
        known=f"SELECT uuidv7() AS posting, caller.*, {_AFTER}\n"  # noqa: S608 - ours
        f"  FROM ({_CALLER}) caller, wallets_wallet s, wallets_wallet t WHERE {_PAIR}",
    ),
)


@dataclass(frozen=True, slots=True)
class Script:
    """What pgbench runs, and the constants it is given."""

    text: str
    constants: dict[str, str]


@dataclass(frozen=True, slots=True)
class Ring:
    """Who pays whom, as `desk_transfers` has it: the first so many wallets pay those half way round."""

    first_number: int
    half: int
    clients: int
    payers: int

    @classmethod
    def of(cls, members: Sequence[Member], *, clients: int, payers: int) -> Ring:
        """Among these members, whose wallets' numbers have to follow one another: the script counts them."""
        first, half = int(members[0].cash.removeprefix("W")), len(members) // 2
        assert [member.cash for member in members] == [f"W{first + place}" for place in range(len(members))]
        assert payers <= half, "who pays is not paid"
        assert payers % clients == 0, "each client has as many wallets of its own to pay from"
        return cls(first, half, clients, payers)


def script(recorded: Sequence[Statement], ring: Ring, *, pipelined: bool) -> Script:
    """
    A transfer as pgbench's script: each client pays from wallets of its own, so that none waits for another's.

    :raises ValueError: if the desk says something that the floor does not know how to say
    """
    if len(recorded) != len(STEPS):
        raise ValueError(
            f"the desk's transfer is {len(recorded)} statements, and the floor knows {len(STEPS)}: see STEPS"
        )
    constants: dict[str, str] = {}
    lines = [
        f"\\set place :client_id + {ring.clients} * random(0, {ring.payers // ring.clients - 1})",
        f"\\set source {ring.first_number} + :place",
        f"\\set target :source + {ring.half}",
        f"\\set nonce random(1, {2**62})",
        *(["\\startpipeline"] if pipelined else []),
    ]
    is_in_transaction = False
    for step, said in zip(STEPS, recorded, strict=True):
        if step.marker not in said.sql:
            raise ValueError(f"where the floor expects {step.name}, the desk says: {said.sql.strip()[:60]}")
        if said.is_in_transaction and not is_in_transaction:
            lines += ["\\syncpipeline", "BEGIN;"] if pipelined else ["BEGIN;"]
            is_in_transaction = True
        lines.append(_statement(step, said, constants, pipelined=pipelined))
    lines += ["COMMIT;", *(["\\endpipeline"] if pipelined else [])]
    return Script("\n".join(lines) + "\n", constants)


def _statement(step: Step, said: Statement, constants: dict[str, str], *, pipelined: bool) -> str:
    def put(found: re.Match[str]) -> str:
        name = found[1]
        if name in step.returned:
            value = step.returned[name]
            return f"(SELECT {value} FROM known)" if pipelined else f":{value}"  # noqa: S608 - ours
        if name in step.fresh:
            return f"({step.fresh[name]})"
        if name in said.differing and name not in ALIKE:
            raise ValueError(f"the floor does not know how to make {step.name}'s {name}")
        constant = said.params[name]
        if not constant:  # pgbench takes no empty variables
            return "NULL" if constant is None else "''"
        constants[f"{step.name}_{name}"] = constant
        return f":{step.name}_{name}"

    text = PARAMETER.sub(put, said.sql).replace("%%", "%").strip()
    if pipelined:
        if step.known:
            head, _, rest = text.partition("WITH ")
            text = f"{head}WITH known AS MATERIALIZED ({step.known}), {rest}"
        return f"{text};"
    text = step.as_one_row.format(text) if step.as_one_row else text
    return f"{text} \\gset {'token_' if step.name == 'token' else ''}" if step.keeps else f"{text};"


# --- Running it -------------------------------------------------------------------------------------------------------


def recorded(server: Server, template: str) -> list[Statement]:
    """What the desk says today, recorded from it on a copy of the template."""
    database = f"{template}_said"
    server.drop(database)
    server.create(database, template=template)
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "recording.json"
        command = [sys.executable, "-m", "bench.load.record", str(systems.roster(server, template)), str(file)]
        settings = dict(os.environ) | systems.desk_settings(server.url(database)) | {"PYTHONWARNINGS": "ignore"}
        subprocess.run(command, env=settings, cwd=environment.ROOT, check=True)
        said = record.kept(file)
    server.drop(database)
    return said


@contextmanager
def floor(server: Server, template: str, members: Sequence[Member]) -> Iterator[System]:
    """
    A fresh copy of the template for pgbench, in which these members' tokens are known by their places.

    :raises RuntimeError: if the books are not right afterwards
    """
    database = f"{template}_run"
    server.drop(database)
    server.create(database, template=template)
    tell_tokens_by_place(server.url(database), members)
    yield System("floor", 0, None, server.pid, database)
    broken = broken_checks(systems.desk_settings(server.url(database)))
    server.drop(database)
    if broken:
        raise RuntimeError(f"the floor's books are wrong: {broken}")


def tell_tokens_by_place(url: str, members: Sequence[Member]) -> None:
    """Give each member's token the digest that the script asks for."""
    with psycopg.connect(url, autocommit=True) as session, session.cursor() as cursor:
        cursor.executemany(
            "UPDATE accounts_apitoken SET digest = sha256(int8send(%s)) WHERE digest = %s",
            [(place, hashlib.sha256(member.token.encode()).digest()) for place, member in enumerate(members)],
        )
        assert cursor.rowcount == len(members), "every member has a token"


def broken_checks(settings: Mapping[str, str]) -> dict[str, int]:
    """Which of the ledger's checks fail, but for the digests, which the floor does not compute."""
    verified = subprocess.run(
        [sys.executable, "manage.py", "verify_ledger", "--json"],
        env=dict(os.environ) | dict(settings),
        cwd=environment.ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    found: dict[str, int] = json.loads(verified.stdout)["checks"]
    return {check: count for check, count in found.items() if count and check != UNCHECKED}


def fire(pgbench: Path, url: str, run: Script, *, clients: int, seconds: float) -> Shots:
    """
    Run the script for so long, each client as fast as it is answered.

    :raises RuntimeError: if a transaction fails
    """
    with tempfile.TemporaryDirectory() as scratch:
        file, log = Path(scratch) / "transfer.sql", Path(scratch) / "log"
        file.write_text(run.text)
        command = [
            str(pgbench),
            *("--no-vacuum", "--protocol=prepared", f"--file={file}", f"--client={clients}", "--jobs=2"),
            *(f"--time={seconds:.0f}", "--log", f"--log-prefix={log}"),
            *(f"--define={name}={value}" for name, value in run.constants.items()),
            url,
        ]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=seconds + 60)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode != 0:
            raise RuntimeError(f"pgbench failed:\n{done.stderr[-2000:]}")
        shots = Shots()
        lines = [line.split() for one in Path(scratch).glob("log.*") for line in one.read_text().splitlines()]
        ended = [(float(line[4]) + int(line[5]) / 1e6, int(line[2]) / 1e6) for line in lines]
        start = min(end - took for end, took in ended)
        for end, took in sorted(ended):
            shots.add(0, end - took - start, took, 201)
    shots.processor_seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return shots
