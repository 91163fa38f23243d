"""
One process that moves money to and fro as fast as it can, through the real service, until its time is up.

    python -m tests.concurrency.transferring SECONDS THREADS NUMBER OWNER [NUMBER OWNER ...]

It prints what it did as one line of JSON: how many transfers went through, were refused for want of money, were sent
again under their old key, gave way to somebody else's lock, and how many transactions were run again, by SQLSTATE.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections import Counter
from contextlib import closing
from decimal import Decimal
from threading import Thread
from typing import Any
from uuid import UUID

import django


def main(arguments: list[str]) -> None:
    seconds, threads, *rest = arguments
    django.setup()
    wallets = [(number, UUID(owner)) for number, owner in zip(rest[::2], rest[1::2], strict=True)]
    tallies: list[Counter[str]] = [Counter() for _ in range(int(threads))]
    end = time.monotonic() + float(seconds)
    hands = [Thread(target=hammer, args=(wallets, end, tally), daemon=True) for tally in tallies]
    for hand in hands:
        hand.start()
    for hand in hands:
        hand.join(float(seconds) + 30)
    assert not any(hand.is_alive() for hand in hands), "a thread is stuck"
    sys.stdout.write(json.dumps(sum(tallies, Counter()) | retries()) + "\n")


def hammer(wallets: list[tuple[str, UUID]], end: float, tally: Counter[str]) -> None:
    from django.db import connection

    from core.errors import Contended

    with closing(connection):
        while time.monotonic() < end:
            terms = _draw(wallets)
            try:
                answer = _send(**terms)
            except Contended:
                tally["contended"] += 1
                continue
            tally["moved" if answer.status == 201 else answer.document["code"]] += 1
            if random.random() < 0.1:
                again = _send(**terms)
                assert (again.replayed, again.body) == (True, answer.body)
                tally["sent_again"] += 1


def _draw(wallets: list[tuple[str, UUID]]) -> dict[str, Any]:
    from core.ids import uuid7

    (source, owner), (target, _) = random.sample(wallets, 2)
    amount = Decimal(random.randint(1, 3_000)) / 100
    return {"source": source, "owner": owner, "target": target, "amount": amount, "key": f"hammer:{uuid7()}"}


def _send(*, source: str, owner: UUID, target: str, amount: Decimal, key: str) -> Any:
    from core.audit import Actor, ActorKind
    from core.idempotency import Claim
    from wallets.services import transfers

    terms = {"source": source, "target": target, "amount": amount}
    claim = Claim.make(operation=transfers.TRANSFER, owner=owner, key=key, request=terms)
    actor = Actor(id=owner, kind=ActorKind.CLIENT)
    return transfers.transfer_funds(source=source, target=target, amount=amount, claim=claim, actor=actor)


def retries() -> Counter[str]:
    from core import metrics

    samples = [sample for metric in metrics.RETRIES.collect() for sample in metric.samples]
    return Counter(
        {
            f"retried_{sample.labels['sqlstate']}": int(sample.value)
            for sample in samples
            if sample.name.endswith("_total")
        }
    )


if __name__ == "__main__":
    main(sys.argv[1:])
