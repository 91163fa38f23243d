"""
Runs one command against the demo's database and with its secrets, whether or not `make run` is up.

    python -m scripts.desk manage verify_ledger    a management command
    python -m scripts.desk checks -- mypy          a command that needs settings, with throw-away secrets
    python -m scripts.desk reset                   forget everything; refused while anything uses it
    python -m scripts.desk clean                   delete the tests' databases and every tool's cache
    python -m scripts.desk secret                  fresh values for every secret
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from scripts import embedded_postgres, environment, locks, run

OWNERS_COMMANDS = {"migrate", "define_database_roles"}  # the others are the running desk's
TEST_POSTGRES = environment.VAR / "postgres-test"
FAULTS_POSTGRES = environment.VAR / "postgres-test-faults"
LOCK_SUFFIXES = {".lock", ".users", ".start"}  # a deleted lock file would let two processes lock two of one name
CACHES = (".mypy_cache", ".pytest_cache", ".ruff_cache", ".import_linter_cache", ".hypothesis", "htmlcov", ".coverage")


def main(arguments: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    command, *rest = arguments or ["help"]
    try:
        if command == "manage" and rest:
            return manage(rest)
        if command == "checks" and rest[:1] == ["--"] and rest[1:]:
            return checks(rest[1:])
        if command == "reset" and not rest:
            return reset()
        if command == "clean" and not rest:
            return clean()
        if command == "secret" and not rest:
            print("\n".join(f"{name}={value}" for name, value in environment.fresh_secrets().items()))
            return 0
    except embedded_postgres.EmbeddedPostgresError as error:
        print(error, file=sys.stderr)
        return 1
    print(__doc__, file=sys.stderr)
    return 2


def manage(arguments: list[str]) -> int:
    """Run a management command on the demo's database, for somebody who reads what it prints."""
    os.environ.setdefault("LOG_LEVEL", "WARNING")
    environment.install_demo()
    with environment.database():
        owner = environment.owner_url()
        if owner is not None and arguments[0] in OWNERS_COMMANDS:
            environment.install({"DATABASE_URL": owner})
        return subprocess.run([sys.executable, "manage.py", *arguments], cwd=environment.ROOT, check=False).returncode


def checks(command: list[str]) -> int:
    """Run a command with settings as an installation would have them, and an empty database."""
    environment.install(environment.fresh_secrets())
    settings = {"DJANGO_SETTINGS_MODULE": "config.settings", "ALLOWED_HOSTS": "desk.example", "LOG_LEVEL": "WARNING"}
    environment.install(settings)
    with embedded_postgres.use(TEST_POSTGRES, durable=False) as hold:
        environment.install({"DATABASE_URL": hold.url(embedded_postgres.SUPERUSER)})
        return subprocess.run(command, cwd=environment.ROOT, check=False).returncode


def reset() -> int:
    """Forget the demo: its database, its secrets, its cast and what it wrote."""
    with locks.held(run.RUN_LOCK, locks.EXCLUSIVE) as is_alone:
        if not is_alone:
            print("`make run` is running: stop it first", file=sys.stderr)
            return 1
        embedded_postgres.reset(environment.POSTGRES)
        for path in environment.VAR.iterdir():
            if path.suffix not in LOCK_SUFFIXES and not path.name.startswith(TEST_POSTGRES.name):
                delete(path)
    print("Everything is forgotten; `make run` starts anew")
    return 0


def clean() -> int:
    """Delete what tests and checks keep to be faster."""
    for cluster in (TEST_POSTGRES, FAULTS_POSTGRES):
        embedded_postgres.reset(cluster)
    for name in CACHES:
        delete(environment.ROOT / name)
    return 0


def delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


if __name__ == "__main__":
    os.chdir(environment.ROOT)
    sys.exit(main())
