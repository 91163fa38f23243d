"""The code as the house rules read it: every module of every room, parsed once."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from django.apps import AppConfig, apps

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("config", "referrals", "trading", "accounts", "wallets", "core")


@dataclass(frozen=True)
class Module:
    """One source file."""

    path: Path
    text: str
    tree: ast.Module

    @property
    def name(self) -> str:
        return str(self.path.relative_to(ROOT))

    def functions(self) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
        """Every function and method in it, however deep."""
        return (node for node in ast.walk(self.tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))

    def at(self, node: ast.AST) -> str:
        return f"{self.name}:{getattr(node, 'lineno', 0)}"


def our_apps() -> list[AppConfig]:
    """The rooms that keep tables, and the apps of the back office."""
    return [app for app in apps.get_app_configs() if app.name.partition(".")[0] in ROOMS]


@cache
def modules(*folders: str, migrations: bool = False) -> tuple[Module, ...]:
    """The modules of these folders, or of all rooms; what Django generates only if asked for."""
    paths = [path for folder in folders or ROOMS for path in sorted((ROOT / folder).rglob("*.py"))]
    return tuple(
        Module(path, text := path.read_text(), ast.parse(text))
        for path in paths
        if migrations or "migrations" not in path.parts
    )


@cache
def statements() -> tuple[tuple[str, str], ...]:
    """Every piece of SQL in the rooms with its place: `.sql` files without their comments, and strings that are SQL."""
    found = [
        (str(path.relative_to(ROOT)), re.sub(r"--[^\n]*", "", path.read_text()))
        for room in ROOMS
        for path in sorted((ROOT / room).rglob("*.sql"))
    ]
    for module in modules(migrations=True):
        docstrings = {id(text) for text in _docstrings(module.tree)}
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
                text = re.sub(r"--[^\n]*", "", node.value)
                if re.search(r"\b(SELECT|INSERT|UPDATE|DELETE|ALTER|CREATE|SET|LISTEN|NOTIFY|LOCK|DECLARE)\b", text):
                    found.append((module.at(node), text))
    return tuple(found)


def _docstrings(tree: ast.Module) -> Iterator[ast.Constant]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.body:
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                yield first.value
