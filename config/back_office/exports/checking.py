"""Whoever holds a zip can learn whether it is what the desk made, and whether the ledger still says the same."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

from config.back_office.exports.models import Export
from config.back_office.exports.packing import CHECKSUMS, FORMAT, MANIFEST, checksums
from core import snapshot
from wallets import seals
from wallets.models import Seal
from wallets.seals import Head

#: The list is read whole; a longer one is not ours.
MANIFEST_BYTES_MAX = 64 * 1024 * 1024
_READ_BYTES = 1024 * 1024


class NotAnExport(Exception):
    """The file is no zip, or no export of ours; nothing in it can be checked."""


class Flaw(NamedTuple):
    """What is wrong, and with what."""

    subject: str
    detail: str


class Findings(NamedTuple):
    """What a zip claims to be, how much of it was looked at, and what is wrong with it."""

    export: str
    files: int
    wallets: int
    flaws: list[Flaw]


def examine(path: Path) -> Findings:
    """
    Hold a zip against its own list, the list against the desk's record, and the chains that it ended with against
    the ledger as it is now.

    :raises NotAnExport: if it cannot be read as an export at all
    """
    try:
        with zipfile.ZipFile(path) as archive:
            listed = _read(archive, MANIFEST, MANIFEST_BYTES_MAX)
            manifest = json.loads(listed)
            flaws = [*_files(archive, manifest, listed), *_record(manifest, sha256(listed).digest())]
            heads = [
                Head(UUID(str(head["wallet"])), int(head["version"]), bytes.fromhex(head["head"]))
                for head in manifest["chain_heads"]
            ]
            with snapshot.of_one_moment():
                flaws += [Flaw(flaw.subject, flaw.detail) for flaw in seals.fallen(iter(heads))]
                flaws += _seal(manifest["seal"])
            return Findings(str(manifest["export"]), len(manifest["files"]), len(heads), flaws)
    except (OSError, zipfile.BadZipFile, KeyError, TypeError, ValueError) as error:
        raise NotAnExport(f"it cannot be read: {error}") from error


def _files(archive: zipfile.ZipFile, manifest: dict[str, Any], listed: bytes) -> Iterator[Flaw]:
    """Every file is there once, as it was, and nothing is there besides."""
    if manifest["format"] != FORMAT:
        yield Flaw(MANIFEST, f"it is not a {FORMAT}")
    digests = {str(file["path"]): str(file["sha256"]) for file in manifest["files"]}
    names = [entry.filename for entry in archive.infolist()]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield Flaw(name, "it is there more than once")
    for name in sorted({*names} - {*digests, MANIFEST, CHECKSUMS}):
        yield Flaw(name, "the manifest does not name it")
    for file in manifest["files"]:
        name = str(file["path"])
        found = _digest(archive, name, int(file["bytes"])) if name in names else None
        if found is None:
            yield Flaw(name, "it is missing, or not as long as the manifest says")
        elif found != file["sha256"]:
            yield Flaw(name, "it is not what the manifest says")
    expected = checksums({**digests, MANIFEST: sha256(listed).hexdigest()})
    if CHECKSUMS not in names or _read(archive, CHECKSUMS, len(expected) + 1) != expected:
        yield Flaw(CHECKSUMS, "it is not the manifest's list")


def _read(archive: zipfile.ZipFile, name: str, bytes_max: int) -> bytes:
    """A file of the archive, up to a size that it cannot exceed whatever its header claims."""
    with archive.open(name) as member:
        content = member.read(bytes_max)
        if member.read(1):
            raise ValueError(f"{name} is too long")
        return content


def _digest(archive: zipfile.ZipFile, name: str, size: int) -> str | None:
    """The SHA-256 of a file of this size; None if it cannot be read, or is of another size."""
    hasher, left = sha256(), size
    try:
        with archive.open(name) as member:
            while piece := member.read(min(_READ_BYTES, left + 1)):
                hasher.update(piece)
                left -= len(piece)
                if left < 0:
                    return None
    except (zipfile.BadZipFile, OSError, EOFError, ValueError):
        return None
    return hasher.hexdigest() if left == 0 else None


def _record(manifest: dict[str, Any], digest: bytes) -> Iterator[Flaw]:
    """The list is the one whose digest the desk noted when it made the export."""
    export = Export.objects.filter(pk=UUID(str(manifest["export"]))).first()
    if export is None:
        yield Flaw(MANIFEST, "the desk has no such export on record")
    elif export.manifest_digest is None:
        yield Flaw(MANIFEST, "by the desk's record this export was never finished")
    elif bytes(export.manifest_digest) != digest:
        yield Flaw(MANIFEST, "it is not the one that the desk has on record")


def _seal(named: dict[str, Any] | None) -> Iterator[Flaw]:
    """The seal that the export names still stands in the database."""
    if named is None:
        return
    seal = Seal.objects.filter(pk=UUID(str(named["id"]))).first()
    if seal is None:
        yield Flaw(f"seal {named['id']}", "it is no longer in the database")
    elif bytes(seal.digest).hex() != named["digest"]:
        yield Flaw(f"seal {named['id']}", "it has another digest now")
