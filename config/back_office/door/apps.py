"""How staff get in: a second factor, recovery codes, and sessions they can see and end."""

from django.apps import AppConfig


class DoorConfig(AppConfig):
    name = "config.back_office.door"
    label = "door"
    verbose_name = "Staff sessions"
