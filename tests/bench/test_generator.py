"""A measurement is only as honest as its clock: what was due counts from when it was due."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bench.load import figures, generator
from bench.load.generator import BROKEN, Load, Shots
from bench.load.scripts import Repeat, post

ANSWER = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}"


class Server:
    """One thread that answers connections one after the other, and can be told to stand still."""

    def __init__(self, *, stall_at: float | None = None, stall: float = 0.0, hang_up_every: int = 0) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port: int = self.listener.getsockname()[1]
        self.stall_at, self.stall, self.hang_up_every = stall_at, stall, hang_up_every
        self.began: float | None = None
        self.requests: list[bytes] = []
        self.is_over = False

    def serve(self) -> None:
        import select

        self.listener.setblocking(False)
        poll, open_ = select.epoll(), {}
        poll.register(self.listener, select.EPOLLIN)
        while not self.is_over:
            for file, _ in poll.poll(0.05):
                if file == self.listener.fileno():
                    made, _address = self.listener.accept()
                    open_[made.fileno()] = made
                    poll.register(made, select.EPOLLIN)
                    continue
                received = open_[file].recv(65536)
                if received:
                    self.requests.append(received)
                    self._stand_still()
                if not received or (self.hang_up_every and len(self.requests) % self.hang_up_every == 0):
                    poll.unregister(file)
                    open_.pop(file).close()
                else:
                    open_[file].send(ANSWER)

    def _stand_still(self) -> None:
        self.began = self.began or time.monotonic()
        if self.stall_at is not None and time.monotonic() - self.began >= self.stall_at:
            time.sleep(self.stall)
            self.stall_at = None


@contextmanager
def serving(server: Server) -> Iterator[Server]:
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.is_over = True
        thread.join(timeout=5)


def scripts(count: int) -> list[Repeat]:
    return [Repeat(0, *post("/api/v1/transfers", f"token-{index}", b'{"amount":"1"}')) for index in range(count)]


def test_every_request_is_sent_when_it_is_due() -> None:
    with serving(Server()) as server:
        shots = generator.fire(Load("127.0.0.1", server.port, seconds=2.0, period=0.5), scripts(40))
    assert len(shots.due) == 160
    assert set(shots.statuses) == {201}
    keys = {request.split(b"Idempotency-Key: ")[1].split(b"\r\n")[0] for request in server.requests}
    assert len(keys) == 160  # no key is used twice
    assert figures.summary(shots, 2.0)["per_second"] == 80.0


def test_a_system_that_stands_still_is_late_for_everybody_who_was_due() -> None:
    """What is due while nothing answers counts from then, though it could not be sent."""
    with serving(Server(stall_at=0.5, stall=1.0)) as server:
        shots = generator.fire(Load("127.0.0.1", server.port, seconds=2.5, period=0.1, processes=1), scripts(10))
    assert len(shots.due) == 250
    late = [took for took in shots.took if took > 0.3]
    assert len(late) > 50  # about seven in ten of the hundred that were due in that second
    assert max(shots.took) > 0.9


def test_without_a_period_each_answer_brings_the_next_request() -> None:
    with serving(Server()) as server:
        shots = generator.fire(Load("127.0.0.1", server.port, seconds=1.0, processes=1), scripts(4))
    assert len(shots.due) > 400
    assert set(shots.statuses) == {201}


def test_all_connections_take_turns_and_only_so_many_ask_at_once() -> None:
    with serving(Server()) as server:
        asked = Load("127.0.0.1", server.port, seconds=0.5, at_once=2, processes=1)
        shots = generator.fire(asked, scripts(5))
    told = [re.search(rb"token-\d", said)[0] for said in server.requests]  # type: ignore[index]  # each has one
    assert len(shots.due) == len(told) > 20
    assert len(set(told)) == 5
    assert min(map(told.count, set(told))) > len(told) / 10  # a turn each, as fast as they are answered
    begun = sorted((due, due + took) for due, took in zip(shots.due, shots.took, strict=True))
    moments = [due for due, _ in begun[len(begun) // 2 :][:50]]
    assert max(sum(due <= moment < end for due, end in begun) for moment in moments) == 2


def test_a_connection_that_breaks_is_an_error_and_is_made_again() -> None:
    with serving(Server(hang_up_every=10)) as server:
        shots = generator.fire(Load("127.0.0.1", server.port, seconds=1.0, period=0.1, processes=1), scripts(10))
    assert len(shots.due) == 100
    assert sorted(set(shots.statuses)) == [BROKEN, 201]
    assert list(shots.statuses).count(BROKEN) == 10
    assert figures.summary(shots, 1.0)["errors"] == {"broken": 10}


@pytest.mark.parametrize("percent,value", [(50, 5), (90, 9), (99, 10), (99.9, 10), (100, 10)])
def test_percentiles_are_by_nearest_rank(percent: float, value: float) -> None:
    assert figures.percentile(range(1, 11), percent) == value


def test_shed_requests_are_no_errors_and_no_latencies() -> None:
    shots = Shots()
    shots.add(0, 0.1, 0.010, 201)
    shots.add(0, 0.2, 0.001, 503)
    shots.add(0, 0.3, 9.000, 500)
    found = figures.summary(shots, 1.0)
    assert (found["done"], found["shed"], found["errors"], found["p999_ms"]) == (1, 1, {"500": 1}, 10.0)
