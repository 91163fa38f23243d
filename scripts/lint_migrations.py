"""
Refuses migrations that would block or break an installation while its old code still runs.

    python -m scripts.lint_migrations

The linter is used as a library, so that nothing made for development is among the installed apps.
"""

from __future__ import annotations

import sys
from pathlib import Path

import django
from django.apps import apps
from django_migration_linter import MigrationLinter

from scripts import environment


def main() -> int:
    django.setup()
    own = [app.label for app in apps.get_app_configs() if Path(app.path).parent == environment.ROOT]
    linter = MigrationLinter(
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
