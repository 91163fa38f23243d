"""
The nginx that measurements and tests put in front of the desk: the system's own, or the system's package unpacked.

    python -m scripts.nginx    find it, or fetch it where that is possible; prints where it is
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from scripts import environment

#: The package that holds the program itself has several names, by the system's age.
PACKAGES = ("nginx", "nginx-light", "nginx-core")
UNPACKED = environment.VAR / "nginx" / "nginx"
MISSING = "there is no nginx here: install your system's package `nginx`, or name one in NGINX"


def find() -> str | None:
    """Where it is, if it runs here; NGINX names another one."""
    places = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"))
    named = os.environ.get("NGINX")
    candidates = [named] if named else [shutil.which("nginx", path=places), str(UNPACKED)]
    return next((found for found in candidates if found and _runs(found)), None)


def fetch() -> str | None:
    """
    The same, and otherwise the program out of the system's package, kept in `var/nginx`.

    Nothing is installed: no service starts, and nobody has to be root.
    """
    if (found := find()) is not None:
        return found
    if shutil.which("apt-get") and shutil.which("dpkg-deb"):
        for package in PACKAGES:
            _unpack(package)
            if (found := find()) is not None:
                return found
    return None


def _unpack(package: str) -> None:
    with tempfile.TemporaryDirectory(prefix="desk-nginx-") as scratch:
        subprocess.run(["apt-get", "download", package], cwd=scratch, check=False, capture_output=True)
        for archive in Path(scratch).glob("*.deb"):
            subprocess.run(["dpkg-deb", "--extract", str(archive), scratch], check=False)
        program = Path(scratch) / "usr" / "sbin" / "nginx"
        if program.is_file():
            UNPACKED.parent.mkdir(parents=True, exist_ok=True)
            partial = UNPACKED.with_suffix(".partial")
            shutil.copy(program, partial)
            partial.replace(UNPACKED)


def _runs(program: str) -> bool:
    """Not so where the package's libraries are missing."""
    try:
        return subprocess.run([program, "-v"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def main() -> int:
    found = fetch()
    print(found or MISSING[0].upper() + MISSING[1:], file=sys.stdout if found else sys.stderr)
    return 0 if found else 1


if __name__ == "__main__":
    sys.exit(main())
