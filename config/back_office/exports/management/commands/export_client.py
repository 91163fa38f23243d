"""Export everything about one client over a period into a zip that can be checked."""

from __future__ import annotations

from argparse import ArgumentParser
from contextlib import suppress
from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from accounts.models import TradingAccount, User
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
            help="A client's number, id or email address, or the number of an account or wallet of theirs.",
        )

    def ask(self, *, subject: str, period: Period, reason: str, actor: Actor) -> Export:
        return exports.ask_for_client(client=_client(subject), period=period, reason=reason, actor=actor)


def _client(text: str) -> UUID:
    """:raises NotFound: if nobody is known by this"""
    with suppress(ValueError):
        return UUID(text)
    ways: tuple[QuerySet[Any, UUID], ...] = (
        User.objects.filter(number=text).values_list("pk", flat=True),
        User.objects.with_email(text).values_list("pk", flat=True),
        TradingAccount.objects.filter(number=text).values_list("owner_id", flat=True),
        Wallet.objects.filter(number=text).values_list("owner_id", flat=True),
    )
    for way in ways:
        if found := way.first():
            return found
    raise NotFound
