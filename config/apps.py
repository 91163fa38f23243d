"""Django's admin, with our front door in place of its own."""

from django.contrib.admin.apps import AdminConfig


class BackOfficeConfig(AdminConfig):
    default_site = "config.back_office.DeskAdminSite"
