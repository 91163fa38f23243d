"""What a regulator or a client asks for, as files that prove themselves."""

from django.apps import AppConfig


class ExportsConfig(AppConfig):
    name = "config.back_office.exports"
    label = "exports"
    verbose_name = "Exports"
