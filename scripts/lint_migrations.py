"""
Refuses migrations that would block or break an installation while its old code still runs.

    python -m scripts.lint_migrations

The linter is used as a library, so that nothing made for development is among the installed apps.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import django
from django.apps import apps
from django_migration_linter import MigrationLinter

from scripts import environment

#: Every installation starts from these, on empty tables; what comes after meets data and old code that still runs.
FIRST_RELEASE = {"core": 2, "wallets": 4, "accounts": 5, "trading": 6, "referrals": 2}


class Linter(MigrationLinter):
    """Passes over what no installation has yet been without."""

    def should_ignore_migration(self, app_label: str, migration_name: str, *arguments: Any, **options: Any) -> bool:
        is_first = int(migration_name.partition("_")[0]) <= FIRST_RELEASE.get(app_label, 0)
        return is_first or bool(super().should_ignore_migration(app_label, migration_name, *arguments, **options))


def main() -> int:
    django.setup()
    own = [app.label for app in apps.get_app_configs() if Path(app.path).parent == environment.ROOT]
    linter = Linter(
        str(environment.ROOT),
        include_apps=own,
        analyser_string="postgresql",
        all_warnings_as_errors=True,
        no_cache=True,
        quiet=["ok", "ignore"],
    )
    linter.lint_all_migrations()
    linter.print_summary()
    return 1 if linter.has_errors else 0


if __name__ == "__main__":
    sys.exit(main())
