"""Everything about one person on one page, and one box that finds them."""

from django.apps import AppConfig


class ClientsConfig(AppConfig):
    name = "config.back_office.clients"
    label = "clients"
    verbose_name = "Clients"
