"""
Thousands of connections from a few processes, each request sent when it is due and measured from that moment.

A generator that waits for an answer before it sends the next request goes easy on a slow system and calls it fast
(coordinated omission). Here a request that cannot be sent yet, because its connection still waits for the last answer,
is late from the moment it was due. Plain epoll on raw sockets with requests made beforehand: a client library would
take the processor from what is measured.
"""

from __future__ import annotations

import heapq
import multiprocessing
import multiprocessing.connection
import re
import resource
import select
import socket
import threading
import time
from array import array
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from bench.load.scripts import Script

#: What a request was answered with when it was not answered: the connection broke, or the time was up.
BROKEN, TIMED_OUT = 0, 1
#: One (source address, target) pair has some 28,000 ports.
CONNECTIONS_PER_ADDRESS = 20_000
CONNECTING_AT_ONCE = 256
RECEIVE_BYTES = 65_536
#: So often a process looks what has arrived and what is due. Woken by every answer it would take more of the processor,
#: and that from what is measured. What an answer has waited to be seen counts as if the system had taken it.
LOOK_EVERY_SECONDS = 0.004
_LENGTH = re.compile(rb"content-length:\s*(\d+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Load:
    """
    What is asked for: every connection sends one request each `period` seconds, for `seconds`.

    Without a period the next request is sent as soon as one is answered, which finds what a system can do, not how long
    its clients wait: each connection sends its own, or only so many are under way `at_once` and all take turns.
    """

    host: str
    port: int
    seconds: float
    period: float | None = None
    at_once: int | None = None
    timeout: float = 30.0
    processes: int = 2
    seed: int = 1


@dataclass(slots=True)
class Shots:
    """Every request of a run: what kind, when due (seconds from the start), how long it took, how it ended."""

    kinds: array[int] = field(default_factory=lambda: array("B"))
    due: array[float] = field(default_factory=lambda: array("d"))
    took: array[float] = field(default_factory=lambda: array("d"))
    statuses: array[int] = field(default_factory=lambda: array("H"))
    processor_seconds: float = 0.0
    unanswered: int = 0
    began: float = 0.0  # by the monotonic clock: where runs that overlap find each other
    first_refusals: list[bytes] = field(default_factory=list)

    def add(self, kind: int, due: float, took: float, status: int) -> None:
        self.kinds.append(kind)
        self.due.append(due)
        self.took.append(took)
        self.statuses.append(status)

    def extend(self, other: Shots) -> None:
        self.kinds.extend(other.kinds)
        self.due.extend(other.due)
        self.took.extend(other.took)
        self.statuses.extend(other.statuses)
        self.processor_seconds += other.processor_seconds
        self.unanswered += other.unanswered
        self.first_refusals += other.first_refusals[: 5 - len(self.first_refusals)]


@dataclass(slots=True)
class _Line:
    """One keep-alive connection and the client behind it."""

    script: Script
    source: str
    socket: socket.socket | None = None
    is_up: bool = False
    kind: int = 0
    due: float = 0.0
    is_busy: bool = False
    sent: bytes = b""
    received: bytearray = field(default_factory=bytearray)
    waiting: deque[float] = field(default_factory=deque)
    answer: tuple[int, bytes] = (0, b"")


def fire(
    load: Load,
    scripts: Sequence[Script],
    *,
    wait: Callable[[], None] | None = None,
    on_start: Callable[[], None] | None = None,
) -> Shots:
    """
    Connect everybody, then send at the same start from all processes; `on_start` is called when that is set.

    Everybody is connected while `wait` runs, and nobody asks anything before it has returned.

    :raises RuntimeError: if a process dies, or cannot connect everybody
    """
    context = multiprocessing.get_context("spawn")
    share = -(-len(scripts) // load.processes)
    parts = [scripts[first : first + share] for first in range(0, len(scripts), share)]
    start, gate = context.Value("d", 0.0), context.Barrier(len(parts) + 1)
    pipes, workers = [], []
    for index, part in enumerate(parts):
        ours, theirs = context.Pipe(duplex=False)
        worker = context.Process(target=_work, args=(load, part, index, gate, start, theirs), daemon=True)
        worker.start()
        theirs.close()
        pipes.append(ours)
        workers.append(worker)
    threading.Thread(target=_abort_if_one_ends, args=(gate, workers), daemon=True).start()
    try:
        if wait is not None:
            wait()
        gate.wait(timeout=300)  # everybody is connected
        start.value = time.monotonic() + 0.5
        gate.wait(timeout=30)
        if on_start is not None:
            on_start()
        shots = Shots(began=start.value)
        for pipe in pipes:
            shots.extend(pipe.recv())
    except (EOFError, multiprocessing.context.TimeoutError, OSError) as error:
        raise RuntimeError("a load process died") from error
    finally:
        for worker in workers:
            worker.join(timeout=10)
            worker.kill()
    return shots


def _abort_if_one_ends(gate: Any, workers: Sequence[Any]) -> None:
    """Nobody waits at the gate for a process that died on its way there; afterwards it has no meaning."""
    multiprocessing.connection.wait([worker.sentinel for worker in workers])
    gate.abort()


def _work(load, scripts, index, gate, start, pipe) -> None:  # type: ignore[no-untyped-def]  # spawn's own types are private
    try:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        loop = _Loop(load, scripts, index)
        loop.connect_all()
        gate.wait(timeout=300)
        gate.wait(timeout=30)
        pipe.send(loop.run(start.value))
    except BaseException:
        gate.abort()
        raise
    finally:
        pipe.close()


class _Loop:
    """One process's connections."""

    def __init__(self, load: Load, scripts: Sequence[Script], index: int) -> None:
        self.load = load
        self.epoll = select.epoll()
        self.shots = Shots()
        self.chance = Random(f"{load.seed} {index}")
        self.lines = [
            _Line(script, f"127.{10 + index}.0.{1 + place // CONNECTIONS_PER_ADDRESS}")
            for place, script in enumerate(scripts)
        ]
        self.by_file: dict[int, _Line] = {}
        self.idle: deque[_Line] = deque()
        self.times_out: deque[tuple[float, _Line, float]] = deque()
        self.start = 0.0

    # --- Connections ------------------------------------------------------------------------------------------------

    def connect_all(self) -> None:
        """:raises RuntimeError: if somebody is not let in within two minutes"""
        waiting, deadline = deque(self.lines), time.monotonic() + 120
        while waiting or any(not line.is_up for line in self.by_file.values()):
            connecting = len(self.by_file) - sum(line.is_up for line in self.by_file.values())
            while waiting and connecting < CONNECTING_AT_ONCE:
                self._connect(waiting.popleft())
                connecting += 1
            for file, events in self.epoll.poll(0.1):
                line = self.by_file[file]
                if events & (select.EPOLLERR | select.EPOLLHUP):
                    self._drop(line)
                    waiting.append(line)
                elif events & select.EPOLLOUT and not line.is_up:
                    self._is_up(line, file)
            if time.monotonic() > deadline:
                raise RuntimeError(f"{len(waiting)} of {len(self.lines)} connections were not accepted")

    def _connect(self, line: _Line) -> None:
        made = socket.socket()
        made.setblocking(False)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.setsockopt(socket.IPPROTO_IP, getattr(socket, "IP_BIND_ADDRESS_NO_PORT", 24), 1)
        made.bind((line.source, 0))
        made.connect_ex((self.load.host, self.load.port))
        line.socket, line.is_up = made, False
        self.by_file[made.fileno()] = line
        self.epoll.register(made.fileno(), select.EPOLLOUT)

    def _is_up(self, line: _Line, file: int) -> None:
        line.is_up = True
        self.epoll.modify(file, select.EPOLLIN)

    def _drop(self, line: _Line) -> None:
        if line.socket is None:
            return
        file = line.socket.fileno()
        self.epoll.unregister(file)
        self.by_file.pop(file, None)
        line.socket.close()
        line.socket, line.is_up = None, False
        line.received.clear()

    # --- The run ----------------------------------------------------------------------------------------------------

    def run(self, start: float) -> Shots:
        self.start = start
        before = time.process_time()
        end = start + self.load.seconds
        due = self._plan()
        time.sleep(max(0, start - time.monotonic()))
        looked = start
        while True:
            time.sleep(max(0.0, looked + LOOK_EVERY_SECONDS - time.monotonic()))
            looked = now = time.monotonic()
            if now >= end + self.load.timeout or (now >= end and not self._is_anyone_waiting()):
                break
            while due and start + due[0][0] <= now:
                offset, place = heapq.heappop(due)
                self._is_due(self.lines[place], start + offset)
                following = offset + (self.load.period or 0)
                if self.load.period is not None and following < self.load.seconds:
                    heapq.heappush(due, (following, place))
            pause = min(0.2, max(0.0, start + due[0][0] - now)) if due else 0.05
            for file, events in self.epoll.poll(pause):
                if (line := self.by_file.get(file)) is not None:  # dropped by an event of this very round
                    self._hear(line, events, is_over=now >= end)
            self._give_up_on_the_late(time.monotonic())
        self.shots.unanswered = sum(line.is_busy + len(line.waiting) for line in self.lines)
        self.shots.processor_seconds = time.process_time() - before
        return self.shots

    def _plan(self) -> list[tuple[float, int]]:
        """When each connection's first request is due; the others follow a period apart."""
        spread = 0.05 if self.load.period is None else self.load.period
        first = len(self.lines)
        if self.load.at_once is not None:
            assert self.load.period is None, "who takes turns has no time of their own"
            first = min(first, -(-self.load.at_once // self.load.processes))
            self.idle.extend(self.lines[first:])
        due = [(self.chance.random() * spread, place) for place in range(first)]
        heapq.heapify(due)
        return due

    def _is_anyone_waiting(self) -> bool:
        return any(line.is_busy or line.waiting for line in self.lines)

    def _is_due(self, line: _Line, due: float) -> None:
        if line.is_busy:
            line.waiting.append(due)
        else:
            self._send(line, due)

    def _send(self, line: _Line, due: float) -> None:
        line.kind, line.sent = line.script.next(*line.answer)
        line.due, line.is_busy = due, True
        self.times_out.append((time.monotonic() + self.load.timeout, line, due))
        if line.socket is None:
            self._connect(line)  # what is to be sent goes out as soon as the connection is up
        elif line.is_up:
            self._write(line)

    def _write(self, line: _Line) -> None:
        assert line.socket is not None
        try:
            sent = line.socket.send(line.sent)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._ended(line, BROKEN, b"", keeps=False)
            return
        if sent < len(line.sent):  # requests are far smaller than a socket's buffer: the system does not read
            self._ended(line, BROKEN, b"", keeps=False)

    def _hear(self, line: _Line, events: int, *, is_over: bool) -> None:
        assert line.socket is not None
        if not line.is_up:
            if events & (select.EPOLLERR | select.EPOLLHUP):
                self._ended(line, BROKEN, b"", keeps=False, is_over=is_over)
                return
            self._is_up(line, line.socket.fileno())
            if line.is_busy:
                self._write(line)
            return
        try:
            chunk = line.socket.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        if not chunk:
            if line.is_busy:
                self._ended(line, BROKEN, b"", keeps=False, is_over=is_over)
            else:
                self._drop(line)  # closed while idle: the next request connects anew
            return
        line.received += chunk
        if line.is_busy and (found := _answer(line.received)) is not None:
            status, body, keeps = found
            line.received.clear()
            self._ended(line, status, body, keeps=keeps, is_over=is_over)

    def _ended(self, line: _Line, status: int, body: bytes, *, keeps: bool, is_over: bool = False) -> None:
        now = time.monotonic()
        self.shots.add(line.kind, line.due - self.start, now - line.due, status)
        if status >= 400 and len(self.shots.first_refusals) < 5:
            self.shots.first_refusals.append(body[:400])
        line.answer, line.is_busy = (status, body), False
        if not keeps:
            self._drop(line)
        if line.waiting:
            self._send(line, line.waiting.popleft())
        elif self.load.period is None and not is_over:
            self.idle.append(line)
            self._send(self.idle.popleft(), now)

    def _give_up_on_the_late(self, now: float) -> None:
        while self.times_out and self.times_out[0][0] <= now:
            _, line, due = self.times_out.popleft()
            if line.is_busy and line.due == due:
                self._ended(line, TIMED_OUT, b"", keeps=False, is_over=True)


def _answer(received: bytearray) -> tuple[int, bytes, bool] | None:
    """Status, body and whether the connection stays open, once the whole answer is there."""
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = bytes(received[:end])
    status = int(head[9:12])
    lower = head.lower()
    if b"transfer-encoding: chunked" in lower:
        if not received.endswith(b"0\r\n\r\n"):
            return None
        body = bytes(received[end + 4 :])
    else:
        length = _LENGTH.search(head)
        size = int(length[1]) if length else 0
        if len(received) < end + 4 + size:
            return None
        body = bytes(received[end + 4 : end + 4 + size])
    return status, body, b"connection: close" not in lower
