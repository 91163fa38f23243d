"""The web server takes no more of the database than it may."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

GUNICORN = [sys.executable, "-m", "gunicorn", "--config", "config/gunicorn.py", "--bind", "127.0.0.1:0", "config.wsgi"]


def start(**environment: str) -> subprocess.CompletedProcess[str]:
    settings = {name: value for name, value in os.environ.items() if name != "PROMETHEUS_MULTIPROC_DIR"} | environment
    return subprocess.run(GUNICORN, env=settings, capture_output=True, text=True, timeout=60, check=False)


def test_it_refuses_more_threads_than_connections() -> None:
    result = start(WEB_WORKERS="5", WEB_THREADS="9", DATABASE_CONNECTIONS_MAX="50")
    assert result.returncode != 0
    assert "5 workers with 9 connections each are 45 connections, and the web may have 40" in result.stderr


def test_it_counts_the_pool_where_there_is_one() -> None:
    result = start(WEB_WORKERS="5", WEB_THREADS="1", DATABASE_POOL_SIZE="10")
    assert result.returncode != 0
    assert "5 workers with 10 connections each are 50 connections" in result.stderr


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system does not say where processes run")
@pytest.mark.parametrize("asked", ["true", "false"])
def test_its_workers_keep_to_a_processor_each_where_that_is_asked_for(asked: str) -> None:
    everywhere = os.sched_getaffinity(0)
    settings = os.environ | {"WEB_WORKERS": str(len(everywhere)), "WEB_THREADS": "1", "WEB_PIN_PROCESSORS": asked}
    wanted = [{one} for one in sorted(everywhere)] if asked == "true" else [everywhere] * len(everywhere)
    process = subprocess.Popen(GUNICORN, env=settings, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        children, deadline = Path(f"/proc/{process.pid}/task/{process.pid}/children"), time.monotonic() + 30
        found: list[set[int]] = []
        while found != wanted and time.monotonic() < deadline:
            time.sleep(0.1)
            workers = [int(pid) for pid in children.read_text().split()]
            found = sorted((os.sched_getaffinity(pid) for pid in workers), key=min)
        assert found == wanted
        assert os.sched_getaffinity(process.pid) == everywhere
    finally:
        process.terminate()
        process.wait(30)
