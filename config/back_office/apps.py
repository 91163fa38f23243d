"""The back office looks into every room, so it stands above them all."""

from django.apps import AppConfig


class BackOfficePagesConfig(AppConfig):
    name = "config.back_office"
    label = "back_office"
    verbose_name = "Back office"
