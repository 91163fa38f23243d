"""The desk at a glance, as a command has last computed it."""

from django.apps import AppConfig


class DashboardsConfig(AppConfig):
    name = "config.back_office.dashboards"
    label = "dashboards"
    verbose_name = "Dashboards"
