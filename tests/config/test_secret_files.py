"""A secret comes from a file as well as from a variable, and a file that can't be what was meant stops the start."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from config.database import checks
from config.secret_files import SecretFiles
from scripts import environment

PLAIN = {
    "DATABASE_URL": "postgresql://desk:p%40ss@db.example:5432/books",
    "EMAIL_HOST_PASSWORD": "$not-a-variable",  # which the library would look up
    "METRICS_TOKEN": "a token with blanks",
    "DATABASE_RUNTIME_PASSWORD": "$runtime",
    "DATABASE_READER_PASSWORD": "reader",
}

SHOW = """
import json
from config import settings
names = %r
shown = {name: getattr(settings, name) for name in names}
shown["DATABASE_URL"] = [settings.DATABASES["default"][key] for key in ("USER", "PASSWORD", "HOST", "PORT", "NAME")]
print(json.dumps(shown))
"""


def secret_file(folder: Path, text: bytes, mode: int = 0o600) -> Path:
    path = folder / "secret"
    path.write_bytes(text)
    path.chmod(mode)
    return path


def test_every_secret_can_be_in_a_file(tmp_path: Path) -> None:
    secrets = environment.fresh_secrets() | PLAIN
    settings = {name: value for name, value in os.environ.items() if name not in secrets}
    for name, value in secrets.items():
        path = tmp_path / name.lower()
        path.write_text(f"{value}\n")
        settings[f"{name}_FILE"] = str(path)
    names = sorted(secrets.keys() - {"DATABASE_URL"})
    shown = json.loads(
        subprocess.run(
            [sys.executable, "-c", SHOW % names], env=settings, cwd=environment.ROOT, check=True, capture_output=True
        ).stdout
    )
    expected: dict[str, Any] = secrets | {"FIELD_ENCRYPTION_KEYS": [secrets["FIELD_ENCRYPTION_KEYS"]]}
    expected["DATABASE_URL"] = ["desk", "p@ss", "db.example", 5432, "books"]
    assert shown == expected


def test_no_secret_is_missing_above() -> None:
    text = (environment.ROOT / "config" / "settings.py").read_text()
    read = set(re.findall(r'(?:secret|env\.verbatim|env\.db_url)\("(\w+)"', text)) | {"FIELD_ENCRYPTION_KEYS"}
    assert read == environment.fresh_secrets().keys() | PLAIN.keys()
    hinted = set(re.findall(r'"(\w*(?:SECRET|PASSWORD|TOKEN|KEYS?))"', text))
    assert hinted - read == {"THROTTLE_TOKEN"}, "read these by `secret` or `env.verbatim`"


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n", b"\n\n"])
def test_a_line_s_end_is_no_part_of_it(tmp_path: Path, end: bytes) -> None:
    path = secret_file(tmp_path, b" kept as it is " + end)
    assert SecretFiles({"KEY_FILE": str(path), "KEY": "the file comes first"})["KEY"] == " kept as it is "


@pytest.mark.parametrize(
    "text,mode,reason",
    [
        (b"", 0o600, "there is nothing in it"),
        (b" \n\n", 0o600, "there is nothing in it"),
        (b"\xff\xfe", 0o600, "can't decode"),
        (b"mine", 0o602, "anybody on this machine may write it"),
    ],
)
def test_a_file_that_is_none_stops_the_start(tmp_path: Path, text: bytes, mode: int, reason: str) -> None:
    path = secret_file(tmp_path, text, mode)
    with pytest.raises(ImproperlyConfigured, match=rf"^KEY_FILE={re.escape(str(path))}: .*{reason}"):
        SecretFiles({"KEY_FILE": str(path)}).get("KEY", "a default is no way out")


def test_a_file_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "absent", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(ImproperlyConfigured, match=reason):
            SecretFiles({"KEY_FILE": str(path), "KEY": "neither is the variable"})["KEY"]


def test_an_installation_whose_secrets_anybody_can_read_is_warned(tmp_path: Path, settings: object) -> None:
    files = SecretFiles({"KEY_FILE": str(secret_file(tmp_path, b"mine", 0o644))})
    assert checks.check_secrets_are_nobody_elses() == []
    assert files["KEY"] == "mine"
    settings.SECRETS_OPEN_TO_ALL = files.open_to_all  # type: ignore[attr-defined]
    (warning,) = checks.check_secrets_are_nobody_elses()
    assert (warning.id, warning.msg) == ("database.W002", f"anybody on this machine may read {tmp_path / 'secret'}")
