"""Put the alert rules of the data file in force, as far as they are new."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from config.back_office.alerts.services import rulebook
from core.audit import Actor
from core.commands import DeskCommand

DATA = Path(__file__).resolve().parents[2] / "data" / "rules.json"


class Command(DeskCommand):
    help = (
        "Put what is new in config/back_office/alerts/data/rules.json in force. A version that is known stays as it is;"
        " if the file has other terms for it, nothing more is loaded and the exit status is 1."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--file", type=Path, default=DATA, help="Another file of rules.")

    def run(self, *, file: Path, **_: Any) -> dict[str, int]:
        actor = Actor.system("load_alert_rules")
        loaded = [rulebook.load_rule(document=document, actor=actor) for document in json.loads(file.read_text())]
        return {"loaded": loaded.count(True), "known": loaded.count(False)}
