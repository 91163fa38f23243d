"""The web server takes no more of the database than it may."""

from __future__ import annotations

import os
import subprocess
import sys

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
