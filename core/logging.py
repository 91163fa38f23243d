"""One event is one line of JSON, and no line holds a secret."""

from __future__ import annotations

import functools
import logging
import logging.config
import re
from collections.abc import Mapping, MutableMapping
from typing import Any

import structlog

REDACTED = "[redacted]"

#: A value under a name that matches one of these is never written, whatever it is; a token's id is no secret.
SECRET_NAMES = (
    "passw(?:or)?d",
    "passphrase",
    "secret",
    "token(?!_id)",
    "authorization",
    "cookie",
    "csrf",
    "session_?(?:id|key)",
    "api_?key",
    "private_?key",
    "idempotency[_-]key",
    "account_number",
    "iban",
    "card_number",
    "signature",
    r"(?<![a-z])t?otp",
    "dsn",
    "database_url",
)
_NAMES = "|".join(SECRET_NAMES)
_SECRET_NAME = re.compile(_NAMES, re.IGNORECASE)

#: What a secret looks like inside a text: the message of an exception, a URL, a header that somebody printed. Every
#: repetition has a bound, so that a hostile text cannot make reading it slow.
_SECRET_TEXT = re.compile(
    rf"""
      (?P<pair>(?:{_NAMES})[\w-]{{0,40}}["']?\s{{0,4}}(?:=>|=|:)\s{{0,4}}["']?(?:(?:bearer|basic)\s{{1,4}})?)[^\s"',;&)}}\]]+
    | (?P<scheme>\b(?:bearer|basic)\s{{1,4}})[A-Za-z0-9+/._~=-]{{8,}}
    | (?P<url>://[^\s:/@]{{0,100}}:)[^\s/@]{{1,200}}(?=@)                     # user:password@host
    """,
    re.IGNORECASE | re.VERBOSE,
)
_BANK_NUMBER = re.compile(r"\b[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?\b", re.ASCII)

#: A text (in lower case) without one of these holds nothing that the expression above looks for; asking costs a tenth.
_HINT = re.compile(
    "passw|passphrase|secret|token|authorization|cookie|csrf|session|key|account_number"
    "|iban|card_number|signature|otp|dsn|database_url|bearer|basic|://"
)

#: Written by ourselves into every line.
_OURS = frozenset({"level", "logger", "timestamp", "traceparent"})

_DEPTH_MAX = 8
_TEXT_CHARACTERS_MAX = 8_000


def configure(config: Mapping[str, Any]) -> None:
    """Set up structlog and the standard library's loggers alike; Django calls it with `settings.LOGGING`."""
    level = str(config.get("level", "INFO")).upper()
    logging.config.dictConfig(as_dict(level))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def as_dict(level: str) -> dict[str, Any]:
    """The standard library's half as a `dictConfig`, which a server such as gunicorn can take as it is."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"with_traceback": {"()": "core.logging.WithTraceback"}},
        "formatters": {"json": {"()": "core.logging.JSONFormatter"}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            # Replaces Django's own set-up, which would mail exceptions to people.
            "django": {"handlers": [], "level": "INFO", "propagate": True},
            # Our line per request says what this says about refusals; only what nobody caught is news.
            "django.request": {"filters": ["with_traceback"], "level": "ERROR", "propagate": True},
            "django.server": {"handlers": [], "level": "WARNING", "propagate": True},
            # Scanners send other people's host names all day; the request's line says 400.
            "django.security.DisallowedHost": {"level": "CRITICAL", "propagate": True},
            # At DEBUG it would write every statement with its parameters.
            "django.db.backends": {"level": "WARNING", "propagate": True},
        },
    }


class WithTraceback(logging.Filter):
    """Lets through what carries an exception."""

    def filter(self, record: logging.LogRecord) -> bool:
        return bool(record.exc_info)


class JSONFormatter(structlog.stdlib.ProcessorFormatter):
    """Renders structlog's events and everybody else's records the same way."""

    def __init__(self) -> None:
        super().__init__(
            foreign_pre_chain=list(_SHARED),
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _TRACEBACKS,
                redact,
                # ASCII only: line breaks, terminal codes and look-alikes in a value arrive as escapes.
                structlog.processors.JSONRenderer(ensure_ascii=True, default=str),
            ],
        )


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """structlog processor: replaces secrets, recognised by the name of their key or by their looks."""
    for name, value in event.items():
        if name not in _OURS:
            event[name] = REDACTED if _is_secret_name(name) else _redacted(value, 0)
    return event


@functools.lru_cache(maxsize=1024)
def _is_secret_name(name: Any) -> bool:
    return isinstance(name, str) and _SECRET_NAME.search(name) is not None


def _redacted(value: Any, depth: int) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if depth > _DEPTH_MAX:
        return REDACTED
    if isinstance(value, Mapping):
        return {
            str(name): REDACTED if _is_secret_name(name) else _redacted(inner, depth + 1)
            for name, inner in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [_redacted(inner, depth + 1) for inner in value]
    text = str(value)[:_TEXT_CHARACTERS_MAX]
    if _HINT.search(text.lower()):
        text = _SECRET_TEXT.sub(_replacement, text)
    return _BANK_NUMBER.sub(REDACTED, text)


def _replacement(match: re.Match[str]) -> str:
    return (match["pair"] or match["scheme"] or match["url"]) + REDACTED


#: Never the values of local variables: they are where passwords are.
_TRACEBACKS = structlog.processors.ExceptionRenderer(
    structlog.tracebacks.ExceptionDictTransformer(show_locals=False, max_frames=30)
)

_SHARED: tuple[Any, ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
)
