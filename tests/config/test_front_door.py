"""Behind nginx the desk still knows who asks; and what nginx answers by itself, it answers as the desk would."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import RequestFactory

from bench.load import front_door, processes, systems
from bench.load.front_door import Limits
from core.errors import REGISTRY
from core.middleware import Admission
from scripts import nginx
from tests import database

GUNICORN = [sys.executable, "-m", "gunicorn", "--config", "config/gunicorn.py", "config.wsgi"]
RESET = "/api/v1/auth/password/reset"  # counted by address, since whoever asks has no token


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes
    seconds: float

    @property
    def problem(self) -> dict[str, Any]:
        assert self.headers["content-type"] == "application/problem+json"
        document: dict[str, Any] = json.loads(self.body)
        return document


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("127.0.0.1", timeout=10)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(self.path))


def ask(
    where: int | Path, path: str, *, method: str = "GET", body: Any = None, source: str = "127.0.0.1", **headers: str
) -> Answer:
    """One request to a port of this machine, or to a socket."""
    connection: http.client.HTTPConnection
    if isinstance(where, Path):
        connection = UnixConnection(where)
    else:
        connection = http.client.HTTPConnection("127.0.0.1", where, timeout=10, source_address=(source, 0))
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    if body is not None and not isinstance(body, bytes):
        body, given = json.dumps(body).encode(), given | {"Content-Type": "application/json"}
    began = time.monotonic()
    connection.request(method, path, body, given)
    response = connection.getresponse()
    content = response.read()
    took = time.monotonic() - began
    connection.close()
    return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, content, took)


# --- What gunicorn refuses ------------------------------------------------------------------------------------------


def start(**environment: str) -> subprocess.CompletedProcess[str]:
    settings = {name: value for name, value in os.environ.items() if name != "PROMETHEUS_MULTIPROC_DIR"} | environment
    return subprocess.run(GUNICORN, env=settings, capture_output=True, text=True, timeout=60, check=False)


def test_a_socket_without_a_proxy_is_refused() -> None:
    result = start(BIND="unix:/nowhere/desk.sock", WEB_WORKERS="2", WEB_THREADS="2")
    assert result.returncode != 0
    assert "set TRUST_PROXY_HEADERS=true" in result.stderr


def test_threads_that_could_never_work_are_refused() -> None:
    result = start(PORT="0", WEB_WORKERS="2", WEB_THREADS="8", WEB_CONNECTIONS="4")
    assert result.returncode != 0
    assert "WEB_CONNECTIONS=4 would leave some of 8 threads without work" in result.stderr


# --- How long one may have waited -----------------------------------------------------------------------------------


def test_a_wait_may_be_limited_to_less_than_a_second(settings: Any) -> None:
    assert isinstance(settings.QUEUE_SECONDS_MAX, Decimal)
    settings.TRUST_PROXY_HEADERS = True
    settings.QUEUE_SECONDS_MAX = Decimal("0.5")
    admission = Admission(lambda _: HttpResponse())

    def after(seconds: float) -> Any:
        started = f"t={time.time() - seconds:.3f}"
        return admission(RequestFactory().get("/api/v1/x", HTTP_X_REQUEST_START=started))

    assert after(0.1).status_code == 200
    shed = after(0.7)
    assert (shed.status_code, shed.code, shed.headers["Retry-After"]) == (503, "SERVICE_UNAVAILABLE", "1")
    assert shed.headers["Content-Type"] == "application/problem+json"


# --- nginx, by itself -----------------------------------------------------------------------------------------------


@contextmanager
def door(desk: Path, limits: Limits | None = None) -> Iterator[int]:
    """nginx in front of this socket: its port."""
    if nginx.fetch() is None:
        pytest.skip(nginx.MISSING)
    with (
        tempfile.TemporaryDirectory(prefix="desk-door-") as scratch,
        front_door.serving(desk, Path(scratch), limits or Limits(), Path(scratch) / "nginx.log") as (port, _),
    ):
        processes.wait_for(lambda: _listens(port), 10, "nginx")
        yield port


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def assert_is_ours(answer: Answer, code: str) -> None:
    """What nginx wrote reads like what the desk writes."""
    refusal, problem = REGISTRY[code], answer.problem
    assert (problem["code"], problem["status"], answer.status) == (code, refusal.status, refusal.status)
    assert (problem["title"], problem["type"]) == (refusal.title(), f"/api/v1/error-codes#{code}")
    assert set(problem) == {
        *("type", "title", "status", "detail", "instance"),
        *("code", "errors", "context", "request_id"),
    }
    assert answer.headers["x-request-id"] == problem["request_id"]
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")


def test_what_does_not_fit_into_the_queue_is_told_at_once(folder: Path) -> None:
    """A desk that takes nothing in: one request waits in its socket, the next is refused by the kernel."""
    desk = folder / "desk.sock"
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as waiting, door(desk) as port:
        listener.bind(str(desk))
        listener.listen(0)
        waiting.connect(str(desk))
        answers = [ask(port, "/api/v1/transfers", method="POST", body={}) for _ in range(5)]
    for answer in answers:
        assert_is_ours(answer, "SERVICE_UNAVAILABLE")
        assert answer.headers["retry-after"] == "1"
        assert answer.problem["detail"] == REGISTRY["SERVICE_UNAVAILABLE"].message
    assert min(answer.seconds for answer in answers) < 0.05


def test_a_desk_that_takes_a_request_and_dies_leaves_its_outcome_open(folder: Path) -> None:
    desk = folder / "desk.sock"

    def die() -> None:
        taken, _ = listener.accept()
        taken.recv(65_536)
        taken.close()

    with socket.socket(socket.AF_UNIX) as listener, door(desk) as port:
        listener.bind(str(desk))
        listener.listen(8)
        dying = threading.Thread(target=die)
        dying.start()
        answer = ask(port, "/api/v1/transfers", method="POST", body={})
        dying.join()
    assert_is_ours(answer, "OUTCOME_UNKNOWN")
    assert answer.headers["retry-after"] == "1"


def test_nothing_that_a_client_claims_about_itself_reaches_the_desk(folder: Path) -> None:
    desk, heard = folder / "desk.sock", bytearray()

    def hear() -> None:
        taken, _ = listener.accept()
        heard.extend(taken.recv(65_536))
        taken.close()

    claims = ["X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-Prefix"]
    claims += ["X-Real-IP", "X-Request-Start", "Forwarded", "Proxy"]
    with socket.socket(socket.AF_UNIX) as listener, door(desk) as port:
        listener.bind(str(desk))
        listener.listen(8)
        hearing = threading.Thread(target=hear)
        hearing.start()
        began = time.time()
        with socket.create_connection(("127.0.0.1", port)) as client:
            lines = [f"{name}: claimed" for name in claims] + ["SCRIPT_NAME: /claimed", "X_Forwarded_For: claimed"]
            client.sendall("\r\n".join(["GET /api/v1/me HTTP/1.1", "Host: desk.example", *lines, "", ""]).encode())
            client.recv(65_536)
        hearing.join()
    assert b"claimed" not in heard
    headers = dict(line.split(": ", 1) for line in heard.decode().split("\r\n")[1:] if line)
    assert headers["Host"] == "desk.example"
    assert headers["X-Forwarded-For"] == headers["X-Real-IP"] == "127.0.0.1"
    assert headers["X-Forwarded-Proto"] == "http"
    assert abs(float(headers["X-Request-Start"].removeprefix("t=")) - began) < 5
    assert not {"Forwarded", "Proxy", "X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-Prefix"} & headers.keys()


def test_a_desk_that_is_away_has_changed_nothing(folder: Path) -> None:
    with door(folder / "nobody.sock") as port:
        answer = ask(port, "/api/v1/me", X_Request_ID='"a claim"')
    assert_is_ours(answer, "SERVICE_UNAVAILABLE")
    assert "claim" not in answer.problem["request_id"]


def test_what_is_too_large_is_refused_unread(folder: Path) -> None:
    with door(folder / "nobody.sock") as port:
        body = ask(port, "/api/v1/transfers", method="POST", body=b"x" * 65_537)
        header = ask(port, "/api/v1/me", X_Large="x" * 9_000)
    assert_is_ours(body, "PAYLOAD_TOO_LARGE")
    assert body.problem["context"] == {"max": 65_536}
    assert_is_ours(header, "BAD_REQUEST")


def test_one_address_that_asks_too_often_is_slowed_alone(folder: Path) -> None:
    with door(folder / "nobody.sock", Limits(per_second=1, burst=2)) as port:
        answers = [ask(port, "/api/v1/me", source="127.0.0.2") for _ in range(6)]
        other = ask(port, "/api/v1/me", source="127.0.0.3")
    assert answers[0].status == 503  # let through, to a desk that is away
    assert_is_ours(answers[-1], "RATE_LIMITED")
    assert answers[-1].headers["retry-after"] == "1"
    assert other.status == 503


def test_machines_pages_are_not_for_strangers(folder: Path) -> None:
    with door(folder / "nobody.sock") as port:
        for path in ("/metrics", "/health/live", "/health/ready"):
            assert_is_ours(ask(port, path, source="127.0.0.2"), "ROUTE_NOT_FOUND")
            assert_is_ours(ask(port, path, source="127.0.0.1"), "SERVICE_UNAVAILABLE")


def test_the_installations_own_files_are_well_formed(folder: Path) -> None:
    """Those that a measurement replaces: with a certificate of the test's and paths that exist."""
    program = nginx.fetch()
    if program is None:
        pytest.skip(nginx.MISSING)
    made = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=desk.example"]
    keys = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem")]
    if subprocess.run(["openssl", "req", *made, *keys], capture_output=True, check=False).returncode != 0:
        pytest.skip("there is no openssl here")
    configuration = front_door.write(folder / "desk.sock", folder, Limits(), 8443)
    for name in ("machine", "site", "listen"):
        text = (front_door.DEPLOY / "desk" / f"{name}.conf").read_text()
        for ours, there in (
            ("/etc/nginx/desk", folder),
            ("/var/log/nginx", folder),
            ("/run", folder),
            ("user www-data;", "#"),
        ):
            text = text.replace(str(ours), str(there))
        text = text.replace(":443", ":8443").replace("listen 443", "listen 8443")
        (configuration.parent / "desk" / f"{name}.conf").write_text(text)
    temporary = "".join(f"{name}_temp_path {folder}/{name}; " for name in ("client_body", "proxy", "fastcgi", "uwsgi"))
    site = configuration.parent / "desk" / "site.conf"
    site.write_text(site.read_text() + temporary + f"scgi_temp_path {folder}/scgi;\n")
    checked = subprocess.run(
        [program, "-t", "-p", str(folder), "-c", str(configuration), "-e", "stderr"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "test is successful" in checked.stderr, checked.stderr


# --- nginx and the desk ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class House:
    port: int
    socket: Path


@pytest.fixture(scope="module")
def house(desk_database: database.Clone) -> Iterator[House]:
    """The desk on a socket, few of whose requests an address may make, with its front door."""
    if nginx.fetch() is None:
        pytest.skip(nginx.MISSING)
    scratch = Path(tempfile.mkdtemp(prefix="desk-"))
    settings = {
        "DATABASE_URL": desk_database.desks_url,
        "WEB_WORKERS": "1",
        "WEB_THREADS": "2",
        "THROTTLE_SIGNUP": "2/m",
    }
    with (
        systems.gunicorn(settings | front_door.behind(scratch / "desk.sock"), scratch / "desk.log"),
        door(scratch / "desk.sock") as port,
    ):
        processes.wait_for(lambda: systems.answers(port, "/health/live"), 60, "the desk")
        yield House(port, scratch / "desk.sock")
    desk_database.restore()
    shutil.rmtree(scratch)


def reset(house: House, source: str, **headers: str) -> Answer:
    return ask(house.port, RESET, method="POST", body={"email": "nobody@example.com"}, source=source, **headers)


def test_clients_behind_a_socket_are_counted_one_by_one(house: House) -> None:
    statuses = [reset(house, "127.0.0.2").status for _ in range(3)]
    assert 429 not in statuses[:2]
    assert statuses[2] == 429
    assert reset(house, "127.0.0.3").status != 429


def test_a_claimed_address_counts_for_nothing(house: House) -> None:
    claims = [
        reset(
            house, "127.0.0.4", X_Forwarded_For=f"203.0.113.{place}", X_Real_IP="203.0.113.9", Forwarded="for=1.2.3.4"
        )
        for place in range(3)
    ]
    assert [answer.status == 429 for answer in claims] == [False, False, True]


def test_a_claimed_start_is_overwritten(house: House) -> None:
    answer = ask(house.port, "/api/v1/error-codes", X_Request_Start="t=1000000000")
    assert answer.status == 200  # a queue of years would have been shed


def test_the_metrics_rule_holds_on_a_socket(house: House) -> None:
    assert ask(house.socket, "/metrics").status == 403  # nobody's address is no address of this machine
    assert ask(house.socket, "/metrics", X_Forwarded_For="203.0.113.9").status == 403
    through = ask(house.port, "/metrics", X_Forwarded_For="203.0.113.9")
    assert through.status == 200
    assert b"desk_request_seconds" in through.body


def test_an_id_that_the_desk_accepts_goes_all_the_way(house: House) -> None:
    assert ask(house.port, "/api/v1/me", X_Request_ID="a-clients-own-id").headers["x-request-id"] == "a-clients-own-id"
