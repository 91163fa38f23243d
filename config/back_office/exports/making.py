"""A large export is made on the desk's own machine: into a file that appears when it is whole."""

from __future__ import annotations

import os
from argparse import ArgumentParser, ArgumentTypeError
from datetime import datetime
from pathlib import Path
from typing import Any

from config.back_office.exports import packing
from config.back_office.exports.models import Export
from config.back_office.exports.periods import Period, read_moment
from core.audit import Actor
from core.commands import DeskCommand, JobFailed
from core.errors import DomainError


class ExportCommand(DeskCommand):
    """A command that makes one export; a subclass adds whom or what it is about, and asks for it."""

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--from", type=_moment, required=True, dest="start", help="A day or a moment, included.")
        parser.add_argument("--to", type=_moment, required=True, dest="end", help="A day or a moment, not included.")
        parser.add_argument("--reason", required=True, help="Why; it stays on record.")
        parser.add_argument("--output", type=Path, required=True, help="The zip to write; it must not exist yet.")

    def ask(self, *, subject: str, period: Period, reason: str, actor: Actor) -> Export:
        """Put the export on record. :raises DomainError: if that is refused"""
        raise NotImplementedError

    def run(
        self, *, subject: str, start: datetime, end: datetime, reason: str, output: Path, **_: Any
    ) -> dict[str, Any]:
        if output.exists():
            raise JobFailed(f"{output} exists already")
        actor = Actor.system(self.job.name)
        try:
            export = self.ask(subject=subject, period=Period.between(start, end), reason=reason, actor=actor)
        except DomainError as refusal:
            raise JobFailed(refusal.detail) from refusal
        with self.progress(total=None, unit="rows") as bar:

            def on_rows(table: str, rows: int) -> None:
                bar.set_description(table, refresh=False)
                bar.update(rows)

            _write(export, output, actor, on_rows)
        export.refresh_from_db()
        return {
            "export": export.pk,
            "rows": export.rows,
            "bytes": output.stat().st_size,
            "manifest_digest": bytes(export.manifest_digest or b"").hex(),
            "file": str(output),
        }


def _write(export: Export, output: Path, actor: Actor, on_rows: packing.OnRows) -> None:
    """Under another name until it is whole, and for nobody else to read: it is somebody's personal data."""
    partial = output.with_name(f"{output.name}.partial")
    handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.writelines(packing.pack(export, actor=actor, on_rows=on_rows))
        partial.rename(output)
    finally:
        partial.unlink(missing_ok=True)


def _moment(text: str) -> datetime:
    try:
        return read_moment(text)
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r} is neither a day nor a moment") from error
