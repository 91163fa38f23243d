"""Clients that keep to the rules: a key per intent, kept before it is sent, and sent until there is an answer."""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from bench.load.crowd import Member

AMOUNT = "0.01"
ANSWER_SECONDS_MAX = 40.0
PATIENCE_SECONDS = 60.0
#: What says "not now": the same request may be sent again.
BUSY = frozenset({0, 409, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back for one sending: status 0 is no answer at all."""

    at: float
    seconds: float
    status: int
    body: bytes = b""
    code: str = ""
    may_be_sent_again: bool = False  # it said when

    @property
    def is_proper(self) -> bool:
        """A receipt, or a 503 that says when to ask again: what a desk in trouble may answer."""
        return self.status == 201 or (self.status == 503 and self.may_be_sent_again)


@dataclass(slots=True)
class Intent:
    """One transfer that a client wants once, and every reply to it."""

    key: str
    token: str
    body: bytes
    replies: list[Reply] = field(default_factory=list)

    @property
    def answer(self) -> Reply | None:
        return next((reply for reply in self.replies if reply.status == 201), None)


class Crowd:
    """So many clients at once, each waiting for its answer, who together form `rate` intents a second."""

    def __init__(self, port: int, members: Sequence[Member], *, clients: int = 12, rate: float = 150.0) -> None:
        self.port, self.members, self.clients, self.rate = port, members, clients, rate
        self.intents: list[Intent] = []
        self._ended = threading.Event()

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """They form and send intents for the length of the block, each once."""
        threads = [threading.Thread(target=self._work, args=(place,)) for place in range(self.clients)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._ended.set()
            for thread in threads:
                thread.join()

    def settle(self, others: int) -> None:
        """
        What every client does who has no answer yet, and so many who have one: send it again.

        :raises RuntimeError: if an intent gets no answer, or another one than before
        """
        waiting = [intent for intent in self.intents if intent.answer is None]
        again = random.Random(1).sample(self.intents, min(others, len(self.intents)))
        line = Line(self.port)
        for intent in [*waiting, *again]:
            first, give_up_at = intent.answer, time.monotonic() + PATIENCE_SECONDS
            while (reply := line.send(intent)).status in BUSY and time.monotonic() < give_up_at:
                time.sleep(0.2)
            intent.replies.append(reply)
            if reply.status != 201:
                raise RuntimeError(f"an intent is answered with {reply.status} {reply.code}")
            if first is not None and reply.body != first.body:
                raise RuntimeError("an intent has two different answers")

    def _work(self, place: int) -> None:
        dice, line = random.Random(place), Line(self.port)
        pause = self.clients / self.rate
        due = time.monotonic() + dice.random() * pause
        while not self._ended.wait(max(0.0, due - time.monotonic())):
            due = max(due + pause, time.monotonic() - 1.0)
            intent = self.intent(dice)
            intent.replies.append(line.send(intent))

    def intent(self, dice: random.Random) -> Intent:
        """Another client wants to pay somebody a cent."""
        payer, payee = dice.sample(self.members, 2)
        return self.pays(payer, payee)

    def pays(self, payer: Member, payee: Member) -> Intent:
        terms = {"source": payer.cash, "target": payee.cash, "amount": AMOUNT}
        intent = Intent(str(uuid.uuid4()), payer.token, json.dumps(terms).encode())
        self.intents.append(intent)
        return intent


class Line:
    """A kept connection, made anew when it breaks."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.connection: http.client.HTTPConnection | None = None

    def send(self, intent: Intent) -> Reply:
        headers = {
            "Authorization": f"Bearer {intent.token}",
            "Content-Type": "application/json",
            "Idempotency-Key": intent.key,
        }
        started = time.monotonic()
        try:
            if self.connection is None:
                self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_SECONDS_MAX)
            self.connection.request("POST", "/api/v1/transfers", intent.body, headers)
            answer = self.connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException):
            self.close()
            return Reply(started, time.monotonic() - started, 0)
        code = ""
        if answer.status != 201:
            with suppress(ValueError, AttributeError):
                code = json.loads(body).get("code", "")
        says_when = answer.getheader("Retry-After") is not None
        return Reply(started, time.monotonic() - started, answer.status, body, code, says_when)

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None


def first_replies(intents: Sequence[Intent]) -> list[Reply]:
    """What each client saw before it sent anything again."""
    return [intent.replies[0] for intent in intents if intent.replies]


def what_went_wrong(replies: Sequence[Reply]) -> dict[str, int]:
    """How often what else than a receipt came back."""
    wrong = [reply for reply in replies if reply.status != 201]
    return dict(Counter(reply.code or (str(reply.status) if reply.status else "no answer") for reply in wrong))
