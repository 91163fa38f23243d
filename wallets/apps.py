"""wallets is money at rest: it knows nobody's name."""

from typing import Any

from django.apps import AppConfig
from django.core import checks


class WalletsConfig(AppConfig):
    name = "wallets"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        checks.register(check_secrets_and_provider)
        checks.register(check_money_is_real, deploy=True)


def check_secrets_and_provider(**_: Any) -> list[checks.CheckMessage]:
    """What would otherwise come to light with the first bank account or the first deposit."""
    from django.core.exceptions import ImproperlyConfigured

    from wallets import bank, payments
    from wallets.models import Environment

    found: list[checks.CheckMessage] = []
    try:
        bank.cipher()
    except ImproperlyConfigured as error:
        found.append(checks.Error(str(error), id="wallets.E001"))
    try:
        payments.provider_for(Environment.LIVE)
    except ImproperlyConfigured as error:
        found.append(checks.Error(str(error), id="wallets.E002"))
    return found


def check_money_is_real(**_: Any) -> list[checks.CheckMessage]:
    """The sandbox credits live wallets with money that nobody has paid: right for a demo, never for an installation."""
    from wallets import payments
    from wallets.models import Environment

    if payments.provider_for(Environment.LIVE).name == payments.Sandbox.name:
        return [checks.Warning("PAYMENT_PROVIDER=sandbox credits money that nobody has paid", id="wallets.W001")]
    return []
