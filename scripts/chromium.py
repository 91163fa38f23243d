"""
The browser that tests and screenshots look through: the system's own Chromium, without a window.

    python -m scripts.chromium    find it, or install it where that is possible
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

NAMES = ("chromium", "chromium-browser", "google-chrome")
INSTALL = ["apt-get", "install", "--yes", "--no-install-recommends", "chromium", "fonts-dejavu-core"]
#: It asks nobody but the desk for anything, needs no graphics card, and runs as root in a container too.
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
MISSING = "there is no Chromium here: install your system's package `chromium`, or name one in CHROMIUM"


def find() -> str | None:
    """Where it is; CHROMIUM names another one."""
    named = os.environ.get("CHROMIUM")
    return shutil.which(named) if named else next(filter(None, map(shutil.which, NAMES)), None)


def main() -> int:
    if find() is None and os.geteuid() == 0 and shutil.which("apt-get"):
        print("Installing Chromium by apt-get", flush=True)
        subprocess.run(["apt-get", "update", "--quiet"], check=False)
        subprocess.run(INSTALL, check=False)
    if find() is None:
        print(MISSING[0].upper() + MISSING[1:], file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
