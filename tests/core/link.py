"""A way to the database that can be cut exactly when COMMIT passes, for this thread's connection."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection

from bench.faults.proxy import Proxy


@contextmanager
def cuttable() -> Iterator[Proxy]:
    """For the length of the block, this thread's connection goes through a proxy that can cut it."""
    connection.ensure_connection()
    host, port = connection.connection.info.host, connection.connection.info.port
    connection.close()
    settings = connection.settings_dict
    direct = settings["HOST"], settings["PORT"]
    try:
        with Proxy.before(host, port) as proxy:
            settings["HOST"], settings["PORT"] = "127.0.0.1", str(proxy.port)
            yield proxy
    finally:
        connection.close()
        settings["HOST"], settings["PORT"] = direct
