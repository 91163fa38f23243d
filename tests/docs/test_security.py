"""A defence is worth what its test is worth, so the list of them may not name one that is not there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NAMED = sorted(set(re.findall(r"`(tests/[\w/.]+)(?:::(\w+))?`", (ROOT / "docs" / "SECURITY.md").read_text())))


@pytest.mark.parametrize("path,test", NAMED)
def test_a_named_test_exists(path: str, test: str) -> None:
    assert (ROOT / path).is_file()
    assert not test or re.search(rf"^def {test}\(", (ROOT / path).read_text(), re.MULTILINE)


def test_every_threat_names_a_test() -> None:
    rows = re.findall(r"^\| (.+) \|$", (ROOT / "docs" / "SECURITY.md").read_text(), re.MULTILINE)
    threats = [row for row in rows if not row.startswith(("threat |", "---"))]
    assert len(threats) > 40
    assert [row for row in threats if "`tests/" not in row] == []
