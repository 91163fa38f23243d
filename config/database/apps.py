"""Who may do what to the database: every table's rows, told once, and the roles made accordingly."""

from django.apps import AppConfig
from django.core import checks


class DatabaseConfig(AppConfig):
    name = "config.database"
    label = "database"

    def ready(self) -> None:
        from config.database.checks import check_secrets_are_nobody_elses, check_the_desk_is_not_the_owner

        checks.register(check_the_desk_is_not_the_owner, checks.Tags.database, deploy=True)
        checks.register(check_secrets_are_nobody_elses, deploy=True)
