"""A way to the database that can be cut exactly when COMMIT passes, before or after the server has seen it."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from django.db import connection

When = Literal["before", "after"]


class CuttableLink:
    """Passes bytes on between this process and the server; `cut_at_commit` arms it for the next COMMIT."""

    def __init__(self, directory: Path, host: str, port: int) -> None:
        self.host, self.port = host, port
        self.when: When | None = None
        self.cuts = 0
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(directory / ".s.PGSQL.5432"))
        self.listener.listen(16)
        threading.Thread(target=self._accept, daemon=True).start()

    def cut_at_commit(self, when: When) -> None:
        self.when = when

    def close(self) -> None:
        self.listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                server = self._connect()
                swallow = threading.Event()
                threading.Thread(target=self._forward, args=(client, server, swallow), daemon=True).start()
                threading.Thread(target=self._return, args=(server, client, swallow), daemon=True).start()

    def _connect(self) -> socket.socket:
        if not self.host.startswith("/"):
            return socket.create_connection((self.host, self.port))
        server = socket.socket(socket.AF_UNIX)
        server.connect(f"{self.host}/.s.PGSQL.{self.port}")
        return server

    def _forward(self, client: socket.socket, server: socket.socket, swallow: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(65_536):
                when, is_commit = self.when, b"COMMIT" in data
                if is_commit and when is not None:
                    self.when = None
                    self.cuts += 1
                if is_commit and when == "before":
                    break
                if is_commit and when == "after":
                    swallow.set()  # the server's answer will cut the client off
                server.sendall(data)
        _hang_up(client, server)

    def _return(self, server: socket.socket, client: socket.socket, swallow: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65_536):
                if swallow.is_set():
                    break
                client.sendall(data)
        _hang_up(client, server)


def _hang_up(*ends: socket.socket) -> None:
    for end in ends:
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def cuttable(directory: Path) -> Iterator[CuttableLink]:
    """For the length of the block, this thread's connection goes through a link that can be cut."""
    connection.ensure_connection()
    link = CuttableLink(directory, connection.connection.info.host, connection.connection.info.port)
    connection.close()
    settings = connection.settings_dict
    direct = settings["HOST"], settings["PORT"]
    settings["HOST"], settings["PORT"] = str(directory), "5432"
    try:
        yield link
    finally:
        connection.close()
        settings["HOST"], settings["PORT"] = direct
        link.close()
