"""Many at once: real threads, each with a connection of its own, started together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TypeVar

from django.db import connections

R = TypeVar("R")


def together(acts: Sequence[Callable[[], R]]) -> list[R]:
    """Do all of it at the same moment and return what came of each, in the order given."""
    start = Barrier(len(acts))

    def run(act: Callable[[], R]) -> R:
        start.wait(timeout=30)
        try:
            return act()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(max_workers=len(acts)) as crowd:
        return list(crowd.map(run, acts))
