"""One moment of the database as files that prove themselves: every table twice, what each column is, and a manifest."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from hashlib import sha256
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection, models
from django.db.migrations.recorder import MigrationRecorder
from django.utils import timezone

from config.back_office.exports import meanings, tables
from config.back_office.exports.archive import Archive, Count
from config.back_office.exports.models import Export
from config.back_office.exports.periods import Period
from config.back_office.exports.services import exports
from config.back_office.exports.tables import Scope, Table
from core import snapshot, spreadsheets
from core.audit import Actor
from core.errors import plain
from wallets.models import Seal, Wallet

FORMAT = "desk-export 1"
MANIFEST = "MANIFEST.json"
CHECKSUMS = "MANIFEST.sha256"
README = "README.txt"
DICTIONARY = "DICTIONARY"

#: A reader who takes its time keeps the snapshot open; a reader who has gone must not keep it for ever.
READER_SECONDS_MAX = 60
#: What one statement may take: the first rows of an instrument are looked for in the tables of all clients.
STATEMENT_SECONDS_MAX = 60
#: The wallets looked up at once.
WALLETS_PER_READ = 2_000
_LINES_PER_PIECE = 500

OnRows = Callable[[str, int], None]


class ExportTookTooLong(Exception):
    """A download may last so long and no longer; what is larger is made with the command."""


def scope_of(export: Export) -> Scope:
    """What the export is about."""
    period = Period(export.period_from, export.period_to)
    if export.kind == Export.Kind.CLIENT:
        return Scope(period, client=export.owner_id)
    return Scope(period, symbol=export.subject)


def pack(
    export: Export, *, actor: Actor, seconds_max: float | None = None, on_rows: OnRows | None = None
) -> Iterator[bytes]:
    """
    The zip, piece by piece, from one snapshot of the database that stays open meanwhile.

    The last piece is given out once the export is on record as made: a zip that is whole is one that can be checked.
    `on_rows` is told the table and how many rows were written since the last time.

    :raises ExportTookTooLong: after `seconds_max`; the zip stays without an end, and the export without `made_at`
    """
    ends_at = None if seconds_max is None else time.monotonic() + seconds_max
    packer = _Packer(export, on_rows or (lambda _table, _rows: None))
    for piece in packer.pieces():
        if ends_at is not None and time.monotonic() > ends_at:
            raise ExportTookTooLong
        yield piece
    last = packer.archive.close()
    exports.finish_export(export_id=export.pk, rows=packer.rows, manifest_digest=packer.manifest_digest, actor=actor)
    yield last


class _Packer:
    """What has to be remembered from the first table to the manifest."""

    def __init__(self, export: Export, on_rows: OnRows) -> None:
        self.export = export
        self.scope = scope_of(export)
        self.tables = tables.tables(self.scope)
        self.taken_at = export.asked_at
        self.archive = Archive(made_at=export.asked_at)
        self.rows = 0
        self.manifest_digest = b""
        self._on_rows = on_rows
        self._accounts: set[UUID] = set()

    def pieces(self) -> Iterator[bytes]:
        """Everything but the end of the archive."""
        with _one_moment():
            self.taken_at = timezone.now()
            for table in self.tables:
                yield from self._table(table)
            heads, seal, schema = self._heads(), _newest_seal(), _schema()
        yield from self._dictionary()
        yield from self.archive.add(README, [_readme(self.export, self.tables)])
        manifest = _json_lines([self._manifest(heads, seal, schema)], indent=2)
        self.manifest_digest = sha256(manifest).digest()
        yield from self.archive.add(MANIFEST, [manifest])
        yield from self.archive.add(CHECKSUMS, [checksums({item.path: item.sha256 for item in self.archive.members})])

    def _table(self, table: Table) -> Iterator[bytes]:
        """The same rows twice, read twice: a snapshot gives the same ones, and nobody has to remember them."""
        count = Count()
        lines = _csv(table, count.of(self._read(table)))
        yield from self.archive.add(f"{table.name}.csv", lines, count=count)
        count = Count()
        lines = _jsonl(table, count.of(self._reported(table)))
        yield from self.archive.add(f"{table.name}.jsonl", lines, count=count)
        self.rows += count.rows

    def _read(self, table: Table) -> Iterator[list[Any]]:
        sql, params = table.rows(self.scope).query.sql_with_params()
        for row in snapshot.stream(sql, list(params)):
            yield [_value(value, field) for value, field in zip(row, table.fields, strict=True)]

    def _reported(self, table: Table) -> Iterator[list[Any]]:
        account = table.columns.index(table.account) if table.account else None
        for number, row in enumerate(self._read(table), start=1):
            if account is not None:
                self._accounts.add(row[account])
            if number % _LINES_PER_PIECE == 0:
                self._on_rows(table.name, _LINES_PER_PIECE)
            yield row

    def _heads(self) -> list[dict[str, Any]]:
        """How far the chain of every wallet concerned went at the moment of the snapshot."""
        if self.scope.client is not None:
            return [_head(wallet) for wallet in tables.wallets_of(self.scope.client)]
        accounts = sorted(self._accounts)
        return [
            _head(wallet)
            for start in range(0, len(accounts), WALLETS_PER_READ)
            for wallet in tables.wallets_behind(accounts[start : start + WALLETS_PER_READ])
        ]

    def _dictionary(self) -> Iterator[bytes]:
        lines = [meanings.meaning(table, field) for table in self.tables for field in table.fields]
        count = Count()
        as_csv = spreadsheets.stream(meanings.COLUMNS, map(_cells, count.of(lines)))
        yield from self.archive.add(f"{DICTIONARY}.csv", as_csv, count=count)
        as_json = _json_lines(line._asdict() for line in lines)
        yield from self.archive.add(f"{DICTIONARY}.jsonl", [as_json], count=count)

    def _manifest(
        self, heads: list[dict[str, Any]], seal: dict[str, Any] | None, schema: dict[str, Any]
    ) -> dict[str, Any]:
        export = self.export
        return {
            "format": FORMAT,
            "desk": settings.UNFOLD["SITE_TITLE"],
            "export": export.pk,
            "kind": export.kind,
            "subject": export.subject,
            "number": export.owner.number,
            "period": {"from": export.period_from, "to": export.period_to},
            "asked_by": {"id": export.asked_by_id, "name": export.asked_by.name},
            "asked_at": export.asked_at,
            "reason": export.reason,
            "snapshot_at": self.taken_at,
            "schema": schema,
            "files": [member._asdict() for member in self.archive.members],
            "chain_heads": heads,
            "seal": seal,
        }


@contextmanager
def _one_moment() -> Iterator[None]:
    """A read-only snapshot that outlasts the limits of one request, within limits of its own."""
    with snapshot.of_one_moment():
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT set_config('statement_timeout', %s, true),"
                " set_config('idle_in_transaction_session_timeout', %s, true)",
                [f"{STATEMENT_SECONDS_MAX}s", f"{READER_SECONDS_MAX}s"],
            )
        yield


# --- What the manifest says about the ledger ------------------------------------------------------------------------


def _head(wallet: Wallet) -> dict[str, Any]:
    return {
        "wallet": wallet.pk,
        "number": wallet.number,
        "version": wallet.version,
        "head": bytes(wallet.head).hex(),
    }


def _newest_seal() -> dict[str, Any] | None:
    """The newest signature over all chains; what was posted since is covered by the next one."""
    seal = Seal.objects.order_by("sealed_at", "id").last()
    if seal is None:
        return None
    return {
        "id": seal.pk,
        "sealed_at": seal.sealed_at,
        "file": seal.export,
        "digest": bytes(seal.digest).hex(),
        "signature": bytes(seal.signature).hex(),
        "public_key": bytes(seal.public_key).hex(),
    }


def _schema() -> dict[str, Any]:
    """The newest migration of each app: what the tables were like."""
    newest: dict[str, str] = {}
    for app, name in MigrationRecorder(connection).applied_migrations():
        newest[app] = max(newest.get(app, ""), name)
    return {app: newest[app] for app in sorted(newest)}


# --- How it is spelled ----------------------------------------------------------------------------------------------


def _value(value: Any, field: models.Field[Any, Any]) -> Any:
    """A column as the driver gives it, as what it means: JSON comes as its text, bytes are spelled in hexadecimal."""
    if isinstance(field, models.JSONField) and value is not None:
        return json.loads(value)
    return bytes(value).hex() if isinstance(value, bytes | memoryview) else value


def _csv(table: Table, rows: Iterable[list[Any]]) -> Iterator[bytes]:
    return spreadsheets.stream(table.columns, map(_cells, rows))


def _cells(row: Iterable[Any]) -> list[object]:
    return [_cell(value) for value in row]


def _cell(value: Any) -> object:
    if isinstance(value, bool | list | dict):
        return json.dumps(plain(value), ensure_ascii=False)
    return value


def _jsonl(table: Table, rows: Iterable[list[Any]]) -> Iterator[bytes]:
    lines: list[dict[str, Any]] = []
    for row in rows:
        lines.append(dict(zip(table.columns, row, strict=True)))
        if len(lines) == _LINES_PER_PIECE:
            yield _json_lines(lines)
            lines.clear()
    yield _json_lines(lines)


def _json_lines(documents: Iterable[dict[str, Any]], *, indent: int | None = None) -> bytes:
    return b"".join(
        json.dumps(plain(document), ensure_ascii=False, indent=indent).encode() + b"\n" for document in documents
    )


def checksums(digests: dict[str, str]) -> bytes:
    """The list that `sha256sum -c` reads."""
    return "".join(f"{digest}  {path}\n" for path, digest in digests.items()).encode()


def _readme(export: Export, parts: tuple[Table, ...]) -> bytes:
    about = f"client {export.owner.number}," if export.kind == Export.Kind.CLIENT else "instrument"
    coverage = "\n".join(f"  {table.name}: {table.coverage}" for table in parts)
    return f"""\
{settings.UNFOLD["SITE_TITLE"]}: export of {about} {export.subject}
Period: {_moment(export.period_from)} (included) to {_moment(export.period_to)} (not included), UTC

Unpack it into an empty folder. To check that no file was changed since it was made:

    sha256sum -c {CHECKSUMS}

To check that the list itself is the one that the desk made, ask the desk to compare it with its own record:

    manage.py check_export FILE.zip

Every table comes as CSV and as JSON Lines, with the same rows. In the CSV, text that a spreadsheet would take for a
formula has an apostrophe in front; the JSON has it exactly. Amounts are decimals as text, with every digit they are
kept with. {DICTIONARY}.csv says what each column is. An empty cell is an empty text or nothing; JSON tells them apart.

All files show one moment, `snapshot_at` in {MANIFEST}: rows that can still change are as they were then.

{coverage}

`chain_heads` in {MANIFEST} says how far the hash chain of each wallet went. The digest of an entry is SHA-256 over the
digest before it and the entry itself, so an entry that was changed later no longer leads to the head. `seal` is the
newest signature (Ed25519) over the heads of all wallets; it covers a wallet up to the version that its file names.

This is for whoever may see all of it, an authority for example. It contains what the desk notes for itself.
""".encode()


def _moment(moment: datetime) -> str:
    return str(plain(moment))
