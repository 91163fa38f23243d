"""A way to the database that knows PostgreSQL's messages: it cuts at COMMIT, delays what passes, or holds it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Literal, Self

from config.database.access import RUNTIME

When = Literal["before", "after"]

#: The first message of a session has no type. These ask for encryption instead of a session, and are told no.
ENCRYPTION = frozenset({80877103, 80877104})
CONNECT_SECONDS_MAX = 5.0


@dataclass(slots=True)
class Commits:
    """Recognises COMMIT in what a client says, plainly or as a prepared statement that is bound and carried out."""

    prepared: set[bytes] = field(default_factory=set)
    bound: set[bytes] = field(default_factory=set)

    def is_one(self, message: bytes) -> bool:
        kind, body = message[:1], message[5:]
        if kind == b"Q":
            return _says_commit(body)
        if kind == b"P":
            name, text = body.split(b"\0", 2)[:2]
            _keep(self.prepared, name, _says_commit(text))
        elif kind == b"B":
            portal, name = body.split(b"\0", 2)[:2]
            _keep(self.bound, portal, name in self.prepared)
        return kind == b"E" and body.split(b"\0", 1)[0] in self.bound


def fatal(state: str, text: str) -> bytes:
    """What a server says before it ends a session."""
    body = f"SFATAL\0VFATAL\0C{state}\0M{text}\0\0".encode()
    return b"E" + (len(body) + 4).to_bytes(4) + body


def _says_commit(sql: bytes) -> bool:
    return sql.rstrip(b"\0; \n").lstrip().upper() in {b"COMMIT", b"END"}


def _keep(names: set[bytes], name: bytes, is_kept: bool) -> None:
    names.discard(name)
    if is_kept:
        names.add(name)


class Proxy:
    """
    Stands on loopback before a server, which is on TCP or on a unix socket, with as many sessions as there are.

    `delay_seconds` passes before anything goes on, in either direction; what arrived together goes on together.
    `last_words` are what a client hears before it is cut off.
    """

    def __init__(self, host: str, port: int) -> None:
        self.target = host, port
        self.delay_seconds = 0.0
        self.last_words = b""
        self.cuts = 0
        self._when: When | None = None
        self._change = threading.Condition()
        self._open = threading.Event()
        self._open.set()
        self._sessions: set[_Session] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]

    @classmethod
    @contextmanager
    def before(cls, host: str, port: int = 5432) -> Iterator[Self]:
        """Serve for the length of the block."""
        proxy = cls(host, port)
        threading.Thread(target=proxy._accept, daemon=True).start()
        try:
            yield proxy
        finally:
            proxy.close()

    def url(self, database: str) -> str:
        """For the processes of a desk."""
        return f"postgresql://{RUNTIME}@127.0.0.1:{self.port}/{database}"

    def cut_at_commit(self, when: When) -> None:
        """The next COMMIT of any session is lost before the server has it, or its answer before the client has that."""
        with self._change:
            self._when = when

    def wait_for_cuts(self, count: int, seconds: float) -> None:
        """:raises RuntimeError: if there were fewer in that time"""
        with self._change:
            if not self._change.wait_for(lambda: self.cuts >= count, seconds):
                raise RuntimeError(f"no COMMIT came that could be cut after {self.cuts} cuts")

    @contextmanager
    def held(self) -> Iterator[None]:
        """Nothing passes in either direction for the length of the block; then everything goes on."""
        self._open.clear()
        try:
            yield
        finally:
            self._open.set()

    def close(self) -> None:
        self._open.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes who waits for the next one
        self._listener.close()
        for session in list(self._sessions):
            session.hang_up()

    # What sessions ask

    def pass_on(self) -> None:
        """Returns when what is here may go on."""
        if self.delay_seconds:
            time.sleep(self.delay_seconds)
        self._open.wait()

    def strike(self) -> When | None:
        """Whether this COMMIT is the one to be cut; a cut is for one COMMIT."""
        with self._change:
            when, self._when = self._when, None
            return when

    def count_cut(self) -> None:
        with self._change:
            self.cuts += 1
            self._change.notify_all()

    def forget(self, session: _Session) -> None:
        self._sessions.discard(session)

    def connect(self) -> socket.socket:
        host, port = self.target
        if not host.startswith("/"):
            return socket.create_connection((host, port), timeout=CONNECT_SECONDS_MAX)
        server = socket.socket(socket.AF_UNIX)
        server.connect(f"{host}/.s.PGSQL.{port}")
        return server

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                session = _Session(self, client)
                self._sessions.add(session)
                threading.Thread(target=session.run, daemon=True).start()


class _Session:
    """One client's session: what it says on this thread, what the server says on another."""

    def __init__(self, proxy: Proxy, client: socket.socket) -> None:
        self.proxy, self.client = proxy, client
        self.server: socket.socket | None = None
        self.is_struck = False  # its COMMIT is with the server, whose answer nobody will get

    def run(self) -> None:
        with suppress(OSError):
            start = self._start()
            self.server = server = self.proxy.connect()
            server.settimeout(None)
            server.sendall(start)
            answering = threading.Thread(target=self._answer, args=(server,), daemon=True)
            answering.start()
            self._forward(server)
            self.hang_up()
            answering.join()
        self.hang_up()
        self.client.close()
        if self.server is not None:
            self.server.close()
        self.proxy.forget(self)

    def hang_up(self) -> None:
        for end in (self.client, self.server):
            if end is not None:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def _start(self) -> bytes:
        """
        The message that begins a session.

        :raises ConnectionError: if the client goes before it has said it
        """
        while True:
            head = self._exactly(4)
            body = self._exactly(int.from_bytes(head) - 4)
            self.proxy.pass_on()
            if int.from_bytes(body[:4]) not in ENCRYPTION:
                return head + body
            self.client.sendall(b"N")

    def _exactly(self, count: int) -> bytes:
        got = self.client.recv(count, socket.MSG_WAITALL)
        if len(got) < count:
            raise ConnectionError("the client has gone")
        return got

    def _forward(self, server: socket.socket) -> None:
        commits = Commits()
        for messages in _arriving(self.client):
            self.proxy.pass_on()
            for place, message in enumerate(messages):
                when = self.proxy.strike() if commits.is_one(message) else None
                if when == "before":
                    server.sendall(b"".join(messages[:place]))
                    self.client.sendall(self.proxy.last_words)
                    self.proxy.count_cut()
                    return
                self.is_struck = self.is_struck or when == "after"
            server.sendall(b"".join(messages))

    def _answer(self, server: socket.socket) -> None:
        with suppress(OSError):
            for messages in _arriving(server):
                self.proxy.pass_on()
                if self.is_struck and any(message[:1] in {b"C", b"E"} for message in messages):
                    self.client.sendall(self.proxy.last_words)
                    self.proxy.count_cut()
                    break
                self.client.sendall(b"".join(messages))
        self.hang_up()


def _arriving(end: socket.socket) -> Iterator[list[bytes]]:
    """Whole messages, those together that arrived together: a byte for the type, then the length of all but that."""
    buffer = b""
    while data := end.recv(65_536):
        buffer += data
        messages, at = [], 0
        while len(buffer) - at >= 5:
            end_of_it = at + 1 + int.from_bytes(buffer[at + 1 : at + 5])
            if end_of_it > len(buffer):
                break
            messages.append(buffer[at:end_of_it])
            at = end_of_it
        buffer = buffer[at:]
        if messages:
            yield messages
