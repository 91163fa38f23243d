"""A seal is evidence that outlives the database: the head of every chain, signed, in a file of its own."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, NamedTuple
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from django.conf import settings

from core import db
from wallets.models import Seal

FORMAT = "desk-ledger-seal 1"
SUFFIX = ".seal"
HEADS_CHECKED_AT_ONCE = 2_000

#: The two questions a seal answers: is it ours, and is what it saw still there?
GENUINE = "seal_is_genuine"
STANDING = "sealed_chains_stand"


class SealUnreadable(Exception):
    """The export is missing, cut short, or not one of ours."""


class Flaw(NamedTuple):
    """What is wrong with a seal, or with the ledger that it sealed."""

    check: str
    subject: str
    detail: str


class Head(NamedTuple):
    """How far a wallet's chain went when it was sealed, and its digest there."""

    wallet: UUID
    version: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Export:
    """
    A sealed export as its file has it.

    The file is plain text: a line with the format, a line with the time, one line per gated wallet (id, version, head)
    in order of id, and a line with the signature. `digest` is the SHA-256 of everything before the last line, so anyone
    can check it with `head -n -1 <file> | sha256sum` and the public key.
    """

    path: Path
    sealed_at: datetime
    wallets: int
    entries: int
    digest: bytes
    signature: bytes
    public_key: bytes

    @property
    def final(self) -> Path:
        """Its name once it is published."""
        return self.path.with_suffix(SUFFIX)


def private_key() -> Ed25519PrivateKey:
    """The key that seals; its 32-byte seed comes from the environment, in hex."""
    return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(settings.LEDGER_SEAL_KEY))


def public_key() -> bytes:
    """The key that proves our seals."""
    return private_key().public_key().public_bytes_raw()


def is_genuine(digest: bytes, signature: bytes, key: bytes) -> bool:
    """Whether the holder of `key` signed this digest."""
    with suppress(InvalidSignature):
        Ed25519PublicKey.from_public_bytes(key).verify(signature, digest)
        return True
    return False


def folder() -> Path:
    """Where the exports are kept: best on a disk that the database's administrators cannot write to."""
    return Path(settings.LEDGER_SEAL_DIR)


def newest_export() -> Path | None:
    """The newest export in the folder, whether or not the database still knows it."""
    return max(folder().glob(f"*{SUFFIX}"), key=lambda path: path.name, default=None)


# --- Writing --------------------------------------------------------------------------------------------------------


def write_export(name: str, heads: Iterable[Head], *, sealed_at: datetime) -> Export:
    """
    Write and sign an export under a temporary name, flushed to the disk; `publish` gives it its own.

    `heads` come in order of wallet id.
    """
    folder().mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = folder() / f"{name}.partial"
    handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            export = _write(file, partial, heads, sealed_at)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        partial.unlink()
        raise
    return export


def _write(file: BinaryIO, path: Path, heads: Iterable[Head], sealed_at: datetime) -> Export:
    hasher, wallets, entries = sha256(), 0, 0
    beginning = f"{FORMAT}\nsealed_at {sealed_at.astimezone(UTC).isoformat(timespec='microseconds')}\n".encode()
    file.write(beginning)
    hasher.update(beginning)
    for head in heads:
        line = f"{head.wallet} {head.version} {head.digest.hex()}\n".encode()
        file.write(line)
        hasher.update(line)
        wallets, entries = wallets + 1, entries + head.version
    key, digest = private_key(), hasher.digest()
    signature = key.sign(digest)
    file.write(f"signature {signature.hex()} {public_key().hex()}\n".encode())
    return Export(path, sealed_at, wallets, entries, digest, signature, public_key())


def publish(export: Export) -> None:
    """Give a written export its final name: from one moment to the next it is wholly there."""
    export.path.rename(export.final)
    handle = os.open(export.final.parent, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# --- Reading --------------------------------------------------------------------------------------------------------


def read_export(path: Path) -> Export:
    """
    Read a whole export once, for its digest and its signature; nothing in it is believed yet.

    :raises SealUnreadable: if it is missing, cut short, or not one of ours
    """
    try:
        with path.open("rb") as file:
            return _read(file, path)
    except (OSError, ValueError, IndexError) as error:
        raise SealUnreadable(f"it cannot be read: {error}") from error


def _read(file: BinaryIO, path: Path) -> Export:
    hasher, wallets, entries, previous = sha256(), 0, 0, ""
    first, second = file.readline(), file.readline()
    label, moment = second.decode("ascii").split()
    if first != f"{FORMAT}\n".encode() or label != "sealed_at":
        raise SealUnreadable(f"it is not a {FORMAT}")
    hasher.update(first + second)
    for line in file:
        fields = line.decode("ascii").split()
        if fields[0] == "signature":
            break
        if fields[0] <= previous:
            raise SealUnreadable(f"wallet {fields[0]} is out of place after wallet {previous}")
        hasher.update(line)
        wallets, entries, previous = wallets + 1, entries + int(fields[1]), fields[0]
    else:
        raise SealUnreadable("it ends without a signature")
    if file.readline():
        raise SealUnreadable("it goes on after its signature")
    signature, key = bytes.fromhex(fields[1]), bytes.fromhex(fields[2])
    return Export(path, datetime.fromisoformat(moment), wallets, entries, hasher.digest(), signature, key)


def heads(export: Export) -> Iterator[Head]:
    """The sealed heads, in order of wallet id, of an export that `read_export` has accepted."""
    with export.path.open() as file:
        for line in itertools.islice(file, 2, 2 + export.wallets):
            wallet, version, digest = line.split()
            yield Head(UUID(wallet), int(version), bytes.fromhex(digest))


def sealed_head(path: Path, wallet: UUID) -> Head | None:
    """
    How one wallet was sealed in a published export, None if it was not there yet; a few reads, however long the file.

    Its lines are in order of wallet id, so they are bisected. Whether the export is genuine is not asked: that takes
    all of it.

    :raises SealUnreadable: if it is missing, or not one of ours
    """
    wanted = str(wallet)
    try:
        with path.open("rb") as file:
            if file.readline() != f"{FORMAT}\n".encode():
                raise SealUnreadable(f"it is not a {FORMAT}")
            file.readline()
            low, high = file.tell(), path.stat().st_size
            while low < high:
                middle = (low + high) // 2
                file.seek(middle)
                if middle > low:
                    file.readline()  # the rest of a line that begins before
                if file.tell() >= high:
                    high = middle
                    continue
                found, *rest = file.readline().decode("ascii").split()
                if found == wanted:
                    return Head(wallet, int(rest[0]), bytes.fromhex(rest[1]))
                low, high = (file.tell(), high) if found < wanted else (low, middle)  # the signature sorts last
    except (OSError, ValueError, IndexError) as error:
        raise SealUnreadable(f"it cannot be read: {error}") from error
    return None


# --- Comparing ------------------------------------------------------------------------------------------------------

_STANDING_SQL = """
SELECT s.wallet_id, w.version, e.digest
  FROM unnest(%(wallets)s::uuid[], %(versions)s::bigint[]) AS s (wallet_id, version)
  LEFT JOIN wallets_wallet w ON w.id = s.wallet_id
  LEFT JOIN wallets_entry e
         ON e.wallet_id = s.wallet_id AND e.owner_id = w.owner_id AND e.wallet_version = s.version
"""


def examine(seal: Seal | None, newest: Path | None, *, key: bytes) -> Iterator[Flaw]:
    """
    Hold the ledger, as the caller's snapshot sees it, against the newest seal in the database and the newest export.

    They are one and the same, unless somebody took the seal out of the database. `newest` is looked up before the
    snapshot is taken, so that a seal made meanwhile does not run ahead of it.
    """
    recorded = folder() / Path(seal.export).name if seal is not None else None
    for path in dict.fromkeys(path for path in (recorded, newest) if path is not None):
        try:
            export = read_export(path)
        except SealUnreadable as error:
            yield Flaw(GENUINE, path.name, str(error))
            continue
        if export.public_key != key or not is_genuine(export.digest, export.signature, key):
            yield Flaw(GENUINE, path.name, "it is not signed with our key")
            continue
        if seal is not None and path == recorded and not _agree(seal, export):
            yield Flaw(GENUINE, path.name, "the database has another digest, signature, time or count for it")
        yield from fallen(heads(export))


def _agree(seal: Seal, export: Export) -> bool:
    recorded = (seal.sealed_at, seal.wallets, seal.entries)
    signed = (bytes(seal.digest), bytes(seal.signature), bytes(seal.public_key))
    return recorded == (export.sealed_at, export.wallets, export.entries) and signed == (
        export.digest,
        export.signature,
        export.public_key,
    )


def fallen(known: Iterator[Head]) -> Iterator[Flaw]:
    """The wallets whose chains no longer pass through heads once known; a chain may only have grown since."""
    while portion := list(itertools.islice(known, HEADS_CHECKED_AT_ONCE)):
        params = {"wallets": [head.wallet for head in portion], "versions": [head.version for head in portion]}
        standing = {row[0]: row[1:] for row in db.fetch_all(_STANDING_SQL, params)}
        for head in portion:
            version, digest = standing[head.wallet]
            subject = f"wallet {head.wallet}"
            if version is None:
                yield Flaw(STANDING, subject, "its head was on record, and it is gone")
            elif head.version and digest is None:
                yield Flaw(STANDING, subject, f"it was on record at version {head.version}, which it no longer has")
            elif head.version and bytes(digest) != head.digest:
                yield Flaw(STANDING, subject, f"its history up to version {head.version} was rewritten")
