"""Django's admin, with our front door in place of its own."""

from django.contrib.admin.apps import AdminConfig
from django.utils.module_loading import autodiscover_modules


class BackOfficeConfig(AdminConfig):
    default_site = "config.back_office.site.DeskAdminSite"

    def ready(self) -> None:
        super().ready()
        # Pages and figures beside the lists: see `config/back_office/pages.py` and `figures.py`.
        autodiscover_modules("pages", "figures")
