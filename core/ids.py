"""Identifiers are made by the application, so that a whole posting can be built before the first byte is sent."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from uuid import UUID

from uuid_utils.compat import uuid7 as _uuid7

#: The owner of everything that belongs to the broker and not to a client: a user row that can never log in.
HOUSE = UUID("00000000-0000-7000-8000-000000000001")


def uuid7() -> UUID:
    """A new time-ordered id (RFC 9562, version 7)."""
    return _uuid7()


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SERIAL_MAX = 2**62 - 1


def uuid7_at(moment: datetime, serial: int) -> UUID:
    """
    The version 7 id of a moment: ids sort by moment to the microsecond, and within one by `serial` (below 2^62).

    For rows that are looked up by time: their key is the only index on time they need, and `uuid7_at(moment, 0)` is
    above every id before the moment and below every other.
    """
    assert 0 <= serial <= _SERIAL_MAX, "the serial fills the id's last 62 bits"
    milliseconds, microseconds = divmod(max(0, (moment - _EPOCH) // timedelta(microseconds=1)), 1000)
    return UUID(int=milliseconds << 80 | 0x7 << 76 | microseconds << 64 | 0b10 << 62 | serial)


def derived_uuid7(*parts: str) -> UUID:
    """
    The same id for the same parts, for ever, in the shape of a version 7 id at the epoch.

    For rows that exist once by their nature (a house wallet per kind, currency and environment), so that the hot path
    knows their keys without a look-up.
    """
    digest = bytearray(frame(*parts)[:16])
    digest[0:6] = bytes(6)
    digest[6] = 0x70 | (digest[6] & 0x0F)
    digest[8] = 0x80 | (digest[8] & 0x3F)
    return UUID(bytes=bytes(digest))


def frame(*parts: str) -> bytes:
    """SHA-256 over length-framed parts: no two different lists of parts have one digest."""
    return sha256(framed(*parts)).digest()


def framed(*parts: str) -> bytes:
    """The parts one after the other, each behind its length in four bytes."""
    encoded = [part.encode() for part in parts]
    return b"".join(len(data).to_bytes(4, "big") + data for data in encoded)
