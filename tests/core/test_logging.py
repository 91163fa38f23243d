"""One event is one line of JSON, and no canary gets out."""

from __future__ import annotations

import io
import json
import logging
import time
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from django.conf import settings

from core import logging as desk_logging
from core.logging import REDACTED, JSONFormatter

CANARY = "CANARY-7f3a9c-CANARY"


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """What goes to the log while the test runs."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JSONFormatter())
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield stream
    root.removeHandler(handler)
    root.setLevel(level)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


logger = structlog.get_logger("tests.core")


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "new_password",
        "PASSWORD",
        "token",
        "access_token",
        "market_data_token",
        "secret",
        "totp_secret",
        "client-secret",
        "authorization",
        "Authorization",
        "HTTP_AUTHORIZATION",
        "account_number",
        "iban",
        "idempotency_key",
        "Idempotency-Key",
        "HTTP_IDEMPOTENCY_KEY",
        "cookie",
        "sessionid",
        "csrfmiddlewaretoken",
        "api_key",
        "signature",
        "otp",
        "DATABASE_URL",
    ],
)
def test_a_value_under_a_secret_name_is_never_written(written: io.StringIO, name: str) -> None:
    logger.info("tests.canary.logged", **{name: CANARY})
    logger.info("tests.canary.logged", outer={"list": [{name: CANARY}]})
    logger.info("tests.canary.logged", **{name: {"inner": [CANARY]}})
    logging.getLogger("tests.stdlib").warning("values: %s", {name: CANARY})
    logging.getLogger("tests.stdlib").warning("%s=%s", name, CANARY)
    assert CANARY not in written.getvalue()
    assert lines(written)[0][name] == REDACTED
    assert len(lines(written)) == 5


@pytest.mark.parametrize(
    "text",
    [
        f"Authorization: Bearer {CANARY}",
        f"bearer {CANARY}",
        f"Basic {CANARY}",
        f"password={CANARY}",
        f"'password': '{CANARY}'",
        f'{{"new_password": "{CANARY}"}}',
        f"token={CANARY}&x=1",
        f"api_secret => {CANARY}",
        f"Idempotency-Key: {CANARY}",
        f"postgres://desk:{CANARY}@db.example/desk",
        f"https://example.com/?access_token={CANARY}",
        f"account_number={CANARY}",
    ],
)
def test_a_secret_inside_a_text_is_cut_out(written: io.StringIO, text: str) -> None:
    logger.info("tests.canary.logged", detail=text)
    logger.warning(text)
    logging.getLogger("tests.stdlib").error("failed: %s", text)
    error = ValueError(text)
    logger.error("tests.canary.failed", exc_info=error)
    logging.getLogger("tests.stdlib").error("failed", exc_info=error)
    assert CANARY not in written.getvalue()
    assert len(lines(written)) == 5


@pytest.mark.parametrize(
    "iban", ["DE89370400440532013000", "GB29 NWBK 6016 1331 9268 19", "MT84MALT011000012345MTLCAST001S"]
)
def test_a_bank_number_inside_a_text_is_cut_out(written: io.StringIO, iban: str) -> None:
    logger.info("tests.canary.logged", detail=f"paid to {iban}, thanks")
    assert iban not in written.getvalue()
    assert iban[6:14] not in written.getvalue()
    assert "thanks" in lines(written)[0]["detail"]


def test_ids_amounts_and_words_stay_readable(written: io.StringIO) -> None:
    fields = {
        "transaction_id": "01890a5d-ac96-774b-bcce-b302099a8057",
        "sqlstate": "40P01",
        "route": "api/v1/wallets/<str:number>/entries",
        "code": "IDEMPOTENCY_KEY_REUSED",
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "function": "transfer_funds",
        "token_id": "01890a5d-ac96-774b-bcce-b302099a8058",
        "footprint": "wide",
    }
    logger.info("wallets.transfer.posted", count=3, **fields)
    (line,) = lines(written)
    assert line.items() >= {**fields, "count": 3, "event": "wallets.transfer.posted"}.items()


@pytest.mark.parametrize(
    "text", ["a\nb", "a\r\nb", 'a"}\n{"event": "forged"', "a\x1b[2Kb", "a\u2028b", "a\u0085b", "a\x00b"]
)
def test_control_characters_cannot_forge_a_line(written: io.StringIO, text: str) -> None:
    logger.info("tests.text.logged", detail=text, **{text: "name"})
    logger.info(text)
    logging.getLogger("tests.stdlib").info(text)
    output = written.getvalue()
    assert len(output.splitlines()) == output.count("\n") == 3
    assert all(0x20 <= ord(character) < 0x7F for character in output.replace("\n", ""))
    assert lines(written)[0]["detail"] == text


def test_a_line_has_its_time_level_logger_and_request(written: io.StringIO) -> None:
    with structlog.contextvars.bound_contextvars(request_id="r-12345678", traceparent="00-a-b-00"):
        logger.warning("tests.line.written")
        logging.getLogger("tests.stdlib").error("hello %s", "there")
    ours, theirs = lines(written)
    assert (ours["event"], ours["level"], ours["logger"]) == ("tests.line.written", "warning", "tests.core")
    assert (theirs["event"], theirs["level"], theirs["logger"]) == ("hello there", "error", "tests.stdlib")
    for line in (ours, theirs):
        assert line["request_id"] == "r-12345678"
        assert line["traceparent"] == "00-a-b-00"
        assert line["timestamp"].endswith("Z")


def test_a_traceback_is_structured_and_shows_no_variables(written: io.StringIO) -> None:
    def fail(password: str) -> None:
        raise RuntimeError(f"failed for {len(password)} characters")

    try:
        fail(CANARY)
    except RuntimeError:
        logger.exception("tests.job.failed")
    (line,) = lines(written)
    assert line["exception"][0]["exc_type"] == "RuntimeError"
    assert line["exception"][0]["frames"][-1]["name"] == "fail"
    assert CANARY not in written.getvalue()


def test_odd_values_do_not_stop_the_line(written: io.StringIO) -> None:
    deep: Any = "bottom"
    for _ in range(50):
        deep = [deep]
    logger.info("tests.values.logged", deep=deep, raw=b"\xff", thing=object(), huge="x" * 100_000, nothing=None)
    (line,) = lines(written)
    assert line["nothing"] is None
    assert len(written.getvalue()) < 20_000


def test_statements_and_their_parameters_are_not_logged() -> None:
    assert logging.getLogger("django.db.backends").level == logging.WARNING


def test_django_reports_only_what_nobody_caught() -> None:
    record = logging.LogRecord("django.request", logging.WARNING, "", 0, "Not Found: /x", (), None)
    (keep,) = logging.getLogger("django.request").filters
    assert not logging.getLogger("django.request").isEnabledFor(logging.WARNING)
    assert not keep.filter(record)  # type: ignore[union-attr]
    record.exc_info = (ValueError, ValueError(), None)
    assert keep.filter(record)  # type: ignore[union-attr]


def test_settings_use_it() -> None:
    assert settings.LOGGING_CONFIG == "core.logging.configure"
    assert desk_logging.as_dict("INFO")["root"]["level"] == "INFO"
    assert logging.getLogger("django").handlers == []


@pytest.mark.parametrize(
    "text",
    ["a-" * 4_000, "token-" * 1_400, "://a:" * 1_600, "AB12 " * 1_600, "bearer " * 1_200, "secret" + " " * 8_000],
)
def test_a_hostile_text_cannot_make_reading_it_slow(written: io.StringIO, text: str) -> None:
    started = time.perf_counter()
    logger.info("tests.text.logged", detail=text)
    assert time.perf_counter() - started < 0.5
