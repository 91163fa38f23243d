"""Check a zip against the desk's record and the ledger; exit 1 if it is not what the desk made."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from config.back_office.exports import checking
from core.commands import DeskCommand, JobFailed


class Command(DeskCommand):
    help = "Check an export's zip: its files, its manifest and its chain heads; exit 1 on any flaw."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("file", type=Path, help="The zip.")

    def run(self, *, file: Path, **_: Any) -> dict[str, Any]:
        try:
            findings = checking.examine(file)
        except checking.NotAnExport as error:
            raise JobFailed(str(error)) from error
        counts = {
            "export": findings.export,
            "files": findings.files,
            "wallets": findings.wallets,
            "flaws": len(findings.flaws),
        }
        if not self.as_json:
            for flaw in findings.flaws:
                self.stderr.write(f"{flaw.subject}: {flaw.detail}")
        if findings.flaws:
            raise JobFailed(f"{len(findings.flaws)} flaws", {**counts, "found": [[*flaw] for flaw in findings.flaws]})
        return counts
