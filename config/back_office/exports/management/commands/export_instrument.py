"""Export everything about one instrument over a period into a zip that can be checked."""

from __future__ import annotations

from argparse import ArgumentParser

from config.back_office.exports.making import ExportCommand
from config.back_office.exports.models import Export
from config.back_office.exports.periods import Period
from config.back_office.exports.services import exports
from core.audit import Actor


class Command(ExportCommand):
    help = "Export everything about one instrument over a period: terms, orders, deals, positions, nights and prices."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--instrument", required=True, dest="subject", help="Its symbol.")

    def ask(self, *, subject: str, period: Period, reason: str, actor: Actor) -> Export:
        return exports.ask_for_instrument(symbol=subject, period=period, reason=reason, actor=actor)
