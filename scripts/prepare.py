"""
Brings the database and the files up to what the code expects, before `make run` starts serving.

    python -m scripts.prepare --api-url URL --admin-url URL --docs-url URL
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import time
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import django
from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.management import call_command

from scripts import environment, locks, owner

DEMO_FILE = environment.VAR / "demo.json"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m scripts.prepare", description="Get ready to serve.")
    for name in ("--api-url", "--admin-url", "--docs-url"):
        parser.add_argument(name, required=True)
    chosen = parser.parse_args(arguments)
    urls = {"api_url": chosen.api_url, "admin_url": chosen.admin_url, "docs_url": chosen.docs_url}
    os.environ.setdefault("LOG_LEVEL", "WARNING")  # these steps are told below, one line each
    django.setup()
    step("migrations", owner.migrate)
    step("roles", owner.define_roles)
    if said := owner.warning():
        print(f"  {'':<14}{said}", flush=True)
    step("static files", collect_static)
    step("instruments", lambda: call_command("load_instruments", verbosity=0, stdout=StringIO()))
    step("plans", lambda: call_command("load_plans", verbosity=0, stdout=StringIO()))
    step("bonuses", lambda: call_command("load_bonus_policies", verbosity=0, stdout=StringIO()))
    step("alert rules", lambda: call_command("load_alert_rules", verbosity=0, stdout=StringIO()))
    step("demo cast", lambda: call_command("demo_cast", output=str(DEMO_FILE), verbosity=0, stdout=StringIO(), **urls))
    return 0


def step(name: str, act: Callable[[], object]) -> None:
    """Do it, and say that it is done and how long it took."""
    begun = time.monotonic()
    print(f"  {name:<14}", end="", flush=True)
    act()
    print(f"ready ({time.monotonic() - begun:.1f} s)", flush=True)


def collect_static() -> None:
    """Collect and compress the static files, if one of them changed since the last time."""
    root = Path(settings.STATIC_ROOT)
    root.mkdir(parents=True, exist_ok=True)
    stamp = root / ".collected"
    with locks.held(root.with_suffix(".lock"), locks.EXCLUSIVE, seconds=300) as is_held:
        assert is_held, "collecting static files takes no five minutes"
        wanted = static_files_hash()
        if stamp.exists() and stamp.read_text() == wanted:
            return
        stamp.unlink(missing_ok=True)
        call_command("collectstatic", interactive=False, clear=True, verbosity=0)
        stamp.write_text(wanted)


def static_files_hash() -> str:
    """Changes with the name, size or time of any static file."""
    digest = hashlib.sha256()
    for finder in get_finders():
        for path, storage in finder.list([]):
            file = Path(storage.path(path)).stat()
            digest.update(f"{path}\0{file.st_size}\0{file.st_mtime_ns}\n".encode())
    return digest.hexdigest()


if __name__ == "__main__":
    sys.exit(main())
