"""The house and its wallets: one for every kind, currency and environment, under ids that everybody can compute."""

from typing import Any

from django.conf import settings
from django.db import migrations

from core.ids import HOUSE, derived_uuid7
from core.money import CURRENCIES

KINDS = (
    "HOUSE_PAYMENT_CLEARING",
    "HOUSE_WITHDRAWAL_CLEARING",
    "HOUSE_TRADING_PNL",
    "HOUSE_COMMISSION",
    "HOUSE_SWAP",
    "HOUSE_REFERRAL_EXPENSE",
    "HOUSE_BONUS_EXPENSE",
    "HOUSE_NEGATIVE_BALANCE",
    "HOUSE_DEMO_FUNDING",
    "HOUSE_ADJUSTMENT",
)


def open_house(apps: Any, schema_editor: Any) -> None:
    user = apps.get_model(settings.AUTH_USER_MODEL)
    wallet = apps.get_model("wallets", "Wallet")
    user.objects.get_or_create(
        pk=HOUSE, defaults={"email": "house@desk.invalid", "name": "The house", "password": "!", "is_active": False}
    )
    wallet.objects.bulk_create(
        wallet(
            id=derived_uuid7("house-wallet", kind, currency, environment),
            number=f"{kind}-{currency}-{environment}",
            owner_id=HOUSE,
            kind=kind,
            currency=currency,
            environment=environment,
        )
        for kind in KINDS
        for currency in CURRENCIES
        for environment in ("DEMO", "LIVE")
    )


class Migration(migrations.Migration):
    dependencies = [("wallets", "0002_guards"), migrations.swappable_dependency(settings.AUTH_USER_MODEL)]

    operations = [migrations.RunPython(open_house, migrations.RunPython.noop)]
