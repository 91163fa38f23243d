"""trading is money at risk."""

from django.apps import AppConfig


class TradingConfig(AppConfig):
    name = "trading"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from core import health
        from trading import selection, selectors

        health.register("quotes", selectors.quote_ages)
        health.register("risk", selection.lag)
