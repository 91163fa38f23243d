"""Export everything about one client over a period into a zip that can be checked."""

from __future__ import annotations

from argparse import ArgumentParser
from uuid import UUID

from accounts.models import User
from config.back_office.exports.making import ExportCommand
from config.back_office.exports.models import Export
from config.back_office.exports.periods import Period
from config.back_office.exports.services import exports
from core.audit import Actor
from core.errors import NotFound
from wallets.models import Wallet


class Command(ExportCommand):
    help = "Export everything about one client over a period."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--client",
            required=True,
            dest="subject",
            help="An id, an email address, or the number of a trading account or wallet.",
        )

    def ask(self, *, subject: str, period: Period, reason: str, actor: Actor) -> Export:
        return exports.ask_for_client(client=_client(subject), period=period, reason=reason, actor=actor)


def _client(text: str) -> UUID:
    """:raises NotFound: if nobody is known by this"""
    try:
        return UUID(text)
    except ValueError:
        people = User.objects.with_email(text) if "@" in text else User.objects.filter(trading_accounts__number=text)
    found = people.values_list("pk", flat=True).first()
    found = found or Wallet.objects.filter(number=text).values_list("owner_id", flat=True).first()
    if found is None:
        raise NotFound
    return found
