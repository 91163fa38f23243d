"""What somebody in compliance should look at, found by rules over the ledger and worked off by people."""

from django.apps import AppConfig


class AlertsConfig(AppConfig):
    name = "config.back_office.alerts"
    label = "alerts"
    verbose_name = "Alerts"
