"""Write down what one transfer of the desk says to its database: `python -m bench.load.record ROSTER RECORDING`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

#: The first use of a token in a while is noted in a statement of its own: not what an ordinary transfer says.
UNRECORDED = 2


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement as the driver got it: its text with named parameters, and what they were."""

    sql: str
    params: dict[str, str | None]  # as PostgreSQL reads them
    is_in_transaction: bool
    differing: list[str] = field(default_factory=list)  # the parameters that are others in another transfer


def kept(path: Path) -> list[Statement]:
    return [Statement(**statement) for statement in json.loads(path.read_text())]


def record(act: Callable[[], Any]) -> list[Statement]:
    """Every statement that `act` sends through Django, in order."""
    from django.db import connection

    said: list[Statement] = []

    def note(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        facts = params if isinstance(params, dict) else {str(place): value for place, value in enumerate(params or ())}
        texts = {name: _text(value) for name, value in facts.items()}
        said.append(Statement(sql, texts, connection.in_atomic_block))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        act()
    return said


def compared(one: Sequence[Statement], other: Sequence[Statement]) -> list[Statement]:
    """
    The first of two transfers between different clients, with what differed in the second.

    :raises ValueError: if they are not the same statements
    """
    if [said.sql for said in one] != [said.sql for said in other]:
        raise ValueError("two transfers have said different things to the database")
    return [
        replace(said, differing=[name for name, value in said.params.items() if value != again.params[name]])
        for said, again in zip(one, other, strict=True)
    ]


def _text(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, bytes):
        return f"\\x{value.hex()}"
    if isinstance(value, timedelta):
        return f"{value / timedelta(microseconds=1):.0f} microseconds"
    return str(value)


def main(roster: Path, recording: Path) -> None:
    import django

    django.setup()
    from django.test import Client

    from bench.load import crowd
    from bench.load.crowd import Member
    from core.ids import uuid7

    members = crowd.kept(roster)

    def transfer(payer: Member, payee: Member) -> list[Statement]:
        client = Client(headers={"host": "127.0.0.1", "authorization": f"Bearer {payer.token}"})
        body = {"source": payer.cash, "target": payee.cash, "amount": "0.01"}

        def post() -> None:
            key = {"idempotency-key": str(uuid7())}
            answer = client.post("/api/v1/transfers", body, content_type="application/json", headers=key)
            assert answer.status_code == 201, answer.content

        for _ in range(UNRECORDED):
            post()
        return record(post)

    said = compared(transfer(members[0], members[1]), transfer(members[2], members[3]))
    recording.write_text(json.dumps([asdict(statement) for statement in said], indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
