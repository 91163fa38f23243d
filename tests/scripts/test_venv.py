"""The environment is made with the interpreter that was called, unless a clearly faster one of its version is there."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from scripts import venv

HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"


def interpreter(folder: Path, version: str, seconds: float, *, can_make: bool = True) -> str:
    """Something that answers as an interpreter of this speed would, and makes environments or fails to."""
    path = folder / f"python-{version}-{seconds}-{can_make}"
    making = "exit 0" if can_make else "exit 1"
    path.write_text(f'#!/bin/sh\ncase "$*" in *venv*) {making};; esac\necho "{version} {seconds} {path}"\n')
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    "version, seconds, can_make, is_taken",
    [
        (HERE, 0.7, True, True),
        (HERE, 0.9, True, False),  # not by enough to surprise anybody
        ("3.99", 0.5, True, False),
        (HERE, 0.7, False, False),
    ],
)
def test_a_faster_build_of_the_same_version_is_taken_if_it_can_make_an_environment(
    tmp_path: Path, version: str, seconds: float, can_make: bool, is_taken: bool
) -> None:
    called = interpreter(tmp_path, HERE, 1.0)
    other = interpreter(tmp_path, version, seconds, can_make=can_make)
    assert venv.fastest([called, other])[0] == (other if is_taken else called)


def test_what_does_not_run_is_passed_over(tmp_path: Path) -> None:
    called = interpreter(tmp_path, HERE, 1.0)
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho nonsense\n")
    broken.chmod(0o755)
    assert venv.fastest([called, str(broken), str(tmp_path / "absent")]) == (called, 1.0)


def test_an_interpreter_tells_what_it_is() -> None:
    told = venv.raced(sys.executable)
    assert told is not None
    version, seconds, path = told
    assert version == HERE
    assert 0 < seconds < 30
    assert Path(path).resolve() == Path(sys.executable).resolve()
