"""What tests of the web server share."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short enough a name for a socket."""
    with tempfile.TemporaryDirectory(prefix="desk-") as made:
        yield Path(made)
