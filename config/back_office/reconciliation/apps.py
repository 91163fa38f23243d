"""Whether the desk's books agree with everybody else's, and who looks after a difference."""

from django.apps import AppConfig


class ReconciliationConfig(AppConfig):
    name = "config.back_office.reconciliation"
    label = "reconciliation"
    verbose_name = "Reconciliation"
