"""A zip is written from front to back and handed out as it grows, so its length costs no memory."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from hashlib import sha256
from typing import NamedTuple, TypeVar

Row = TypeVar("Row")

#: How much is collected before it is handed out.
PIECE_BYTES = 64 * 1024


class Member(NamedTuple):
    """One file of an archive, as its manifest names it."""

    path: str
    rows: int | None
    bytes: int
    sha256: str


class Count:
    """How many rows went by on their way into a file."""

    def __init__(self) -> None:
        self.rows = 0

    def of(self, rows: Iterable[Row]) -> Iterator[Row]:
        for row in rows:
            self.rows += 1
            yield row


class Archive:
    """
    A zip for a reader who cannot be sent back: every file is followed by its length, and the directory comes last.

    Nothing of it is kept but the list of its members.
    """

    def __init__(self, *, made_at: datetime) -> None:
        self._outbox = _Outbox()
        self._zip = zipfile.ZipFile(self._outbox, "w", zipfile.ZIP_DEFLATED)
        self._moment = made_at.astimezone(UTC).timetuple()[:6]
        self.members: list[Member] = []

    def add(self, path: str, content: Iterable[bytes], *, count: Count | None = None) -> Iterator[bytes]:
        """Write one file, and give what the archive has grown by whenever it is enough; `count` knows the rows then."""
        info = zipfile.ZipInfo(path, self._moment)
        info.compress_type = zipfile.ZIP_DEFLATED
        info.external_attr = 0o600 << 16
        hasher, size = sha256(), 0
        with self._zip.open(info, "w", force_zip64=True) as member:
            for piece in content:
                member.write(piece)
                hasher.update(piece)
                size += len(piece)
                if self._outbox.waiting >= PIECE_BYTES:
                    yield self._outbox.take()
        self.members.append(Member(path, count.rows if count else None, size, hasher.hexdigest()))

    def close(self) -> bytes:
        """The rest, with the directory that makes it a zip."""
        self._zip.close()
        return self._outbox.take()


class _Outbox:
    """What the zip writes into; it can neither seek nor tell, like the socket at the other end."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self.waiting = 0

    def write(self, data: bytes) -> int:
        self._pieces.append(bytes(data))
        self.waiting += len(data)
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """What was written can still be taken."""

    def take(self) -> bytes:
        data = b"".join(self._pieces)
        self._pieces.clear()
        self.waiting = 0
        return data
