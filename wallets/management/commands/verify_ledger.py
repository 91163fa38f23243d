"""Check every figure in the ledger, as of one moment, without stopping anybody; exit 1 if one is wrong."""

from __future__ import annotations

from typing import Any

from core import metrics
from core.commands import DeskCommand, JobFailed
from wallets import verification
from wallets.verification import Report


class Command(DeskCommand):
    help = "Check the whole ledger against itself and against its last seal; exit 1 on any break."

    def run(self, **_: Any) -> dict[str, Any]:
        with self.progress(total=None, unit="entries") as bar:

            def show(step: str, done: int, total: int) -> None:
                bar.total = total
                bar.set_description(step, refresh=False)
                bar.update(done - bar.n)

            report = verification.verify_ledger(on_progress=show)
        breaks = report.found.total()
        metrics.LEDGER_BREAKS.set(breaks)
        if not self.as_json:
            self._tell(report)
        if breaks:
            raise JobFailed(f"{breaks} breaks in the ledger", report.document())
        return report.document()

    def _tell(self, report: Report) -> None:
        for found in report.breaks:
            self.stderr.write(f"{found.check}: {found.subject}: {found.detail}")
        for check, count in report.found.items():
            if count > verification.BREAKS_TOLD_MAX:
                self.stderr.write(f"{check}: {count - verification.BREAKS_TOLD_MAX} more")
        checked = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in report.checked.items())
        self.stdout.write(f"{len(verification.CHECKS)} checks of {checked}")
        self.stdout.write(f"{report.seconds} s, {report.rate} entries per second, {report.found.total()} breaks")

    def _print(self, counts: dict[str, Any]) -> None:
        if self.as_json:
            super()._print(counts)
