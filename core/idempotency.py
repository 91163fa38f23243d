"""The key commits with the money: a repeated request finds either its whole answer or nothing at all."""

from __future__ import annotations

import functools
import hmac
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from typing import Any, TypeVar
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.db.models import QuerySet
from django.utils import timezone

from core import db, metrics
from core.errors import DomainError, plain, problem
from core.ids import frame, uuid7
from core.models import IdempotencyKey

S = TypeVar("S", bound=Callable[..., "Answer"])

#: Changing how a digest is computed means a new version, so that no old key can meet a new request by accident.
DIGEST_VERSION = "1"

#: Every operation that clients may repeat, by name: how a stored key is traced to what it did.
OPERATIONS: dict[str, Operation] = {}

Status = IdempotencyKey.Status

_KEY_CONSTRAINT = "idempotencykey_owner_digest"


class IdempotencyKeyRequired(DomainError):
    code = "IDEMPOTENCY_KEY_REQUIRED"
    message = "This request needs an Idempotency-Key header: make one key per intent, store it, send, resend."
    status = 400


class IdempotencyKeyInvalid(DomainError):
    code = "IDEMPOTENCY_KEY_INVALID"
    message = "An Idempotency-Key is 16 to 128 characters of A-Z a-z 0-9 . _ : -"
    status = 400


class IdempotencyKeyReused(DomainError):
    code = "IDEMPOTENCY_KEY_REUSED"
    message = "This Idempotency-Key was used for a different request; a new intent needs a new key."
    status = 422
    final = False  # the key already has an answer, to the other request


class IdempotencyKeyExpired(DomainError):
    code = "IDEMPOTENCY_KEY_EXPIRED"
    message = (
        "This request was carried out before and its answer is no longer stored. It will not be carried out again."
    )
    status = 409


@dataclass(frozen=True, slots=True)
class Operation:
    """
    A thing clients may repeat without repeating its effect.

    `effect_table` names the table whose (`owner_id`, `idempotency_digest`) is unique for ever, so that the effect is
    still recognised after the key and its answer have been purged; None where another unique fact does that (an email).
    """

    name: str
    effect_table: str | None

    def __post_init__(self) -> None:
        if OPERATIONS.setdefault(self.name, self) != self:
            raise TypeError(f"operation {self.name} is declared twice, with different effects")


@dataclass(frozen=True, slots=True)
class Claim:
    """One request's right to act: whose it is, which key it came with, and what exactly it asked for."""

    operation: Operation
    owner: UUID
    digest: bytes
    request_hash: bytes
    instance: str = ""
    request_id: str = ""

    @classmethod
    def make(
        cls,
        *,
        operation: Operation,
        owner: UUID,
        key: str,
        request: dict[str, Any],
        instance: str = "",
        request_id: str = "",
    ) -> Claim:
        """The claim of `owner` on `key` for this request: path parameters and parsed body, secrets already hashed."""
        return cls(
            operation=operation,
            owner=owner,
            digest=frame(DIGEST_VERSION, str(owner), key),
            request_hash=frame(DIGEST_VERSION, operation.name, canonical(request)),
            instance=instance,
            request_id=request_id,
        )

    @property
    def lock_id(self) -> int:
        """The digest's first 64 bits, as PostgreSQL's advisory locks count them."""
        return int.from_bytes(self.digest[:8], "big", signed=True)


@dataclass(frozen=True, slots=True)
class Answer:
    """The bytes a client gets, now and every time it repeats the request."""

    status: int
    body: bytes
    replayed: bool = False
    stored: bool = False
    effect_id: UUID | None = None

    @classmethod
    def of(cls, document: dict[str, Any], *, status: int = 201, effect_id: UUID | None = None) -> Answer:
        return cls(status=status, body=json.dumps(plain(document), separators=(",", ":")).encode(), effect_id=effect_id)

    @classmethod
    def refusal(cls, error: DomainError, claim: Claim, **context: Any) -> Answer:
        """A business refusal as the final answer; `context` adds what it left behind, such as an order's id."""
        document = problem(error, instance=claim.instance, request_id=claim.request_id)
        document["context"] = {**document["context"], **plain(context)}
        return cls.of(document, status=error.status)

    @property
    def refused(self) -> bool:
        return self.status >= 400

    @property
    def document(self) -> dict[str, Any]:
        """The body, parsed; for tests and for callers in Python."""
        parsed: dict[str, Any] = json.loads(self.body)
        return parsed


def canonical(value: Any) -> str:
    """JSON with one spelling per meaning: sorted keys, no spaces, `1.50` and `1.5` alike."""
    return json.dumps(_canonical(value), sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def _canonical(value: Any) -> Any:
    if value.__class__ is str:
        return value
    if isinstance(value, Decimal):
        return format(value.normalize() if value else Decimal(0), "f")
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, dict):
        return {str(name): _canonical(item) for name, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    return plain(value)


def conceal(secret: str) -> str:
    """A password or bank number as a request hash may see it: the same for the same secret, useless to a thief."""
    return hmac.new(settings.SECRET_KEY.encode(), secret.encode(), sha256).hexdigest()


def system_digest(*parts: str) -> bytes:
    """The permanent digest of something the system does once by its nature, such as completing a given withdrawal."""
    return frame("system", *parts)


def exactly_once(operation: Operation) -> Callable[[S], S]:
    """
    Inside the transaction: claim the key, replay what is known, or run the service and store its answer.

    A claim is an advisory try-lock that ends with the transaction: it needs no lease and no clock, and when a worker
    dies its claim dies with its work. The key is written once, with its answer, and the unique constraint on it stands
    behind the lock. A refusal raised before the first write becomes the key's final answer and leaves by returning, so
    that it commits. A refusal after a write is a bug: everything rolls back and the key stays free. So it does for
    whatever is not final (not found, malformed, busy).

    :raises ClaimHeldElsewhere: if another request with this key is in flight
    :raises IdempotencyKeyReused: if the key belongs to a different request
    :raises IdempotencyKeyExpired: if the effect exists and its answer is no longer stored
    """

    def decorate(func: S) -> S:
        @functools.wraps(func)
        def wrapper(*args: Any, claim: Claim, **kwargs: Any) -> Answer:
            assert claim.operation is operation, f"{claim.operation.name} was claimed for {operation.name}"
            db.require_transaction()
            known = _claim(claim)
            if known is not None:
                metrics.REPLAYS.inc()
                return known
            writes = _WriteWatch()
            try:
                with connection.execute_wrapper(writes):
                    answer = func(*args, claim=claim, **kwargs)
            except DomainError as refusal:
                if not refusal.final:
                    raise
                if writes.seen:  # not an assert: without this the key would say no to what has half happened
                    raise AssertionError(f"{refusal.code} was raised after a write") from refusal
                answer = Answer.refusal(refusal, claim)
            except IntegrityError as error:
                raise _as_known(error) from error
            return answer if answer.stored else complete(claim, answer)

        wrapper.answers_through_its_key = True  # type: ignore[attr-defined]  # read by retry_on_conflict
        return wrapper  # type: ignore[return-value]  # same signature, wrapped

    return decorate


def _as_known(error: IntegrityError) -> IdempotencyKeyExpired:
    """
    What it means that a constraint on the key or on the effect spoke; any other is raised as it is.

    It was done so long ago that only the effect is left, or after we had looked: the next look will tell.
    """
    name = db.constraint(error)
    if name != _KEY_CONSTRAINT and not name.endswith("_idempotency_digest"):
        raise error
    expired = IdempotencyKeyExpired()
    expired.looked_too_early = True
    return expired


class _WriteWatch:
    """Notices whether the service has written: a refusal may become final only while everything is still untouched."""

    def __init__(self) -> None:
        self.seen = False

    def __call__(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        self.seen = self.seen or not sql.lstrip().startswith("SELECT")
        return execute(sql, params, many, context)


# One statement claims: it sets the transaction's time limits, tries the lock on the key, and reads what is known. It
# reads from a snapshot that was taken before the lock was had: what was committed in between is not seen here, and the
# unique constraints on the key and on the effect say so when these are written.
_CLAIM_SQL = """
WITH gate AS MATERIALIZED (
    SELECT pg_try_advisory_xact_lock(%(lock_id)s::bigint) AS had,
           set_config('lock_timeout', %(lock_timeout)s, true),
           set_config('statement_timeout', %(statement_timeout)s, true)
)
SELECT gate.had, {effect_id}, known.status, known.request_hash, known.response_status, known.response_body,
       known.effect_id, known.expires_at
  FROM gate
  LEFT JOIN core_idempotencykey known ON known.owner = %(owner)s::uuid AND known.digest = %(digest)s::bytea
  {effect_join}
"""

#: Kept apart from the claim: it is appended to a posting too, so that the money and its answer are one statement.
COMPLETE_SQL = """
INSERT INTO core_idempotencykey
       (id, owner, digest, operation, request_hash, status, response_status, response_body, effect_id, created_at,
        completed_at, expires_at)
VALUES (%(key_id)s::uuid, %(key_owner)s::uuid, %(key_digest)s::bytea, %(key_operation)s::text,
        %(key_request_hash)s::bytea, %(key_status)s::text, %(response_status)s::smallint, %(response_body)s::bytea,
        %(effect_id)s::uuid, %(now)s::timestamptz, %(now)s::timestamptz, %(key_expires_at)s::timestamptz)
RETURNING id
"""


@functools.cache
def _claim_sql(effect_table: str | None) -> str:
    if effect_table is None:
        return _CLAIM_SQL.format(effect_id="NULL::uuid", effect_join="")
    # The table's name is one of our own constants, never input.
    join = (
        f"LEFT JOIN {effect_table} effect"
        " ON effect.owner_id = %(owner)s::uuid AND effect.idempotency_digest = %(digest)s::bytea"
    )
    return _CLAIM_SQL.format(effect_id="effect.id", effect_join=join)


def _claim(claim: Claim) -> Answer | None:
    """Claim the key for this transaction: None if it is ours to act on, else the stored answer."""
    row = db.fetch_all(
        _claim_sql(claim.operation.effect_table),
        {
            "lock_id": claim.lock_id,
            "lock_timeout": str(min(db.LOCK_TIMEOUT_MS, db.statement_timeout_ms())),
            "statement_timeout": str(db.statement_timeout_ms()),
            "owner": claim.owner,
            "digest": claim.digest,
        },
    )[0]
    had, effect_id, *known = row
    if known[0] is not None:
        return _replay(claim, known, timezone.now())
    if not had:
        raise db.ClaimHeldElsewhere
    if effect_id is not None:  # the answer was purged, the effect was not
        raise IdempotencyKeyExpired(transaction_id=effect_id)
    return None


def _replay(claim: Claim, known: Sequence[Any], now: datetime) -> Answer:
    status, request_hash, response_status, response_body, effect_id, expires_at = known
    if not hmac.compare_digest(bytes(request_hash), claim.request_hash):
        raise IdempotencyKeyReused
    assert status in (Status.COMPLETED, Status.FAILED), "a key is never committed without its answer"
    # A refusal had no effect and stays a refusal for as long as it is stored; an effect whose answer ran out is named.
    if status == Status.COMPLETED and expires_at <= now:
        raise IdempotencyKeyExpired(transaction_id=effect_id)
    return Answer(response_status, bytes(response_body), replayed=True, stored=True, effect_id=effect_id)


def completion(claim: Claim, answer: Answer, now: datetime) -> dict[str, Any]:
    """The parameters of `COMPLETE_SQL` that store this answer under this claim."""
    return {
        "key_id": uuid7(),
        "key_operation": claim.operation.name,
        "key_request_hash": claim.request_hash,
        "key_expires_at": now + timedelta(seconds=settings.IDEMPOTENCY_TTL_SECONDS),
        "key_status": Status.FAILED if answer.refused else Status.COMPLETED,
        "response_status": answer.status,
        "response_body": answer.body,
        "effect_id": answer.effect_id,
        "now": now,
        "key_owner": claim.owner,
        "key_digest": claim.digest,
    }


def complete(claim: Claim, answer: Answer) -> Answer:
    """Store the answer under the claim, in the caller's transaction; for services whose last step is not a posting."""
    db.require_transaction()
    try:
        db.fetch_all(COMPLETE_SQL, completion(claim, answer, timezone.now()))
    except IntegrityError as error:
        raise _as_known(error) from error
    return replace(answer, stored=True)


def expired_keys(*, before: datetime) -> QuerySet[IdempotencyKey]:
    """The keys whose answers need not be kept any longer; a key in use is never among them, as it is not committed."""
    return IdempotencyKey.objects.filter(expires_at__lt=before)


@db.retry_on_conflict
@transaction.atomic(durable=True)
def purge_expired_keys(*, before: datetime, limit: int) -> int:
    """
    Delete up to `limit` expired keys with their stored answers, oldest first, and say how many went.

    Keys that another purger has locked are left to it, so any number may run. What the keys stood for stays known by
    the permanent digest on the effect: a late repetition is refused, never carried out again.
    """
    chosen = (
        expired_keys(before=before)
        .select_for_update(skip_locked=True, no_key=False)
        .order_by("expires_at", "id")
        .values_list("id", flat=True)[:limit]
    )
    deleted, _ = IdempotencyKey.objects.filter(id__in=list(chosen)).delete()
    return deleted
