"""A refusal says what was wrong, what would be right, and has a name that never changes."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, ClassVar
from uuid import UUID

#: Every refusal this system can give, by its stable code. Filled as the classes are declared; it feeds the exception
#: handler, the OpenAPI document and, as far as clients may know of them, the public catalogue.
REGISTRY: dict[str, type[DomainError]] = {}


class DomainError(Exception):
    """
    A refusal that a client can understand and act on; declared beside the function that raises it.

    `message` is a `str.format` template over the keyword arguments, which also travel as numbers in `context`.
    A *final* refusal is a business answer: it is stored under its idempotency key and never turns into a yes by asking
    again. The others (not found, busy, malformed) leave the key free. One that is not *public* is known to staff alone.
    """

    code: ClassVar[str] = "ERROR"
    message: ClassVar[str] = "The request could not be carried out."
    status: ClassVar[int] = 422
    final: ClassVar[bool] = True
    is_public: ClassVar[bool] = True
    retry_after_seconds: int | None = None
    #: What made it a refusal was committed after we had looked: the whole may run again, and will see it at once.
    looked_too_early = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "code" not in cls.__dict__:
            raise TypeError(f"{cls.__name__} declares no code")
        if "final" not in cls.__dict__:
            cls.final = cls.status == 422
        known = REGISTRY.setdefault(cls.code, cls)
        if known.__qualname__ != cls.__qualname__ or known.__module__ != cls.__module__:
            raise TypeError(f"{cls.code} is declared by {known.__module__} and {cls.__module__}")

    def __init__(self, *, errors: list[dict[str, Any]] | None = None, **context: Any) -> None:
        self.context = {name: plain(value) for name, value in context.items()}
        self.errors = errors or []
        self.detail = self.message.format_map(self.context)
        super().__init__(self.detail)

    @classmethod
    def title(cls) -> str:
        return cls.code.replace("_", " ").capitalize()


class NotFound(DomainError):
    code = "NOT_FOUND"
    message = "There is no such resource, or it is not yours."
    status = 404


class Malformed(DomainError):
    code = "VALIDATION_FAILED"
    message = "The request has fields that cannot be accepted; `errors` names each one."
    status = 400


class Unavailable(DomainError):
    code = "SERVICE_UNAVAILABLE"
    message = "The service is busy or restarting; nothing was changed. Send the same request again."
    status = 503
    retry_after_seconds = 1


class DatabaseUnavailable(DomainError):
    code = "DATABASE_UNAVAILABLE"
    message = "The database cannot be reached right now; nothing is half-done. Send the same request again."
    status = 503
    retry_after_seconds = 2


class Contended(DomainError):
    code = "LOCK_TIMEOUT"
    message = "Another operation held what this one needs for too long; nothing was changed. Send it again."
    status = 503
    retry_after_seconds = 1


class Deadlocked(DomainError):
    code = "DEADLOCK"
    message = "Several operations waited for each other; this one was undone and nothing was changed. Send it again."
    status = 503
    retry_after_seconds = 1


class SerializationFailed(DomainError):
    code = "SERIALIZATION_FAILURE"
    message = "Another operation changed what this one had read; nothing was changed. Send it again."
    status = 503
    retry_after_seconds = 1


class AlreadyExists(DomainError):
    code = "ALREADY_EXISTS"
    message = "Something with the same unique value exists already; nothing was changed."
    status = 409


class DeadlineExceeded(DomainError):
    code = "DEADLINE_EXCEEDED"
    message = "The request ran out of its time before it could finish; nothing was changed. Send it again."
    status = 503
    retry_after_seconds = 1


class OutcomeUnknown(DomainError):
    code = "OUTCOME_UNKNOWN"
    message = "The connection to the database was lost while committing. Repeat the request to learn the outcome."
    status = 503
    retry_after_seconds = 1


class Internal(DomainError):
    code = "INTERNAL_ERROR"
    message = "Something went wrong on our side. Quote the request id when you contact support."
    status = 500


#: What JSON carries as it is; asked first, since most values are.
_PLAIN = frozenset({str, int, bool, type(None)})


def plain(value: Any) -> Any:
    """A value as JSON may carry it: amounts, ids and UTC moments as strings, never a float."""
    if value.__class__ in _PLAIN:
        return value
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if value is None or isinstance(value, str | bool | int):
        return value
    return str(value)


def problem(error: DomainError, *, instance: str = "", request_id: str = "") -> dict[str, Any]:
    """The refusal as an RFC 9457 problem document, with our extension members `code`, `errors`, `context`."""
    return {
        "type": f"/api/v1/error-codes#{error.code}",
        "title": error.title(),
        "status": error.status,
        "detail": error.detail,
        "instance": instance,
        "code": error.code,
        "errors": error.errors,
        "context": error.context,
        "request_id": request_id,
    }
