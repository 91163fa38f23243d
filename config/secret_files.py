"""`NAME_FILE` names a file that holds NAME: a file that can't be what was meant stops the start."""

from __future__ import annotations

import stat
from pathlib import Path

import environ
from django.core.exceptions import ImproperlyConfigured
from environ.fileaware_mapping import FileAwareMapping

SUFFIX = "_FILE"


class SecretFiles(FileAwareMapping):
    """The environment, where a `NAME_FILE` comes before a NAME; each file is read once."""

    #: Files that anybody on this machine may read, by the name of what they hold.
    open_to_all: dict[str, Path]

    def __init__(self, env: dict[str, str] | None = None) -> None:
        super().__init__(env)
        self.open_to_all = {}

    def __getitem__(self, key: str) -> str:
        named = self.env.get(key + SUFFIX)
        if named and key not in self.files_cache:
            self.files_cache[key] = self._read(key, Path(named))
        value: str = self.files_cache[key] if named else self.env[key]
        return value

    def _read(self, key: str, path: Path) -> str:
        """:raises ImproperlyConfigured: if there is nothing in it, or nothing that can be trusted"""
        try:
            mode = path.stat().st_mode
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ImproperlyConfigured(f"{key}{SUFFIX}={path}: {error}") from error
        if mode & stat.S_IWOTH:
            raise ImproperlyConfigured(f"{key}{SUFFIX}={path}: anybody on this machine may write it")
        if mode & stat.S_IROTH:
            self.open_to_all[key] = path
        value = text.rstrip("\r\n")  # editors end a file with a line's end
        if not value.strip():
            raise ImproperlyConfigured(f"{key}{SUFFIX}={path}: there is nothing in it")
        return value


class Env(environ.Env):
    """The library's, with our files."""

    ENVIRON = SecretFiles()

    def verbatim(self, name: str) -> str:
        """As it stands, or an empty text: the library takes a `$` at the start for another variable's name."""
        return str(self.ENVIRON.get(name, ""))
