"""accounts is people: who they are, how they prove it, and what they may do."""

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "accounts"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from django.conf import settings

        from accounts import jurisdictions

        jurisdictions.require_known(settings.JURISDICTION_DEFAULT)
