"""Sign how every chain ends now, and write it where the database cannot change it."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from core.commands import DeskCommand, JobFailed
from wallets.models import GATED_KINDS, Wallet
from wallets.services import seals


class Command(DeskCommand):
    help = "Seal the ledger: a signed export of every chain's head, for verify_ledger to hold it against later."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--key-before",
            type=bytes.fromhex,
            help="Public key (hex) of the last seal, if LEDGER_SEAL_KEY has been replaced since it was made.",
        )

    def run(self, *, key_before: bytes | None, **_: Any) -> dict[str, Any]:
        wallets = Wallet.objects.filter(kind__in=GATED_KINDS).count()
        with self.progress(total=wallets, unit="wallets") as bar:
            try:
                seal = seals.seal_ledger(key_before=key_before, on_progress=bar.update)
            except seals.SealRefused as refusal:
                raise JobFailed(f"Nothing was sealed; {refusal}") from refusal
        return {
            "seal": seal.id,
            "sealed_at": seal.sealed_at,
            "export": seal.export,
            "wallets": seal.wallets,
            "entries": seal.entries,
            "digest": bytes(seal.digest).hex(),
            "public_key": bytes(seal.public_key).hex(),
        }
