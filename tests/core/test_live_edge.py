"""What only real sockets show: chunks, lengths that lie, and what the server writes to its log."""

from __future__ import annotations

import http.client
import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.live_desk import LiveDesk

ECHO = "/api/v1/auth/token"  # reads a body before anything else, and from anybody


def address(desk: LiveDesk) -> tuple[str, int]:
    parts = urlsplit(desk.url)
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port


def ask(desk: LiveDesk, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any, bytes]:
    connection = http.client.HTTPConnection(*address(desk), timeout=20)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body, named, encode_chunked=named.get("Transfer-Encoding") == "chunked")
    response = connection.getresponse()
    answer = response.status, response.headers, response.read()
    connection.close()
    return answer


def raw(desk: LiveDesk, data: bytes) -> bytes:
    """The first bytes of the answer to exactly these bytes."""
    with socket.create_connection(address(desk), timeout=20) as link:
        link.sendall(data)
        return link.recv(65_536)


def lines(desk: LiveDesk, request_id: str) -> list[dict[str, Any]]:
    """The log's lines about one request, once the request's own is there."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        found = [json.loads(line) for line in desk.log.read_text().splitlines() if request_id in line]
        if any(line["event"] == "core.request.finished" for line in found):
            return found
        time.sleep(0.05)
    pytest.fail(f"no line about {request_id}")


def head(length: int) -> bytes:
    lines = (f"POST {ECHO} HTTP/1.1", "Host: localhost", "Content-Type: application/json", f"Content-Length: {length}")
    return "\r\n".join((*lines, "", "")).encode()


def test_a_chunked_body_is_read(live_desk: LiveDesk) -> None:
    chunks = iter([b'{"ema', b'il": ', b'"nobody@example.com", "x": 1}'])
    status, _, body = ask(live_desk, "POST", ECHO, chunks, Content_Type="application/json", Transfer_Encoding="chunked")
    assert status == 400
    assert {"field": "x", "code": "UNKNOWN_FIELD"}.items() <= next(
        error for error in json.loads(body)["errors"] if error["field"] == "x"
    ).items()


def test_a_chunked_body_over_the_limit_is_refused(live_desk: LiveDesk) -> None:
    chunks = (b'{"email": "' + b"x" * 8_000 for _ in range(9))
    status, _, body = ask(live_desk, "POST", ECHO, chunks, Content_Type="application/json", Transfer_Encoding="chunked")
    assert (status, json.loads(body)["code"]) == (413, "PAYLOAD_TOO_LARGE")


def test_a_declared_length_over_the_limit_is_refused_before_it_arrives(live_desk: LiveDesk) -> None:
    head = (
        f"POST {ECHO} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 99999999\r\n\r\n"
    )
    assert raw(live_desk, head.encode()).startswith(b"HTTP/1.1 413")


def test_a_body_shorter_than_its_length_is_cut_off_politely(live_desk: LiveDesk) -> None:
    with socket.create_connection(address(live_desk), timeout=20) as link:
        link.sendall(head(50) + b'{"email": "a')
        link.shutdown(socket.SHUT_WR)
        answer = link.recv(65_536)
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"application/problem+json" in answer


def test_what_follows_a_body_is_another_request(live_desk: LiveDesk) -> None:
    answer = raw(live_desk, head(2) + b'{}{"email": "smuggled"}')
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"smuggled" not in answer


@pytest.mark.parametrize("length", [b"-1", b"1e3", b"0x10", b"+5", b"5, 5"])
def test_a_length_that_is_no_number_never_reaches_us(live_desk: LiveDesk, length: bytes) -> None:
    request = b"POST %b HTTP/1.1\r\nHost: localhost\r\nContent-Length: %b\r\n\r\n{}" % (ECHO.encode(), length)
    assert raw(live_desk, request).startswith(b"HTTP/1.1 400")


def test_a_request_is_one_line_with_its_id_and_trace(live_desk: LiveDesk) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    status, headers, _ = ask(
        live_desk,
        "GET",
        "/api/v1/wallets/CANARY-PATH",
        X_Request_ID="live-edge-one-line",
        traceparent=f"00-{trace}-00f067aa0ba902b7-01",
        Authorization="Bearer CANARY-TOKEN-0123456789",
        Idempotency_Key="CANARY-KEY-0123456789",
    )
    assert (status, headers["X-Request-ID"]) == (401, "live-edge-one-line")
    (line,) = lines(live_desk, "live-edge-one-line")
    assert (line["status"], line["code"], line["method"]) == (401, "TOKEN_INVALID", "GET")
    assert line["route"].startswith("api/v1/wallets/<")
    assert line["traceparent"].startswith(f"00-{trace}-")
    assert "CANARY" not in live_desk.log.read_text()


def test_every_line_of_the_server_is_json(live_desk: LiveDesk) -> None:
    ask(live_desk, "GET", "/api/v1/error-codes", X_Request_ID="live-edge-every-line")
    lines(live_desk, "live-edge-every-line")
    for line in live_desk.log.read_text().splitlines():
        assert {"event", "timestamp", "level"} <= set(json.loads(line))


def test_metrics_count_over_both_processes(live_desk: LiveDesk) -> None:
    def counted() -> float:
        _, _, body = ask(live_desk, "GET", "/metrics")
        name = 'desk_request_seconds_count{method="GET",route="api/v1/error-codes",status="200"}'
        return sum(float(line.split()[-1]) for line in body.decode().splitlines() if line.startswith(name))

    before = counted()
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: ask(live_desk, "GET", "/api/v1/error-codes"), range(40)))
    assert counted() == before + 40


def test_the_documents_page_and_its_files_come_from_here(live_desk: LiveDesk) -> None:
    status, headers, page = ask(live_desk, "GET", "/api/docs")
    assert status == 200
    assert "script-src 'self'" in headers["Content-Security-Policy"]
    paths = [part.split('"')[0] for part in page.decode().split('="')[1:] if part.startswith("/")]
    assert len(paths) >= 5
    for path in paths:
        status, headers, body = ask(live_desk, "GET", path.replace("&amp;", "&"))
        assert status == 200
        assert body
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Content-Security-Policy"]


def test_ready_says_so(live_desk: LiveDesk) -> None:
    status, _, body = ask(live_desk, "GET", "/health/ready")
    document = json.loads(body)
    assert (status, document["status"], document["migrations"]) == (200, "ready", "applied")
