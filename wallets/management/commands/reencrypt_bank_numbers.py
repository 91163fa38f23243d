"""Bring every bank number under the newest key, so that an older one can be retired."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from core.commands import DeskCommand
from wallets.models import BankAccount
from wallets.services import bank_accounts


class Command(DeskCommand):
    help = (
        "Re-encrypt bank numbers with the first of FIELD_ENCRYPTION_KEYS: put the new key there before,"
        " drop the old one after."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--batch", type=int, default=500, help="Bank accounts per transaction.")

    def run(self, *, batch: int, **_: Any) -> dict[str, Any]:
        seen = changed = 0
        last = None
        with self.progress(total=BankAccount.objects.count(), unit="accounts") as bar:
            while (step := bank_accounts.reencrypt_bank_numbers(after=last, limit=batch)).seen:
                seen, changed, last = seen + step.seen, changed + step.changed, step.last
                bar.update(step.seen)
        return {"seen": seen, "changed": changed}
