"""A gunicorn of the tests' own, set up as `make run` sets it up, on a leash that ends with the test run."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from scripts import environment

START_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 30.0
COLLECT_STATIC = "import django; django.setup(); from scripts import prepare; prepare.collect_static()"

#: One client of these tests sends what thousands send elsewhere; the throttles have tests of their own.
UNTHROTTLED = {f"THROTTLE_{name}": "1000000/m" for name in ("SIGNUP", "TOKEN", "MONEY", "QUOTES", "LOGIN_ADDRESS")}


@dataclass(frozen=True)
class LiveDesk:
    """Where it answers, and the file it logs to."""

    url: str
    log: Path

    @classmethod
    @contextlib.contextmanager
    def serve(cls, database_url: str, scratch: Path, **more: str) -> Iterator[Self]:
        """Serve for the length of the block, with two processes of eight threads each; `more` is its environment's."""
        port = _free_port()
        settings = os.environ | UNTHROTTLED
        settings |= {"DATABASE_URL": database_url, "HOST": "127.0.0.1", "PORT": str(port)}
        settings |= {"WEB_WORKERS": "2", "WEB_THREADS": "8", "PROMETHEUS_MULTIPROC_DIR": str(scratch / "metrics")}
        settings |= {"DESK_SUPERVISOR": str(os.getpid()), "LOG_LEVEL": "INFO"} | more
        Path(settings["PROMETHEUS_MULTIPROC_DIR"]).mkdir(exist_ok=True)  # collecting static files counts nothing yet
        desk = cls(f"http://127.0.0.1:{port}", scratch / "gunicorn.log")
        subprocess.run([sys.executable, "-c", COLLECT_STATIC], env=settings, cwd=environment.ROOT, check=True)
        gunicorn = [sys.executable, "-m", "gunicorn", "--config", "config/gunicorn.py", "config.wsgi"]
        with desk.log.open("wb") as log:
            leash = subprocess.Popen(
                [sys.executable, "-m", "scripts.leash", "--", *gunicorn],
                env=settings,
                cwd=environment.ROOT,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            desk._wait_until_live(leash)
            yield desk
        finally:
            leash.terminate()
            leash.wait(timeout=STOP_SECONDS_MAX)

    def _wait_until_live(self, leash: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_SECONDS_MAX
        while True:
            with (
                contextlib.suppress(OSError),  # refused, or not answered yet
                urllib.request.urlopen(f"{self.url}/health/live", timeout=5) as answer,
            ):
                assert answer.status == 200
                return
            if leash.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"gunicorn did not start:\n{self.log.read_text(errors='replace')[-4000:]}")
            time.sleep(0.05)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
