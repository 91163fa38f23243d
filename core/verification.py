"""A trail nobody compares with what happened proves nothing: each room says what must have been told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from django.apps import apps

from core import snapshot


class Break(NamedTuple):
    """Something that happened and was not told, or a guard that is gone; `check` names the rule and never changes."""

    check: str
    subject: str
    detail: str


def checks() -> dict[str, str]:
    """Every room's queries (`sql/audit/*.sql`) for what the trail should tell and does not, by name."""
    folders = [Path(config.path) / "sql" / "audit" for config in apps.get_app_configs()]
    return {path.stem: path.read_text() for folder in folders for path in sorted(folder.glob("*.sql"))}


def verify_audit(on_check: Callable[[], object] | None = None) -> list[Break]:
    """Run every check inside the caller's transaction, which has fixed its snapshot; `on_check` is called per check."""
    found: list[Break] = []
    for name, query in checks().items():
        found += [Break(name, subject, detail) for subject, detail in snapshot.stream(query)]
        if on_check is not None:
            on_check()
    return found
