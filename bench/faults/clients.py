"""What clients do: a byte a second, everything five times at once, all of them at one wallet."""

from __future__ import annotations

import random
import socket
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

from bench import hot
from bench.faults.intents import Crowd, Intent, Line, Reply, first_replies, what_went_wrong
from bench.faults.stage import Stage, at_rest, settled
from bench.load import figures, generator
from bench.load.figures import Check, percentile
from bench.load.generator import Load

#: What a slow client never comes to the end of.
SLOW_REQUEST = b"POST /api/v1/transfers HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Filler: " + b"x" * 4000
FEW, MANY = 5, 50
SHARE_MIN = 0.7


def many_are_at_one_wallet(stage: Stage, seconds: float = 5.0, rounds: int = 3) -> list[Check]:
    """50 clients pay out of one wallet and into it, in turns with 5 who do."""
    load = Load("127.0.0.1", stage.port, seconds=seconds)
    found: dict[int, list[dict[str, object]]] = {FEW: [], MANY: []}
    generator.fire(replace(load, seconds=3.0), hot.at_one_wallet(stage.members, MANY))
    for _ in range(rounds):
        for clients, lines in found.items():
            shots = generator.fire(load, hot.at_one_wallet(stage.members, clients))
            lines.append(figures.summary(shots, seconds, after=1.0))
    few, many = (statistics.median(float(str(one["per_second"])) for one in lines) for lines in found.values())
    wrong = [one["errors"] or one["shed"] for lines in found.values() for one in lines if one["errors"] or one["shed"]]
    told = f"{many / (few or 1):.2f} ({few:.0f} and {many:.0f} a second)"
    return [
        Check("50 clients' throughput, to that of 5", f">= {SHARE_MIN}", told, few > 0 and many >= SHARE_MIN * few),
        Check("errors", "none", str(wrong or "none"), not wrong),
        *at_rest(stage),
    ]


def many_are_slow(stage: Stage, seconds: float = 15.0, sockets: int = 200) -> list[Check]:
    """200 sockets send a byte a second, and never end their requests."""
    slow: list[socket.socket] = []
    p99: list[float] = []
    replies: list[Reply] = []
    checks: list[Check] = []
    for count in (0, sockets):
        crowd = Crowd(stage.port, stage.members, rate=100)
        slow += [socket.create_connection(("127.0.0.1", stage.port), timeout=5) for _ in range(count)]
        with crowd.at_work():
            until, sent = time.monotonic() + seconds, 0
            while time.monotonic() < until:
                for one in slow:
                    with suppress(OSError):  # the door may have had enough of it
                        one.send(SLOW_REQUEST[sent : sent + 1])
                sent += 1
                time.sleep(1)
        took = sorted(reply.seconds for reply in first_replies(crowd.intents))
        p99.append(percentile(took, 99))
        replies += first_replies(crowd.intents)
        checks += settled(stage, crowd)
    for one in slow:
        one.close()
    wrong = what_went_wrong(replies)
    told = f"{p99[1] / p99[0]:.2f} ({p99[0] * 1000:.0f} and {p99[1] * 1000:.0f} ms)"
    return [
        Check("p99 with them, to that without", "<= 1.5", told, p99[1] <= 1.5 * p99[0]),
        Check("errors", "none", str(wrong or "none"), not wrong),
        *checks,
    ]


def everything_is_sent_five_times(stage: Stage, intents: int = 300) -> list[Check]:
    """Every request one to five times at once."""
    crowd, dice = Crowd(stage.port, stage.members), random.Random(21)
    copies = [dice.randint(1, 5) for _ in range(intents)]
    lines = threading.local()

    def send(intent: Intent) -> Reply:
        if not hasattr(lines, "line"):
            lines.line = Line(stage.port)
        line: Line = lines.line
        return line.send(intent)

    with ThreadPoolExecutor(12) as threads:
        for count in copies:
            intent = crowd.intent(dice)
            intent.replies += threads.map(send, [intent] * count)
    receipts = [{reply.body for reply in one.replies if reply.status == 201} for one in crowd.intents]
    others = what_went_wrong([reply for one in crowd.intents for reply in one.replies])
    return [
        Check("receipts per key", "1", str(max(map(len, receipts))), all(len(one) <= 1 for one in receipts)),
        Check("other answers", "in progress alone", str(others or "none"), set(others) <= {"IDEMPOTENCY_IN_PROGRESS"}),
        *settled(stage, crowd),
    ]
