"""One event is one line of JSON, and no line holds a secret."""

from __future__ import annotations

import logging
import logging.config
import re
from collections.abc import Mapping, MutableMapping
from typing import Any

import structlog

REDACTED = "[redacted]"

#: A value under a name that contains one of these is never written, whatever it is.
SECRET_NAMES = (
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "authorization",
    "cookie",
    "csrf",
    "session_key",
    "sessionid",
    "api_key",
    "apikey",
    "private_key",
    "idempotency_key",
    "idempotency-key",
    "account_number",
    "iban",
    "card_number",
    "signature",
    "otp",
    "dsn",
    "database_url",
)
_SECRET_NAME = re.compile("|".join(map(re.escape, SECRET_NAMES)), re.IGNORECASE)

#: What a secret looks like inside a text: the message of an exception, a URL, a header that somebody printed.
_SECRET_TEXT = re.compile(
    r"""
      (?P<bearer>\b(?:bearer|basic)\s+)[A-Za-z0-9+/._~=-]{8,}
    | \b(?-i:[A-Z]{2}[0-9]{2}(?:[ ]?[A-Z0-9]{4}){2,7}(?:[ ]?[A-Z0-9]{1,4})?)\b                            # an IBAN
    | (?P<url>\b[a-z][a-z0-9+.-]*://[^\s:/@]*:)[^\s/@]+(?=@)                                        # user:password@host
    | (?P<pair>\b[\w-]*(?:password|passwd|secret|token|authorization|idempotency[_-]key|iban|account_number)[\w-]*
        ["']?\s*(?:=|:|=>)\s*["']?)[^\s"',;&)}\]]+
    """,
    re.IGNORECASE | re.VERBOSE,
)

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
        event[name] = REDACTED if _is_secret_name(name) else _redacted(value, 0)
    return event


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
    return _SECRET_TEXT.sub(_replacement, str(value)[:_TEXT_CHARACTERS_MAX])


def _replacement(match: re.Match[str]) -> str:
    return (match["bearer"] or match["url"] or match["pair"] or "") + REDACTED


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
