"""Fold the house's legs into its wallets' snapshots, so that reading a house balance stays quick."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from core.commands import DeskCommand
from wallets.models import UnfoldedLeg
from wallets.services import house


class Command(DeskCommand):
    help = "Fold the house's legs into its wallets' snapshots, in batches; any number of these may run at once."
    watch_seconds = 60.0

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--batch", type=int, default=house.FOLD_BATCH, help="Legs per transaction.")

    def run(self, *, batch: int, **_: Any) -> dict[str, Any]:
        folded = batches = 0
        with self.progress(total=UnfoldedLeg.objects.count(), unit="legs") as bar:
            while legs := house.fold_house(batch=batch):
                folded, batches = folded + legs, batches + 1
                bar.update(legs)
        return {"folded": folded, "batches": batches}
