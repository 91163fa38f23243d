"""The server that other tests race against is a real one, on the database they look into."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from urllib.parse import urlsplit

import pytest

from tests.database import Clone
from tests.live_desk import LiveDesk


@pytest.mark.parametrize("path", ["/health/live", "/health/ready"])
def test_it_answers(live_desk: LiveDesk, committed_db: Clone, path: str) -> None:
    with urllib.request.urlopen(live_desk.url + path, timeout=10) as answer:
        assert answer.status == 200


def test_it_has_migrations_applied_in_the_database_of_this_process(live_desk: LiveDesk, committed_db: Clone) -> None:
    with urllib.request.urlopen(f"{live_desk.url}/health/ready", timeout=10) as answer:
        assert json.load(answer)["migrations"] == "applied"


def test_the_containers_health_check_finds_it(live_desk: LiveDesk) -> None:
    port = str(urlsplit(live_desk.url).port)
    check = [sys.executable, "-m", "scripts.healthcheck"]
    assert subprocess.run(check, env=os.environ | {"PORT": port}, check=False).returncode == 0


def test_the_containers_health_check_misses_a_dead_one(live_desk: LiveDesk) -> None:
    check = [sys.executable, "-m", "scripts.healthcheck"]
    result = subprocess.run(check, env=os.environ | {"PORT": "1"}, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "/health/live" in result.stderr
