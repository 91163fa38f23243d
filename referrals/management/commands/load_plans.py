"""Put the plans of the data file in force, as far as they are new."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from core.audit import Actor
from core.commands import DeskCommand
from referrals.services import plans

DATA = Path(__file__).resolve().parent.parent.parent / "data" / "plans.json"


class Command(DeskCommand):
    help = "Put what is new in referrals/data/plans.json in force; what it follows ends then. Run it again at will."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--file", type=Path, default=DATA, help="Another file of plans.")

    def run(self, *, file: Path, **_: Any) -> dict[str, int]:
        actor = Actor.system("load_plans")
        loaded = [plans.load_plan(document=document, actor=actor) for document in json.loads(file.read_text())]
        return {"loaded": loaded.count(True), "known": loaded.count(False)}
