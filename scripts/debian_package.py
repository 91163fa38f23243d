"""A program that stands beside the desk: the system's own, or the system's package unpacked into `var/`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from scripts import environment

SYSTEM_PLACES = ("/usr/sbin", "/usr/local/sbin")


@dataclass(frozen=True)
class Program:
    """
    One such program, by its name; an environment variable of that name in capitals names another one.

    A package has several names, by the system's age. The first one that brings a program that runs is taken, and
    packages of libraries only where it does not run without them.
    """

    name: str
    packages: tuple[str, ...]
    version_option: str
    libraries: tuple[str, ...] = ()

    @property
    def home(self) -> Path:
        """Where what was unpacked is kept."""
        return environment.VAR / self.name

    @property
    def missing(self) -> str:
        package = self.packages[0]
        return f"there is no {self.name} here: install your system's package `{package}`, or name one in {self._named}"

    @property
    def environment(self) -> dict[str, str]:
        """What the program runs with, for the libraries that were unpacked beside it."""
        return {"LD_LIBRARY_PATH": str(self.home / "lib")} if (self.home / "lib").is_dir() else {}

    def find(self) -> str | None:
        """Where it is, if it runs here."""
        places = os.pathsep.join((os.environ.get("PATH", os.defpath), *SYSTEM_PLACES))
        named = os.environ.get(self._named)
        candidates = [named] if named else [shutil.which(self.name, path=places), str(self.home / self.name)]
        return next((found for found in candidates if found and self._runs(found)), None)

    def fetch(self) -> str | None:
        """
        The same, and otherwise the program out of the system's package, kept in `var/`.

        Nothing is installed: no service starts, and nobody has to be root.
        """
        if (found := self.find()) is not None:
            return found
        if shutil.which("apt-get") and shutil.which("dpkg-deb"):
            for package in (*self.packages, *self.libraries):
                self._unpack(package)
                if (found := self.find()) is not None:
                    return found
        return None

    def tell(self) -> int:
        """Print where it is, fetched where that is possible; the status to leave with."""
        found = self.fetch()
        print(found or self.missing[0].upper() + self.missing[1:], file=sys.stdout if found else sys.stderr)
        return 0 if found else 1

    @property
    def _named(self) -> str:
        return self.name.upper()

    def _unpack(self, package: str) -> None:
        with tempfile.TemporaryDirectory(prefix=f"desk-{self.name}-") as scratch:
            subprocess.run(["apt-get", "download", package], cwd=scratch, check=False, capture_output=True)
            for archive in Path(scratch).glob("*.deb"):
                subprocess.run(["dpkg-deb", "--extract", str(archive), scratch], check=False)
            if (program := Path(scratch) / "usr" / "sbin" / self.name).is_file():
                _keep(program, self.home / self.name)
            for library in Path(scratch).glob("usr/lib/*/lib*.so.*"):
                _keep(library, self.home / "lib" / library.name)

    def _runs(self, program: str) -> bool:
        """Not so where the package's libraries are missing."""
        try:
            asked = [program, self.version_option]
            ran = subprocess.run(asked, env=os.environ | self.environment, capture_output=True, check=False)
        except OSError:
            return False
        return ran.returncode == 0


def _keep(file: Path, place: Path) -> None:
    """Whole or not at all: others may be looking for it."""
    place.parent.mkdir(parents=True, exist_ok=True)
    partial = place.with_name(f"{place.name}.{os.getpid()}.partial")
    shutil.copy(file, partial)
    partial.replace(place)
