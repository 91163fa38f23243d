"""Check that everything that must be told was told, and that nobody can take it back; exit 1 otherwise."""

from __future__ import annotations

from collections import Counter
from typing import Any

from django.db import transaction

from core import snapshot, verification
from core.commands import DeskCommand, JobFailed

BREAKS_TOLD_MAX = 100


class Command(DeskCommand):
    help = "Check the audit trail against what happened, and the guards that keep it; exit 1 on any break."

    def run(self, **options: Any) -> dict[str, Any]:
        names = list(verification.checks())
        with transaction.atomic(durable=True), self.progress(total=len(names), unit="checks") as bar:
            snapshot.take()
            found = verification.verify_audit(on_check=bar.update)
        by_check = Counter(one.check for one in found)
        counts: dict[str, Any] = {
            "checks": {name: by_check[name] for name in names},
            "breaks": [one._asdict() for one in found[:BREAKS_TOLD_MAX]],
        }
        if found:
            raise JobFailed(f"{len(found)} breaks in the audit trail", counts)
        return counts
