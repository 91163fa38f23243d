"""Put the bonus policies of the data file in force."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from core.audit import Actor
from core.commands import DeskCommand
from referrals.services import bonuses

DATA = Path(__file__).resolve().parents[2] / "data"


class Command(DeskCommand):
    help = (
        "Load what is new in referrals/data/bonus_policies.json. A version that is known stays as it is; if the file"
        " has other terms for it, nothing more is loaded and the exit status is 1."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--file", type=Path, default=DATA / "bonus_policies.json", help="Another file to load.")

    def run(self, *, file: Path, **_: Any) -> dict[str, int]:
        counts = {"loaded": 0, "known": 0}
        for document in json.loads(file.read_text()):
            is_new = bonuses.load_policy(document=document, actor=Actor.system("load_bonus_policies"))
            counts["loaded" if is_new else "known"] += 1
        return counts
