"""Behind a proxy each thread takes its own requests from the socket, with nobody in between."""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
import threading
import time
from typing import Any

from gunicorn.workers.sync import SyncWorker

#: So long a thread waits for a request before it looks whether its process is to end.
LOOK_UP_SECONDS = 1
#: A proxy that connects has the whole request at hand, and takes in the whole answer.
SILENCE_SECONDS_MAX = 10
#: No descriptor is free, or no memory: asking again at once would only burn a processor.
PAUSE_SECONDS = 0.1

_NOTHING_CAME = {errno.EAGAIN, errno.ECONNABORTED, errno.EINTR}


class AcceptingThreads(SyncWorker):
    """
    gunicorn's worker for one request at a time, with several threads that each do as it does.

    gunicorn's own worker with threads accepts in its main thread, hands each connection to a pool, and gets it back to
    close it: made for connections that are kept and for clients that are slow. A proxy on the same machine has no slow
    clients and a connection for each request, and what is left of all that is handing on. Here a request that waits is
    taken from the socket's backlog, in order, by the thread that is free first, of whichever process.

    Told to end, it carries out what it has, for as long as `graceful_timeout` says; a thread that was waiting may take
    one more request first, within `LOOK_UP_SECONDS`.
    """

    alive: bool

    def run(self) -> None:
        threads = [
            threading.Thread(target=self._serve, args=(_patient(listener),), daemon=True)
            for listener in self.sockets
            for _ in range(self.cfg.threads)
        ]
        for thread in threads:
            thread.start()
        while self.alive and self.is_parent_alive():
            self.notify()
            if select.select([self.PIPE[0]], [], [], LOOK_UP_SECONDS)[0]:
                os.read(self.PIPE[0], 1024)  # a signal has come
        self.alive = False
        end = time.monotonic() + self.cfg.graceful_timeout
        for thread in threads:
            while thread.is_alive() and time.monotonic() < end:
                self.notify()
                thread.join(LOOK_UP_SECONDS)

    def _serve(self, listener: Any) -> None:
        while self.alive:
            try:
                client, address = listener.accept()
            except OSError as error:
                if error.errno not in _NOTHING_CAME:
                    self.log.exception("No request can be taken from the socket.")
                    time.sleep(PAUSE_SECONDS)
                continue
            _limit(client, socket.SO_RCVTIMEO, SILENCE_SECONDS_MAX)
            _limit(client, socket.SO_SNDTIMEO, SILENCE_SECONDS_MAX)
            self.handle(listener, client, address)


def _patient(listener: Any) -> Any:
    """A listening socket on which a thread waits; the kernel wakes one for each request, not all."""
    listener.setblocking(True)
    _limit(listener, socket.SO_RCVTIMEO, LOOK_UP_SECONDS)
    return listener


def _limit(connection: Any, option: int, seconds: int) -> None:
    """Let the kernel keep the time: Python's own time limit asks it twice for each piece."""
    connection.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", seconds, 0))
